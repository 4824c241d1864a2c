"""Streams and states of groups, as they look on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.emulator.peer import PLAIN, RELIABLE, open_peer
from trio_webpubsub.emulator import Emulator

ROLES = [f"webpubsub.{name}" for name in ("joinLeaveGroup", "sendToGroup", "setGroupState", "getGroupState")]

both = pytest.mark.parametrize("subprotocol", [PLAIN, RELIABLE])


@both
async def test_a_stream_on_the_wire(autojump_clock: MockClock, emulator: Emulator, subprotocol: str) -> None:
    async with (
        open_peer(emulator, user_id="ann") as ann,
        open_peer(emulator, user_id="bob", groups=["g"], subprotocol=subprotocol) as bob,
    ):
        opening = {
            "type": "sendToGroup",
            "group": "g",
            "noEcho": True,
            "stream": {"streamId": "s", "idleTimeoutMs": 60000},
        }
        assert await ann.ask(**opening) == {"type": "streamAck", "streamId": "s", "expectedSequenceId": 1}
        answer = await ann.ask(type="streamData", streamId="s", streamSequenceId=1, dataType="text", data="Once ")
        assert answer == {"type": "streamAck", "streamId": "s", "expectedSequenceId": 2}
        answer = await ann.ask(type="streamEnd", streamId="s", error={"message": "why", "userErrorCode": "E"})
        assert answer == {"type": "streamClosed", "streamId": "s"}
        common: dict[str, Any] = {
            "type": "message",
            "from": "group",
            "group": "g",
            "fromUserId": "ann",
            "dataType": "text",
        }
        messages = [
            {**common, "data": "Once ", "stream": {"streamId": "s", "streamSequenceId": 1}},
            {
                **common,
                "data": "",
                "stream": {
                    "streamId": "s",
                    "streamSequenceId": 2,
                    "endOfStream": True,
                    "error": {"name": "UserError", "message": "why", "userErrorCode": "E"},
                },
            },
        ]
        for number, message in enumerate(messages, 1):
            numbered = {"sequenceId": number} if subprotocol == RELIABLE else {}
            assert await bob.receive() == {**message, **numbered}


async def test_what_is_wrong_with_streams_is_told(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, roles=["webpubsub.sendToGroup.g"]) as peer:
        refused = await peer.ask(type="sendToGroup", group="h", stream={"streamId": "s"})
        assert (refused["type"], refused["streamId"], refused["error"]["name"]) == ("streamClosed", "s", "Forbidden")
        refused = await peer.ask(type="sendToGroup", group="g", stream={"streamId": "s", "idleTimeoutMs": 0})
        assert refused["error"]["name"] == "BadRequest"
        missing = await peer.ask(type="streamEnd", streamId="s")
        assert missing["error"]["name"] == "StreamNotFound"
        await peer.ask(type="sendToGroup", group="g", stream={"streamId": "s"})
        nack = await peer.ask(type="streamData", streamId="s", streamSequenceId=2, dataType="text", data="x")
        assert (nack["type"], nack["name"], nack["expectedSequenceId"]) == ("streamNack", "InvalidSequenceId", 1)
        await peer.send(type="streamData", streamId="s")
        assert await peer.ask(type="ping") == {"type": "pong"}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "sendToGroup", "group": "g", "stream": {"streamId": "s"}, "data": 1},
        {"type": "streamData", "streamId": "s", "streamSequenceId": 1},
        {"type": "streamData", "streamId": 5},
        {"type": "setGroupState", "group": "g", "state": {"a": 1}},
    ],
)
async def test_what_cannot_be_read_closes(
    autojump_clock: MockClock, emulator: Emulator, message: dict[str, Any]
) -> None:
    async with open_peer(emulator) as peer:
        await peer.send(**message)
        assert (await peer.closed())[0] == 1007


async def test_what_begins_a_stream_on_an_event_is_read(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        answer = await peer.ask(type="event", event="order", stream={"streamId": "s", "idleTimeoutMs": 5}, ackId=1)
        assert (answer["type"], answer["error"]["name"]) == ("ack", "InternalServerError")  # nobody handles events
        answer = await peer.ask(
            type="invoke", target="event", event="order", invocationId="1", stream={"streamId": "s"}
        )
        assert answer["type"] == "invokeResponse"


@both
async def test_states_on_the_wire(autojump_clock: MockClock, emulator: Emulator, subprotocol: str) -> None:
    async with (
        open_peer(emulator, user_id="ann", roles=ROLES) as ann,
        open_peer(emulator, user_id="bob", roles=ROLES, subprotocol=subprotocol) as bob,
    ):
        assert (await ann.ask(type="setGroupState", group="g", state={"status": "here"}, ackId=1))["success"]
        assert (await bob.ask(type="subscribeGroupState", group="g", ackId=1))["success"]
        snapshot = await bob.receive()
        (item,) = snapshot["items"]
        assert (snapshot["type"], snapshot["group"]) == ("groupStateSnapshot", "g")
        assert (item["connectionId"], item["userId"], item["state"]) == (ann.connection_id, "ann", {"status": "here"})
        assert item["updatedAt"] > 1_600_000_000_000
        assert (await ann.ask(type="setGroupState", group="g", ackId=2))["success"]
        update = await bob.receive()
        assert (update["type"], "state" in update["items"][0]) == ("groupStateUpdate", False)
        assert ("sequenceId" in snapshot, "sequenceId" in update) == (subprotocol == RELIABLE,) * 2
        assert (await bob.ask(type="unsubscribeGroupState", group="g", ackId=2))["success"]


async def test_an_idle_stream_ends_in_time(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        await peer.ask(type="sendToGroup", group="g", stream={"streamId": "later"})
        await peer.ask(type="sendToGroup", group="g", stream={"streamId": "s", "idleTimeoutMs": 2500})
        start = autojump_clock.current_time()
        closed = await peer.receive()
        assert (closed["streamId"], closed["error"]["name"]) == ("s", "IdleTimeout")
        assert autojump_clock.current_time() - start == pytest.approx(2.5)
