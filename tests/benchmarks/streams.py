"""Streams of the client beside those of the official JavaScript one, which alone has any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import stream_load
from rounds import Scenario, run_peer

JS = "official_js"


@contextmanager
def generator() -> Iterator[str]:
    """Run the load generator; gives where it listens."""
    process, port = stream_load.start()
    try:
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()


def scenarios(there: str) -> list[Scenario]:
    """Give what is measured, as fragments a second."""

    def runner(what: str, count: int, size: int) -> Callable[[str, float], float]:
        def run(name: str, scale: float) -> float:
            fragments = int(count * scale)
            url = f"{there}/client/hubs/{what}_{fragments}_{size}?access_token=none"
            return fragments / run_peer(f"streams_{name}", what, url, fragments, size)

        return run

    return [
        Scenario(
            name=f"{what} fragments of {size:,} B", run=runner(what, count, size), peers=(JS,), goals={JS: (2, 2.5)}
        )
        for what, count, size in (
            ("write", 50_000, 20),
            ("write", 50_000, 1_000),
            ("read", 100_000, 20),
            ("read", 50_000, 1_000),
        )
    ]
