"""The one wall clock. On a virtual clock all parts of a program still agree on what time it is."""

from __future__ import annotations

import sys
import time

import trio

_epoch = trio.lowlevel.RunVar[float]("trio_webpubsub epoch")


def wall_time() -> float:
    """Seconds since 1970; on a virtual clock the real time when this was first asked in a run, plus that clock since.

    Everything that has an ``exp``, an ``iat`` or an expiry uses it, so that a virtual clock moves them all together.
    """
    if not _is_virtual(trio.lowlevel.current_clock()):
        return time.time()  # and not trio's clock, which stands still while the machine sleeps
    now = trio.current_time()
    try:
        epoch = _epoch.get()
    except LookupError:
        epoch = time.time() - now
        _epoch.set(epoch)
    return epoch + now


def start_wall_clock(now: float) -> None:
    """Say what time it is on this run's virtual clock, in seconds since 1970: for runs that have to be the same."""
    _epoch.set(now - trio.current_time())


def _is_virtual(clock: trio.abc.Clock) -> bool:
    testing = sys.modules.get("trio.testing")  # slow to load, and whoever has such a clock has loaded it
    return testing is not None and isinstance(clock, testing.MockClock)
