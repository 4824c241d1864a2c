"""Streams and group states in a session: what the transport and the session mean to them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.group_state import StateChanged, StateRefused
from trio_webpubsub.protocol.json_codec import JSON, RELIABLE_JSON
from trio_webpubsub.protocol.messages import Connected, GroupStateChange
from trio_webpubsub.protocol.outgoing_stream import Abandoned, Ended, Failed, Lost, OutgoingStream
from trio_webpubsub.protocol.pending import Done, Operation, Refused
from trio_webpubsub.protocol.session import Session
from trio_webpubsub.protocol.session_values import Output, SessionSettings
from trio_webpubsub.protocol.ticket import SessionTicket

from .test_session import connected, control, new_session, written

STREAM = wire.OpenStream(group="g", stream=wire.StreamStart("s"))
TYPING = {"status": "typing"}


def states(*items: wire.GroupStateItem, sequence_id: int | None = None, snapshot: bool = True) -> bytes:
    frame = RELIABLE_JSON.encode_data(wire.GroupState(group="g", items=list(items), snapshot=snapshot))
    return frame if sequence_id is None else RELIABLE_JSON.with_sequence_id(frame, sequence_id)


def item(connection_id: str = "c-1") -> wire.GroupStateItem:
    return wire.GroupStateItem(connection_id=connection_id, state=TYPING, updated_at=1_000)


def types(session: Session, now: float = 0) -> list[Any]:
    return [frame.get("streamSequenceId") or frame["type"] for frame in written(session, now)]


def open_stream(session: Session) -> OutgoingStream:
    stream = session.outgoing.streams.open(STREAM, 300)
    assert types(session) == ["sendToGroup"]
    assert session.receive([control(wire.StreamAck("s", 1))], 0) == [stream]
    return stream


def recovered(session: Session, now: float = 1) -> list[Output]:
    session.transport_ended(1006, "", now)
    session.transport_opened()
    outputs = session.receive([control(wire.Pong())], now)
    assert session.proven
    return outputs


def lose(session: Session, connection_id: str = "c-2") -> list[Output]:
    """Lose the session, and begin another."""
    outputs = session.transport_ended(1008, "", 2)
    connected(session, now=3, connection_id=connection_id)
    return outputs


def acked(session: Session, operation: Operation) -> list[Output]:
    return session.receive([control(wire.Ack(operation.ack_id, True))], 0)


def test_the_answers_of_the_service_wake_who_waits_for_a_stream() -> None:
    session = connected()
    stream = open_stream(session)
    session.outgoing.streams.write(stream, wire.Payload("text", b"a"))
    assert not session.idle
    assert types(session) == [1]
    assert session.idle
    assert session.receive([control(wire.StreamNack("s", 2, "TransientError"))], 0) == [stream]
    session.outgoing.streams.end(stream)
    assert types(session) == ["streamEnd"]
    assert session.receive([control(wire.StreamClosed("s"))], 0) == [stream]
    assert stream.outcome == Ended()


def test_operations_are_written_before_fragments() -> None:
    session = connected()
    stream = open_stream(session)
    session.outgoing.streams.write(stream, wire.Payload("text", b"a"))
    session.outgoing.join("h")
    assert types(session) == ["joinGroup", 1]


def test_fragments_have_the_rest_of_the_budget() -> None:
    session = connected()
    stream = open_stream(session)
    session.outgoing.streams.write(stream, wire.Payload("text", b"a"))
    session.outgoing.join("h")
    assert len(session.take_frames(0, 10)) == 1
    assert len(session.take_frames(0, 10)) == 1


@pytest.mark.parametrize("answer", [wire.Pong(), wire.ConnectedMessage(connection_id="c-1")])
def test_a_recovery_sends_again_whether_or_not_connected_comes(answer: wire.Control) -> None:
    session = connected()
    stream = open_stream(session)
    session.outgoing.streams.write(stream, wire.Payload("text", b"a"))
    types(session)
    session.transport_ended(1006, "", 1)
    session.transport_opened()
    assert types(session, 1) == ["ping"]
    session.receive([control(answer)], 1)
    assert types(session, 1) == [1]


def test_a_lost_session_takes_its_streams_along() -> None:
    session = connected()
    stream = open_stream(session)
    assert stream in lose(session)
    assert stream.outcome == Lost()
    assert types(session, 3) == []


def test_without_recovery_the_first_drop_takes_them_along() -> None:
    session = connected(Session(JSON, SessionSettings(), retry_delays=lambda: iter(())))
    stream = open_stream(session)
    assert stream in session.transport_ended(1006, "", 1)
    assert stream.outcome == Lost()


def test_a_stream_that_is_asked_for_while_there_is_no_session_is_opened_in_the_next() -> None:
    session = connected()
    session.transport_ended(1008, "", 1)
    stream = session.outgoing.streams.open(STREAM, 300)
    connected(session, now=2, connection_id="c-2")
    assert types(session, 2) == ["sendToGroup"]
    assert stream.state == "opening"


def test_a_stream_without_answers_is_given_up() -> None:
    session = connected()
    assert session.ack_timeout == 30
    stream = session.outgoing.streams.open(STREAM, 300)
    types(session)
    assert session.next_deadline == 30
    assert session.handle_timeout(30) == []
    types(session, 30)
    assert session.handle_timeout(60) == [stream]
    assert isinstance(stream.outcome, Failed)


def test_a_stream_that_the_service_cannot_take_is_given_up_the_second_time() -> None:
    session = connected()
    stream = open_stream(session)
    session.outgoing.streams.write(stream, wire.Payload("text", b"a"))
    types(session)
    assert stream not in session.transport_ended(1007, "", 1)
    session.transport_opened()
    session.receive([control(wire.Pong())], 1)
    types(session, 1)
    session.outgoing.join("h")
    types(session, 1)
    assert stream not in session.transport_ended(1007, "", 2)  # the join may be to blame
    session.transport_opened()
    session.receive([control(wire.Pong())], 2)
    session.receive([control(wire.Ack(1, True))], 2)
    types(session, 2)
    session.receive([control(wire.Ack(1, True))], 2)
    assert stream in session.transport_ended(1007, "", 3)
    assert stream.outcome == Failed(wire.WireError("MessageRefused", "the service closed with 1007"))


def test_streams_set_no_deadline_while_there_is_no_transport() -> None:
    session = connected()
    open_stream(session)
    session.transport_ended(1006, "", 1)
    assert session.next_deadline == math.inf


def test_the_end_of_the_client_is_the_end_of_its_streams() -> None:
    session = connected()
    stream = open_stream(session)
    assert stream in session.stop("over")
    assert stream.outcome == Abandoned()


def test_states_are_told_with_their_changes() -> None:
    session = connected()
    observed, operation = session.outgoing.states.observe("g")
    assert types(session) == ["subscribeGroupState"]
    assert acked(session, operation) == [operation]
    expected = GroupStateChange(connection_id="c-1", user_id=None, state=TYPING, updated_at=1.0)
    assert session.receive([states(item(), sequence_id=1)], 0) == [StateChanged(observed, [expected])]
    assert session.next_deadline == 1


def test_a_state_that_comes_again_after_a_recovery_is_a_repetition() -> None:
    session = connected()
    observed, operation = session.outgoing.states.observe("g")
    types(session)
    acked(session, operation)
    session.receive([states(item(), sequence_id=1)], 0)
    recovered(session)
    assert session.receive([states(sequence_id=1)], 1) == []
    assert session.counts.repeated == 1
    assert list(observed.members) == ["c-1"]


def test_states_without_sequence_ids_are_always_new() -> None:
    session = connected(new_session(reliable=False))
    observed, operation = session.outgoing.states.observe("g")
    types(session)
    acked(session, operation)
    session.receive([states(item())], 0)
    session.receive([states()], 0)
    assert not observed.members


def test_a_new_session_has_the_state_and_the_subscription_of_the_last() -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    _, watching = session.outgoing.states.observe("g")
    types(session)
    acked(session, setting)
    acked(session, watching)
    lose(session)
    assert types(session, 3) == ["setGroupState", "subscribeGroupState"]


def test_a_recovered_session_has_them_still() -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    types(session)
    acked(session, setting)
    recovered(session)
    assert types(session, 1) == ["ping"]


def test_operations_on_states_are_done_again_in_the_next_session_without_a_question() -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    observed, watching = session.outgoing.states.observe("g")
    session.outgoing.states.release(observed)
    types(session)
    lose(session)
    assert types(session, 3) == ["setGroupState", "subscribeGroupState"]
    assert acked(session, setting) == [setting]
    assert setting.outcome == Done()
    assert watching.outcome is None


def test_groups_that_are_not_rejoined_are_not_watched_either() -> None:
    session = connected(new_session(auto_rejoin=False))
    observed, watching = session.outgoing.states.observe("g")
    types(session)
    acked(session, watching)
    session.transport_ended(1008, "", 2)
    session.transport_opened()
    message = wire.ConnectedMessage(connection_id="c-2", reconnection_token="t")
    outputs = session.receive([control(message)], 3)
    assert isinstance(outputs[0], Connected)
    assert StateRefused("g", None, observed) in outputs
    assert types(session, 3) == []


def test_a_refusal_in_the_next_session_is_told() -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    types(session)
    acked(session, setting)
    lose(session)
    (frame,) = written(session, 3)
    error = wire.WireError("Forbidden", "no")
    outputs = session.receive([control(wire.Ack(frame["ackId"], False, error))], 3)
    (refused,) = outputs
    assert isinstance(refused, StateRefused)
    assert (refused.group, refused.observed) == ("g", None)
    assert refused.operation is not None
    assert refused.operation.outcome == Refused(error)


def test_the_caller_of_a_set_may_go_away() -> None:
    session = connected()
    operation = session.outgoing.states.set("g", TYPING)
    types(session)
    session.outgoing.withdraw(operation)
    lose(session)
    assert types(session, 3) == ["setGroupState"]


def test_a_ticket_takes_the_own_states_along_and_ends_streams() -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    stream = open_stream_beside(session, setting)
    ticket, outputs = session.detach("wss://localhost/client/hubs/chat", {})
    assert stream in outputs
    assert stream.outcome == Abandoned()
    successor = new_session()
    contents = SessionTicket.from_bytes(ticket.to_bytes()).take()
    assert contents.states == {"g": TYPING}
    successor.resume(contents, 1)
    lose(successor)
    assert types(successor, 3) == ["setGroupState"]


def open_stream_beside(session: Session, setting: Operation) -> OutgoingStream:
    stream = session.outgoing.streams.open(STREAM, 300)
    types(session)
    acked(session, setting)
    session.receive([control(wire.StreamAck("s", 1))], 0)
    return stream


@pytest.mark.parametrize("when", ["before the next", "behind the next"])
def test_an_end_of_a_subscription_that_failed_is_not_tried_again_behind_the_next(when: str) -> None:
    session = connected()
    observed, watching = session.outgoing.states.observe("g")
    types(session)
    acked(session, watching)
    session.outgoing.states.release(observed)
    (end,) = written(session)
    failure = control(wire.Ack(end["ackId"], False, wire.WireError("InternalServerError")))
    if when == "before the next":
        session.receive([failure], 0)
    session.outgoing.states.observe("g")
    if when == "behind the next":
        session.receive([failure], 0)
    session.handle_timeout(100)
    assert types(session, 100) == ["subscribeGroupState"]
    assert len(session.outgoing.pending) == 1


@pytest.mark.parametrize("when", ["before the next", "behind the next"])
def test_a_state_of_the_last_session_is_not_tried_again_behind_a_newer_one(when: str) -> None:
    session = connected()
    setting = session.outgoing.states.set("g", TYPING)
    types(session)
    acked(session, setting)
    lose(session)
    (frame,) = written(session, 3)
    failure = control(wire.Ack(frame["ackId"], False, wire.WireError("InternalServerError")))
    if when == "before the next":
        session.receive([failure], 3)
    newer = session.outgoing.states.set("g", {"status": "away"})
    if when == "behind the next":
        assert session.receive([failure], 3) == []
    session.handle_timeout(4)
    assert [each["state"] for each in written(session, 4)] == [{"status": "away"}]
    assert acked(session, newer) == [newer]
    assert session.outgoing.states.own == {"g": {"status": "away"}}
