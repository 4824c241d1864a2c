"""How connections come and go."""

from __future__ import annotations

import math

import pytest

from tests.emulator.hub.driver import PLAIN, make_hub, open_connection, send_to_all, text
from trio_webpubsub.emulator.hub import (
    Abort,
    AskConnect,
    Close,
    ConnectAccepted,
    ConnectRefused,
    ConnectRequest,
    Deliver,
    Reject,
    Send,
    Upgrade,
)
from trio_webpubsub.protocol.wire import ConnectedMessage, DataMessage, DisconnectedMessage, JoinGroup, Ping, Pong


def request() -> ConnectRequest:
    return ConnectRequest(connection_id="c-1", subprotocols=[PLAIN], user_id="ann", groups=("lobby",))


def test_a_connection_is_asked_about_then_upgraded_then_told_that_it_is_connected() -> None:
    hub = make_hub()
    assert hub.connect(1, request()) == AskConnect(1, request())
    assert hub.answer_connect(1, ConnectAccepted()) == Upgrade(1, PLAIN)
    assert hub.transport_opened(1) == [Send(1, ConnectedMessage(connection_id="c-1", user_id="ann"))]


def test_a_connection_exists_only_once_its_transport_is_open() -> None:
    hub = make_hub()
    hub.connect(1, request())
    hub.answer_connect(1, ConnectAccepted())
    assert send_to_all(hub, text("early")) == []
    hub.transport_opened(1)
    message = DataMessage(payload=text("late"))
    assert send_to_all(hub, text("late")) == [Deliver(message, [(1, None)])]


def test_a_refused_client_gets_the_status() -> None:
    hub = make_hub()
    hub.connect(1, request())
    assert hub.answer_connect(1, ConnectRefused(403)) == Reject(1, 403)
    assert hub.transport_opened(1) == []
    assert hub.registry.connections == {}


def test_the_answer_may_replace_who_the_client_is() -> None:
    hub = make_hub()
    hub.connect(1, request())
    hub.answer_connect(1, ConnectAccepted(user_id="bob", roles=["webpubsub.sendToGroup.x"], groups=["hall"]))
    assert hub.transport_opened(1) == [Send(1, ConnectedMessage(connection_id="c-1", user_id="bob"))]
    connection = hub.registry.connections["c-1"]
    assert list(connection.groups) == ["hall"]
    assert connection.roles.allow("sendToGroup", "x")


def test_the_answer_may_take_roles_and_groups_away() -> None:
    hub = make_hub()
    hub.connect(1, request())
    hub.answer_connect(1, ConnectAccepted(roles=[], groups=[]))
    hub.transport_opened(1)
    assert hub.registry.groups == {}


@pytest.mark.parametrize("stage", ["asked", "accepted"])
def test_a_client_may_go_before_it_is_connected(stage: str) -> None:
    hub = make_hub()
    hub.connect(1, request())
    if stage == "accepted":
        hub.answer_connect(1, ConnectAccepted())
    hub.transport_ended(1, code=None, now=0)
    assert isinstance(hub.answer_connect(1, ConnectAccepted()), Reject)
    assert hub.transport_opened(1) == []
    assert hub.registry.connections == {}


def test_a_connection_that_is_not_reliable_goes_with_its_transport() -> None:
    hub = make_hub()
    open_connection(hub, 1, user_id="ann", groups=["lobby"])
    hub.transport_ended(1, code=None, now=0)
    assert (hub.registry.connections, hub.registry.users, hub.registry.groups) == ({}, {}, {})
    assert hub.next_deadline == math.inf


def test_users_and_groups_last_as_long_as_their_last_connection() -> None:
    hub = make_hub()
    for transport in (1, 2):
        open_connection(hub, transport, user_id="ann", groups=["lobby"])
    hub.transport_ended(1, code=1000, now=0)
    assert list(hub.registry.users["ann"]) == ["c-2"]
    assert list(hub.registry.groups["lobby"]) == ["c-2"]


def test_a_deliberate_close_is_announced() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.close_connection("c-1", code=1001, reason="going away") == [
        Send(1, DisconnectedMessage("going away")),
        Close(1, 1001, "going away"),
    ]
    assert hub.registry.connections == {}


def test_a_deliberate_close_needs_no_reason() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.close_connection("c-1") == [Send(1, DisconnectedMessage(None)), Close(1, 1000, "")]


def test_closing_or_forgetting_what_is_not_there_does_nothing() -> None:
    hub = make_hub()
    assert hub.close_connection("c-1") == []
    assert hub.forget_session("c-1") == []


def test_a_closed_session_cannot_be_recovered() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    assert hub.close_connection("c-1") == []
    assert isinstance(hub.recover(2, "c-1", token, now=1)[0], Close)
    assert hub.next_deadline == math.inf


@pytest.mark.parametrize("attached", [True, False])
def test_a_forgotten_session_is_cut_and_cannot_be_recovered(attached: bool) -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    if not attached:
        hub.transport_ended(1, code=None, now=0)
    assert hub.forget_session("c-1") == ([Abort(1)] if attached else [])
    assert isinstance(hub.recover(2, "c-1", token, now=1)[0], Close)


def test_a_ping_is_answered() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, Ping(), now=0) == [Send(1, Pong())]


def test_news_of_a_transport_that_is_gone_are_passed_over() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    hub.close_connection("c-1")
    assert hub.receive(1, JoinGroup("lobby", 1), now=0) == []
    hub.transport_ended(1, code=None, now=0)
    assert hub.registry.groups == {}


def test_a_secret_stands_in_no_repr() -> None:
    asked = AskConnect(1, ConnectRequest(connection_id="c-1", session_secret=b"very-secret"))
    assert "very-secret" not in repr(asked)
