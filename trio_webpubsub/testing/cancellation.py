"""Cancels a call at a checkpoint of one's choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio


class _CancelAt(trio.abc.Instrument):
    """Cancels a scope when a task has stopped at its so-many-th checkpoint, before it goes on from there."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, checkpoint: int) -> None:
        self._task = task
        self._scope = scope
        self._left = checkpoint

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancel_at(checkpoint: int, call: Callable[..., Awaitable[object]], *args: Any) -> bool:
    """Call something, and cancel it when its task stops for the so-many-th time.

    Count ``checkpoint`` up from 1 until this gives True, and the call was cancelled everywhere.

    Args:
        checkpoint: at which of the times when the call waits, or lets others run, it is cancelled; from 1.
        call: an async function.
        args: what it is called with.

    Returns:
        True if the call came to its end before that.

    Cancellation: the call is cancelled.
    """
    finished = False
    with trio.CancelScope() as scope:
        instrument = _CancelAt(trio.lowlevel.current_task(), scope, checkpoint)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call(*args)
            finished = True
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return finished
