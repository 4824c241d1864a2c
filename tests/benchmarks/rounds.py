"""What all benchmarks have in common: scenarios, rounds in which every peer has its turn, and the ratios of the rounds.

Whatever else the machine does falls on all who take part in a round. So a figure alone says little; what counts is the
median of the rounds' ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

PEERS = Path(__file__).parent / "peers"
OURS = "ours"

Goal: TypeAlias = tuple[float, float]
"""The ratio to reach at least, and the one to aim at."""


class Missing(Exception):
    """A peer cannot take part here."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Something to measure."""

    name: str
    unit: str = "/s"
    run: Callable[[str, float], float]
    """Lets a peer do it once: its name, and how much of the usual amount."""
    peers: tuple[str, ...] = ()
    goals: Mapping[str, Goal] = field(default_factory=dict[str, Goal])
    less_is_better: bool = False
    limit: Goal | None = None
    """What our own figure has to reach, or must not exceed, where that is the goal."""


@dataclass(frozen=True)
class Result:
    """What came of a scenario."""

    scenario: Scenario
    figures: Mapping[str, float]
    """Medians, by peer."""
    ratios: Mapping[str, float]
    """Ours by theirs, by peer."""


def measure(scenario: Scenario, rounds: int, scale: float) -> Result:
    """Let all have their turns; who cannot take part is left out."""
    taken: dict[str, list[float]] = {name: [] for name in (OURS, *scenario.peers)}
    for _ in range(rounds):
        for name in list(taken):
            try:
                taken[name].append(scenario.run(name, scale))
            except Missing as missing:
                print(f"    without {name}: {missing}", file=sys.stderr)
                del taken[name]
    mine = taken[OURS]
    return Result(
        scenario,
        {name: statistics.median(values) for name, values in taken.items()},
        {
            name: statistics.median(our / their for our, their in zip(mine, values, strict=True))
            for name, values in taken.items()
            if name != OURS
        },
    )


def command(name: str) -> list[str]:
    """Give the command that runs a peer's program.

    Raises:
        Missing: it cannot be run here.
    """
    script = PEERS / f"{name}.mjs"
    if not script.exists():
        return [sys.executable, str(PEERS / f"{name}.py")]
    if "NODE_DIRECTORY" not in os.environ:
        raise Missing("node is not there, or NODE_DIRECTORY does not say where its packages are")
    return ["node", str(script)]


def run_peer(name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> float:
    """Run a peer's program, and give the number that it prints.

    Raises:
        Missing: it cannot be run here, or it failed.
    """
    done = subprocess.run(
        [*command(name), *map(str, arguments)],
        env=os.environ | dict(environment or {}),
        cwd=os.environ.get("NODE_DIRECTORY") if (PEERS / f"{name}.mjs").exists() else None,
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise Missing((done.stderr.strip() or "it failed without a word").splitlines()[-1])
    return float(done.stdout)
