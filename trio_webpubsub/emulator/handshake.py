"""What a client asks for when it connects, and whether it may have it.

Source: client specification and "Client access URL" of the service's documentation; statuses, and the parameters of
simple clients, are modelled on the official emulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from ..protocol.errors import InvalidToken
from ..protocol.names import check_group, check_hub
from ..protocol.tokens import verify_token

_PATH = re.compile(r"/client(?:/|/hubs/(?P<hub>[^/]+)/?)?", re.IGNORECASE)


class HandshakeRefused(Exception):
    """The client does not get its WebSocket; the text says why and holds no secret."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Recovery:
    """The session that a client wants back."""

    connection_id: str
    reconnection_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Publishing:
    """All that a simple client sends goes to one group; without it, each of its messages is an event."""

    group: str
    no_echo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whom its token makes of a client; an anonymous one may have none."""

    user_id: str | None = None
    roles: Sequence[str] = ()
    groups: Sequence[str] = ()
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """All of the token's, as they stand in it."""


class Handshake:
    """A request for a WebSocket, taken apart."""

    def __init__(self, path: str, query: str, headers: Mapping[str, str]) -> None:
        """Read the parts of a request; ``headers`` have lower-case names.

        Raises:
            HandshakeRefused: there is nothing at this path, or it names no hub, or a parameter is a bad one.
        """
        self._parameters = parse_qsl(query, keep_blank_values=True)
        values = {name.lower(): value for name, value in self._parameters}
        match = _PATH.fullmatch(path)
        if match is None:
            raise HandshakeRefused(404, "Clients connect to /client/hubs/{hub}.")
        try:
            self.hub: str = check_hub(unquote(match["hub"]) if match["hub"] else values.get("hub", ""))
        except ValueError as error:
            raise HandshakeRefused(400, f"The request names no hub: {error}.") from error
        self._host = headers.get("host", "")
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        self._token = values.get("access_token") or (bearer.strip() if kind.lower() == "bearer" else "")
        self.recovery: Recovery | None = None
        """Set when the client wants a session back; then it needs no token."""
        if connection_id := values.get("awps_connection_id"):
            self.recovery = Recovery(connection_id, values.get("awps_reconnection_token", ""))
        self.publishing: Publishing | None = _publishing(values)
        """What a simple client wants; of no effect for others."""

    def admit(self, *, keys: Sequence[str], endpoint_host: str, now: float, anonymous: bool = False) -> Admission:
        """Check the token.

        Args:
            keys: any of which may have signed the token.
            endpoint_host: host and port under which clients know the service. The one of the request counts as well.
            now: seconds since 1970.
            anonymous: whether a client needs no token. One that it has counts nevertheless.

        Raises:
            HandshakeRefused: with 401 for the token, 400 for what stands in it.
        """
        if not self._token:
            if anonymous:
                return Admission()
            raise HandshakeRefused(401, "The request has no access token.")
        hosts = {endpoint_host, self._host}
        audiences = [f"{scheme}://{host}/client/hubs/{self.hub}" for scheme in ("http", "https") for host in hosts]
        try:
            claims = verify_token(self._token, keys=keys, audiences=audiences, now=now)
        except InvalidToken as error:
            raise HandshakeRefused(401, f"The access token is not accepted: {error}.") from error
        groups = _texts(claims, "webpubsub.group")
        try:
            for group in groups:
                check_group(group)
        except ValueError as error:
            raise HandshakeRefused(400, f"The access token has a bad group: {error}.") from error
        users = _texts(claims, "sub")
        if len(users) > 1:
            raise HandshakeRefused(400, "The access token has more than one user id.")
        return Admission(
            user_id=users[0] if users else None, roles=_texts(claims, "role"), groups=groups, claims=claims
        )

    def shown_parameters(self) -> dict[str, list[str]]:
        """Give what stands in the query, by name, but for the token."""
        shown: dict[str, list[str]] = {}
        for name, value in self._parameters:
            if name.lower() != "access_token":
                shown.setdefault(name, []).append(value)
        return shown


def texts_of(claims: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give a token's claims as event handlers see them: each as a list of texts."""
    return {
        name: [each if isinstance(each, str) else json.dumps(each) for each in _several(claims[name])]
        for name in claims
    }


def _several(value: Any) -> list[Any]:
    match value:
        case [*values]:
            return values
        case _:
            return [value]


def _publishing(values: Mapping[str, str]) -> Publishing | None:
    """Read what a simple client is to do; of a repeated parameter the last value counts."""
    mode, no_echo = values.get("webpubsub_mode", "").lower(), values.get("noecho", "").lower()
    if mode not in ("", "sendevent", "sendtogroup"):
        raise HandshakeRefused(400, "The webpubsub_mode is neither sendEvent nor sendToGroup.")
    if no_echo not in ("", "true", "false"):
        raise HandshakeRefused(400, "The parameter noEcho is neither true nor false.")
    if mode != "sendtogroup":
        return None
    try:
        return Publishing(check_group(values.get("group", "")), no_echo == "true")
    except ValueError as error:
        raise HandshakeRefused(400, f"The request names no group to send to: {error}.") from error


def _texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """Read a claim that may be absent, a string, or a list of strings."""
    match claims.get(name):
        case None:
            return []
        case str(text):
            return [text]
        case [*values] if len(texts := [value for value in values if isinstance(value, str)]) == len(values):
            return texts
        case _:
            raise HandshakeRefused(400, f"The access token's claim {name} is neither a text nor a list of texts.")
