"""Clients that speak protobuf, all the way: client, emulator and service client, beside clients that speak JSON."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import MockClock

from tests.emulator.peer import Peer, raw_peer
from trio_webpubsub import Client, Connected, DataType, Disconnected, GroupMessage, Recovered, SendFailed, open_client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.service import open_service

JSON: Subprotocol = "json.reliable.webpubsub.azure.v1"
RELIABLE: Subprotocol = "protobuf.reliable.webpubsub.azure.v1"
PLAIN: Subprotocol = "protobuf.webpubsub.azure.v1"


@pytest.fixture
async def emulator(autojump_clock: MockClock) -> AsyncGenerator[Emulator, None]:
    async with open_emulator(in_memory=True) as emulator:
        yield emulator


def client_of(
    emulator: Emulator, user_id: str | None = None, subprotocol: Subprotocol = RELIABLE, **claims: Any
) -> AbstractAsyncContextManager[Client]:
    url = emulator.client_url("chat", user_id=user_id, **claims)
    return open_client(url, subprotocol=subprotocol, connector=emulator.connector)


async def receive(peer: Peer) -> wire.Downstream:
    frame = await peer.websocket.get_message()
    assert isinstance(frame, bytes)
    return PROTOBUF.decode_downstream(frame)


def packed() -> bytes:
    message = AnyMessage()
    message.Pack(StringValue(value="é"))
    return message.SerializeToString()


PAYLOADS: list[tuple[DataType, object]] = [
    ("text", "h\u00e9\U0001f600"),
    ("text", ""),
    ("json", {"a": [1, None, "é"]}),
    ("json", "a string"),
    ("json", None),
    ("binary", b"\x00\xff"),
    ("binary", b""),
    ("protobuf", packed()),
]


@pytest.mark.parametrize("subprotocol", [RELIABLE, PLAIN])
async def test_what_is_sent_reaches_everybody_as_it_is(emulator: Emulator, subprotocol: Subprotocol) -> None:
    async with (
        client_of(emulator, "ann", subprotocol) as ann,
        client_of(emulator, "bob", JSON) as bob,
        ann.group_messages("g") as to_ann,
        bob.group_messages("g") as to_bob,
    ):
        for sender in (ann, bob):
            for data_type, data in PAYLOADS:
                await sender.send_to_group("g", data, data_type=data_type, metadata={"k": "v"})
                for messages, user_id in ((to_ann, None), (to_bob, sender.user_id)):
                    message = await messages.receive()
                    assert (message.sequence_id is None) == (messages is to_ann and subprotocol == PLAIN)
                    assert message == GroupMessage(
                        group="g",
                        data=data,
                        data_type=data_type,
                        metadata={"k": "v"},
                        from_user_id=user_id,
                        sequence_id=message.sequence_id,
                    )


async def test_a_client_learns_who_it_is(emulator: Emulator) -> None:
    async with client_of(emulator, "ann") as ann, client_of(emulator) as nobody:
        assert (ann.user_id, nobody.user_id) == ("ann", None)
        connections = {connection.connection_id for connection in emulator.connections("chat")}
        assert {ann.connection_id, nobody.connection_id} == connections


async def test_no_message_is_lost_or_repeated_over_a_cut(emulator: Emulator) -> None:
    async with (
        client_of(emulator, "ann") as ann,
        client_of(emulator, "bob") as bob,
        bob.group_messages("g") as messages,
        bob.lifecycle() as lifecycle,
    ):
        news: list[type[object]] = [Connected]
        for number in range(300):
            if number % 100 == 50:
                assert ann.connection_id
                assert bob.connection_id
                assert [type(await lifecycle.receive()) for _ in news] == news  # he has a link that can be cut
                news = [Disconnected, Recovered]
                emulator.cut(ann.connection_id)
                emulator.cut(bob.connection_id)
            await ann.send_to_group("g", number)
        assert [(await messages.receive()).data for _ in range(300)] == list(range(300))
        assert [type(await lifecycle.receive()) for _ in news] == news


async def test_what_is_refused_says_why(emulator: Emulator) -> None:
    async with client_of(emulator, roles=[]) as client:
        with pytest.raises(SendFailed, match="Forbidden"):
            await client.join_group("g")
        with pytest.raises(SendFailed, match="InternalServerError"):
            await client.send_event("nobody-handles-it", b"")


async def test_the_service_client_reaches_it(emulator: Emulator) -> None:
    async with (
        open_service(emulator.connection_string, hub="chat", connector=emulator.connector) as service,
        client_of(emulator, groups=["g"]) as client,
        client.messages() as messages,
    ):
        await service.send_to_all("hé")
        await service.send_to_group("g", {"a": 1})
        await service.send_to_all(b"\x00")
        received = [await messages.receive() for _ in range(3)]
        assert [(type(each).__name__, each.data_type, each.data) for each in received] == [
            ("ServerMessage", "text", "hé"),
            ("GroupMessage", "json", {"a": 1}),
            ("ServerMessage", "binary", b"\x00"),
        ]


@pytest.mark.parametrize(
    ("frame", "code"), [("text", 1003), ('{"type":"ping"}', 1003), (b'{"type":"ping"}', 1007), (b"", 1007)]
)
async def test_a_client_that_sends_something_else_is_closed(emulator: Emulator, frame: str | bytes, code: int) -> None:
    async with raw_peer(emulator, emulator.client_url("chat"), [PLAIN]) as peer:
        await peer.websocket.send_message(PROTOBUF.encode_upstream(wire.Ping()))
        assert isinstance(await receive(peer), wire.ConnectedMessage)
        assert await receive(peer) == wire.Pong()
        await peer.websocket.send_message(frame)
        assert (await peer.closed())[0] == code


async def test_without_the_extra_a_client_says_so(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_webpubsub.protocol.protobuf_codec", None)
    with pytest.raises(ImportError, match="protobuf_codec"):
        async with client_of(emulator):
            pytest.fail("there is nothing to write the messages with")
