"""The listener: accepts connections, tells HTTP from WebSocket, and keeps what fails in one away from the others."""

from __future__ import annotations

import dataclasses
import logging
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TypeAlias, cast

import trio

from .._shell.connector import Connector
from .._shell.frame_stream import TransportEnded
from .._shell.memory import memory_stream_pair
from ..protocol.arguments import check_type
from .cuttable import CuttableStream
from .http import HttpConnection, Refused
from .values import Limits, Request, Response
from .websocket import WebSocketRequest, asks_for_websocket, check_upgrade

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Answers an HTTP request."""
WebSocketHandler: TypeAlias = Callable[[WebSocketRequest], Awaitable[None]]
"""Accepts or rejects a WebSocket, and is its life: when it returns, the WebSocket is closed."""

_GOING_AWAY = 1001
_FAILED = Refused(500).response

# What is logged says nothing of the request: its URL and headers may hold tokens.
_logger = logging.getLogger(__name__)


def check_server_context(ssl_context: object) -> None:
    """Refuse a context with which no server can speak TLS.

    Raises:
        TypeError: it is neither a context nor ``None``.
        ValueError: it is one for clients.
    """
    if ssl_context is None:
        return
    check_type("ssl_context", ssl_context, ssl.SSLContext, "an ssl.SSLContext or None")
    if cast("ssl.SSLContext", ssl_context).protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("ssl_context is for clients; ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) makes others")


async def open_sockets(port: int, host: str | None) -> list[trio.SocketListener]:
    """Listen on a TCP port, on each address of ``host``.

    Raises:
        OSError: The port cannot be had; the text says which.

    Cancellation: Nothing is left open.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        where = f"port {port}" if host is None else f"port {port} of {host}"
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror or error}") from error


async def open_listeners(
    port: int, *, host: str | None, ssl_context: ssl.SSLContext | None
) -> tuple[list[trio.abc.Listener[trio.abc.Stream]], tuple[int, ...]]:
    """Listen on a TCP port; give the listeners and their ports, one for each address of ``host``.

    Raises:
        OSError: The port cannot be had.

    Cancellation: Nothing is left open.
    """
    sockets = await open_sockets(port, host)
    ports = tuple(int(listener.socket.getsockname()[1]) for listener in sockets)
    if ssl_context is None:
        return list(sockets), ports
    return [trio.SSLListener(each, ssl_context, https_compatible=True) for each in sockets], ports


