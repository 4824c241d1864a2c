"""The client's side of TLS over any stream, which reads all that has come at once.

`trio.SSLStream` gives one record of at most 16 KiB at a time, and a schedule point with each. Where many small messages
come, that costs more than the cipher. This stream decrypts every record that is there before it returns; in all else it
behaves as a ``trio.SSLStream(..., https_compatible=True)`` does, and the tests hold the two side by side.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TypeVar

import trio

from .tcp import receiver_of

_RECORD = 16_384
"""Bytes that a record holds at most (RFC 8446, section 5.1)."""
_RECEIVE_SIZE = 131_072

T = TypeVar("T")


class TlsStream(trio.abc.Stream):
    """TLS over a connected stream. The first thing to do is `do_handshake`.

    Args:
        transport_stream: What carries the records. It is closed with this stream.
        context: Which certificates are trusted, and the like.
        server_hostname: Whose certificate it has to be.
    """

    def __init__(self, transport_stream: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str) -> None:
        self._carrier = transport_stream
        self._receive_carrier = receiver_of(transport_stream)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._closed = False
        self._broken_by: ssl.SSLError | None = None
        """What is wrong with the records behind those that were given."""
        self._broken = False
        self._is_reading = False
        self._was_read = trio.lowlevel.ParkingLot()
        self._sending = trio.Lock()
        self._one_receiver = _One("another task is receiving from this stream")
        self._one_sender = _One("another task is sending over this stream")

    async def do_handshake(self) -> None:
        """Agree on keys, and check the certificate.

        Raises:
            trio.BrokenResourceError: That failed; its cause is the `ssl.SSLError`, unless the connection broke.

        Cancellation: The stream is of no use any more.
        """
        try:
            await self._do(self._tls.do_handshake)
        except BaseException:  # cancellation too: half a handshake cannot be gone on with
            self._broken = True
            raise

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give all that has come, at most ``max_bytes``; at the end ``b""``, whether or not the peer said goodbye.

        Raises:
            trio.BrokenResourceError: Something else came than records of this connection, or it broke.

        Cancellation: No bytes are lost.
        """
        with self._one_receiver:
            self._check()
            if max_bytes is None:
                max_bytes = _RECEIVE_SIZE
            elif max_bytes < 1:
                raise ValueError("max_bytes must be at least 1")
            try:
                return await self._do(partial(self._read, max_bytes))
            except trio.BrokenResourceError as error:
                if not isinstance(error.__cause__, ssl.SSLError) or not _is_eof(error.__cause__):
                    raise
        # Nearly nobody says goodbye. What is sent over this stream knows by itself if it is complete.
        await trio.lowlevel.checkpoint()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``.

        Raises:
            trio.BrokenResourceError: The connection broke.

        Cancellation: An unknown part was sent, and nothing can be sent any more.
        """
        with self._one_sender:
            self._check()
            if not data:  # which TLS would take for the end
                await trio.lowlevel.checkpoint()
                return
            await self._do(partial(self._tls.write, data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might work at once.

        Cancellation: Changes nothing.
        """
        with self._one_sender:
            self._check()
            async with self._sending:
                await self._carrier.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close what carries the records, without a goodbye.

        Cancellation: It is closed all the same.
        """
        self._closed = True
        await self._carrier.aclose()

    def _read(self, limit: int) -> bytes:
        """Decrypt every record that has come whole."""
        if self._broken_by is not None:
            raise self._broken_by
        records: list[bytes] = []
        try:
            while limit > 0 and (record := self._tls.read(min(limit, _RECORD))):
                records.append(record)
                limit -= len(record)
        except ssl.SSLWantReadError:
            if not records:
                raise
        except ssl.SSLError as error:
            if not records:
                raise
            self._broken_by = error  # and first what came before it
        return b"".join(records)

    async def _do(self, step: Callable[[], T]) -> T:
        """Take a step of TLS, with as much sending and receiving as it needs."""
        await trio.lowlevel.checkpoint_if_cancelled()
        yielded = False
        while True:
            done: list[T] = []
            try:
                done.append(step())
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._broken = True
                raise trio.BrokenResourceError("TLS failed") from error
            if to_send := self._outgoing.read():  # before another task runs, which would wait for this one's sending
                yielded = True
                await self._send_carrier(to_send)
            elif not done:
                yielded = True
                await self._read_carrier()
            if done:
                if not yielded:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return done[0]

    async def _send_carrier(self, records: bytes) -> None:
        """Send records in their turn: a lock is fair. Receiving may make some too, in a new handshake."""
        try:
            async with self._sending:
                self._check()
                await self._carrier.send_all(records)
        except BaseException:
            self._broken = True  # some are lost, or a part of one is on its way, or nobody knows
            raise

    async def _read_carrier(self) -> None:
        """Read once, or wait for another task that does. A sender reads only where keys are being changed."""
        if self._is_reading:
            await self._was_read.park()
            return
        self._is_reading = True
        try:
            data = await self._receive_carrier(_RECEIVE_SIZE)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        finally:
            self._is_reading = False
            self._was_read.unpark_all()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._broken:
            raise trio.BrokenResourceError


class _One:
    """Lets one task in at a time, and others know that they have made a mistake."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._text)
        self._taken = True

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._taken = False


def _is_eof(error: ssl.SSLError) -> bool:
    """Whether the connection ended without a goodbye. Versions of OpenSSL say so in two ways."""
    return isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF_WHILE_READING" in (error.reason or "")
