"""WebSocket clients and the emulator, in memory and on the virtual clock."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock

from tests.emulator.peer import PLAIN, RELIABLE, open_peer, raw_peer, recovery_url, rejection
from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator, switchboard
from trio_webpubsub.protocol.frame_writer import encode_frame


async def test_a_reliable_client_is_told_who_it_is(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, user_id="ann") as peer:
        assert peer.websocket.subprotocol == RELIABLE
        assert set(peer.connected) == {"type", "event", "userId", "connectionId", "reconnectionToken"}
        assert peer.connected["userId"] == "ann"


async def test_a_plain_client_gets_no_reconnection_token(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, subprotocol=PLAIN) as peer:
        assert peer.websocket.subprotocol == PLAIN
        assert "reconnectionToken" not in peer.connected


async def test_a_group_message_reaches_both_kinds_of_clients(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, user_id="ann") as ann,
        open_peer(emulator, subprotocol=PLAIN, groups=["lobby"]) as bob,
    ):
        assert await ann.ask(type="joinGroup", group="lobby", ackId=1) == {"type": "ack", "ackId": 1, "success": True}
        await ann.send(type="sendToGroup", group="lobby", dataType="json", data={"a": [1, "é"]}, ackId=2)
        message = {
            "type": "message",
            "from": "group",
            "group": "lobby",
            "fromUserId": "ann",
            "dataType": "json",
            "data": {"a": [1, "é"]},
        }
        assert await ann.receive() == {**message, "sequenceId": 1}
        assert (await ann.receive())["ackId"] == 2
        assert await bob.receive() == message


async def test_a_ping_is_answered(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        assert await peer.ask(type="ping") == {"type": "pong"}


async def test_an_event_fails_because_nobody_handles_it(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        ack = await peer.ask(type="event", event="order", dataType="text", data="x", ackId=1)
        assert (ack["success"], ack["error"]["name"]) == (False, "InternalServerError")


async def test_hubs_are_separate_and_their_case_does_not_matter(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, "chat", groups=["lobby"]) as here,
        open_peer(emulator, "CHAT", groups=["lobby"]) as here_too,
        open_peer(emulator, "other", groups=["lobby"]) as elsewhere,
    ):
        await here.send(type="sendToGroup", group="lobby", dataType="text", data="x")
        assert (await here_too.receive())["data"] == "x"
        assert await elsewhere.ask(type="ping") == {"type": "pong"}


@pytest.mark.parametrize("frame", ["nonsense", '{"type":"unheardOf"}', '{"type":"joinGroup","group":"a","ackId":"1"}'])
async def test_a_message_that_does_not_parse_closes_with_1007(
    autojump_clock: MockClock, emulator: Emulator, frame: str
) -> None:
    async with open_peer(emulator) as peer, open_peer(emulator) as other:
        await peer.websocket.send_message(frame)
        assert (await peer.closed())[0] == 1007
        assert await other.ask(type="ping") == {"type": "pong"}


async def test_a_message_over_one_mebibyte_closes_with_1009(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer, open_peer(emulator) as other:
        with suppress(trio_websocket.ConnectionClosed):  # the close may come before all of it is sent
            await peer.websocket.send_message(json.dumps({"type": "ping", "x": "x" * 2**20}))
        assert (await peer.closed())[0] == 1009
        assert await other.ask(type="ping") == {"type": "pong"}


async def test_a_client_that_breaks_off_is_gone(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, subprotocol=PLAIN) as peer:
        await trio.aclose_forcefully(peer.stream)
        await trio.testing.wait_all_tasks_blocked()
        assert emulator.connections("chat") == []


async def test_a_client_that_says_goodbye_ends_its_session(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        await peer.websocket.aclose(1000)
        await trio.testing.wait_all_tasks_blocked()
        assert emulator.connections("chat") == []


# Handshakes


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("access_token=", "no_token="), 401),
        (("hubs/chat", "hubs/other"), 401),
        (("hubs/chat", "hubs/1"), 400),
    ],
)
async def test_a_bad_handshake_gets_its_status(
    autojump_clock: MockClock, emulator: Emulator, change: tuple[str, str], status: int
) -> None:
    url = emulator.client_url("chat").replace(*change)
    assert await rejection(emulator, url) == status


async def test_a_token_expires_on_the_clock_of_the_program(autojump_clock: MockClock, emulator: Emulator) -> None:
    url = emulator.client_url("chat")
    await trio.sleep(3600 + 299)
    async with raw_peer(emulator, url) as peer:
        assert (await peer.receive())["event"] == "connected"
    await trio.sleep(2)
    assert await rejection(emulator, url) == 401


async def test_the_older_form_of_the_url_with_the_token_in_a_header(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    url = emulator.client_url("chat")
    token = url.partition("access_token=")[2]
    older = f"{url.partition('/client')[0]}/client/?hub=chat"
    async with raw_peer(emulator, older, headers=[(b"authorization", f"Bearer {token}".encode())]) as peer:
        assert (await peer.receive())["event"] == "connected"


# Recovery


async def test_a_lost_session_is_recovered_with_all_that_was_missed(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as first, open_peer(emulator, groups=["hall"]) as sender:
        await sender.send(type="sendToGroup", group="lobby", dataType="text", data="a")
        assert (await first.receive())["sequenceId"] == 1
        await trio.aclose_forcefully(first.stream)
        await sender.ask(type="sendToGroup", group="lobby", dataType="text", data="b", ackId=1)
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            again = await second.receive()
            assert (again["event"], again["connectionId"]) == ("connected", first.connection_id)
            assert again["reconnectionToken"] != first.connected["reconnectionToken"]
            assert [(await second.receive())["data"] for _ in range(2)] == ["a", "b"]


async def test_what_was_confirmed_does_not_come_again(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, groups=["lobby"]) as first:
        await first.send(type="sendToGroup", group="lobby", dataType="text", data="a")
        await first.receive()
        await first.send(type="sequenceAck", sequenceId=1)
        await first.ask(type="ping")
        await trio.aclose_forcefully(first.stream)
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            await second.receive()
            assert await second.ask(type="ping") == {"type": "pong"}


async def test_a_recovery_takes_over_from_a_half_open_link(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as first, raw_peer(emulator, recovery_url(emulator, first)) as second:
        assert (await second.receive())["event"] == "connected"
        assert (await first.closed())[0] == 1006
        assert await second.ask(type="ping") == {"type": "pong"}
        assert [connection.attached for connection in emulator.connections("chat")] == [True]


async def test_a_recovery_that_is_too_late_is_closed_with_1008_after_the_upgrade(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator) as first:
        await trio.aclose_forcefully(first.stream)
        await trio.sleep(31)
        assert emulator.connections("chat") == []
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            assert (await second.closed())[0] == 1008


async def test_a_recovery_in_a_hub_that_nobody_uses_is_closed_with_1008(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator) as first, raw_peer(emulator, recovery_url(emulator, first, "other")) as second:
        assert (await second.closed())[0] == 1008


async def test_a_recovery_with_a_wrong_token_leaves_the_session_alone(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator) as first:
        first.connected["reconnectionToken"] += "x"
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            assert (await second.closed())[0] == 1008
        assert await first.ask(type="ping") == {"type": "pong"}


async def test_a_recovered_session_keeps_its_subprotocol_whatever_is_offered(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as first:
        await trio.aclose_forcefully(first.stream)
        async with raw_peer(emulator, recovery_url(emulator, first), [PLAIN]) as second:
            assert second.websocket.subprotocol is None
            await second.receive()
            await second.send(type="sendToGroup", group="lobby", dataType="text", data="a")
            assert (await second.receive())["sequenceId"] == 1


async def test_sessions_wait_side_by_side(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as first, open_peer(emulator) as second:
        await trio.aclose_forcefully(first.stream)
        await trio.sleep(20)
        await trio.aclose_forcefully(second.stream)
        await trio.sleep(20)
        assert [connection.connection_id for connection in emulator.connections("chat")] == [second.connection_id]
        await trio.sleep(20)
        assert emulator.connections("chat") == []


@pytest.mark.parametrize(("away", "expected"), [(4.0, ["short", "long"]), (5.0, ["long"])])
async def test_a_message_is_of_use_to_a_client_that_was_away_for_as_long_as_it_lives(
    autojump_clock: MockClock, emulator: Emulator, away: float, expected: list[str]
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as first, open_peer(emulator) as sender:
        await trio.aclose_forcefully(first.stream)
        await trio.testing.wait_all_tasks_blocked()
        send = {"type": "sendToGroup", "group": "lobby", "dataType": "text"}
        assert (await sender.ask(**send, data="short", ttlSeconds=5, ackId=1))["success"]
        assert (await sender.ask(**send, data="long", ttlSeconds=0, ackId=2))["success"]
        await trio.sleep(away)
        async with raw_peer(emulator, recovery_url(emulator, first)) as second:
            await second.receive()
            assert [(await second.receive())["data"] for _ in expected] == expected


# Many messages, slow readers


async def test_clients_that_send_a_lot_at_once_do_not_overrun_one_that_confirms(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    message = json.dumps({"type": "sendToGroup", "group": "lobby", "dataType": "text", "data": "a"}).encode()
    burst = encode_frame(message, mask_key=b"1234") * 500
    async with (
        open_peer(emulator, groups=["lobby"]) as listening,
        open_peer(emulator) as first,
        open_peer(emulator) as second,
        open_peer(emulator) as third,
        trio.open_nursery() as nursery,
    ):
        for peer in first, second, third:
            nursery.start_soon(peer.stream.send_all, burst)
        for number in range(1, 1501):
            assert (await listening.receive())["sequenceId"] == number
            if number % 100 == 0:
                await listening.send(type="sequenceAck", sequenceId=number)


async def test_a_client_does_not_wait_for_its_own_confirmations(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, groups=["lobby"]) as peer:
        for _ in range(600):
            await peer.send(type="sendToGroup", group="lobby", dataType="text", data="a")
        assert [(await peer.receive())["sequenceId"] for _ in range(600)] == list(range(1, 601))
        assert trio.current_time() == 0


async def test_clients_that_send_a_lot_do_not_wait_long_for_one_that_confirms_nothing(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as idle, open_peer(emulator) as sender:
        for ack_id in range(1, 1001):
            await sender.ask(type="sendToGroup", group="lobby", dataType="text", data="a", ackId=ack_id)
        assert trio.current_time() < 0.5
        assert (await idle.receive())["sequenceId"] == 1


async def test_a_plain_client_that_does_not_read_is_cut_and_the_others_are_served(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    url = emulator.client_url("chat", groups=["lobby"])
    data = "x" * 1_000_000
    async with raw_peer(emulator, url, [PLAIN]) as slow, open_peer(emulator, groups=["lobby"]) as quick:
        await slow.receive()
        for ack_id in range(1, 20):
            await quick.send(type="sendToGroup", group="lobby", dataType="text", data=data, ackId=ack_id)
            assert (await quick.receive())["data"] == data
            assert (await quick.receive())["success"]
            await quick.send(type="sequenceAck", sequenceId=ack_id)
        assert [connection.connection_id for connection in emulator.connections("chat")] == [quick.connection_id]


async def test_a_reliable_client_that_confirms_nothing_loses_its_session(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, limits=HubLimits(unacknowledged_messages=2)) as emulator,
        open_peer(emulator, groups=["lobby"]) as peer,
    ):
        for _ in range(3):
            await peer.send(type="sendToGroup", group="lobby", dataType="text", data="a")
        assert (await peer.closed())[0] == 1006
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.closed())[0] == 1008


async def test_a_burst_reaches_everybody_whole_and_in_order(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, subprotocol=PLAIN, groups=["lobby"]) as ann,
        open_peer(emulator, subprotocol=PLAIN, groups=["lobby"]) as bob,
        open_peer(emulator, groups=["lobby"]) as eve,
    ):
        frames = [
            json.dumps({"type": "sendToGroup", "group": "lobby", "dataType": "json", "data": number, "ackId": number})
            for number in range(100)
        ]
        await ann.stream.send_all(b"".join(encode_frame(frame.encode(), mask_key=b"\0\0\0\0") for frame in frames))
        for peer in bob, eve:
            assert [(await peer.receive())["data"] for _ in range(100)] == list(range(100))
        own = [await ann.receive() for _ in range(200)]
        assert [message.get("data", message.get("ackId")) for message in own] == sorted([*range(100), *range(100)])


async def test_a_burst_lets_others_have_their_turn(
    autojump_clock: MockClock, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switchboard, "_TURN", 3)
    async with (
        open_peer(emulator, groups=["lobby"]) as eve,
        open_peer(emulator, subprotocol=PLAIN) as ann,
        open_peer(emulator, subprotocol=PLAIN) as bob,
    ):
        session = emulator._switchboard.hubs.hub("chat").registry.connections[eve.connection_id].session
        assert session is not None
        frame = b'{"type":"sendToGroup","group":"lobby","dataType":"text","data":"x"}'
        await ann.stream.send_all(encode_frame(frame, mask_key=b"\0\0\0\0") * 300)
        await bob.stream.send_all(encode_frame(b'{"type":"ping"}', mask_key=b"\0\0\0\0"))
        assert await bob.receive() == {"type": "pong"}
        assert len(list(session.unconfirmed.replay(0))) < 300
        await trio.testing.wait_all_tasks_blocked()
        assert len(list(session.unconfirmed.replay(0))) == 300
