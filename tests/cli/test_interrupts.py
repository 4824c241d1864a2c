"""Ctrl-C, whenever it comes: no traceback, and no word where there is nothing to tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from trio_webpubsub.cli.program import main

CONNECTION_STRING = "Endpoint=http://localhost;AccessKey=a-key-that-nobody-may-see-0123456789"

# The signal comes when a function is called: not before or after some time, which would be another place on each run.
PROGRAM = """
import os, sys
sys.modules.pop("signal", None)  # whatever has loaded it before
place, *sys.argv[1:] = sys.argv[1:]

def look(frame, event, argument):
    if event == "call" and place == frame.f_globals.get("__name__", "") + ":" + frame.f_code.co_name:
        sys.setprofile(None)
        os.kill(os.getpid(), 2)

sys.setprofile(look)
from trio_webpubsub.cli import main
sys.exit(main())
"""


def run(place: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command that gets a signal where a function is called; gives its status and what it said."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, place, *arguments],
        env={**os.environ, "AZURE_WEBPUBSUB_CONNECTION_STRING": CONNECTION_STRING, "AZURE_WEBPUBSUB_HUB": "chat"},
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "place",
    [
        "argparse:<module>",
        "trio_webpubsub.cli.program:<module>",
        "trio_webpubsub.cli.token:<module>",
        "trio:<module>",
        "argparse:parse_known_intermixed_args",
    ],
)
def test_while_a_command_starts_it_ends_the_process(place: str) -> None:
    assert run(place, "token") == (-signal.SIGINT, "", "")


def test_before_a_signal_can_be_handled_at_all_it_ends_the_process_as_well() -> None:
    assert run("signal:<module>", "token") == (130, "", "")


def test_while_help_is_put_together_it_ends_the_process() -> None:
    assert run("argparse:format_help", "--help") == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "place", ["trio_webpubsub.cli.token:run", "trio_webpubsub.service.opening:open_service", "trio._core._run:run"]
)
def test_while_a_command_runs_it_ends_in_good_order(place: str) -> None:
    assert run(place, "token") == (130, "", "")


def test_while_a_process_ends_it_says_nothing() -> None:
    status, out, err = run("threading:_shutdown", "token")
    assert (status, err) == (-signal.SIGINT, "")
    assert out.startswith("ws://localhost/")


@pytest.fixture
def found(request: pytest.FixtureRequest) -> Generator[Callable[..., object] | signal.Handlers]:
    """What a program has made of SIGINT before it runs a command."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("found", [signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN], indirect=True)
def test_a_command_within_a_program_leaves_signals_as_it_found_them(
    found: object, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "--hub", "chat", "--connection-string", CONNECTION_STRING]) == 0
    assert signal.getsignal(signal.SIGINT) is found
