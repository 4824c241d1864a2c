"""A loop around aiohttp's WebSocket and msgspec, without any protocol: prints the seconds that receiving takes."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aiohttp
import msgspec


class Message(msgspec.Struct):
    """What is read of a message."""

    type: str
    data: Any = None
    group: str | None = None
    sequenceId: int | None = None  # noqa: N815 (as it stands in the message)


async def main(url: str, count: int) -> None:
    """Receive."""
    decode = msgspec.json.Decoder(Message).decode
    subprotocol = "json.reliable.webpubsub.azure.v1"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[subprotocol]) as websocket:
        await websocket.receive()
        start = time.perf_counter()
        await websocket.send_str('{"type":"sendToGroup","group":"go","dataType":"text","data":"go"}')
        for _ in range(count):
            decode((await websocket.receive()).data)
        print(time.perf_counter() - start)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2], int(sys.argv[3])))
