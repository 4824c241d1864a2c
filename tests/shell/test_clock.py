from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub._shell.randomness import system_bytes


async def test_wall_time_goes_with_the_clock_of_the_run(autojump_clock: MockClock) -> None:
    before = wall_time()
    await trio.sleep(3600)
    assert wall_time() == before + 3600


def test_each_run_starts_at_the_real_time() -> None:
    async def ask() -> float:
        await trio.sleep(36_000)
        return wall_time()

    for _ in range(2):
        earliest = time.time()
        found = trio.run(ask, clock=MockClock(autojump_threshold=0))
        assert earliest <= found <= time.time()


async def test_time_in_which_the_machine_slept_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    before, real_time = wall_time(), time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + 7200)
    assert wall_time() >= before + 7200


def test_random_bytes_are_as_many_as_asked_for() -> None:
    assert len(system_bytes(16)) == 16
    assert system_bytes(16) != system_bytes(16)
