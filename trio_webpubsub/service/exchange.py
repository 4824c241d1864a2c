"""What comes back from one request: how much of an answer is read, and which failures are what kind of error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, cast

import httpx

from .._shell.clock import wall_time
from ..protocol.operations import Operation
from ..protocol.rest_answers import read_error
from .errors import AuthenticationFailed, InvalidRequest, ServiceError, TargetNotFound, Throttled
from .retries import read_retry_after

_KINDS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: TargetNotFound,
    413: InvalidRequest,
    414: InvalidRequest,
    415: InvalidRequest,
    429: Throttled,
}
_LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes. The longest answers are pages of 200 group members."""
_LARGEST_ERROR = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said to a request that it carried out."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    """The ``x-ms-client-request-id`` that was sent."""


class Exchange(Protocol):
    """Sends one request and gives the response, whose body is still to be read.

    It calls what the request has as its extension ``sending`` before anything may have gone out.
    """

    async def __call__(self, request: httpx.Request, /) -> httpx.Response:
        """Raises httpx's transport errors."""
        ...


async def read_body(response: httpx.Response) -> bytes:
    """Read the body of a response, and close it. Of one that is too long the rest is left.

    A hook of the user's own client may have read it, or closed it unread.

    Cancellation: the connection is closed.
    """
    if response.is_closed:
        return response.content if response.is_stream_consumed else b""
    limit = _LARGEST_ANSWER if response.is_success else _LARGEST_ERROR
    body = bytearray()
    # Not httpx's own ways to read, which are generators within generators: left early, they are not cleaned up.
    async with (
        aclosing(response),
        aclosing(cast("AsyncGenerator[bytes]", aiter(cast("httpx.AsyncByteStream", response.stream)))) as parts,
    ):
        async for part in parts:
            body += part
            if len(body) > limit:
                break
    return bytes(body)


def answer_of(operation: Operation, response: httpx.Response, body: bytes, request_id: str) -> Answer:
    """Give what the service answered.

    Raises:
        ServiceError: it did not carry the request out; the kinds tell why.
    """
    if (response.is_success or (operation.asks and response.status_code == 404)) and len(body) <= _LARGEST_ANSWER:
        return Answer(response.status_code, response.headers, body, request_id)
    if response.is_success:
        raise ServiceError("the answer is too long", status_code=response.status_code, request_id=request_id)
    code, message = read_error(response.status_code, response.headers, body[:_LARGEST_ERROR])
    if response.is_redirect:
        message = "a redirect, which is not followed, since the request shows who we are"
    kind = _KINDS.get(response.status_code, ServiceError)
    raise kind(
        message,
        status_code=response.status_code,
        error_code=code,
        request_id=request_id,
        retry_after=read_retry_after(response.headers.get("retry-after"), wall_time()),
    )
