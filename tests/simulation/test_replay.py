"""One seed is one run, byte by byte, also in another process with other hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import whole_stack

ROOT = Path(__file__).parent.parent.parent
SEEDS = range(20)
PROGRAM = """
import logging
from tests.simulation import whole_stack
logging.disable(logging.CRITICAL)
for seed in range(20):
    print(whole_stack.run(seed).digest)
"""


@pytest.mark.timeout(180)
def test_two_processes_with_different_hash_seeds_do_the_same() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (run.communicate()[0].splitlines() for run in runs)
    assert first == second
    assert len(set(first)) == len(SEEDS)


def test_the_same_seed_again_is_the_same_run() -> None:
    assert whole_stack.run(3) == whole_stack.run(3)
