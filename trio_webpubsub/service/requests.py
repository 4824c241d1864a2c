"""The one place where requests are signed, sent, judged and tried again."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field
from functools import lru_cache, partial

import httpx
import trio

from .._shell.headers import Headers, checked_headers
from .._shell.randomness import system_bytes
from ..protocol.operations import Operation
from .credentials import Refusal, RequestedTokens, SignedRequests
from .errors import AuthenticationFailed, OutcomeUnknown, ServiceError, ServiceUnreachable
from .exchange import Answer, Exchange, answer_of, read_body
from .retries import Retries
from .tracing import tracing_of

logger: logging.Logger = logging.getLogger("trio_webpubsub.service")

_UNAUTHORIZED = 401
_WHY_UNAUTHORIZED = (
    "Is the access key, or the identity's role, one of this endpoint's resource? Is this machine's clock right?"
)
_PLACES_KEPT = 1_000
_LONGEST_REASON = 500
"""Characters."""
_LOGGED = 4096
"""Bytes of a body that are logged."""
_REQUEST_ID = b"x-ms-client-request-id"
_NOT_FOR_CALLERS = frozenset(
    {b"authorization", b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"}
)
_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_RawHeaders = list[tuple[bytes, bytes]]


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
        max_connections: int,
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
            max_connections: How many requests run at once at most; more wait for their turn.
            request_timeout: Seconds for one try.
            retries: How many more tries there are at most.
            retry_sends: Whether messages may be sent twice, where it is not known if they went out.
            log_payloads: Whether bodies are logged.
        """
        self.credential = credential
        self.endpoint = endpoint
        self._exchange = exchange
        self._api_version = api_version
        self._request_timeout = request_timeout
        self._retries = retries
        self._retry_sends = retry_sends
        self._log_payloads = log_payloads
        self._turns = trio.Semaphore(max_connections)
        self._tracing = tracing_of(address)
        self._headers: _RawHeaders = [
            (b"host", httpx.URL(address).netloc),
            (b"accept", b"application/json"),
            (b"user-agent", user_agent.encode("latin-1")),
        ]
        # Reading a URL costs as much as sending a request, and programs call the same ones again and again.
        self._place = lru_cache(_PLACES_KEPT)(partial(_read_place, endpoint, address))
        self._closed = False

    def close(self) -> None:
        """Begin no further calls."""
        self._closed = True

    def check_open(self) -> None:
        """Raise ``trio.ClosedResourceError`` after `close`."""
        if self._closed:
            raise trio.ClosedResourceError("the block of open_service has ended")

    async def call(self, operation: Operation, *, headers: Headers = (), log_payloads: bool = False) -> Answer:
        """Carry an operation out, trying again where that is safe.

        Raises:
            ServiceError: it failed; the kinds tell how.
            ValueError: a header cannot be sent.
            trio.ClosedResourceError: the service client was closed.

        Cancellation: at once; whether the service carried it out is not known, unless nothing was sent yet.
        """
        self.check_open()
        place = self._place(operation.target(self._api_version))
        request_id, all_headers = self._all_headers(operation, headers)
        call = _Call(operation, place, request_id, all_headers, log_payloads or self._log_payloads)
        retries = Retries(operation, retries=self._retries, retry_sends=self._retry_sends)
        with self._tracing.call(operation):
            while True:
                call.tries += 1
                try:
                    return await self._authenticated(call)
                except ServiceError as error:
                    error.tries = call.tries
                    delay = retries.delay(error)
                    if delay is None:
                        if call.tries > 1:
                            error.add_note(f"It was tried {call.tries} times.")
                        if error.status_code == _UNAUTHORIZED:
                            error.add_note(_WHY_UNAUTHORIZED)
                        raise
                    logger.info("%s failed, trying again in %.1f s: %s", operation.name, delay, error)
                await trio.sleep(delay)
                self.check_open()

    async def _authenticated(self, call: _Call) -> Answer:
        """Try once; and once more with another token, if the service did not accept ours and there is another one."""
        audience = call.place.audience
        token = _Hidden(await self.credential.token(audience))
        try:
            return await self._try(call, token)
        except AuthenticationFailed as error:
            if error.status_code != _UNAUTHORIZED:
                raise
            refused = error
        other = _Hidden(await self.credential.other_token(Refusal(token.text or "", audience, call.challenge)))
        if other.text is None:
            raise refused
        return await self._try(call, other)

    async def _try(self, call: _Call, token: _Hidden) -> Answer:
        async with self._turns:  # waiting for one is not part of the time that a try has
            self.check_open()
            return await self._watched(call, token)

    async def _watched(self, call: _Call, token: _Hidden) -> Answer:
        operation = call.operation
        with self._tracing.attempt(operation, call.tries) as watched:
            request = httpx.Request(
                operation.method,
                call.place.url,
                headers=[token.header(), *call.headers, *watched.headers()],
                stream=httpx.ByteStream(operation.body),
            )
            if call.log_payloads:
                _log_message("request", request.headers, operation.body)
            response, body = await self._exchanged(call, request)
            watched.answered(response.status_code)
            if call.log_payloads:
                holds_token = operation.path.endswith("/:generateToken") and response.is_success
                _log_message("answer", response.headers, b"***" if holds_token else body)
            call.challenge = response.headers.get("www-authenticate", "")
            return answer_of(operation, response, body, call.request_id)

    async def _exchanged(self, call: _Call, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        request.extensions["sending"] = sending
        status: int | str = "no answer"
        started = trio.current_time()
        try:
            with trio.move_on_after(self._request_timeout):
                response = await self._exchange(request)
                body = await read_body(response)
                status = response.status_code
                return response, body
            raise trio.TooSlowError(f"no answer within {self._request_timeout:g} s")
        except _NOTHING_SENT as error:
            raise ServiceUnreachable(_reason(error), request_id=call.request_id) from error
        except (httpx.HTTPError, httpx.StreamError, trio.TooSlowError) as error:
            kind = OutcomeUnknown if sent else ServiceUnreachable
            raise kind(_reason(error), request_id=call.request_id) from error
        finally:
            if logger.isEnabledFor(logging.DEBUG):
                took = (trio.current_time() - started) * 1000
                what = call.operation.method, call.operation.path, status, took, call.request_id
                logger.debug("%s %s: %s, %.1f ms, request %s", *what)

    def _all_headers(self, operation: Operation, extra: Headers) -> tuple[str, _RawHeaders]:
        """Give the id of a call, and all of its headers but those that differ from try to try."""
        request_id = str(uuid.UUID(bytes=system_bytes(16), version=4))
        ours = [*self._headers, (_REQUEST_ID, request_id.encode("ascii"))]
        if operation.body or operation.method in _WITH_BODIES:
            ours.append((b"content-length", b"%d" % len(operation.body)))
        fixed = [(name.encode("ascii"), value.encode("ascii")) for name, value in operation.headers]
        if extra == ():
            return request_id, ours + fixed
        added = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in checked_headers(extra)]
        names = {name for name, _ in added}
        if taken := names & _NOT_FOR_CALLERS.union(name for name, _ in fixed):
            raise ValueError(f"these headers are not for callers: {b', '.join(sorted(taken)).decode()}")
        for name, value in added:
            if name == _REQUEST_ID:
                request_id = value.decode("latin-1")
        return request_id, [each for each in ours if each[0] not in names] + fixed + added


