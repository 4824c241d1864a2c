"""A WebSocket client without any knowledge of the service: it sends and receives JSON, as it is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import urlsplit

import jwt
import trio
import trio_websocket

from trio_webpubsub.emulator import Emulator
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.protocol.urls import ClientUrl

RELIABLE = "json.reliable.webpubsub.azure.v1"
PLAIN = "json.webpubsub.azure.v1"


class Peer:
    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.websocket = websocket
        self.stream = stream
        self.connected: dict[str, Any] = {}

    @property
    def connection_id(self) -> str:
        return str(self.connected["connectionId"])

    async def send(self, **fields: Any) -> None:
        await self.websocket.send_message(json.dumps(fields))

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.websocket.get_message())
        return message

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Send a message, and give the next one that comes."""
        await self.send(**fields)
        return await self.receive()

    async def closed(self) -> tuple[int, str | None]:
        """Read to the end, and give the close code and reason."""
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self.websocket.get_message()
        reason = self.websocket.closed
        assert reason is not None
        return reason.code, reason.reason


@asynccontextmanager
async def raw_peer(
    emulator: Emulator, url: str, subprotocols: Sequence[str] = (RELIABLE,), headers: Sequence[tuple[bytes, bytes]] = ()
) -> AsyncGenerator[Peer, None]:
    """Open a WebSocket and leave it abruptly at the end, whatever happened; nothing is read."""
    address = urlsplit(url)
    stream = await emulator.connector(address.hostname or "", address.port or 80, None)
    try:
        async with trio.open_nursery() as nursery:
            websocket = await trio_websocket.wrap_client_stream(
                nursery,
                # It takes any stream; its annotation knows of two kinds only.
                cast("trio.SocketStream", stream),
                address.netloc,
                f"{address.path}?{address.query}",
                subprotocols=list(subprotocols),
                extra_headers=list(headers),
            )
            yield Peer(websocket, stream)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_peer(
    emulator: Emulator, hub: str = "chat", subprotocol: str = RELIABLE, **claims: Any
) -> AsyncGenerator[Peer, None]:
    """Connect to a hub and read ``connected``."""
    async with raw_peer(emulator, signed_url(emulator, hub, **claims), [subprotocol]) as peer:
        peer.connected = await peer.receive()
        assert peer.connected["event"] == "connected"
        yield peer


def signed_url(emulator: Emulator, hub: str, *, roles: Sequence[str] | None = None, **claims: Any) -> str:
    """Make a client's URL, whose roles may be some that count for nothing, as others may sign them."""
    url = emulator.client_url(hub, **claims)
    if roles is None:
        return url
    address, token = url.split("access_token=")
    content = jwt.decode(token, options={"verify_signature": False})
    key = ConnectionString.parse(emulator.connection_string).access_key
    return f"{address}access_token={jwt.encode({**content, 'role': list(roles)}, key, 'HS256')}"


def recovery_url(emulator: Emulator, peer: Peer, hub: str = "chat") -> str:
    url = ClientUrl.parse(emulator.client_url(hub)).recovery(peer.connection_id, peer.connected["reconnectionToken"])
    return f"ws://{url.host_header}{url.resource}"


async def rejection(emulator: Emulator, url: str, subprotocols: Sequence[str] = (RELIABLE,)) -> int:
    """Try to connect, and give the HTTP status of the refusal."""
    status = 101
    try:
        async with raw_peer(emulator, url, subprotocols):
            pass
    except* trio_websocket.ConnectionRejected as rejected:
        (error,) = rejected.exceptions
        assert isinstance(error, trio_websocket.ConnectionRejected)
        status = error.status_code
    return status
