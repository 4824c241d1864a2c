"""Chance that follows from a seed."""

from __future__ import annotations

import os
import random

import trio
import trio.testing

from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.testing import seeded, simulate
from trio_webpubsub.testing.determinism import EPOCH


async def shuffled() -> list[object]:
    """Find out all that is left to chance."""
    order: list[object] = []

    async def run(number: int) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(run, number)
    await trio.sleep(3600)
    return [*order, random.random(), os.urandom(8), wall_time()]


def test_one_seed_gives_one_run() -> None:
    runs = [simulate(shuffled, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0][:50] != runs[2][:50]
    assert runs[0][-1] == EPOCH + 3600


def test_afterwards_chance_is_what_it_was() -> None:
    random.seed(7)
    state, urandom = random.getstate(), os.urandom

    async def main(value: str) -> str:
        return value

    assert simulate(main, "returned", seed=1) == "returned"
    assert random.getstate() == state
    assert os.urandom is urandom


async def test_a_part_of_a_program_can_be_seeded(autojump_clock: trio.testing.MockClock) -> None:
    with seeded(4):
        first = await shuffled()
    with seeded(4):
        second = await shuffled()
    assert first == second
