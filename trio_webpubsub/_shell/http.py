"""HTTP over the streams of a `Connector`, as a transport for httpx.

httpx's own transport has no public way to say where its streams come from, its pool slows down as connections are
added, and it asks the real clock how long a connection was idle. So this is a pool of our own: a list of idle
connections and a number of slots, nothing more.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
import trio

from .connector import Connector, connect_tcp, default_ssl_context, reason_of
from .http_connection import HttpConnection, limit

_PORTS = {"http": 80, "https": 443}


class ConnectorTransport(httpx.AsyncBaseTransport):
    """An httpx transport over the streams that a `Connector` gives; HTTP/1.1 only, no proxies of its own.

    A connection is used again when its last response was read to the end. One that the server has closed meanwhile is
    noticed before a request goes out on it, and replaced. httpx's timeouts are kept, on trio's clock.

    A callable that a request has as its extension ``sending`` is called when the first byte is about to go out:
    whatever goes wrong before, the server knows nothing of the request.
    """

    def __init__(
        self,
        connector: Connector = connect_tcp,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 100,
        keepalive: float = 30.0,
    ) -> None:
        """Make a transport; it opens connections when it needs them.

        Args:
            connector: Gives the streams.
            ssl_context: For https; by default one that trusts the system's authorities.
            max_connections: How many there are at most, idle ones included; more requests wait.
            keepalive: Seconds after which an idle connection is not used again.
        """
        self._connector = connector
        self._ssl_context = ssl_context
        self._keepalive = keepalive
        self._slots = trio.Semaphore(max_connections)
        self._idle: list[_Connection] = []  # the longest idle first
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give the response as soon as its head came. It must be closed, as httpx does.

        Raises:
            httpx.TransportError: the same kinds as httpx's own transport raises; ``ConnectError``, ``ConnectTimeout``
                and ``PoolTimeout`` say that nothing was sent.
            trio.ClosedResourceError: the transport was closed.

        Cancellation: the connection that was in use is closed; what the server makes of the request is unknown.
        """
        extensions: Mapping[str, Any] = request.extensions
        timeouts: Mapping[str, float | None] = extensions.get("timeout", {})
        await self._take_slot(timeouts.get("pool"))
        connection: _Connection | None = None
        try:
            if self._closed:
                raise trio.ClosedResourceError("this transport was closed")
            connection = await self._connect(request.url, timeouts.get("connect"))
            head = await connection.http.send(request)
        except BaseException:  # cancellation too: the slot is wanted by others, and the exchange is half done
            self._slots.release()
            if connection is not None:
                await trio.aclose_forcefully(connection.stream)
            raise
        return httpx.Response(
            status_code=head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(connection, self._release),
            extensions={"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason},
        )

    async def aclose(self) -> None:
        """Close all idle connections; those in use are closed when their response is.

        Cancellation: they are closed all the same.
        """
        self._closed = True
        with trio.CancelScope(shield=True):  # closing by force waits for nobody
            while self._idle:
                await trio.aclose_forcefully(self._idle.pop().stream)

    async def _take_slot(self, seconds: float | None) -> None:
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            with limit(seconds, httpx.PoolTimeout("all connections stayed in use")):
                await self._slots.acquire()

    async def _connect(self, url: httpx.URL, seconds: float | None) -> _Connection:
        """Take an idle connection that still stands, the youngest first, or open a new one."""
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol(f"the scheme of a request is http or https, not {url.scheme!r}")
        origin = _Origin(url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])
        await self._close_idle(since=trio.current_time() - self._keepalive)
        while (connection := self._take_idle(origin)) is not None:
            quiet = False
            try:
                quiet = await _is_quiet(connection.stream)
            finally:
                if not quiet:
                    await trio.aclose_forcefully(connection.stream)
            if quiet:
                return connection
        # Requests hold slots, idle connections do not: connections to other origins make room.
        while len(self._idle) > self._slots.value:
            await trio.aclose_forcefully(self._idle.pop(0).stream)
        with limit(seconds, httpx.ConnectTimeout(f"no connection to {origin} in time")):
            try:
                stream = await self._connector(origin.host, origin.port, self._tls(origin))
            except (OSError, trio.BrokenResourceError) as error:
                raise httpx.ConnectError(f"no connection to {origin}: {reason_of(error)}") from error
        return _Connection(origin, stream, HttpConnection(stream))

    def _tls(self, origin: _Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        return self._ssl_context or default_ssl_context()

    def _take_idle(self, origin: _Origin) -> _Connection | None:
        for index in reversed(range(len(self._idle))):
            if self._idle[index].origin == origin:
                return self._idle.pop(index)
        return None

    async def _close_idle(self, *, since: float) -> None:
        while self._idle and self._idle[0].idle_since <= since:
            await trio.aclose_forcefully(self._idle.pop(0).stream)

    def _release(self, connection: _Connection) -> bool:
        """Free the slot after a response, and say whether the connection is kept; otherwise it is to be closed."""
        self._slots.release()
        if self._closed or not connection.http.finish():
            return False
        connection.idle_since = trio.current_time()
        self._idle.append(connection)
        return True


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(eq=False, slots=True)
class _Connection:
    origin: _Origin
    stream: trio.abc.Stream
    http: HttpConnection
    idle_since: float = 0.0


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it gives the connection back."""

    def __init__(self, connection: _Connection, release: Callable[[_Connection], bool]) -> None:
        self._connection = connection
        self._release = release
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise httpx.StreamClosed
        part = await self._connection.http.receive_part()
        if part is None:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._release(self._connection):
            await trio.aclose_forcefully(self._connection.stream)


async def _is_quiet(stream: trio.abc.Stream) -> bool:
    """Whether nothing came on an idle connection: above all, no end of it."""
    inner: object = getattr(stream, "transport_stream", stream)  # what lies under TLS
    if isinstance(inner, trio.SocketStream):
        return not inner.socket.is_readable()
    # Any other stream can only be asked by reading for a moment.
    something_came = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_soon, nursery.cancel_scope, name="end of a look at an idle connection")
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
        something_came = True
        nursery.cancel_scope.cancel()
    return not something_came


async def _cancel_soon(scope: trio.CancelScope) -> None:
    # Readers take a turn or two before they look at what came.
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    scope.cancel()
