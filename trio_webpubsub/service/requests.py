"""The one place where requests are signed, sent, judged and tried again."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, cast

import httpx
import trio

from .._shell.clock import wall_time
from .._shell.headers import Headers, checked_headers
from .._shell.randomness import system_bytes
from ..protocol.operations import Operation
from ..protocol.rest_answers import read_error
from .credentials import Refusal, RequestedTokens, SignedRequests
from .errors import (
    AuthenticationFailed,
    InvalidRequest,
    OutcomeUnknown,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
)
from .retries import Retries, read_retry_after
from .tracing import traced

logger: logging.Logger = logging.getLogger("trio_webpubsub.service")

_KINDS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: TargetNotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    429: Throttled,
}
_LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes. The longest answers are pages of 200 group members."""
_LARGEST_ERROR = 64 * 1024
_LOGGED = 4096
"""Bytes of a body that are logged."""
_OURS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said to a request that it carried out."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class Exchange(Protocol):
    """Sends one request and gives the response, whose body is still to be read."""

    async def __call__(self, request: httpx.Request, /) -> httpx.Response:
        """Raises httpx's transport errors."""
        ...


class Requests:
    """Calls of one service."""

    def __init__(
        self,
        exchange: Exchange,
        credential: SignedRequests | RequestedTokens,
        *,
        endpoint: str,
        address: str,
        api_version: str,
        user_agent: str,
        request_timeout: float,
        retries: int,
        retry_sends: bool,
        log_payloads: bool,
    ) -> None:
        """Say how to call.

        Args:
            exchange: Sends a request.
            credential: Who is asking.
            endpoint: What the service calls itself, which is what tokens name.
            address: Where requests go: the same, or a reverse proxy before it.
            api_version: Of the REST API.
            user_agent: What names the program.
            request_timeout: Seconds for one try.
            retries: How many more tries there are at most.
            retry_sends: Whether messages may be sent twice, where it is not known if they went out.
            log_payloads: Whether bodies are logged.
        """
        self.credential = credential
        self.endpoint = endpoint
        self._exchange = exchange
        self._address = address
        self._api_version = api_version
        self._user_agent = user_agent
        self._request_timeout = request_timeout
        self._retries = retries
        self._retry_sends = retry_sends
        self._log_payloads = log_payloads

    async def call(self, operation: Operation, *, headers: Headers = (), log_payloads: bool = False) -> Answer:
        """Carry an operation out, trying again where that is safe.

        Raises:
            ServiceError: it failed; the kinds tell how.
            ValueError: a header cannot be sent.

        Cancellation: at once; whether the service carried it out is not known, unless nothing was sent yet.
        """
        extra = checked_headers(headers)
        if taken := _OURS & {name.lower() for name, _ in extra}:
            raise ValueError(f"these headers are not for callers: {', '.join(sorted(taken))}")
        retries = Retries(operation, retries=self._retries, retry_sends=self._retry_sends)
        log_payloads = log_payloads or self._log_payloads
        tries = 0
        while True:
            tries += 1
            try:
                return await self._authenticated(operation, extra, tries, log_payloads=log_payloads)
            except ServiceError as error:
                error.tries = tries
                delay = retries.delay(error)
                if delay is None:
                    raise
                logger.info("%s failed, trying again in %.1f s: %s", operation.name, delay, error)
            await trio.sleep(delay)

    async def _authenticated(
        self, operation: Operation, headers: list[tuple[str, str]], tries: int, *, log_payloads: bool
    ) -> Answer:
        """Try once; and once more with another token, if the service did not accept ours and there is another one."""
        target = operation.target(self._api_version)
        url = self.endpoint + target
        token = await self.credential.token(url)
        attempt = _Attempt(operation, target, headers, tries, log_payloads)
        try:
            return await self._try(attempt, token)
        except AuthenticationFailed as error:
            if error.status_code != 401:
                raise
            refused = error
        if not await self.credential.refused(Refusal(token, url, attempt.challenge)):
            raise refused
        return await self._try(attempt, await self.credential.token(url))

    async def _try(self, attempt: _Attempt, token: str) -> Answer:
        operation = attempt.operation
        request_id = str(uuid.UUID(bytes=system_bytes(16), version=4))
        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        request = httpx.Request(
            operation.method,
            self._address + attempt.target,
            headers=[
                ("authorization", f"Bearer {token}"),
                ("accept", "application/json"),
                ("user-agent", self._user_agent),
                ("x-ms-client-request-id", request_id),
                *operation.headers,
                *attempt.headers,
            ],
            content=operation.body,
            extensions={"sending": sending},
        )
        request.stream = _Body(operation.body)
        started = trio.current_time()
        status: int | None = None
        with traced(operation, self.endpoint, attempt.tries) as span:
            span.inject(request.headers)
            if attempt.log_payloads:
                _log_message("request", request.headers, operation.body)
            try:
                with trio.fail_after(self._request_timeout):
                    response = await self._exchange(request)
                    body = await _read(response)
                status = response.status_code
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise ServiceUnreachable(_reason(error, self._request_timeout), request_id=request_id) from error
            except (httpx.HTTPError, httpx.StreamError, trio.TooSlowError) as error:
                kind = OutcomeUnknown if sent else ServiceUnreachable
                raise kind(_reason(error, self._request_timeout), request_id=request_id) from error
            finally:
                span.answered(status)
                logger.debug(
                    "%s %s: %s, %.1f ms, request %s",
                    operation.method,
                    operation.path,
                    status or "no answer",
                    (trio.current_time() - started) * 1000,
                    request_id,
                )
            if attempt.log_payloads:
                _log_message("answer", response.headers, body)
            if response.is_success and len(body) <= _LARGEST_ANSWER:
                return Answer(response.status_code, response.headers, body)
            attempt.challenge = response.headers.get("www-authenticate", "")
            raise _failure(response, body, request_id)


class _Body(httpx.AsyncByteStream):
    """A request's body. httpx gives it out in a generator, which a cancelled request would leave unfinished."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body] if body else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


@dataclass(slots=True)
class _Attempt:
    operation: Operation
    target: str
    headers: list[tuple[str, str]]
    tries: int
    log_payloads: bool
    challenge: str = ""
    """What a 401 asks for."""


def _failure(response: httpx.Response, body: bytes, request_id: str) -> ServiceError:
    if response.is_success:
        return ServiceError("the answer is too long", status_code=response.status_code, request_id=request_id)
    code, message = read_error(response.status_code, response.headers, body[:_LARGEST_ERROR])
    if response.is_redirect:
        message = "a redirect, which is not followed, since the request shows who we are"
    kind = _KINDS.get(response.status_code, ServiceError)
    return kind(
        message,
        status_code=response.status_code,
        error_code=code,
        request_id=request_id,
        retry_after=read_retry_after(response.headers.get("retry-after"), wall_time()),
    )


def _reason(error: Exception, request_timeout: float) -> str:
    return str(error) or f"no answer within {request_timeout:g} s"


async def _read(response: httpx.Response) -> bytes:
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


def _log_message(what: str, headers: httpx.Headers, body: bytes) -> None:
    shown = {name: "***" if name == "authorization" else value for name, value in headers.items()}
    logger.debug("%s: %s %r%s", what, json.dumps(shown), body[:_LOGGED], "..." if len(body) > _LOGGED else "")
