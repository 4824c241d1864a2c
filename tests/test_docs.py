"""The programs in the documentation run, and print what the pages say."""

from __future__ import annotations

import html
import inspect
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_webpubsub import Client, open_client
from trio_webpubsub.service import Service, open_service

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "demo.svg"
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
    assert f"```python\n{program}```\n" in README.read_text()


def test_the_picture_shows_what_the_demo_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_WEBPUBSUB_CONNECTION_STRING", raising=False)
    command = [sys.executable, "-m", "trio_webpubsub", "demo"]
    demo = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    rows: dict[str, str] = {}
    for row, text in re.findall(r'clip-path="url\(#demo-line-(\d+)\)">(.*?)</text>', PICTURE.read_text(), re.DOTALL):
        rows[row] = rows.get(row, "") + html.unescape(text).replace("\N{NO-BREAK SPACE}", " ")
    shown = list(rows.values())
    assert shown[0].rstrip() == "$ python -m trio_webpubsub demo"
    assert sorted(map(without_chance, shown[1:])) == sorted(map(without_chance, demo))


def without_chance(line: str) -> str:
    """Leave out the time and the port, and the blanks, which a picture has no need of."""
    return "".join(re.sub(r"^ *[\d.]+ s|:\d{4,5}", "", line).split())


@pytest.mark.parametrize(("page", "ours"), [("client", (open_client, Client)), ("service", (open_service, Service))])
def test_the_pages_about_migration_name_all_that_is_ours(page: str, ours: tuple[Callable[..., object], type]) -> None:
    opened_by, opened = ours
    names = {*inspect.signature(opened_by).parameters, *(name for name in dir(opened) if not name.startswith("_"))}
    written = re.findall(r"\w+", (ROOT / "docs" / "migration" / f"{page}.rst").read_text())
    assert names - set(written) == set()


def test_what_the_readme_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_the_other_places_that_the_readme_links_to_are_linked_to_in_the_pages() -> None:
    """Where ``nox -s links`` follows them."""
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.rst"))
    targets = re.findall(r"\]\((https?://[^)]+)\)", README.read_text())
    assert [target for target in targets if target not in pages] == []
