"""Spoiled requests to a webhook app: each gets one answer, and nothing that goes wrong is ours."""

from __future__ import annotations

import base64
import gc
import json
import logging
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fuzz.corpus import kept
from tests.fuzz.mutations import JUNK, ROUNDS, spoiled
from tests.listener.peers import read_all, statuses
from tests.webhooks.service import CONNECT, CONNECTED, DISCONNECTED, JOINED, KEY, ORIGIN, PATH, user_event
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub.listener import Listener
from trio_webpubsub.protocol.cloudevents import signatures
from trio_webpubsub.protocol.cloudevents_gate import header_text
from trio_webpubsub.protocol.cloudevents_service import EventRequest, EventSource, write_connected, write_validation
from trio_webpubsub.webhooks import Accept, ConnectRequest, EventRejected, Reply, UserEvent, WebhookApp
from trio_webpubsub.webhooks.serve import http_listener

STATE = base64.b64encode(b'{"n":[1,{"a":null}]}').decode()
WITH_STATE = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", user_id="ann", keys=[KEY], state=STATE)
MQTT = ((b"ce-subprotocol", b"mqtt"), (b"ce-physicalconnectionid", b"p-1"), (b"mqtt-color", b"red"))
MQTT_BODY = {"mqtt": {"protocolVersion": 4, "password": "cGFzcw==", "userProperties": [{"name": "a", "value": "b"}]}}

GOOD = [
    write_validation(ORIGIN),
    CONNECT,
    CONNECTED,
    DISCONNECTED,
    JOINED,
    write_connected(WITH_STATE, event_id=1, time=0),
    *(user_event(data, source=WITH_STATE) for data in ("größe", b"\x00\xff", {"a": [1, 2.5, None, "x"]})),
    EventRequest("POST", (*CONNECT.headers, *MQTT), json.dumps(MQTT_BODY).encode()),
    EventRequest("POST", (*DISCONNECTED.headers, *MQTT), b'{"mqtt":{"disconnectPacket":{"code":4}}}'),
    EventRequest("POST", (*user_event("hi").headers, *MQTT), b"hi"),
]
METHODS = ["GET", "PUT", "OPTIONS", "HEAD", "", "\xff"]
PATHS = ["", "/", "/elsewhere", f"{PATH}x", PATH.upper(), "/\ud800", f"{PATH}\x00"]
FORESEEN = {200, 204, 400, 401, 403, 404, 405, 413, 431}


async def on_connect(request: ConnectRequest) -> Accept:
    await trio.lowlevel.checkpoint()
    request.state["seen"] = [*request.claims, *request.query, *request.subprotocols]
    return Accept(user_id=request.user_id, mqtt_user_properties=request.mqtt.user_properties if request.mqtt else ())


async def on_user_event(event: UserEvent) -> Reply:
    await trio.lowlevel.checkpoint()
    if event.data_error is not None:
        raise EventRejected(400, event.data_error)
    event.state["events"] = len(event.state)
    return Reply(event.data, data_type=event.data_type)


async def notified(event: Any) -> None:
    await trio.lowlevel.checkpoint()
    assert dict(event.state) is not None


def new_app() -> WebhookApp:
    return WebhookApp(
        "chat",
        access_keys=[KEY],
        allowed_origins=[ORIGIN],
        on_connect=on_connect,
        on_user_event=on_user_event,
        on_connected=notified,
        on_disconnected=notified,
        on_group_joined=notified,
        remember_events=100,
        max_body_size=20_000,
    )


def mutated(random: Random) -> tuple[str, str, list[tuple[bytes, bytes]], bytes]:
    """Make a request: a good one, spoiled in up to four places and mostly signed again."""
    request = random.choice(GOOD)
    method, path, headers, body = request.method, PATH, [*request.headers], request.body
    for _ in range(random.randrange(5)):
        index = random.randrange(len(headers))
        name, value = headers[index]
        match random.randrange(8):
            case 0 if len(headers) > 1:
                del headers[index]
            case 1:
                headers.insert(random.randrange(len(headers)), (name, random.choice([value, *JUNK])))
            case 2 | 3:
                headers[index] = (name, spoiled(value, random))
            case 4:
                headers[index] = (spoiled(name, random), value)
            case 5:
                method = random.choice(METHODS)
            case 6:
                path = random.choice(PATHS)
            case _:
                body = spoiled(body, random)
    if random.random() < 0.8:
        id_ = next((header_text(value) for name, value in headers if name.lower() == b"ce-connectionid"), "")
        headers.append((b"ce-signature", signatures([KEY], id_).encode()))
    if random.random() < 0.5:
        headers.append((b"ce-id", str(random.randrange(10**6)).encode()))
    return method, path, headers, body


async def answered(app: WebhookApp, random: Random) -> list[Any]:
    """Bring an app one spoiled request, as an ASGI server does; give what it answers."""
    method, path, headers, body = mutated(random)
    cut = random.randrange(len(body) + 1)
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[:cut], "more_body": True},
        {"type": "http.request", "body": body[cut:]},
    ]
    if random.random() < 0.05:
        messages[random.randrange(2)] = {"type": "http.disconnect"}
    scope = {"type": "http", "method": method, "path": path, "headers": [(n.lower(), v) for n, v in headers]}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_every_spoiled_request_gets_one_answer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    random, app = Random(1), new_app()
    seen: set[int] = set()
    objects = 0
    for number in range(ROUNDS):
        with trio.fail_after(60):
            sent = await answered(app, random)
        if sent:
            start, body = sent
            assert start["status"] in FORESEEN
            assert (b"content-length", str(len(body["body"])).encode()) in start["headers"] or start["status"] == 204
            assert all(isinstance(part, bytes) and b"\n" not in part for line in start["headers"] for part in line)
            seen.add(start["status"])
        if number == ROUNDS // 2:
            gc.collect()
            objects = len(gc.get_objects())
    gc.collect()
    assert seen >= {200, 204, 400, 401, 403, 404, 405}
    assert len(gc.get_objects()) - objects < ROUNDS // 5  # one for each request since would be ROUNDS // 2
    assert len(app._told_kinds) <= 100


def request_bytes(random: Random) -> bytes:
    """Make a request as it travels, spoiled in its parts or as a whole."""
    method, path, headers, body = mutated(random)
    lines = [b"Host: h", *(name + b": " + value for name, value in headers), b"Content-Length: %d" % len(body)]
    head = f"{method} {path} HTTP/1.1".encode(errors="replace")
    raw = b"\r\n".join([head, *lines, b"", body])
    return spoiled(raw, random) if random.random() < 0.5 else raw


async def test_every_spoiled_connection_is_answered_or_closed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    random = Random(2)
    listener: Listener = http_listener(new_app())
    seen: set[int] = set()
    inputs = kept("webhooks")
    for number in range(ROUNDS // 10):
        raw = inputs[number] if number < len(inputs) else request_bytes(random)
        near, far = memory_stream_pair()
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.handle, far)
                nursery.start_soon(write, near, raw)
                answers = statuses(await read_all(near))
        assert set(answers) <= FORESEEN | {408, 501, 505}
        seen.update(answers)
    assert seen >= {200, 204, 400, 401}
    assert not listener._connections


async def write(stream: trio.abc.HalfCloseableStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass  # refused before its end
