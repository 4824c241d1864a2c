"""The programs in the documentation run, and print what the pages say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SNIPPETS = DOCS / "snippets"
PROGRAMS = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix()
    for kind in ("snippets", "examples")
    for path in (DOCS / kind).glob("*.py")
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_its_page_shows(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_WEBPUBSUB_CONNECTION_STRING", raising=False)
    runpy.run_path(str(DOCS / f"{program}.py"), run_name="__main__")
    assert capsys.readouterr().out == (DOCS / f"{program}.out").read_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_stands_in_a_page_with_what_it_prints(program: str) -> None:
    pages = "".join(page.read_text() for page in DOCS.rglob("*.rst"))
    assert f"{program}.py\n" in pages
    assert f"{program}.out\n" in pages


def test_the_readme_shows_the_first_program() -> None:
    program = (SNIPPETS / "lobby.py").read_text()
    assert f"```python\n{program}```\n" in (ROOT / "README.md").read_text()
