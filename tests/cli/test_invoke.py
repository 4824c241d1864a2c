"""``invoke``: an event's answer, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.cli.command import Ended
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.webhooks import EventRejected, Reply, UserEvent, WebhookApp

Call = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def asked(environment: None, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[list[UserEvent]]:
    """An emulator whose handler echoes the event ``echo``, and refuses all others; gives the events that came."""
    events: list[UserEvent] = []

    async def answer(event: UserEvent) -> object:
        events.append(event)
        if event.name != "echo":
            raise EventRejected(403, "not that")
        return None if event.data == "nothing" else Reply(event.data, data_type=event.data_type, metadata={"k": "v"})

    async with open_emulator(event_handlers=[WebhookApp("chat", on_user_event=answer)]) as emulator:
        monkeypatch.setenv("AZURE_WEBPUBSUB_CONNECTION_STRING", emulator.connection_string)
        monkeypatch.setenv("AZURE_WEBPUBSUB_HUB", "chat")
        yield events


@pytest.mark.parametrize(
    ("arguments", "given", "printed"),
    [
        (["Hello\nthere"], b"", "Hello\nthere\n"),
        (['{"a": "ä"}', "--type", "json"], b"", '{"a": "ä"}\n'),
        (["ab", "--type", "binary"], b"", "(binary) YWI=\n"),
        (["--file", "-"], b"from a file\n", "from a file\n\n"),
        (["nothing"], b"", ""),
    ],
)
async def test_the_answer_is_printed(
    call: Call, asked: list[UserEvent], arguments: list[str], given: bytes, printed: str
) -> None:
    ended = await call("invoke", "echo", *arguments, given=given)
    assert ended == Ended(0, printed, "")


async def test_the_answer_as_json(call: Call, asked: list[UserEvent], tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\x01")
    ended = await call("invoke", "echo", "--file", str(tmp_path / "data"), "--type", "binary", "--json")
    assert json.loads(ended.out) == {"dataType": "binary", "data": "AAE=", "metadata": {"k": "v"}}


async def test_who_asks(call: Call, asked: list[UserEvent]) -> None:
    await call("invoke", "echo", "--user-id", "ann")
    assert [(event.name, event.user_id) for event in asked] == [("echo", "ann")]


async def test_a_refusal(call: Call, asked: list[UserEvent]) -> None:
    ended = await call("invoke", "other")
    assert (ended.status, ended.out) == (1, "")
    assert "trio-webpubsub invoke: " in ended.err
    assert "403" in ended.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a b"], "event name"),
        (["echo", "--user-id", " "], "user id"),
        (["echo", "x", "--file", "y"], "--file as well"),
        (["echo", "{", "--type", "json"], "JSON"),
    ],
)
async def test_what_cannot_be_asked(call: Call, asked: list[UserEvent], arguments: list[str], why: str) -> None:
    ended = await call("invoke", *arguments)
    assert ended.status == 2
    assert why in ended.err
