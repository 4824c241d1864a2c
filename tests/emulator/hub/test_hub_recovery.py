"""Reliable sessions over the loss of their transports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.hub.driver import (
    error_name,
    make_hub,
    open_connection,
    received,
    send_to_all,
    send_to_connection,
    text,
    token_of,
)
from trio_webpubsub.emulator.hub import Abort, Close, Deliver, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import Ack, ConnectedMessage, JoinGroup, SendToGroup, SequenceAck


def test_what_was_not_confirmed_comes_again_in_order_after_connected() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    for value in "abc":
        send_to_all(hub, text(value))
    hub.receive(1, SequenceAck(1), now=0)
    hub.transport_ended(1, code=None, now=0)
    send_to_all(hub, text("d"))
    connected, *rest = hub.recover(2, "c-1", token, now=1)
    assert isinstance(connected, Send)
    assert isinstance(connected.message, ConnectedMessage)
    assert received(rest, 2) == [("b", 2), ("c", 3), ("d", 4)]
    assert received(send_to_all(hub, text("e")), 2) == [("e", 5)]


def test_what_came_again_and_was_not_confirmed_comes_once_more() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("a"))
    for transport in (2, 3):
        hub.transport_ended(transport - 1, code=None, now=0)
        assert received(hub.recover(transport, "c-1", token, now=1), transport) == [("a", 1)]


def test_the_fresh_token_and_the_old_ones_count() -> None:
    hub = make_hub()
    first = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    second = token_of(hub.recover(2, "c-1", first, now=1)[0])
    assert second != first
    assert received([*hub.recover(3, "c-1", second, now=2), *send_to_all(hub, text("x"))], 3) == [("x", 1)]
    assert received([*hub.recover(4, "c-1", first, now=2), *send_to_all(hub, text("y"))], 4) == [("x", 1), ("y", 2)]


def test_connected_need_not_come_again() -> None:
    hub = make_hub(connected_after_recovery=False)
    token = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    send_to_all(hub, text("a"))
    (effect,) = hub.recover(2, "c-1", token, now=1)
    assert received([effect], 2) == [("a", 1)]


def test_groups_roles_and_ack_ids_survive() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True, roles=["webpubsub.joinLeaveGroup"])
    hub.receive(1, JoinGroup("lobby", 1), now=0)
    hub.transport_ended(1, code=1006, now=0)
    assert list(hub.registry.groups["lobby"]) == ["c-1"]
    hub.recover(2, "c-1", token, now=1)
    assert error_name(hub.receive(2, JoinGroup("lobby", 1), now=0)) == "Duplicate"
    assert hub.receive(2, JoinGroup("hall", 2), now=0) == [Send(2, Ack(2, True))]


@pytest.mark.parametrize("code", [None, 1001, 1006, 1007, 4000])
def test_only_a_close_with_1000_ends_a_session(code: int | None) -> None:
    hub = make_hub()
    open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=code, now=0)
    assert list(hub.registry.connections) == ["c-1"]


def test_a_close_with_1000_ends_the_session() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=1000, now=0)
    assert hub.registry.connections == {}
    assert isinstance(hub.recover(2, "c-1", token, now=1)[0], Close)


@pytest.mark.parametrize(("connection_id", "token"), [("c-9", None), ("c-2", ""), ("c-1", "wrong"), ("c-1", "")])
def test_a_refusal_is_a_close_with_1008(connection_id: str, token: str | None) -> None:
    hub = make_hub()
    right = open_connection(hub, 1, reliable=True)
    open_connection(hub, 2)
    (effect,) = hub.recover(3, connection_id, right if token is None else token, now=1)
    assert isinstance(effect, Close)
    assert (effect.transport, effect.code) == (3, 1008)
    assert received(send_to_connection(hub, "c-1", text("still here")), 1) == [("still here", 1)]


def test_a_session_waits_for_its_window() -> None:
    hub = make_hub(HubLimits(recovery_window=30))
    token = open_connection(hub, 1, reliable=True)
    assert hub.next_deadline == math.inf
    hub.transport_ended(1, code=None, now=100)
    assert hub.next_deadline == 130
    hub.handle_timeout(129.9)
    hub.recover(2, "c-1", token, now=129.9)
    assert hub.next_deadline == math.inf
    hub.handle_timeout(1_000)
    assert list(hub.registry.connections) == ["c-1"]


def test_a_session_ends_with_its_window() -> None:
    hub = make_hub(HubLimits(recovery_window=30))
    open_connection(hub, 1, reliable=True, user_id="ann", groups=["lobby"])
    hub.transport_ended(1, code=None, now=100)
    hub.handle_timeout(130)
    assert (hub.registry.connections, hub.registry.users, hub.registry.groups) == ({}, {}, {})
    assert hub.next_deadline == math.inf


def test_a_recovery_after_the_window_is_refused_even_if_nobody_told_the_time() -> None:
    hub = make_hub(HubLimits(recovery_window=30))
    token = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=100)
    assert isinstance(hub.recover(2, "c-1", token, now=130)[0], Close)


def test_each_loss_opens_a_whole_window() -> None:
    hub = make_hub(HubLimits(recovery_window=30))
    token = open_connection(hub, 1, reliable=True)
    open_connection(hub, 9, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    hub.transport_ended(9, code=None, now=5)
    hub.recover(2, "c-1", token, now=10)
    hub.transport_ended(2, code=None, now=20)
    assert hub.next_deadline == 35
    hub.handle_timeout(35)
    assert hub.next_deadline == 50


def test_a_recovery_takes_over_from_a_transport_that_is_still_there() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("a"))
    abort, _, *rest = hub.recover(2, "c-1", token, now=1)
    assert abort == Abort(1)
    assert received(rest, 2) == [("a", 1)]


def test_late_news_of_the_old_transport_are_passed_over() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("a"))
    hub.recover(2, "c-1", token, now=1)
    assert hub.receive(1, SequenceAck(1), now=0) == []
    assert hub.receive(1, JoinGroup("lobby", 1), now=0) == []
    hub.transport_ended(1, code=1000, now=2)
    assert hub.next_deadline == math.inf
    assert received(hub.recover(3, "c-1", token, now=3), 3) == [("a", 1)]


def test_too_much_unconfirmed_ends_the_session_of_the_slow_one_only() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=1))
    token = open_connection(hub, 1, reliable=True)
    open_connection(hub, 2, reliable=True)
    send_to_all(hub, text("a"))
    hub.receive(2, SequenceAck(1), now=0)
    deliver, abort = send_to_all(hub, text("b"))
    assert isinstance(deliver, Deliver)
    assert deliver.recipients == [(2, 2)]
    assert abort == Abort(1)
    assert isinstance(hub.recover(3, "c-1", token, now=1)[0], Close)


def test_too_much_for_a_session_without_transport_ends_it_too() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=1))
    open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    send_to_all(hub, text("a"))
    assert list(hub.registry.connections) == ["c-1"]
    assert send_to_all(hub, text("b")) == []
    assert hub.registry.connections == {}
    assert hub.next_deadline == math.inf


def test_a_sender_whose_echo_finds_no_room_gets_no_ack() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=1))
    open_connection(hub, 1, reliable=True, groups=["lobby"])
    hub.receive(1, SendToGroup(group="lobby", payload=text("a"), ack_id=1), now=0)
    assert hub.receive(1, SendToGroup(group="lobby", payload=text("b"), ack_id=2), now=0) == [Abort(1)]


def test_a_client_that_leaves_half_unconfirmed_is_behind_until_it_catches_up() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=4))
    open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("a"))
    assert hub.behind == set()
    send_to_all(hub, text("b"))
    send_to_all(hub, text("c"))
    assert hub.behind == {"c-1"}
    hub.receive(1, SequenceAck(1), now=0)
    assert hub.behind == {"c-1"}
    hub.receive(1, SequenceAck(2), now=0)
    assert hub.behind == set()


def test_half_of_the_bytes_count_as_well() -> None:
    hub = make_hub(HubLimits(unacknowledged_bytes=4))
    open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("ab"))
    assert hub.behind == {"c-1"}


def test_who_was_waited_for_in_vain_is_behind_again_only_after_catching_up() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=4))
    open_connection(hub, 1, reliable=True)
    for value in "ab":
        send_to_all(hub, text(value))
    hub.behind.clear()
    send_to_all(hub, text("c"))
    assert hub.behind == set()
    hub.receive(1, SequenceAck(3), now=0)
    for value in "de":
        send_to_all(hub, text(value))
    assert hub.behind == {"c-1"}


def test_nobody_waits_for_a_client_that_is_not_there() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=4))
    token = open_connection(hub, 1, reliable=True)
    open_connection(hub, 2, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    for value in "ab":
        send_to_all(hub, text(value))
    assert hub.behind == {"c-2"}
    hub.transport_ended(2, code=None, now=0)
    assert hub.behind == set()
    hub.recover(3, "c-1", token, now=1)
    assert hub.behind == {"c-1"}


class Client:
    """A client that follows the rules: it drops what it has, and confirms the newest it ever received."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.newest = 0

    def receive(self, messages: list[tuple[str, int | None]]) -> None:
        for value, number in messages:
            assert number is not None
            if number > self.newest:
                assert number == self.newest + 1
                self.newest = number
                self.values.append(value)


@given(steps=st.lists(st.sampled_from(["send", "send", "receive", "confirm", "drop", "take over"]), max_size=60))
def test_every_message_arrives_once_and_in_order(steps: list[str]) -> None:
    hub = make_hub()
    token = open_connection(hub, 0, reliable=True)
    client = Client()
    transport = 0
    sent: list[str] = []
    on_the_wire: list[tuple[str, int | None]] = []

    def recover() -> None:
        nonlocal transport
        transport += 1
        on_the_wire.clear()
        on_the_wire.extend(received(hub.recover(transport, "c-0", token, now=0), transport))

    for step in steps:
        match step:
            case "send":
                sent.append(str(len(sent)))
                on_the_wire += received(send_to_all(hub, text(sent[-1])), transport)
            case "receive":
                client.receive(on_the_wire[:1])
                del on_the_wire[:1]
            case "confirm":
                hub.receive(transport, SequenceAck(client.newest), now=0)
            case "drop":
                hub.transport_ended(transport, code=None, now=0)
                sent.append(str(len(sent)))
                assert send_to_all(hub, text(sent[-1])) == []
                recover()
            case _:
                recover()
    client.receive(on_the_wire)
    assert client.values == sent
