"""The client of this package: ``python ours.py SCENARIO URL COUNT SIZE`` prints seconds."""

from __future__ import annotations

import statistics
import sys
import time

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


async def ack_each(client: Client, count: int, data: str) -> float:
    """Send one after another; gives the median of one."""
    times: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await client.send_to_group("lobby", data)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def ack_many(client: Client, count: int, data: str) -> float:
    """Send from a hundred tasks."""

    async def some() -> None:
        for _ in range(count // 100):
            await client.send_to_group("lobby", data)

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
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
    async with open_client(url, reconnect=None) as client:
        match scenario:
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
