"""Cancelling a task at each of its steps in turn."""

from __future__ import annotations

import trio


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task waits for the nth time."""

    def __init__(self, scope: trio.CancelScope, turn: int) -> None:
        self.scope = scope
        self.task = trio.lowlevel.current_task()
        self.left = turn

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()
