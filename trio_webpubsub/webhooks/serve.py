"""A server for programs that have none of their own."""

from __future__ import annotations

import ssl
from types import NoneType
from urllib.parse import unquote

import trio

from .._shell.blocks import check_runs_under_trio
from ..listener import Limits, Listener, Request, Response, WebSocketRequest, check_server_context, open_listeners
from ..protocol.arguments import check_number, check_type
from ..protocol.cloudevents_gate import header_text
from ..protocol.names import check_count
from .app import WebhookApp
from .asgi import BODY_TIMEOUT, MAX_HEAD_SIZE


async def serve_webhooks(
    app: WebhookApp,
    host: str | None = "127.0.0.1",
    port: int = 0,
    *,
    ssl_context: ssl.SSLContext | None = None,
    stop_timeout: float = 5.0,
    task_status: trio.TaskStatus[tuple[int, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an app until cancelled: ``ports = await nursery.start(serve_webhooks, app, "0.0.0.0", 8443)``.

    Args:
        app: What answers.
        host: A name or an address of this machine; ``None`` for all its addresses.
        port: 0 for a free one.
        ssl_context: For TLS, as from ``ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)`` with a certificate.
        stop_timeout: Seconds that running handlers have to finish when the server is cancelled.
        task_status: Told the ports, one for each address of ``host``, once connections can be made.

    Raises:
        OSError: The port cannot be had.
        ValueError: There is no such port.
        TypeError: ``app`` is no `WebhookApp`, or another argument of the wrong type.
        RuntimeError: this does not run under trio.

    Cancellation: No more connections are taken, and those without a request are closed. What is being handled has
    ``stop_timeout`` seconds to be answered; then it is cancelled.
    """
    check_runs_under_trio()
    check_type("app", app, WebhookApp, "a WebhookApp; other ASGI apps need a server of their own")
    check_type("host", host, (str, NoneType), "a str or None")
    check_count("port", port, 65_535)
    check_server_context(ssl_context)
    check_number("stop_timeout", stop_timeout, zero=True)
    listener = http_listener(app)
    listeners, ports = await open_listeners(port, host=host, ssl_context=ssl_context)
    serving = trio.CancelScope(shield=True)

    async def accept() -> None:
        with serving:
            await listener.accept(listeners)

    async with trio.open_nursery() as nursery:
        # Shielded from birth, so that a cancelled server has its connections still to answer.
        nursery.start_soon(accept)
        try:
            task_status.started(ports)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await listener.shutdown(stop_timeout)
            serving.cancel()


def http_listener(app: WebhookApp) -> Listener:
    """Make a listener that lets an app answer what comes."""

    async def handle(request: Request) -> Response:
        headers = {name: value if value.isascii() else _as_utf8(value) for name, value in request.headers.items()}
        answer = await app.handle_request(request.method, unquote(request.path), headers, request.body)
        return Response(status=answer.status, headers=answer.headers, body=answer.body)

    limits = Limits(head_size=MAX_HEAD_SIZE, body_size=app.max_body_size, body_timeout=BODY_TIMEOUT)
    return Listener(handle, _refuse_websocket, limits=limits)


def _as_utf8(value: str) -> str:
    return header_text(value.encode("latin-1"))  # as which the listener gives it


async def _refuse_websocket(request: WebSocketRequest) -> None:
    await request.reject(404)
