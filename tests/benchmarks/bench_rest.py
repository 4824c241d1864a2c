"""Calls a second of the service client, beside the official asyncio client: ``python tests/benchmarks/bench_rest.py``.

Both talk to the same small server in a process of its own, which answers 202 to everything. They take turns, so that
whatever else the machine does falls on both. Printed are the median of the rounds and the median of their ratios; and
the same of the processor time that a call takes, which a busy machine disturbs less.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import trio
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from trio_webpubsub.service import open_service

CALLS = 1_000
ROUNDS = 7
AT_ONCE = 50
MESSAGE = {"text": "a message as they usually are, with some words in it", "number": 7}
ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"


def serve(ready: Connection) -> None:
    """Answer requests until the process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


Figures: TypeAlias = tuple[float, float]
"""Calls a second, and microseconds of processor time for each."""


def figures(start: Figures) -> Figures:
    """Read the clocks after all calls."""
    real, processor = (now - then for now, then in zip(clocks(), start, strict=True))
    return CALLS / real, processor / CALLS * 1e6


def clocks() -> Figures:
    """Read the clocks."""
    return time.perf_counter(), time.process_time()


async def ours(connection_string: str, at_once: int) -> Figures:
    """Let our client make the calls."""
    async with open_service(connection_string, "chat") as service:

        async def call(count: int) -> None:
            for _ in range(count):
                await service.send_to_group("lobby", MESSAGE)

        await call(20)
        start = clocks()
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(call, CALLS // at_once)
        return figures(start)


async def theirs(connection_string: str, at_once: int) -> Figures:
    """Let the official client make them."""
    async with WebPubSubServiceClient.from_connection_string(connection_string, hub="chat") as client:

        async def call(count: int) -> None:
            for _ in range(count):
                await client.send_to_group("lobby", MESSAGE)

        await call(20)
        start = clocks()
        await asyncio.gather(*(call(CALLS // at_once) for _ in range(at_once)))
        return figures(start)


def main() -> None:
    """Measure, and print."""
    theirs_end, ours_end = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=[theirs_end], daemon=True)
    server.start()
    connection_string = f"Endpoint=http://127.0.0.1:{ours_end.recv()};AccessKey={'key-' * 12};Version=1.0;"
    for at_once in (1, AT_ONCE):
        run_ours: Callable[..., Any] = ours
        run_theirs: Callable[..., Awaitable[Figures]] = theirs
        rounds: list[tuple[Figures, Figures]] = []
        for _ in range(ROUNDS):
            mine = trio.run(run_ours, connection_string, at_once)
            other = asyncio.run(run_theirs(connection_string, at_once))  # type: ignore[arg-type]
            rounds.append((mine, other))
        for index, what in enumerate(("calls a second", "microseconds of processor time for a call")):
            pairs = [(mine[index], other[index]) for mine, other in rounds]
            our_median, their_median = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{at_once:>3} at once, {what}: ours {our_median:,.0f}, theirs {their_median:,.0f}, {ratio:.2f} x")
    server.terminate()


if __name__ == "__main__":
    main()
