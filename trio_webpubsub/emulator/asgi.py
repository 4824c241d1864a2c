"""Calls ASGI apps in this process: requests, and their lifespan."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import trio

from .handlers import App

_logger = logging.getLogger("trio_webpubsub.emulator")
_VERSIONS = {"version": "3.0", "spec_version": "2.3"}


class AppTransport(httpx.AsyncBaseTransport):
    """An httpx transport into an ASGI app.

    An app that fails is answered for with 500, as a server does it, and what it raised is logged. What it still does
    after its answer it may do.
    """

    def __init__(self, app: App, nursery: trio.Nursery, *, max_body: int) -> None:
        """Make a transport.

        Args:
            app: Is called.
            nursery: Where it runs.
            max_body: Bytes of an answer; what comes after one that is larger is dropped.
        """
        self._app = app
        self._nursery = nursery
        self._max_body = max_body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Give the app's answer.

        Cancellation: the app is cancelled.
        """
        exchange = _Exchange(request, self._max_body)
        scope = trio.CancelScope()
        self._nursery.start_soon(self._run, exchange, scope, name="event handler's app")
        try:
            await exchange.answered.wait()
        except BaseException:  # it can only be cancellation, which the app shall feel
            scope.cancel()
            raise
        return httpx.Response(exchange.status, headers=exchange.headers, stream=_Body(bytes(exchange.body)))

    async def _run(self, exchange: _Exchange, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self._app(exchange.scope, exchange.receive, exchange.send)
            except* Exception:  # whatever it is, it is the app's, and must end nothing else
                _logger.exception("an event handler's app failed")
            if not exchange.answered.is_set():
                exchange.fail()


class _Body(httpx.AsyncByteStream):
    """A body that is there already. Not httpx's own, which reads in a generator that somebody would have to close."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


class _Exchange:
    """One request and its answer, as an app sees them."""

    def __init__(self, request: httpx.Request, max_body: int) -> None:
        url = request.url
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": _VERSIONS,
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 0),
            "server": (url.host, url.port),
        }
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.answered = trio.Event()
        self._request_body: bytes | None = request.content
        self._max_body = max_body

    async def receive(self) -> MutableMapping[str, Any]:
        """Give the request's body, then wait for the end."""
        await trio.lowlevel.checkpoint()
        if self._request_body is not None:
            body, self._request_body = self._request_body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a part of the answer."""
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            # Whatever cannot be an answer has to fail here, within the app.
            self.status = int(message["status"])
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            if self.status == 0:
                raise RuntimeError("an ASGI app has to send http.response.start first")
            if len(self.body) <= self._max_body:
                self.body += message.get("body", b"")
            if not message.get("more_body", False):
                self.answered.set()

    def fail(self) -> None:
        """Answer for an app that did not."""
        self.status, self.headers = 500, []
        self.body.clear()
        self.answered.set()


class CannotStart(Exception):
    """An app said in its lifespan that it cannot start up."""


class Lifespan:
    """An app's time from startup to shutdown. An app that knows nothing of it is left alone."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._to_app, self._from_us = trio.open_memory_channel[dict[str, Any]](2)
        self._started = trio.Event()
        self._ended = trio.Event()
        self._failure: str | None = None

    async def start(self, nursery: trio.Nursery) -> None:
        """Let the app start up.

        Raises:
            CannotStart: it says that it cannot.

        Cancellation: it goes on in the nursery.
        """
        nursery.start_soon(self._run, name="event handler's app, lifespan")
        self._to_app.send_nowait({"type": "lifespan.startup"})
        await self._started.wait()
        if self._failure is not None:
            raise CannotStart(f"an event handler's app cannot start: {self._failure}")

    async def stop(self) -> None:
        """Let the app shut down.

        Cancellation: it is not waited for.
        """
        if not self._started.is_set() or self._failure is not None:
            return
        if not self._ended.is_set():
            self._to_app.send_nowait({"type": "lifespan.shutdown"})
        await self._ended.wait()

    async def _run(self) -> None:
        try:
            await self._app({"type": "lifespan", "asgi": _VERSIONS, "state": {}}, self._from_us.receive, self._take)
        except* Exception as group:
            if self._started.is_set():
                _logger.exception("an event handler's app failed")
            else:  # this is how an app says that it has no lifespan
                _logger.debug("an event handler's app has no lifespan: %r", group)
        finally:
            self._started.set()
            self._ended.set()

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.startup.failed":
                self._failure = str(message.get("message", ""))
                self._started.set()
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._ended.set()
            case _:
                raise RuntimeError("this is no message of the lifespan protocol")
