"""Can the checker see? ``python -m tests.simulation.mutants`` plants defects in a copy of the package, one at a time.

Each has to be noticed by a simulation that is bounded in time, on one processor. The list and the result stand in the
documentation (docs/topics/guarantees.rst).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trio_webpubsub

from .defects import MUTANTS, Mutant

TESTS = Path(__file__).parent.parent
PACKAGE = "trio_webpubsub"
SOURCES = Path(trio_webpubsub.__file__).parent
"""Those that are tested, which need not stand beside the tests."""
SECONDS = 60.0
"""Of one processor, that a simulation has to notice a mutant."""
PATIENCE = 10
"""How many times as long it may take on a machine that has other things to do."""


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
    """Run the simulation with a mutant in a copy; gives a processor's seconds that it took, and what it said first.

    The line is empty if nothing was noticed.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, tree in ((PACKAGE, SOURCES), ("tests", TESTS)):
            shutil.copytree(tree, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        plant(mutant, root)
        command = [sys.executable, "-m", "tests.simulation", "--until-it-fails", str(SECONDS)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        with tempfile.TemporaryFile("w+") as said:
            simulation = subprocess.Popen(command, cwd=root, env=environment, stdout=said, stderr=subprocess.STDOUT)
            status, seconds = _wait(simulation)
            said.seek(0)
            return seconds, next(iter(said), "").strip() if status else ""


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Wait for a process; gives its status and the seconds of a processor that it took."""
    killer = threading.Timer(PATIENCE * SECONDS, process.kill)
    killer.start()
    _, status, used = os.wait4(process.pid, 0)
    killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


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
