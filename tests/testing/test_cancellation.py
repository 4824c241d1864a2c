"""Calls cancelled at a checkpoint of one's choice."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_webpubsub.testing import cancel_at


async def test_a_call_is_cancelled_at_each_of_its_checkpoints(autojump_clock: MockClock) -> None:
    reached: list[int] = []

    async def call(steps: int) -> None:
        for step in range(steps):
            reached.append(step)
            await trio.sleep(1)

    assert not await cancel_at(1, call, 3)
    assert reached == [0]
    assert not await cancel_at(3, call, 3)
    assert reached == [0, 0, 1, 2]
    assert await cancel_at(4, call, 3)


async def test_the_steps_of_all_tasks_count_too(autojump_clock: MockClock) -> None:
    async def others() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing, but takes steps
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        start = trio.current_time()
        assert not await cancel_at(10, trio.sleep, 3600, every_task=True)
        assert trio.current_time() - start < 10
        nursery.cancel_scope.cancel()


async def test_what_the_call_raises_comes_out(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise LookupError

    try:
        await cancel_at(5, fail)
    except LookupError:
        return
    raise AssertionError
