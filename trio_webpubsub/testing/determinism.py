"""Makes everything that is left to chance follow from one seed: a run with the same seed is the same run."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, TypeVar

import trio
import trio.testing
import trio_websocket

from .._shell.clock import start_wall_clock
from ..protocol.arguments import check_callable, kind_of

# Private to trio, which has no public switch for it (trio's issue 2675). Hypothesis sets the same flag in the same way.
# A test runs the same seeds in two processes and compares every byte, so that a trio in which this is gone is noticed.
from trio._core import _run as _scheduler  # isort: skip # pyright: ignore[reportPrivateUsage]

EPOCH = 1_767_225_600.0
"""What time it is when a seeded run starts: 1 January 2026, in seconds since 1970."""

T = TypeVar("T")


def check_seed(seed: object) -> None:
    """Refuse what is no whole number: without one, chance would be left to chance.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"a seed is a whole number, not {kind_of(seed)}")


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Let the scheduler, random numbers, random bytes and the wall clock follow from ``seed`` while the block lasts.

    Inside of a trio program. What asks `secrets`, or a real clock, is not reached.

    Args:
        seed: any whole number.

    Raises:
        TypeError: ``seed`` is none.
        RuntimeError: this is no trio program.
    """
    check_seed(seed)
    _load_what_takes_random_bytes()
    scheduler: Any = _scheduler
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), random.getstate(), os.urandom  # noqa: SLF001
    numbers = trio_websocket.WebSocketConnection.CONNECTION_ID
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    scheduler._r.seed(seed)  # noqa: SLF001
    random.seed(seed)
    os.urandom = random.Random(f"bytes of {seed}").randbytes
    trio_websocket.WebSocketConnection.CONNECTION_ID = itertools.count()
    start_wall_clock(EPOCH)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # noqa: SLF001
        scheduler._r.setstate(before[1])  # noqa: SLF001
        random.setstate(before[2])
        os.urandom = before[3]
        trio_websocket.WebSocketConnection.CONNECTION_ID = numbers


def _load_what_takes_random_bytes() -> None:
    """Import now what a service client imports on its first call, since its modules take random bytes of their own."""
    with suppress(ImportError):
        for module in ("opentelemetry.propagate", "opentelemetry.trace.propagation"):
            import_module(module)


def simulate(main: Callable[..., Awaitable[T]], *args: Any, seed: int) -> T:
    """Run a trio program on a virtual clock that jumps to the next deadline, with all chance following from a seed.

    Args:
        main: the program, an async function.
        args: what it is called with.
        seed: any whole number.

    Returns:
        What ``main`` returns.

    Raises:
        TypeError: ``seed`` is none, or ``main`` cannot be called with ``args``.
    """
    check_seed(seed)
    check_callable("main", main, *(type(each).__name__ for each in args))

    async def run() -> T:
        with seeded(seed):
            return await main(*args)

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
