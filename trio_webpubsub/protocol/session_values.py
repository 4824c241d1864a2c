"""What goes into a `session.Session` and what comes out of it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from .group_state import StateChanged, StateRefused
from .invocations import Invocation
from .messages import Gap, GroupMessage, Lifecycle, ServerMessage
from .outgoing_stream import OutgoingStream
from .pending import Operation

State: TypeAlias = Literal["connecting", "connected", "recovering", "reconnecting", "stopped"]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    ack_timeout: float = 30.0
    recovery_timeout: float = 30.0
    keep_alive_interval: float = 20.0
    keep_alive_timeout: float = 10.0
    send_retries: int = 3
    auto_rejoin: bool = True
    max_message_size: int = 1024 * 1024
    max_in_flight: int = 500
    """The service remembers about 1,000 ack ids; half of them leaves room for those on the way."""


class GroupRefused(msgspec.Struct, frozen=True):
    """A wanted group is not joined in a new session: its ``rejoin`` failed, or without one it was not asked for."""

    group: str
    rejoin: Operation | None


class Delivery(msgspec.Struct, frozen=True):
    """Messages for those who wait for them, in order, as many as came without anything else between them."""

    messages: list[GroupMessage | ServerMessage]
    sizes: list[int]
    """Of the frames, in bytes."""


Output: TypeAlias = (
    Delivery | Gap | Operation | Invocation | OutgoingStream | StateChanged | StateRefused | Lifecycle | GroupRefused
)


class Recover(msgspec.Struct, frozen=True):
    """Open a transport for the present session, until ``deadline``."""

    connection_id: str
    reconnection_token: str
    deadline: float

    def __repr__(self) -> str:  # the token is a secret
        return f"Recover(connection_id={self.connection_id!r}, deadline={self.deadline!r})"


class Reconnect(msgspec.Struct, frozen=True):
    """Open a transport for a new session."""


class Stop(msgspec.Struct, frozen=True):
    """Do nothing more."""


Step: TypeAlias = Recover | Reconnect | Stop


@dataclass(slots=True)
class Counts:
    """What has come and gone, for `statistics`."""

    messages_received: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0
    repeated: int = 0
    undecodable: int = 0
    unreadable: int = 0
    unknown: int = 0
    posts_lost: int = 0
    sessions: int = 0
    recoveries: int = 0
    last_round_trip: float | None = None
    connected_since: float | None = None
