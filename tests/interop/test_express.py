"""`WebhookApp` and the official JavaScript handler library get the same requests, and answer alike.

Where they do not, `DIFFERENT` says what either answers, and why ours is as it is. Both have the same handlers: those
below, and those of ``node/express_handler.mjs``.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.interop.node_peer import NODE_MODULES
from tests.webhooks.service import (
    CONNECTED,
    DISCONNECTED,
    JOINED,
    KEY,
    LEFT,
    ORIGIN,
    PATH,
    TIME,
    send,
    user_event,
)
from trio_webpubsub.protocol.cloudevents_service import (
    EventRequest,
    EventSource,
    is_validated,
    write_connect,
    write_validation,
)
from trio_webpubsub.webhooks import Accept, ConnectRequest, EventRejected, Reject, Reply, UserEvent, WebhookApp

NODE = shutil.which("node")
PEER = Path(__file__).parent / "node" / "express_handler.mjs"

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed, in which the official handler runs")


# The same handlers as the peer's


async def on_connect(request: ConnectRequest) -> Accept | Reject | None:
    await trio.lowlevel.checkpoint()
    match request.query.get("do"):
        case ["change"]:
            request.state["n"] = 1
            user_id = f"{request.claims['sub'][0]}!"
            return Accept(user_id=user_id, groups=["lobby"], roles=["r"], subprotocol="q")
        case ["reject"]:
            return Reject(401, "no")
        case ["mqtt"]:
            return Reject.with_mqtt_code(0x8A, "out")
        case ["throw"]:
            raise ZeroDivisionError
        case _:
            return None


async def on_user_event(event: UserEvent) -> object:
    await trio.lowlevel.checkpoint()
    match event.name:
        case "echo":
            if event.data_error is not None:
                raise EventRejected(400, event.data_error)
            return Reply(event.data, data_type=event.data_type)
        case "count":
            event.state["n"] = event.state.get("n", 0) + 1
            return f"{event.user_id} {event.connection_id}"
        case "reject":
            raise EventRejected(400, "no")
        case "throw":
            raise ZeroDivisionError
        case _:
            return None


async def notified(_: object) -> None:
    await trio.lowlevel.checkpoint()


APP = WebhookApp(
    "chat",
    access_keys=[KEY],
    allowed_origins=[ORIGIN],
    on_connect=on_connect,
    on_user_event=on_user_event,
    on_connected=notified,
    on_disconnected=notified,
    on_group_joined=notified,
    on_group_left=notified,
)


# The requests


def connect(do: str, **source: Any) -> EventRequest:
    return write_connect(
        EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", keys=[KEY], **source),
        time=TIME,
        claims={"sub": ["ann"]},
        query={"do": [do]},
        headers={},
        subprotocols=["p", "q"],
    )


def event(name: str, data: Any = "hi", **source: Any) -> EventRequest:
    origin = EventSource(origin=ORIGIN, hub="chat", connection_id="conn-1", user_id="ann", keys=[KEY], **source)
    return user_event(data, name=name, source=origin)


def changed(request: EventRequest, body: bytes | None = None, /, **changes: str | None) -> EventRequest:
    headers = {name.decode().lower(): value for name, value in request.headers}
    for name, value in changes.items():
        headers.pop(name.replace("_", "-"), None)
        if value is not None:
            headers[name.replace("_", "-")] = value.encode()
    content = request.body if body is None else body
    return EventRequest(request.method, tuple((name.encode(), value) for name, value in headers.items()), content)


def mqtt(request: EventRequest, version: int) -> EventRequest:
    body = json.loads(request.body) | {"mqtt": {"protocolVersion": version, "username": "ann"}}
    return changed(request, json.dumps(body).encode(), ce_subprotocol="mqtt", ce_physicalconnectionid="p-1")


STATE = base64.b64encode(b'{"n":41,"other":["kept"]}').decode()

ALIKE: dict[str, EventRequest] = {
    "validation": write_validation(ORIGIN),
    "validation in other case": write_validation(ORIGIN.upper()),
    "validation without an origin": changed(write_validation(ORIGIN), webhook_request_origin=None),
    "connect": connect("accept"),
    "connect with changes and state": connect("change"),
    "connect that keeps other state": connect("change", state=STATE),
    "connect that is rejected": connect("reject"),
    "connect whose handler fails": connect("throw"),
    "connect of another hub": changed(connect("accept"), ce_hub="other"),
    "connect of the hub in other case": changed(connect("accept"), ce_hub="CHAT"),
    "connect of MQTT": mqtt(connect("accept"), 5),
    "connect of MQTT that is rejected, 3.1.1": mqtt(connect("reject"), 4),
    "connect of MQTT that is rejected, 5.0": mqtt(connect("reject"), 5),
    "connect of MQTT that is rejected by its code": mqtt(connect("mqtt"), 5),
    "connected": CONNECTED,
    "disconnected": DISCONNECTED,
    "joined": JOINED,
    "left": LEFT,
    "text": event("echo", "größe"),
    "an empty text": event("echo", ""),
    "JSON": event("echo", {"a": [1, None, "ü"]}),
    "a JSON string": event("echo", ["x"]),
    "bytes": event("echo", b"\x00\xff"),
    "text without a charset": changed(event("echo"), content_type="text/plain"),
    "state is begun": event("count"),
    "state is changed": event("count", state=STATE),
    "state that is emptied": event("count", state=""),
    "state that is no object": event("count", state=base64.b64encode(b"[1]").decode()),
    "state that is no base64": event("count", state="***"),
    "no reply": event("anything"),
    "an event that is rejected": event("reject"),
    "a connected event without a body": changed(CONNECTED, b""),
    "a header more": changed(event("echo"), ce_new="1"),
    "a request below the path": event("echo"),
}
"""Below the path they all go: see `PATHS`."""

PATHS = {"a request below the path": f"{PATH}echo/more", "a request elsewhere": "/api/webpubsub/hubs/chatter/"}
ALIKE["a request elsewhere"] = event("echo")

Difference = tuple[EventRequest, object, object, str]

DIFFERENT: dict[str, Difference] = {
    "unsigned": (
        changed(event("echo"), ce_signature=None),
        ("refused", 401),
        ("reply", "text/plain", "hi", None),
        "the official library leaves the signature to its user",
    ),
    "signed for another connection": (
        changed(event("echo"), ce_connectionid="conn-2"),
        ("refused", 401),
        ("reply", "text/plain", "hi", None),
        "the official library leaves the signature to its user",
    ),
    "another origin": (
        changed(event("echo"), webhook_request_origin="evil.example"),
        ("refused", 403),
        ("reply", "text/plain", "hi", None),
        "the official library compares origins at the validation only",
    ),
    "validation by another origin": (
        write_validation("evil.example"),
        ("refused", 403),
        ("not validated",),
        "it answers 200 with the origins that it would allow; neither validates",
    ),
    "validation by GET": (
        write_validation(ORIGIN, method="GET"),
        ("validated",),
        ("refused", 404),
        "the official emulator asks by GET where OPTIONS was not found",
    ),
    "an unknown kind of event": (
        changed(event("echo"), ce_type="azure.webpubsub.sys.new"),
        ("nothing", None),
        ("refused", 404),
        "what the service adds is not to break anything",
    ),
    "no CloudEvent version": (
        changed(event("echo"), ce_specversion=None),
        ("refused", 400),
        ("reply", "text/plain", "hi", None),
        "without it this is no CloudEvent",
    ),
    "no version of the service": (
        changed(event("echo"), ce_awpsversion=None),
        ("refused", 400),
        ("refused", 404),
        "it leaves the request to the next middleware; ours has none",
    ),
    "no origin": (
        changed(event("echo"), webhook_request_origin=None),
        ("refused", 400),
        ("refused", 404),
        "it leaves the request to the next middleware; ours has none",
    ),
    "another method": (
        EventRequest("PUT", event("echo").headers, b"hi"),
        ("refused", 405),
        ("refused", 404),
        "it leaves the request to the next middleware; ours has none",
    ),
    "a media type in upper case": (
        changed(event("echo"), content_type="TEXT/PLAIN"),
        ("reply", "text/plain", "hi", None),
        ("refused", 404),
        "media types have no case",
    ),
    "protobuf": (
        changed(event("echo", b"\x0a\x00"), content_type="application/x-protobuf"),
        ("reply", "application/x-protobuf", b"\x0a\x00", None),
        ("refused", 404),
        "the official library does not know it",
    ),
    "another media type": (
        changed(event("echo", b"\xff"), content_type="image/png"),
        ("reply", "application/octet-stream", b"\xff", None),
        ("refused", 404),
        "MQTT clients choose it freely",
    ),
    "another charset": (
        changed(event("echo"), "größe".encode("latin-1"), content_type="text/plain; charset=iso-8859-1"),
        ("reply", "text/plain", "größe", None),
        ("reply", "text/plain", "gr\ufffd\ufffde", None),
        "the official library does not look at it",
    ),
    "a connect request that is no JSON": (
        changed(connect("accept"), b"{"),
        ("refused", 400),
        ("refused", 500),
        "on 500 the service would send the same again, up to three times",
    ),
    "an event that is no JSON": (
        changed(event("echo", {}), b"{"),
        ("refused", 400),
        ("refused", 500),
        "on 500 the service would send the same again, up to three times",
    ),
    "an event whose handler fails": (
        event("throw"),
        ("refused", 400),
        ("refused", 500),
        "on 500 the service would run the handler again, up to three times",
    ),
}
"""Name: the request, our answer, theirs, and why."""


# The answers


def meaning(request: EventRequest, response: httpx.Response) -> object:
    """Say what the service makes of an answer: not its exact status, nor the parameters of its content type."""
    if request.method in ("OPTIONS", "GET"):
        origin = dict(request.headers).get(b"webhook-request-origin", b"").decode()
        if response.status_code != 200:
            return ("refused", response.status_code)
        validated = is_validated(response.status_code, response.headers.multi_items(), origin)
        return ("validated",) if validated else ("not validated",)
    raw_state = response.headers.get("ce-connectionstate")
    state = None if raw_state is None else json.loads(base64.b64decode(raw_state))
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if response.status_code >= 300:
        if media_type == "application/json":
            return ("refused", response.status_code, response.json())
        return ("refused", response.status_code)
    if not response.content:
        return ("nothing", state)
    data: object = response.content
    if media_type == "application/json":
        data = response.json()
    elif media_type == "text/plain":
        data = response.content.decode(errors="replace")
    return ("reply", media_type, data, state)


@pytest.fixture(scope="module")
def express() -> Iterator[str]:
    """Run the peer; give its address."""
    assert NODE is not None
    assert NODE_MODULES is not None, "TRIO_WEBPUBSUB_NODE_MODULES does not say where npm has installed the packages"
    command = [NODE, str(PEER), ORIGIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        process.wait(10)


async def ask(address: str, request: EventRequest, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=address, timeout=10) as client:
        return await client.request(request.method, path, headers=list(request.headers), content=request.body)


@needs_node
@pytest.mark.parametrize("name", ALIKE)
async def test_both_answer_alike(name: str, express: str) -> None:
    request, path = ALIKE[name], PATHS.get(name, PATH)
    theirs = meaning(request, await ask(express, request, path))
    ours = meaning(request, await send(APP, request, path=path))
    assert ours == theirs


@needs_node
@pytest.mark.parametrize("name", DIFFERENT)
async def test_a_difference_is_as_it_is_described(name: str, express: str) -> None:
    request, ours, theirs, reason = DIFFERENT[name]
    assert meaning(request, await send(APP, request)) == ours
    assert meaning(request, await ask(express, request, PATH)) == theirs
    assert reason


def test_this_module_covers_every_kind_of_event() -> None:
    kinds = {dict(request.headers).get(b"ce-type", b"").decode() for request in ALIKE.values()}
    assert {f"azure.webpubsub.{kind}" for kind in ("sys.connect", "sys.connected", "sys.disconnected")} <= kinds
    assert {"azure.webpubsub.gp.joined", "azure.webpubsub.gp.left", "azure.webpubsub.user.echo"} <= kinds
