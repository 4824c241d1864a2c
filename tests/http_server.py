"""A server for tests of HTTP clients: real bytes over memory or sockets, and answers as the test wants them."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import h11
import trio

from trio_webpubsub._shell.memory import memory_stream_pair

Answer: TypeAlias = Callable[["Server", trio.abc.Stream, h11.Connection, h11.Request], Awaitable[None]]


class Server:
    """Gives streams, each with a task at its other end that answers requests, and notes what came."""

    def __init__(self, nursery: trio.Nursery, answer: Answer) -> None:
        self.nursery = nursery
        self.answer = answer
        self.connects: list[tuple[str, int, bool]] = []
        self.requests: list[tuple[int, bytes, bytes]] = []
        self.streams: list[trio.abc.Stream] = []
        self.open: set[int] = set()

    async def __call__(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self.connects.append((host, port, ssl_context is not None))
        self.nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream: trio.abc.Stream) -> None:
        number = len(self.streams)
        self.streams.append(stream)
        self.open.add(number)
        connection = h11.Connection(h11.SERVER)
        body = b""
        request: h11.Request | None = None
        async with stream:
            while True:
                try:
                    event = connection.next_event()
                except h11.RemoteProtocolError:
                    break
                if event is h11.NEED_DATA:
                    try:
                        connection.receive_data(bytes(await stream.receive_some()))
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        break
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    self.requests.append((number, request.target, body))
                    try:
                        await self.answer(self, stream, connection, request)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        break
                    if connection.our_state is not h11.DONE:
                        break
                    connection.start_next_cycle()
                else:
                    break
        self.open.discard(number)


def reply(connection: h11.Connection, body: bytes = b"", *headers: tuple[str, str], status: int = 202) -> bytes:
    """The bytes of a whole answer."""
    head = [("content-length", str(len(body))), *headers]
    events = [h11.Response(status_code=status, headers=head), h11.Data(data=body), h11.EndOfMessage()]
    return b"".join(connection.send(event) or b"" for event in events)
