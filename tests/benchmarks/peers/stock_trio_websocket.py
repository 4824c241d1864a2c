"""A loop around trio-websocket as it comes, and json: prints the seconds that receiving takes."""

from __future__ import annotations

import json
import sys
import time

import trio
from trio_websocket import open_websocket_url


async def main(url: str, count: int) -> None:
    """Receive."""
    async with open_websocket_url(url, subprotocols=["json.reliable.webpubsub.azure.v1"]) as websocket:
        await websocket.get_message()
        start = time.perf_counter()
        await websocket.send_message('{"type":"sendToGroup","group":"go","dataType":"text","data":"go"}')
        for _ in range(count):
            json.loads(await websocket.get_message())
        print(time.perf_counter() - start)


if __name__ == "__main__":
    trio.run(main, sys.argv[2], int(sys.argv[3]))
