"""A connection inside the process: two streams with a window between them, so that back-pressure is real."""

from __future__ import annotations

import operator

import trio

_WINDOW = 65_536
_CHUNK = 65_536


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of `memory_stream_pair`. It behaves as TCP does, without delay.

    Back-pressure: `send_all` waits while the peer has a whole window of bytes to read.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``.

        Raises:
            trio.BrokenResourceError: The peer closed or aborted its end, so that nobody will read it.
            trio.ClosedResourceError: This end was closed.
            trio.BusyResourceError: Another task is sending.

        Cancellation: An unknown part of ``data`` may have been sent.
        """
        pipe = self._outgoing
        with pipe.writing:
            await trio.lowlevel.checkpoint()
            position = 0
            while True:
                self._check_open()
                if pipe.ended:
                    raise trio.ClosedResourceError("nothing can be sent after send_eof")
                if pipe.broken:
                    raise trio.BrokenResourceError("the peer does not read any more")
                room = pipe.window - len(pipe.data)
                if room > 0 and position < len(data):
                    pipe.data += data[position : position + room]
                    position += room
                    pipe.changed.unpark_all()
                if position >= len(data):
                    return
                await pipe.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room in the window, or sending would fail at once.

        Cancellation: Changes nothing.
        """
        pipe = self._outgoing
        with pipe.writing:
            await trio.lowlevel.checkpoint()
            while not self._closed and not pipe.broken and len(pipe.data) >= pipe.window:
                await pipe.changed.park()
            self._check_open()

    async def send_eof(self) -> None:
        """Tell the peer that no more bytes come; reading goes on.

        Cancellation: Changes nothing.
        """
        with self._outgoing.writing:
            await trio.lowlevel.checkpoint()
            self._check_open()
            self.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give some of the bytes that came, at most ``max_bytes``, or ``b""`` when the peer will send no more.

        Raises:
            trio.BrokenResourceError: The peer aborted the connection.
            trio.ClosedResourceError: This end was closed.
            trio.BusyResourceError: Another task is receiving.

        Cancellation: No bytes are lost.
        """
        size = _CHUNK if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        pipe = self._incoming
        with pipe.reading:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if pipe.broken:
                    raise trio.BrokenResourceError("the peer reset the connection")
                if pipe.data:
                    data = bytes(pipe.data[:size])
                    del pipe.data[:size]
                    pipe.changed.unpark_all()
                    return data
                if pipe.ended:
                    return b""
                await pipe.changed.park()

    def end(self) -> None:
        """Tell the peer that no more bytes come, at once."""
        self._outgoing.ended = True
        self._outgoing.changed.unpark_all()

    def close(self) -> None:
        """Close: the peer reads what was sent, then the end."""
        self._closed = True
        self.end()
        self._incoming.break_off()

    def abort(self) -> None:
        """Close as a reset does: the peer's next operation fails, and what it had not read is gone."""
        self._closed = True
        self._outgoing.break_off()
        self._incoming.break_off()

    async def aclose(self) -> None:
        """Do what `close` does.

        Cancellation: It is closed all the same.
        """
        self.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the connection was closed")


def memory_stream_pair(window: int = _WINDOW) -> tuple[MemoryStream, MemoryStream]:
    """Make a connection and give its two ends; ``window`` is how many bytes may be on their way in each direction."""
    there, back = Pipe(window), Pipe(window)
    return MemoryStream(back, there), MemoryStream(there, back)


class Pipe:
    """One direction of a connection."""

    def __init__(self, window: int) -> None:
        self.window: int = window
        self.data: bytearray = bytearray()
        self.ended: bool = False
        """No more bytes come; what is there can be read."""
        self.broken: bool = False
        """Nothing gets through any more."""
        self.changed: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self.writing: _OneTask = _OneTask("another task is sending")
        self.reading: _OneTask = _OneTask("another task is receiving")

    def break_off(self) -> None:
        self.broken = True
        self.data.clear()
        self.changed.unpark_all()


class _OneTask:
    """A context that refuses a second task, as trio's streams do."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._complaint)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False
