"""An event handler for tests: notes what comes, and answers as the test wants. An ASGI app, or on a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import trio

from trio_webpubsub.listener import Request, Response


@dataclass(frozen=True)
class Event:
    """What came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    time: float

    @property
    def name(self) -> str:
        return self.headers.get("ce-eventname", "")

    @property
    def id(self) -> int:
        return int(self.headers["ce-id"])


AnswerEvent = Callable[[Event], Awaitable[Response]]
NO_CONTENT = Response(status=204)
AGREED = Response(status=200, headers=[("WebHook-Allowed-Origin", "*")])


def text_answer(text: str, **headers: str) -> Response:
    return answer(text.encode(), "text/plain", 200, **headers)


def answer(body: bytes, content_type: str, status: int = 200, **headers: str) -> Response:
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response(status=status, headers=[("content-type", content_type), *more], body=body)


@dataclass
class Handler:
    """By default it agrees to everything and has nothing to say."""

    answers: dict[str, Response | AnswerEvent] = field(default_factory=dict[str, "Response | AnswerEvent"])
    """By the name of the event; the last resort is ``*``."""
    validation: Response | AnswerEvent = AGREED
    received: list[Event] = field(default_factory=list[Event])
    lifespan: list[str] = field(default_factory=list[str])

    @property
    def events(self) -> list[Event]:
        return [event for event in self.received if event.method == "POST"]

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def event(self, name: str) -> Event:
        """The one event of this name."""
        (event,) = (event for event in self.events if event.name == name)
        return event

    async def handle(self, request: Request) -> Response:
        """Answer a request of a listener."""
        event = Event(
            request.method, request.path, request.query, dict(request.headers), request.body, trio.current_time()
        )
        self.received.append(event)
        chosen = self.validation
        if request.method == "POST":
            chosen = self.answers.get(event.name, self.answers.get("*", NO_CONTENT))
        return chosen if isinstance(chosen, Response) else await chosen(event)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Be an ASGI app."""
        if scope["type"] == "lifespan":
            for _ in range(2):
                message = await receive()
                self.lifespan.append(message["type"])
                await send({"type": f"{message['type']}.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers[name.decode()] = value.decode()
        response = await self.handle(
            Request(
                method=scope["method"],
                path=scope["raw_path"].decode(),
                query=scope["query_string"].decode(),
                headers=headers,
                body=body,
            )
        )
        raw = [(name.encode(), value.encode()) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        await send({"type": "http.response.body", "body": response.body})
