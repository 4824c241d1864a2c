"""What tokens say, read without a check: clients look at theirs, and have no key.

`tokens` signs and checks; what it takes for that is not loaded here.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

MAX_TOKEN_SIZE = 8 * 1024
"""Characters of the longest token that is looked at; proxies take no longer URLs either."""
CLOCK_SKEW = 300.0
"""Seconds by which the clocks of two machines may differ (as the official emulator allows)."""


def expires_at(token: str) -> float | None:
    """When a token expires, in seconds since 1970, read without any check; ``None`` where that cannot be read."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_SIZE or len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except ValueError:
        return None
    claims = read_claims(payload)
    return None if claims is None else read_seconds(claims.get("exp"))


def read_claims(payload: bytes) -> dict[str, Any] | None:
    """Read the claims of a token; ``None`` if they are no JSON object."""
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, RecursionError):
        return None


def read_seconds(value: object) -> float | None:
    """Read a time, in seconds since 1970; ``None`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return None
    return float(value)
