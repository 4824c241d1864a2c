"""What can be counted about a client and its subscriptions, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatistics:
    """How a subscription stands."""

    buffered: int
    """Messages that wait for the consumer."""
    buffered_bytes: int
    """Their size on the wire."""
    taken: int
    """What the consumer took."""
    dropped: int
    """Messages that did not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """How a stream to a group stands (a preview of the service)."""

    written: int
    """Fragments that were written."""
    acknowledged: int
    """How many of them the service has acknowledged."""
    unacknowledged: int
    """The others: at most 64 at a time."""
    unacknowledged_bytes: int
    """Their payloads: at most 1 MiB at a time, unless it is a single one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatistics:
    """What has come and gone since the block of a client began."""

    messages_received: int
    """Group and server messages, repeated ones apart."""
    frames_received: int
    bytes_received: int
    """Of those frames' payloads."""
    frames_sent: int
    """Messages of every kind, a frame each, what was written again included."""
    bytes_sent: int
    """Of those frames' payloads."""
    repeated: int
    """Messages that came again after a recovery, and were not delivered twice."""
    unrouted: int
    """Messages that no subscription wanted."""
    dropped: int
    """Messages that did not fit into the buffers of subscriptions, each subscription counted."""
    undecodable: int
    """Messages whose payload could not be decoded."""
    unreadable: int
    """Frames that could not be read at all."""
    unknown: int
    """Messages of a type that this version does not know."""
    sends_lost: int
    """Sends without an ack that were queued when their link dropped. Nobody else is told of these; whoever waits for
    an invocation or an ack is, so those do not count."""
    pending_sends: int
    """Operations that wait for their ack."""
    last_round_trip: float | None
    """Seconds between the last ping or operation and its answer."""
    recoveries: int
    reconnects: int
    """New sessions after the first."""
    connected_since: float | None
    """When the present session began, or was resumed, on trio's clock; ``None`` while there is none."""
