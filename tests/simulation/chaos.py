"""``python -m tests.simulation.chaos``: real TCP and TLS on loopback, with resets, ends and stalls, on the real clock.

Not repeatable to the byte, as nothing real is. Every client listens to all that all of them say, through one broken
link after another; what it hears is checked, and that memory, descriptors and tasks do not grow.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from trio_webpubsub import Client, Gap, open_client
from trio_webpubsub.emulator import Cut, Emulator, SelfMadeCertificate, open_emulator

HUB = "chat"
GROUP = "g"
CLIENTS = 20
CUTS: tuple[Cut, ...] = ("reset", "eof", "silence")
PAUSE = 0.05
"""Seconds between two faults, about."""
REST = 5.0
LONGEST = 60.0
"""Seconds in which all has to be well again after the last one."""
MAY_GROW = 16 * 1024 * 1024
"""Bytes of memory between the first tenth and the end: what an allocator and the interpreter keep for themselves."""


@dataclass(frozen=True)
class Footprint:
    """What the process holds."""

    memory: int
    descriptors: int
    tasks: int


def footprint() -> Footprint:
    """Measure."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Footprint(
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir("/proc/self/fd")),
        sum(1 for _ in _tasks_below(trio.lowlevel.current_root_task())),
    )


def _tasks_below(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from _tasks_below(child)


class Listener:
    """Checks what one client hears: of each sender every number once, in order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: dict[str, int] = {}

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled."""
        async with self.client.group_messages(GROUP, gaps=True) as messages:
            task_status.started()
            async for message in messages:
                if isinstance(message, Gap):
                    raise AssertionError(f"{self.client.user_id} lost messages: {message}")
                sender, _, number = message.data.partition(":")
                expected = self.heard.get(sender, 0) + 1
                if int(number) != expected:
                    raise AssertionError(f"{self.client.user_id} heard {message.data} instead of {expected}")
                self.heard[sender] = expected


async def run(reconnects: int, *, tls: bool) -> str:
    """Break links until so many were made anew; gives what there is to say.

    Raises:
        AssertionError: something was lost, repeated or out of order, or kept growing.
    """
    certificate = SelfMadeCertificate() if tls else None
    server = None if certificate is None else certificate.server_context
    trusting = None if certificate is None else certificate.client_context
    async with open_emulator(ssl_context=server) as emulator, trio.open_nursery() as nursery:
        listeners: list[Listener] = []
        for number in range(CLIENTS):
            await nursery.start(_live, emulator, f"c{number}", trusting, listeners, nursery)
        sent: dict[str, int] = dict.fromkeys((str(each.client.user_id) for each in listeners), 0)
        start = time.monotonic()
        first: Footprint | None = None
        senders = trio.CancelScope()
        async with trio.open_nursery() as sending:
            for each in listeners:
                sending.start_soon(_talk, each.client, sent, senders)
            while (done := _reconnected(listeners)) < reconnects:
                if first is None and done >= reconnects / 10:
                    first = await _footprint_at_rest(listeners)
                await trio.sleep(random.uniform(0, 2 * PAUSE))
                _break_one(emulator)
            senders.cancel()
        with trio.fail_after(LONGEST):
            while not all(each.heard == sent for each in listeners):  # noqa: ASYNC110 - there is no event for all of that
                await trio.sleep(0.1)
        last = await _footprint_at_rest(listeners)
        nursery.cancel_scope.cancel()
    assert first is not None
    if last.memory - first.memory > MAY_GROW:
        raise AssertionError(f"memory grew from {first.memory:,} to {last.memory:,} bytes")
    if last.descriptors > first.descriptors + 5 or last.tasks > first.tasks + 5:
        raise AssertionError(f"something is left behind: {first} became {last}")
    return (
        f"{'TLS' if tls else 'TCP'}: {_reconnected(listeners):,} reconnects of {CLIENTS} clients in "
        f"{time.monotonic() - start:.0f} s, {sum(sent.values()) * CLIENTS:,} messages heard, each once and in order; "
        f"memory {first.memory / 1e6:.0f} MB, then {last.memory / 1e6:.0f} MB; descriptors {first.descriptors}, then "
        f"{last.descriptors}; tasks {first.tasks}, then {last.tasks}"
    )


async def _footprint_at_rest(listeners: list[Listener]) -> Footprint:
    """Measure when all are connected, and the service has noticed the end of every old link."""
    with trio.fail_after(LONGEST):
        while not all(each.client.state == "connected" for each in listeners):  # noqa: ASYNC110 - there is no event for all of that
            await trio.sleep(0.1)
    await trio.sleep(REST)
    return footprint()


async def _live(
    emulator: Emulator,
    user_id: str,
    trusting: ssl.SSLContext | None,
    listeners: list[Listener],
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    async def url() -> str:
        return emulator.client_url(HUB, user_id=user_id)

    async with open_client(url, ssl_context=trusting, keep_alive_interval=0.5, keep_alive_timeout=2) as client:
        listener = Listener(client)
        await nursery.start(listener.run)
        listeners.append(listener)
        task_status.started()
        await trio.sleep_forever()


async def _talk(client: Client, sent: dict[str, int], scope: trio.CancelScope) -> None:
    """Say one number after another, each as soon as the last was acknowledged."""
    name = str(client.user_id)
    while not scope.cancel_called:
        await client.send_to_group(GROUP, f"{name}:{sent[name] + 1}")
        sent[name] += 1
        await trio.sleep(random.uniform(0, 0.5))


def _break_one(emulator: Emulator) -> None:
    attached = [each for each in emulator.connections(HUB) if each.attached]
    if attached:
        how = random.choices(CUTS, (5, 4, 1))[0]
        after = random.choice((0, random.randrange(500)))
        emulator.cut(random.choice(attached).connection_id, how, after_bytes=after)


def _reconnected(listeners: list[Listener]) -> int:
    statistics = [each.client.statistics() for each in listeners]
    return sum(each.recoveries + each.reconnects for each in statistics)


def main() -> int:
    """Do it over TCP, then over TLS."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.chaos", description=__doc__)
    parser.add_argument("--reconnects", type=int, default=2_000, help="links made anew, half of them over TLS")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for tls in (False, True):
        print(trio.run(partial(run, options.reconnects // 2, tls=tls)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
