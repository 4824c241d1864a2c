"""Colours and progress: on terminals only, and never where NO_COLOR is set."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Generator
from typing import TextIO

import pytest

from trio_webpubsub.cli.terminal import Painter, notice, progress


class Terminal:
    """A terminal, of which both sides are here."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.file: TextIO = os.fdopen(theirs, "w")

    def wait_for(self, text: bytes) -> None:
        """Read until this is there."""
        shown = b""
        while text not in shown:
            shown += os.read(self._ours, 65_536)

    def close(self) -> None:
        self.file.close()
        os.close(self._ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_terminal_gets_colours(terminal: Terminal) -> None:
    painter = Painter(terminal.file)
    assert painter.is_terminal
    assert painter.paint(("lobby", "cyan"), " [red]hi") == "\x1b[36mlobby\x1b[0m [red]hi"


def test_a_long_line_is_not_wrapped(terminal: Terminal) -> None:
    assert Painter(terminal.file).paint("a word" * 100) == "a word" * 100


def test_none_that_does_not_want_any(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert Painter(terminal.file).paint(("lobby", "cyan"), " hi") == "lobby hi"


def test_a_file_gets_none(capfd: pytest.CaptureFixture[str]) -> None:
    assert Painter(sys.stdout).paint(("lobby", "cyan"), " hi") == "lobby hi"
    notice("news", "green")
    assert capfd.readouterr().err == "news\n"


def test_progress_is_shown_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.file)
    with progress(100) as told:
        told(100, 1_234)
    terminal.wait_for(b"1,234 sent")


def test_progress_is_not_shown_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(None) as told:
        told(100, 1_234)
    assert capfd.readouterr() == ("", "")
