"""How long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def full_jitter(random: Callable[[], float], *, base: float = 0.5, cap: float = 30.0) -> Iterator[float]:
    """Give delays without end, in seconds: each between 0 and a limit that doubles from ``base`` up to ``cap``.

    Spread over the whole range, the clients of a service that was restarted do not all come back in the same moment.

    Args:
        random: Gives floats from 0 up to, but not including, 1, as `random.random` does.
        base: The limit of the first delay.
        cap: What the limit grows to.
    """
    limit = min(base, cap)
    while True:
        yield random() * limit
        limit = min(limit * 2, cap)
