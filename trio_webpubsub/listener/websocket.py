"""The WebSocket side of the listener: a request that asks for one, and the connection that it becomes."""

from __future__ import annotations

import binascii
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from .._shell.frame_stream import FrameStream, TransportEnded
from ..protocol.frame_writer import encode_frame
from .cuttable import CuttableStream
from .http import HttpConnection, Refused
from .values import Limits, Request, Response

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ABNORMAL = 1006

_logger = logging.getLogger(__name__)


def asks_for_websocket(request: Request) -> bool:
    """Whether this is an upgrade to WebSocket; any other one is ignored, as RFC 9110, section 7.8, allows."""
    return (
        request.method == "GET"
        and "upgrade" in _split(request.headers.get("connection", "").lower())
        and "websocket" in _split(request.headers.get("upgrade", "").lower())
    )


def check_upgrade(request: Request) -> None:
    """Check what the protocol asks of the head of an upgrade (RFC 6455, section 4.2.1).

    Raises:
        Refused: It is not fulfilled.
    """
    headers = request.headers
    if headers.get("sec-websocket-version") != "13":
        raise Refused(426, ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
    has_body = int(headers.get("content-length", 0)) > 0 or "transfer-encoding" in headers
    offered = _split(headers.get("sec-websocket-protocol", ""))
    if has_body or not _is_key(headers.get("sec-websocket-key", "")) or not all(map(_TOKEN.fullmatch, offered)):
        raise Refused(400)


class WebSocketRequest:
    """A client asks for a WebSocket: `accept` or `reject` it."""

    def __init__(
        self, head: Request, http: HttpConnection, stream: CuttableStream, nursery: trio.Nursery, limits: Limits
    ) -> None:
        """Make one from a head that `check_upgrade` found good.

        Query and headers, which may hold tokens, are there until `accept` is done, and not as long as the WebSocket.
        """
        self.path: str = head.path
        """As it came, percent signs and all."""
        self.query: str = head.query
        """What stood behind the question mark, as it came."""
        self.headers: Mapping[str, str] = head.headers
        """By lower-case name; the values of a header that came several times are joined with commas."""
        self.subprotocols: tuple[str, ...] = tuple(_split(head.headers.get("sec-websocket-protocol", "")))
        """What the client offers, best first."""
        self._http = http
        self._stream = stream
        self._nursery = nursery
        self._limits = limits
        self._answered = False
        self._websocket: ServerWebSocket | None = None

    def __repr__(self) -> str:
        return f"<WebSocketRequest {self.path}>"

    async def accept(self, *, subprotocol: str | None = None) -> ServerWebSocket:
        """Open the WebSocket, with one of the offered subprotocols or none.

        Raises:
            ValueError: ``subprotocol`` was not offered; nothing was sent.
            RuntimeError: The request was answered before.
            TransportEnded: The client is gone.

        Cancellation: The connection is closed.
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            raise ValueError(f"the subprotocol {subprotocol!r} was not offered")
        self._check_unanswered()
        self._answered = True
        stream = FrameStream(
            self._stream,
            client=False,
            max_message_size=self._limits.message_size,
            head=self._clean_head(subprotocol) + self._http.take_rest(),
            try_send=self._stream.try_send,
        )
        stream.start_writer = partial(self._start_writer, stream)
        connection: WebSocketConnection | None = None
        with trio.move_on_after(self._limits.send_timeout):
            try:
                proposal = await wrap_server_stream(self._nursery, stream)
                connection = await proposal.accept(subprotocol=subprotocol)
            except ConnectionClosed:
                raise TransportEnded(_ABNORMAL, "the client left during the handshake") from None
        if connection is None:
            raise TransportEnded(_ABNORMAL, "the client did not take the answer to its handshake")
        self.query, self.headers = "", {}
        self._websocket = ServerWebSocket(connection, stream, self._stream, self._nursery, self._limits)
        return self._websocket

    async def reject(self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        """Answer with an ordinary HTTP response, after which the connection is closed.

        Raises:
            ValueError: The response cannot be written; nothing was sent.
            RuntimeError: The request was answered before.
            TransportEnded: The client is gone.

        Cancellation: The connection is closed.
        """
        self._check_unanswered()
        try:
            await self._http.refuse(Response(status=status, headers=headers, body=body))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise TransportEnded(_ABNORMAL, "the client is gone") from None
        finally:
            self._answered = True

    async def close(self, code: int) -> None:
        """Close the WebSocket, if it was opened.

        Cancellation: As that of `ServerWebSocket.close`.
        """
        if self._websocket is not None:
            await self._websocket.close(code)

    async def finish(self, *, failed: bool) -> None:
        """Do what the handler left undone.

        Cancellation: The connection has to be closed.
        """
        if not self._answered:
            if not failed:
                _logger.error("a WebSocket handler neither accepted nor rejected")
            await self._http.refuse(Refused(500).response)
        if self._websocket is not None:
            await self._websocket.close(1011 if failed else 1000)
        else:
            with trio.move_on_after(self._limits.close_timeout):
                await self._stream.linger()

    def _start_writer(self, stream: FrameStream) -> None:
        if not self._stream.is_cut:
            self._nursery.start_soon(self._write, stream, name="WebSocket writer")

    async def _write(self, stream: FrameStream) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.wait_for_work()
                await stream.flush()
        # The client reads no more, but may have said why. If it goes on as if nothing had happened, that is the end.
        await trio.sleep(self._limits.close_timeout)
        self._stream.cut()

    def _check_unanswered(self) -> None:
        if self._answered:
            raise RuntimeError("the request was answered before")

    def _clean_head(self, subprotocol: str | None) -> bytes:
        """Write the head that trio-websocket gets to see.

        It is not the client's: that one may hold tokens, which have no business in trio-websocket's objects, and bytes
        that it cannot read.
        """
        offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol is not None else ""
        return (
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self.headers['sec-websocket-key']}\r\n{offer}\r\n"
        ).encode("ascii")


class ServerWebSocket:
    """An open WebSocket, seen from the server. Pings are answered by a task of its own."""

    def __init__(
        self,
        connection: WebSocketConnection,
        stream: FrameStream,
        wire: CuttableStream,
        nursery: trio.Nursery,
        limits: Limits,
    ) -> None:
        """Take over an accepted connection."""
        self._connection = connection
        self._stream = stream
        self._wire = wire
        self._nursery = nursery
        self._limits = limits
        self._reading = False
        self._draining = False
        self._drained = trio.Event()
        self._closing = False
        self._closed = trio.Event()
        self.hold: Callable[[bytes], int] = stream.hold
        self.push: Callable[[], int] = stream.push
        self.send_frame: Callable[[bytes], int] = stream.send_frame

    def __repr__(self) -> str:
        state = "closed" if self._wire.is_cut else "closing" if self._closing else "open"
        return f"<ServerWebSocket {state}, {self.queued_bytes} bytes queued>"

    @property
    def subprotocol(self) -> str | None:
        """What was accepted."""
        return self._connection.subprotocol

    @property
    def queued_bytes(self) -> int:
        """How much was sent here and is still to be taken by the network. Who sends has to keep it bounded."""
        return self._stream.queued_bytes

    async def receive_batch(self) -> list[bytes]:
        """Give every message that has come, at least one: text as plain ``bytes``, binary as `BinaryMessage`.

        Only one task may receive at a time.

        Raises:
            TransportEnded: The connection is over, or `close` was called. What came before was given.

        Back-pressure: The client is read from only while this runs.

        Cancellation: No message is lost.
        """
        if self._draining:
            await self._drained.wait()
        return await self._read()

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        """Send a message, or queue what the network does not take at once.

        On a connection that is ending it is dropped, as it would be on its way.
        """
        self.send_frame(encode_frame(payload, binary=binary))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what is queued, then a close frame, and wait for the client's; after ``close_timeout`` do without it.

        Messages that come meanwhile are dropped, but for those that a running `receive_batch` gives.

        Cancellation: The connection is closed at once.
        """
        if self._closing:
            await self._closed.wait()
            return
        if self._wire.is_cut:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        if not self._reading:
            self._start_draining()
        try:
            with trio.move_on_after(self._limits.close_timeout):
                # First, so that a client that has closed meanwhile gets its answer, and not a close frame of ours.
                await self._stream.drain()
                self._stream.ignore_pings()
                await self._connection.aclose(code, reason)
                await self._stream.drain()
                await self._wire.linger()
            await trio.aclose_forcefully(self._stream)
        finally:
            self._wire.cut()
            self._closed.set()

    def abort(self) -> None:
        """Reset the connection, now."""
        self._wire.reset()

    def end(self) -> None:
        """End the connection without a close frame, now, in the middle of whatever is being sent."""
        self._wire.end()

    def silence(self) -> None:
        """Swallow all that comes and all that is sent from now on. The client is never told."""
        self._wire.silence()

    def after_sending(self, size: int, fault: Callable[[], None]) -> None:
        """Call ``fault``, which is `abort`, `end` or `silence`, when ``size`` more bytes have gone to the client."""
        self._wire.after_sending(size, fault)

    def slow_down(self, bytes_per_second: float) -> None:
        """Let no more than this through in each direction; ``math.inf`` lets everything through again."""
        self._wire.slow_down(bytes_per_second)

    async def _read(self) -> list[bytes]:
        """Read; a client from which nothing comes is asked whether it is still there, and then cut off."""
        self._reading = True
        stream, interval = self._stream, self._limits.ping_interval
        begun = trio.current_time()
        asked = False
        try:
            while True:
                heard = max(begun, stream.last_received)
                with trio.CancelScope(deadline=heard + (interval * 2 if asked else interval)):
                    return await stream.receive_batch()
                if asked := stream.last_received <= heard:
                    if trio.current_time() >= heard + interval * 2:
                        self.abort()
                        return await stream.receive_batch()
                    stream.queue_ping()
        finally:
            self._reading = False
            if self._closing and not self._draining:
                self._start_draining()

    def _start_draining(self) -> None:
        """Read on though nobody wants to, since the client's close frame is behind what else it sent."""
        self._draining = True
        self._nursery.start_soon(self._drain, name="WebSocket drain")

    async def _drain(self) -> None:
        with suppress(TransportEnded):
            while True:
                await self._read()
        self._drained.set()


def _split(header: str) -> list[str]:
    """Give the members of a list, as headers write it."""
    return [stripped for member in header.split(",") if (stripped := member.strip())]


def _is_key(text: str) -> bool:
    """Whether this is a ``Sec-WebSocket-Key``: the base64 form of 16 bytes."""
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) == 16
    except ValueError:
        return False
