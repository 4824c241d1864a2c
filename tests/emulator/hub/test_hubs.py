from __future__ import annotations

import math

from tests.emulator.hub.driver import open_connection
from trio_webpubsub.emulator.hub import ConnectAccepted, ConnectRequest, Hubs
from trio_webpubsub.emulator.hub.limits import HubLimits


def test_the_case_of_a_name_does_not_matter() -> None:
    hubs = Hubs(HubLimits())
    assert hubs.hub("Chat") is hubs.hub("chAT")


def test_who_only_looks_makes_no_hub() -> None:
    hubs = Hubs(HubLimits())
    assert hubs.hub("a", keep=False).registry.connections == {}
    assert list(hubs) == []
    assert hubs.hub("a", keep=False) is not hubs.hub("a")
    assert hubs.hub("A", keep=False) is hubs.hub("a")


def test_a_hub_has_a_name() -> None:
    assert Hubs(HubLimits()).hub("Chat").name == "chat"


def test_of_many_hubs_those_are_forgotten_that_nobody_is_in() -> None:
    hubs = Hubs(HubLimits())
    open_connection(hubs.hub("entered"), 1)
    hubs.hub("asked").connect(2, ConnectRequest(connection_id="c-2"))
    hubs.hub("accepted").connect(3, ConnectRequest(connection_id="c-3"))
    hubs.hub("accepted").answer_connect(3, ConnectAccepted())
    for number in range(10_000):
        hubs.hub(f"h{number}")
    kept = [hub.name for hub in hubs]
    assert kept[:3] == ["entered", "asked", "accepted"]
    assert len(kept) <= 1_000


def test_hubs_that_somebody_is_in_are_kept_however_many() -> None:
    hubs = Hubs(HubLimits())
    for number in range(3_000):
        open_connection(hubs.hub(f"h{number}"), number)
    assert len(list(hubs)) == 3_000


def test_hubs_share_nothing() -> None:
    hubs = Hubs(HubLimits())
    open_connection(hubs.hub("a"), 1)
    assert hubs.hub("b").registry.connections == {}
    assert list(hubs) == [hubs.hub("a"), hubs.hub("b")]


def test_the_next_deadline_is_that_of_the_first_hub_in_need() -> None:
    hubs = Hubs(HubLimits(recovery_window=30))
    assert hubs.next_deadline == math.inf
    for name, transport, now in (("a", 1, 5.0), ("b", 2, 3.0)):
        open_connection(hubs.hub(name), transport, reliable=True)
        hubs.hub(name).transport_ended(transport, code=None, now=now)
    assert hubs.next_deadline == 33
    hubs.handle_timeout(34)
    assert hubs.hub("b").registry.connections == {}
    assert hubs.next_deadline == 35


def test_the_switch_reaches_every_hub() -> None:
    hub = Hubs(HubLimits(), connected_after_recovery=False).hub("a")
    token = open_connection(hub, 1, reliable=True)
    hub.transport_ended(1, code=None, now=0)
    assert hub.recover(2, "c-1", token, now=1) == []


def test_what_is_announced_depends_on_the_hub() -> None:
    hubs = Hubs(HubLimits(), announced=lambda name: ["joined"] if name == "a" else [])
    for name, told in (("A", 1), ("b", 0)):
        open_connection(hubs.hub(name), 1)
        assert len(hubs.hub(name).join(hubs.hub(name).registry.select(), ["lobby"])) == told
