"""Can the checker see? ``python -m tests.simulation.mutants`` plants defects in a copy of the package, one at a time.

Each has to be noticed by a simulation that is bounded in time, on one processor. Every mutant breaks something real
that the promise rests on. The list and the result stand in the documentation (docs/topics/guarantees.rst).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import trio_webpubsub

from .stream_defects import STREAM_DEFECTS

TESTS = Path(__file__).parent.parent
PACKAGE = "trio_webpubsub"
SOURCES = Path(trio_webpubsub.__file__).parent
"""Those that are tested, which need not stand beside the tests."""
SECONDS = 60.0
"""That a simulation has to notice a mutant."""


class Mutant(NamedTuple):
    """A defect: in a module, some text that stands there once, and what stands there instead."""

    name: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str, str], ...] = ()
    """What else has to be changed for it, each a module, a text and another text."""


MUTANTS = [
    # What comes down
    Mutant("dedupe off", "protocol/sequence.py", "if sequence_id <= self.newest:", "if False:"),
    Mutant(
        "whatever came in one batch is new",
        "protocol/sequence.py",
        "if sequence_ids == list(range(self.newest + 1, self.newest + count + 1)):",
        "if None not in sequence_ids:",
    ),
    Mutant(
        "sequence-ack too early",
        "protocol/sequence.py",
        "        self._disarm()\n        return self.newest",
        "        self._disarm()\n        return self.newest + 1",
    ),
    Mutant(
        "no sequence-ack",
        "protocol/session.py",
        "return self._sequence.due if self._proven and not self._sequence_ack_due else math.inf",
        "return math.inf",
    ),
    Mutant("a new session counts on from the old one", "protocol/session.py", "        self._sequence.reset()\n", ""),
    Mutant(
        "gap swallowed",
        "protocol/session.py",
        "            outputs.append(Gap(session_lost=True))\n",
        "            pass\n",
    ),
    Mutant(
        "gap told before the messages that came before it",
        "client/route.py",
        "        self._messages.append(gap)\n        self._sizes.append(_GAP)\n        if",
        "        self._messages.appendleft(gap)\n        self._sizes.appendleft(_GAP)\n        if",
    ),
    Mutant(
        "a lost session is told twice",
        "client/router.py",
        "        if isinstance(value, Connected):\n",
        "        if isinstance(value, Connected) and not value.first:\n"
        "            for route in self._routes.get(Feed.LIFECYCLE, ()):\n"
        "                route.deliver(value, 0)\n"
        "        if isinstance(value, Connected):\n",
    ),
    Mutant(
        "route after join",
        "client/core.py",
        "            self.router.add(key, route, also)  # nothing is written before the next checkpoint\n"
        "            return operation\n\n        try:\n            await self.perform(start)\n",
        "            return operation\n\n        try:\n            await self.perform(start)\n"
        "            await trio.lowlevel.checkpoint()\n            self.router.add(key, route, also)\n",
    ),
    Mutant(
        "buffer unbounded",
        "client/route.py",
        "if self._ended or self._count + len(messages) > self._max_messages or self._bytes + size > self._max_bytes:",
        "if self._ended:",
    ),
    Mutant(
        "what does not fit is not counted",
        "client/route.py",
        "        self.dropped += 1\n        gap = Gap(overflowed=1)\n",
        "        self.dropped += 1\n        gap = Gap()\n",
    ),
    Mutant(
        "the beginning of a frame is forgotten",
        "protocol/frame_reader.py",
        "                self._keep(data[position:])\n        return messages",
        "                self._keep(data[position + 1 :])\n        return messages",
    ),
    # What goes up
    Mutant(
        "wrong resend order",
        "protocol/pending.py",
        "self._outbox = deque(self._by_id.values())",
        "self._outbox = deque(reversed(self._by_id.values()))",
    ),
    Mutant(
        "nothing is resent",
        "protocol/pending.py",
        "self._outbox = deque(self._by_id.values())",
        "self._outbox = deque(each for each in self._by_id.values() if not each.writes)",
    ),
    Mutant(
        "old outbox kept",
        "protocol/pending.py",
        "        self._outbox = deque(self._by_id.values())",
        "        self._outbox.extend(each.frame for each in self._by_id.values())\n"
        "        self._outbox += self._by_id.values()",
    ),
    Mutant(
        "new ack id on retry",
        "protocol/outgoing.py",
        "        self._pending.refill()",
        "        self._pending.new_session()",
    ),
    Mutant(
        "a duplicate never ran",
        "protocol/pending.py",
        "if operation.writes > 1:",
        "if operation.writes > 99:",
    ),
    Mutant(
        "ack deadline forgotten",
        "protocol/pending.py",
        "return min(deadline, oldest.written_at + self._ack_timeout)",
        "return deadline",
    ),
    Mutant(
        "what is unknown is called done",
        "protocol/pending.py",
        "resolved.append(self._resolve(operation, Unknown()))",
        "resolved.append(self._resolve(operation, Done()))",
    ),
    Mutant(
        "what is unknown is sent again",
        "protocol/pending.py",
        "case _ if operation.writes and not operation.repeat_in_new_session:",
        "case _ if False:",
    ),
    Mutant(
        "a cancelled send is written all the same",
        "protocol/pending.py",
        "elif entry.outcome is not None or entry.ack_id not in self._by_id:  # the caller went away",
        "elif entry.outcome is not None:",
    ),
    Mutant(
        "a cancelled join is not undone",
        "protocol/outgoing.py",
        "self._membership.release(group, maybe_joined=operation.writes > 0)",
        "self._membership.release(group, maybe_joined=False)",
    ),
    Mutant(
        "groups are not joined again",
        "protocol/outgoing.py",
        '                self._join(group, "internal")\n',
        "                pass\n",
    ),
    Mutant(
        "room is offered to nobody",
        "client/core.py",
        "        if self._room and self._has_room:\n            self._room.unpark()",
        "        pass",
    ),
    Mutant(
        "no limit for what is pending",
        "client/core.py",
        "return len(outgoing) < self._max_pending_sends and outgoing.pending_bytes < self._max_pending_bytes",
        "return True",
    ),
    Mutant(
        "REST repeats a send whose outcome is unknown",
        "service/retries.py",
        "            return self._repeatable\n",
        "            return True\n",
    ),
    # Links
    Mutant(
        "a dead link is never noticed",
        "protocol/keep_alive.py",
        "return deadline if now < deadline else None",
        "return now + self._answer_timeout",
    ),
    Mutant(
        "a recovery does not ask for a sign",
        "protocol/keep_alive.py",
        "        self._due = ping\n",
        "        self._due = False\n",
    ),
    Mutant(
        "a broken link ends the session",
        "protocol/session.py",
        "if self._codec.reliable and self._reconnection_token and self.connection_id:",
        "if False:",
    ),
    Mutant(
        "writer cancelled within a frame",
        "client/connection.py",
        "                    await transport.flush()\n",
        "                    with trio.move_on_after(0.4):\n                        await transport.flush()\n",
        also=(
            (
                "_shell/frame_stream.py",
                "            # Cancelled: how much got out is unknown. "
                "The shield lets the reason for this be what is raised.\n"
                "            self._die()\n            with trio.CancelScope(shield=True):\n"
                "                await trio.aclose_forcefully(self._inner)\n            raise\n",
                "            self.queued_bytes = 0\n            raise\n",
            ),
        ),
    ),
    Mutant(
        "no deadline for the handshake",
        "client/transport.py",
        "            with trio.fail_at(deadline):\n                websocket",
        "            with trio.fail_after(1e9):\n                websocket",
    ),
    Mutant(
        "no deadline for the URL",
        "client/url_source.py",
        "            with trio.move_on_after(seconds) as scope:",
        "            with trio.move_on_after(1e9) as scope:",
    ),
    Mutant(
        "links are left open",
        "client/transport.py",
        "    finally:\n        await trio.aclose_forcefully(frames)\n",
        "    finally:\n        pass\n",
    ),
    Mutant(
        "shield taken away",
        "client/opening.py",
        "background = trio.CancelScope(shield=True)",
        "background = trio.CancelScope()",
    ),
    Mutant(
        "shield at started",
        "client/opening.py",
        '            nursery.start_soon(run, name=f"supervisor {hub}")\n',
        "            background.shield = False\n"
        '            nursery.start_soon(run, name=f"supervisor {hub}")\n'
        "            with trio.CancelScope(shield=True):\n"
        "                await core.wait_ready()\n"
        "            background.shield = True\n",
    ),
    # The service's side, which the promise needs as well
    Mutant(
        "the hub runs an ack id twice",
        "emulator/hub/requests.py",
        "elif request.ack_id is not None and not connection.ack_ids.remember(request.ack_id):",
        "elif False:",
    ),
    Mutant(
        "the hub replays too little",
        "emulator/hub/session.py",
        "while numbers and numbers[0] <= sequence_id:",
        "while numbers and numbers[0] <= sequence_id + 1:",
    ),
    Mutant(
        "the hub does not take over a half-open link",
        "emulator/hub/hub.py",
        "            effects.append(Abort(connection.transport))\n            self._lifetimes.detach",
        '            return [Close(transport, 1013, "busy")]\n            self._lifetimes.detach',
    ),
    *(Mutant(*defect) for defect in STREAM_DEFECTS),
]


def plant(mutant: Mutant, root: Path) -> None:
    """Put a mutant into the package below ``root``.

    Raises:
        ValueError: the text that it replaces does not stand there just once.
    """
    for module, old, new in ((mutant.module, mutant.old, mutant.new), *mutant.also):
        path = root / PACKAGE / module
        source = path.read_text()
        if source.count(old) != 1:
            raise ValueError(f"{mutant.name}: {source.count(old)} places in {module} look like that")
        path.write_text(source.replace(old, new))


def hunt(mutant: Mutant) -> tuple[float, str]:
    """Run the simulation with a mutant in a copy; gives the seconds that it took, and the first line of what it said.

    The line is empty if nothing was noticed.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, tree in ((PACKAGE, SOURCES), ("tests", TESTS)):
            shutil.copytree(tree, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        plant(mutant, root)
        command = [sys.executable, "-m", "tests.simulation", "--until-it-fails", str(SECONDS)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        start = time.monotonic()
        try:
            ran = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return time.monotonic() - start, ""  # it may hang for real, but nobody was told why
        seconds = time.monotonic() - start
        return seconds, (ran.stdout or ran.stderr).strip().partition("\n")[0] if ran.returncode else ""


def hunt_all(chosen: list[Mutant], processes: int) -> Iterator[tuple[Mutant, float, str]]:
    """Hunt some mutants, a few at a time."""
    with ThreadPoolExecutor(processes) as pool:
        for mutant, (seconds, said) in zip(chosen, pool.map(hunt, chosen), strict=True):
            yield mutant, seconds, said


def main() -> int:
    """Hunt all mutants, or those whose names are given; 1 if one got away."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of mutants; by default all")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if not options.names or any(name in each.name for name in options.names)]
    alive = 0
    for mutant, seconds, said in hunt_all(chosen, options.processes):
        alive += not said
        print(f"{mutant.name}: " + (f"killed in {seconds:.1f} s by {said[:160]}" if said else "ALIVE"), flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
