"""``listen``: messages on lines, what happens to the connection on standard error."""

from __future__ import annotations

import json
import os
import pty
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.cli.command import Ended, Output, process, running
from trio_webpubsub import Client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.service import open_service
from trio_webpubsub.webhooks import Accept, ConnectRequest, WebhookApp

Call = Callable[..., Awaitable[Ended]]


async def test_messages_of_groups_as_text(client: Client) -> None:
    async with running("listen", "lobby", "other") as (out, err):
        assert await err.line_with("listening") == "listening to lobby, other; Ctrl-C ends it"
        await client.send_to_group("lobby", "Hello, wörld!")
        await client.send_to_group("other", {"a": [1, None, "ä"]})
        await client.send_to_group("elsewhere", "not for you")
        await client.send_to_group("lobby", b"\x00\xff")
        assert [await out.line() for _ in range(3)] == [
            "lobby other Hello, wörld!",
            'other other {"a": [1, null, "ä"]}',
            "lobby other (binary) AP8=",
        ]


async def test_a_message_is_one_line_and_no_command_to_the_terminal(client: Client) -> None:
    async with running("listen", "lobby") as (out, err):
        await err.line_with("listening")
        await client.send_to_group("lobby", "two\nlines\r\x1b[2J\u2028\x9b")
        await client.send_to_group("lobby", "\u2028\x9b", data_type="json")
        assert await out.line() == "lobby other two\\nlines\\r\\x1b[2J\\u2028\\x9b"
        assert json.loads((await out.line()).removeprefix("lobby other ")) == "\u2028\x9b"


async def test_messages_of_the_service(client: Client, emulator: Emulator) -> None:
    async with (
        open_service(emulator.connection_string, "chat") as service,
        running("listen", "lobby", "--user-id", "ann") as (out, err),
    ):
        assert "connected to chat as ann, connection " in await err.line()
        await err.line_with("listening")
        await service.send_to_user("ann", "for ann")
        await service.send_to_user("bob", "for bob")
        await service.send_to_all({"for": "all"})
        await service.send_to_group("lobby", "for the lobby")
        lines = ["* - for ann", '* - {"for": "all"}', "lobby - for the lobby"]
        assert [await out.line() for _ in lines] == lines


async def test_hundreds_of_groups(client: Client) -> None:
    async with running("listen", *map(str, range(300))) as (out, err):
        await err.line_with("listening")
        await client.send_to_group("299", "hi")
        assert await out.line() == "299 other hi"


async def test_messages_as_json_lines(client: Client, emulator: Emulator) -> None:
    async with (
        open_service(emulator.connection_string, "chat") as service,
        running("listen", "lobby", "--json") as (out, err),
    ):
        await err.line_with("listening")
        await client.send_to_group("lobby", "one\n")
        await client.send_to_group("lobby", None, metadata={"k": "v"})
        await service.send_to_all(b"\x00")
        about = {"from": "group", "group": "lobby", "fromUserId": "other"}
        assert [json.loads(await out.line()) for _ in range(3)] == [
            {**about, "dataType": "text", "data": "one\n", "sequenceId": 1},
            {**about, "dataType": "json", "data": None, "sequenceId": 2, "metadata": {"k": "v"}},
            {"from": "server", "dataType": "binary", "data": "AA==", "sequenceId": 3},
        ]


async def test_a_recovery_is_told_and_loses_nothing(client: Client, emulator: Emulator) -> None:
    async with running("listen", "lobby") as (out, err):
        connection_id = (await err.line_with("connected")).rpartition(" ")[2]
        await err.line_with("listening")
        emulator.cut(connection_id)
        await client.send_to_group("lobby", "while it was away")
        assert "the connection was lost" in await err.line()
        assert await err.line_with("recovered") == "the session was recovered, and nothing is missing"
        assert await out.line() == "lobby other while it was away"


