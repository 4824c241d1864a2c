"""The emulator's hub on picows (asyncio, WebSocket only): prints its port and serves until it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from driven_hub import HOST, DrivenHub
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from trio_webpubsub.emulator.handshake import Admission
from trio_webpubsub.emulator.hub import Hub

service = DrivenHub()


class Link(WSListener):  # type: ignore[misc]
    """One client."""

    put: Callable[[bytes | None], None]

    def __init__(self, hub: Hub, admission: Admission, subprotocol: str) -> None:
        super().__init__()
        self.subprotocol = subprotocol
        self.hub = hub
        self.admission = admission

    def on_ws_connected(self, transport: WSTransport) -> None:
        send: Any = transport.send
        self.put = service.open(self.hub, self.admission, self.subprotocol, lambda frame: send(WSMsgType.TEXT, frame))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.put(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.put(None)


def upgrade(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
    """Accept a client."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    path, _, query = request.path.decode().partition("?")
    subprotocol = headers["sec-websocket-protocol"]
    hub, admission = service.admit(path, query, headers)
    response = WSUpgradeResponse.create_101_response(extra_headers={"Sec-WebSocket-Protocol": subprotocol})
    return WSUpgradeResponseWithListener(response, Link(hub, admission, subprotocol))


async def main() -> None:
    """Serve."""
    server = await ws_create_server(upgrade, HOST, 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
