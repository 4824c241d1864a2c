"""Which connections there are, on which transport each of them is, and how they go."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterable
from typing import TypeAlias

from ...protocol.wire import DisconnectedMessage
from .effects import Abort, Close, Effect, Notice, Notify, Send, Transport
from .limits import HubLimits
from .registry import Connection, Registry

Effects: TypeAlias = list[Effect]

MAX_CLOSE_REASON = 123
"""Bytes of text that a close frame can hold."""

_NORMAL = 1000

CONNECTION_LOST = "The connection was lost."
SLOW_CLIENT = "SlowClient"
WINDOW_PASSED = "The client did not come back in time."


class TooManyGroups(Exception):
    """A connection would be in more groups than it may be in."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A connection is in at most {most:,} groups.")


class Lifetimes:
    """Begins and ends connections, and tells those who handle events about it."""

    def __init__(self, limits: HubLimits, announced: Container[Notice]) -> None:
        """Start without connections; ``announced`` are the notices that somebody wants to have."""
        self.registry: Registry = Registry()
        self.attached: dict[Transport, Connection] = {}
        self.behind: set[str] = set()
        """Connected clients that have left half of what they may unconfirmed."""
        self.stalled: set[str] = set()
        """Connections with so many waiting requests that no more should be read."""
        self.departed: deque[Connection] = deque()
        """Connections that have ended, until what else they had has ended too."""
        self._recovery_window = limits.recovery_window
        self._most_groups = limits.groups
        self._announced = announced
        # When the windows of sessions without a transport end. All windows are equally long, so the first ends first.
        self._expiries: dict[str, float] = {}

    # Connections

    def begin(self, connection: Connection, transport: Transport, effects: Effects) -> None:
        """Take a connection up."""
        self.registry.add(connection)
        self.attach(connection, transport)
        self.notify("connected", connection, effects)
        for group in connection.groups:
            self.notify("joined", connection, effects, group)

    def is_there(self, connection: Connection) -> bool:
        """Whether it has not ended."""
        return self.registry.connections.get(connection.id) is connection

    def end(self, connection: Connection, reason: str, effects: Effects) -> None:
        """Strike a connection off, for this reason."""
        self.registry.remove(connection)
        self.departed.append(connection)
        self._expiries.pop(connection.id, None)
        if connection.transport is not None:
            self.detach(connection, connection.transport)
        connection.farewell = reason
        self.bid_farewell(connection, effects)

    def lose(self, connection: Connection, reason: str, effects: Effects) -> None:
        """Cut a connection, with what its client asked for and did not get yet."""
        if connection.transport is not None:
            effects.append(Abort(connection.transport))
        self._forget_requests(connection)
        self.end(connection, reason, effects)

    def close(self, connection: Connection, code: int, reason: str, effects: Effects) -> None:
        """Close a connection on purpose. The client is told why: in a message, and in the close frame of a failure.

        A server's own reason is not put into the close frame (so the official emulator), which has little room.
        """
        if connection.transport is not None:
            if not connection.is_simple:
                effects.append(Send(connection.transport, DisconnectedMessage(reason or None)))
            told = reason if code != _NORMAL and len(reason.encode()) <= MAX_CLOSE_REASON else ""
            effects.append(Close(connection.transport, code, told))
        self._forget_requests(connection)
        self.end(connection, reason, effects)

    def _forget_requests(self, connection: Connection) -> None:
        connection.waiting.clear()
        self.stalled.discard(connection.id)

    def bid_farewell(self, connection: Connection, effects: Effects) -> None:
        """Tell that a connection has ended, once: when nothing of what its client sent is left to be done."""
        if connection.farewell is None or connection.question is not None or connection.waiting:
            return
        for group in connection.groups:
            self.notify("left", connection, effects, group)
        self.notify("disconnected", connection, effects, connection.farewell)
        connection.farewell = None

    def notify(self, notice: Notice, connection: Connection, effects: Effects, detail: str = "") -> None:
        """Tell those who handle events, if they want to hear it."""
        if notice in self._announced:
            effects.append(Notify(notice, connection.id, connection.user_id, connection.subprotocol, detail))

    # Memberships

    def check_room(self, connection: Connection, groups: Iterable[str]) -> None:
        """Check that a connection may become a member of these groups too.

        Raises:
            TooManyGroups: it may not.
        """
        if len(connection.groups.keys() | set(groups)) > self._most_groups:
            raise TooManyGroups(self._most_groups)

    def join(self, connection: Connection, group: str, effects: Effects) -> None:
        """Make a connection a member; one that has ended stays out."""
        if self.is_there(connection) and self.registry.join(connection, group):
            self.notify("joined", connection, effects, group)

    def leave(self, connection: Connection, group: str, effects: Effects) -> None:
        """End a membership."""
        if self.is_there(connection) and self.registry.leave(connection, group):
            self.notify("left", connection, effects, group)

    # Transports

    def attach(self, connection: Connection, transport: Transport) -> None:
        """Put a connection on a transport."""
        connection.transport = transport
        self.attached[transport] = connection
        self._expiries.pop(connection.id, None)
        if connection.session is not None and connection.session.is_behind:
            self.behind.add(connection.id)

    def detach(self, connection: Connection, transport: Transport) -> None:
        """Take a connection off its transport."""
        del self.attached[transport]
        connection.transport = None
        self.behind.discard(connection.id)

    def wait_for_recovery(self, connection: Connection, transport: Transport, now: float) -> None:
        """Take a connection off its transport, and open its window."""
        self.detach(connection, transport)
        self._expiries[connection.id] = now + self._recovery_window

    @property
    def next_deadline(self) -> float:
        """When a window passes; ``math.inf`` if none is open."""
        return next(iter(self._expiries.values()), math.inf)

    def end_expired(self, now: float, effects: Effects) -> None:
        """End the connections whose window has passed."""
        while self.next_deadline <= now:
            self.end(self.registry.connections[next(iter(self._expiries))], WINDOW_PASSED, effects)
