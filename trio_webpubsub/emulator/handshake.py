"""What a client asks for when it connects, and whether it may have it.

Source: client specification and "Client access URL" of the service's documentation; statuses as in the official
emulator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from ..protocol.codec import Codec
from ..protocol.errors import InvalidToken
from ..protocol.names import check_group, check_hub
from ..protocol.subprotocols import SUBPROTOCOLS, codec_for
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whom a good token makes of a client."""

    codec: Codec
    subprotocol: str
    """The name of the subprotocol as the client spells it."""
    user_id: str | None
    roles: Sequence[str]
    groups: Sequence[str]


class Handshake:
    """A request for a WebSocket, taken apart."""

    def __init__(self, path: str, query: str, headers: Mapping[str, str], subprotocols: Sequence[str]) -> None:
        """Read the parts of a request; ``headers`` have lower-case names.

        Raises:
            HandshakeRefused: there is nothing at this path, or it names no hub.
        """
        parameters = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
        match = _PATH.fullmatch(path)
        if match is None:
            raise HandshakeRefused(404, "Clients connect to /client/hubs/{hub}.")
        try:
            self.hub: str = check_hub(unquote(match["hub"]) if match["hub"] else parameters.get("hub", ""))
        except ValueError as error:
            raise HandshakeRefused(400, f"The request names no hub: {error}.") from error
        self._host = headers.get("host", "")
        self._subprotocols = subprotocols
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        self._token = parameters.get("access_token") or (bearer.strip() if kind.lower() == "bearer" else "")
        self.recovery: Recovery | None = None
        """Set when the client wants a session back; then it needs no token."""
        connection_id, reconnection_token = (
            parameters.get(f"awps_{name}", "") for name in ("connection_id", "reconnection_token")
        )
        if connection_id and reconnection_token:
            self.recovery = Recovery(connection_id, reconnection_token)

    def admit(self, *, keys: Sequence[str], endpoint_host: str, now: float) -> Admission:
        """Check the token and choose the subprotocol.

        Args:
            keys: any of which may have signed the token.
            endpoint_host: host and port under which clients know the service. The one of the request counts as well.
            now: seconds since 1970.

        Raises:
            HandshakeRefused: with 401 for the token, 400 for what stands in it and for the subprotocol.
        """
        if not self._token:
            raise HandshakeRefused(401, "The request has no access token.")
        hosts = {endpoint_host, self._host}
        audiences = [f"{scheme}://{host}/client/hubs/{self.hub}" for scheme in ("http", "https") for host in hosts]
        try:
            claims = verify_token(self._token, keys=keys, audiences=audiences, now=now)
        except InvalidToken as error:
            raise HandshakeRefused(401, f"The access token is not accepted: {error}.") from error
        offered = self.offered(SUBPROTOCOLS)
        if offered is None:
            served = ", ".join(SUBPROTOCOLS)
            raise HandshakeRefused(400, f"Offer one of the subprotocols that are served here: {served}.")
        try:
            codec = codec_for(offered.lower())
        except ImportError as error:
            raise HandshakeRefused(400, f"{offered} is not served here: {error}.") from error
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
            codec=codec,
            subprotocol=offered,
            user_id=users[0] if users else None,
            roles=_texts(claims, "role"),
            groups=groups,
        )

    def offered(self, names: Iterable[str]) -> str | None:
        """Give the first offered name that ``names`` has, in the client's spelling; case does not matter."""
        known = set(names)
        return next((name for name in self._subprotocols if name.lower() in known), None)


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
