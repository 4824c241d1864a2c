"""The ASGI side: bodies read within limits, answers written; where the app is mounted does not matter.

Source: the ASGI specification, "HTTP & WebSocket message format" 2.5 and "Lifespan protocol" 2.0.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from ..protocol.cloudevents import HttpAnswer
from ..protocol.cloudevents_gate import RequestRefused, failure, header_text
from .deadline import DeadlinePassed, run_within

# Wide enough for all servers and frameworks: some give mappings, others a TypedDict for each kind of message.
Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

ReadBody: TypeAlias = Callable[[], Awaitable[bytes]]
Answer: TypeAlias = Callable[[str, Sequence[str], Mapping[str, str], ReadBody], Awaitable[HttpAnswer]]
"""Answers a request, given its method, the paths that it may be meant for, its headers, and what reads its body."""

MAX_HEAD_SIZE = 64 * 1024
"""Bytes of all headers: the state alone may have 16 KiB, metadata 8 KiB, and there are tokens and cookies."""
BODY_TIMEOUT = 30.0
"""Seconds for a body to arrive."""


_logger = logging.getLogger(__name__)

_DRAIN_TIMEOUT = 5.0
_MAX_DRAINED = 16 * 1024 * 1024


class _PeerLeft(Exception):
    """Whoever asked is not there any more."""


async def serve(answer: Answer, scope: Scope, receive: Receive, send: Send, *, max_body_size: int) -> None:
    """Serve one ASGI connection, whatever it is.

    Cancellation: Nothing is answered.
    """
    match scope["type"]:
        case "http":
            await _serve_http(answer, scope, receive, send, max_body_size)
        case "lifespan":
            await _serve_lifespan(receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before an accept this is a 403
        case other:
            raise ValueError(f"there is no ASGI connection of type {other!r} here")


async def _serve_http(answer: Answer, scope: Scope, receive: Receive, send: Send, max_body_size: int) -> None:
    lines: list[tuple[bytes, bytes]] = list(scope["headers"])
    if sum(len(name) + len(value) for name, value in lines) > MAX_HEAD_SIZE:
        _logger.warning("refused a request with 431: its headers are larger than %s bytes", f"{MAX_HEAD_SIZE:,}")
        result = failure(431)
    else:
        headers = joined_headers(lines)
        body = _Body(receive, max_body_size, headers.get("content-length", ""))
        try:
            result = await answer(scope["method"], _paths(scope), headers, body.read)
            await body.drain()
        except _PeerLeft:
            return
    await send({"type": "http.response.start", "status": result.status, "headers": _written_headers(result)})
    await send({"type": "http.response.body", "body": result.body})


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def joined_headers(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Give headers by lower-case name, the lines of one name joined with commas."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name, value = raw_name.decode("latin-1").lower(), header_text(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class _Body:
    """The body of a request, which is read or thrown away."""

    def __init__(self, receive: Receive, limit: int, length: str) -> None:
        self._receive = receive
        self._limit = limit
        self._length = int(length) if length.isdecimal() and len(length) < 20 else 0
        self._more = True

    async def read(self) -> bytes:
        """Give the body.

        Raises:
            RequestRefused: It is too large or too slow.
            _PeerLeft: It will not come.
        """
        try:
            return await run_within(BODY_TIMEOUT, self._read)
        except DeadlinePassed:
            raise RequestRefused(408, "its body did not come in time") from None

    async def drain(self) -> None:
        """Throw away what was not read: a server that is answered before would reset the connection, answer and all."""
        with suppress(DeadlinePassed):
            await run_within(_DRAIN_TIMEOUT, self._drain)

    async def _read(self) -> bytes:
        body = bytearray()
        while self._more:
            if max(len(body), self._length) > self._limit:
                raise RequestRefused(413, f"the body is larger than {self._limit:,} bytes")
            body += await self._next()
        return bytes(body)

    async def _drain(self) -> None:
        left = _MAX_DRAINED
        while self._more and left > 0:
            left -= len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _PeerLeft
        self._more = message.get("more_body", False)
        return bytes(message.get("body", b""))


def _paths(scope: Scope) -> list[str]:
    """Give the whole path and the one below the mount: servers and frameworks differ in which of them is ``path``."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    if not root:
        return [path]
    return [path, path.removeprefix(root), root + path]


def _written_headers(answer: HttpAnswer) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
    return headers
