"""The server of its own, on real sockets: nothing here sleeps, and no clock decides."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trustme

from tests.webhooks.service import CONNECTED, KEY, ORIGIN, PATH, USER_EVENT, send_by, user_event
from trio_webpubsub._shell.connector import connect_tcp
from trio_webpubsub._shell.http import ConnectorTransport
from trio_webpubsub.protocol.cloudevents_service import is_validated, write_validation
from trio_webpubsub.webhooks import UserEvent, WebhookApp, serve_webhooks


async def echo(event: UserEvent) -> object:
    await trio.lowlevel.checkpoint()
    return [event.user_id, event.data]


class Waiting:
    """A handler that says when it runs, and waits to be let go."""

    def __init__(self) -> None:
        self.running = trio.Event()
        self.go_on = trio.Event()
        self.cancelled = False

    async def __call__(self, _: object) -> str:
        self.running.set()
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        return "done"


class Ports:
    """What a server reports to."""

    def __init__(self) -> None:
        self.known = trio.Event()
        self.value: tuple[int, ...] = ()

    def started(self, value: tuple[int, ...] = ()) -> None:
        self.value = value
        self.known.set()


@asynccontextmanager
async def serving(app: WebhookApp, **options: Any) -> AsyncGenerator[tuple[int, trio.CancelScope]]:
    """Serve an app; give its port and what cancels it."""
    scope, ports = trio.CancelScope(), Ports()

    async def run() -> None:
        with scope:
            await serve_webhooks(app, "127.0.0.1", 0, task_status=ports, **options)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await ports.known.wait()
            yield ports.value[0], scope
            scope.cancel()


def client_of(port: int, context: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    scheme = "http" if context is None else "https"
    transport = ConnectorTransport(ssl_context=context)
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost:{port}", timeout=None)


async def test_events_are_served_over_tcp() -> None:
    app = WebhookApp("chat", access_keys=[KEY], allowed_origins=[ORIGIN], on_user_event=echo)
    async with serving(app) as (port, _), client_of(port) as client:
        validated = await send_by(client, write_validation(ORIGIN), path=f"{PATH}validate?code=1")
        assert is_validated(validated.status_code, validated.headers.multi_items(), ORIGIN)
        for data in ("hi", [1, 2], "größe"):
            response = await send_by(client, user_event(data), path=f"{PATH}%73ay")
            assert response.json() == ["größe", data]  # the user id came in a header
        assert (await send_by(client, CONNECTED)).status_code == 204
        assert (await send_by(client, USER_EVENT, path="/elsewhere")).status_code == 404
        assert (await client.get(PATH)).status_code == 405


async def test_events_are_served_over_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with authority.issue_cert("localhost").private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    app = WebhookApp("chat", access_keys=[KEY], on_user_event=echo)
    async with serving(app, ssl_context=context) as (port, _), client_of(port, trusting) as client:
        assert (await send_by(client, USER_EVENT)).json() == ["größe", "hi"]


async def test_limits_are_kept() -> None:
    app = WebhookApp("chat", access_keys=[KEY], on_user_event=echo, max_body_size=10)
    async with serving(app) as (port, _):
        async with client_of(port) as client:
            assert (await send_by(client, user_event("x" * 11))).status_code == 413
        async with client_of(port) as client:
            headers = {"x-large": "x" * 70_000}
            assert (await client.request("OPTIONS", PATH, headers=headers)).status_code == 431


async def test_a_websocket_finds_nothing() -> None:
    async with serving(WebhookApp("chat", access_keys=[KEY])) as (port, _), client_of(port) as client:
        headers = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        assert (await client.get(PATH, headers=headers)).status_code == 404


async def test_the_port_may_be_taken() -> None:
    app = WebhookApp("chat", access_keys=[KEY])
    async with serving(app) as (port, _):
        with pytest.raises(OSError, match="in use"):
            await serve_webhooks(app, "127.0.0.1", port)


async def test_a_cancelled_server_lets_handlers_finish() -> None:
    handler = Waiting()
    app = WebhookApp("chat", access_keys=[KEY], on_user_event=handler)
    responses: list[httpx.Response] = []
    async with serving(app, stop_timeout=15) as (port, scope), client_of(port) as client:

        async def ask() -> None:
            responses.append(await send_by(client, USER_EVENT))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await handler.running.wait()
            scope.cancel()
            await refused(port)
            handler.go_on.set()
    assert [(response.status_code, response.text) for response in responses] == [(200, "done")]
    assert responses[0].headers["connection"] == "close"


async def refused(port: int) -> None:
    """Wait until nobody listens at a port."""
    while True:
        try:
            stream = await connect_tcp("127.0.0.1", port, None)
        except OSError:
            return
        await stream.aclose()


async def test_a_cancelled_server_waits_no_longer_than_it_may() -> None:
    handler = Waiting()
    app = WebhookApp("chat", access_keys=[KEY], on_user_event=handler)
    async with serving(app, stop_timeout=0.01) as (port, scope), client_of(port) as client:

        async def ask() -> None:
            with pytest.raises(httpx.RemoteProtocolError):
                await send_by(client, USER_EVENT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await handler.running.wait()
            scope.cancel()
    assert handler.cancelled


async def test_idle_connections_do_not_hold_the_server_up() -> None:
    app = WebhookApp("chat", access_keys=[KEY])
    async with serving(app, stop_timeout=15) as (port, scope), client_of(port) as client:
        assert (await send_by(client, CONNECTED)).status_code == 204
        with trio.fail_after(10):
            scope.cancel()
            await refused(port)


async def test_a_server_may_be_cancelled_before_it_began() -> None:
    app = WebhookApp("chat", access_keys=[KEY])
    with trio.fail_after(10), trio.CancelScope() as scope:
        scope.cancel()
        await serve_webhooks(app)


@pytest.mark.parametrize("passes", range(12))
async def test_a_server_may_be_cancelled_at_any_moment_of_its_start(passes: int) -> None:
    """The shield of what it serves must not keep it from ending (it would hang here)."""
    app = WebhookApp("chat", access_keys=[KEY])

    async def cancel(scope: trio.CancelScope) -> None:
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    with trio.fail_after(10):
        scope = trio.CancelScope()
        async with trio.open_nursery() as outer:
            outer.start_soon(cancel, scope)
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(partial(serve_webhooks, app))
                    await trio.sleep_forever()