class Listener:
    """One port for HTTP and WebSocket.

    A request handler that raises is answered with 500, a WebSocket whose handler raises is closed with 1011; both are
    logged. `TransportEnded` may be let out of a WebSocket's handler: it is how one usually ends.

    Args:
        handle_request: Called for each HTTP request, one after the other on each connection.
        handle_websocket: Called for each upgrade to WebSocket.
        limits: What peers may do.
        too_large: The answer to a request whose body is too large, by default a 413 that says nothing more.
    """

    def __init__(
        self,
        handle_request: RequestHandler,
        handle_websocket: WebSocketHandler,
        *,
        limits: Limits | None = None,
        too_large: Response | None = None,
    ) -> None:
        self._handle_request = handle_request
        self._handle_websocket = handle_websocket
        self._limits = limits or Limits()
        self._too_large = too_large
        self.bytes_per_second: float = math.inf
        """How much gets through at most, in each direction of every connection; `slow_down` sets it."""
        self._stopping = trio.Event()
        self._connections: dict[HttpConnection, trio.CancelScope] = {}
        # Dicts and no sets, so that a simulation always finds the same order.
        self._wires: dict[CuttableStream, None] = {}
        self._websockets: dict[WebSocketRequest, None] = {}
        self._silenced: dict[trio.CancelScope, None] = {}
        self._one_ended = trio.lowlevel.ParkingLot()

    async def serve(
        self,
        port: int,
        *,
        host: str | None = "127.0.0.1",
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[tuple[int, ...]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port until `shutdown`; ``nursery.start`` gives the ports, one for each address of ``host``.

        Args:
            port: 0 for a free one.
            host: A name or an address of this machine; ``None`` for all its addresses.
            ssl_context: For TLS.
            task_status: Told once connections can be made.

        Raises:
            OSError: The port cannot be had.

        Cancellation: All connections made here are closed at once.
        """
        listeners, ports = await open_listeners(port, host=host, ssl_context=ssl_context)
        task_status.started(ports)
        await self.accept(listeners)

    async def accept(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Serve the connections that listeners give, until `shutdown`; the listeners are closed.

        Cancellation: All connections made here are closed at once.
        """
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, self.handle, list(listeners), handler_nursery=connections)
            )
            await self._stopping.wait()
            accepting.cancel_scope.cancel()

    def connector(self, nursery: trio.Nursery) -> Connector:
        """Give a way in from within the process; its connections are served in ``nursery``.

        It looks at neither host nor port, and speaks no TLS. After a `shutdown` connections are refused.
        """

        async def connect(_host: str, _port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if ssl_context is not None:
                raise ssl.SSLError("there is no TLS within the process")
            if self._stopping.is_set():
                raise ConnectionRefusedError("the listener was shut down")
            near, far = memory_stream_pair()
            nursery.start_soon(self.handle, far)
            return near

        return connect

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, and close it. Whatever it does, and whatever its handler does, ends here.

        Cancellation: The connection is closed at once.
        """
        wire = CuttableStream(stream)
        wire.slow_down(self.bytes_per_second)
        http = HttpConnection(wire, self._limits)
        try:
            with trio.CancelScope() as scope:
                self._connections[http] = scope
                self._wires[wire] = None
                try:
                    await self._serve_websocket(await self._serve_http(http, wire), http, wire)
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # the peer is gone
                except* Exception:  # one connection must not end the others
                    _logger.exception("a connection failed")
            if wire.silent:
                await self._swallow(stream)
        finally:
            del self._connections[http]
            del self._wires[wire]
            self._one_ended.unpark_all()
            wire.cut()  # what is still called on its WebSocket comes too late, and does nothing
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def reset_all(self) -> None:
        """Reset every connection, now; new ones are taken."""
        for wire in list(self._wires):
            wire.reset()

    def slow_down(self, bytes_per_second: float) -> None:
        """Let no more than this through in each direction of every connection, those to come too.

        ``math.inf`` lets everything through again.
        """
        self.bytes_per_second = bytes_per_second
        for wire in self._wires:
            wire.slow_down(bytes_per_second)

    async def shutdown(self, grace: float = 5.0) -> None:
        """End it all: no new connections, 1001 to every WebSocket, running requests are answered.

        Args:
            grace: Seconds after which connections that are still there are closed without more ado.

        Cancellation: They are closed at once.
        """
        self._stopping.set()
        for http in self._connections:
            http.stop()
        for scope in self._silenced:
            scope.cancel()
        try:
            with trio.move_on_after(grace):
                async with trio.open_nursery() as nursery:
                    for request in self._websockets:
                        nursery.start_soon(request.close, _GOING_AWAY)
                    await self._all_ended()
        finally:
            for scope in self._connections.values():
                scope.cancel()
        await self._all_ended()

    async def _all_ended(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._connections:
            await self._one_ended.park()

    async def _serve_http(self, http: HttpConnection, wire: CuttableStream) -> Request | None:
        """Answer requests; give the one that asks for a WebSocket, if such a one is the last."""
        if self._stopping.is_set():
            return None
        crowd = len(self._connections) / self._limits.connections
        if crowd > 2:
            return None  # there is no room even for refusals
        try:
            if crowd > 1:
                raise Refused(503, ("Retry-After", "1"))
            while (head := await http.receive_head()) is not None:
                if asks_for_websocket(head):
                    check_upgrade(head)
                    return head
                body = await http.receive_body()
                request = dataclasses.replace(head, body=body) if body else head
                if not await self._answer(request, http):
                    break
            else:
                return None
        except Refused as refused:
            _logger.info("refused a request with %d before it was whole", refused.response.status)
            too_large = self._too_large if refused.response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
            await http.refuse(too_large or refused.response)
        with trio.move_on_after(self._limits.close_timeout):
            await wire.linger()
        return None

    async def _answer(self, request: Request, http: HttpConnection) -> bool:
        response = _FAILED
        try:
            response = await self._handle_request(request)
        except* Exception:  # whatever it is, it is the handler's, and the client has to be told
            _logger.exception("a request handler failed")
        try:
            return await http.respond(response)
        except ValueError:
            _logger.exception("a request handler gave a response that cannot be written")
            return await http.respond(_FAILED)

    async def _serve_websocket(self, head: Request | None, http: HttpConnection, wire: CuttableStream) -> None:
        if head is None:
            return
        async with trio.open_nursery() as nursery:
            request = WebSocketRequest(head, http, wire, nursery, self._limits)
            del head  # which holds more, tokens among it, than has to last as long as this
            self._websockets[request] = None
            failed = False
            try:
                try:
                    await self._handle_websocket(request)
                except* TransportEnded:
                    pass
                except* Exception:  # as above
                    failed = True
                    _logger.exception("a WebSocket handler failed")
                await request.finish(failed=failed)
            finally:
                del self._websockets[request]
            nursery.cancel_scope.cancel()

    async def _swallow(self, stream: trio.abc.Stream) -> None:
        """Keep a silenced connection as it is, until the peer ends it or we stop."""
        with trio.CancelScope() as scope:
            self._silenced[scope] = None
            try:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while not self._stopping.is_set() and await stream.receive_some():
                        pass
            finally:
                del self._silenced[scope]
