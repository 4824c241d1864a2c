"""Which groups this client wants to be in."""

from __future__ import annotations


class Membership:
    """A group is *wanted* while it was joined explicitly, a subscription holds it, or a join is under way.

    Wanted outlives sessions: each new one joins all wanted groups. A group that stops being wanted is *to leave*: a
    state that the writer asks for, not a queued frame, so that a group wanted again in time is not left at all.
    """

    def __init__(self) -> None:
        self._explicit: set[str] = set()
        self._holders: dict[str, int] = {}  # how many subscriptions and joins under way want a group
        self._subscriptions: dict[str, int] = {}
        self._to_leave: dict[str, None] = {}  # in order

    def wanted(self) -> list[str]:
        """Give all wanted groups, in a stable order."""
        return list(dict.fromkeys([*sorted(self._explicit), *self._holders]))

    def is_wanted(self, group: str) -> bool:
        """Whether ``group`` is wanted."""
        return group in self._explicit or group in self._holders

    def is_subscribed(self, group: str) -> bool:
        """Whether an open subscription holds ``group``."""
        return group in self._subscriptions

    def subscribe(self, group: str) -> None:
        """A subscription opens."""
        _count_up(self._subscriptions, group)
        self.hold(group)

    def unsubscribe(self, group: str, *, maybe_joined: bool) -> None:
        """A subscription ends."""
        _count_down(self._subscriptions, group)
        self.release(group, maybe_joined=maybe_joined)

    def hold(self, group: str) -> None:
        """A join begins."""
        _count_up(self._holders, group)
        self._to_leave.pop(group, None)

    def release(self, group: str, *, maybe_joined: bool) -> None:
        """A join ended, well or not; ``maybe_joined`` says whether the service may have us in the group now."""
        _count_down(self._holders, group)
        if maybe_joined and not self.is_wanted(group):
            self._to_leave[group] = None

    def join(self, group: str) -> None:
        """An explicit join was acknowledged."""
        self._explicit.add(group)
        self._to_leave.pop(group, None)

    def forget(self, group: str) -> bool:
        """The explicit wish ends; gives whether there was one."""
        was_explicit = group in self._explicit
        self._explicit.discard(group)
        self._to_leave.pop(group, None)
        return was_explicit

    @property
    def leaving(self) -> bool:
        """Whether `take_leaves` has something to give."""
        return bool(self._to_leave)

    def take_leaves(self) -> list[str]:
        """Give the groups to leave now."""
        groups = list(self._to_leave)
        self._to_leave.clear()
        return groups

    def new_session(self) -> None:
        """Nobody is a member of anything in a new session, so nothing is left either."""
        self._to_leave.clear()


def _count_up(counts: dict[str, int], group: str) -> None:
    counts[group] = counts.get(group, 0) + 1


def _count_down(counts: dict[str, int], group: str) -> None:
    counts[group] -= 1
    if not counts[group]:
        del counts[group]
