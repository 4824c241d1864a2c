"""A stand-in for Entra ID: gives tokens to whoever asks in this process, and knows them again."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

import jwt
import trio

from .._shell.clock import wall_time
from .._shell.randomness import ByteSource
from ..protocol.arguments import check_type
from ..protocol.errors import InvalidToken
from ..protocol.tokens import verify_token

DirectoryRole: TypeAlias = Literal["Web PubSub Service Owner", "Web PubSub Service Reader"]
"""What somebody may do with a resource: everything, or only look."""

OWNER: DirectoryRole = "Web PubSub Service Owner"
READER: DirectoryRole = "Web PubSub Service Reader"

_AUDIENCE = "https://webpubsub.azure.com"
_LIFETIME = 3600.0
_SECRET_SIZE = 32


class Directory:
    """Signs tokens with a secret of its own, which nobody else has."""

    def __init__(self, random_bytes: ByteSource) -> None:
        """Draw the secret.

        Raises:
            TypeError: ``random_bytes`` gives something else than bytes.
        """
        secret = random_bytes(_SECRET_SIZE)
        if inspect.iscoroutine(secret):
            secret.close()  # nobody will await it
        check_type("what random_bytes gives", secret, bytes, "bytes")
        self._secret = secret.hex()

    def credential(self, role: DirectoryRole) -> Callable[[], Awaitable[str]]:
        """Give an async callable that gives tokens for somebody with this role."""

        async def token() -> str:
            await trio.lowlevel.checkpoint()
            claims = {"aud": _AUDIENCE, "exp": math.ceil(wall_time() + _LIFETIME), "roles": [role]}
            return jwt.encode(claims, self._secret, algorithm="HS256")

        return token

    def roles_of(self, token: str, now: float) -> AbstractSet[str] | None:
        """Give the roles of whoever has a token; ``None`` if it is none of ours, or expired."""
        try:
            claims = verify_token(token, keys=[self._secret], audiences=[_AUDIENCE], now=now)
        except InvalidToken:
            return None
        return frozenset(claims["roles"])
