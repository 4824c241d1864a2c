"""All benchmarks: ``python tests/benchmarks [--quick] [--only TEXT] [--write DIRECTORY]``; ``nox -s bench`` runs it.

Figures are printed and none is judged. With ``--write`` they are also written down for the documentation.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import client
import emulator
import growth
import report
import rest
import streams
import webhooks
from rounds import measure


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the speed beside that of the peers.")
    parser.add_argument("--quick", action="store_true", help="one round of an eighth, and no growth: two minutes")
    parser.add_argument("--only", default="", metavar="TEXT", help="what has this in its name")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many; 7 unless told")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="where the table and the plots go")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 7)
    scale = 0.125 if options.quick else 1.0
    with ExitStack() as stack:
        there = stack.enter_context(client.generator())
        streaming = stack.enter_context(streams.generator())
        connection_string = stack.enter_context(rest.answering())
        parts = {
            "The client": client.scenarios(there),
            "Streams": streams.scenarios(streaming),
            "The service client": rest.scenarios(connection_string),
            "The emulator": emulator.scenarios(),
            "Webhooks": webhooks.scenarios(),
        }
        results = {title: [each for each in part if options.only in each.name] for title, part in parts.items()}
        measured = {title: report.printed(measure(s, rounds, scale) for s in part) for title, part in results.items()}
        lines = [
            (line, report.printed_line(line, [(step, line.cost(step)) for step in line.steps]))
            for line in growth.growths(there, scale)
            if options.only in line.name and not options.quick
        ]
    if options.write is not None:
        report.write(options.write, measured, lines, rounds, " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
