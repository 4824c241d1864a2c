"""Events whose answer is waited for: ``invoke`` and ``invokeResponse`` (a preview of the service).

An invocation lives and dies with its transport: responses have no sequence id, so the service does not send them again,
and nothing is known of an invocation whose link dropped.

Source: the behaviour of the official JavaScript client and the shared schema, see `pending` for acknowledged
operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from . import wire
from .codec import Codec


@dataclass(slots=True, eq=False)
class Invocation:
    """One invocation, from the call until its response or its end."""

    invocation_id: str
    started_at: float
    frame: bytes = b""
    response: wire.InvokeResponse | None = None
    timed_out: bool = False
    """Whether it was given up because no response came in time."""
    wake: Callable[[], None] | None = None
    """Set by the shell: wakes the caller. The core never calls it."""

    def __repr__(self) -> str:  # as it stands in logs, behind the frame that was sent
        return f"<invocation {self.invocation_id}: {self.response}>"


class Invocations:
    """Those of one client; ids are never used twice."""

    def __init__(self, codec: Codec, *, response_timeout: float) -> None:
        self._codec = codec
        self._response_timeout = response_timeout
        self._last_id = 0
        self._running: dict[str, Invocation] = {}

    @property
    def deadline(self) -> float:
        """When `expire` has something to do."""
        for oldest in self._running.values():
            return oldest.started_at + self._response_timeout
        return math.inf

    def start(self, now: float) -> Invocation:
        """Give a new invocation; its frame is the caller's affair."""
        self._last_id += 1
        invocation = Invocation(str(self._last_id), now)
        self._running[invocation.invocation_id] = invocation
        return invocation

    def respond(self, response: wire.InvokeResponse) -> Invocation | None:
        """Take a response; gives whose it is, if anybody still waits."""
        invocation = self._running.pop(response.invocation_id, None)
        if invocation is not None:
            invocation.response = response
        return invocation

    def withdraw(self, invocation: Invocation) -> bytes | None:
        """The caller went away. Gives the frame that tells the service, if it had not answered yet."""
        if self._running.pop(invocation.invocation_id, None) is None:
            return None
        return self._codec.encode_upstream(wire.CancelInvocation(invocation.invocation_id))

    def expire(self, now: float) -> list[Invocation]:
        """Give up those that have waited too long; a late response is passed over."""
        expired: list[Invocation] = []
        for invocation in list(self._running.values()):
            if invocation.started_at + self._response_timeout > now:
                break
            del self._running[invocation.invocation_id]
            invocation.timed_out = True
            expired.append(invocation)
        return expired

    def fail_all(self) -> list[Invocation]:
        """The transport is gone, and with it every response."""
        failed = list(self._running.values())
        self._running.clear()
        return failed
