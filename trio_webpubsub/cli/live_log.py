"""What `emulator` and `webhook` tell: lines for somebody who looks on, or has stopped looking."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import trio

_LINES = 10_000
_LAST_WORDS = 1.0
"""Seconds for the lines that are left at the end."""


class LiveLog(logging.Handler):
    """Hands lines to a thread that writes them. Whoever does not read them holds nothing up: they are dropped.

    Args:
        write: Writes bytes, however long that takes.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        self._write = write
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._is_writing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, if there is room for it. It has to come from trio's thread."""
        self.write_line(self.format(record))

    def write_line(self, line: str) -> None:
        """Take a line, if there is room for it."""
        if len(self._lines) < _LINES:
            self._lines.append(line)
            self._changed.unpark_all()
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Write what comes.

        Cancellation: what is being written may get out or not.
        """
        while True:
            while not self._lines:
                await self._changed.park()
            lines = list(self._lines)
            self._lines.clear()
            if self._dropped:
                lines.append(f"({self._dropped:,} more lines came faster than they were read)")
                self._dropped = 0
            self._is_writing = True
            data = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
            await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)
            self._is_writing = False
            self._changed.unpark_all()

    async def finish(self) -> None:
        """Wait until everything is written, or a second has passed.

        Cancellation: changes nothing.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_LAST_WORDS):
            while self._lines or self._is_writing:
                await self._changed.park()
