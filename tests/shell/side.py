"""One end of a WebSocket for tests: a FrameStream with trio-websocket over it."""

from __future__ import annotations

from typing import cast

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream, wrap_server_stream

from trio_webpubsub._shell.frame_stream import FrameStream, TransportEnded

LIMIT = 100_000


class Side:
    """One end of a connection: its receive loop and its writer, as client and listener run them."""

    def __init__(self, inner: trio.abc.Stream, *, client: bool) -> None:
        self.stream = FrameStream(inner, client=client, max_message_size=LIMIT)
        self.received: list[bytes] = []
        self.end: TransportEnded | None = None
        self.ended = trio.Event()
        self._websocket: WebSocketConnection | None = None

    @property
    def websocket(self) -> WebSocketConnection:
        assert self._websocket is not None
        return self._websocket

    async def open(self, nursery: trio.Nursery, target: str = "/") -> None:
        # Its annotation allows sockets only; any stream will do.
        stream = cast(trio.SocketStream, self.stream)
        self._websocket = await wrap_client_stream(nursery, stream, "example", target, subprotocols=["other", "p"])
        assert self._websocket.subprotocol == "p"

    async def accept(self, nursery: trio.Nursery) -> None:
        request = await wrap_server_stream(nursery, self.stream)
        self._websocket = await request.accept(subprotocol="p")

    async def receive(self) -> None:
        try:
            while True:
                self.received += await self.stream.receive_batch()
        except TransportEnded as end:
            self.end = end
            self.ended.set()

    async def write(self) -> None:
        try:
            while True:
                await self.stream.wait_for_work()
                await self.stream.flush()
        except trio.BrokenResourceError:
            pass
