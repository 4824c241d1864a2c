"""How long importing takes: ``python tests/benchmarks/imports.py [--rounds N] MODULE...``; ``nox -s imports`` runs it.

Each import happens in a Python of its own, once in every round, so that what else the machine does falls on all alike;
the medians are told. Two measures: processor time beyond that of a Python that imports nothing; and what
``-X importtime`` says, whose clock runs on while others work. What is compiled on the way was compiled before.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median


def run(*arguments: str) -> tuple[float, str]:
    """Run Python; gives its processor time in milliseconds, and what it wrote to stderr."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime), said


def import_time(module: str) -> tuple[float, int]:
    """Import a module; gives the milliseconds by ``-X importtime``, and how many modules that loaded."""
    _, said = run("-X", "importtime", "-c", f"import {module}")
    rows = [line.removeprefix("import time:").split("|") for line in said.splitlines() if line[-1:].isalnum()]
    names = [name.strip() for _, _, name in rows[1:]]
    beyond = rows[1:][names.index("site") + 1 :]
    # What is not indented nobody else imported: the module, and the packages that it stands in.
    return sum(int(took) for _, took, name in beyond if name[1] != " ") / 1000, len(beyond)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="imports", description="Measure how long importing takes.")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how many; %(default)s unless told")
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    options = parser.parse_args()
    cpu: dict[str, list[float]] = {module: [] for module in options.modules}
    wall: dict[str, list[float]] = {module: [] for module in options.modules}
    loaded = {module: import_time(module)[1] for module in options.modules}
    nothing: list[float] = []
    for _ in range(options.rounds):
        nothing.append(run("-c", "pass")[0])
        for module in options.modules:
            cpu[module].append(run("-c", f"import {module}")[0])
            wall[module].append(import_time(module)[0])
    print(f"{'import':40} {'CPU, ms':>9} {'importtime, ms':>15} {'modules':>8}")
    for module in options.modules:
        cpu_time, import_took = median(cpu[module]) - median(nothing), median(wall[module])
        print(f"{module:40} {cpu_time:9.0f} {import_took:15.0f} {loaded[module]:8}")


if __name__ == "__main__":
    main()
