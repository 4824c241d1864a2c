"""Requests of the service as they come to an event handler, for tests of what reads them."""

from __future__ import annotations

import json
from typing import Any

from trio_webpubsub.protocol.cloudevents import HttpAnswer
from trio_webpubsub.protocol.cloudevents_gate import EventGate, EventHead
from trio_webpubsub.protocol.cloudevents_handler import read_event
from trio_webpubsub.protocol.cloudevents_values import ConnectRequest, Event, UserEvent

KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
SIGNATURE = "sha256=261f7f58ff9fb9bb8be7e4951a807fe6091e5c074885bf63b865eccd28728881"
"""Of the connection ``conn-1`` by `KEY`."""
ORIGIN = "foo.webpubsub.azure.com"

MQTT = {"ce_subprotocol": "mqtt", "ce_physicalconnectionid": "p-1", "ce_sessionid": "s-1"}


def headers(type_: str = "azure.webpubsub.user.order", /, **changes: str | None) -> dict[str, str]:
    """Give the headers of a good request; a change names a header with underscores, ``None`` takes it out."""
    content = {
        "content-type": "application/json",
        "webhook-request-origin": ORIGIN,
        "ce-specversion": "1.0",
        "ce-awpsversion": "1.0",
        "ce-type": type_,
        "ce-source": "/hubs/chat/client/conn-1",
        "ce-id": "7",
        "ce-time": "2026-01-02T03:04:05Z",
        "ce-hub": "chat",
        "ce-connectionid": "conn-1",
        "ce-eventname": type_.rpartition(".")[2],
        "ce-signature": SIGNATURE,
        "ce-userid": "ann",
    }
    for name, value in changes.items():
        content.pop(name.replace("_", "-"), None)
        if value is not None:
            content[name.replace("_", "-")] = value
    return content


def event(type_: str = "azure.webpubsub.user.order", body: bytes = b"{}", /, **changes: str | None) -> Event:
    """Read a request that comes in."""
    head = EventGate("chat", access_keys=[KEY]).enter("POST", headers(type_, **changes))
    assert isinstance(head, EventHead)
    return read_event(head, body)


def user_event(body: bytes = b"{}", /, **changes: str | None) -> UserEvent:
    """Read a user event."""
    read = event("azure.webpubsub.user.order", body, **changes)
    assert isinstance(read, UserEvent)
    return read


def connect_request(content: object = None, /, **changes: str | None) -> ConnectRequest:
    """Read a connect request."""
    read = event("azure.webpubsub.sys.connect", json.dumps(content or {}).encode(), **changes)
    assert isinstance(read, ConnectRequest)
    return read


def header(answer: HttpAnswer, name: str) -> list[str]:
    """Give all values of one header of an answer."""
    return [value for each, value in answer.headers if each == name]


def content_of(answer: HttpAnswer) -> Any:
    """Give the JSON in an answer."""
    assert header(answer, "content-type") == ["application/json; charset=utf-8"]
    return json.loads(answer.body)
