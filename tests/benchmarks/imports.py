"""How long importing takes, ours and the official packages: ``python tests/benchmarks/imports.py [--rounds N]``.

``-X importtime`` counts the time within each import, so starting Python is no part of it. The least of many rounds is
what the import takes; all else is other programs. Before the rounds everything is imported once, which compiles it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

MODULES = (
    "trio_webpubsub",
    "azure.messaging.webpubsubclient",
    "azure.messaging.webpubsubclient.aio",
    "trio_webpubsub.service",
    "azure.messaging.webpubsubservice",
    "azure.messaging.webpubsubservice.aio",
    "trio_webpubsub.webhooks",
    "trio_webpubsub.emulator",
    "trio",
)


def import_time(module: str) -> tuple[float, int]:
    """Import a module in a new Python; gives the milliseconds, and how many modules that loaded."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    rows = [match for line in lines if (match := re.fullmatch(r"import time: *(\d+) \| *(\d+) \|( +)(\S+)", line))]
    ours = [
        row for row in rows if row[4] == module.partition(".")[0] or row[4].startswith(f"{module.partition('.')[0]}.")
    ]
    first = rows.index(next(row for row in rows if row[4] == "site")) + 1
    assert ours
    # What stands at the left edge was imported by nobody else: the packages on the way to the module, and the module.
    return sum(int(row[2]) for row in rows[first:] if len(row[3]) == 1) / 1000, len(rows) - first


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="imports", description="Measure how long importing takes.")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how many; %(default)s unless told")
    options = parser.parse_args()
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    loaded = {module: import_time(module)[1] for module in MODULES}
    for _ in range(options.rounds):
        for module in MODULES:
            times[module].append(import_time(module)[0])
    print(f"{'import':40} {'ms, least':>9} {'median':>7} {'modules':>8}")
    for module, taken in times.items():
        print(f"{module:40} {min(taken):9.1f} {sorted(taken)[len(taken) // 2]:7.1f} {loaded[module]:8}")


if __name__ == "__main__":
    main()
