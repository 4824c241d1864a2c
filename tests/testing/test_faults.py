"""Faults planned and played, of every kind."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import (
    ConnectAttemptFailed,
    Connected,
    Disconnected,
    Lifecycle,
    Recovered,
    Subscription,
    open_client,
)
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.testing import FAULT_KINDS, Fault, FaultKind, SimulatedNetwork, play, random_faults

HARMLESS: set[FaultKind] = {
    *("latency", "jitter", "split", "trickle", "refuse", "stall", "hold_acks", "lose_acks", "repeat_acks"),
    *("stale_replay", "provider_raises", "provider_hangs", "provider_repeats"),
}
"""Kinds that do not break the link of a client which has nothing to do."""
SESSION_LOST: set[FaultKind] = {"forget_session", "restart_without_state"}


async def keep(news: Subscription[Lifecycle], where: list[Lifecycle]) -> None:
    async for one in news:
        where.append(one)  # noqa: PERF401 - all but the last would be lost when this is cancelled


@pytest.mark.parametrize("client", ["ann", None])
@pytest.mark.parametrize("kind", FAULT_KINDS)
async def test_a_client_gets_over_every_kind_of_fault(
    autojump_clock: MockClock, kind: FaultKind, client: str | None
) -> None:
    network = SimulatedNetwork()
    news: list[Lifecycle] = []
    async with open_emulator(in_memory=True) as emulator:

        async def url() -> str:
            return emulator.client_url("chat", user_id="ann")

        async with (
            open_client(network.provider(url, "ann"), connector=network.connector(emulator, "ann")) as ann,
            trio.open_nursery() as nursery,
        ):
            watching = ann.lifecycle()

            nursery.start_soon(keep, watching, news)
            code = {"close": 1012, "refuse": 503}.get(kind, 0)
            await play([Fault(5.0, kind, client, 15.0, code)], network, emulator, hub="chat")
            await trio.sleep(120)
            await ann.send_to_group("g", "hello")
            nursery.cancel_scope.cancel()
        told = {type(one) for one in news[1:]} - {ConnectAttemptFailed}
        if kind in HARMLESS:
            assert told == set()
        elif kind in SESSION_LOST:
            assert told == {Disconnected, Connected}
        else:
            assert told == {Disconnected, Recovered} or kind.startswith("partition")


async def test_a_plan_follows_from_its_seed() -> None:
    plan = random_faults(5, 300, within=60, clients=["ann", "ben"])
    assert plan == random_faults(5, 300, within=60, clients=["ann", "ben"])
    assert plan != random_faults(6, 300, within=60, clients=["ann", "ben"])
    assert {fault.kind for fault in plan} == set(FAULT_KINDS)
    assert {fault.client for fault in plan} == {"ann", "ben", None}
    assert plan == sorted(plan, key=lambda fault: fault.at)
    assert all(0 <= fault.at <= 60 for fault in plan)
    assert all((fault.code != 0) == (fault.kind in ("close", "refuse")) for fault in plan)


async def test_a_plan_is_played_in_the_order_of_time(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    async with open_emulator(in_memory=True) as emulator:
        network.connector(emulator, "ann")
        plan = [Fault(9.0, "partition", "ann", 2.0), Fault(4.0, "latency", "ann", 1.0)]
        start = trio.current_time()
        await play(plan, network, emulator, hub="chat")
        assert trio.current_time() - start == 11


async def test_lost_sequence_acks_bring_back_what_was_heard(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator:
        async with open_client(emulator.client_url("chat"), connector=emulator.connector) as client:
            assert client.connection_id is not None
            with emulator.lose_sequence_acks(client.connection_id):
                await client.join_group("g")
                await client.send_to_group("g", "once")
                await trio.sleep(2)
            emulator.cut(client.connection_id)
            await trio.sleep(1)
            assert client.statistics().repeated == 1
            assert await _repeats(emulator, client.connection_id) == 0
        with pytest.raises(LookupError), emulator.lose_sequence_acks("nobody"):
            pass


async def _repeats(emulator: Emulator, connection_id: str) -> int:
    """Count what the service keeps for a client after it was heard again."""
    await trio.sleep(2)
    (hub,) = emulator._switchboard.hubs
    session = hub.registry.connections[connection_id].session
    assert session is not None
    return len(session.unconfirmed._messages)


async def test_a_plan_may_name_a_client_that_is_not_there_yet(autojump_clock: MockClock) -> None:
    faults = random_faults(1, 300, within=10, clients=["bob"])
    assert {fault.kind for fault in faults if fault.client} == set(FAULT_KINDS)
    async with open_emulator(in_memory=True) as emulator:
        await play(faults, SimulatedNetwork(), emulator, hub="chat")
