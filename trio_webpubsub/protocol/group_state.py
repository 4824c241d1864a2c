"""What connections tell a group about themselves: presence, typing, cursors (a preview of the service).

Each connection may set one dictionary of strings in a group; each set replaces the last. Whoever subscribes gets a
snapshot of all dictionaries, and then the changes. A snapshot is the whole truth: what is not in it is gone.

All of this belongs to a session. In a new one this client's own states are set again and its subscriptions are made
anew; what the new snapshot says differently is told as changes. After a recovery there is nothing to do, for the
service sends what was missed.

Sources: the shared schema (Azure/azure-webpubsub, ``protocols/protobuf.webpubsub.azure.v1``) and the tests of the
official JavaScript client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from . import wire
from .messages import GroupStateChange, MemberState
from .pending import Done, Operation, Refused, Unanswered
from .wire import Acknowledged


@dataclass(slots=True, eq=False, weakref_slot=True)
class ObservedGroup:
    """A group whose states are watched, by one or more subscribers."""

    group: str
    members: dict[str, MemberState] = field(default_factory=dict[str, MemberState])
    """By connection id."""
    complete: bool = False
    """Whether a snapshot has come."""
    subscribers: int = 0


class StateChanged(msgspec.Struct, frozen=True):
    """States in a group are new or gone, or a snapshot came that says nothing new."""

    observed: ObservedGroup
    changes: list[GroupStateChange]


class StateRefused(msgspec.Struct, frozen=True):
    """In a new session, the service did not take this client's state again, or not its subscription."""

    group: str
    operation: Operation | None
    """What failed; ``None`` if the service was not asked."""
    observed: ObservedGroup | None
    """The group whose changes are not told any more; ``None`` if it was about the client's own state."""


class GroupStates:
    """The states that this client sets, and those it watches."""

    def __init__(self, submit: Callable[[Acknowledged], Operation], never_retry: Callable[[Operation], None]) -> None:
        """Start without any.

        Args:
            submit: queues an operation.
            never_retry: lets the next failure of an operation be its end.
        """
        self._submit = submit
        self._never_retry = never_retry
        self._own: dict[str, Mapping[str, str]] = {}
        self._setting: dict[str, Operation] = {}  # the newest, by group
        self._observed: dict[str, ObservedGroup] = {}
        self._ending: dict[str, Operation] = {}  # ends of subscriptions, by group, until they have their outcome

    # What callers ask for

    def set(self, group: str, state: Mapping[str, str] | None) -> Operation:
        """Replace this client's state in a group; ``None`` clears it."""
        operation = self._submit(wire.SetGroupState(group, state))
        if (before := self._setting.get(group)) is not None and before.purpose == "internal":
            self._never_retry(before)  # or it would come behind this one
        self._setting[group] = operation
        return operation

    def observe(self, group: str) -> tuple[ObservedGroup, Operation]:
        """Watch the states in a group. Every watcher subscribes, and so gets a snapshot of its own."""
        observed = self._observed.setdefault(group, ObservedGroup(group))
        observed.subscribers += 1
        if (ending := self._ending.pop(group, None)) is not None:
            self._never_retry(ending)  # or it would come behind this one
        return observed, self._submit(wire.SubscribeGroupState(group))

    def release(self, observed: ObservedGroup) -> None:
        """Stop watching; the last one ends the subscription."""
        observed.subscribers -= 1
        if not observed.subscribers and self._observed.get(observed.group) is observed:
            del self._observed[observed.group]
            operation = self._ending[observed.group] = self._submit(wire.UnsubscribeGroupState(observed.group))
            operation.purpose = "internal"

    @property
    def own(self) -> Mapping[str, Mapping[str, str]]:
        """The states that this client has set, by group."""
        return self._own

    def restore(self, own: Mapping[str, Mapping[str, str]]) -> None:
        """Go on with the states of the process that had this session before."""
        self._own.update(own)

    # What the session tells

    def take(self, message: wire.GroupState) -> StateChanged | None:
        """Take a snapshot or an update; gives what is new, if anybody watches."""
        observed = self._observed.get(message.group)
        if observed is None:
            return None
        changes: list[GroupStateChange] = []
        if message.snapshot:
            listed = {item.connection_id for item in message.items if item.state is not None}
            for connection_id in [each for each in observed.members if each not in listed]:
                gone = observed.members.pop(connection_id)
                changes.append(_change(connection_id, gone.user_id, None, gone.updated_at))
        for item in message.items:
            _apply(observed.members, item, changes)
        observed.complete = observed.complete or message.snapshot
        return StateChanged(observed, changes) if changes or message.snapshot else None

    def settled(self, operation: Operation) -> StateRefused | None:
        """An operation has its outcome; gives what has to be told though nobody waits for the operation."""
        message, outcome = operation.message, operation.outcome
        refused = operation.purpose == "internal" and isinstance(outcome, Refused | Unanswered)
        match message:
            case wire.SetGroupState(group, state):
                newest = self._setting.get(group) is operation
                if newest:
                    del self._setting[group]
                if isinstance(outcome, Done):
                    self._remember(group, state)
                elif refused and newest:
                    self._remember(group, None)
                    return StateRefused(group, operation, None)
            case wire.UnsubscribeGroupState(group) if self._ending.get(group) is operation:
                del self._ending[group]
            case wire.SubscribeGroupState(group) if refused and group in self._observed:
                return StateRefused(group, operation, self._observed.pop(group))
            case _:
                pass
        return None

    def withdrawn(self, operation: Operation) -> None:
        """The caller of an operation went away. A state that may have been set is set again in the next session."""
        match operation.message:
            case wire.SetGroupState(group, state) if self._setting.get(group) is operation:
                del self._setting[group]
                if operation.writes:
                    self._remember(group, state)
            case _:
                pass

    def session_begun(self) -> None:
        """Set and subscribe again, except for states that are about to be replaced anyway."""
        for group, state in list(self._own.items()):
            if group not in self._setting:
                self.set(group, state).purpose = "internal"
        for group in self._observed:
            self._submit(wire.SubscribeGroupState(group)).purpose = "internal"

    def give_up(self) -> list[StateRefused]:
        """A new session begins, and nothing shall be set or watched in it."""
        observed, self._observed = self._observed, {}
        self._own.clear()
        return [StateRefused(group, None, each) for group, each in observed.items()]

    def _remember(self, group: str, state: Mapping[str, str] | None) -> None:
        if state is None:
            self._own.pop(group, None)
        else:
            self._own[group] = state


def _apply(members: dict[str, MemberState], item: wire.GroupStateItem, changes: list[GroupStateChange]) -> None:
    updated_at = item.updated_at / 1000
    if item.state is None:
        if members.pop(item.connection_id, None) is not None:
            changes.append(_change(item.connection_id, item.user_id, None, updated_at))
        return
    member = MemberState(user_id=item.user_id, state=item.state, updated_at=updated_at)
    if members.get(item.connection_id) != member:
        members[item.connection_id] = member
        changes.append(_change(item.connection_id, item.user_id, item.state, updated_at))


def _change(
    connection_id: str, user_id: str | None, state: Mapping[str, str] | None, updated_at: float
) -> GroupStateChange:
    return GroupStateChange(connection_id=connection_id, user_id=user_id, state=state, updated_at=updated_at)
