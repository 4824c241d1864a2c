"""What a hub keeps and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...protocol import names
from ...protocol.arguments import check_number


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLimits:
    """The limits of one hub; the defaults are the service's, as far as they are known.

    Sources: client specification, "Recovery" and "Sequence Ack" (window, unacknowledged data); the others are modelled
    on the official emulator.

    Raises:
        ValueError: one is below 0.
        TypeError: one is no number.
    """

    recovery_window: float = names.RECOVERY_WINDOW
    """Seconds for which a reliable session waits for its client after the transport was lost."""
    unacknowledged_messages: int = names.MAX_UNACKNOWLEDGED_MESSAGES
    """Messages that a reliable session keeps for its client; one more ends the session."""
    unacknowledged_bytes: int = names.MAX_UNACKNOWLEDGED_BYTES
    """Bytes of payload that a reliable session keeps for its client; one more ends the session."""
    ack_ids: int = names.ACK_IDS_REMEMBERED
    """Ack ids that a connection remembers."""
    role_patterns: int = 9
    """Wildcard patterns that count, for each permission of one connection."""
    role_groups: int = 1_000
    """Literal group names that count, for each permission of one connection."""
    ttl_seconds: int = names.MAX_TTL_SECONDS
    """The longest life that a client may ask for its message."""
    stream_idle_timeout: float = 300.0
    """Seconds without a fragment after which a stream ends whose sender did not choose."""
    streams: int = 1_000
    """Streams that a connection may have open."""
    states: int = 1_000
    """Groups in which a connection may have a state, and just as many whose states it may watch."""
    state_bytes: int = names.MAX_MESSAGE_SIZE
    """Bytes of text in all states of a connection."""
    waiting_requests: int = 100
    """Requests of one connection that wait for the answer to its event; with more, it is not read from."""
    waiting_bytes: int = names.MAX_MESSAGE_SIZE
    """Bytes in these requests."""
    groups: int = 1_000
    """Groups that a connection may be in."""
    connections: int = 10_000
    """Connections of a hub, those included that wait for their client to come back."""
    queued_bytes: int = names.MAX_UNACKNOWLEDGED_BYTES
    """Bytes that wait for a client that does not read; more cuts its WebSocket."""
    all_queued_bytes: int = 16 * names.MAX_UNACKNOWLEDGED_BYTES
    """Bytes that wait for all such clients together, of all hubs; more cuts the one that has the most."""
    catch_up_time: float = 0.2
    """Seconds for which senders wait for those who have a lot to confirm. A client on this machine needs less."""

    def __post_init__(self) -> None:
        for each in fields(self):
            check_number(each.name, getattr(self, each.name), zero=True)
