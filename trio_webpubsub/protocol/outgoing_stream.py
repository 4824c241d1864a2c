"""One stream that this client sends to a group, and how it may end; the rules stand in `outgoing_streams`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from . import wire

WINDOW_FRAGMENTS = 64
WINDOW_BYTES = 1024 * 1024

SHORTEST_HOLD = 0.01
"""Seconds to hold still after going back the first time."""


class Ended(msgspec.Struct, frozen=True):
    """The stream was ended as this side wished."""


class Failed(msgspec.Struct, frozen=True):
    """The service refused or closed the stream, or it was given up."""

    error: wire.WireError


class Lost(msgspec.Struct, frozen=True):
    """The session is gone, and the stream with it."""


class Abandoned(msgspec.Struct, frozen=True):
    """The client ended."""


StreamOutcome: TypeAlias = Ended | Failed | Lost | Abandoned


@dataclass(slots=True, eq=False)
class OutgoingStream:
    """One stream, from its opening to its end."""

    opening: wire.OpenStream
    keep_alive: float
    """Seconds without a frame after which the service is shown that the stream lives."""
    state: Literal["opening", "open", "ending", "closed"] = "opening"
    written: int = 0
    """How many fragments there are: the number of the newest."""
    acknowledged: int = 0
    """How many of them the service has confirmed: those up to this number."""
    fragments: deque[tuple[bytes, int]] = field(default_factory=deque[tuple[bytes, int]])
    """The window: frames of unconfirmed fragments, in order, with the bytes of their payloads."""
    size: int = 0
    """Bytes of their payloads."""
    unwritten: int = 0
    """How many of them, the last ones, have not been written since going back the last time."""
    error: wire.StreamEndError | None = None
    """What it is ended with."""
    hurried: bool = False
    """Whether its end waits for no confirmation."""
    outcome: StreamOutcome | None = None
    wake: Callable[[], None] | None = None
    """Set by the shell: wakes who waits for something here. The core never calls it."""

    opening_written: int = 0
    """How often, over all transports, those apart that were refused because of an earlier one."""
    end_written: int = 0
    """How often, over all transports."""
    end_written_at: float = math.inf
    """When for the first time."""
    control_due: bool = True
    """Whether the opening, or the end, is still to be written on this transport."""
    keep_alive_due: bool = False
    written_at: float = -math.inf
    """When anything of it was written last."""
    waiting_since: float = math.inf
    """Since when the service owes an answer and has not come on."""
    asked_again: bool = False
    """Whether what the service owes has been asked for by writing again."""
    strikes: int = 0
    """How often a link was closed as if a message could not be taken, when an answer was owed to this stream."""
    hold: float = SHORTEST_HOLD
    hold_until: float = -math.inf

    def __repr__(self) -> str:  # as it stands in logs, behind the frames that were sent
        how = self.state if self.outcome is None else self.outcome
        return f"<stream {self.stream_id} to group {self.opening.group!r}: {self.acknowledged}/{self.written}, {how}>"

    @property
    def stream_id(self) -> str:
        """Its name among those of this connection."""
        return self.opening.stream.stream_id

    def has_room(self, size: int) -> bool:
        """Whether a fragment with so many bytes of payload fits into the window. An empty window takes any one."""
        fragments = len(self.fragments)
        return not fragments or (fragments < WINDOW_FRAGMENTS and self.size + size <= WINDOW_BYTES)

    @property
    def has_work(self) -> bool:
        """Whether there is something to write now, holding still apart."""
        if self.state == "opening":
            return self.control_due
        return self.unwritten > 0 or self.keep_alive_due or (self.state == "ending" and self.end_due)

    @property
    def end_due(self) -> bool:
        """Whether the end may be written: when everything is confirmed, unless it is in a hurry."""
        return self.control_due and (self.hurried or not self.fragments)

    def has_ended(self, now: float) -> bool:
        """Whether a stream that is not there any more has ended as was wished, and the answer was lost.

        So it is when the end was written before all unanswered was to be written again, and the service has not had
        the time since then to end an idle stream of its own accord.
        """
        return self.end_written > (not self.control_due) and now < self.end_written_at + self.keep_alive

    @property
    def is_owed(self) -> bool:
        """Whether the service has still to answer something that was written."""
        return len(self.fragments) > self.unwritten or (self.state != "open" and not self.control_due)
