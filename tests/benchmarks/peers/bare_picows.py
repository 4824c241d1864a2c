"""A loop around picows and msgspec, without any protocol: prints the seconds that receiving takes."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class Message(msgspec.Struct):
    """What is read of a message."""

    type: str
    data: Any = None
    group: str | None = None
    sequenceId: int | None = None  # noqa: N815 (as it stands in the message)


async def main(url: str, count: int) -> None:
    """Receive."""
    decode = msgspec.json.Decoder(Message).decode
    done = asyncio.Event()

    class Listener(WSListener):  # type: ignore[misc]
        came = -1  # "connected" comes first

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            decode(frame.get_payload_as_bytes())
            self.came += 1
            if self.came == count:
                done.set()

    headers = {"Sec-WebSocket-Protocol": "json.reliable.webpubsub.azure.v1"}
    transport, _ = await ws_connect(Listener, url, extra_headers=headers)
    start = time.perf_counter()
    transport.send(WSMsgType.TEXT, b'{"type":"sendToGroup","group":"go","dataType":"text","data":"go"}')
    await done.wait()
    print(time.perf_counter() - start)
    transport.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2], int(sys.argv[3])))
