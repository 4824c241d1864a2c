"""Every example runs by itself and at a service, explains itself, and ends on Ctrl-C in good order."""

from __future__ import annotations

import runpy
import signal
import sys

import pytest
import trio

from tests.examples.programs import CONNECTION_STRING, EXAMPLES, PROGRAMS, running
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, open_emulator
from trio_webpubsub.webhooks import UserEvent, WebhookApp

ENDING: dict[str, tuple[list[str], str]] = {
    "language_model": (["tea", "milk"], "bot on milk: The tide turns twice a day, milk or not"),
    "pong": (["--seconds", "0.3"], "0 : 0\n"),
    "request_response": ([], "3 x tea: 7.50\n"),
    "worker_pool": (["--jobs", "9"], "8 squared is 64"),
}
"""Those that come to an end by themselves: with which arguments, and something that they say."""

ENDLESS: dict[str, tuple[list[str], str]] = {
    "dashboard": (["--port", "0"], "The dashboard is at"),
    # One long answer: where many end at once, Ctrl-C may fall into a callback of weakref, which cannot raise it.
    "language_model": (["tea\n" * 1000], "bot on tea"),
    "pong": ([], "0 : 0"),
    "request_response": (["tea"], "needs an event handler"),
    "terminal_chat": ([], "You are in the lobby"),
    "worker_pool": (["--jobs", "300"], "squared is"),
}
"""All of them, so that they run for a while, and a sign that they do."""


def run_here(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program in this process."""
    monkeypatch.delenv(CONNECTION_STRING, raising=False)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.setattr(sys, "argv", [f"{program}.py", *arguments])
    runpy.run_path(str(EXAMPLES / f"{program}.py"), run_name="__main__")


def test_every_program_is_tried_and_shown() -> None:
    page = (EXAMPLES / "index.rst").read_text()
    assert list(ENDLESS) == PROGRAMS
    assert [name for name in PROGRAMS if f"literalinclude:: {name}.py\n" not in page] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_explains_itself(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        run_here(program, ["--help"], monkeypatch)
    first_line = (EXAMPLES / f"{program}.py").read_text().split('"""')[1]
    assert first_line in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("option", ["--workers", "--window"])
def test_a_pool_that_would_wait_for_ever_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        run_here("worker_pool", [option, "0"], monkeypatch)
    assert "nothing would ever be done" in capsys.readouterr().err


@pytest.mark.parametrize("program", ENDING)
def test_a_program_runs_by_itself(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = ENDING[program]
    run_here(program, arguments, monkeypatch)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
async def test_at_a_service_ctrl_c_ends_a_program(program: str) -> None:
    async def never_answer(event: UserEvent) -> None:
        asked.set()
        await trio.sleep_forever()

    asked = trio.Event()
    shop = WebhookApp("shop", access_keys=[DEFAULT_ACCESS_KEY], on_user_event=never_answer)
    arguments, sign = ENDLESS[program]
    async with (
        open_emulator(event_handlers={"shop": [shop]}) as emulator,
        running(program, *arguments, connection_string=emulator.connection_string) as running_program,
    ):
        await running_program.lines.line_with(sign)
        if program == "request_response":
            await asked.wait()
        running_program.process.send_signal(signal.SIGINT)
        assert "Traceback" not in await running_program.lines.rest()
        assert await running_program.process.wait() == 130
