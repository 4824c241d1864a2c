"""A pool of workers takes jobs from a group; a window keeps its customers from asking for more than it can do."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from functools import partial

import trio
from web_pubsub import open_web_pubsub, run

from trio_webpubsub import Client, GroupMessage, InvalidPayload, Subscription, open_client
from trio_webpubsub.service import open_service

JOBS, RESULTS = "jobs", "results"


@dataclass(frozen=True)
class Job:
    """What is to be done. It may be done twice, which has to be harmless."""

    number: int


@dataclass(frozen=True)
class Result:
    """What came of a job."""

    number: int
    square: int
    worker: str


async def work(name: str, jobs: Subscription[GroupMessage], client: Client) -> None:
    """Do one job after the other."""
    async for message in jobs:
        try:
            job = message.decode_as(Job)
        except InvalidPayload as error:
            print(f"{name} passes over what is no job: {error}")
            continue
        await trio.sleep(0.05)  # here a real worker computes, in a thread or a process, or asks others
        result = Result(job.number, job.number**2, name)
        await client.send_to_group(RESULTS, asdict(result), repeat_in_new_session=True)  # it may arrive twice


async def run_pool(client: Client, workers: int, backlog: int, *, task_status: trio.TaskStatus[None]) -> None:
    """Let some tasks share a subscription: each job goes to one of them, whoever is free. It fails if more pile up."""
    async with client.group_messages(JOBS, buffer=backlog) as jobs, trio.open_nursery() as nursery:
        for number in range(workers):
            nursery.start_soon(work, f"worker {number + 1}", jobs, client)
        task_status.started()


class Customer:
    """Has jobs done, and never more of them at once than its window has room for.

    A group holds nobody back: it hands on what is sent to it, as quickly as it comes. So the window is what pushes
    back. It has room again when a result comes, which makes the customer exactly as quick as the pool.
    """

    def __init__(self, client: Client, window: int, *, patience: float = 10.0) -> None:
        self._client = client
        self._window = trio.CapacityLimiter(window)
        self._patience = patience
        self._waiting: dict[int, trio.MemorySendChannel[Result]] = {}

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hand results to those who wait for them."""
        async with self._client.group_messages(RESULTS) as results:
            task_status.started()
            async for message in results:
                result = message.decode_as(Result)
                if waiting := self._waiting.pop(result.number, None):  # nobody waits for what was done twice
                    waiting.send_nowait(result)

    async def ask(self, number: int) -> Result:
        """Have one job done. A lost session may lose it, so it is asked for again when no result comes."""
        async with self._window:
            self._waiting[number], result = trio.open_memory_channel[Result](1)
            try:
                while True:
                    await self._client.send_to_group(JOBS, asdict(Job(number)), repeat_in_new_session=True)
                    with trio.move_on_after(self._patience):
                        return await result.receive()
            finally:
                self._waiting.pop(number, None)


async def main(jobs: int, workers: int, window: int) -> None:
    """Let a customer and a pool meet; usually they are programs of their own."""

    async def order(number: int) -> None:
        result = await customer.ask(number)
        print(f"{result.number} squared is {result.square}, says {result.worker}", flush=True)

    roles = [f"webpubsub.{role}.{group}" for role in ("joinLeaveGroup", "sendToGroup") for group in (JOBS, RESULTS)]
    async with (
        open_web_pubsub() as connection_string,
        open_service(connection_string, hub="factory") as service,
        open_client(partial(service.client_access_url, user_id="pool", roles=roles)) as of_pool,
        open_client(partial(service.client_access_url, user_id="customer", roles=roles)) as of_customer,
        trio.open_nursery() as background,
    ):
        customer = Customer(of_customer, window)
        await background.start(run_pool, of_pool, workers, 2 * window)  # the window, and what is asked for again
        await background.start(customer.listen)
        async with trio.open_nursery() as orders:
            for number in range(jobs):
                orders.start_soon(order, number)
        background.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=40, help="how many there are (%(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="how many are done at once (%(default)s)")
    parser.add_argument("--window", type=int, default=8, help="how many are on their way at once (%(default)s)")
    options = parser.parse_args()
    if options.workers < 1 or options.window < 1:
        parser.error("without workers, or room for a job in the window, nothing would ever be done")
    run(main, options.jobs, options.workers, options.window)
