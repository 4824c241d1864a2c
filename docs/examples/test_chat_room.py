"""How the chat application gets over a bad network."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from chat_room import MISSED, ChatRoom
from trio.testing import MockClock

from trio_webpubsub.emulator import Emulator
from trio_webpubsub.testing import OpenClient, SimulatedNetwork, play, random_faults


@pytest.fixture
async def rooms(webpubsub_client: OpenClient, nursery: trio.Nursery) -> AsyncGenerator[tuple[ChatRoom, ChatRoom]]:
    """Two people in the lobby."""
    async with webpubsub_client("ann") as ann, webpubsub_client("ben") as ben:
        rooms = ChatRoom(ann), ChatRoom(ben)
        for room in rooms:
            await nursery.start(room.run)
        yield rooms


async def test_a_short_drop_is_not_even_noticed(
    autojump_clock: MockClock, rooms: tuple[ChatRoom, ChatRoom], webpubsub_network: SimulatedNetwork
) -> None:
    ann, ben = rooms
    webpubsub_network.cut("reset", "ann")
    await ben.say("did you hear that?")
    await trio.sleep(1)
    assert ann.lines == ["ben: did you hear that?"]


async def test_twenty_minutes_without_a_network(
    autojump_clock: MockClock, rooms: tuple[ChatRoom, ChatRoom], webpubsub_network: SimulatedNetwork
) -> None:
    ann, ben = rooms
    await ben.say("hello")
    with webpubsub_network.partition("ann"):
        await trio.sleep(60)
        await ben.say("are you there?")
        await trio.sleep(20 * 60)
    await trio.sleep(60)  # until ann's client has tried again
    await ben.say("welcome back")
    await trio.sleep(1)
    assert ann.lines == ["ben: hello", MISSED, "ben: welcome back"]


async def test_the_service_forgets_everybody_in_the_middle_of_a_word(
    autojump_clock: MockClock,
    rooms: tuple[ChatRoom, ChatRoom],
    webpubsub_network: SimulatedNetwork,
    webpubsub_emulator: Emulator,
) -> None:
    ann, ben = rooms
    with webpubsub_network.disturb(latency=0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ann.say, "anybody?")
            await trio.sleep(0.1)
            webpubsub_emulator.restart(keep_state=False)
    await trio.sleep(60)
    await ben.say("yes")
    await trio.sleep(1)
    assert ann.lines == ["(perhaps nobody heard you say 'anybody?')", MISSED, "ben: yes"]


@pytest.mark.parametrize("webpubsub_seed", range(10))
async def test_a_bad_hour(
    autojump_clock: MockClock,
    rooms: tuple[ChatRoom, ChatRoom],
    webpubsub_network: SimulatedNetwork,
    webpubsub_emulator: Emulator,
    webpubsub_seed: int,
) -> None:
    ann, ben = rooms
    faults = random_faults(webpubsub_seed, 20, within=3600, clients=["ann", "ben"])
    await play(faults, webpubsub_network, webpubsub_emulator, hub="chat")
    await trio.sleep(120)
    await ben.say("over")
    await trio.sleep(60)
    assert ann.lines[-1] == ben.lines[-1] == "ben: over"
