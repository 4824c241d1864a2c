"""What connections tell a group about themselves, as a live mapping (a preview of the service)."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import trio

from .._shell.blocks import block
from ..errors import AckTimeout
from ..protocol.group_state import ObservedGroup
from ..protocol.messages import GroupStateChange, MemberState
from ..protocol.pending import Operation
from .core import Core
from .route import Route
from .state_watchers import StateWatchers
from .subscribing import check_buffer
from .subscription import Subscription

DEFAULT_BUFFER = 10_000


class GroupState(Mapping[str, MemberState]):
    """The states of a group's connections by connection id, always as the service told last.

    Get one from `Client.group_state`. It changes while other tasks run: take a copy (``dict(members)``) to hold on to.
    """

    def __init__(self, watchers: StateWatchers, observed: ObservedGroup, abandoned: list[Callable[[], object]]) -> None:
        self._watchers = watchers
        self._observed = observed
        self._abandoned = abandoned
        self._routes: list[Route[GroupStateChange]] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<GroupState of {self.group!r}: {len(self)}>"

    @property
    def group(self) -> str:
        """The group."""
        return self._observed.group

    def __getitem__(self, connection_id: str) -> MemberState:
        return self._observed.members[connection_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._observed.members)

    def __len__(self) -> int:
        return len(self._observed.members)

    def changes(self, *, buffer: int = DEFAULT_BUFFER) -> Subscription[GroupStateChange]:
        """Watch the changes: first every state there is, then each that is new or gone, in order.

        After a lost session the service tells all states anew, and what differs comes as changes. It ends with the
        client's block, and with `GroupLost` when the states of the group cannot be watched any more.

        Args:
            buffer: Changes that may wait for the consumer, 10,000 by default.

        Raises:
            ValueError: ``buffer`` is less than 1.
            trio.ClosedResourceError: the block of `Client.group_state` has ended.

        Back-pressure: a consumer that is more than ``buffer`` changes behind gets `SubscriptionOverflow`, after them.
        """
        check_buffer(buffer, "change")
        if self._closed:
            raise trio.ClosedResourceError("the block that watched the group has ended")
        route: Route[GroupStateChange] = Route(buffer=buffer, overflow="error", max_bytes=math.inf)
        self._watchers.open(self._observed, route)
        self._routes.append(route)
        return Subscription(route, enter=None, release=partial(self._release, route), abandoned=self._abandoned)

    def _release(self, route: Route[GroupStateChange]) -> None:
        if route in self._routes:
            self._routes.remove(route)
        self._watchers.close(self._observed, route)

    def close(self) -> None:
        """End all that watch for changes here."""
        self._closed = True
        for route in list(self._routes):
            self._release(route)


@block("async with client.group_state(group) as members:")
@asynccontextmanager
async def watching(core: Core, group: str) -> AsyncGenerator[GroupState, None]:
    """Watch the states in a group for as long as the block runs; see `Client.group_state`."""
    states = core.session.outgoing.states
    watched: list[tuple[ObservedGroup, Operation]] = []

    def subscribe() -> Operation:
        watched.append(states.observe(group))
        return watched[0][1]

    members: GroupState | None = None
    try:
        await core.perform(subscribe)
        observed, operation = watched[0]
        with trio.move_on_after(core.session.ack_timeout) as scope:
            await core.states.wait_complete(observed, core.raise_if_stopped)
        if scope.cancelled_caught:
            raise AckTimeout(operation.ack_id)
        members = GroupState(core.states, observed, core.router.abandoned)
        yield members
    finally:
        if members is not None:
            members.close()
        if watched and core.session.state != "stopped":
            states.release(watched[0][0])
            core.wake_writer()
