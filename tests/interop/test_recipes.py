"""The recipes of the how-to guide, under the servers and in the frameworks that they are for, over real sockets."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import azure.functions
import httpx
import hypercorn.trio
import pytest
import trio
import uvicorn
from hypercorn.config import Config

from tests.webhooks.service import CONNECT, KEY, ORIGIN, PATH, send_by, user_event
from trio_webpubsub.protocol.cloudevents_service import EventRequest, is_validated, write_validation
from trio_webpubsub.webhooks import serve_webhooks

RECIPES = Path(__file__).parents[2] / "docs" / "snippets" / "servers"
MODULES = sorted(path.stem for path in RECIPES.glob("*.py"))


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give what imports a recipe by its name."""
    monkeypatch.setenv("WEBPUBSUB_ACCESS_KEY", KEY)
    monkeypatch.setenv("WEBPUBSUB_HOST", ORIGIN)
    monkeypatch.syspath_prepend(RECIPES)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@asynccontextmanager
async def under_hypercorn(app: Any) -> AsyncGenerator[str]:
    """Serve an app by Hypercorn's trio worker; give its address."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.bind = ["127.0.0.1:0"]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait))
        yield address
        stop.set()


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncGenerator[str]:
    """Serve an app by uvicorn, on asyncio in a thread."""
    with listen() as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(server.serve(sockets=[listening])))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True


@asynccontextmanager
async def under_its_own(app: Any) -> AsyncGenerator[str]:
    """Serve an app by `serve_webhooks`."""
    async with trio.open_nursery() as nursery:
        (port,) = await nursery.start(serve_webhooks, app)
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("serve", "module", "name", "home"),
    [
        (under_its_own, "own_server", "app", 404),
        (under_hypercorn, "with_hypercorn", "app", 404),
        (under_hypercorn, "with_starlette", "web", 200),
        (under_hypercorn, "with_quart", "web", 200),
        (under_uvicorn, "chat", "app", 404),
        (under_uvicorn, "with_starlette", "web", 200),
    ],
    ids=["serve_webhooks", "hypercorn", "starlette", "quart-trio", "uvicorn", "starlette on uvicorn"],
)
async def test_events_are_answered(serve: Any, module: str, name: str, home: int, recipe: Any) -> None:
    app = getattr(recipe(module), name)
    with trio.fail_after(30):
        async with serve(app) as address, httpx.AsyncClient(base_url=address, timeout=10) as client:
            validated = await send_by(client, write_validation(ORIGIN), path=f"{PATH}validate")
            assert is_validated(validated.status_code, validated.headers.multi_items(), ORIGIN)

            assert (await send_by(client, CONNECT, path=f"{PATH}connect")).status_code == 204
            for data in ("größe", "x" * 100_000, [1]):
                assert (await send_by(client, user_event(data))).json() == {"you said": data}

            assert (await send_by(client, user_event(b"x" * 1_100_000))).status_code == 413
            unsigned = [line for line in CONNECT.headers if line[0] != b"ce-signature"]
            assert (await send_by(client, EventRequest("POST", tuple(unsigned), CONNECT.body))).status_code == 401
            assert (await client.get("/")).status_code == home


def test_events_are_answered_by_a_function(recipe: Any) -> None:
    (function,) = recipe("function_app").functions.get_functions()
    event = user_event("größe")
    headers = {name.decode(): value.decode() for name, value in event.headers}
    url = f"https://my-functions.azurewebsites.net{PATH}say?code=1"
    request = azure.functions.HttpRequest("POST", url, headers=headers, body=event.body)
    response = function.get_user_function()(request)
    assert (response.status_code, response.get_body()) == (200, '{"you said":"größe"}'.encode())
    assert response.headers["content-type"] == "application/json; charset=utf-8"


def test_every_recipe_stands_in_the_guide() -> None:
    guide = (RECIPES.parents[1] / "how-to" / "answer_events.rst").read_text()
    assert all(f"snippets/servers/{name}.py\n" in guide for name in MODULES)
