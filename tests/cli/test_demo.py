"""The demo: it tells a story, counts honestly, and fails when something is missing."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub.cli.program import main
from trio_webpubsub.demo import Ledger, Speaker
from trio_webpubsub.emulator import open_emulator


def test_the_whole_story(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_WEBPUBSUB_CONNECTION_STRING", raising=False)
    assert main(["demo"]) == 0
    told = capsys.readouterr().out
    for part in ("connection is cut", "recovered the session", "bob heard it all", "Nobody handles it"):
        assert part in told
    found = re.findall(r"(\d+) (heard|lost|repeated|out of order)$", told, re.MULTILINE)
    assert found == [("1823", "heard"), ("0", "lost"), ("0", "repeated"), ("0", "out of order")]


async def test_the_same_story_at_a_service_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    async with open_emulator() as emulator:
        arguments = ["demo", "--connection-string", emulator.connection_string, "--hub", "other"]
        assert await trio.to_thread.run_sync(main, arguments) == 0
    told = capsys.readouterr().out
    assert "connection is cut" not in told
    assert emulator.connection_string not in told


@pytest.mark.parametrize(
    ("connection_string", "hub", "status", "told"),
    [
        ("Endpoint=http://localhost:8080;AccessKey=canary", "9lives", 2, "hub"),
        ("Endpoint=;AccessKey=canary", "chat", 2, "Endpoint"),
        ("canary", "chat", 2, "Key=Value"),
        ("Endpoint=http://127.0.0.1:1;AccessKey=canary-that-is-a-bit-longer-than-usual", "chat", 1, "127.0.0.1:1"),
    ],
)
def test_a_demo_that_cannot_be_held_says_why(
    capsys: pytest.CaptureFixture[str], connection_string: str, hub: str, status: int, told: str
) -> None:
    assert main(["demo", "--connection-string", connection_string, "--hub", hub]) == status
    shown = capsys.readouterr()
    assert "trio-webpubsub demo: " in shown.err
    assert told in shown.err
    assert "canary" not in shown.err + shown.out


def test_what_is_missing_is_counted() -> None:
    ledger = Ledger()
    voice = Speaker("ann", ledger)
    first, second = voice.phrase("one", ("bob", "cat")), voice.phrase("two", ("bob",))

    async def hear() -> None:
        ledger.hear("bob", second, over="lobby")
        ledger.hear("bob", first, over="lobby")
        ledger.hear("bob", first, over="lobby")
        ledger.hear("bob", "not of this demo", over="lobby")

    trio.run(hear)
    assert (ledger.sent, ledger.lost, ledger.repeated, ledger.out_of_order) == (2, 1, 1, 2)


async def test_patience_ends(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    Speaker("ann", ledger).phrase("hello?")
    await ledger.settle()
    assert trio.current_time() == pytest.approx(5)
    assert ledger.lost == 3
