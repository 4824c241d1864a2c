"""Fragments of streams a second, beside the official JavaScript client: ``python tests/benchmarks/bench_streams.py``.

Every run is a process of its own, and the other side is another one. The clients take turns, so that whatever else the
machine does falls on both; what counts is the median of the rounds' ratios. ``--quick`` is for a first look.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import stream_load

PEERS = Path(__file__).parent / "peers"
ROUNDS = 7
SCENARIOS = (("write", 50_000, 20), ("write", 50_000, 1_000), ("read", 100_000, 20), ("read", 50_000, 1_000))


def run(command: list[str], scenario: str, port: int, count: int, size: int) -> float | None:
    """Let a client do it once; gives fragments a second, or ``None`` if it cannot."""
    url = f"ws://127.0.0.1:{port}/client/hubs/{scenario}_{count}_{size}?access_token=none"
    environment = dict(os.environ) | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*command, scenario, url, str(count), str(size)],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    if done.returncode:
        print(f"{command[-1]}, {scenario}: {(done.stderr.strip() or '?').splitlines()[-1]}", file=sys.stderr)
        return None
    return count / float(done.stdout)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds of a quarter of the fragments")
    quick = parser.parse_args().quick
    ours = [sys.executable, str(PEERS / "streams_ours.py")]
    theirs: list[str] | None = None
    if (node := shutil.which("node")) is not None and "TRIO_WEBPUBSUB_NODE_MODULES" in os.environ:
        theirs = [node, str(PEERS / "streams_js.mjs")]
    process, port = stream_load.start()
    try:
        for scenario, count, size in SCENARIOS:
            if quick:
                count //= 4
            pairs = [
                (run(ours, scenario, port, count, size), theirs and run(theirs, scenario, port, count, size))
                for _ in range(3 if quick else ROUNDS)
            ]
            mine = [pair[0] for pair in pairs if pair[0]]
            print(f"{scenario} fragments of {size:,} B: ours {statistics.median(mine):,.0f}/s", end="")
            both = [(mine, other) for mine, other in pairs if mine and other]
            if both:
                ratio = statistics.median(mine / other for mine, other in both)
                print(
                    f", official JavaScript {statistics.median(other for _, other in both):,.0f}/s, x {ratio:.2f}",
                    end="",
                )
            print(flush=True)
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
