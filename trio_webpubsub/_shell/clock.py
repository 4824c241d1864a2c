"""The one wall clock. On a virtual clock all parts of a program still agree on what time it is."""

from __future__ import annotations

import time

import trio

_epoch = trio.lowlevel.RunVar[float]("trio_webpubsub epoch")


def wall_time() -> float:
    """Seconds since 1970: the real time when this was first asked in a run, plus the run's own clock since then.

    Everything that has an ``exp``, an ``iat`` or an expiry uses it, so that a virtual clock moves them all together.
    """
    now = trio.current_time()
    try:
        epoch = _epoch.get()
    except LookupError:
        epoch = time.time() - now
        _epoch.set(epoch)
    return epoch + now