async def test_a_new_session_is_told_with_the_gap_before_what_follows(client: Client, emulator: Emulator) -> None:
    async with running("listen", "lobby") as (out, err):
        connection_id = (await err.line_with("connected")).rpartition(" ")[2]
        await err.line_with("listening")
        emulator.forget_session(connection_id)
        assert "connection was lost" in await err.line()
        assert "a new session began" in await err.line_with("new session")
        assert await err.line_with("gap") == "gap: messages may be missing, since a session was lost"
        await client.send_to_group("lobby", "later")
        assert await out.line() == "lobby other later"


async def test_messages_that_came_faster_than_they_were_read_are_a_gap(client: Client) -> None:
    count, data = 100, "a" * 500_000  # far more than a subscription, a batch of it and a pipe hold
    async with running("listen", "lobby") as (out, err):
        await err.line_with("listening")
        for _ in range(count):
            await client.send_to_group("lobby", data, ack=False)
        await client.send_to_group("lobby", "the last")
        printed = 0
        while await out.line() != "lobby other the last":
            printed += 1
        missing = 0
        while missing < count - printed:
            gap = await err.line_with("gap")
            missing += int(gap.split()[1])
            assert gap.endswith("messages came faster than they were read")
        assert missing == count - printed > 0


async def test_a_group_that_may_not_be_joined(call: Call) -> None:
    async def without_roles(_: ConnectRequest) -> Accept:
        return Accept(roles=[])

    async with open_emulator(event_handlers=[WebhookApp("chat", on_connect=without_roles)]) as emulator:
        ended = await call("listen", "lobby", "--hub", "chat", "--connection-string", emulator.connection_string)
    assert ended.status == 1
    assert "trio-webpubsub listen: Forbidden" in ended.err


async def test_a_group_that_may_not_be_joined_again_ends_it(call: Call) -> None:
    roles = ["webpubsub.joinLeaveGroup"]

    async def as_it_is(_: ConnectRequest) -> Accept:
        return Accept(roles=roles)

    async with open_emulator(event_handlers=[WebhookApp("chat", on_connect=as_it_is)]) as emulator:
        arguments = ["lobby", "--hub", "chat", "--connection-string", emulator.connection_string]
        async with process("listen", *arguments) as started:
            assert started.stderr is not None
            err = Output(started.stderr)
            await err.line_with("listening")
            roles.clear()
            emulator.forget_all_sessions()
            assert await started.wait() == 1
            assert "Forbidden" in await err.line_with("trio-webpubsub listen: ")


async def test_a_user_who_cannot_be(call: Call, emulator: Emulator) -> None:
    ended = await call("listen", "--user-id", "")
    assert ended.status == 2
    assert "user id" in ended.err


@pytest.mark.parametrize("group", ["", " "])
async def test_a_group_that_cannot_be(call: Call, emulator: Emulator, group: str) -> None:
    ended = await call("listen", group)
    assert ended.status == 2
    assert "group name" in ended.err


async def test_it_ends_as_soon_as_nobody_reads_any_more(client: Client) -> None:
    async with process("listen", "lobby") as started:
        assert started.stdout is not None
        assert started.stderr is not None
        out, err = Output(started.stdout), Output(started.stderr)
        await err.line_with("listening")
        await client.send_to_group("lobby", "the only one")
        assert await out.line() == "lobby other the only one"
        await out.aclose()  # as head -1 does
        assert await started.wait() == 141
        assert await err.rest() == ""


async def test_ctrl_c(emulator: Emulator) -> None:
    async with process("listen", "lobby") as started:
        assert started.stderr is not None
        err = Output(started.stderr)
        await err.line_with("listening")
        started.send_signal(signal.SIGINT)
        assert await started.wait() == 130
        assert await err.rest() == ""


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_colours_only_on_a_terminal(client: Client, variables: dict[str, str], coloured: bool) -> None:
    terminal, standard_output = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    async with process("listen", "lobby", stdout=standard_output, env=environment) as started:
        os.close(standard_output)
        assert started.stderr is not None
        err = Output(started.stderr)
        assert "\x1b" not in await err.line_with("listening")
        await client.send_to_group("lobby", "hi")
        async with trio.lowlevel.FdStream(terminal) as stream:
            line = await Output(stream).line()
            assert "hi" in line
            assert ("\x1b[" in line) is coloured
            started.kill()
            await started.wait()
