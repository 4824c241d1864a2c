"""Rules of the client protocols, each over a WebSocket: refusals, close codes, roles, limits."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.emulator.handler import Handler
from tests.emulator.peer import PLAIN, RELIABLE, Peer, open_peer, raw_peer, recovery_url, rejection
from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator
from trio_webpubsub.protocol.frame_writer import encode_frame
from trio_webpubsub.protocol.json_codec import JSON
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF, RELIABLE_PROTOBUF
from trio_webpubsub.protocol.wire import ConnectedMessage, Ping, Pong
from trio_webpubsub.service import open_service

SUBPROTOCOLS = [PLAIN, RELIABLE, PROTOBUF.subprotocol, RELIABLE_PROTOBUF.subprotocol]


async def send_text(peer: Peer, group: str = "lobby", ack_id: int | None = None, **fields: Any) -> None:
    more = {} if ack_id is None else {"ackId": ack_id}
    await peer.send(type="sendToGroup", group=group, dataType="text", data="x", **more, **fields)


# Handshakes


@pytest.mark.parametrize("name", SUBPROTOCOLS)
async def test_every_subprotocol_is_served_and_echoed_in_the_clients_spelling(
    autojump_clock: MockClock, emulator: Emulator, name: str
) -> None:
    async with raw_peer(emulator, emulator.client_url("chat", user_id="ann"), ["x", name.upper()]) as peer:
        assert peer.websocket.subprotocol == name.upper()
        frame = await peer.websocket.get_message()
        if isinstance(frame, str):
            connected = JSON.decode_downstream(frame.encode())
            await peer.websocket.send_message(JSON.encode_upstream(Ping()).decode())
            pong = JSON.decode_downstream(str(await peer.websocket.get_message()).encode())
        else:
            connected = PROTOBUF.decode_downstream(frame)
            await peer.websocket.send_message(PROTOBUF.encode_upstream(Ping()))
            answer = await peer.websocket.get_message()
            assert isinstance(answer, bytes)
            pong = PROTOBUF.decode_downstream(answer)
        assert isinstance(connected, ConnectedMessage)
        assert connected.user_id == "ann"
        assert (connected.reconnection_token is not None) == ("reliable" in name)
        assert isinstance(pong, Pong)


@pytest.mark.parametrize("path", ["/client/hubs/chat", "/client/?hub=chat", "/Client"])
async def test_who_asks_for_no_websocket_is_told_so(autojump_clock: MockClock, emulator: Emulator, path: str) -> None:
    async with httpx.AsyncClient(transport=emulator.http_transport) as http:
        assert (await http.get(emulator.endpoint + path)).status_code == 400
        assert (await http.get(f"{emulator.endpoint}/clients/hubs/chat")).status_code == 404


async def test_protobuf_is_refused_where_its_library_is_missing(
    autojump_clock: MockClock, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trio_webpubsub.protocol.protobuf_codec", None)
    assert await rejection(emulator, emulator.client_url("chat"), [PROTOBUF.subprotocol]) == 400
    assert emulator.connections("chat") == []


# Close codes


@pytest.mark.parametrize(
    ("subprotocol", "frame", "code"),
    [
        (PLAIN, b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (PROTOBUF.subprotocol, encode_frame(b"text", mask_key=b"1234"), 1003),
        (PLAIN, encode_frame(b"nonsense", mask_key=b"1234"), 1007),
        (PLAIN, encode_frame(b"\xff", mask_key=b"1234"), 1007),
        (PLAIN, encode_frame(b'{"type":"joinGroup","group":"a","ackId":-1}', mask_key=b"1234"), 1007),
        (PROTOBUF.subprotocol, encode_frame(b"\xff", binary=True, mask_key=b"1234"), 1007),
        ("", encode_frame(b"\xff", mask_key=b"1234"), 1007),
        (PLAIN, encode_frame(b"x" * (2**20 + 1), mask_key=b"1234")[:100], 1009),
        ("", encode_frame(b"an event", mask_key=b"1234"), 1011),
    ],
)
async def test_what_is_wrong_ends_its_own_connection_with_its_code(
    autojump_clock: MockClock, emulator: Emulator, subprotocol: str, frame: bytes, code: int
) -> None:
    offered = [subprotocol] if subprotocol else []
    async with raw_peer(emulator, emulator.client_url("chat"), offered) as peer, open_peer(emulator) as other:
        if offered:
            await peer.websocket.get_message()
        await peer.stream.send_all(frame)
        assert (await peer.closed())[0] == code
        assert await other.ask(type="ping") == {"type": "pong"}


async def test_json_in_a_binary_frame_is_taken(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        await peer.websocket.send_message(b'{"type":"ping"}')
        assert await peer.receive() == {"type": "pong"}


async def test_a_deliberate_close_is_announced_with_its_reason(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator) as peer,
        open_service(emulator.connection_string, hub="chat", connector=emulator.connector) as chat,
    ):
        await chat.close_connection(peer.connection_id, reason="enough")
        reason = "Application server closed the connection. Reason: enough"
        assert await peer.receive() == {"type": "system", "event": "disconnected", "message": reason}
        code, told = await peer.closed()
        assert (code, told or "") == (1000, "")  # the close frame has no room for every reason
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.closed())[0] == 1008


# Requests


async def test_a_repeated_request_is_not_run_again_and_told_with_the_known_text(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as peer:
        await send_text(peer, ack_id=3, noEcho=True)
        assert await peer.receive() == {"type": "ack", "ackId": 3, "success": True}
        await send_text(peer, ack_id=3)
        error = {"name": "Duplicate", "message": "Message with ack-id: 3 has been processed"}
        assert await peer.receive() == {"type": "ack", "ackId": 3, "success": False, "error": error}
        assert await peer.ask(type="ping") == {"type": "pong"}


@pytest.mark.parametrize(
    ("role", "group", "allowed"),
    [
        ("webpubsub.joinLeaveGroup", "any", True),
        ("webpubsub.joinLeaveGroup.room", "room", True),
        ("webpubsub.joinLeaveGroup.room", "Room", False),
        ("webpubsub.joinLeaveGroup.r*", "room", False),
        ("webpubsub.joinLeaveGroups.r*", "room", True),
        ("webpubsub.joinLeaveGroups.r*", "r.oom", False),
        ("webpubsub.joinLeaveGroups.r**", "r.oom", True),
        ("webpubsub.joinLeaveGroups.r??m", "room", True),
        ("webpubsub.joinLeaveGroups.r??m", "ro.m", False),
        ("webpubsub.joinLeaveGroups.r\\*", "r*", True),
        ("webpubsub.joinLeaveGroups.r\\*", "room", False),
        ("webpubsub.joinLeaveGroups.*****", "room", True),
        ("webpubsub.joinLeaveGroups.******", "room", False),
        ("webpubsub.sendToGroup", "room", False),
    ],
)
async def test_a_role_allows_to_join_and_leave(
    autojump_clock: MockClock, emulator: Emulator, role: str, group: str, allowed: bool
) -> None:
    async with open_peer(emulator, roles=[role]) as peer:
        for ack_id, kind in enumerate(("joinGroup", "leaveGroup"), 1):
            ack = await peer.ask(type=kind, group=group, ackId=ack_id)
            assert (ack["success"], ack.get("error", {}).get("name")) == (allowed, None if allowed else "Forbidden")
        await send_text(peer, group, ack_id=3)
        assert (await peer.receive())["success"] == role.startswith("webpubsub.sendToGroup")


async def test_without_roles_a_client_may_send_events_and_invoke_and_ping(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, event_handlers=[Handler()]) as emulator,
        open_peer(emulator, roles=[]) as peer,
    ):
        assert await peer.ask(type="ping") == {"type": "pong"}
        assert (await peer.ask(type="event", event="e", dataType="text", data="x", ackId=1))["success"]
        assert (await peer.ask(type="invoke", invocationId="1", target="event", event="e"))["success"]


async def test_a_role_that_does_not_count_is_told_in_the_log(
    autojump_clock: MockClock, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_peer(emulator, roles=["webpubsub.sendToGroups.\\"]):
            pass
    assert "webpubsub.sendToGroups" in caplog.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"": "x"},
        {"a b": "x"},
        {"a" * 257: "x"},
        {"a": "x" * 1025},
        {"a": "é"},
        {f"{i:03}": "x" * 1021 for i in range(9)},
    ],
)
async def test_metadata_beyond_the_limits_close_with_1007(
    autojump_clock: MockClock, emulator: Emulator, metadata: dict[str, str]
) -> None:
    async with open_peer(emulator) as peer:
        await send_text(peer, metadata=metadata)
        assert (await peer.closed())[0] == 1007


async def test_metadata_reach_the_members(autojump_clock: MockClock, emulator: Emulator) -> None:
    metadata = {f"{i:03}": "x" * 1021 for i in range(8)}
    async with open_peer(emulator, groups=["lobby"]) as peer:
        await send_text(peer, metadata=metadata)
        assert (await peer.receive())["metadata"] == metadata


@pytest.mark.parametrize("seconds", [301, -1, 1.5, "5"])
async def test_a_life_that_no_message_has_closes_with_1007(
    autojump_clock: MockClock, emulator: Emulator, seconds: object
) -> None:
    async with open_peer(emulator) as peer:
        await send_text(peer, ttlSeconds=seconds)
        assert (await peer.closed())[0] == 1007


# Reliable sessions


async def test_a_confirmation_counts_for_all_before_it_and_what_follows_comes_again_in_order(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as first, open_peer(emulator) as sender:
        for _ in range(5):
            await send_text(sender)
        assert [(await first.receive())["sequenceId"] for _ in range(5)] == [1, 2, 3, 4, 5]
        await first.send(type="sequenceAck", sequenceId=3)
        await first.send(type="sequenceAck", sequenceId=1)
        assert await first.ask(type="ping") == {"type": "pong"}
        await trio.aclose_forcefully(first.stream)
        await send_text(sender, ack_id=1)
        await sender.receive()
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            assert (await second.receive())["event"] == "connected"
            await send_text(sender, ack_id=2)
            assert [(await second.receive())["sequenceId"] for _ in range(4)] == [4, 5, 6, 7]


async def test_connected_need_not_come_again(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, connected_after_recovery=False) as emulator,
        open_peer(emulator, groups=["lobby"]) as first,
        open_peer(emulator) as sender,
    ):
        await trio.aclose_forcefully(first.stream)
        await send_text(sender, ack_id=1)
        await sender.receive()
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            assert (await second.receive())["sequenceId"] == 1


async def test_a_session_lasts_for_thirty_seconds_and_1_000_messages_or_16_mebibytes() -> None:
    limits = HubLimits()
    assert (limits.recovery_window, limits.unacknowledged_messages) == (30, 1000)
    assert limits.unacknowledged_bytes == 16 * 2**20


@pytest.mark.parametrize(("size", "fits"), [(1, 1000), (2**20 - 200, 16)])
async def test_one_message_too_many_ends_a_session_that_confirms_nothing(
    autojump_clock: MockClock, emulator: Emulator, size: int, fits: int
) -> None:
    message = json.dumps({"type": "sendToGroup", "group": "lobby", "dataType": "text", "data": "x" * size})
    async with open_peer(emulator, groups=["lobby"]) as idle, open_peer(emulator) as sender:
        await trio.aclose_forcefully(idle.stream)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(fits):
            await sender.websocket.send_message(message)
        assert await sender.ask(type="ping") == {"type": "pong"}
        assert len(emulator.connections("chat")) == 2
        await sender.websocket.send_message(message)
        assert await sender.ask(type="ping") == {"type": "pong"}
        assert len(emulator.connections("chat")) == 1
        async with raw_peer(emulator, recovery_url(emulator, idle)) as again:
            assert (await again.closed())[0] == 1008
