"""The emulator's hub as an ASGI app on Hypercorn's trio worker: prints its port and serves until it is ended."""

from __future__ import annotations

import math
import socket
from functools import partial
from typing import Any

import trio
from driven_hub import HOST, DrivenHub
from hypercorn.config import Config
from hypercorn.trio import serve

from trio_webpubsub.listener import Request

service = DrivenHub()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve a request, a WebSocket or the server's life."""
    match scope["type"]:
        case "http":
            await serve_request(scope, receive, send)
        case "websocket":
            await serve_websocket(scope, receive, send)
        case _:
            while True:
                event = (await receive())["type"]
                await send({"type": f"{event}.complete"})
                if event == "lifespan.shutdown":
                    return


async def serve_request(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the REST API."""
    body = b""
    while (event := await receive())["type"] == "http.request":
        body += event["body"]
        if not event.get("more_body"):
            break
    response = service.answer(
        Request(
            method=scope["method"],
            path=scope["raw_path"].decode(),
            query=scope["query_string"].decode(),
            headers=headers_of(scope),
            body=body,
        )
    )
    headers = [(b"content-length", b"%d" % len(response.body))]
    headers += [(name.encode(), value.encode()) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def serve_websocket(scope: Any, receive: Any, send: Any) -> None:
    """Serve one client: this task receives, another one sends."""
    await receive()
    hub, admission = service.admit(scope["path"], scope["query_string"].decode(), headers_of(scope))
    subprotocol = scope["subprotocols"][0]
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    inbox, outbox = trio.open_memory_channel[bytes](math.inf)

    async def write() -> None:
        async for frame in outbox:
            await send({"type": "websocket.send", "text": frame.decode()})

    put = service.open(hub, admission, subprotocol, inbox.send_nowait)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while (event := await receive())["type"] == "websocket.receive":
                put((event.get("text") or event["bytes"].decode()).encode())
            nursery.cancel_scope.cancel()
    finally:
        put(None)


def headers_of(scope: Any) -> dict[str, str]:
    """Give the headers as the listener does."""
    return {name.decode(): value.decode() for name, value in scope["headers"]}


async def main() -> None:
    """Serve."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(1_000)
        config = Config()
        config.bind = [f"fd://{listening.fileno()}"]
        config.errorlog = None
        print(listening.getsockname()[1], flush=True)
        await serve(app, config, shutdown_trigger=partial(trio.sleep_forever))


if __name__ == "__main__":
    trio.run(main)
