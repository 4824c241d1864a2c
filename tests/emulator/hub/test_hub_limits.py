"""How many connections a hub has, and how many groups a connection."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.emulator.hub.driver import PLAIN, error_name, make_hub, open_connection
from trio_webpubsub.emulator.hub import ConnectAccepted, ConnectRequest, Hub, Reject, Send, Upgrade
from trio_webpubsub.emulator.hub.lifetimes import TooManyGroups
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import Ack, JoinGroup, LeaveGroup


def connect(hub: Hub, transport: int, groups: Sequence[str] | None = None) -> Upgrade | Reject:
    hub.connect(transport, ConnectRequest(connection_id=f"c-{transport}", subprotocols=[PLAIN]))
    return hub.answer_connect(transport, ConnectAccepted(groups=groups))


def test_a_hub_takes_so_many_connections() -> None:
    hub = make_hub(HubLimits(connections=2))
    open_connection(hub, 1)
    assert isinstance(connect(hub, 2), Upgrade)  # not open yet, but it counts
    refused = connect(hub, 3)
    assert isinstance(refused, Reject)
    assert refused.status == 429
    hub.transport_ended(2, code=None, now=0)
    assert isinstance(connect(hub, 4), Upgrade)


def test_a_session_that_waits_for_its_client_counts() -> None:
    hub = make_hub(HubLimits(connections=1, recovery_window=10))
    open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    assert isinstance(connect(hub, 2), Reject)
    hub.handle_timeout(10)
    assert isinstance(connect(hub, 3), Upgrade)


def test_a_connection_begins_in_so_many_groups() -> None:
    hub = make_hub(HubLimits(groups=2))
    assert isinstance(connect(hub, 1, groups=["a", "b", "a"]), Upgrade)
    refused = connect(hub, 2, groups=["a", "b", "c"])
    assert isinstance(refused, Reject)
    assert refused.status == 400
    assert hub.transport_opened(2) == []


def test_a_connection_joins_so_many_groups() -> None:
    hub = make_hub(HubLimits(groups=2))
    open_connection(hub, 1, groups=["a", "b"])
    assert error_name(hub.receive(1, JoinGroup("c", 1), now=0)) == "BadRequest"
    assert hub.receive(1, JoinGroup("b", 2), now=0) == [Send(1, Ack(2, success=True))]
    assert hub.receive(1, LeaveGroup("a", 3), now=0) == [Send(1, Ack(3, success=True))]
    assert hub.receive(1, JoinGroup("c", 4), now=0) == [Send(1, Ack(4, success=True))]
    assert list(hub.registry.connections["c-1"].groups) == ["b", "c"]


def test_servers_bring_a_connection_into_so_many_groups() -> None:
    hub = make_hub(HubLimits(groups=2))
    open_connection(hub, 1)
    open_connection(hub, 2, groups=["a"])
    with pytest.raises(TooManyGroups, match="at most 2 groups"):
        hub.join(hub.registry.select(), ["b", "c"])
    assert hub.registry.groups.keys() == {"a"}
    hub.join(hub.registry.select(), iter(["a", "b"]))
    assert {group: len(members) for group, members in hub.registry.groups.items()} == {"a": 2, "b": 2}
