"""The client of this package: ``python ours.py SCENARIO URL COUNT SIZE`` prints seconds."""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from trio_webpubsub import Client, open_client


async def receive(client: Client, count: int) -> float:
    """Receive messages in one subscription, one after another."""
    came = 0
    async with client.group_messages("lobby", join=False) as messages:
        start = time.perf_counter()
        await client.send_to_group("go", "go", ack=False)
        async for _ in messages:
            came += 1
            if came == count:
                break
    return time.perf_counter() - start


async def batches(client: Client, count: int) -> float:
    """The same in lists."""
    came = 0
    async with client.group_messages("lobby", join=False) as messages:
        start = time.perf_counter()
        await client.send_to_group("go", "go", ack=False)
        async for batch in messages.batches():
            came += len(batch)
            if came >= count:
                break
    return time.perf_counter() - start


async def fan_out(client: Client, count: int) -> float:
    """Receive messages in each of a hundred subscriptions."""
    begun = 0.0

    async def one(*, task_status: trio.TaskStatus[None]) -> None:
        came = 0
        async with client.group_messages("lobby", join=False) as messages:
            task_status.started()
            async for batch in messages.batches():
                came += len(batch)
                if came >= count:
                    return

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            await nursery.start(one)
        begun = time.perf_counter()
        await client.send_to_group("go", "go", ack=False)
    return time.perf_counter() - begun


async def many_groups(client: Client, count: int, groups: int) -> float:
    """Receive in one subscription beside many others, for whose groups nothing comes."""
    async with AsyncExitStack() as stack:
        for number in range(groups - 1):
            await stack.enter_async_context(client.group_messages(f"group {number}", join=False))
        return await receive(client, count)


async def idle(url: str, clients: int) -> float:
    """Give the KB of memory that one of many idle clients takes."""
    async with AsyncExitStack() as stack:
        before = 0
        for number in range(clients + 20):
            if number == 20:
                before = memory()
            await stack.enter_async_context(open_client(url, reconnect=None))
        each = (memory() - before) / clients / 1024
        stack.pop_all()  # what is left is ended with the process
        print(each, flush=True)
        os._exit(0)


async def sleep(url: str, clients: int, interval: float) -> float:
    """Give how much of a core many clients take, in percent, that ping once in 20 seconds or never.

    They do so once in ``interval`` seconds here, and what that costs is divided by 20 seconds: it takes less time.
    """
    async with AsyncExitStack() as stack:
        for _ in range(clients):
            await stack.enter_async_context(open_client(url, reconnect=None, keep_alive_interval=interval))
        await trio.sleep(1)
        before = time.process_time()
        await trio.sleep(min(interval, 4))
        seconds = time.process_time() - before
        stack.pop_all()
        print(seconds / (min(interval, 4) if math.isinf(interval) else 20) * 100, flush=True)
        os._exit(0)


def memory() -> int:
    """Give the bytes of memory that this process has now."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


async def ack_each(client: Client, count: int, data: str) -> float:
    """Send one after another; gives the median of one."""
    times: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await client.send_to_group("lobby", data)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def ack_many(client: Client, count: int, data: str, tasks: int = 100) -> float:
    """Send from many tasks."""

    async def some() -> None:
        for _ in range(count // tasks):
            await client.send_to_group("lobby", data)

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(some)
    return time.perf_counter() - start


async def no_ack(client: Client, count: int, data: str) -> float:
    """Send without acks, until all has arrived."""
    async with client.group_messages("lobby", join=False) as messages:
        start = time.perf_counter()
        for _ in range(count):
            await client.send_to_group("lobby", data, ack=False)
        await messages.receive()
    return time.perf_counter() - start


async def main(scenario: str, url: str, count: int, size: int) -> None:
    """Run one scenario."""
    data = "x" * size
    scenario, _, number = scenario.partition(" ")
    if scenario == "idle":
        await idle(url, count)
    if scenario == "sleep":
        await sleep(url, count, float(number))
    async with open_client(url, reconnect=None) as client:
        match scenario:
            case "fan_out":
                seconds = await fan_out(client, count)
            case "groups":
                seconds = await many_groups(client, count, int(number))
            case "senders":
                seconds = await ack_many(client, count, data, int(number))
            case "receive":
                seconds = await receive(client, count)
            case "batches":
                seconds = await batches(client, count)
            case "ack_each":
                seconds = await ack_each(client, count, data)
            case "ack_many":
                seconds = await ack_many(client, count, data)
            case _:
                seconds = await no_ack(client, count, data)
    print(seconds)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
