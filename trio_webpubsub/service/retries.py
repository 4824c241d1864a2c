"""Which failures of a request are tried again, and when."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from ..protocol.backoff import full_jitter
from ..protocol.operations import Operation
from .errors import OutcomeUnknown, ServiceError, ServiceUnreachable

_BASE = 0.5
_CAP = 8.0
_LONGEST_WAIT = 30.0
"""Seconds. A service that asks for more is not waited for: the caller knows better what to do meanwhile."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of failures that pass."""


class Retries:
    """The tries of one call."""

    def __init__(self, operation: Operation, *, retries: int, retry_sends: bool) -> None:
        self._left = retries
        self._repeatable = operation.repeatable or retry_sends
        self._delays: Iterator[float] = full_jitter(random.random, base=_BASE, cap=_CAP)

    def delay(self, error: ServiceError) -> float | None:
        """Give the seconds to wait before the next try; ``None`` if ``error`` is the end of it."""
        if self._left <= 0 or not self._is_worth_it(error):
            return None
        self._left -= 1
        delay = max(next(self._delays), error.retry_after or 0.0)
        return delay if delay <= _LONGEST_WAIT else None

    def _is_worth_it(self, error: ServiceError) -> bool:
        if isinstance(error, ServiceUnreachable):
            return True  # nothing was sent
        if isinstance(error, OutcomeUnknown):
            return self._repeatable
        if self._repeatable:
            return error.status_code in _PASSING
        # These refusals say that nothing was done.
        return error.status_code == 429 or (error.status_code == 503 and error.retry_after is not None)


def read_retry_after(value: str | None, now: float) -> float | None:
    """Read ``Retry-After``: seconds, or a date; ``now`` is in seconds since 1970. ``None`` if it says nothing."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
        return float(value)
    try:
        delay = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return max(0.0, delay) if math.isfinite(delay) else None
