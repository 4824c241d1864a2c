"""What event handlers are told about connections without being asked."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.emulator.hub.driver import make_hub, open_connection, send_to_all, text
from trio_webpubsub.emulator.hub import ConnectAccepted, ConnectRequest, Effect, Hub, Notice, Notify, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import ConnectedMessage, JoinGroup, LeaveGroup

ALL: tuple[Notice, ...] = get_args(Notice)


def opened(hub: Hub, subprotocol: str = "json.reliable.webpubsub.azure.v1") -> list[Effect]:
    request = ConnectRequest(
        connection_id="c-1",
        subprotocols=[subprotocol],
        user_id="ann",
        roles=["webpubsub.joinLeaveGroup"],
        groups=["lobby"],
    )
    hub.connect(1, request)
    hub.answer_connect(1, ConnectAccepted())
    return hub.transport_opened(1)


def notices(effects: list[Effect]) -> list[tuple[str, str]]:
    """What was told, all of it about the same connection."""
    told = [effect for effect in effects if isinstance(effect, Notify)]
    assert {(notice.connection_id, notice.user_id) for notice in told} <= {("c-1", "ann")}
    return [(notice.notice, notice.detail) for notice in told]


def test_a_new_connection_is_told_with_its_groups_after_its_client_knows() -> None:
    first, *rest = opened(make_hub(announced=ALL))
    assert isinstance(first, Send)
    assert isinstance(first.message, ConnectedMessage)
    assert notices(rest) == [("connected", ""), ("joined", "lobby")]


def test_what_nobody_wants_to_hear_is_not_told() -> None:
    hub = make_hub(announced=["joined"])
    assert notices(opened(hub)) == [("joined", "lobby")]
    assert notices(hub.transport_ended(1, code=1000, now=0)) == []


def test_a_recovery_is_not_told() -> None:
    hub = make_hub(announced=ALL)
    token = open_connection(make_hub(), 9, reliable=True)
    opened(hub)
    session = hub.registry.connections["c-1"].session
    assert session is not None
    token = session.tokens.issue()
    assert notices(hub.transport_ended(1, code=None, now=0)) == []
    assert notices(hub.recover(2, "c-1", token, now=1)) == []


def test_joining_and_leaving_are_told_once() -> None:
    hub = make_hub(announced=ALL)
    opened(hub)
    assert notices(hub.receive(1, JoinGroup("hall"), now=0)) == [("joined", "hall")]
    assert notices(hub.receive(1, JoinGroup("hall"), now=0)) == []
    assert notices(hub.receive(1, LeaveGroup("hall"), now=0)) == [("left", "hall")]
    assert notices(hub.receive(1, LeaveGroup("hall"), now=0)) == []


def test_a_server_makes_connections_join_and_leave() -> None:
    hub = make_hub(announced=ALL)
    opened(hub)
    everybody = hub.registry.select()
    assert notices(hub.join(everybody, ["lobby", "hall"])) == [("joined", "hall")]
    assert notices(hub.leave(everybody, ["lobby", "attic"])) == [("left", "lobby")]
    assert list(hub.registry.groups) == ["hall"]


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (None, "The connection was lost."), (1001, "")], ids=["1000", "none", "1001"]
)
def test_the_end_of_a_plain_connection_is_told_after_its_groups(code: int | None, reason: str) -> None:
    hub = make_hub(announced=ALL)
    opened(hub, "json.webpubsub.azure.v1")
    assert notices(hub.transport_ended(1, code=code, now=0)) == [("left", "lobby"), ("disconnected", reason)]


def test_the_end_of_a_session_is_told_when_its_window_has_passed() -> None:
    hub = make_hub(announced=ALL)
    opened(hub)
    assert notices(hub.transport_ended(1, code=None, now=0)) == []
    assert notices(hub.handle_timeout(29)) == []
    told = hub.handle_timeout(30)
    assert notices(told) == [("left", "lobby"), ("disconnected", "The client did not come back in time.")]


def test_a_deliberate_close_is_told_with_its_reason() -> None:
    hub = make_hub(announced=ALL)
    opened(hub)
    assert notices(hub.close_connection("c-1", reason="away")) == [("left", "lobby"), ("disconnected", "away")]


def test_a_lost_session_is_told() -> None:
    hub = make_hub(announced=["disconnected"])
    opened(hub)
    assert notices(hub.forget_session("c-1")) == [("disconnected", "The connection was lost.")]


def test_a_client_that_does_not_keep_up_is_told_as_a_slow_one() -> None:
    hub = make_hub(HubLimits(unacknowledged_messages=1), announced=["disconnected"])
    opened(hub)
    send_to_all(hub, text("a"))
    assert notices(send_to_all(hub, text("b"))) == [("disconnected", "SlowClient")]


def test_a_client_that_was_accepted_and_left_before_its_upgrade_is_told_as_disconnected() -> None:
    hub = make_hub(announced=ALL)
    hub.connect(1, ConnectRequest(connection_id="c-1", user_id="ann"))
    hub.answer_connect(1, ConnectAccepted())
    assert notices(hub.transport_ended(1, code=None, now=0)) == [("disconnected", "The connection was lost.")]
