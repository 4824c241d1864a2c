"""``webhook``: prints the emulator's events, and answers as told."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.cli.command import Ended, Output, process, running
from trio_webpubsub import ConnectFailed, InvocationFailed, SendFailed, open_client
from trio_webpubsub.cli.program import main
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, EventHandler, open_emulator

Call = Callable[..., Awaitable[Ended]]


@asynccontextmanager
async def serving(*options: str) -> AsyncGenerator[tuple[Emulator, Output, Output]]:
    """Run the command, and an emulator whose events go there; gives the emulator, standard output and error."""
    async with running("webhook", "--hub", "chat", "--port", "0", *options, stop=signal.SIGTERM) as (out, err):
        url = (await err.line_with("Events come in at ")).split()[4].removesuffix(".")
        handler = EventHandler(url, group_events=["joined", "left"])
        async with open_emulator(event_handlers=[handler]) as emulator:
            yield emulator, out, err


async def test_events_as_text() -> None:
    async with serving() as (emulator, out, _):
        async with open_client(emulator.client_url("chat", user_id="ann")) as client:
            await client.join_group("lobby")
            await client.send_event("order", {"coffee": 1})
            await client.send_event("note", "two\nlines")
            connection = f"{client.connection_id} (ann)"
        lines = [(await out.line()).partition(" ")[2] for _ in range(6)]
    # The service waits for the answers to events, and only tells of the rest.
    expected = ["connect accepted", "connected", "joined lobby", 'order {"coffee": 1}', "note two\\nlines"]
    assert lines[0] == f"{connection} connect accepted"
    assert sorted(lines[:5]) == sorted(f"{connection} {each}" for each in expected)
    assert lines[5].startswith(f"{connection} ")


async def test_events_as_json_lines_without_the_headers_of_clients() -> None:
    async with serving("--json") as (emulator, out, _):
        url = f"{emulator.client_url('chat', user_id='ann')}&colour=red"
        async with open_client(url, headers={"Cookie": "a-secret"}) as client:
            await client.send_event("order", b"\x00", metadata={"k": "v"})
            connection_id = client.connection_id
        lines = [await out.line() for _ in range(4)]
    connect, *others = [json.loads(line) for line in lines]
    assert (connect["event"], connect["accepted"], connect["query"]) == ("connect", True, {"colour": ["red"]})
    assert connect["claims"]["sub"] == ["ann"]
    order = next(each for each in others if each["event"] == "order")
    about = {"event": "order", "kind": "user", "connectionId": connection_id, "userId": "ann"}
    assert order == {**about, "time": order["time"], "dataType": "binary", "data": "AA==", "metadata": {"k": "v"}}
    assert sorted(each["event"] for each in others) == ["connected", "disconnected", "order"]
    assert "a-secret" not in "".join(lines)


async def test_clients_are_who_the_options_say() -> None:
    options = ("--user-id", "zoe", "--role", "sendToGroup.lobby", "--group", "lobby")
    async with (
        serving(*options) as (emulator, _, _),
        open_client(emulator.client_url("chat", user_id="ann")) as client,
        client.group_messages("lobby", join=False) as messages,
    ):
        assert client.user_id == "zoe"
        await client.send_to_group("lobby", "hi")
        assert (await messages.receive()).from_user_id == "zoe"
        with pytest.raises(SendFailed):
            await client.join_group("other")


@pytest.mark.parametrize(("options", "status"), [(["--reject"], 401), (["--reject", "403"], 403)])
async def test_clients_are_rejected(options: list[str], status: int) -> None:
    async with serving(*options) as (emulator, out, _):
        with pytest.raises(ConnectFailed) as caught:
            async with open_client(emulator.client_url("chat")):
                pass
        assert caught.value.status == status
        assert (await out.line()).endswith(f" (-) connect rejected with {status}")


@pytest.mark.parametrize(
    ("options", "data"), [(["--reply", "Thank you."], "Thank you."), (["--reply", "[1]", "--type", "json"], [1])]
)
async def test_events_are_replied_to(options: list[str], data: object) -> None:
    async with serving(*options) as (emulator, _, _), open_client(emulator.client_url("chat")) as client:
        assert (await client.invoke_event("order")).data == data
        async with client.server_messages() as messages:
            await client.send_event("order", 1)
            assert (await messages.receive()).data == data


async def test_events_are_refused() -> None:
    async with serving("--fail", "422") as (emulator, _, _), open_client(emulator.client_url("chat")) as client:
        with pytest.raises(InvocationFailed, match="422"):
            await client.invoke_event("order")


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        (["--access-key", DEFAULT_ACCESS_KEY], True),
        (["--access-key", "another-key", "--access-key", DEFAULT_ACCESS_KEY], True),
        (["--access-key", "another-key"], False),
        (["--allowed-origin", "127.0.0.1"], True),
        (["--allowed-origin", "elsewhere.example"], False),
    ],
)
async def test_only_who_may_send_events_is_answered(options: list[str], accepted: bool) -> None:
    async with serving(*options) as (emulator, _, _):
        if accepted:
            async with open_client(emulator.client_url("chat")) as client:
                assert client.state == "connected"
        else:
            with pytest.raises(ConnectFailed):
                async with open_client(emulator.client_url("chat")):
                    pass


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("AZURE_WEBPUBSUB_ACCESS_KEY", DEFAULT_ACCESS_KEY, True),
        ("AZURE_WEBPUBSUB_ACCESS_KEY", "another-key", False),
        ("AZURE_WEBPUBSUB_CONNECTION_STRING", f"Endpoint=http://localhost;AccessKey={DEFAULT_ACCESS_KEY}", True),
        ("AZURE_WEBPUBSUB_CONNECTION_STRING", "Endpoint=http://localhost;AccessKey=another-key", False),
    ],
)
async def test_the_key_may_stand_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, accepted: bool
) -> None:
    monkeypatch.setenv(variable, value)
    async with serving() as (emulator, _, _):
        try:
            async with open_client(emulator.client_url("chat")):
                connected = True
        except ConnectFailed:
            connected = False
    assert connected is accepted


async def test_an_empty_key_takes_unsigned_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_WEBPUBSUB_ACCESS_KEY", "another-key")
    async with serving("--access-key", "") as (emulator, _, _), open_client(emulator.client_url("chat")) as client:
        assert client.state == "connected"


async def test_without_a_key_it_says_so_in_words_of_the_command_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving():
        pass
    assert "whoever can reach the app can send events, since it was given no access key" in caplog.text


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_end_it_exits_with_0(how: signal.Signals) -> None:
    async with process("webhook", "--hub", "chat", "--port", "0") as started:
        assert started.stderr is not None
        err = Output(started.stderr)
        await err.line_with("Events come in at http://127.0.0.1:")
        started.send_signal(how)
        assert await started.wait() == 0
        assert await err.rest() == ""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--reject", "200"], "400 to 599"),
        (["--fail", "200"], "400 to 599"),
        (["--port", "-1"], "0 to 65535"),
        (["--port", "65536"], "0 to 65535"),
        (["--path", "events"], "slash"),
        (["--path", "/events/{event}"], "{event}"),
        (["--allowed-origin", " "], "origin"),
        (["--access-key", "a-key\n"], "white space"),
        (["--reply", "{", "--type", "json"], "JSON"),
        (["--role", "sendToGruop"], "'sendToGruop' is no role"),
        (["--group", ""], "group name"),
        (["--user-id", ""], "user id"),
        (["--hub", "1"], "hub name"),
    ],
)
async def test_options_that_cannot_be(call: Call, options: list[str], why: str) -> None:
    ended = await call("webhook", "--hub", "chat", "--port", "0", *options)
    assert ended.status == 2
    assert why in ended.err


def test_a_port_that_is_taken(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert main(["webhook", "--hub", "chat", "--port", str(server.getsockname()[1])]) == 1
    assert "in use" in capfd.readouterr().err
