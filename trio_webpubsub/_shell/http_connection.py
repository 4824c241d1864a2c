"""The client's side of one HTTP/1.1 connection: h11 over a stream, one exchange after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from typing import Any, cast

import h11
import httpx
import trio

from .tcp import receiver_of

_RECEIVE_SIZE = 65_536
_MAX_HEAD_SIZE = 100 * 1024
"""Bytes of the largest head of an answer, which is also that of the largest line between chunks of its body."""


class HttpConnection:
    """Sends requests over a stream and reads what is answered: `send`, `receive_part` until it ends, `finish`.

    httpx's timeouts are kept, on trio's clock; what goes wrong is raised as httpx's transport errors. After an error,
    or when `finish` says so, the connection cannot be used any more.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._receive_some = receiver_of(stream)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_SIZE)
        self._timeouts: Mapping[str, float | None] = {}

    async def send(self, request: httpx.Request) -> h11.Response:
        """Send a request, and give the head of the answer.

        Cancellation: what the server makes of the request is unknown.
        """
        extensions: Mapping[str, Any] = request.extensions
        self._timeouts = extensions.get("timeout", {})
        try:
            head = memoryview(
                self._written(
                    h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
                )
            )
            if "sending" in extensions:
                extensions["sending"]()
            with suppress(httpx.WriteError):  # a server that has had enough of a request may still answer it
                await self._send(head, request)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        while isinstance(event := await self._receive(), h11.InformationalResponse):
            pass  # the answer itself follows
        if not isinstance(event, h11.Response):
            raise httpx.RemoteProtocolError("the server went over to another protocol")
        return event

    async def receive_part(self) -> bytes | None:
        """Give the next part of the answer's body, ``None`` at its end.

        Cancellation: the connection cannot be used any more.
        """
        event = await self._receive()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    def finish(self) -> bool:
        """End the exchange, however much of the answer was read; say whether another one may follow."""
        try:
            while isinstance(self._h11.next_event(), h11.Data):
                pass  # what has come already is passed over
            if self._h11.trailing_data[0]:
                return False  # nobody asked for that; it must not be taken for the next answer
            self._h11.start_next_cycle()
        except h11.ProtocolError:
            return False
        return True

    async def _send(self, head: memoryview, request: httpx.Request) -> None:
        # Heads hold tokens, and a view shows nothing where somebody prints a traceback with its variables.
        stream = request.stream
        if isinstance(stream, httpx.ByteStream):
            # All in one piece, which is what a small request is for the network too.
            body = self._written(h11.Data(data=b"".join(stream))), self._written(h11.EndOfMessage())
            await self._write(memoryview(b"".join((head, *body))))
            return
        await self._write(head)
        async with AsyncExitStack() as stack:
            parts: AsyncIterator[bytes] = aiter(cast("httpx.AsyncByteStream", stream))
            if isinstance(parts, AsyncGenerator):
                await stack.enter_async_context(aclosing(cast("AsyncGenerator[bytes]", parts)))
            async for part in parts:
                await self._write(self._written(h11.Data(data=part)))
        await self._write(self._written(h11.EndOfMessage()))

    def _written(self, event: h11.Event) -> bytes:
        return self._h11.send(event) or b""

    async def _write(self, data: bytes | memoryview) -> None:
        if not data:
            return
        try:
            with limit(self._timeouts.get("write"), httpx.WriteTimeout("the server did not read in time")):
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.WriteError("the connection broke") from error

    async def _receive(self) -> object:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            try:
                with limit(self._timeouts.get("read"), httpx.ReadTimeout("nothing came in time")):
                    data = await self._receive_some(_RECEIVE_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise httpx.ReadError("the connection broke") from error
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")
            self._h11.receive_data(bytes(data))


@contextmanager
def limit(seconds: float | None, error: Exception) -> Generator[None]:
    """Cancel what takes longer than some ``seconds``, and raise ``error`` instead."""
    if seconds is None:
        yield
        return
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise error
