"""The emulator beside the same hub on other servers. Every server is a process of its own; the load comes from here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crowd import Crowd, call
from rounds import OURS, Goal, Missing, Scenario, command

HYPERCORN, PICOWS, BARE = "emulator_hypercorn", "emulator_picows", "emulator_bare"
PLAIN, RELIABLE = "json.webpubsub.azure.v1", "json.reliable.webpubsub.azure.v1"


@contextmanager
def server(name: str) -> Iterator[tuple[int, int]]:
    """Run a server; gives its port and its process id."""
    with subprocess.Popen(
        command("emulator_ours" if name == OURS else name), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise Missing("it does not start")
            yield int(port), process.pid
        finally:
            process.kill()


def memory(pid: int) -> int:
    """Give the bytes of memory that a process has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def processor_time(pid: int) -> float:
    """Give the seconds that a process has worked."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def broadcast(
    subprotocol: str, messages: int, in_flight: int, size: int = 100, *, of_work: bool = False
) -> Callable[[str, float], float]:
    """Deliveries a second of messages to all of 500; ``of_work``: of those seconds in which the server worked."""

    def run(name: str, scale: float) -> float:
        count = max(in_flight, int(messages * scale) // (8 if name == HYPERCORN else 1))
        with server(name) as (port, pid):
            crowd = Crowd(port, 500, subprotocol)
            try:
                crowd.broadcast(max(in_flight, count // 10), size, in_flight)  # once to get warm
                before = processor_time(pid)
                a_second = crowd.broadcast(count, size, in_flight)
                return count * 500 / (processor_time(pid) - before) if of_work else a_second
            finally:
                crowd.close()

    return run


def connects(name: str, scale: float) -> float:
    """WebSockets opened a second, one after another."""
    with server(name) as (port, _):
        crowd = Crowd(port, int(1_000 * scale), PLAIN)
        crowd.close()
        return crowd.connects_a_second


def requests(name: str, scale: float) -> float:
    """HTTP requests a second, on 20 connections."""
    count = int(12_000 * scale) // (4 if name == HYPERCORN else 1)
    with server(name) as (port, _):
        crowd = Crowd(port, 1, PLAIN)  # or there is no hub
        try:
            call(port, count // 10, 20)  # once to get warm
            return call(port, count, 20)
        finally:
            crowd.close()


def idle_memory(name: str, scale: float) -> float:
    """KB of memory that an idle connection takes."""
    members = int(1_000 * scale)
    with server(name) as (port, pid):
        first = Crowd(port, 20, PLAIN)
        before = memory(pid)
        second = Crowd(port, members, PLAIN)
        after = memory(pid)
        first.close()
        second.close()
        return (after - before) / members / 1024


def scenarios() -> list[Scenario]:
    """Give what is measured."""
    both = (HYPERCORN, PICOWS)
    plain: dict[str, Goal] = {HYPERCORN: (8, 12), PICOWS: (0.6, 0.8)}
    return [
        Scenario(
            name="broadcast to 500, plain JSON, 16 messages in flight",
            run=broadcast(PLAIN, 1_600, 16),
            peers=both,
            goals=plain,
        ),
        Scenario(
            name="broadcast to 500, plain JSON, one after the other",
            run=broadcast(PLAIN, 600, 1),
            peers=(*both, BARE),
            goals=plain,
        ),
        Scenario(
            name="broadcast to 500, plain JSON, one after the other, by the server's processor time",
            run=broadcast(PLAIN, 600, 1, of_work=True),
            peers=(*both, BARE),
            goals={HYPERCORN: plain[HYPERCORN]},
        ),
        Scenario(
            name="broadcast to 500, reliable JSON, 16 messages in flight",
            run=broadcast(RELIABLE, 1_200, 16),
            peers=both,
            goals={HYPERCORN: (5, 5)},
        ),
        Scenario(name="HTTP requests", run=requests, peers=(HYPERCORN,), goals={HYPERCORN: (3, 4)}),
        Scenario(name="connects", run=connects, peers=both),
        Scenario(
            name="memory of an idle connection",
            unit=" KB",
            run=idle_memory,
            peers=both,
            less_is_better=True,
            limit=(36, 36),
        ),
    ]
