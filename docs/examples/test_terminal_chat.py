"""The terminal chat, without a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from terminal_chat import chat
from trio.testing import MockClock

from trio_webpubsub.emulator import Emulator
from trio_webpubsub.testing import OpenClient, OpenService, SimulatedNetwork


class Person:
    """Somebody at a terminal."""

    def __init__(self) -> None:
        self.keyboard, self.typed = trio.open_memory_channel[str](0)
        self.screen: list[str] = []


@pytest.fixture
async def people(
    autojump_clock: MockClock, webpubsub_client: OpenClient, nursery: trio.Nursery
) -> AsyncGenerator[tuple[Person, Person]]:
    """Two of them, in the lobby."""
    ann, ben = Person(), Person()
    async with webpubsub_client("ann") as of_ann, webpubsub_client("ben") as of_ben:
        for person, client in (ann, of_ann), (ben, of_ben):
            nursery.start_soon(chat, client, "lobby", person.typed, person.screen.append)
        await trio.testing.wait_all_tasks_blocked()
        yield ann, ben


async def test_what_one_types_the_other_sees(autojump_clock: MockClock, people: tuple[Person, Person]) -> None:
    ann, ben = people
    await ann.keyboard.send("Hello")
    await ann.keyboard.send("")
    await ben.keyboard.send("Hi")
    await trio.sleep(1)
    assert ann.screen == ["* You are in the lobby, and are called ann.", "ben: Hi"]
    assert ben.screen == ["* You are in the lobby, and are called ben.", "ann: Hello"]


async def test_nobody_plays_with_the_terminal_of_others(
    autojump_clock: MockClock, people: tuple[Person, Person], webpubsub_service: OpenService
) -> None:
    ann, ben = people
    await ben.keyboard.send("\x1b[2Jgone\nann: I am a fool")
    await trio.sleep(1)
    assert ann.screen[1:] == ["ben: ?[2Jgone?ann: I am a fool"]


async def test_a_break_is_told_and_costs_nothing(
    autojump_clock: MockClock, people: tuple[Person, Person], webpubsub_network: SimulatedNetwork
) -> None:
    ann, ben = people
    with webpubsub_network.unreachable("ann"):
        await trio.sleep(1)
        await ben.keyboard.send("Still there?")
        await trio.sleep(5)
    await trio.sleep(20)
    assert ann.screen[1] == "* The connection is lost..."
    # Two tasks write the rest, and either may be the first.
    assert set(ann.screen[2:]) == {"* ... and back, with all that was said.", "ben: Still there?"}


async def test_what_is_lost_is_told(
    autojump_clock: MockClock,
    people: tuple[Person, Person],
    webpubsub_network: SimulatedNetwork,
    webpubsub_emulator: Emulator,
) -> None:
    ann, ben = people
    with webpubsub_network.disturb(latency=0.5):
        await ben.keyboard.send("Anybody?")
        await trio.sleep(0.1)
        webpubsub_emulator.restart(keep_state=False)
    await trio.sleep(60)
    assert set(ann.screen[1:]) == {
        "* The connection is lost...",
        "* ... and there is a new one.",
        "* You may have missed something.",
    }
    assert "* Perhaps nobody heard you say 'Anybody?'." in ben.screen


async def test_the_end_of_what_is_typed_ends_the_chat(
    autojump_clock: MockClock, people: tuple[Person, Person], nursery: trio.Nursery
) -> None:
    for person in people:
        person.keyboard.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
