"""Clients without a subprotocol of the service: bare payloads, in both modes; and how payloads reach all kinds."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import MockClock

from tests.emulator.peer import PLAIN, RELIABLE, Peer, open_peer, raw_peer, rejection
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol.messages import GroupMessage
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF
from trio_webpubsub.protocol.wire import Payload, SendToGroup
from trio_webpubsub.service import Service, open_service


def simple_url(emulator: Emulator, parameters: str = "", **claims: Any) -> str:
    return emulator.client_url("chat", **claims) + parameters


def publishing(group: str, more: str = "") -> str:
    return f"&webpubsub_mode=sendToGroup&group={group}{more}"


def open_chat(emulator: Emulator) -> AbstractAsyncContextManager[Service]:
    return open_service(emulator.connection_string, hub="chat", connector=emulator.connector)


# Connecting


@pytest.mark.parametrize("offered", [[], ["chat", "soap"]])
async def test_a_client_without_a_known_subprotocol_is_a_simple_one(
    autojump_clock: MockClock, emulator: Emulator, offered: list[str]
) -> None:
    async with raw_peer(emulator, simple_url(emulator, user_id="ann"), offered) as peer, open_peer(emulator) as other:
        assert peer.websocket.subprotocol is None
        await other.ask(type="ping")
        (simple, _) = emulator.connections("chat")
        assert simple.user_id == "ann"


@pytest.mark.parametrize("parameters", ["&webpubsub_mode=publish", publishing(""), publishing("a", "&noEcho=maybe")])
async def test_bad_parameters_are_a_bad_request(autojump_clock: MockClock, emulator: Emulator, parameters: str) -> None:
    assert await rejection(emulator, simple_url(emulator, parameters), []) == 400
    assert await rejection(emulator, simple_url(emulator, parameters), [PLAIN]) == 400


async def test_the_parameters_of_simple_clients_do_not_matter_to_others(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with raw_peer(emulator, simple_url(emulator, publishing("lobby")), [PLAIN]) as peer:
        await peer.receive()
        assert await peer.ask(type="ping") == {"type": "pong"}


# The mode that sends events


@pytest.mark.parametrize("message", ["hello", b"\x00\xff"])
async def test_an_event_that_nobody_handles_closes_with_1011(
    autojump_clock: MockClock, emulator: Emulator, message: str | bytes
) -> None:
    async with raw_peer(emulator, simple_url(emulator), []) as peer:
        await peer.websocket.send_message(message)
        assert await peer.closed() == (1011, "No event handler takes this event.")
    assert emulator.connections("chat") == []


async def test_a_deliberate_close_has_no_message(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with raw_peer(emulator, simple_url(emulator), []) as peer, open_chat(emulator) as chat:
        (connection,) = emulator.connections("chat")
        await chat.close_connection(connection.connection_id, reason="enough")
        code, reason = await peer.closed()
        assert (code, reason or "") == (1000, "")


# The mode that sends to a group


async def test_what_a_simple_client_sends_reaches_its_group_and_itself_as_a_member(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with (
        raw_peer(emulator, simple_url(emulator, publishing("lobby"), user_id="ann", groups=["lobby"]), []) as simple,
        open_peer(emulator, subprotocol=PLAIN, groups=["lobby"]) as member,
    ):
        await simple.websocket.send_message("hi")
        assert await simple.websocket.get_message() == "hi"
        message = {"type": "message", "from": "group", "group": "lobby", "fromUserId": "ann"}
        assert await member.receive() == {**message, "dataType": "text", "data": "hi"}
        await simple.websocket.send_message(b"\x01\x02")
        assert await simple.websocket.get_message() == b"\x01\x02"
        assert await member.receive() == {**message, "dataType": "binary", "data": "AQI="}


async def test_a_simple_client_that_wants_no_echo_gets_none_and_joins_nothing(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with (
        raw_peer(emulator, simple_url(emulator, publishing("lobby", "&noEcho=true"), groups=["lobby"]), []) as quiet,
        raw_peer(emulator, simple_url(emulator, publishing("lobby")), []) as stranger,
        open_peer(emulator, groups=["lobby"]) as member,
    ):
        await quiet.websocket.send_message("one")
        assert (await member.receive())["data"] == "one"
        await stranger.websocket.send_message("two")
        assert await quiet.websocket.get_message() == "two"
        assert len(emulator.groups("chat")["lobby"]) == 2


async def test_without_the_permission_a_simple_client_is_closed_with_1008(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with raw_peer(emulator, simple_url(emulator, publishing("lobby"), roles=[]), []) as peer:
        await peer.websocket.send_message("hi")
        assert (await peer.closed())[0] == 1008


# The conversion of payloads between all kinds of clients

ENVELOPE = AnyMessage()
ENVELOPE.Pack(StringValue(value="hi"))
ANY = ENVELOPE.SerializeToString()

PAYLOADS = [
    (Payload("text", "héllo".encode()), ("text", "héllo"), "héllo"),
    (Payload("json", b'{"a": [1, 2.50]}'), ("json", {"a": [1, 2.5]}), '{"a": [1, 2.50]}'),
    (Payload("binary", b"\x00\xff"), ("binary", "AP8="), b"\x00\xff"),
    (Payload("protobuf", ANY), ("protobuf", base64.b64encode(ANY).decode()), ANY),
]


@pytest.mark.parametrize(
    ("payload", "as_json", "bare"), PAYLOADS, ids=[payload.data_type for payload, _, _ in PAYLOADS]
)
@pytest.mark.parametrize("sender", ["json", "protobuf"])
async def test_a_payload_reaches_every_kind_of_client(
    autojump_clock: MockClock,
    emulator: Emulator,
    sender: str,
    payload: Payload,
    as_json: tuple[str, object],
    bare: str | bytes,
) -> None:
    url = emulator.client_url("chat", groups=["lobby"])
    async with (
        open_peer(emulator, groups=["lobby"]) as reliable,
        open_peer(emulator, subprotocol=PLAIN, groups=["lobby"]) as plain,
        raw_peer(emulator, url, [PROTOBUF.subprotocol]) as protobuf,
        raw_peer(emulator, url, []) as simple,
    ):
        await protobuf.websocket.get_message()
        if sender == "json":
            await reliable.send(type="sendToGroup", group="lobby", dataType=as_json[0], data=as_json[1])
            bare = json.dumps(as_json[1]) if as_json[0] == "json" else bare
        else:
            send = PROTOBUF.encode_upstream(SendToGroup(group="lobby", payload=payload))
            await protobuf.websocket.send_message(send)
        for peer in reliable, plain:
            message = await peer.receive()
            assert (message["dataType"], message["data"]) == as_json
        came = PROTOBUF.decode_downstream(await bytes_from(protobuf))
        assert isinstance(came, GroupMessage)
        assert (came.data_type, came.group) == (payload.data_type, "lobby")
        assert came.data == (as_json[1] if payload.data_type in ("text", "json") else payload.body)
        assert await simple.websocket.get_message() == bare


async def bytes_from(peer: Peer) -> bytes:
    frame = await peer.websocket.get_message()
    assert isinstance(frame, bytes)
    return frame


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b' {"a" :\n 1.00,\t"b":"\\u00e9"} ', ' {"a" :\n 1.00,\t"b":"\\u00e9"} '),
        ("text/plain", "  á\r\n".encode(), "  á\r\n"),
        ("text/plain; charset=utf-16", "á".encode("utf-16"), "á"),
        ("application/octet-stream", b"\x00\xff{}", b"\x00\xff{}"),
    ],
)
async def test_the_body_of_a_request_reaches_simple_clients_as_it_came(
    autojump_clock: MockClock, emulator: Emulator, content_type: str, body: bytes, expected: str | bytes
) -> None:
    async with raw_peer(emulator, simple_url(emulator), []) as simple:
        await send_body(emulator, content_type, body)
        received = await simple.websocket.get_message()
        assert received == expected


async def send_body(emulator: Emulator, content_type: str, body: bytes) -> None:
    credential = emulator.credential()
    async with httpx.AsyncClient(transport=emulator.http_transport) as http:
        response = await http.post(
            f"{emulator.endpoint}/api/hubs/chat/:send?api-version=2024-12-01",
            content=body,
            headers={"content-type": content_type, "authorization": f"Bearer {await credential()}"},
        )
    assert response.status_code == 202


# Hubs that let anonymous clients in


async def test_a_hub_may_let_clients_in_without_a_token(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, anonymous_hubs=["Chat"]) as emulator:
        url = f"{emulator.endpoint}/client/hubs/chat"
        async with raw_peer(emulator, url, [RELIABLE]) as peer:
            assert (await peer.receive())["userId"] is None
            ack = await peer.ask(type="joinGroup", group="lobby", ackId=1)
            assert ack["error"]["name"] == "Forbidden"
        assert await rejection(emulator, f"{emulator.endpoint}/client/hubs/other") == 401
        assert await rejection(emulator, f"{url}?access_token=nonsense") == 401


async def test_all_hubs_may_let_clients_in_without_a_token(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, anonymous_hubs=["*"]) as emulator,
        raw_peer(emulator, f"{emulator.endpoint}/client/?hub=any") as peer,
    ):
        assert (await peer.receive())["event"] == "connected"


@pytest.mark.parametrize(("hubs", "error"), [("chat", TypeError), (["1"], ValueError)])
async def test_the_names_of_anonymous_hubs_are_checked(
    autojump_clock: MockClock, hubs: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        async with open_emulator(in_memory=True, anonymous_hubs=hubs):
            pass


# Two keys


async def test_tokens_of_both_keys_are_good(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, access_key="first" * 8, secondary_key="second" * 8) as emulator,
        open_emulator(in_memory=True, access_key="second" * 8) as other,
    ):
        for url in emulator.client_url("chat"), other.client_url("chat"):
            async with raw_peer(emulator, url) as peer:
                assert (await peer.receive())["event"] == "connected"
        async with open_service(other.connection_string, hub="chat", connector=emulator.connector) as chat:
            await chat.send_to_all("hi")


@pytest.mark.parametrize("keys", [("", None), ("a", "")])
async def test_no_key_may_be_empty(autojump_clock: MockClock, keys: tuple[str, str | None]) -> None:
    with pytest.raises(ValueError, match="empty"):
        async with open_emulator(in_memory=True, access_key=keys[0], secondary_key=keys[1]):
            pass
