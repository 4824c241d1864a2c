"""What connections tell groups about themselves: roles, snapshots, updates, and what goes with a connection."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trio_webpubsub.emulator.hub import Abort, ConnectAccepted, ConnectRequest, Deliver, Effect, EventHandled, Hub, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol import wire

from .driver import error_name, make_hub, open_connection, question_of, text

ROLES = ("webpubsub.setGroupState", "webpubsub.getGroupState")
TYPING = {"status": "typing"}


def new_hub(limits: HubLimits | None = None) -> Hub:
    """A hub with somebody who watches (1), and somebody who is watched (2)."""
    hub = make_hub(limits, epoch=1_000.0)
    open_connection(hub, 1, roles=ROLES)
    open_connection(hub, 2, roles=ROLES, user_id="bob")
    return hub


def states(effects: list[Effect], transport: int = 1) -> list[wire.GroupState]:
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Deliver) and isinstance(effect.message, wire.GroupState)
        for recipient, _ in effect.recipients
        if recipient == transport
    ]


def item(state: Mapping[str, str] | None = TYPING, *, at: int) -> wire.GroupStateItem:
    return wire.GroupStateItem(connection_id="c-2", user_id="bob", state=state, updated_at=at)


def update(state: Mapping[str, str] | None = TYPING, *, at: int) -> wire.GroupState:
    return wire.GroupState(group="g", items=[item(state, at=at)], snapshot=False)


def accepted(effects: list[Effect]) -> bool:
    """Whether a request was; a refusal is for a bad request."""
    accepted = Send(2, wire.Ack(1, True)) in effects
    assert accepted or error_name(effects) == "BadRequest"
    return accepted


def test_the_snapshot_follows_the_acknowledgement() -> None:
    hub = new_hub()
    assert hub.receive(2, wire.SetGroupState("g", TYPING, 1), now=5) == [Send(2, wire.Ack(1, True))]
    effects = hub.receive(1, wire.SubscribeGroupState("g", 1), now=6)
    assert effects[0] == Send(1, wire.Ack(1, True))
    assert states(effects) == [wire.GroupState(group="g", items=[item(at=1_005_000)], snapshot=True)]


def test_an_empty_group_has_an_empty_snapshot() -> None:
    effects = new_hub().receive(1, wire.SubscribeGroupState("g"), now=0)
    assert states(effects) == [wire.GroupState(group="g", items=[], snapshot=True)]


def test_changes_are_told_one_by_one() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    effects = hub.receive(2, wire.SetGroupState("g", TYPING, 1), now=1)
    assert [type(effect) for effect in effects] == [Deliver, Send]
    assert states(effects) == [update(at=1_001_000)]
    assert states(hub.receive(2, wire.SetGroupState("g", {"a": "b"}), now=2)) == [update({"a": "b"}, at=1_002_000)]
    assert states(hub.receive(2, wire.SetGroupState("g"), now=3)) == [update(None, at=1_003_000)]
    assert states(hub.receive(2, wire.SetGroupState("g"), now=4)) == []


def test_an_empty_state_is_one() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    assert states(hub.receive(2, wire.SetGroupState("g", {}), now=1)) == [update({}, at=1_001_000)]


def test_the_times_of_a_connection_grow() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    hub.receive(2, wire.SetGroupState("g", TYPING), now=1)
    assert states(hub.receive(2, wire.SetGroupState("g", {"a": "b"}), now=1)) == [update({"a": "b"}, at=1_001_001)]
    assert states(hub.receive(2, wire.SetGroupState("g"), now=1)) == [update(None, at=1_001_002)]


def test_who_sets_a_state_hears_of_it_too() -> None:
    hub = new_hub()
    hub.receive(2, wire.SubscribeGroupState("g"), now=0)
    assert states(hub.receive(2, wire.SetGroupState("g", TYPING), now=1), 2) == [update(at=1_001_000)]


def test_groups_are_apart() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("h"), now=0)
    assert states(hub.receive(2, wire.SetGroupState("g", TYPING), now=1)) == []


def test_who_has_unsubscribed_hears_no_more() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    hub.receive(2, wire.SubscribeGroupState("g"), now=0)
    assert hub.receive(1, wire.UnsubscribeGroupState("g", 2), now=0) == [Send(1, wire.Ack(2, True))]
    hub.receive(1, wire.UnsubscribeGroupState("g"), now=0)
    effects = hub.receive(2, wire.SetGroupState("g", TYPING), now=1)
    assert (states(effects), states(effects, 2)) == ([], [update(at=1_001_000)])


def test_of_many_states_one_is_removed_and_the_others_stay() -> None:
    hub = new_hub()
    hub.receive(1, wire.SetGroupState("g", {"a": "b"}), now=0)
    hub.receive(2, wire.SetGroupState("g", TYPING), now=0)
    hub.receive(1, wire.SetGroupState("g"), now=1)
    assert states(hub.receive(1, wire.SubscribeGroupState("g"), now=1))[0].items == [item(at=1_000_000)]


def test_the_last_one_may_unsubscribe_and_come_back() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    hub.receive(1, wire.UnsubscribeGroupState("g"), now=0)
    assert states(hub.receive(2, wire.SetGroupState("g", TYPING), now=1)) == []
    assert len(states(hub.receive(1, wire.SubscribeGroupState("g"), now=1))[0].items) == 1


def test_subscribing_again_gives_a_snapshot_again() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    assert len(states(hub.receive(1, wire.SubscribeGroupState("g"), now=0))) == 1
    assert len(states(hub.receive(2, wire.SetGroupState("g", TYPING), now=1))) == 1


def test_the_states_of_a_connection_go_with_it() -> None:
    hub = new_hub()
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    hub.receive(2, wire.SubscribeGroupState("g"), now=0)
    hub.receive(2, wire.SetGroupState("g", TYPING), now=1)
    assert states(hub.transport_ended(2, code=None, now=7)) == [update(None, at=1_007_000)]
    assert states(hub.receive(1, wire.SubscribeGroupState("g"), now=8))[0].items == []


def test_a_reliable_connection_keeps_its_state_while_it_may_come_back() -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=ROLES)
    open_connection(hub, 2, roles=ROLES, reliable=True)
    hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    hub.receive(2, wire.SetGroupState("g", TYPING), now=0)
    assert states(hub.transport_ended(2, code=None, now=1)) == []
    assert len(states(hub.handle_timeout(31))) == 1


def test_reliable_subscribers_get_states_with_sequence_ids_and_after_a_recovery() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, roles=ROLES, reliable=True)
    open_connection(hub, 2, roles=ROLES)
    subscribed = hub.receive(1, wire.SubscribeGroupState("g"), now=0)
    assert [effect.recipients for effect in subscribed if isinstance(effect, Deliver)] == [[(1, 1)]]
    hub.transport_ended(1, code=None, now=0)
    hub.receive(2, wire.SetGroupState("g", TYPING), now=0)
    recovered = hub.recover(3, "c-1", token, now=1)
    assert [effect.recipients for effect in recovered if isinstance(effect, Deliver)] == [[(3, 1)], [(3, 2)]]


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("webpubsub.getGroupState", wire.SetGroupState("g", TYPING, 1)),
        ("webpubsub.setGroupState", wire.SubscribeGroupState("g", 1)),
        ("webpubsub.setGroupState", wire.UnsubscribeGroupState("g", 1)),
        ("webpubsub.setGroupState.h", wire.SetGroupState("g", TYPING, 1)),
    ],
)
def test_each_takes_its_role(role: str, message: wire.Upstream) -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=[role])
    assert error_name(hub.receive(1, message, now=0)) == "Forbidden"


@pytest.mark.parametrize("role", ["webpubsub.setGroupState", "webpubsub.setGroupState.g", "webpubsub.setGroupStates.*"])
def test_roles_have_the_forms_of_the_others(role: str) -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=[role])
    assert hub.receive(1, wire.SetGroupState("g", TYPING, 1), now=0) == [Send(1, wire.Ack(1, True))]


def test_a_bad_group_is_refused() -> None:
    assert error_name(new_hub().receive(1, wire.SubscribeGroupState("", 1), now=0)) == "BadRequest"


def test_a_repeated_request_is_a_duplicate() -> None:
    hub = new_hub()
    hub.receive(1, wire.SetGroupState("g", TYPING, 1), now=0)
    assert error_name(hub.receive(1, wire.SetGroupState("g", {"a": "b"}, 1), now=0)) == "Duplicate"


def test_what_waits_for_an_event_changes_nothing_when_its_connection_has_gone() -> None:
    hub = new_hub()
    hub.receive(2, wire.SubscribeGroupState("g"), now=0)
    question = question_of(hub.receive(1, wire.SendEvent(event="e", payload=text("x")), now=0))
    for message in (
        wire.SetGroupState("g", TYPING, 1),
        wire.SubscribeGroupState("g", 2),
        wire.UnsubscribeGroupState("g", 3),
    ):
        assert hub.receive(1, message, now=0) == []
    hub.transport_ended(1, code=1000, now=1)
    assert hub.answer_event(question.token, EventHandled(), now=2) == []
    assert states(hub.receive(2, wire.SubscribeGroupState("g"), now=3), 2)[0].items == []


@pytest.mark.parametrize("watch", [False, True])
def test_a_connection_has_and_watches_only_so_many_states(watch: bool) -> None:
    hub = new_hub(HubLimits(states=2, ack_ids=0))
    for group, fits in (("g", True), ("h", True), ("g", True), ("i", False)):
        request = wire.SubscribeGroupState(group, 1) if watch else wire.SetGroupState(group, TYPING, 1)
        assert accepted(hub.receive(2, request, now=0)) is fits


def test_the_states_of_a_connection_are_only_so_large() -> None:
    hub = new_hub(HubLimits(state_bytes=10, ack_ids=0))
    longest = {"a": "123456789"}
    for group, state, fits in (("g", {"a": "1234"}, True), ("h", {"b": "12345"}, False), ("g", longest, True)):
        assert accepted(hub.receive(2, wire.SetGroupState(group, state, 1), now=0)) is fits
    hub.receive(2, wire.SetGroupState("g", None), now=0)
    assert accepted(hub.receive(2, wire.SetGroupState("h", longest, 1), now=0))


def test_who_overflows_is_told_no_more() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=3), epoch=0.0)
    open_connection(hub, 1, roles=ROLES, reliable=True)
    open_connection(hub, 2, roles=ROLES)
    for group in ("g", "h", "i"):
        hub.receive(2, wire.SetGroupState(group, TYPING), now=0)
        hub.receive(1, wire.SubscribeGroupState(group), now=0)
    effects = hub.close_connection("c-2")
    assert Abort(1) in effects
    assert hub.registry.connections == {}


def test_a_hub_of_its_own_has_states_of_its_own() -> None:
    hub, other = new_hub(), new_hub()
    hub.receive(2, wire.SetGroupState("g", TYPING), now=0)
    request = ConnectRequest(connection_id="c-3", session_secret=b"s", roles=ROLES)
    other.connect(3, request)
    other.answer_connect(3, ConnectAccepted())
    assert states(other.receive(1, wire.SubscribeGroupState("g"), now=0))[0].items == []
