"""Standard output: written past Python's buffer, so that no thread that waits for a slow reader holds anything up."""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import suppress

import trio


def write(data: bytes) -> None:
    """Write all of it, however long that takes.

    Raises:
        BrokenPipeError: nobody reads it any more.
    """
    file = sys.stdout.fileno()
    while data:
        data = data[os.write(file, data) :]


def write_or_drop(data: bytes) -> None:
    """Write all of it, if anybody reads it."""
    with suppress(OSError):
        write(data)


async def write_lines(lines: list[str]) -> None:
    """Write lines in a thread.

    Cancellation: at once; some of the lines may have been written.

    Raises:
        BrokenPipeError: nobody reads them any more.
    """
    data = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
    await trio.to_thread.run_sync(write, data, abandon_on_cancel=True)


async def watch_reader() -> None:
    """Notice that the reader of a pipe has gone while there is nothing to write, as in ``listen | head -1``.

    Returns where that cannot be noticed: for a terminal, a file, or on Windows.

    Raises:
        BrokenPipeError: it has gone.
    """
    file = sys.stdout.fileno()
    if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(file).st_mode):
        await trio.lowlevel.checkpoint()
        return
    await trio.lowlevel.wait_readable(file)  # nothing can be read from it, so what comes is the news that it broke
    poll = select.poll()
    poll.register(file, 0)
    if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
        raise BrokenPipeError
