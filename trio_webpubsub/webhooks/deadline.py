"""A deadline for one call, under trio and under asyncio: an ASGI server may run on either."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class DeadlinePassed(Exception):
    """A call took too long, and was cancelled."""


async def run_within(seconds: float, call: Callable[[], Awaitable[T]]) -> T:
    """Await what ``call`` gives.

    Raises:
        DeadlinePassed: It took longer than ``seconds``; whatever timeouts of its own it raises pass unchanged.

    Cancellation: It is cancelled too.
    """
    if _is_trio_running():
        with trio.move_on_after(seconds):
            return await call()
        raise DeadlinePassed
    scope = asyncio.timeout(None if math.isinf(seconds) else seconds)
    try:
        async with scope:
            return await call()
    except TimeoutError:
        if scope.expired():
            raise DeadlinePassed from None
        raise


def new_event() -> trio.Event | asyncio.Event:
    """Make an event of whichever of the two is running."""
    return trio.Event() if _is_trio_running() else asyncio.Event()


def _is_trio_running() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
