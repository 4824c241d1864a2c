"""The official asyncio service client: ``CONNECTION_STRING AT_ONCE CALLS`` prints calls a second."""

from __future__ import annotations

import asyncio
import sys
import time

from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

MESSAGE = {"text": "a message as they usually are, with some words in it", "number": 7}


async def main(connection_string: str, at_once: int, calls: int) -> None:
    """Call."""
    async with WebPubSubServiceClient.from_connection_string(connection_string, hub="chat") as service:

        async def call(count: int) -> None:
            for _ in range(count):
                await service.send_to_group("lobby", MESSAGE)

        await call(20)
        start = time.perf_counter()
        await asyncio.gather(*(call(calls // at_once) for _ in range(at_once)))
        print(calls // at_once * at_once / (time.perf_counter() - start))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
