"""The service client of this package: ``CONNECTION_STRING AT_ONCE CALLS`` prints calls a second."""

from __future__ import annotations

import sys
import time

import trio

from trio_webpubsub.service import open_service

MESSAGE = {"text": "a message as they usually are, with some words in it", "number": 7}


async def main(connection_string: str, at_once: int, calls: int) -> None:
    """Call."""
    async with open_service(connection_string, "chat") as service:

        async def call(count: int) -> None:
            for _ in range(count):
                await service.send_to_group("lobby", MESSAGE)

        await call(20)
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(call, calls // at_once)
        print(calls // at_once * at_once / (time.perf_counter() - start))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
