"""HTTP over the streams of a `Connector`, as a transport for httpx.

httpx's own transport has no public way to say where its streams come from, its pool slows down as connections are
added, and it asks the real clock how long a connection was idle. So this is a pool of our own, with httpcore's HTTP/1.1
connection in it: a list of idle connections and a number of slots, nothing more.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httpcore
import httpx
import trio

from .connector import Connector, connect_tcp

_HTTPX_ERRORS: Mapping[type[Exception], type[httpx.TransportError]] = {
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}


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
        extensions: MutableMapping[str, Any] = request.extensions
        timeouts: Mapping[str, float | None] = extensions.get("timeout", {})
        with _limit(timeouts.get("pool"), httpx.PoolTimeout("all connections stayed in use")):
            await self._slots.acquire()
        connection: _Connection | None = None
        try:
            if self._closed:
                raise trio.ClosedResourceError("this transport was closed")
            connection = await self._connect(request.url, timeouts.get("connect"))
            if "sending" in extensions:
                extensions["sending"]()
            with _httpx_errors():
                response = await connection.http.handle_async_request(
                    httpcore.Request(
                        method=request.method,
                        url=_httpcore_url(request.url),
                        headers=request.headers.raw,
                        content=request.stream,
                        extensions=extensions,
                    )
                )
        except BaseException:
            self._slots.release()
            if connection is not None:
                await trio.aclose_forcefully(connection.stream)
            raise
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response, connection.stream, partial(self._release, connection)),
            extensions=cast("Any", response).extensions,  # which httpcore leaves untyped
        )

    async def aclose(self) -> None:
        """Close all idle connections; those in use are closed when their response is.

        Cancellation: they are closed all the same.
        """
        self._closed = True
        with trio.CancelScope(shield=True):  # closing by force waits for nobody
            while self._idle:
                await trio.aclose_forcefully(self._idle.pop().stream)

    async def _connect(self, url: httpx.URL, seconds: float | None) -> _Connection:
        """Take an idle connection that still stands, the youngest first, or open a new one."""
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"the scheme of a request is http or https, not {url.scheme!r}")
        origin = _httpcore_url(url).origin
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
        with _limit(seconds, httpx.ConnectTimeout(f"no connection to {origin} in time")):
            try:
                stream = await self._connector(origin.host.decode(), origin.port, self._tls(url))
            except (OSError, trio.BrokenResourceError) as error:
                raise httpx.ConnectError(f"no connection to {origin}: {error}") from error
        return _Connection(origin, stream, httpcore.AsyncHTTP11Connection(origin, _NetworkStream(stream)))

    def _tls(self, url: httpx.URL) -> ssl.SSLContext | None:
        if url.scheme != "https":
            return None
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context

    def _take_idle(self, origin: httpcore.Origin) -> _Connection | None:
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
        if self._closed or not connection.http.is_idle():
            return False
        connection.idle_since = trio.current_time()
        self._idle.append(connection)
        return True


@dataclass(eq=False, slots=True)
class _Connection:
    origin: httpcore.Origin
    stream: trio.abc.Stream
    http: httpcore.AsyncHTTP11Connection
    idle_since: float = 0.0


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it gives the connection back."""

    def __init__(self, response: httpcore.Response, stream: trio.abc.Stream, release: Callable[[], bool]) -> None:
        self._response = response
        self._stream = stream
        self._release = release
        self._closed = False
        self._parts = response.aiter_stream()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with _httpx_errors():
            return await anext(self._parts)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            # httpcore reads in generators. Under a cancelled scope they come to their end at their next read, which
            # also closes the connection; left alone they would be finalised by the garbage collector, which complains.
            with suppress(*_HTTPX_ERRORS), trio.CancelScope() as scope:
                scope.cancel()
                async for _ in self._parts:
                    pass
            with trio.CancelScope(shield=True):  # waits for nothing but a turn
                await self._response.aclose()
        finally:
            if not self._release():
                await trio.aclose_forcefully(self._stream)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants to see it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's face
        try:
            with _limit(timeout, httpcore.ReadTimeout("nothing came in time")):
                return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError("the connection broke") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's face
        if not buffer:
            return
        try:
            with _limit(timeout, httpcore.WriteTimeout("the server did not read in time")):
                await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError("the connection broke") from error

    async def aclose(self) -> None:
        # By force, since httpcore calls this shielded from cancellation.
        await trio.aclose_forcefully(self._stream)


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


@contextmanager
def _limit(seconds: float | None, error: Exception) -> Generator[None]:
    if seconds is None:
        yield
        return
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise error


@contextmanager
def _httpx_errors() -> Generator[None]:
    try:
        yield
    except tuple(_HTTPX_ERRORS) as error:
        raise _HTTPX_ERRORS[type(error)](str(error)) from error


def _httpcore_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
