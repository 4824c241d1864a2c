"""How the cost of the client grows with what there is of something: the lines in the plot have to be straight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from client import Load
from emulator import idle_memory
from rounds import OURS, run_peer


@dataclass(frozen=True)
class Growth:
    """One line."""

    name: str
    across: str
    """What grows."""
    up: str
    """What it costs."""
    steps: tuple[int, ...]
    cost: Callable[[int], float]


def growths(there: Load, scale: float) -> list[Growth]:
    """Give what is measured."""

    def of(what: str, hub: str, count: int, size: int) -> float:
        url = f"{there.url}/client/hubs/{hub}_{count}_{size}?access_token=none"
        return run_peer(OURS, what, url, count, size) / count * 1e6

    messages = int(50_000 * scale)
    return [
        Growth(
            "groups with a subscription",
            "groups",
            "µs a message received",
            (1, 10, 100, 1_000, 10_000),
            lambda groups: of(f"groups {groups}", "receive", messages, 100),
        ),
        Growth(
            "size of messages",
            "bytes",
            "µs a message received",
            (100, 1_000, 10_000, 100_000, 1_000_000),
            lambda size: of("receive", "receive", max(50, min(messages, int(100_000_000 * scale) // size)), size),
        ),
        Growth(
            "tasks that send with acks",
            "tasks",
            "µs an acknowledged send",
            (1, 10, 100, 1_000),
            lambda tasks: of(f"senders {tasks}", "ack", max(2 * tasks, int(10_000 * scale) // tasks * tasks), 100),
        ),
        Growth(
            "clients in one process",
            "clients",
            "KB of memory each",
            (10, 100, 1_000, 5_000),
            lambda clients: run_peer(OURS, "idle", f"{there.url}/client/hubs/ack_1_1?access_token=none", clients, 0),
        ),
        Growth(
            "connections to one emulator",
            "connections",
            "KB of memory each",
            (100, 1_000, 5_000),
            lambda connections: idle_memory(OURS, connections / 1_000),
        ),
    ]
