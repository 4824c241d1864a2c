"""Streams of the client of this package: ``python streams_ours.py SCENARIO URL COUNT SIZE`` prints seconds."""

from __future__ import annotations

import sys
import time

import trio

from trio_webpubsub import Client, open_client


async def write(client: Client, count: int, data: str) -> float:
    """Write a stream, until the service has closed it."""
    start = time.perf_counter()
    async with client.open_stream("lobby", stream_id="s") as stream:
        for _ in range(count):
            await stream.write(data)
    return time.perf_counter() - start


async def read(client: Client, count: int) -> float:
    """Read a stream to its end."""
    came = 0
    async with client.group_streams("lobby", join=False) as streams:
        start = time.perf_counter()
        await client.send_to_group("go", "go", ack=False)
        async for _ in await streams.receive():
            came += 1
    assert came == count
    return time.perf_counter() - start


async def main(scenario: str, url: str, count: int, size: int) -> None:
    """Run one scenario."""
    async with open_client(url, reconnect=None) as client:
        print(await (write(client, count, "x" * size) if scenario == "write" else read(client, count)))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
