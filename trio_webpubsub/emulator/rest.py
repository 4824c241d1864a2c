"""The REST API of the emulator: requests that application servers send, turned into what a hub does.

Sources: the data-plane specification 2024-12-01 for operations and statuses. What it leaves open (which requests are
bad, texts of errors, how audiences and charsets are read) is modelled on the official emulator.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn
from urllib.parse import parse_qs, unquote

import trio

from .._shell.clock import wall_time
from ..listener import Request, Response
from ..protocol.errors import InvalidToken
from ..protocol.names import (
    MAX_MESSAGE_SIZE,
    MAX_TTL_SECONDS,
    check_connection_id,
    check_group,
    check_hub,
    check_user_id,
)
from ..protocol.tokens import verify_token
from ..protocol.wire import Payload
from .hub import Effect, Hub, Hubs

_logger = logging.getLogger("trio_webpubsub.emulator")

_API_VERSIONS = frozenset({"2021-10-01", "2022-11-01", "2023-07-01", "2024-01-01", "2024-12-01"})
_CHARSETS = frozenset({"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "iso-8859-1", "windows-1252"})
"""Python knows more, some of which are no charsets and some slow."""
_DATA_TYPES = {"text/plain": "text", "application/json": "json", "application/octet-stream": "binary"}


class _UnsupportedContent(ValueError):
    """The message is of a content type that the service does not take."""


class RestApi:
    """Answers the requests of application servers."""

    def __init__(
        self,
        hubs: Hubs,
        perform: Callable[[Hub, Iterable[Effect]], None],
        *,
        keys: Sequence[str],
        endpoint_host: str,
    ) -> None:
        """Make the API.

        Args:
            hubs: What the requests are about.
            perform: Does what a hub wants done.
            keys: Any of which may have signed a request's token.
            endpoint_host: Host and port under which callers know the service. The one of the request counts as well.
        """
        self._hubs = hubs
        self._perform = perform
        self._keys = keys
        self._endpoint_host = endpoint_host

    async def handle(self, request: Request) -> Response:
        """Do what is asked, and say what came of it.

        Cancellation: nothing was done.
        """
        await trio.lowlevel.checkpoint()
        return self.answer(request, now=wall_time())

    def answer(self, request: Request, *, now: float) -> Response:
        """Do the same at once; ``now`` is in seconds since 1970."""
        operation = _OPERATION.fullmatch(request.path)
        if request.path == "/api/health" and request.method == "HEAD":
            return Response(status=200)
        if operation is None or request.method != "POST":
            return Response(status=404)
        try:
            self._authenticate(request, now)
        except InvalidToken as error:
            _logger.info("%s %s: 401, %s", request.method, request.path, error)
            return Response(status=401, headers=[("www-authenticate", "Bearer")])
        try:
            self._send(operation, _parameters(request.query), request)
        except _UnsupportedContent as error:
            return _error(415, str(error))
        except ValueError as error:
            return _error(400, str(error))
        return Response(status=202)

    def _authenticate(self, request: Request, now: float) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise InvalidToken("the request has no bearer token")
        hosts = {self._endpoint_host, request.headers.get("host", "")}
        places = [f"{scheme}://{host}{request.path}" for scheme in ("http", "https") for host in hosts]
        with_query = [f"{place}?{request.query}" for place in places]
        verify_token(token.strip(), keys=self._keys, audiences=[*with_query, *places], now=now)

    def _send(self, operation: re.Match[str], parameters: Mapping[str, list[str]], request: Request) -> None:
        version = _at_most_one(parameters, "api-version")
        if version is not None and version not in _API_VERSIONS:
            raise ValueError(f"The api-version is none of {', '.join(sorted(_API_VERSIONS))}.")
        hub = self._hubs.hub(check_hub(_decoded(operation["hub"])))
        # How long a message may wait is checked, and then of no effect: nothing expires here yet.
        ttl = _at_most_one(parameters, "messagettlseconds")
        if ttl is not None and not (re.fullmatch("[0-9]{1,3}", ttl) and int(ttl) <= MAX_TTL_SECONDS):
            raise ValueError(f"messageTtlSeconds is not a number from 0 to {MAX_TTL_SECONDS}.")
        if _at_most_one(parameters, "filter") and operation["kind"] != "connections":
            # To pass it over would send to more connections than the caller wants.
            raise ValueError("The emulator does not serve filters yet.")
        excluded = parameters.get("excluded", [])
        name = operation["name"] or ""
        match operation["kind"]:
            case "groups":
                group = check_group(_decoded(name))
                effects = hub.send_to_group(group, _payload(request), excluded=excluded)
            case "users":
                # In all versions so far the service takes an encoded slash in a user id as it stands.
                user_id = "".join(
                    part if part.lower() == "%2f" else _decoded(part) for part in re.split("(%2[Ff])", name)
                )
                effects = hub.send_to_user(check_user_id(user_id), _payload(request))
            case "connections":
                effects = hub.send_to_connection(check_connection_id(_decoded(name)), _payload(request))
            case _:
                effects = hub.send_to_all(_payload(request), excluded=excluded)
        self._perform(hub, effects)


_OPERATION = re.compile(r"/api/hubs/(?P<hub>[^/]+)/(?:(?P<kind>groups|users|connections)/(?P<name>[^/]+)/)?:send")


def _payload(request: Request) -> Payload:
    """Read the message in a request's body."""
    if "content-length" not in request.headers or len(request.body) > MAX_MESSAGE_SIZE:
        raise ValueError(f"The Content-Length header is missing or over {MAX_MESSAGE_SIZE:,}.")
    content_type, _, parameters = request.headers.get("content-type", "application/octet-stream").partition(";")
    data_type = _DATA_TYPES.get(content_type.strip().lower())
    if data_type is None:
        raise _UnsupportedContent(f"The content type of a message is one of {', '.join(_DATA_TYPES)}.")
    if data_type == "binary":
        return Payload(data_type, request.body)
    named = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE)
    charset = named[1].lower() if named else "utf-8"
    if charset not in _CHARSETS:
        raise _UnsupportedContent("The charset of the message is not known.")
    try:
        body = request.body.decode(charset).encode()
    except UnicodeError:
        raise ValueError("The message is not in the charset that its content type names.") from None
    if data_type == "json":
        try:
            # Only the form matters: numbers may be of any size, but NaN and Infinity are Python's invention.
            json.loads(body, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ValueError("The message is not valid JSON.") from None
    return Payload(data_type, body)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parameters(query: str) -> dict[str, list[str]]:
    """Give the values of each parameter; names count in any case, as they do for the service."""
    parameters: dict[str, list[str]] = {}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        parameters.setdefault(name.lower(), []).extend(values)
    return parameters


def _at_most_one(parameters: Mapping[str, list[str]], name: str) -> str | None:
    values = parameters.get(name, [])
    if len(values) > 1:
        raise ValueError(f"The parameter {name} is there more than once.")
    return values[0] if values else None


def _decoded(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("The path is not percent-encoded UTF-8.") from None


def _error(status: int, message: str) -> Response:
    code = "Error.BadRequest" if status == 400 else "Error.UnsupportedMediaType"
    return Response(
        status=status,
        headers=[("content-type", "application/json"), ("x-ms-error-code", code)],
        body=json.dumps({"code": code, "message": message}).encode(),
    )
