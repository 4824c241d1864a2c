"""The other side of the service client in these tests: real HTTP over memory, and answers as the test wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import h11
import trio

from tests.http_server import Server, reply
from trio_webpubsub.service import Service, open_service

KEY = "canary-access-key-canary-access-key-canary-access-key"
CONNECTION_STRING = f"Endpoint=https://resource.example;AccessKey={KEY};Version=1.0;"

Answer: TypeAlias = Callable[[h11.Connection], bytes] | bytes | None


class Peer(Server):
    """Gives one answer after the other, then 202s; keeps what it was asked.

    An answer is made by `said` (HTTP), or is bytes after which the connection is closed, or is none: it is cut at once.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, self.give_answer)
        self.answers: list[Answer] = []
        self.heads: list[dict[str, str]] = []
        self.methods: list[str] = []

    async def give_answer(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        self.methods.append(request.method.decode())
        self.heads.append({name.decode(): value.decode("latin-1") for name, value in request.headers})
        answer = self.answers.pop(0) if self.answers else said()
        if callable(answer):
            await stream.send_all(answer(connection))
            return
        if answer is not None:
            await stream.send_all(answer)
        await stream.aclose()

    @property
    def targets(self) -> list[str]:
        return [target.decode() for _, target, _ in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.requests]


def said(status: int = 202, body: bytes = b"", **headers: str) -> Callable[[h11.Connection], bytes]:
    """An answer; ``retry_after="3"`` is a header."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda connection: reply(connection, body, *pairs, status=status)


@asynccontextmanager
async def service_of(peer: Any, text: str = CONNECTION_STRING, **options: Any) -> AsyncGenerator[Service]:
    with trio.fail_after(100_000):
        async with open_service(text, "chat", connector=peer, **options) as service:
            yield service
