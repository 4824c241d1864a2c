"""Who is connected to a hub, as which user and in which groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from ...protocol import wire
from ...protocol.subprotocols import SUBPROTOCOLS, is_reliable
from .ack_memory import AckMemory
from .effects import Token, Transport
from .inputs import ConnectRequest
from .limits import HubLimits
from .roles import Roles
from .session import Session

Request: TypeAlias = wire.Acknowledged | wire.Invoke
"""What a client asks for, and waits its turn."""


class Connection:
    """One connection id, over all its transports."""

    def __init__(
        self,
        request: ConnectRequest,
        *,
        subprotocol: str | None,
        user_id: str | None,
        roles: Sequence[str],
        groups: Sequence[str],
        limits: HubLimits,
    ) -> None:
        self.id: str = request.connection_id
        self.user_id = user_id
        self.subprotocol = subprotocol
        """What was agreed on, as the client spells it."""
        self.is_simple: bool = subprotocol is None or subprotocol.lower() not in SUBPROTOCOLS
        """Whether it exchanges bare payloads: it is told nothing but what somebody sends."""
        self.roles: Roles = Roles(roles, limits)
        self.groups: dict[str, None] = dict.fromkeys(groups)
        """The groups that it is in, in the order in which it joined them."""
        self.transport: Transport | None = None
        """``None`` while a reliable session waits for its client to come back."""
        self.ack_ids: AckMemory = AckMemory(limits.ack_ids)
        self.question: Token | None = None
        """The event that is being handled."""
        self.waiting: deque[Request] = deque()
        """What the client asked for meanwhile."""
        self.farewell: str | None = None
        """Set when it has ended and event handlers are still to be told: the reason."""
        self.session: Session | None = None
        """``None`` on a subprotocol that is not reliable."""
        if subprotocol is not None and not self.is_simple and is_reliable(subprotocol):
            self.session = Session(request.session_secret, limits)


class Registry:
    """The connections of a hub by id, by user and by group, each in the order in which they came."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, dict[str, Connection]] = {}
        """Connections by user id, then by connection id. A user without any is not listed."""
        self.groups: dict[str, dict[str, Connection]] = {}
        """Members by group, then by connection id. A group without any is not listed."""

    def add(self, connection: Connection) -> None:
        """Take a connection up, as a member of its groups."""
        self.connections[connection.id] = connection
        if connection.user_id is not None:
            self.users.setdefault(connection.user_id, {})[connection.id] = connection
        for group in connection.groups:
            self.groups.setdefault(group, {})[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Strike a connection off everywhere."""
        del self.connections[connection.id]
        if connection.user_id is not None:
            _discard(self.users, connection.user_id, connection.id)
        for group in connection.groups:
            _discard(self.groups, group, connection.id)

    def select(
        self,
        *,
        connection_id: str | None = None,
        user_id: str | None = None,
        group: str | None = None,
        excluded: Collection[str] = (),
        fits: Callable[[Connection], bool] | None = None,
    ) -> list[Connection]:
        """Find connections: all, or those of one id, user or group; without the excluded ids, and only what fits."""
        if connection_id is not None:
            found = [self.connections[connection_id]] if connection_id in self.connections else []
        elif user_id is not None:
            found = list(self.users.get(user_id, {}).values())
        else:
            found = list((self.connections if group is None else self.groups.get(group, {})).values())
        if excluded:
            excluded = frozenset(excluded)
            found = [each for each in found if each.id not in excluded]
        return found if fits is None else [each for each in found if fits(each)]

    def join(self, connection: Connection, group: str) -> bool:
        """Make a connection a member; tell whether it was none."""
        if group in connection.groups:
            return False
        connection.groups[group] = None
        self.groups.setdefault(group, {})[connection.id] = connection
        return True

    def leave(self, connection: Connection, group: str) -> bool:
        """End a membership; tell whether there was one."""
        if group not in connection.groups:
            return False
        del connection.groups[group]
        _discard(self.groups, group, connection.id)
        return True


def _discard(index: dict[str, dict[str, Connection]], key: str, connection_id: str) -> None:
    members = index[key]
    del members[connection_id]
    if not members:
        del index[key]
