"""How requests show who sends them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..protocol import tokens

_TOKENS_KEPT = 1_000
_SPARE = 60.0
"""Seconds before its end after which a token is not shown any more: requests take their time, and clocks differ."""


class AccessKey:
    """Signs tokens with an access key, and keeps those for requests, since signing costs more than sending."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._kept: dict[str, tuple[str, float]] = {}  # by URL, the oldest first: a token, and until when it is used

    def request_token(self, url: str, now: float) -> str:
        """Give a token for a request to ``url``; ``now`` is in seconds since 1970."""
        token, until = self._kept.get(url, ("", -math.inf))
        if now >= until:
            token = tokens.request_token(self._key, url=url, now=now)
            self._kept.pop(url, None)
            if len(self._kept) >= _TOKENS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[url] = token, now + tokens.REQUEST_LIFETIME - _SPARE
        return token

    def client_token(
        self,
        *,
        audience: str,
        now: float,
        lifetime: float,
        user_id: str | None,
        roles: Iterable[str],
        groups: Iterable[str],
    ) -> str:
        """Give a token with which a client connects; see `tokens.client_access_token`."""
        return tokens.client_access_token(
            self._key, audience=audience, now=now, lifetime=lifetime, user_id=user_id, roles=roles, groups=groups
        )
