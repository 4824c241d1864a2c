"""The service, as far as a webhook sees it: its requests, written by the library's own other side, sent by httpx."""

from __future__ import annotations

from typing import Any

import httpx

from trio_webpubsub.protocol.cloudevents_service import (
    EventRequest,
    EventSource,
    write_connect,
    write_connected,
    write_disconnected,
    write_group_event,
    write_user_event,
)
from trio_webpubsub.protocol.payloads import payload_of
from trio_webpubsub.webhooks import WebhookApp

KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
ORIGIN = "foo.webpubsub.azure.com"
SOURCE = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", user_id="größe", keys=[KEY])
PATH = "/api/webpubsub/hubs/chat/"
TIME = 1_767_323_045

CONNECT = write_connect(
    SOURCE, time=TIME, claims={"sub": ["ann"]}, query={"room": ["1"]}, headers={"Host": ["h"]}, subprotocols=["p", "q"]
)
CONNECTED = write_connected(SOURCE, event_id=1, time=TIME)
DISCONNECTED = write_disconnected(SOURCE, event_id=9, time=TIME, reason="gone")
JOINED = write_group_event(SOURCE, event_id=2, time=TIME, change="joined", group="lobby")
LEFT = write_group_event(SOURCE, event_id=3, time=TIME, change="left", group="lobby")


def user_event(data: Any = "hi", *, event_id: int = 4, source: EventSource = SOURCE, name: str = "say") -> EventRequest:
    """Write a client's event."""
    return write_user_event(source, event_id=event_id, time=TIME, event=name, payload=payload_of(data))


USER_EVENT = user_event()


async def send(app: WebhookApp, request: EventRequest, *, path: str = PATH, token: str | None = None) -> httpx.Response:
    """Send a request to an app, as an ASGI server would bring it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://h") as client:
        return await send_by(client, request, path=path, token=token)


async def send_by(
    client: httpx.AsyncClient, request: EventRequest, *, path: str = PATH, token: str | None = None
) -> httpx.Response:
    """Send a request by a client that knows where to."""
    headers = list(request.headers)
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return await client.request(request.method, path, headers=headers, content=request.body)
