"""The programs in the documentation run, and print what the pages say."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPETS = ROOT / "docs" / "snippets"
PROGRAMS = sorted(path.stem for path in SNIPPETS.glob("*.py"))

IN_A_PROCESS_OF_THEIR_OWN = {"logs", "traces"}
"""These set up what a process has one of."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_its_page_shows(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_WEBPUBSUB_CONNECTION_STRING", raising=False)
    path = SNIPPETS / f"{program}.py"
    if program in IN_A_PROCESS_OF_THEIR_OWN:
        printed = subprocess.run([sys.executable, path], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    else:
        runpy.run_path(str(path), run_name="__main__")
        printed = capsys.readouterr().out
    assert printed == path.with_suffix(".out").read_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_stands_in_a_page_with_what_it_prints(program: str) -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.rst"))
    assert f"snippets/{program}.py\n" in pages
    assert f"snippets/{program}.out\n" in pages


def test_the_readme_shows_the_first_program() -> None:
    program = (SNIPPETS / "lobby.py").read_text()
    assert f"```python\n{program}```\n" in (ROOT / "README.md").read_text()
