"""A session that leaves one machine and goes on in another, with everything that was pending."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.json_codec import JSON, RELIABLE_JSON
from trio_webpubsub.protocol.messages import GroupMessage, Recovered, Stopped
from trio_webpubsub.protocol.pending import HandedOver, Operation
from trio_webpubsub.protocol.session import Session
from trio_webpubsub.protocol.session_values import Delivery, Output, Recover, SessionSettings
from trio_webpubsub.protocol.ticket import SessionTicket, UnreadMessage

URL = "wss://localhost/client/hubs/chat"


def delays() -> Iterator[float]:
    return repeat(1.0)


def new_session(*, reliable: bool = True) -> Session:
    return Session(RELIABLE_JSON if reliable else JSON, SessionSettings(), retry_delays=delays)


def connected_message(connection_id: str) -> bytes:
    message = wire.ConnectedMessage(connection_id=connection_id, user_id="ann", reconnection_token="token")
    return RELIABLE_JSON.encode_control(message)


def connected(*, reliable: bool = True) -> Session:
    session = new_session(reliable=reliable)
    session.transport_opened()
    session.receive([connected_message("c-1")], 0)
    return session


def text(body: str) -> wire.SendToGroup:
    return wire.SendToGroup(group="g", payload=wire.Payload("text", body.encode()))


def written(session: Session, now: float = 0) -> list[dict[str, Any]]:
    return [msgspec.json.decode(frame) for frame in session.take_frames(now)]


def acked(session: Session, ack_id: int) -> list[Output]:
    return session.receive([RELIABLE_JSON.encode_control(wire.Ack(ack_id, True))], 0)


def data(sequence_id: int) -> bytes:
    frame = RELIABLE_JSON.encode_data(wire.DataMessage(payload=wire.Payload("text", b"hi"), group="g"))
    return RELIABLE_JSON.with_sequence_id(frame, sequence_id)


def handed_over(session: Session, unread: dict[str, list[UnreadMessage]] | None = None, *, now: float = 0) -> Session:
    """Detach a session, and resume it as another process does, up to its first frame."""
    ticket, _ = session.detach(URL, unread or {})
    successor = new_session()
    successor.resume(SessionTicket.from_bytes(ticket.to_bytes()).take(), now)
    return successor


def recover(session: Session) -> list[Output]:
    session.transport_opened()
    return session.receive([RELIABLE_JSON.encode_control(wire.Pong())], 1)


def test_only_a_reliable_session_that_exists_can_be_detached() -> None:
    assert not new_session().can_detach
    assert not connected(reliable=False).can_detach
    session = connected()
    assert session.can_detach
    session.transport_ended(1006, "", 0)
    assert session.can_detach
    session.detach(URL, {})
    assert not session.can_detach


def test_detaching_ends_the_client_and_tells_everybody_who_waits() -> None:
    session = connected()
    operation = session.outgoing.send(text("hi"))
    invocation = session.outgoing.invoke(wire.Invoke(invocation_id="", event="e"), 0)
    _, outputs = session.detach(URL, {})
    assert session.state == "stopped"
    assert outputs[:2] == [operation, invocation]
    assert operation.outcome == HandedOver()
    assert isinstance(outputs[2], Stopped)
    assert outputs[2:] == [Stopped(reason=outputs[2].reason)]
    assert len(session.outgoing.pending) == 0
    assert session.outgoing.pending.bytes == 0
    assert written(session) == []


def test_the_ticket_tells_where_the_session_is() -> None:
    session = connected()
    session.receive([data(1), data(2)], 0)
    unread = {"g": [UnreadMessage.of(GroupMessage(group="g", data="hi", data_type="text", sequence_id=2))]}
    ticket, _ = session.detach(URL, unread)
    assert ticket.subprotocol == RELIABLE_JSON.subprotocol
    contents = ticket.take()
    assert (contents.url, contents.connection_id, contents.user_id) == (URL, "c-1", "ann")
    assert (contents.reconnection_token, contents.newest_sequence_id) == ("token", 2)
    assert contents.unread == unread


def test_the_successor_recovers_the_session() -> None:
    successor = handed_over(connected(), now=5)
    assert (successor.state, successor.connection_id, successor.user_id) == ("recovering", "c-1", "ann")
    assert successor.step == Recover("c-1", "token", 35)
    assert recover(successor) == [Recovered(connection_id="c-1")]
    assert successor.state == "connected"
    assert successor.counts.sessions == 1


def test_messages_that_came_before_are_not_delivered_again() -> None:
    session = connected()
    session.receive([data(1), data(2)], 0)
    successor = handed_over(session)
    recover(successor)
    delivery = successor.receive([data(2), data(3)], 1)[-1]
    assert isinstance(delivery, Delivery)
    assert [message.sequence_id for message in delivery.messages] == [3]


def test_what_was_pending_goes_on_under_its_ids() -> None:
    session = connected()
    session.outgoing.send(text("answered"))
    session.outgoing.send(text("written"))
    written(session)
    acked(session, 1)
    session.outgoing.send(text("not written"))
    successor = handed_over(session)
    assert len(successor.outgoing.pending) == 2
    assert successor.outgoing.pending.bytes > 0
    recover(successor)
    frames = [frame for frame in written(successor, 1) if frame["type"] == "sendToGroup"]
    assert [(frame["ackId"], frame["data"]) for frame in frames] == [(2, "written"), (3, "not written")]
    assert successor.outgoing.send(text("new")).ack_id == 4
    acked(successor, 2)
    acked(successor, 3)
    assert [frame["ackId"] for frame in written(successor, 1)] == [4]
    acked(successor, 4)
    assert (len(successor.outgoing.pending), successor.outgoing.pending.bytes) == (0, 0)


def test_a_new_id_is_larger_than_any_that_was_used_before() -> None:
    session = connected()
    for ack_id in (1, 2, 3):
        session.outgoing.send(text("hi"))
        written(session)
        acked(session, ack_id)
    assert handed_over(session).outgoing.send(text("hi")).ack_id == 4


def test_wanted_groups_stay_wanted_and_joins_under_way_go_on() -> None:
    session = connected()
    session.outgoing.join("explicit")
    written(session)
    acked(session, 1)
    session.outgoing.join("under way")
    successor = handed_over(session)
    recover(successor)
    assert [(frame["type"], frame["group"]) for frame in written(successor, 1) if "group" in frame] == [
        ("joinGroup", "under way")
    ]
    acked(successor, 2)
    successor.transport_ended(1006, "", 2)
    successor.recovery_failed()
    successor.transport_opened()
    successor.receive([connected_message("c-2")], 3)
    joins = [frame["group"] for frame in written(successor, 3) if frame["type"] == "joinGroup"]
    assert joins == ["explicit", "under way"]


def test_a_leave_that_was_due_is_done_by_the_successor_and_told_to_nobody() -> None:
    session = connected()
    join = session.outgoing.subscribe("g")
    written(session)
    acked(session, join.ack_id)
    session.outgoing.unsubscribe("g", maybe_joined=True)
    ticket, outputs = session.detach(URL, {})
    assert [each for each in outputs if isinstance(each, Operation)] == []
    successor = new_session()
    successor.resume(ticket.take(), 0)
    recover(successor)
    leaves = [frame for frame in written(successor, 1) if frame["type"] == "leaveGroup"]
    assert [frame["group"] for frame in leaves] == ["g"]
