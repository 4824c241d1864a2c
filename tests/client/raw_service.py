"""A service whose every frame is the test's affair: what a polite emulator never does can be done here."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio
import trio_websocket

from trio_webpubsub import Subscription
from trio_webpubsub._shell.memory import MemoryStream, memory_stream_pair

URL = "ws://localhost/client/hubs/chat?access_token=canary-access-token"
RELIABLE = "json.reliable.webpubsub.azure.v1"


class MutableStream(trio.abc.Stream):
    """A stream that can be told to take notice of nothing any more."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self._muted = False

    def silence(self) -> None:
        """From now on nothing is received, and what is sent gets nowhere."""
        self._muted = True

    def abort(self) -> None:
        """Reset the connection, which is one in memory."""
        assert isinstance(self.inner, MemoryStream)
        self.inner.abort()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self.inner.receive_some(max_bytes)
        if self._muted:
            await trio.sleep_forever()
        return bytes(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self._muted:
            await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


class Peer:
    """The service's end of one WebSocket."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: MutableStream, path: str) -> None:
        self.websocket = websocket
        self.stream = stream
        self.path = path
        self.headers: list[tuple[bytes, bytes]] = []
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}

    async def send(self, **message: Any) -> None:
        """Send a JSON message."""
        await self.websocket.send_message(msgspec.json.encode(message).decode())

    async def send_raw(self, data: bytes) -> None:
        """Send bytes, even over a stream that is silenced."""
        await self.stream.inner.send_all(data)

    async def connected(self, connection_id: str = "c-1", *, token: str | None = "canary-token") -> None:
        """Send the message that begins a session."""
        fields: dict[str, Any] = {"connectionId": connection_id, "userId": "ann"}
        if token is not None:
            fields["reconnectionToken"] = token
        await self.send(type="system", event="connected", **fields)

    async def message(self, sequence_id: int | None, data: Any = "hi", *, group: str | None = "g") -> None:
        """Send a text message of a group, or of the server."""
        fields: dict[str, Any] = {"dataType": "text", "data": data}
        if sequence_id is not None:
            fields["sequenceId"] = sequence_id
        if group is None:
            await self.send(type="message", **{"from": "server"}, **fields)
        else:
            await self.send(type="message", **{"from": "group"}, group=group, **fields)

    async def receive(self) -> dict[str, Any]:
        """Give the next message of the client."""
        message: dict[str, Any] = msgspec.json.decode(await self.websocket.get_message())
        return message

    async def expect(self, type: str) -> dict[str, Any]:
        """Give the next message of the client, which is of this type; sequence acks are passed over."""
        message = await self.receive()
        while message["type"] == "sequenceAck" != type:
            message = await self.receive()
        assert message["type"] == type, message
        return message

    async def ack(self, message: dict[str, Any], error: str | None = None) -> None:
        """Answer a message with an ack."""
        fields: dict[str, Any] = {"ackId": message["ackId"], "success": error is None}
        if error is not None:
            fields["error"] = {"name": error, "message": "the test says so"}
        await self.send(type="ack", **fields)

    async def answer(self, type: str) -> dict[str, Any]:
        """Expect a message and acknowledge it."""
        message = await self.expect(type)
        await self.ack(message)
        return message

    async def closed(self) -> int:
        """Wait until the client has closed, and give its code; messages before that are passed over."""
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await self.websocket.get_message()
        assert self.websocket.closed is not None
        return int(self.websocket.closed.code)

    def cut(self) -> None:
        """Reset the connection, as a network does."""
        self.stream.abort()


class RawService:
    """Accepts connections through `connector`; ``greet`` says whether new sessions are begun at once."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._put, self._take = trio.open_memory_channel[Peer](100)
        self.greet = True
        self.dials = 0
        self.refuse: OSError | None = None
        self.reject: int | None = None
        self.reason = b""
        self.subprotocol: str | None = RELIABLE
        self._sessions = 0

    async def connector(self, host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        """Be the client's connector."""
        await trio.lowlevel.checkpoint()
        self.dials += 1
        if self.refuse is not None:
            raise self.refuse
        ours, theirs = await self.pair()
        self._nursery.start_soon(self._serve, MutableStream(theirs))
        return ours

    async def pair(self) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """Make a connection: the client's end, and ours."""
        return memory_stream_pair()

    async def next(self) -> Peer:
        """Give the next connection, after its handshake."""
        return await self._take.receive()

    async def recover(self) -> Peer:
        """Give the next connection, which recovers a session: its ping is answered."""
        peer = await self.next()
        await peer.expect("ping")
        await peer.send(type="pong")
        return peer

    async def _serve(self, stream: MutableStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            if self.reject is not None:
                length = [] if self.reason else [(b"content-length", b"0")]
                await request.reject(self.reject, extra_headers=length, body=self.reason)
                await stream.aclose()
                nursery.cancel_scope.cancel()
            else:
                websocket = await request.accept(subprotocol=self.subprotocol)
                peer = Peer(websocket, stream, request.path)
                peer.headers = list(request.headers)
                await self._welcome(peer)

    async def _welcome(self, peer: Peer) -> None:
        with contextlib.suppress(trio_websocket.ConnectionClosed):  # a client may be gone already
            if self.greet and "awps_connection_id" not in peer.query:
                self._sessions += 1
                await peer.connected(f"c-{self._sessions}")
            await self._put.send(peer)


@asynccontextmanager
async def raw_service() -> AsyncGenerator[RawService, None]:
    """Run a raw service beside a block."""
    async with trio.open_nursery() as nursery:
        yield RawService(nursery)
        nursery.cancel_scope.cancel()


async def entered(peer: Peer, messages: Subscription[Any]) -> Subscription[Any]:
    """Enter a subscription that joins."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.answer, "joinGroup")
        await messages.__aenter__()
    return messages
