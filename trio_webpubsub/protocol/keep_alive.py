"""When to ask whether the other side still lives, and when to believe that it does not."""

from __future__ import annotations

import math

_STEPS = 16
"""A look at a link comes early by up to this part of the interval: many clients in a process then look at theirs in the
same pass of the scheduler, which takes less than half of the processor than one pass for each. Never late, since a link
that is dead has to be noticed while the service still keeps its session."""


class KeepAlive:
    """Makes a ping due after a silence, and calls the link dead when the ping brings nothing back.

    Any byte counts as a sign of life, the service's own WebSocket pings among them (one every 20 seconds by default).
    """

    def __init__(self, *, interval: float, answer_timeout: float) -> None:
        self._interval = interval
        self._step = interval / _STEPS or interval  # the smallest numbers cannot be divided
        self._answer_timeout = answer_timeout
        self.due: bool = False
        """Whether a ping is due that has not been written."""
        self._due_since: float | None = None
        self._written_at: float | None = None

    def transport_opened(self, *, ping: bool) -> None:
        """A new transport; ``ping`` makes one due at once."""
        self.due = ping
        self._due_since = self._written_at = None

    @property
    def waiting(self) -> bool:
        """Whether a silence made a ping due, to which no answer has been noticed yet."""
        return self._due_since is not None

    def check(self, last_received: float, now: float) -> float | None:
        """Say when to check again, or ``None`` when the link is dead. Makes a ping due after a silence.

        Args:
            last_received: when the transport last brought a byte of any kind.
            now: the present time on the same clock.
        """
        if self._due_since is not None and last_received < self._due_since:
            deadline = self._due_since + self._answer_timeout
            return deadline if now < deadline else None
        self._due_since = None
        deadline = last_received + self._interval
        if deadline < math.inf:
            deadline -= deadline % self._step
        if now < deadline:
            return deadline
        self.due = True
        self._due_since = now  # and not when it is written: a writer that is stuck is a dead link too
        return now + self._answer_timeout

    def take_ping(self, now: float) -> bool:
        """Whether to write a ping now."""
        if not self.due:
            return False
        self.due = False
        self._written_at = now
        return True

    def pong(self, now: float) -> float | None:
        """An answer came; gives the seconds since the ping, if one was waiting."""
        if self._written_at is None:
            return None
        round_trip, self._written_at = now - self._written_at, None
        return round_trip
