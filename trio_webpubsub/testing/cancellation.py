"""Cancels a call at a checkpoint of one's choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..protocol.arguments import check_callable, check_flags
from ..protocol.names import check_count


class _CancelAt(trio.abc.Instrument):
    """Cancels a scope after so many steps of a task, or of all: when it has stopped at a checkpoint."""

    def __init__(self, task: trio.lowlevel.Task | None, scope: trio.CancelScope, steps: int) -> None:
        self._task = task
        self._scope = scope
        self._left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._task in (None, task):
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancel_at(
    checkpoint: int, call: Callable[..., Awaitable[object]], *args: Any, every_task: bool = False
) -> bool:
    """Call something, and cancel it when it stops at a checkpoint for the so-many-th time.

    Count ``checkpoint`` up from 1 until this gives True, and the call was cancelled everywhere.

    Args:
        checkpoint: at which of the times when the call waits, or lets others run, it is cancelled; from 1.
        call: an async function.
        args: what it is called with.
        every_task: count the steps of all tasks in the program, and so find each moment at which something may have
            changed for the call, not only those at which it goes on.

    Returns:
        True if the call came to its end before that.

    Raises:
        ValueError: ``checkpoint`` is below 1.
        TypeError: it is no whole number, or ``call`` cannot be called with ``args``.

    Cancellation: the call is cancelled.
    """
    check_count("checkpoint", checkpoint, least=1)
    check_flags(every_task=every_task)
    check_callable("call", call, *(type(each).__name__ for each in args))
    finished = False
    with trio.CancelScope() as scope:
        task = None if every_task else trio.lowlevel.current_task()
        instrument = _CancelAt(task, scope, checkpoint)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call(*args)
            finished = True
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return finished
