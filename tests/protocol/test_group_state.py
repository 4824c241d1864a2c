"""States in groups: the client's own, and those it watches, over sessions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.group_state import GroupStates, ObservedGroup, StateChanged, StateRefused
from trio_webpubsub.protocol.messages import GroupStateChange, MemberState
from trio_webpubsub.protocol.pending import Done, Operation, Outcome, Refused, Unanswered, Unknown
from trio_webpubsub.protocol.wire import Acknowledged

TYPING = {"status": "typing"}


class Journal:
    """States, and the operations that they queue."""

    def __init__(self) -> None:
        self.queued: list[Operation] = []
        self.not_retried: list[Operation] = []
        self.states = GroupStates(self._submit, self.not_retried.append)

    def _submit(self, message: Acknowledged) -> Operation:
        ack_id = len(self.queued) + 1
        operation = Operation(message, 0, False, ack_id, b"")
        self.queued.append(operation)
        return operation

    def messages(self) -> list[Acknowledged]:
        """Give what was queued since the last time."""
        messages = [operation.message for operation in self.queued]
        self.queued.clear()
        return messages

    def settle(self, operation: Operation, outcome: Outcome | None = None) -> StateRefused | None:
        operation.outcome = outcome or Done()
        return self.states.settled(operation)

    def set(self, state: Mapping[str, str] | None) -> None:
        self.settle(self.states.set("g", state))
        self.queued.clear()

    def observe(self, *items: wire.GroupStateItem) -> ObservedGroup:
        observed, operation = self.states.observe("g")
        self.settle(operation)
        self.states.take(snapshot(*items))
        self.queued.clear()
        return observed


def item(connection_id: str, state: Mapping[str, str] | None = TYPING, at: int = 1_000) -> wire.GroupStateItem:
    return wire.GroupStateItem(connection_id=connection_id, user_id="ann", state=state, updated_at=at)


def snapshot(*items: wire.GroupStateItem) -> wire.GroupState:
    return wire.GroupState(group="g", items=list(items), snapshot=True)


def update(*items: wire.GroupStateItem) -> wire.GroupState:
    return wire.GroupState(group="g", items=list(items), snapshot=False)


def change(connection_id: str, state: Mapping[str, str] | None = TYPING, at: float = 1.0) -> GroupStateChange:
    return GroupStateChange(connection_id=connection_id, user_id="ann", state=state, updated_at=at)


def changes(news: StateChanged | None) -> list[GroupStateChange]:
    assert news is not None
    return news.changes


def test_a_snapshot_then_updates() -> None:
    journal = Journal()
    observed, _ = journal.states.observe("g")
    assert journal.messages() == [wire.SubscribeGroupState("g")]
    assert not observed.complete
    assert changes(journal.states.take(snapshot(item("c-1")))) == [change("c-1")]
    assert observed.complete
    assert observed.members == {"c-1": MemberState(user_id="ann", state=TYPING, updated_at=1.0)}
    assert changes(journal.states.take(update(item("c-2", at=2_500)))) == [change("c-2", at=2.5)]
    assert changes(journal.states.take(update(item("c-1", None, 3_000)))) == [change("c-1", None, 3.0)]
    assert list(observed.members) == ["c-2"]


def test_what_says_nothing_new_is_no_change() -> None:
    journal = Journal()
    observed = journal.observe(item("c-1"))
    assert journal.states.take(update(item("c-1"), item("c-9", None))) is None
    assert journal.states.take(snapshot(item("c-1"))) == StateChanged(observed, [])


def test_an_empty_snapshot_is_told_too() -> None:
    journal = Journal()
    observed, _ = journal.states.observe("g")
    assert journal.states.take(snapshot()) == StateChanged(observed, [])
    assert observed.complete


def test_a_snapshot_is_the_whole_truth() -> None:
    journal = Journal()
    journal.observe(item("c-1"), item("c-2"))
    news = journal.states.take(snapshot(item("c-2", {"status": "away"}, 2_000), item("c-3", None)))
    assert changes(news) == [change("c-1", None), change("c-2", {"status": "away"}, 2.0)]


def test_states_of_a_group_that_nobody_watches_are_passed_over() -> None:
    assert Journal().states.take(snapshot(item("c-1"))) is None


def test_the_last_watcher_ends_the_subscription() -> None:
    journal = Journal()
    observed = journal.observe()
    again, _ = journal.states.observe("g")
    assert again is observed
    journal.queued.clear()
    journal.states.release(observed)
    assert journal.messages() == []
    journal.states.release(observed)
    assert journal.queued[0].purpose == "internal"
    assert journal.messages() == [wire.UnsubscribeGroupState("g")]
    assert journal.states.take(snapshot(item("c-1"))) is None


def test_a_new_session_is_told_all_again() -> None:
    journal = Journal()
    journal.set(TYPING)
    journal.observe(item("c-1"))
    assert journal.states.own == {"g": TYPING}
    journal.states.session_begun()
    assert [operation.purpose for operation in journal.queued] == ["internal", "internal"]
    assert journal.messages() == [wire.SetGroupState("g", TYPING), wire.SubscribeGroupState("g")]
    assert changes(journal.states.take(snapshot(item("c-2")))) == [change("c-1", None), change("c-2")]


def test_a_state_that_was_cleared_or_never_set_is_not_set_again() -> None:
    journal = Journal()
    journal.set(TYPING)
    journal.set(None)
    journal.settle(journal.states.set("h", TYPING), Refused(wire.WireError("Forbidden")))
    journal.queued.clear()
    journal.states.session_begun()
    assert journal.messages() == []


def test_a_set_under_way_is_not_overtaken_by_an_older_one() -> None:
    journal = Journal()
    journal.set(TYPING)
    operation = journal.states.set("g", {"status": "away"})
    journal.queued.clear()
    journal.states.session_begun()
    assert journal.messages() == []
    journal.settle(operation)
    assert journal.states.own == {"g": {"status": "away"}}


def test_of_two_sets_under_way_the_newer_one_counts() -> None:
    journal = Journal()
    first, second = journal.states.set("g", TYPING), journal.states.set("g", {"status": "away"})
    journal.settle(first)
    journal.queued.clear()
    journal.states.session_begun()
    assert journal.messages() == []
    journal.settle(second)
    journal.states.session_begun()
    assert journal.messages() == [wire.SetGroupState("g", {"status": "away"})]


@pytest.mark.parametrize(("writes", "own"), [(0, {}), (1, {"g": TYPING})])
def test_a_set_whose_caller_went_away_counts_if_it_was_written(writes: int, own: dict[str, object]) -> None:
    journal = Journal()
    operation = journal.states.set("g", TYPING)
    operation.writes = writes
    journal.states.withdrawn(operation)
    journal.states.withdrawn(operation)
    assert journal.states.own == own


def test_other_operations_whose_caller_went_away_mean_nothing_here() -> None:
    journal = Journal()
    _, operation = journal.states.observe("g")
    journal.states.withdrawn(operation)
    assert journal.settle(operation, Unknown()) is None


@pytest.mark.parametrize("outcome", [Refused(wire.WireError("Forbidden", "no")), Unanswered()])
def test_what_a_new_session_refuses_is_told(outcome: Refused | Unanswered) -> None:
    journal = Journal()
    journal.set(TYPING)
    observed = journal.observe(item("c-1"))
    journal.states.session_begun()
    own, subscription = journal.queued
    assert journal.settle(own, outcome) == StateRefused("g", own, None)
    assert journal.states.own == {}
    assert journal.settle(subscription, outcome) == StateRefused("g", subscription, observed)
    assert journal.settle(subscription, outcome) is None
    journal.queued.clear()
    journal.states.release(observed)
    assert journal.messages() == []


def test_a_refusal_to_a_caller_is_the_callers() -> None:
    journal = Journal()
    observed, operation = journal.states.observe("g")
    assert journal.settle(operation, Refused(wire.WireError("Forbidden"))) is None
    journal.states.release(observed)


def test_a_session_in_which_nothing_is_to_be_like_before() -> None:
    journal = Journal()
    journal.set(TYPING)
    observed = journal.observe()
    assert journal.states.give_up() == [StateRefused("g", None, observed)]
    assert journal.states.own == {}
    journal.states.session_begun()
    assert journal.messages() == []


def test_the_states_of_another_process_are_gone_on_with() -> None:
    journal = Journal()
    journal.states.restore({"g": TYPING})
    journal.states.session_begun()
    assert journal.messages() == [wire.SetGroupState("g", TYPING)]
