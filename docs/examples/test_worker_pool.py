"""What the worker pool promises: every job is done, and there are never more of them than the window has room for."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock
from worker_pool import JOBS, RESULTS, Customer, Result, run_pool

from trio_webpubsub import SubscriptionOverflow
from trio_webpubsub.emulator import Emulator, ReceivedMessage
from trio_webpubsub.testing import OpenClient, SimulatedNetwork


async def have_done(customer: Customer, jobs: int) -> dict[int, Result]:
    """Have many jobs done at once."""
    results: dict[int, Result] = {}

    async def order(number: int) -> None:
        results[number] = await customer.ask(number)

    async with trio.open_nursery() as orders:
        for number in range(jobs):
            orders.start_soon(order, number)
    return results


def most_on_their_way(emulator: Emulator) -> int:
    """Count how many jobs without a result there were at most, by what the service received."""
    most = now = 0
    for each in emulator.received():
        if isinstance(each, ReceivedMessage) and each.type == "sendToGroup":
            now += {JOBS: 1, RESULTS: -1}[str(each.group)]
            most = max(most, now)
    return most


async def test_the_customer_is_as_quick_as_the_pool(
    autojump_clock: MockClock, webpubsub_client: OpenClient, webpubsub_emulator: Emulator, nursery: trio.Nursery
) -> None:
    async with webpubsub_client("pool") as of_pool, webpubsub_client("customer") as of_customer:
        customer = Customer(of_customer, window=8)
        await nursery.start(run_pool, of_pool, 4, 8)
        await nursery.start(customer.listen)
        start = trio.current_time()
        results = await have_done(customer, jobs=100)
        assert {number: result.square for number, result in results.items()} == {n: n * n for n in range(100)}
        assert {result.worker for result in results.values()} == {f"worker {n}" for n in (1, 2, 3, 4)}
        assert trio.current_time() - start == pytest.approx(100 / 4 * 0.05)
        assert most_on_their_way(webpubsub_emulator) == 8


async def test_without_a_window_the_pool_is_overrun(autojump_clock: MockClock, webpubsub_client: OpenClient) -> None:
    async with webpubsub_client("pool") as of_pool, webpubsub_client("customer") as of_customer:
        customer = Customer(of_customer, window=1_000)
        with pytest.raises(ExceptionGroup) as raised:
            async with trio.open_nursery() as nursery:
                await nursery.start(run_pool, of_pool, 4, 8)
                await have_done(customer, jobs=100)
        assert raised.group_contains(SubscriptionOverflow)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25])
async def test_a_lost_session_loses_no_job(
    autojump_clock: MockClock,
    webpubsub_client: OpenClient,
    webpubsub_network: SimulatedNetwork,
    webpubsub_emulator: Emulator,
    nursery: trio.Nursery,
    moment: float,
) -> None:
    async with webpubsub_client("pool") as of_pool, webpubsub_client("customer") as of_customer:
        customer = Customer(of_customer, window=8)
        await nursery.start(run_pool, of_pool, 4, 100)
        await nursery.start(customer.listen)

        async def fail_in_the_middle() -> None:
            await trio.sleep(moment)
            webpubsub_emulator.restart(keep_state=False)

        nursery.start_soon(fail_in_the_middle)
        with webpubsub_network.disturb(latency=0.05):
            assert len(await have_done(customer, jobs=20)) == 20


async def test_what_is_no_job_is_passed_over(
    autojump_clock: MockClock,
    webpubsub_client: OpenClient,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with webpubsub_client("pool") as of_pool, webpubsub_client("customer") as of_customer:
        customer = Customer(of_customer, window=8)
        await nursery.start(run_pool, of_pool, 1, 8)
        await nursery.start(customer.listen)
        await of_customer.send_to_group(JOBS, {"number": "many"})
        assert (await customer.ask(3)).square == 9
        assert "worker 1 passes over what is no job" in capsys.readouterr().out


async def test_a_network_that_is_gone_for_a_while_delays_the_jobs(
    autojump_clock: MockClock, webpubsub_client: OpenClient, webpubsub_network: SimulatedNetwork, nursery: trio.Nursery
) -> None:
    async with webpubsub_client("pool") as of_pool, webpubsub_client("customer") as of_customer:
        customer = Customer(of_customer, window=8, patience=60)
        await nursery.start(run_pool, of_pool, 4, 8)
        await nursery.start(customer.listen)
        with webpubsub_network.unreachable("pool"):
            with trio.move_on_after(5) as too_short:
                await customer.ask(5)
            assert too_short.cancelled_caught
        assert (await customer.ask(6)).square == 36
