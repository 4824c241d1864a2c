"""Sends one message to many connections, and keeps it for those that have to confirm it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from ...protocol.wire import Numbered
from .effects import Deliver, Effect, Transport
from .lifetimes import SLOW_CLIENT, Lifetimes
from .registry import Connection
from .session import Session

Effects: TypeAlias = list[Effect]


class Deliveries:
    """Fans messages out, and takes their confirmations."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes

    def deliver(
        self,
        message: Numbered,
        connections: Iterable[Connection],
        effects: Effects,
        *,
        now: float,
        expires: float = math.inf,
    ) -> None:
        """Send a message to these connections; who has no room for it is lost."""
        recipients: list[tuple[Transport, int | None]] = []
        overflown: list[Connection] = []
        for connection in connections:
            number: int | None = None
            session = connection.session
            if session is not None:
                number = session.unconfirmed.append(message, now=now, expires=expires)
                if number is None:
                    overflown.append(connection)
                    continue
                if not session.is_behind and session.unconfirmed.is_half_full:
                    session.is_behind = True
                    if connection.transport is not None:
                        self._lifetimes.behind.add(connection.id)
            if connection.transport is not None:
                recipients.append((connection.transport, number))
        if recipients:
            effects.append(Deliver(message, recipients))
        for connection in overflown:
            self._lifetimes.lose(connection, SLOW_CLIENT, effects)

    def confirm(self, connection_id: str, session: Session, sequence_id: int) -> None:
        """Take the confirmation of every message up to this one."""
        session.unconfirmed.acknowledge(sequence_id)
        if session.is_behind and not session.unconfirmed.is_half_full:
            session.is_behind = False
            self._lifetimes.behind.discard(connection_id)

    def replay(self, session: Session, transport: Transport, now: float, effects: Effects) -> None:
        """Send what was not confirmed once more, in order."""
        for number, message in session.unconfirmed.replay(now):
            effects.append(Deliver(message, [(transport, number)]))
