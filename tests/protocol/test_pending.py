"""Operations that wait for acks: ids, order, window, retries and deadlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count, repeat

import msgspec
import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.errors import MessageTooLarge
from trio_webpubsub.protocol.json_codec import RELIABLE_JSON
from trio_webpubsub.protocol.pending import (
    FAILED_IDS_KEPT,
    Done,
    NeverSent,
    Operation,
    PendingOperations,
    Refused,
    Unanswered,
    Unknown,
)
from trio_webpubsub.protocol.wire import Acknowledged

BUDGET = 65536


def pending(
    *,
    window: int = 10,
    ack_timeout: float = 30.0,
    max_message_size: int = 1000,
    retry_delays: Callable[[], Iterator[float]] = lambda: repeat(2.0),
) -> PendingOperations:
    return PendingOperations(
        RELIABLE_JSON,
        window=window,
        ack_timeout=ack_timeout,
        max_message_size=max_message_size,
        retry_delays=retry_delays,
    )


def text(data: str = "x") -> wire.SendToGroup:
    return wire.SendToGroup(group="g", payload=wire.Payload("text", data.encode()))


def event() -> wire.SendEvent:
    return wire.SendEvent(event="e", payload=wire.Payload("text", b"x"))


def submit(
    operations: PendingOperations, message: Acknowledged | None = None, *, retries: int = 0, again: bool = False
) -> Operation:
    return operations.submit(message or text(), retries=retries, repeat_in_new_session=again)


def ids(frames: list[bytes]) -> list[int]:
    return [msgspec.json.decode(frame)["ackId"] for frame in frames]


def ack(ack_id: int, error: str | None = None) -> wire.Ack:
    return wire.Ack(ack_id, error is None, None if error is None else wire.WireError(error, "why"))


def test_ids_count_up_and_frames_keep_their_order() -> None:
    operations = pending()
    submit(operations)
    submit(operations)
    assert ids(operations.take(0, BUDGET)) == [1, 2]
    assert operations.take(0, BUDGET) == []
    assert len(operations) == 2


def test_an_ack_is_the_outcome() -> None:
    operations = pending()
    operation = submit(operations)
    operations.take(0, BUDGET)
    assert operations.acknowledge(ack(1), 1) is operation
    assert operation.outcome == Done()
    assert repr(operation) == "<operation 1: Done(duplicated=False)>"
    assert operations.acknowledge(ack(1), 1) is None
    assert (len(operations), operations.bytes) == (0, 0)


def test_an_ack_of_what_was_never_written_is_passed_over() -> None:
    operations = pending()
    operation = submit(operations)
    assert operations.acknowledge(ack(operation.ack_id), 0) is None
    assert operation.outcome is None


def test_a_refusal_without_an_error_is_a_refusal() -> None:
    operations = pending()
    operation = submit(operations)
    operations.take(0, BUDGET)
    operations.acknowledge(wire.Ack(1, False), 0)
    assert operation.outcome == Refused(wire.WireError())


def test_a_frame_over_the_limit_changes_nothing() -> None:
    operations = pending(max_message_size=200)
    with pytest.raises(MessageTooLarge) as caught:
        submit(operations, text("x" * 200))
    assert caught.value.limit == 200
    assert caught.value.size > 200
    submit(operations)
    assert ids(operations.take(0, BUDGET)) == [1]


def test_the_window_bounds_what_is_unanswered() -> None:
    operations = pending(window=2)
    for _ in range(3):
        submit(operations)
    assert ids(operations.take(0, BUDGET)) == [1, 2]
    assert not operations.idle
    operations.acknowledge(ack(1), 0)
    assert ids(operations.take(0, BUDGET)) == [3]
    assert operations.idle


def test_the_budget_bounds_one_write() -> None:
    operations = pending()
    for _ in range(3):
        submit(operations)
    assert ids(operations.take(0, 1)) == [1]
    assert ids(operations.take(0, BUDGET)) == [2, 3]


def test_posts_keep_their_place_between_operations() -> None:
    operations = pending()
    submit(operations)
    operations.post(b"post")
    submit(operations)
    assert operations.posted_bytes == 4
    frames = operations.take(0, BUDGET)
    assert frames[1] == b"post"
    assert ids([frames[0], frames[2]]) == [1, 2]
    assert operations.posted_bytes == 0


def test_what_waits_is_counted_whatever_it_is() -> None:
    operations = pending(window=1)
    submit(operations)
    submit(operations)
    operations.post(b"post")
    assert operations.waiting == 3
    operations.take(0, BUDGET)
    assert operations.waiting == 2


def test_a_withdrawn_operation_is_not_written() -> None:
    operations = pending()
    first, second = submit(operations), submit(operations)
    operations.withdraw(first)
    operations.withdraw(first)
    assert ids(operations.take(0, BUDGET)) == [second.ack_id]
    assert first.writes == 0


def test_a_withdrawn_operation_is_not_written_again() -> None:
    operations = pending()
    first, second = submit(operations), submit(operations)
    operations.take(0, BUDGET)
    operations.withdraw(first)
    operations.transport_ended()
    operations.refill()
    assert ids(operations.take(0, BUDGET)) == [second.ack_id]
    assert operations.acknowledge(ack(first.ack_id), 0) is None


def test_a_new_transport_gets_everything_in_order_of_the_ids() -> None:
    operations = pending(window=2)
    for _ in range(3):
        submit(operations)
    operations.take(0, BUDGET)
    operations.post(b"post")
    operations.post(b"post")
    assert operations.transport_ended() == 2
    assert operations.take(0, BUDGET) == []
    submit(operations)  # queued while there is no transport
    operations.refill()
    assert ids(operations.take(1, BUDGET)) == [1, 2]
    operations.acknowledge(ack(1), 0)
    operations.acknowledge(ack(2), 0)
    assert ids(operations.take(1, BUDGET)) == [3, 4]


def test_duplicate_is_success_for_what_was_written_before() -> None:
    operations = pending()
    operation = submit(operations)
    operations.take(0, BUDGET)
    operations.transport_ended()
    operations.refill()
    operations.take(1, BUDGET)
    assert operations.acknowledge(ack(1, "Duplicate"), 1) is operation
    assert operation.outcome == Done(duplicated=True)


def test_duplicate_at_the_first_writing_takes_a_new_id() -> None:
    operations = pending()
    operation = submit(operations)
    operations.take(0, BUDGET)
    assert operations.acknowledge(ack(1, "Duplicate"), 0) is None
    assert ids(operations.take(0, BUDGET)) == [2]
    assert operation.ack_id == 2
    assert operations.acknowledge(ack(2), 0) is operation
    assert operations.bytes == 0


def test_an_internal_error_is_retried_with_the_same_id_after_a_delay() -> None:
    operations = pending()
    operation = submit(operations, retries=1)
    operations.take(0, BUDGET)
    assert operations.acknowledge(ack(1, "InternalServerError"), 5) is None
    assert not operations.idle
    assert operations.deadline == 7
    assert operations.expire(6) == []
    assert operations.take(6, BUDGET) == []
    assert operations.expire(7) == []
    assert ids(operations.take(7, BUDGET)) == [1]
    assert operations.acknowledge(ack(1, "InternalServerError"), 8) is operation
    assert operation.outcome == Refused(wire.WireError("InternalServerError", "why"))


def test_each_operation_has_its_own_delays_and_takes_them_one_after_the_other() -> None:
    operations = pending(retry_delays=lambda: count(1.0))
    for ack_id in (1, 2):
        submit(operations, retries=2)
        for delay in (1, 2):
            assert ids(operations.take(10, BUDGET)) == [ack_id]
            operations.acknowledge(ack(ack_id, "InternalServerError"), 10)
            assert operations.deadline == 10 + delay
            operations.expire(10 + delay)
        assert ids(operations.take(10, BUDGET)) == [ack_id]
        operations.acknowledge(ack(ack_id), 10)


def test_a_retry_whose_caller_went_away_is_forgotten() -> None:
    operations = pending()
    operation = submit(operations, retries=1)
    operations.take(0, BUDGET)
    operations.acknowledge(ack(1, "InternalServerError"), 0)
    operations.withdraw(operation)
    operations.expire(2)
    assert operations.take(2, BUDGET) == []


def test_a_retry_that_another_answer_makes_needless_is_not_written() -> None:
    operations = pending()
    operation = submit(operations, retries=1)
    operations.take(0, BUDGET)
    operations.acknowledge(ack(1, "InternalServerError"), 0)
    assert operations.acknowledge(ack(1), 1) is operation
    assert operations.expire(2) == []
    assert operations.idle


@pytest.mark.parametrize("name", ["Forbidden", "BadRequest", "SomethingNew", ""])
def test_other_failures_are_not_retried(name: str) -> None:
    operations = pending()
    operation = submit(operations, retries=3)
    operations.take(0, BUDGET)
    assert operations.acknowledge(ack(1, name), 0) is operation


def test_a_missing_ack_is_asked_for_once_then_given_up() -> None:
    operations = pending(ack_timeout=30)
    operation = submit(operations)
    assert operations.deadline == math.inf
    operations.take(10, BUDGET)
    assert operations.deadline == 40
    assert operations.expire(39) == []
    assert operations.expire(40) == []
    assert ids(operations.take(40, BUDGET)) == [1]
    assert operations.deadline == 70
    assert operations.expire(70) == [operation]
    assert operation.outcome == Unanswered()


def test_an_answer_to_the_asking_is_the_outcome() -> None:
    operations = pending(ack_timeout=30)
    operation = submit(operations)
    operations.take(0, BUDGET)
    operations.expire(30)
    assert operations.acknowledge(ack(1), 30) is operation
    assert operations.take(30, BUDGET) == []  # it need not be asked any more


def test_an_event_is_never_asked_for_again() -> None:
    operations = pending(ack_timeout=30)
    operation = submit(operations, event())
    operations.take(0, BUDGET)
    assert operations.expire(30) == [operation]
    assert operation.outcome == Unanswered()


def test_the_earliest_of_retry_and_ack_is_the_deadline() -> None:
    operations = pending(ack_timeout=30)
    submit(operations, retries=1)
    submit(operations)
    operations.take(0, BUDGET)
    operations.acknowledge(ack(1, "InternalServerError"), 1)
    assert operations.deadline == 3


def test_a_lost_session_leaves_a_written_send_unknown() -> None:
    operations = pending()
    written = submit(operations)
    operations.take(0, BUDGET)
    fresh = submit(operations)
    operations.transport_ended()
    assert operations.session_lost() == [written]
    assert written.outcome == Unknown()
    operations.new_session()
    assert ids(operations.take(0, BUDGET)) == [3]
    assert fresh.ack_id == 3


def test_a_send_that_may_be_repeated_goes_out_again() -> None:
    operations = pending()
    operation = submit(operations, again=True)
    operations.take(0, BUDGET)
    operations.transport_ended()
    assert operations.session_lost() == []
    operations.new_session()
    assert ids(operations.take(0, BUDGET)) == [2]
    assert operations.acknowledge(ack(2), 0) is operation


def test_joins_and_leaves_over_a_lost_session() -> None:
    operations = pending()
    unwritten = submit(operations)
    join, leave = submit(operations, wire.JoinGroup("g")), submit(operations, wire.LeaveGroup("h"))
    assert operations.session_lost() == [leave]
    assert leave.outcome == Done()
    operations.new_session()
    assert ids(operations.take(0, BUDGET)) == [join.ack_id, unwritten.ack_id]  # joins come first
    assert set(operations) == {join, unwritten}


def test_stopping_tells_what_was_sent_and_what_never_was() -> None:
    operations = pending()
    written = submit(operations)
    operations.take(0, BUDGET)
    fresh = submit(operations)
    assert operations.stop() == [written, fresh]
    assert (written.outcome, fresh.outcome) == (Unknown(), NeverSent())
    assert len(operations) == 0


def test_only_so_many_failed_ids_are_kept() -> None:
    operations = pending(window=2000)
    for _ in range(FAILED_IDS_KEPT + 1):
        submit(operations)
    operations.take(0, 10**9)
    for ack_id in range(1, FAILED_IDS_KEPT + 2):
        operations.acknowledge(ack(ack_id, "Forbidden"), 0)
    with pytest.raises(ValueError, match=r"ack id 1$"):
        operations.submit(text(), retries=0, ack_id=1)
    assert operations.submit(text(), retries=0, ack_id=2).ack_id == 2


def test_a_retry_whose_caller_went_away_is_not_waited_for() -> None:
    operations = pending()
    first, second = (submit(operations, retries=1) for _ in range(2))
    operations.take(0, BUDGET)
    for each in (first, second):
        operations.acknowledge(wire.Ack(each.ack_id, False, wire.WireError("InternalServerError")), 1)
    operations.withdraw(first)
    assert not operations.idle
    operations.withdraw(second)
    assert operations.idle
    assert operations.deadline == math.inf


def test_joins_and_leaves_may_be_larger_than_messages() -> None:
    operations = pending(max_message_size=10)
    submit(operations, wire.JoinGroup("g"))
    submit(operations, wire.LeaveGroup("g"))
    assert ids(operations.take(0, BUDGET)) == [1, 2]


def test_an_id_is_not_tried_twice_at_once() -> None:
    operations = pending()
    ack_id = submit(operations).ack_id
    operations.take(0, BUDGET)
    operations.acknowledge(ack(ack_id, "Forbidden"), 0)
    again = operations.submit(text(), retries=0, ack_id=ack_id)
    with pytest.raises(ValueError, match="ack id 1"):
        operations.submit(text(), retries=0, ack_id=ack_id)
    operations.take(0, BUDGET)
    operations.acknowledge(ack(ack_id), 0)
    assert again.outcome == Done()
