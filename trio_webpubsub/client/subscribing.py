"""Opens subscriptions: with a route that stands at once, or when their group is joined on entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias, get_args

from ..protocol.arguments import check_choice, check_flags
from ..protocol.names import check_count
from .core import Core
from .route import Overflow, Route
from .router import Key
from .subscription import Subscription

Enter: TypeAlias = Callable[[], Awaitable[None]]
Release: TypeAlias = Callable[[], object]


def check_buffer(buffer: int, what: str) -> int:
    """Give the size of a buffer back if at least one thing fits.

    Raises:
        ValueError: none would.
        TypeError: it is no whole number.
    """
    if check_count("buffer", buffer) < 1:
        raise ValueError(f"buffer is {buffer}; at least one {what} must fit")
    return buffer


def subscribe(
    core: Core,
    key: Key,
    *,
    gaps: bool = False,
    buffer: int,
    overflow: Overflow,
    also: Key | None = None,
    join: str | None = None,
) -> Subscription[Any]:
    """Make a subscription to messages.

    Args:
        core: the client.
        key: what it gets.
        gaps: whether it is told of what is missing.
        buffer: messages that may wait.
        overflow: what becomes of more.
        also: what else it gets.
        join: the group to join on entry.

    Raises:
        TypeError, ValueError: an argument makes no sense.
    """
    check_flags(gaps=gaps)
    check_buffer(buffer, "message")
    check_choice("overflow", overflow, get_args(Overflow))
    route: Route[Any] = Route(buffer=buffer, overflow=overflow, gaps=gaps)
    enter, release = attach(core, route, key, also=also, join=join)
    return Subscription(route, enter=enter, release=release, abandoned=core.router.abandoned)


def attach(
    core: Core, route: Route[Any], key: Key, *, also: Key | None = None, join: str | None = None
) -> tuple[Enter | None, Release]:
    """Let a route have its messages, or give what does so on entry; and what ends that."""
    core.thread.check()
    if join is None:
        core.router.add(key, route, also)
        return None, partial(core.router.remove, key, route, also)
    if core.session.state == "stopped":
        route.end(core.end_of_subscriptions)
    return partial(core.enter_group, join, key, route, also), partial(core.release_group, join, key, route, also)
