"""The official asyncio client: ``python official_aio.py SCENARIO URL COUNT SIZE`` prints seconds."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

from azure.messaging.webpubsubclient.aio import WebPubSubClient
from azure.messaging.webpubsubclient.models import WebPubSubDataType


async def main(scenario: str, url: str, count: int, size: int) -> None:
    """Run one scenario."""
    data = "x" * size
    came = 0
    done = asyncio.Event()
    wanted = count if scenario == "receive" else 1
    client = WebPubSubClient(url, auto_reconnect=False, auto_rejoin_groups=False, reconnect_retry_total=0)

    async def heard(_: Any) -> None:
        nonlocal came
        came += 1
        if came == wanted:
            done.set()

    async def send(*, ack: bool = True) -> None:
        await client.send_to_group("lobby", data, WebPubSubDataType.TEXT, ack=ack)

    await client.subscribe("group-message", heard)
    async with client:
        start = time.perf_counter()
        match scenario:
            case "receive":
                await client.send_to_group("go", "go", WebPubSubDataType.TEXT, ack=False)
                await done.wait()
            case "ack_each":
                times: list[float] = []
                for _ in range(count):
                    begin = time.perf_counter()
                    await send()
                    times.append(time.perf_counter() - begin)
            case "ack_many":

                async def some() -> None:
                    for _ in range(count // 100):
                        await send()

                await asyncio.gather(*(some() for _ in range(100)))
            case _:
                for _ in range(count):
                    await send(ack=False)
                await done.wait()
        seconds = time.perf_counter() - start
    print(statistics.median(times) if scenario == "ack_each" else seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
