"""Clients of a listener, and handlers for it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from tests.shell.side import Side
from trio_webpubsub._shell.connector import Connector
from trio_webpubsub._shell.memory import MemoryStream
from trio_webpubsub.listener import Limits, Listener, Request, Response, WebSocketRequest
from trio_webpubsub.listener.listener import RequestHandler, WebSocketHandler

UPGRADE = (
    b"GET /client/hubs/chat?access_token=secret HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: other, p\r\n\r\n"
)


async def describe(request: Request) -> Response:
    """Answer with what came."""
    await trio.lowlevel.checkpoint()
    words = f"{request.method} {request.path} {request.query} {len(request.body)}"
    return Response(status=200, headers=[("Content-Type", "text/plain")], body=words.encode())


async def echo(request: WebSocketRequest) -> None:
    """Send every message back."""
    websocket = await request.accept(subprotocol="p" if "p" in request.subprotocols else None)
    while True:
        for message in await websocket.receive_batch():
            websocket.send(message)


class Served:
    """A listener within the process."""

    def __init__(self, listener: Listener, connector: Connector, nursery: trio.Nursery) -> None:
        self.listener = listener
        self.connector = connector
        self.nursery = nursery

    async def connect(self) -> MemoryStream:
        stream = await self.connector("anything", 1, None)
        assert isinstance(stream, MemoryStream)
        return stream

    async def open_websocket(self, target: str = "/") -> Side:
        """Open a WebSocket whose loops run until the listener is gone."""
        side = Side(await self.connect(), client=True)
        await side.open(self.nursery, target)
        self.nursery.start_soon(side.receive)
        self.nursery.start_soon(side.write)
        return side


@asynccontextmanager
async def serving(
    handle_request: RequestHandler = describe,
    handle_websocket: WebSocketHandler = echo,
    *,
    limits: Limits | None = None,
    too_large: Response | None = None,
) -> AsyncGenerator[Served]:
    """Run a listener; everything is over within so many virtual seconds, or the test fails."""
    with trio.fail_after(10_000):
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            listener = Listener(handle_request, handle_websocket, limits=limits, too_large=too_large)
            yield Served(listener, listener.connector(nursery), nursery)
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.abc.Stream) -> bytes:
    """Read until the peer ends the connection."""
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


async def read_answer(stream: trio.abc.Stream) -> tuple[int, bytes]:
    """Read one response that says its length; give its status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]):
        body += await stream.receive_some()
    return int(head.split()[1]), body


def statuses(data: bytes) -> list[int]:
    """Give the status of each response in ``data``."""
    return [int(match[1]) for match in re.finditer(rb"HTTP/1\.1 (\d+) ", data)]
