"""One request to an event handler: tried again where that may help, and its answer read within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import httpx
import trio

from ..protocol.cloudevents_service import EventRequest, may_succeed_later

_MOST_COOKIES = 50
"""Cookies that are kept for one connection."""


class CallFailed(Exception):
    """There is no answer to be had; the text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an event handler answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Target:
    """Where the requests of one event handler go."""

    transport: httpx.AsyncBaseTransport
    url: str

    def __str__(self) -> str:  # the query may hold a secret
        return self.url.partition("?")[0]


async def call(
    target: Target,
    event: EventRequest,
    *,
    retry_delays: Sequence[float],
    answer_size: int,
    cookies: httpx.Cookies | None = None,
) -> Answer:
    """Send a request, and again after each delay while there is a network error, 408 or 5xx.

    Args:
        target: Where to.
        event: What.
        retry_delays: Seconds.
        answer_size: Bytes of the largest answer that is read.
        cookies: Those of the connection, which an answer may change.

    Raises:
        CallFailed: there is no answer, after all tries, or one that is too large.

    Cancellation: the handler may or may not have got it.
    """
    delays = iter(retry_delays)
    while True:
        answer: Answer | None = None
        error: httpx.TransportError | None = None
        try:
            answer = await _try(target, event, answer_size, cookies)
        except httpx.TransportError as failure:
            error = failure
        if answer is not None and not may_succeed_later(answer.status):
            return answer
        delay = next(delays, None)
        if delay is not None:
            await trio.sleep(delay)
        elif answer is not None:
            return answer
        else:
            raise CallFailed(f"no answer: {type(error).__name__}, {error}") from error


async def _try(target: Target, event: EventRequest, answer_size: int, cookies: httpx.Cookies | None) -> Answer:
    headers = [*event.headers, (b"accept", b"*/*"), (b"accept-encoding", b"identity")]
    request = httpx.Request(event.method, target.url, headers=headers, content=event.body)
    if cookies is not None:
        cookies.set_cookie_header(request)
    response = await target.transport.handle_async_request(request)
    body = bytearray()
    try:
        # Not by aiter_raw, a generator that would have to be closed.
        async for part in cast("httpx.AsyncByteStream", response.stream):
            body += part
            if len(body) > answer_size:
                raise CallFailed(f"the answer has more than {answer_size:,} bytes")
    finally:
        with trio.CancelScope(shield=True):  # waits for nobody
            await response.aclose()
    answer = Answer(response.status_code, response.headers.multi_items(), bytes(body))
    if cookies is not None and answer.is_success and len(cookies) < _MOST_COOKIES:
        response.request = request
        cookies.extract_cookies(response)
    return answer
