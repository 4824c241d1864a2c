"""The mutants fit the code as it is; that each is noticed takes ``python -m tests.simulation.mutants``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import lanes, mutants
from .defects import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_fits(mutant: Mutant, tmp_path: Path) -> None:
    for module in {mutant.module, *(module for module, _, _ in mutant.also)}:
        (tmp_path / mutants.PACKAGE / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mutants.SOURCES / module, tmp_path / mutants.PACKAGE / module)
    mutants.plant(mutant, tmp_path)
    planted = (tmp_path / mutants.PACKAGE / mutant.module).read_text()
    compile(planted, mutant.module, "exec")
    assert planted != (mutants.SOURCES / mutant.module).read_text()


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


def test_a_planted_defect_is_noticed() -> None:
    (dedupe_off,) = [each for each in MUTANTS if each.name == "dedupe off"]
    seconds, said = mutants.hunt(dedupe_off)
    assert said
    assert seconds < mutants.SECONDS


def test_without_a_defect_nothing_is_noticed() -> None:
    total = lanes.until_it_fails(2.0)
    assert total.failures == []
    assert total.runs > 10
