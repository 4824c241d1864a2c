"""How long imports take: ``python tests/benchmarks/imports.py [--rounds N] STATEMENT...``; ``nox -s imports`` runs it.

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


def import_time(statement: str) -> tuple[float, int]:
    """Run a statement; gives the milliseconds by ``-X importtime``, and how many modules it loaded."""
    _, said = run("-X", "importtime", "-c", statement)
    rows = [line.removeprefix("import time:").split("|") for line in said.splitlines() if line[-1:].isalnum()]
    names = [name.strip() for _, _, name in rows[1:]]
    beyond = rows[1:][names.index("site") + 1 :]
    # What is not indented no module imported: it is what the statement names, and what a package loads at a first use.
    return sum(int(took) for _, took, name in beyond if name[1] != " ") / 1000, len(beyond)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="imports", description="Measure how long importing takes.")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how many; %(default)s unless told")
    parser.add_argument("statements", nargs="+", metavar="STATEMENT", help="such as 'import trio'")
    options = parser.parse_args()
    cpu: dict[str, list[float]] = {statement: [] for statement in options.statements}
    wall: dict[str, list[float]] = {statement: [] for statement in options.statements}
    loaded = {statement: import_time(statement)[1] for statement in options.statements}
    nothing: list[float] = []
    for _ in range(options.rounds):
        nothing.append(run("-c", "pass")[0])
        for statement in options.statements:
            cpu[statement].append(run("-c", statement)[0])
            wall[statement].append(import_time(statement)[0])
    print(f"{'':45} {'CPU, ms':>9} {'importtime, ms':>15} {'modules':>8}")
    for statement in options.statements:
        cpu_time, import_took = median(cpu[statement]) - median(nothing), median(wall[statement])
        print(f"{statement:45} {round(cpu_time):9} {round(import_took):15} {loaded[statement]:8}")


if __name__ == "__main__":
    main()
