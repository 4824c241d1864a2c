"""A stream that can be made to fail at once in the ways that networks fail, whatever is going on in it."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import trio

from .._shell.memory import MemoryStream
from .._shell.tcp import file_of, receiver_of, write_at_once

_RECEIVE_SIZE = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PIECES_PER_SECOND = 20
"""In how many pieces a slow stream passes what it may pass in a second."""


class CuttableStream(trio.abc.Stream):
    """Passes everything through until it is cut. To our own side a cut shows as a closed stream, and at once.

    Args:
        inner: The real stream. `reset` and `end` know TCP, TLS over it, and memory; over any other stream the peer
            learns of the cut when the stream is closed.
    """

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.silent: bool = False
        """Whether bytes are swallowed now, in both directions."""
        self.is_cut: bool = False
        """Whether our own side sees a closed stream."""
        self._inner = inner
        self._receive_some = receiver_of(inner)
        self._file = file_of(inner)
        self._open_file: int | None = self._file
        """What may be written to, past `send_all`: kept up to date by `_changed`, since every message looks here."""
        self._bytes_per_second = math.inf
        self._sendable = math.inf
        """How many more bytes are sent before `_when_sent` is called."""
        self._when_sent: Callable[[], None] = self.cut
        self._readable_from = -math.inf
        """When a slow stream may be read from again."""
        self._receiving: trio.CancelScope | None = None
        self._sending: trio.CancelScope | None = None
        self._pausing: trio.CancelScope | None = None

    def reset(self) -> None:
        """Let the peer see a reset connection; what it has not read yet may be gone."""
        if not self.is_cut and not self.silent:
            carrier = _carrier(self._inner)
            if isinstance(carrier, trio.SocketStream):
                carrier.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                carrier.socket.close()
            elif isinstance(carrier, MemoryStream):
                carrier.abort()
        self.cut()

    def end(self) -> None:
        """Let the peer see the end of the connection, in the middle of whatever is being sent."""
        if not self.is_cut:
            self._send_end()
        self.cut()

    async def linger(self) -> None:
        """Say that no more bytes come, and wait until the peer says so too.

        Closing with bytes unread would reset the connection, and with it what the peer has not read yet.

        Cancellation: Changes nothing.
        """
        self._send_end()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self.receive_some(_RECEIVE_SIZE):
                pass

    def slow_down(self, bytes_per_second: float) -> None:
        """Let no more than this through in each direction; ``math.inf`` lets everything through again."""
        self._bytes_per_second = bytes_per_second
        self._readable_from = -math.inf
        self._changed()
        for scope in self._receiving, self._pausing:
            if scope is not None:
                scope.cancel()  # and go on at the new speed

    def after_sending(self, size: int, fault: Callable[[], None]) -> None:
        """Call ``fault``, one of the methods here, when ``size`` more bytes have been sent; 0 is at once."""
        if size == 0:
            fault()
        else:
            self._sendable, self._when_sent = size, fault
            self._changed()

    def silence(self) -> None:
        """Swallow all bytes in both directions from now on. The peer is told nothing, not even by `aclose`."""
        self.silent = True
        self._changed()

    def cut(self) -> None:
        """Let our own side see a closed stream, and tell the peer nothing."""
        self.is_cut = True
        self._changed()
        for scope in self._receiving, self._sending:
            if scope is not None:
                scope.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``.

        Raises:
            trio.ClosedResourceError: It was cut.

        Cancellation: As in the real stream: an unknown part may have been sent.
        """
        self._check()
        with trio.CancelScope() as self._sending:
            if self._is_disturbed:
                await self._send_disturbed(memoryview(data))
            else:
                await self._inner.send_all(data)
        self._check()

    def try_send(self, data: bytes) -> int:
        """Send as much of ``data`` as the network takes without waiting; give how many bytes that were.

        Only plain TCP takes any. Nobody may be in `send_all`.

        Raises:
            trio.BrokenResourceError: The connection broke.
            trio.ClosedResourceError: It was cut.
        """
        if self._open_file is None:
            self._check()
            return 0
        return write_at_once(self._open_file, data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might work at once.

        Cancellation: Changes nothing.
        """
        self._check()
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give some of the bytes that came, or ``b""`` at their end.

        Raises:
            trio.ClosedResourceError: It was cut.

        Cancellation: No bytes are lost.
        """
        while True:
            self._check()
            data = b""
            with trio.CancelScope() as scope:
                self._receiving = scope
                if self._bytes_per_second == math.inf:
                    data = bytes(await self._receive_some(max_bytes or _RECEIVE_SIZE))
                else:
                    # Waiting comes first, so that nothing is lost when it is cancelled.
                    await trio.sleep_until(self._readable_from)
                    data = bytes(await self._receive_some(min(max_bytes or _RECEIVE_SIZE, self._piece)))
                    self._readable_from = trio.current_time() + len(data) / self._bytes_per_second
            self._check()
            if not scope.cancelled_caught and (not data or not self.silent):
                return data

    async def aclose(self) -> None:
        """Close the real stream, unless the peer is to be told nothing.

        Cancellation: It is closed all the same.
        """
        self.cut()
        if self.silent:
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.aclose()

    async def _send_disturbed(self, data: memoryview) -> None:
        """Send in pieces: as slowly as it has to be, and no further than to where something is to happen."""
        while data and not self.is_cut:
            if self.silent:
                await trio.lowlevel.checkpoint()
                return
            size = int(min(len(data), self._piece, self._sendable))
            await self._inner.send_all(data[:size])
            data = data[size:]
            self._sendable -= size
            if self._sendable == 0:
                self._sendable = math.inf
                self._changed()
                self._when_sent()
            with trio.CancelScope() as self._pausing:
                await trio.sleep(size / self._bytes_per_second)

    @property
    def _is_disturbed(self) -> bool:
        """Whether bytes do not simply pass."""
        return self.silent or self.is_cut or not math.inf == self._sendable == self._bytes_per_second

    def _changed(self) -> None:
        self._open_file = None if self._is_disturbed else self._file

    @property
    def _piece(self) -> int:
        return int(min(_RECEIVE_SIZE, max(1, self._bytes_per_second / _PIECES_PER_SECOND)))

    def _send_end(self) -> None:
        carrier = _carrier(self._inner)
        if self.silent:
            pass
        elif isinstance(carrier, trio.SocketStream):
            with suppress(OSError):  # there is no connection any more
                carrier.socket.shutdown(socket.SHUT_WR)
        elif isinstance(carrier, MemoryStream):
            carrier.end()

    def _check(self) -> None:
        if self.is_cut:
            raise trio.ClosedResourceError("the connection was cut on this side")


def _carrier(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Give what carries the bytes in the end, without the TLS over it."""
    while isinstance(stream, trio.SSLStream):
        stream = cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    return stream
