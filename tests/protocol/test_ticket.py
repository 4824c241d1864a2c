"""A session handed from one process to another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.messages import Gap, GroupMessage, ServerMessage, StreamInfo
from trio_webpubsub.protocol.ticket import PendingOperation, SessionTicket, TicketContents, UnreadMessage
from trio_webpubsub.protocol.wire import Acknowledged

MESSAGES: list[GroupMessage | ServerMessage | Gap] = [
    Gap(session_lost=True, overflowed=3),
    GroupMessage(group="g", data="text", data_type="text", from_user_id="ann", sequence_id=7),
    GroupMessage(group="g", data=b"\x00\xff", data_type="binary", metadata={"a": "b"}),
    GroupMessage(group="g", data={"n": [1, None, 10**30]}, stream=StreamInfo(stream_id="s", stream_sequence_id=1)),
    ServerMessage(data=b"any", data_type="protobuf"),
    ServerMessage(data=None, data_type="json", sequence_id=9),
    ServerMessage(data_type="hologram", data_error="unknown data type", raw=b"\xff"),
]

OPERATIONS: list[Acknowledged] = [
    wire.JoinGroup("g", 1),
    wire.LeaveGroup("g", 2),
    wire.SendToGroup(group="g", payload=wire.Payload("binary", b"\xff"), ack_id=3, no_echo=True, ttl_seconds=1),
    wire.SendEvent(event="e", payload=wire.Payload("json", b"{}"), ack_id=4, metadata={"a": "b"}),
    wire.SetGroupState("g", {"a": "b"}, 5),
    wire.SetGroupState("g", None, 6),
    wire.SubscribeGroupState("g", 7),
    wire.UnsubscribeGroupState("g", 8),
]


def ticket() -> SessionTicket:
    return SessionTicket(
        TicketContents(
            subprotocol="json.reliable.webpubsub.azure.v1",
            url="wss://localhost/client/hubs/chat",
            connection_id="c-1",
            user_id=None,
            reconnection_token="canary",
            newest_sequence_id=5,
            last_ack_id=9,
            operations=[
                PendingOperation.of(each, ack_id=each.ack_id or 0, written=True, retries=1, repeat_in_new_session=False)
                for each in OPERATIONS
            ],
            groups=["g"],
            unread={"held": [UnreadMessage.of(each) for each in MESSAGES]},
        )
    )


def test_everything_survives_the_journey() -> None:
    original, copy = ticket(), ticket()
    arrived = SessionTicket.from_bytes(copy.to_bytes()).take()
    assert arrived == original.take()
    assert [each.message for each in arrived.unread["held"]] == MESSAGES
    assert [each.message for each in arrived.operations] == OPERATIONS


def test_sizes_are_about_those_of_the_payloads() -> None:
    assert [UnreadMessage.of(each).size for each in MESSAGES[:3]] == [0, 4, 2]
    assert UnreadMessage.of(MESSAGES[-1]).size == 1


def test_what_is_nested_too_deeply_harms_no_ticket() -> None:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    message = UnreadMessage.of(GroupMessage(group="g", data=data, sequence_id=7)).message
    assert isinstance(message, GroupMessage)
    assert (message.data, message.sequence_id) == (None, 7)
    assert message.data_error is not None


def test_what_only_another_process_could_read_is_given_as_it_is() -> None:
    body = b"[" * 5_000_000 + b"]" * 5_000_000
    message = UnreadMessage(group="g", payload=wire.Payload("json", body)).message
    assert isinstance(message, GroupMessage)
    assert (message.data, message.raw) == (None, body)
    assert message.data_error == "the json payload cannot be decoded: RecursionError"


def test_a_ticket_shows_nothing() -> None:
    assert repr(ticket()) == "<SessionTicket>"
    for text in (str(vars(ticket())), repr(ticket().take()), ticket().url):
        assert "canary" not in text


def test_a_ticket_is_used_once() -> None:
    used = ticket()
    used.take()
    assert repr(used) == "<SessionTicket used>"
    with pytest.raises(ValueError, match="used once"):
        used.take()
    with pytest.raises(ValueError, match="used once"):
        used.to_bytes()


def forged(**changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(ticket().to_bytes()) | changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"canary",
        b"{}",
        b"[" * 100_000,
        forged(groups=7),
        forged(operations=[{"kind": "explode", "fields": {}, "ack_id": 1, "written": True, "retries": 0}]),
        forged(
            operations=[
                {
                    "kind": "explode",
                    "fields": {},
                    "ack_id": 1,
                    "written": True,
                    "retries": 0,
                    "repeat_in_new_session": False,
                }
            ]
        ),
        forged(unread={"held": [{"group": "g", "payload": {"data_type": "json", "body": "ew=="}}]}),
    ],
)
def test_what_is_no_ticket_is_refused_and_not_shown(data: bytes) -> None:
    with pytest.raises(ValueError, match="no session ticket") as caught:
        SessionTicket.from_bytes(data)
    assert "canary" not in str(caught.value)
