"""The list of what is tried against attacks names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "topics" / "security.rst").read_text()


def test_every_item_is_there() -> None:
    assert re.findall(r"\* - S(\d+)$", PAGE, re.MULTILINE) == [str(number) for number in range(1, 63)]


def test_every_item_names_tests_or_a_reason() -> None:
    for item in PAGE.split("   * - S")[1:]:
        assert "``" in item.partition("\n     - ")[2].partition("\n     - ")[2] or "Does not apply" in item


def test_every_named_test_is_there() -> None:
    named = re.findall(r"``([\w/]+\.py)::(\w+)``", PAGE)
    assert len(named) > 62
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []
