"""The webhook app under the servers and in the frameworks that people run, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import hypercorn.trio
import pytest
import trio
import uvicorn
from hypercorn.config import Config
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.webhooks.service import CONNECT, KEY, ORIGIN, PATH, send_by, user_event
from trio_webpubsub.protocol.cloudevents_service import EventRequest, is_validated, write_validation
from trio_webpubsub.webhooks import Accept, ConnectRequest, UserEvent, WebhookApp


async def on_connect(request: ConnectRequest) -> Accept:
    request.state["n"] = 1
    return Accept(user_id=f"{request.claims['sub'][0]}!")


async def on_user_event(event: UserEvent) -> object:
    return [event.user_id, event.data] if event.data_type == "json" else event.data


APP = WebhookApp(
    "chat", access_keys=[KEY], allowed_origins=[ORIGIN], on_connect=on_connect, on_user_event=on_user_event
)


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@asynccontextmanager
async def under_hypercorn(app: Any) -> AsyncGenerator[str]:
    """Serve an app by Hypercorn's trio worker; give its address."""
    config = Config()
    config.accesslog = config.errorlog = None
    listening = listen()
    port = listening.getsockname()[1]
    config.bind = [f"fd://{listening.detach()}"]  # which Hypercorn closes
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_hypercorn(app, config, stop, task_status))
        yield f"http://127.0.0.1:{port}"
        stop.set()


async def serve_hypercorn(app: Any, config: Config, stop: trio.Event, task_status: trio.TaskStatus[Any]) -> None:
    await hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncGenerator[str]:
    """Serve an app by uvicorn, on asyncio in a thread."""
    with listen() as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(server.serve(sockets=[listening])))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True


def in_starlette() -> Any:
    async def home(_: object) -> PlainTextResponse:
        return PlainTextResponse("home")

    return Starlette(routes=[Route("/", home), Mount("/api/webpubsub", app=APP)])


def in_quart() -> Any:
    quart = QuartTrio(__name__)

    @quart.get("/")
    async def home() -> str:  # pyright: ignore[reportUnusedFunction]
        return "home"

    return TrioDispatcherMiddleware({"/api/webpubsub": APP, "": quart})


@pytest.mark.parametrize(
    ("serve", "make_app", "home"),
    [
        (under_hypercorn, lambda: APP, 404),
        (under_hypercorn, in_starlette, 200),
        (under_hypercorn, in_quart, 200),
        (under_uvicorn, lambda: APP, 404),
        (under_uvicorn, in_starlette, 200),
    ],
    ids=["hypercorn", "starlette on hypercorn", "quart-trio on hypercorn", "uvicorn", "starlette on uvicorn"],
)
async def test_events_are_answered(serve: Any, make_app: Any, home: int) -> None:
    with trio.fail_after(30):
        async with serve(make_app()) as address, httpx.AsyncClient(base_url=address, timeout=10) as client:
            validated = await send_by(client, write_validation(ORIGIN), path=f"{PATH}validate")
            assert is_validated(validated.status_code, validated.headers.multi_items(), ORIGIN)

            connected = await send_by(client, CONNECT, path=f"{PATH}connect")
            assert connected.json() == {"userId": "ann!"}
            assert connected.headers["ce-connectionstate"] == "eyJuIjoxfQ=="

            for data in ("größe", b"\xff" * 100_000):
                response = await send_by(client, user_event(data))
                assert response.content == (data if isinstance(data, bytes) else data.encode())
            assert (await send_by(client, user_event([1]))).json() == ["größe", [1]]  # the user id came in a header

            assert (await send_by(client, user_event(b"x" * 1_100_000))).status_code == 413
            unsigned = [line for line in CONNECT.headers if line[0] != b"ce-signature"]
            assert (await send_by(client, EventRequest("POST", tuple(unsigned), CONNECT.body))).status_code == 401
            assert (await client.get("/")).status_code == home