@dataclass(frozen=True, slots=True)
class _Hidden:
    """A token, if there is one, that does not show where somebody prints a traceback with its variables."""

    text: str | None = field(repr=False)

    def header(self) -> tuple[bytes, bytes]:
        """Give it as a request carries it."""
        return b"authorization", b"Bearer " + (self.text or "").encode("ascii")


@dataclass(frozen=True, slots=True)
class _Place:
    url: httpx.URL
    """Where a request goes."""
    audience: str
    """The same address at the service itself, which is what tokens name."""


def _read_place(endpoint: str, address: str, target: str) -> _Place:
    try:
        return _Place(httpx.URL(address + target), str(httpx.URL(endpoint + target)))
    except httpx.InvalidURL:
        # All else that makes a URL invalid is encoded in a target.
        raise ValueError("the URL of the request is too long: fewer excluded ids, or a shorter filter") from None


@dataclass(slots=True)
class _Call:
    operation: Operation
    place: _Place
    request_id: str
    headers: _RawHeaders
    log_payloads: bool
    tries: int = 0
    challenge: str = ""
    """What a 401 asks for."""


def _reason(error: Exception) -> str:
    return str(error)[:_LONGEST_REASON] or type(error).__name__  # an answer that is none may stand in it


def _log_message(what: str, headers: httpx.Headers, body: bytes) -> None:
    shown = {name: "***" if name == "authorization" else value for name, value in headers.items()}
    logger.debug("%s: %s %r%s", what, json.dumps(shown), body[:_LOGGED], "..." if len(body) > _LOGGED else "")
