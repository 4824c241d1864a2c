"""Simple clients: they are told nothing but what somebody sends, and the only refusal they can be told is a close."""

from __future__ import annotations

import pytest

from tests.emulator.hub.driver import make_hub, open_connection, question_of, received, send_to_all, text
from trio_webpubsub.emulator.hub import (
    UNHANDLED,
    Close,
    ConnectAccepted,
    ConnectRequest,
    Deliver,
    EventHandled,
    Hub,
    Reject,
    Upgrade,
)
from trio_webpubsub.protocol.wire import DataMessage, SendEvent, SendToGroup


def open_simple(hub: Hub, *, roles: tuple[str, ...] = (), offered: tuple[str, ...] = ()) -> None:
    hub.connect(1, ConnectRequest(connection_id="c-1", subprotocols=offered, roles=roles, groups=["lobby"]))
    assert hub.answer_connect(1, ConnectAccepted()) == Upgrade(1, None)
    assert hub.transport_opened(1) == []


@pytest.mark.parametrize("offered", [(), ("mqtt", "other")])
def test_a_client_that_offers_nothing_known_is_a_simple_one_and_hears_no_connected(offered: tuple[str, ...]) -> None:
    hub = make_hub()
    open_simple(hub, offered=offered)
    assert received(send_to_all(hub, text("hi")), 1) == [("hi", None)]


def test_a_simple_client_gets_the_reply_to_its_event_and_no_ack() -> None:
    hub = make_hub()
    open_simple(hub)
    question = question_of(hub.receive(1, SendEvent(event="message", payload=text("a")), now=0))
    assert hub.answer_event(question.token, EventHandled(text("b")), now=0) == [
        Deliver(DataMessage(payload=text("b")), [(1, None)])
    ]


def test_a_failed_event_closes_a_simple_client_with_1011() -> None:
    hub = make_hub()
    open_simple(hub)
    question = question_of(hub.receive(1, SendEvent(event="message", payload=text("a")), now=0))
    assert hub.answer_event(question.token, UNHANDLED, now=0) == [Close(1, 1011, UNHANDLED.error.message)]
    assert hub.registry.connections == {}


def test_a_simple_client_that_may_not_send_to_its_group_is_closed_with_1008() -> None:
    hub = make_hub()
    open_simple(hub, roles=("webpubsub.sendToGroup.hall",))
    open_connection(hub, 2, groups=["hall"])
    assert received(hub.receive(1, SendToGroup(group="hall", payload=text("a")), now=0), 2) == [("a", None)]
    (effect,) = hub.receive(1, SendToGroup(group="lobby", payload=text("a")), now=0)
    assert isinstance(effect, Close)
    assert effect.code == 1008


def test_a_deliberate_close_is_not_announced_to_a_simple_client() -> None:
    hub = make_hub()
    open_simple(hub)
    assert hub.close_connection("c-1", reason="away") == [Close(1, 1000, "")]


# The choice of the subprotocol


@pytest.mark.parametrize(
    ("offered", "chosen", "agreed"),
    [
        (["x", "JSON.webpubsub.azure.v1", "json.reliable.webpubsub.azure.v1"], None, "JSON.webpubsub.azure.v1"),
        (["json.webpubsub.azure.v1", "x"], "x", "x"),
        (
            ["json.webpubsub.azure.v1", "protobuf.webpubsub.azure.v1"],
            "protobuf.webpubsub.azure.v1",
            "protobuf.webpubsub.azure.v1",
        ),
    ],
)
def test_the_first_known_name_counts_unless_another_one_is_chosen(
    offered: list[str], chosen: str | None, agreed: str
) -> None:
    hub = make_hub()
    hub.connect(1, ConnectRequest(connection_id="c-1", subprotocols=offered))
    assert hub.answer_connect(1, ConnectAccepted(subprotocol=chosen)) == Upgrade(1, agreed)
    hub.transport_opened(1)
    connection = hub.registry.connections["c-1"]
    assert (connection.subprotocol, connection.is_simple) == (agreed, agreed == "x")


@pytest.mark.parametrize("chosen", ["json.webpubsub.azure.v1", ""])
def test_a_choice_that_the_client_does_not_offer_is_an_error_of_the_handler(chosen: str) -> None:
    hub = make_hub()
    hub.connect(1, ConnectRequest(connection_id="c-1", subprotocols=["x"]))
    answer = hub.answer_connect(1, ConnectAccepted(subprotocol=chosen))
    assert isinstance(answer, Reject)
    assert answer.status == 500


def test_an_empty_user_id_is_an_anonymous_user() -> None:
    hub = make_hub()
    hub.connect(1, ConnectRequest(connection_id="c-1", user_id="ann"))
    hub.answer_connect(1, ConnectAccepted(user_id=""))
    hub.transport_opened(1)
    assert hub.registry.connections["c-1"].user_id is None
    assert hub.registry.users == {}
