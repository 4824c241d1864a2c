"""What an emulator remembers of what it was sent."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tests.emulator.peer import PLAIN, open_peer
from trio_webpubsub.emulator import Emulator, ReceivedMessage, ReceivedRequest, open_emulator
from trio_webpubsub.protocol.urls import ClientUrl
from trio_webpubsub.service import AuthenticationFailed, InvalidRequest, open_service


def messages(emulator: Emulator) -> list[ReceivedMessage]:
    return [each for each in emulator.received() if isinstance(each, ReceivedMessage)]


async def test_messages_and_requests_are_kept_in_order(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, "Chat", user_id="ann") as peer,
        open_service(emulator.connection_string, "chat", connector=emulator.connector) as service,
    ):
        await peer.ask(type="joinGroup", group="lobby", ackId=1)
        await trio.sleep(5)
        await service.send_to_user("ann", {"a": 1})
        await peer.receive()
        await peer.ask(type="event", event="order", dataType="json", data=[1, "é"], ackId=2)
        join, request, event = emulator.received()
    assert isinstance(join, ReceivedMessage)
    assert isinstance(event, ReceivedMessage)
    assert (join.hub, join.connection_id, join.user_id) == ("chat", peer.connection_id, "ann")
    assert (join.type, join.group, join.ack_id, join.data) == ("joinGroup", "lobby", 1, None)
    assert event.time - join.time == 5
    assert (event.type, event.event, event.data_type, event.data) == ("event", "order", "json", [1, "é"])
    assert isinstance(request, ReceivedRequest)
    assert (request.method, request.path, request.status) == ("POST", "/api/hubs/chat/users/ann/:send", 202)
    assert (request.content_type, request.body) == ("application/json", b'{"a":1}')
    assert "api-version" in request.query


async def test_the_name_of_a_group_has_no_power_over_a_terminal(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        for ack_id, group in enumerate(["grüße", "\x1b[2J"], start=1):
            await peer.ask(type="joinGroup", group=group, ackId=ack_id)
    lines = [str(each).partition("joinGroup ")[2] for each in emulator.received()]
    assert lines == ["grüße (ack id 1)", r"'\x1b[2J' (ack id 2)"]


async def test_messages_that_do_nothing_are_kept_too(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        await peer.ask(type="ping")
        await peer.send(type="sequenceAck", sequenceId=1)
        await peer.ask(type="sendToGroup", group="g", dataType="binary", data="AP8=", noEcho=True, ackId=1)
        assert [each.type for each in messages(emulator)] == ["ping", "sequenceAck", "sendToGroup"]
        last = messages(emulator)[-1]
        assert last.data == b"\x00\xff"
        assert [each.details for each in messages(emulator)] == [{}, {"sequence_id": 1}, {"no_echo": True}]


async def test_streams_and_states_of_groups_are_shown_in_full(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, roles=["webpubsub.sendToGroup", "webpubsub.setGroupState"]) as peer:
        await peer.ask(type="sendToGroup", group="g", stream={"streamId": "s", "idleTimeoutMs": 9_000})
        await peer.ask(type="streamData", streamId="s", streamSequenceId=1, dataType="text", data="a")
        await peer.ask(type="streamEnd", streamId="s", error={"userErrorCode": "Tired"})
        await peer.ask(type="setGroupState", group="g", state={"mood": "good"}, ackId=1)
        await peer.ask(type="setGroupState", group="g", state={}, ackId=2)
        opened, fragment, ended, *states = messages(emulator)
    assert (opened.type, opened.group) == ("sendToGroup", "g")
    assert opened.details == {"stream": {"stream_id": "s", "idle_timeout_ms": 9_000}}
    assert (fragment.type, fragment.data) == ("streamData", "a")
    assert fragment.details == {"stream_id": "s", "stream_sequence_id": 1}
    assert ended.details == {"stream_id": "s", "error": {"message": None, "user_error_code": "Tired"}}
    assert [each.details for each in states] == [{"state": {"mood": "good"}}, {"state": {}}]


async def test_states_take_their_memory_too(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, kept_bytes=10_000) as emulator,
        open_peer(emulator, roles=["webpubsub.setGroupState"]) as peer,
    ):
        for ack_id in range(1, 4):
            await peer.ask(type="setGroupState", group="g", state={"note": "x" * 4_000}, ackId=ack_id)
        assert [each.ack_id for each in messages(emulator)] == [2, 3]


async def test_a_payload_that_cannot_be_decoded_is_shown_as_it_is(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator) as peer:
        payload = r'"\ud800"'
        text = f'{{"type":"event","event":"e","dataType":"json","data":{payload},"ackId":1}}'
        await peer.websocket.send_message(text)
        await peer.receive()
        assert messages(emulator)[-1].data == payload.encode()


async def test_only_so_many_are_kept(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, kept_messages=3) as emulator, open_peer(emulator) as peer:
        for ack_id in range(1, 6):
            await peer.ask(type="joinGroup", group="g", ackId=ack_id)
        assert [each.ack_id for each in messages(emulator)] == [3, 4, 5]
        assert emulator.received_dropped == 2
        emulator.clear_received()
        assert (emulator.received(), emulator.received_dropped) == ([], 0)
        await peer.ask(type="ping")
        assert len(emulator.received()) == 1


async def test_they_take_only_so_much_memory(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, kept_bytes=10_000) as emulator, open_peer(emulator) as peer:
        for size in (4_000, 4_000, 4_000, 1, 50_000, 1):
            await peer.ask(type="sendToGroup", group="g", dataType="text", data="a" * size, ackId=size)
        assert [len(each.data) for each in messages(emulator)] == [1]
        assert emulator.received_dropped == 5
        emulator.clear_received()
        await peer.ask(type="sendToGroup", group="g", dataType="text", data="a" * 9_000, ackId=7)
        assert len(emulator.received()) == 1


async def test_a_line_tells_each(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, subprotocol=PLAIN, user_id="ann\x1b[2J") as peer,
        open_service(emulator.connection_string, "chat", connector=emulator.connector) as service,
    ):
        await peer.ask(type="sendToGroup", group="g", dataType="text", data="hi\n", ackId=1)
        await service.send_to_all("x" * 500)
        await service.user_exists("bob")
        lines = [str(each) for each in emulator.received()]
    name = f"{peer.connection_id} ('ann\\x1b[2J')"
    assert lines == [
        f"chat: {name} sendToGroup g text 'hi\\n' (ack id 1)",
        f"POST /api/hubs/chat/:send b'{'x' * 98}...: 202",
        "HEAD /api/hubs/chat/users/bob: 404, The user has no connection.",
    ]


async def test_a_refused_request_is_told_on_one_line_with_the_reason(
    autojump_clock: MockClock, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_webpubsub.emulator")
    wrong_key = emulator.connection_string.replace("AccessKey=", "AccessKey=not-")
    async with open_service(wrong_key, "chat", connector=emulator.connector) as service:
        with pytest.raises(AuthenticationFailed):
            await service.send_to_all("hi")
    async with open_service(emulator.connection_string, "chat", connector=emulator.connector) as service:
        with pytest.raises(InvalidRequest):
            await service.send_to_all("hi", filter="nonsense")
        with pytest.raises(InvalidRequest):
            await service.request("GET", "/api/hubs/chat/groups/g/connections", params={"top": "x"})
    lines = [line for line in caplog.messages if ": 40" in line or "sign" in line]
    assert lines == [str(each) for each in emulator.received()]
    assert lines[0] == "POST /api/hubs/chat/:send b'hi': 401, the token's signature does not fit the key"
    assert lines[1].startswith("POST /api/hubs/chat/:send b'hi': 400, ")
    assert len(lines) == 3


async def test_they_are_logged_without_tokens(
    autojump_clock: MockClock, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_webpubsub.emulator")
    url = emulator.client_url("chat")
    async with (
        open_peer(emulator) as peer,
        open_service(emulator.endpoint, "chat", credential=emulator.credential(), connector=emulator.connector) as it,
    ):
        await peer.ask(type="joinGroup", group="lobby", ackId=1)
        access = await it.client_access_url()
    assert "joinGroup lobby (ack id 1)" in caplog.text
    assert "POST /api/hubs/chat/:generateToken: 200" in caplog.text
    for token in (ClientUrl.parse(url).access_token, ClientUrl.parse(access).access_token):
        assert token is not None
        assert token not in caplog.text + repr(emulator.received())


async def test_the_log_tells_whose_websocket_ended_and_how(
    autojump_clock: MockClock, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trio_webpubsub.emulator")
    names: list[str] = []
    async with open_peer(emulator) as peer:
        await peer.websocket.send_message("nonsense")
        await peer.closed()
        names.append(peer.connection_id)
    async with open_peer(emulator) as peer:
        await peer.websocket.aclose(1000)
        names.append(peer.connection_id)
    async with open_peer(emulator) as peer:
        emulator.cut(peer.connection_id)
        await trio.testing.wait_all_tasks_blocked()
        names.append(peer.connection_id)
    for name, code in zip(names, [1007, 1000, 1006], strict=True):
        assert f"chat: the WebSocket of '{name}' is open" in caplog.messages
        assert f"chat: the WebSocket of '{name}' has ended, code {code}" in caplog.messages
