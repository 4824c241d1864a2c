"""What servers send."""

from __future__ import annotations

import pytest

from tests.emulator.hub.driver import (
    make_hub,
    open_connection,
    received,
    send_to_all,
    send_to_connection,
    send_to_group,
    send_to_user,
    text,
)
from trio_webpubsub.emulator.hub import Deliver, Hub
from trio_webpubsub.protocol.wire import DataMessage


@pytest.fixture
def hub() -> Hub:
    """Ann on 1 and 2, Bob on 3, somebody on 4; 1 and 3 are in the lobby, 2 is reliable."""
    hub = make_hub()
    open_connection(hub, 1, user_id="ann", groups=["lobby"])
    open_connection(hub, 2, user_id="ann", reliable=True)
    open_connection(hub, 3, user_id="bob", groups=["lobby"])
    open_connection(hub, 4)
    return hub


METADATA = {"k": "v"}


def test_to_all(hub: Hub) -> None:
    message = DataMessage(payload=text("hi"), metadata=METADATA)
    recipients = [(1, None), (2, 1), (3, None), (4, None)]
    assert send_to_all(hub, text("hi"), metadata=METADATA) == [Deliver(message, recipients)]


def test_to_all_but_some(hub: Hub) -> None:
    message = DataMessage(payload=text("hi"))
    assert send_to_all(hub, text("hi"), excluded=["c-2", "c-4", "nobody"]) == [Deliver(message, [(1, None), (3, None)])]


def test_to_a_group(hub: Hub) -> None:
    message = DataMessage(payload=text("hi"), group="lobby", metadata=METADATA)
    assert send_to_group(hub, "lobby", text("hi"), metadata=METADATA) == [Deliver(message, [(1, None), (3, None)])]


def test_to_a_group_but_some(hub: Hub) -> None:
    effects = send_to_group(hub, "lobby", text("hi"), excluded={"c-1"})
    assert effects == [Deliver(DataMessage(payload=text("hi"), group="lobby"), [(3, None)])]


def test_to_a_user(hub: Hub) -> None:
    message = DataMessage(payload=text("hi"), metadata=METADATA)
    assert send_to_user(hub, "ann", text("hi"), metadata=METADATA) == [Deliver(message, [(1, None), (2, 1)])]


def test_to_a_connection(hub: Hub) -> None:
    message = DataMessage(payload=text("hi"), metadata=METADATA)
    assert send_to_connection(hub, "c-4", text("hi"), metadata=METADATA) == [Deliver(message, [(4, None)])]


def test_to_nobody(hub: Hub) -> None:
    assert send_to_group(hub, "hall", text("hi")) == []
    assert send_to_user(hub, "eve", text("hi")) == []
    assert send_to_connection(hub, "c-9", text("hi")) == []
    assert send_to_all(make_hub(), text("hi")) == []


def test_each_reliable_recipient_has_sequence_ids_of_its_own(hub: Hub) -> None:
    send_to_connection(hub, "c-2", text("for two"))
    open_connection(hub, 5, reliable=True)
    effects = send_to_all(hub, text("for all"))
    assert received(effects, 2) == [("for all", 2)]
    assert received(effects, 5) == [("for all", 1)]
