"""Which groups are wanted, and which are to be left."""

from __future__ import annotations

from trio_webpubsub.protocol.membership import Membership


def test_an_explicit_join_makes_a_group_wanted() -> None:
    membership = Membership()
    membership.join("a")
    assert membership.is_wanted("a")
    assert membership.wanted() == ["a"]
    assert not membership.is_subscribed("a")


def test_a_subscription_makes_a_group_wanted_until_it_ends() -> None:
    membership = Membership()
    membership.subscribe("a")
    assert membership.is_subscribed("a")
    membership.unsubscribe("a", maybe_joined=True)
    assert not membership.is_wanted("a")
    assert not membership.is_subscribed("a")
    assert membership.leaving
    assert membership.take_leaves() == ["a"]
    assert not membership.leaving


def test_only_the_last_subscription_leaves() -> None:
    membership = Membership()
    membership.subscribe("a")
    membership.subscribe("a")
    membership.unsubscribe("a", maybe_joined=True)
    assert membership.is_subscribed("a")
    assert membership.take_leaves() == []


def test_an_explicit_join_outlasts_a_subscription() -> None:
    membership = Membership()
    membership.subscribe("a")
    membership.join("a")
    membership.unsubscribe("a", maybe_joined=True)
    assert membership.is_wanted("a")
    assert not membership.leaving


def test_a_group_wanted_again_in_time_is_not_left() -> None:
    membership = Membership()
    membership.subscribe("a")
    membership.unsubscribe("a", maybe_joined=True)
    membership.hold("a")
    assert not membership.leaving


def test_an_explicit_join_takes_back_a_leave() -> None:
    membership = Membership()
    membership.hold("a")
    membership.release("a", maybe_joined=True)
    membership.join("a")
    assert not membership.leaving


def test_a_join_that_never_went_out_needs_no_leave() -> None:
    membership = Membership()
    membership.hold("a")
    membership.release("a", maybe_joined=False)
    assert not membership.is_wanted("a")
    assert not membership.leaving


def test_forgetting_tells_whether_there_was_a_wish() -> None:
    membership = Membership()
    membership.join("a")
    assert membership.forget("a")
    assert not membership.forget("a")
    assert not membership.is_wanted("a")


def test_a_new_session_has_nothing_to_leave() -> None:
    membership = Membership()
    membership.subscribe("a")
    membership.unsubscribe("a", maybe_joined=True)
    membership.join("b")
    membership.new_session()
    assert not membership.leaving
    assert membership.wanted() == ["b"]
