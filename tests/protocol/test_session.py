"""The client's session machine, told facts by hand: connecting, delivering, recovering, losing, rejoining, leaving."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any, TypeAlias

import msgspec
import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import MessageTooLarge
from trio_webpubsub.protocol.json_codec import JSON, RELIABLE_JSON
from trio_webpubsub.protocol.messages import (
    Connected,
    Disconnected,
    Gap,
    GroupMessage,
    Recovered,
    ServerMessage,
    Stopped,
)
from trio_webpubsub.protocol.pending import Done, NeverSent, Operation, Refused, Unanswered, Unknown
from trio_webpubsub.protocol.session import Session
from trio_webpubsub.protocol.session_values import (
    Delivery,
    GroupRefused,
    Output,
    Reconnect,
    Recover,
    SessionSettings,
    Stop,
)

Heard: TypeAlias = Output | GroupMessage | ServerMessage

CONNECTED = wire.ConnectedMessage(connection_id="c-1", user_id="ann", reconnection_token="secret-1")


def delays() -> Iterator[float]:
    return repeat(1.0)


def new_session(*, reliable: bool = True, **settings: Any) -> Session:
    return Session(RELIABLE_JSON if reliable else JSON, SessionSettings(**settings), retry_delays=delays)


def control(message: wire.Control) -> bytes:
    return RELIABLE_JSON.encode_control(message)


def data(sequence_id: int, *, group: str | None = "g", body: bytes = b"hi") -> bytes:
    frame = RELIABLE_JSON.encode_data(wire.DataMessage(payload=wire.Payload("text", body), group=group))
    return RELIABLE_JSON.with_sequence_id(frame, sequence_id)


def receive(session: Session, *frames: bytes, now: float = 0) -> list[Heard]:
    return list(flattened(session.receive(list(frames), now)))


def flattened(outputs: list[Output]) -> Iterator[Heard]:
    for output in outputs:
        if isinstance(output, Delivery):
            assert len(output.messages) == len(output.sizes)
            yield from output.messages
        else:
            yield output


def connected(session: Session | None = None, *, now: float = 0, connection_id: str = "c-1") -> Session:
    session = session or new_session()
    session.transport_opened()
    message = msgspec.structs.replace(CONNECTED, connection_id=connection_id)
    receive(session, control(message), now=now)
    return session


def written(session: Session, now: float = 0) -> list[dict[str, Any]]:
    return [msgspec.json.decode(frame) for frame in session.take_frames(now)]


def ack(session: Session, ack_id: int, error: str | None = None, *, now: float = 0) -> list[Heard]:
    failure = None if error is None else wire.WireError(error, "why")
    return receive(session, control(wire.Ack(ack_id, error is None, failure)), now=now)


def text(body: str = "hi") -> wire.SendToGroup:
    return wire.SendToGroup(group="g", payload=wire.Payload("text", body.encode()))


def event() -> wire.SendEvent:
    return wire.SendEvent(event="e", payload=wire.Payload("text", b"hi"))


# Connecting


def test_connected_begins_the_first_session() -> None:
    session = new_session()
    assert (session.state, session.step) == ("connecting", Reconnect())
    session.transport_opened()
    assert not session.proven
    assert receive(session, control(CONNECTED)) == [Connected(connection_id="c-1", user_id="ann", first=True)]
    assert session.state == "connected"
    assert session.proven
    assert (session.connection_id, session.user_id) == ("c-1", "ann")


def test_nothing_is_written_before_connected() -> None:
    session = new_session()
    session.outgoing.send(text())
    assert written(session) == []
    session.transport_opened()
    assert written(session) == []
    receive(session, control(CONNECTED))
    assert [frame["type"] for frame in written(session)] == ["sendToGroup"]


def test_a_transport_that_ends_before_connected_tells_nothing() -> None:
    session = new_session()
    session.transport_opened()
    assert session.transport_ended(1006, "", 1) == []
    assert session.step == Reconnect()


# Delivering


def test_messages_are_delivered_once_and_in_order() -> None:
    session = connected()
    outputs = receive(session, data(1), data(2, group=None), data(2, group=None), data(1), data(3))
    assert [type(each) for each in outputs] == [GroupMessage, ServerMessage, GroupMessage]
    assert [each.sequence_id for each in outputs if isinstance(each, GroupMessage | ServerMessage)] == [1, 2, 3]
    assert session.counts.repeated == 2


def test_a_message_that_cannot_be_decoded_is_delivered_and_counted() -> None:
    session = connected()
    frame = b'{"type":"message","from":"group","group":"g","dataType":"binary","data":"?","sequenceId":1}'
    (message,) = receive(session, frame)
    assert isinstance(message, GroupMessage)
    assert (message.data_error is not None, session.counts.undecodable) == (True, 1)


def test_sizes_are_those_of_the_frames() -> None:
    session = connected()
    frame = data(1)
    acked = session.outgoing.send(text())
    session.take_frames(0)
    assert session.receive([control(wire.Ack(acked.ack_id, True)), frame], 0)[0] is acked
    (delivery,) = session.receive([data(2), data(3, body=b"hello")], 0)
    assert isinstance(delivery, Delivery)
    assert delivery.sizes == [len(data(2)), len(data(3, body=b"hello"))]


def test_messages_without_a_sequence_id_are_delivered() -> None:
    session = connected(new_session(reliable=False))
    frame = JSON.encode_data(wire.DataMessage(payload=wire.Payload("text", b"hi"), group="g"))
    assert len(receive(session, frame, frame)) == 2
    assert session.next_deadline == math.inf


def test_an_unknown_message_is_counted_and_its_sequence_id_too() -> None:
    session = connected()
    assert receive(session, b'{"type":"news","sequenceId":7}', b'{"type":"news"}') == []
    assert session.counts.unknown == 2
    session.handle_timeout(1)
    assert written(session, 1) == [{"type": "sequenceAck", "sequenceId": 7}]


def test_pongs_and_answers_nobody_asked_for_are_passed_over() -> None:
    session = connected()
    response = wire.InvokeResponse(invocation_id="i", success=True)
    assert receive(session, control(wire.Pong()), control(response), control(wire.Ack(99, True))) == []


def test_three_unreadable_frames_in_a_row_make_a_transport_worthless() -> None:
    session = connected()
    receive(session, b"{", b"{")
    assert not session.worthless
    receive(session, data(1), b"{", b"{", b"{")
    assert session.worthless
    assert session.counts.unreadable == 5


def test_the_same_poison_after_a_recovery_ends_the_session() -> None:
    session = connected()
    receive(session, b"{", b"{", b"{")
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    receive(session, b"{", b"{", b"{")
    session.transport_ended(1006, "", 0)
    assert session.step == Reconnect()


def test_other_poison_after_a_recovery_is_another_matter() -> None:
    session = connected()
    receive(session, b"{", b"{", b"{")
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    receive(session, b"[", b"[", b"[")
    session.transport_ended(1006, "", 0)
    assert isinstance(session.step, Recover)


def violate(session: Session, code: int = 1007) -> None:
    session.transport_ended(code, "what was wrong", 0, violation=True)
    session.transport_opened()


def test_the_same_violation_in_the_same_place_after_a_recovery_ends_the_session() -> None:
    session = connected()
    receive(session, data(1))
    violate(session)
    assert session.state == "recovering"
    receive(session, data(1))  # sent again, and then comes what the service cannot have meant
    violate(session)
    assert session.step == Reconnect()


def test_a_violation_in_another_place_is_another_matter() -> None:
    session = connected()
    for sequence_id in range(1, 4):
        receive(session, data(sequence_id))
        violate(session)
        assert isinstance(session.step, Recover)


def test_our_own_close_codes_are_no_refusal_of_the_service() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    for sequence_id, code in enumerate([1009, 1009, 1008], 1):
        session.take_frames(0)
        receive(session, data(sequence_id))
        violate(session, code)
    assert operation.outcome is None
    assert isinstance(session.step, Recover)


# Sequence acks


def test_a_sequence_ack_is_due_a_second_after_the_first_message() -> None:
    session = connected()
    assert session.next_deadline == math.inf
    receive(session, data(1), now=5)
    receive(session, data(2), now=5.5)
    assert session.next_deadline == 6
    assert written(session, 5.5) == []
    session.handle_timeout(6)
    assert session.next_deadline == math.inf  # it waits for the writer, not for the clock
    assert written(session, 6) == [{"type": "sequenceAck", "sequenceId": 2}]
    assert session.next_deadline == math.inf


def test_many_messages_are_acknowledged_at_once() -> None:
    session = connected()
    receive(session, *(data(n) for n in range(1, 102)))
    assert written(session) == [{"type": "sequenceAck", "sequenceId": 101}]


# Operations


def test_an_ack_resolves_an_operation() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    assert (len(session.outgoing.pending), session.outgoing.pending.bytes > 0) == (1, True)
    assert not session.idle
    assert session.outgoing.pending.waiting == 1
    assert written(session)[0]["ackId"] == operation.ack_id
    assert session.idle
    assert ack(session, operation.ack_id) == [operation]
    assert operation.outcome == Done()
    assert (len(session.outgoing.pending), session.outgoing.pending.bytes) == (0, 0)


def test_an_ack_between_messages_is_told_in_its_place() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    session.take_frames(0)
    answer = control(wire.Ack(operation.ack_id, success=True))
    first, told, rest = session.receive([data(1), answer, data(2), data(3)], 0)
    assert isinstance(first, Delivery)
    assert told is operation
    assert isinstance(rest, Delivery)
    assert [len(first.messages), len(rest.messages)] == [1, 2]


def test_a_failed_send_is_retried_and_a_failed_event_is_not() -> None:
    session = connected()
    send, asked = session.outgoing.send(text()), session.outgoing.send(event())
    session.take_frames(0)
    assert ack(session, send.ack_id, "InternalServerError", now=0) == []
    assert ack(session, asked.ack_id, "InternalServerError", now=0) == [asked]
    assert session.next_deadline == 1
    assert session.handle_timeout(1) == []
    assert [frame["ackId"] for frame in written(session, 1)] == [send.ack_id]


def test_an_ack_that_never_comes() -> None:
    session = connected(new_session(ack_timeout=10))
    operation = session.outgoing.send(event())
    session.take_frames(3)
    assert session.next_deadline == 13
    assert session.handle_timeout(13) == [operation]
    assert operation.outcome == Unanswered()


def test_the_ack_clock_stands_while_there_is_no_transport() -> None:
    session = connected(new_session(ack_timeout=10))
    operation = session.outgoing.send(text())
    session.take_frames(0)
    session.transport_ended(1006, "", 1)
    assert session.next_deadline == math.inf
    assert session.handle_timeout(50) == []
    session.transport_opened()
    receive(session, control(wire.Pong()), now=50)
    session.take_frames(50)
    assert session.next_deadline == 60
    assert operation.outcome is None


def test_posts_go_out_without_an_id() -> None:
    session = new_session()
    assert not session.can_post
    connected(session)
    assert session.can_post
    session.outgoing.post(text())
    assert session.outgoing.pending.posted_bytes > 0
    assert "ackId" not in written(session)[0]
    assert session.outgoing.pending.posted_bytes == 0


def test_posts_die_with_their_transport_and_are_counted() -> None:
    session = connected()
    session.outgoing.post(text())
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    receive(session, control(wire.Pong()))
    assert written(session)[0]["type"] == "ping"
    assert session.counts.posts_lost == 1
    assert written(session) == []


def test_invocations_are_not_counted_among_lost_sends() -> None:
    session = connected(new_session(ack_timeout=10))
    expired = session.outgoing.invoke(invocation(), 0)
    withdrawn = session.outgoing.invoke(invocation(), 0)
    written(session)
    session.handle_timeout(10)
    assert expired.timed_out
    session.outgoing.withdraw_invocation(withdrawn)
    queued = session.outgoing.invoke(invocation(), 10)
    outputs = session.transport_ended(1006, "", 10)
    assert queued in outputs
    assert session.counts.posts_lost == 0


# Recovering


def test_a_dropped_transport_is_recovered() -> None:
    session = connected(new_session(recovery_timeout=20))
    outputs = session.transport_ended(1006, "gone", 7)
    assert outputs == [Disconnected(connection_id="c-1", code=1006, reason="gone")]
    assert session.state == "recovering"
    assert session.step == Recover("c-1", "secret-1", 27)
    assert "secret-1" not in repr(session.step)


def test_the_reason_that_the_service_gave_is_told() -> None:
    session = connected()
    receive(session, control(wire.DisconnectedMessage("closed by operator")))
    outputs = session.transport_ended(1000, "", 0)
    assert outputs == [Disconnected(connection_id="c-1", code=1000, message="closed by operator")]


def test_a_recovery_begins_with_a_ping_and_nothing_else() -> None:
    session = connected()
    session.outgoing.send(text())
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    assert written(session, 1) == [{"type": "ping"}]
    assert written(session, 1) == []
    assert not session.proven


def test_any_first_frame_proves_a_recovery() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    session.take_frames(0)
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    session.take_frames(1)
    assert receive(session, control(wire.Pong()), now=1) == [Recovered(connection_id="c-1")]
    assert session.proven
    assert [frame["ackId"] for frame in written(session, 1)] == [operation.ack_id]


def test_even_an_unreadable_first_frame_proves_a_recovery() -> None:
    session = connected()
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    assert receive(session, b"{", data(1), now=1)[0] == Recovered(connection_id="c-1")


def test_replayed_messages_are_dropped_and_acknowledged_again() -> None:
    session = connected()
    receive(session, data(1), data(2))
    session.handle_timeout(1)
    session.take_frames(1)
    session.transport_ended(1006, "", 1)
    session.transport_opened()
    outputs = receive(session, data(1), data(2), data(3), now=1)
    assert [each.sequence_id for each in outputs if isinstance(each, GroupMessage)] == [3]
    session.handle_timeout(2)
    assert {"type": "sequenceAck", "sequenceId": 3} in written(session, 2)


def test_connected_after_a_recovery_brings_a_newer_token() -> None:
    session = connected()
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    again = wire.ConnectedMessage(connection_id="c-1", user_id="ann", reconnection_token="secret-2")
    assert receive(session, control(again), now=1) == [Recovered(connection_id="c-1")]
    session.transport_ended(1006, "", 2)
    step = session.step
    assert isinstance(step, Recover)
    assert step.reconnection_token == "secret-2"


def test_connected_after_a_recovery_without_a_token_keeps_the_old_one() -> None:
    session = connected()
    receive(session, control(wire.ConnectedMessage(connection_id="c-1")))
    session.transport_ended(1006, "", 2)
    assert isinstance(step := session.step, Recover)
    assert step.reconnection_token == "secret-1"


def test_a_recovery_that_brings_another_session_lost_the_old_one() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    session.take_frames(0)
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    other = wire.ConnectedMessage(connection_id="c-2")
    assert receive(session, control(other)) == [
        operation,
        Connected(connection_id="c-2", first=False),
        Gap(session_lost=True),
    ]
    assert operation.outcome == Unknown()


def test_another_session_on_a_living_link_is_believed() -> None:
    session = connected()
    assert receive(session, control(wire.ConnectedMessage(connection_id="c-2"))) == [
        Connected(connection_id="c-2", first=False),
        Gap(session_lost=True),
    ]


def test_the_deadline_of_a_recovery_counts_from_the_loss() -> None:
    session = connected(new_session(recovery_timeout=20))
    session.transport_ended(1006, "", 5)
    session.transport_opened()
    assert session.transport_ended(1006, "", 11) == []  # that one never carried the session
    assert isinstance(step := session.step, Recover)
    assert step.deadline == 25


def test_an_empty_batch_proves_nothing() -> None:
    session = connected()
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    assert receive(session) == []
    assert not session.proven


# Losing a session


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4000])
def test_only_1008_ends_a_session_at_once(code: int) -> None:
    session = connected()
    session.transport_ended(code, "", 0)
    assert isinstance(session.step, Recover)


def test_1008_ends_a_session() -> None:
    session = connected()
    sent, fresh = session.outgoing.send(text()), None
    session.take_frames(0)
    session.transport_ended(1006, "", 0)
    fresh = session.outgoing.send(text())
    session.transport_opened()
    assert session.transport_ended(1008, "", 1) == [sent]
    assert sent.outcome == Unknown()
    assert fresh.outcome is None
    assert session.step == Reconnect()
    assert session.connection_id is None


def test_a_refused_recovery_ends_a_session() -> None:
    session = connected()
    sent = session.outgoing.send(text())
    session.take_frames(0)
    session.transport_ended(1006, "", 0)
    assert session.recovery_failed() == [sent]
    assert session.recovery_failed() == []
    assert session.step == Reconnect()


def test_a_session_that_cannot_recover_is_lost_at_once() -> None:
    session = connected(new_session(reliable=False))
    session.transport_ended(1006, "", 0)
    assert session.step == Reconnect()


def test_without_a_token_there_is_no_recovery() -> None:
    session = new_session()
    session.transport_opened()
    receive(session, control(wire.ConnectedMessage(connection_id="c-1")))
    session.transport_ended(1006, "", 0)
    assert session.step == Reconnect()


def lose(session: Session) -> list[Output]:
    return session.transport_ended(1008, "", 0)


def test_a_new_session_starts_counting_anew() -> None:
    session = connected()
    receive(session, data(5))
    lose(session)
    session.transport_opened()
    outputs = receive(session, control(wire.ConnectedMessage(connection_id="c-2")), data(1), now=1)
    assert outputs[0] == Connected(connection_id="c-2", first=False)
    assert outputs[1] == Gap(session_lost=True)
    assert isinstance(outputs[2], GroupMessage)


def test_what_was_never_written_goes_out_in_the_new_session_under_a_new_id() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    first_id = operation.ack_id
    lose(session)
    connected(session, connection_id="c-2")
    frames = written(session)
    assert [frame["ackId"] for frame in frames] == [operation.ack_id]
    assert operation.ack_id != first_id


def test_a_send_that_may_be_repeated_survives_its_session() -> None:
    session = connected()
    operation = session.outgoing.send(text(), repeat_in_new_session=True)
    session.take_frames(0)
    lose(session)
    assert operation.outcome is None
    connected(session, connection_id="c-2")
    assert [frame["type"] for frame in written(session)] == ["sendToGroup"]


# Groups


def join(session: Session, group: str = "g") -> Operation:
    operation = session.outgoing.join(group)
    session.take_frames(0)
    ack(session, operation.ack_id)
    return operation


def test_joined_groups_are_joined_again_in_a_new_session_before_anything_is_sent() -> None:
    session = connected()
    join(session, "a")
    lose(session)
    session.outgoing.send(text())
    connected(session, connection_id="c-2")
    assert [frame["type"] for frame in written(session)] == ["joinGroup", "sendToGroup"]


def test_joined_groups_are_not_joined_again_after_a_recovery() -> None:
    session = connected()
    join(session)
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    receive(session, control(wire.Pong()))
    assert [frame["type"] for frame in written(session)] == ["ping"]


def test_a_pending_join_resolves_through_the_rejoin() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.take_frames(0)
    assert not any(isinstance(each, Operation) for each in lose(session))
    connected(session, connection_id="c-2")
    frames = written(session)
    assert [frame["type"] for frame in frames] == ["joinGroup"]
    assert ack(session, frames[0]["ackId"]) == [operation]


def test_a_pending_leave_is_done_when_the_session_is_lost() -> None:
    session = connected()
    join(session)
    operation = session.outgoing.leave("g")
    session.take_frames(0)
    assert operation in lose(session)
    assert operation.outcome == Done()
    connected(session, connection_id="c-2")
    assert written(session) == []


def test_a_refused_rejoin_is_told() -> None:
    session = connected()
    join(session)
    lose(session)
    connected(session, connection_id="c-2")
    (frame,) = written(session)
    (output,) = ack(session, frame["ackId"], "Forbidden")
    assert isinstance(output, GroupRefused)
    assert output.rejoin is not None
    assert (output.group, output.rejoin.ack_id) == ("g", frame["ackId"])
    assert output.rejoin.outcome == Refused(wire.WireError("Forbidden", "why"))


def test_an_unanswered_rejoin_is_told() -> None:
    session = connected(new_session(ack_timeout=10))
    join(session)
    lose(session)
    connected(session, connection_id="c-2")
    session.take_frames(0)
    assert session.handle_timeout(10) == []
    session.take_frames(10)
    (output,) = session.handle_timeout(20)
    assert isinstance(output, GroupRefused)
    assert output.rejoin is not None
    assert output.rejoin.outcome == Unanswered()


def test_an_answered_rejoin_tells_nobody() -> None:
    session = connected()
    join(session)
    lose(session)
    connected(session, connection_id="c-2")
    (frame,) = written(session)
    assert ack(session, frame["ackId"]) == []


def test_a_refused_join_is_not_wanted() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.take_frames(0)
    assert ack(session, operation.ack_id, "Forbidden") == [operation]
    assert isinstance(operation.outcome, Refused)
    assert written(session) == []
    lose(session)
    connected(session, connection_id="c-2")
    assert written(session) == []


def test_a_cancelled_join_that_was_written_is_undone() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.take_frames(0)
    session.outgoing.withdraw(operation)
    assert not session.idle
    (frame,) = written(session)
    assert (frame["type"], frame["group"]) == ("leaveGroup", "g")
    assert ack(session, frame["ackId"]) == []  # nobody waits for it
    assert len(session.outgoing.pending) == 0


def test_a_cancelled_join_that_was_not_written_never_is() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.outgoing.withdraw(operation)
    assert written(session) == []


def test_a_cancelled_join_does_not_undo_another_one() -> None:
    session = connected()
    first, second = session.outgoing.join("g"), session.outgoing.join("g")
    session.take_frames(0)
    session.outgoing.withdraw(first)
    ack(session, second.ack_id)
    assert written(session) == []


def test_a_posted_leave_survives_a_recovery() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.take_frames(0)
    session.outgoing.withdraw(operation)
    session.take_frames(0)
    session.transport_ended(1006, "", 0)
    session.transport_opened()
    receive(session, control(wire.Pong()))
    assert [frame["type"] for frame in written(session)] == ["ping", "leaveGroup"]


def test_leaving_ends_the_wish() -> None:
    session = connected()
    join(session)
    operation = session.outgoing.leave("g")
    (frame,) = written(session)
    assert frame["type"] == "leaveGroup"
    assert ack(session, operation.ack_id) == [operation]
    lose(session)
    connected(session, connection_id="c-2")
    assert written(session) == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_leave_is_a_newer_wish_than_a_join_on_its_way(lost: bool) -> None:
    session = connected()
    joining = session.outgoing.join("g")
    leaving = session.outgoing.leave("g")
    written(session)
    if not lost:
        ack(session, joining.ack_id)
        ack(session, leaving.ack_id)
    lose(session)
    connected(session, connection_id="c-2")
    if lost:  # the caller of the join is answered, and the group left again
        (frame,) = written(session)
        ack(session, frame["ackId"])
        assert [frame["type"] for frame in written(session)] == ["leaveGroup"]
    assert written(session) == []


def test_a_leave_cancelled_before_it_was_written_changed_nothing() -> None:
    session = connected()
    join(session)
    session.outgoing.withdraw(session.outgoing.leave("g"))
    lose(session)
    connected(session, connection_id="c-2")
    assert [frame["type"] for frame in written(session)] == ["joinGroup"]


def test_a_leave_cancelled_after_it_was_written_stands() -> None:
    session = connected()
    join(session)
    operation = session.outgoing.leave("g")
    session.take_frames(0)
    session.outgoing.withdraw(operation)
    lose(session)
    connected(session, connection_id="c-2")
    assert written(session) == []


def test_leaving_what_was_never_joined_and_being_cancelled_changes_nothing() -> None:
    session = connected()
    session.outgoing.withdraw(session.outgoing.leave("g"))
    session.outgoing.withdraw(session.outgoing.send(text()))
    assert written(session) == []


def test_withdrawing_what_has_its_outcome_does_nothing() -> None:
    session = connected()
    session.outgoing.withdraw(join(session))
    lose(session)
    connected(session, connection_id="c-2")
    assert [frame["type"] for frame in written(session)] == ["joinGroup"]


def test_a_subscription_joins_and_its_end_leaves() -> None:
    session = connected()
    operation = session.outgoing.subscribe("g")
    assert session.outgoing.is_subscribed("g")
    session.take_frames(0)
    assert ack(session, operation.ack_id) == [operation]
    session.outgoing.unsubscribe("g", maybe_joined=True)
    assert not session.outgoing.is_subscribed("g")
    assert [frame["type"] for frame in written(session)] == ["leaveGroup"]


def test_the_end_of_a_subscription_waits_for_a_transport_to_be_told() -> None:
    session = connected()
    operation = session.outgoing.subscribe("g")
    session.take_frames(0)
    ack(session, operation.ack_id)
    session.transport_ended(1006, "", 0)
    session.outgoing.unsubscribe("g", maybe_joined=True)
    assert session.idle  # nothing can be written now
    session.transport_opened()
    receive(session, control(wire.Pong()))
    assert [frame["type"] for frame in written(session)] == ["ping", "leaveGroup"]


def test_without_rejoining_a_new_session_lets_the_groups_go() -> None:
    session = connected(new_session(auto_rejoin=False))
    join(session, "a")
    lose(session)
    session.transport_opened()
    outputs = receive(session, control(wire.ConnectedMessage(connection_id="c-2")))
    assert outputs[1:] == [Gap(session_lost=True), GroupRefused("a", None)]
    assert written(session) == []
    lose(session)
    session.transport_opened()
    assert GroupRefused("a", None) not in receive(session, control(wire.ConnectedMessage(connection_id="c-3")))


def test_an_unreadable_frame_is_told_in_its_place() -> None:
    session = connected()
    outputs = receive(session, data(1), b"{", data(2))
    assert [type(each) for each in outputs] == [GroupMessage, Gap, GroupMessage]


# Going on under the same id, and giving up a message that ends every link


def test_a_caller_may_go_on_under_the_id_of_a_failure() -> None:
    session = connected()
    first = session.outgoing.send(text(), retries=0)
    session.take_frames(0)
    ack(session, first.ack_id, "InternalServerError")
    again = session.outgoing.send(text(), ack_id=first.ack_id)
    assert [frame["ackId"] for frame in written(session)] == [first.ack_id]
    ack(session, first.ack_id, "Duplicate")
    assert again.outcome == Done(duplicated=True)


@pytest.mark.parametrize("ack_id", [0, 1, 99])
def test_no_other_id_is_accepted(ack_id: int) -> None:
    session = connected()
    done = session.outgoing.send(text())
    session.take_frames(0)
    ack(session, done.ack_id)
    with pytest.raises(ValueError, match=f"ack id {ack_id}"):
        session.outgoing.send(text(), ack_id=ack_id)


def test_an_id_ends_with_its_session() -> None:
    session = connected()
    first = session.outgoing.send(event())
    session.take_frames(0)
    ack(session, first.ack_id, "InternalServerError")
    lose(session)
    connected(session, connection_id="c-2")
    with pytest.raises(ValueError, match="no operation of this kind"):
        session.outgoing.send(event(), ack_id=first.ack_id)


def test_an_id_is_for_the_kind_of_operation_that_failed() -> None:
    session = connected()
    operation = session.outgoing.join("g")
    session.take_frames(0)
    ack(session, operation.ack_id, "InternalServerError")  # tried again
    ack(session, operation.ack_id, "BadRequest")
    with pytest.raises(ValueError, match="no operation of this kind"):
        session.outgoing.send(text(), ack_id=operation.ack_id)


@pytest.mark.parametrize("when", ["before the join", "behind the join"])
def test_a_leave_that_failed_is_not_tried_again_behind_the_next_join(when: str) -> None:
    session = connected()
    first = session.outgoing.subscribe("g")
    session.take_frames(0)
    ack(session, first.ack_id)
    session.outgoing.unsubscribe("g", maybe_joined=True)
    (leave,) = written(session)
    if when == "before the join":
        ack(session, leave["ackId"], "InternalServerError")
    session.outgoing.subscribe("g")
    if when == "behind the join":
        ack(session, leave["ackId"], "InternalServerError")
    session.handle_timeout(100)
    assert [frame["type"] for frame in written(session, 100)] == ["joinGroup"]
    assert len(session.outgoing.pending) == 1


@pytest.mark.parametrize("detached", [False, True])
def test_what_was_queued_when_the_client_stopped_is_lost_and_counted(detached: bool) -> None:
    session = connected()
    session.outgoing.post(text())
    if detached:
        session.detach("wss://localhost/client/hubs/chat", {})
    else:
        session.stop("over")
    assert session.counts.posts_lost == 1


def test_messages_before_connected_belong_to_the_new_session() -> None:
    session = connected()
    receive(session, data(1), data(2))
    lose(session)
    session.transport_opened()
    receive(session, data(1))
    receive(session, control(wire.ConnectedMessage(connection_id="c-2")))
    assert session.counts.repeated == 0
    assert session.take_frames(5)
    receive(session, data(1))
    assert session.counts.repeated == 1


@pytest.mark.parametrize("code", [1003, 1007, 1009])
def test_a_message_that_ends_two_links_is_given_up_and_the_others_live(code: int) -> None:
    session = connected()
    asked, bad, good = (
        session.outgoing.send(event()),
        session.outgoing.send(text("bad")),
        session.outgoing.send(text("good")),
    )
    outputs: list[Output] = []
    for _ in range(2):
        session.take_frames(0)
        outputs += session.transport_ended(code, "", 0)
        session.transport_opened()
        receive(session, control(wire.Pong()))
    assert bad in outputs
    assert bad.outcome == Refused(wire.WireError("MessageRefused", f"the service closed with {code}"))
    assert (asked.outcome, good.outcome) == (None, None)
    assert [frame["type"] for frame in written(session) if "ackId" in frame] == ["event", "sendToGroup"]


def test_other_closes_are_no_strike() -> None:
    session = connected()
    operation = session.outgoing.send(text())
    for _ in range(3):
        session.take_frames(0)
        session.transport_ended(1011, "", 0)
        session.transport_opened()
        receive(session, control(wire.Pong()))
    assert operation.outcome is None


# Invocations


def invocation() -> wire.Invoke:
    return wire.Invoke(invocation_id="", event="e", payload=wire.Payload("text", b"hi"))


def test_an_invocation_is_answered() -> None:
    session = connected()
    running = session.outgoing.invoke(invocation(), 0)
    assert written(session) == [
        {"type": "invoke", "invocationId": "1", "target": "event", "event": "e", "dataType": "text", "data": "hi"}
    ]
    response = wire.InvokeResponse(invocation_id="1", success=True, payload=wire.Payload("text", b"yes"))
    assert receive(session, control(response)) == [running]
    assert running.response is not None
    assert running.response.success
    assert repr(running).startswith("<invocation 1: InvokeResponse(")
    assert receive(session, control(response)) == []


def test_an_invocation_fails_with_its_transport() -> None:
    session = connected()
    running = session.outgoing.invoke(invocation(), 0)
    session.take_frames(0)
    assert running in session.transport_ended(1006, "", 0)
    assert (running.response, running.timed_out) == (None, False)
    session.transport_opened()
    receive(session, control(wire.Pong()))
    assert [frame["type"] for frame in written(session)] == ["ping"]


def test_a_cancelled_invocation_is_cancelled_at_the_service_once() -> None:
    session = connected()
    running = session.outgoing.invoke(invocation(), 0)
    session.take_frames(0)
    session.outgoing.withdraw_invocation(running)
    session.outgoing.withdraw_invocation(running)
    assert written(session) == [{"type": "cancelInvocation", "invocationId": "1"}]


def test_an_invocation_cancelled_before_it_was_written_never_is() -> None:
    session = connected()
    session.outgoing.withdraw_invocation(session.outgoing.invoke(invocation(), 0))
    assert written(session) == []
    assert session.outgoing.pending.posted_bytes == 0


def test_an_invocation_that_is_not_answered_is_given_up() -> None:
    session = connected(new_session(ack_timeout=10))
    first, second = session.outgoing.invoke(invocation(), 0), session.outgoing.invoke(invocation(), 5)
    session.take_frames(0)
    assert session.next_deadline == 10
    assert session.handle_timeout(10) == [first]
    assert first.timed_out
    assert written(session) == [{"type": "cancelInvocation", "invocationId": "1"}]
    assert session.next_deadline == 15
    assert session.stop("left")[0] is second


def test_an_invocation_over_the_limit_leaves_nothing() -> None:
    session = connected(new_session(max_message_size=50))
    with pytest.raises(MessageTooLarge):
        session.outgoing.invoke(invocation(), 0)
    assert session.next_deadline == math.inf


# Keep-alive


def test_a_silence_makes_a_ping_due_and_its_answer_ends_the_matter() -> None:
    session = connected(new_session(keep_alive_interval=20, keep_alive_timeout=10))
    assert session.keep_alive(0, 0) == 20
    assert session.keep_alive(5, 20) == 25
    assert not session.pinged
    assert session.keep_alive(5, 25) == 35
    assert session.pinged
    assert written(session, 25) == [{"type": "ping"}]
    assert session.keep_alive(26, 35) == 45  # a sixteenth of the interval early at most
    assert not session.pinged


def test_a_ping_that_is_due_waits_to_be_written() -> None:
    session = connected(new_session(keep_alive_interval=20, keep_alive_timeout=10))
    written(session, 0)
    assert session.idle
    session.keep_alive(0, 20)
    assert not session.idle
    assert written(session, 20) == [{"type": "ping"}]
    assert session.idle


@pytest.mark.parametrize("interval", [5e-324, 1e-9, 1e308, math.inf])
def test_any_interval_can_be_kept(interval: float) -> None:
    session = connected(new_session(keep_alive_interval=interval, keep_alive_timeout=10))
    deadline = session.keep_alive(1e9, 1e9)
    assert deadline is not None
    assert deadline > 1e9


def test_no_answer_to_a_ping_is_a_dead_link() -> None:
    session = connected(new_session(keep_alive_interval=20, keep_alive_timeout=10))
    assert session.patience == 30
    assert session.keep_alive(0, 20) == 30
    assert session.keep_alive(0, 29) == 30
    assert session.keep_alive(0, 30) is None


# The end


def test_stopping_resolves_everything_and_tells_once() -> None:
    session = connected()
    sent = session.outgoing.send(text())
    session.take_frames(0)
    fresh = session.outgoing.send(text())
    assert session.stop("left") == [sent, fresh, Stopped(reason="left")]
    assert (sent.outcome, fresh.outcome) == (Unknown(), NeverSent())
    assert session.stop("again") == []
    assert session.state == "stopped"
    assert session.step == Stop()
    assert session.transport_ended(1000, "", 0) == []
    assert written(session) == []


def test_frames_are_binary_where_the_codec_says_so() -> None:
    assert not new_session().binary


def test_a_new_session_on_the_same_link_ends_what_was_sent_in_the_old_one() -> None:
    session = connected()
    sent = session.outgoing.send(event())
    session.outgoing.post(text())
    invocation = session.outgoing.invoke(wire.Invoke(invocation_id="", event="e"), 0)
    assert len(written(session)) == 3
    session.outgoing.post(text())
    other = control(msgspec.structs.replace(CONNECTED, connection_id="c-2"))
    outputs = receive(session, other, now=1)
    assert outputs == [
        invocation,
        sent,
        Connected(connection_id="c-2", user_id="ann", first=False),
        Gap(session_lost=True),
    ]
    assert sent.outcome == Unknown()
    assert session.counts.posts_lost == 1
    assert session.next_deadline == math.inf
    assert written(session) == []


def test_a_stopped_session_begins_nothing() -> None:
    session = new_session()
    session.transport_opened()
    session.stop("the test says so")
    assert receive(session, control(CONNECTED)) == []
    assert session.state == "stopped"
