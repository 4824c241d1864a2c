"""The REST API of the emulator: who asks for what, and whether they may.

Sources: the data-plane specification 2024-12-01 for the operations. How audiences are read is modelled on the official
emulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import unquote

import trio

from .._shell.clock import wall_time
from ..listener import Request, Response
from ..protocol.claims import CLOCK_SKEW
from ..protocol.errors import InvalidToken
from ..protocol.names import MAX_MESSAGE_SIZE, check_hub
from ..protocol.tokens import client_access_token, verify_token
from ..protocol.urls import ClientProtocol, client_audience
from . import rest_operations as operations
from .directory import OWNER, Directory
from .hub import Effect, Hub, Hubs
from .rest_operations import Call, Run
from .rest_requests import Parameters, Refusal, Refused, bad, checked, decoded

_API_VERSIONS = frozenset({"2021-10-01", "2022-11-01", "2023-07-01", "2024-01-01", "2024-12-01"})
_MOST_MINUTES = 2**31 - 1
_SIGNED_KEPT = 500
"""Requests whose signatures are remembered."""
_CLIENT_TYPES: dict[str, ClientProtocol] = {"default": "default", "mqtt": "mqtt", "socketio": "socketio"}


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: re.Pattern[str]
    run: Run


def _route(method: str, path: str, run: Run) -> _Route:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return _Route(method, re.compile(rf"/api/hubs/(?P<hub>[^/]+)/{pattern}/?"), run)


_ROUTES = [
    _route("POST", ":send", operations.send),
    _route("POST", "groups/{group}/:send", operations.send),
    _route("POST", "users/{user}/:send", operations.send),
    _route("POST", "connections/{connection}/:send", operations.send_to_connection),
    _route("POST", ":closeConnections", operations.close),
    _route("POST", "groups/{group}/:closeConnections", operations.close),
    _route("POST", "users/{user}/:closeConnections", operations.close),
    _route("DELETE", "connections/{connection}", operations.close_connection),
    _route("HEAD", "connections/{connection}", operations.connection_exists),
    _route("HEAD", "groups/{group}", operations.group_exists),
    _route("HEAD", "users/{user}", operations.user_exists),
    _route("GET", "groups/{group}/connections", operations.list_members),
    _route("PUT", "groups/{group}/connections/{connection}", operations.add_connection_to_group),
    _route("DELETE", "groups/{group}/connections/{connection}", operations.remove_connection_from_group),
    _route("DELETE", "connections/{connection}/groups", operations.remove_connection_from_all_groups),
    _route("PUT", "users/{user}/groups/{group}", operations.add_user_to_group),
    _route("DELETE", "users/{user}/groups/{group}", operations.remove_user_from_group),
    _route("DELETE", "users/{user}/groups", operations.remove_user_from_all_groups),
    _route("POST", ":addToGroups", operations.add_to_groups),
    _route("POST", ":removeFromGroups", operations.remove_from_groups),
    _route("PUT", "permissions/{permission}/connections/{connection}", operations.grant_permission),
    _route("DELETE", "permissions/{permission}/connections/{connection}", operations.revoke_permission),
    _route("HEAD", "permissions/{permission}/connections/{connection}", operations.has_permission),
]
_GENERATE_TOKEN = re.compile(r"/api/hubs/(?P<hub>[^/]+)/:generateToken/?")


class RestApi:
    """Answers the requests of application servers."""

    def __init__(
        self,
        hubs: Hubs,
        perform: Callable[[Hub, Iterable[Effect]], None],
        *,
        keys: Sequence[str],
        endpoint: str,
        directory: Directory,
        message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        """Make the API.

        Args:
            hubs: What the requests are about.
            perform: Does what a hub wants done.
            keys: Any of which may have signed a request's token. The first signs tokens for clients.
            endpoint: ``http://host:port``, or with https, under which callers know the service. The host of the request
                counts as well.
            directory: Who else may sign in.
            message_size: Bytes that a body may have.
        """
        self._hubs = hubs
        self._perform = perform
        self._keys = keys
        self._scheme, _, self._endpoint_host = endpoint.partition("://")
        self._directory = directory
        self._message_size = message_size
        self._signed: dict[tuple[str, str, str, str], float] = {}
        """When the token of a request expires whose signature was checked, which takes longer than most requests do."""

    async def handle(self, request: Request) -> Response:
        """Do what is asked, and say what came of it.

        Cancellation: nothing was done.
        """
        await trio.lowlevel.checkpoint()
        now = wall_time()
        response = self.answer(request, now=now, hub_now=trio.current_time())
        headers = [*response.headers, ("date", _date(int(now)))]
        if isinstance(response, Refusal):
            return replace(response, headers=headers)
        return Response(status=response.status, headers=headers, body=response.body)  # which is quicker

    def answer(self, request: Request, *, now: float, hub_now: float = 0.0) -> Response:
        """Do the same at once; ``now`` is in seconds since 1970, ``hub_now`` on the hubs' clock."""
        if request.path == "/api/health" and request.method == "HEAD":
            return Response(status=200)
        try:
            if request.method == "POST" and (match := _GENERATE_TOKEN.fullmatch(request.path)):
                return self._generate_token(match["hub"], request, now)
            for route in _ROUTES:
                if route.method == request.method and (match := route.path.fullmatch(request.path)):
                    return self._run(route, match, request, now, hub_now)
        except Refused as refused:
            return refused.response(request.method)
        is_for_clients = re.match(r"/client(/|$)", request.path, re.IGNORECASE)  # who have to ask for a WebSocket
        return Response(status=400 if is_for_clients else 404)

    def _run(self, route: _Route, match: re.Match[str], request: Request, now: float, hub_now: float) -> Response:
        self._authenticate(request, now)
        parameters = _parameters(request)
        # Whoever is not connected cannot be reached, so nobody needs a new hub for that.
        hub = self._hubs.hub(checked(check_hub, decoded(match["hub"])), keep=False)
        host = request.headers.get("host") or self._endpoint_host
        call = Call(
            hub=hub,
            segments=match.groupdict(),
            parameters=parameters,
            request=request,
            perform=self._perform,
            now=hub_now,
            origin=f"{self._scheme}://{host}",
            message_size=self._message_size,
            secret=self._keys[0].encode(),
        )
        return route.run(call)

    def _generate_token(self, hub: str, request: Request, now: float) -> Response:
        """Sign a token for a client; for those only who have no key to do it themselves, as the official emulator."""
        self._authenticate(request, now, with_key=False)
        parameters = _parameters(request)
        name = checked(check_hub, decoded(hub))
        protocol = _CLIENT_TYPES.get((parameters.one("clientType") or "Default").lower())
        if protocol is None:
            raise bad("The clientType is none of Default, MQTT and SocketIO.", target="clientType")
        minutes = parameters.number("minutesToExpire", 1, _MOST_MINUTES) or 60
        try:
            token = client_access_token(
                self._keys[0],
                audience=client_audience(f"{self._scheme}://{self._endpoint_host}", name, protocol),
                now=now,
                lifetime=60.0 * minutes,
                user_id=parameters.one("userId"),
                roles=parameters.all("role"),
                groups=parameters.all("group"),
            )
        except ValueError as error:
            raise bad(str(error)) from None
        body = json.dumps({"token": token}).encode()
        return Response(status=200, headers=[("content-type", "application/json; charset=utf-8")], body=body)

    def _authenticate(self, request: Request, now: float, *, with_key: bool = True) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise Refused(401, reason="it has no bearer token")
        token = token.strip()
        why_not = self._why_not_signed(request, token, now) if with_key else "access keys do not count here"
        if why_not is None:
            return
        roles = self._directory.roles_of(token, now)
        if roles is None:
            raise Refused(401, reason=why_not)
        if OWNER not in roles and request.method not in ("GET", "HEAD"):
            raise Refused(403, f"This takes the role {OWNER}.", code="Error.Forbidden")

    def _why_not_signed(self, request: Request, token: str, now: float) -> str | None:
        """Say why a token is none that a key of ours has signed for the request; ``None`` if it is one."""
        host = request.headers.get("host", "")
        place = token, host, request.path, request.query
        if now < self._signed.get(place, 0.0):
            return None
        hosts = {self._endpoint_host, host}
        places = [f"{scheme}://{host}{request.path}" for scheme in ("http", "https") for host in hosts]
        audiences = [*(f"{place}?{request.query}" for place in places), *places]
        # HTTP clients may encode what was signed in another way, as aiohttp does.
        audiences += [unquote(audience) for audience in audiences]
        try:
            claims = verify_token(token, keys=self._keys, audiences=audiences, now=now)
        except InvalidToken as error:
            return str(error)
        self._signed[place] = claims["exp"] + CLOCK_SKEW
        if len(self._signed) > _SIGNED_KEPT:
            del self._signed[next(iter(self._signed))]
        return None


def _parameters(request: Request) -> Parameters:
    parameters = Parameters(request.query)
    version = parameters.one("api-version")
    if version is not None and version not in _API_VERSIONS:
        raise bad(f"The api-version is none of {', '.join(sorted(_API_VERSIONS))}.", target="api-version")
    return parameters


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Write a time as HTTP does; thousands of answers in a second have the same."""
    return formatdate(second, usegmt=True)
