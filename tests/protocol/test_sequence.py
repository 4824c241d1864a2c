from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.sequence import SequenceTracker


def test_nothing_is_due_before_anything_came() -> None:
    tracker = SequenceTracker()
    assert (tracker.newest, tracker.due) == (0, math.inf)
    assert tracker.take(1e9) is None


def test_new_ids_are_told_from_old_ones() -> None:
    tracker = SequenceTracker()
    fresh = [tracker.note(sequence_id, 1, 0.0) for sequence_id in (1, 2, 2, 1, 5, 4, 6)]
    assert fresh == [True, True, False, False, True, False, True]
    assert tracker.newest == 6


def test_an_acknowledgement_is_due_a_second_after_the_first_message() -> None:
    tracker = SequenceTracker()
    tracker.note(1, 10, 100.0)
    tracker.note(2, 10, 100.9)
    assert tracker.due == 101.0
    assert tracker.take(100.99) is None
    assert tracker.take(101.0) == 2
    assert tracker.due == math.inf
    assert tracker.take(200.0) is None


def test_the_second_starts_anew_after_an_acknowledgement() -> None:
    tracker = SequenceTracker()
    tracker.note(1, 10, 0.0)
    assert tracker.take(5.0) == 1
    tracker.note(2, 10, 7.0)
    assert tracker.due == 8.0


def test_a_hundred_messages_are_acknowledged_at_once() -> None:
    tracker = SequenceTracker()
    for number in range(1, 100):
        tracker.note(number, 1, 0.25)
    assert tracker.due == 1.25
    tracker.note(100, 1, 0.5)
    assert tracker.due == 0.5
    tracker.note(101, 1, 0.75)
    assert tracker.due == 0.5
    assert tracker.take(0.75) == 101
    tracker.note(102, 1, 0.75)
    assert tracker.due == 1.75


def test_a_mebibyte_is_acknowledged_at_once() -> None:
    tracker = SequenceTracker()
    tracker.note(1, 1024 * 1024 - 1, 0.0)
    assert tracker.due == 1.0
    tracker.note(2, 1, 0.5)
    assert tracker.due == 0.5
    assert tracker.take(0.5) == 2
    tracker.note(3, 1, 0.5)
    assert tracker.due == 1.5


def test_one_large_message_is_acknowledged_at_once() -> None:
    tracker = SequenceTracker()
    tracker.note(1, 2 * 1024 * 1024, 3.0)
    assert tracker.due == 3.0


def test_an_overdue_acknowledgement_is_not_put_off() -> None:
    tracker = SequenceTracker()
    tracker.note(1, 1, 0.0)
    tracker.note(2, 2 * 1024 * 1024, 9.0)
    assert tracker.due == 1.0


def test_a_repetition_arms_and_the_largest_id_is_acknowledged() -> None:
    tracker = SequenceTracker()
    tracker.note(7, 1, 0.0)
    assert tracker.take(1.0) == 7
    assert not tracker.note(5, 1, 2.0)
    assert tracker.due == 3.0
    assert tracker.take(3.0) == 7


def test_a_new_transport_acknowledges_at_once_what_came_before() -> None:
    tracker = SequenceTracker()
    tracker.rearm(1.0)
    assert tracker.due == math.inf
    tracker.note(1, 1, 2.0)
    assert tracker.take(3.0) == 1
    tracker.rearm(4.0)
    assert tracker.due == 4.0
    assert tracker.take(4.0) == 1


def test_a_new_session_starts_over() -> None:
    tracker = SequenceTracker()
    for number in range(1, 100):
        tracker.note(number, 10_000, 0.0)
    tracker.reset()
    assert (tracker.newest, tracker.due) == (0, math.inf)
    assert tracker.note(1, 100_000, 5.0)
    assert tracker.due == 6.0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("receive"), st.integers(1, 50), st.integers(0, 700_000)),
            st.tuples(st.just("repeat"), st.integers(1, 120), st.just(1)),
            st.tuples(st.just("wait"), st.integers(0, 8), st.just(0)),
            st.tuples(st.just("acknowledge"), st.just(0), st.just(0)),
        ),
        max_size=20,
    )
)
def test_never_more_than_100_messages_1_mib_or_1_second_unacknowledged(steps: list[tuple[str, int, int]]) -> None:
    tracker = SequenceTracker()
    now, newest, messages, size, due = 0.0, 0, 0, 0, math.inf
    for step, number, bytes_each in steps:
        if step == "wait":
            now += number / 4
        elif step == "acknowledge":
            assert tracker.take(now) == (newest if now >= due else None)
            if now >= due:
                messages, size, due = 0, 0, math.inf
        else:
            count, sequence_id = (number, 1) if step == "repeat" else (1, number)
            for _ in range(count):
                assert tracker.note(sequence_id, bytes_each, now) == (sequence_id > newest)
                newest = max(newest, sequence_id)
                messages += 1
                size += bytes_each
                due = min(due, now if messages >= 100 or size >= 1024 * 1024 else now + 1)
        assert (tracker.newest, tracker.due) == (newest, due)


def test_messages_that_follow_one_another_are_noted_together() -> None:
    tracker = SequenceTracker()
    assert tracker.note_all([1, 2, 3], 30, 5.0)
    assert (tracker.newest, tracker.due) == (3, 6.0)
    assert tracker.note_all(list(range(4, 101)), 30, 5.5)
    assert tracker.take(5.5) == 100


def test_messages_that_do_not_follow_one_another_are_to_be_noted_each() -> None:
    tracker = SequenceTracker()
    assert tracker.note_all([1, 2], 1, 0.0)
    others: list[list[int | None]] = [[2, 3], [4, 5], [3, 5], [3, None], [None, 3]]
    for ids in others:
        assert not tracker.note_all(ids, 1, 0.0)
    assert (tracker.newest, tracker.take(1.0)) == (2, 2)


def test_messages_without_ids_need_no_acknowledgement() -> None:
    tracker = SequenceTracker()
    assert tracker.note_all([None, None], 1, 0.0)
    assert tracker.due == math.inf
