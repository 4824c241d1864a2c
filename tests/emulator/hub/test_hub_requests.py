"""What clients ask for: groups, messages, and the acks they get."""

from __future__ import annotations

import pytest

from tests.emulator.hub.driver import error_name, make_hub, open_connection, received, text
from trio_webpubsub.emulator.hub import Deliver, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import Ack, DataMessage, JoinGroup, LeaveGroup, SendToGroup, SequenceAck, WireError


def send(group: str, value: str = "hi", ack_id: int | None = None, no_echo: bool = False) -> SendToGroup:
    return SendToGroup(group=group, payload=text(value), ack_id=ack_id, no_echo=no_echo)


def test_joining_and_leaving_are_acknowledged() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, JoinGroup("lobby", 1), now=0) == [Send(1, Ack(1, True))]
    assert list(hub.registry.groups["lobby"]) == ["c-1"]
    assert hub.receive(1, LeaveGroup("lobby", 2), now=0) == [Send(1, Ack(2, True))]
    assert hub.registry.groups == {}


def test_joining_twice_and_leaving_twice_succeed() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    for ack_id in (1, 2):
        assert hub.receive(1, JoinGroup("lobby", ack_id), now=0) == [Send(1, Ack(ack_id, True))]
    for ack_id in (3, 4):
        assert hub.receive(1, LeaveGroup("lobby", ack_id), now=0) == [Send(1, Ack(ack_id, True))]


def test_without_an_ack_id_nothing_is_answered() -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=["webpubsub.joinLeaveGroup"])
    assert hub.receive(1, JoinGroup("lobby"), now=0) == []
    assert hub.receive(1, LeaveGroup(" "), now=0) == []
    assert hub.receive(1, send("lobby"), now=0) == []


def test_a_group_message_reaches_the_members_before_the_sender_gets_its_ack() -> None:
    hub = make_hub()
    open_connection(hub, 1, user_id="ann", groups=["lobby"])
    open_connection(hub, 2, reliable=True, groups=["lobby"])
    open_connection(hub, 3, groups=["hall"])
    message = SendToGroup(group="lobby", payload=text("hi"), ack_id=9, metadata={"k": "v"})
    delivered = DataMessage(payload=text("hi"), group="lobby", from_user_id="ann", metadata={"k": "v"})
    assert hub.receive(1, message, now=0) == [Deliver(delivered, [(1, None), (2, 1)]), Send(1, Ack(9, True))]


def test_no_echo_leaves_the_sending_connection_out_and_no_other_of_its_user() -> None:
    hub = make_hub()
    open_connection(hub, 1, user_id="ann", groups=["lobby"])
    open_connection(hub, 2, user_id="ann", groups=["lobby"])
    effects = hub.receive(1, send("lobby", no_echo=True), now=0)
    assert received(effects, 1) == []
    assert received(effects, 2) == [("hi", None)]


def test_sending_needs_no_membership_and_members_may_be_none() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, send("lobby", ack_id=1), now=0) == [Send(1, Ack(1, True))]


@pytest.mark.parametrize("message", [JoinGroup("b", 1), LeaveGroup("b", 1), send("a", ack_id=1)])
def test_what_no_role_allows_is_forbidden(message: JoinGroup | LeaveGroup | SendToGroup) -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=["webpubsub.joinLeaveGroup.a", "webpubsub.sendToGroup.b"], groups=["a", "b"])
    assert error_name(hub.receive(1, message, now=0)) == "Forbidden"
    assert list(hub.registry.connections["c-1"].groups) == ["a", "b"]


@pytest.mark.parametrize("group", ["", "  ", "x" * 1025])
def test_a_bad_group_name_is_a_bad_request(group: str) -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert error_name(hub.receive(1, JoinGroup(group, 1), now=0)) == "BadRequest"
    assert error_name(hub.receive(1, LeaveGroup(group, 2), now=0)) == "BadRequest"
    assert error_name(hub.receive(1, send(group, ack_id=3), now=0)) == "BadRequest"


def test_a_message_may_not_ask_to_live_for_ever() -> None:
    hub = make_hub()
    open_connection(hub, 1, groups=["lobby"])
    long = SendToGroup(group="lobby", payload=text("hi"), ack_id=1, ttl_seconds=301)
    assert error_name(hub.receive(1, long, now=0)) == "BadRequest"
    fitting = SendToGroup(group="lobby", payload=text("hi"), ack_id=1, ttl_seconds=300)
    assert received(hub.receive(1, fitting, now=0), 1) == [("hi", None)]


def test_a_repeated_request_is_a_duplicate_and_does_not_run_again() -> None:
    hub = make_hub()
    open_connection(hub, 1, groups=["lobby"])
    hub.receive(1, send("lobby", ack_id=3), now=0)
    error = WireError("Duplicate", "Message with ack-id: 3 has been processed")
    assert hub.receive(1, send("lobby", ack_id=3), now=0) == [Send(1, Ack(3, False, error))]
    assert hub.receive(1, JoinGroup("hall", 3), now=0) == [Send(1, Ack(3, False, error))]
    assert "hall" not in hub.registry.groups


def test_a_refused_request_may_be_repeated_under_its_id() -> None:
    hub = make_hub()
    open_connection(hub, 1, roles=["webpubsub.joinLeaveGroup.a"])
    for _ in range(2):
        assert error_name(hub.receive(1, JoinGroup("b", 1), now=0)) == "Forbidden"
    assert hub.receive(1, JoinGroup("a", 1), now=0) == [Send(1, Ack(1, True))]


def test_ack_ids_belong_to_one_connection_each() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    open_connection(hub, 2)
    assert hub.receive(1, JoinGroup("a", 1), now=0) == [Send(1, Ack(1, True))]
    assert hub.receive(2, JoinGroup("a", 1), now=0) == [Send(2, Ack(1, True))]


def test_an_ack_id_is_forgotten_in_the_end() -> None:
    hub = make_hub(HubLimits(ack_ids=2))
    open_connection(hub, 1)
    for ack_id in (1, 2, 3, 1):
        assert hub.receive(1, JoinGroup("a", ack_id), now=0) == [Send(1, Ack(ack_id, True))]


def test_a_sequence_ack_of_a_connection_that_is_not_reliable_is_passed_over() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, SequenceAck(1), now=0) == []
