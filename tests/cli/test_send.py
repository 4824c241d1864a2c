"""``send``: from an argument, a file or standard input, as a client or over REST, in order and not too fast."""

from __future__ import annotations

import math
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.cli.command import Ended, Output, process
from trio_webpubsub import Client, GroupMessage, SendFailed, Subscription, open_client
from trio_webpubsub.cli.send import Sending
from trio_webpubsub.emulator import Emulator, ReceivedMessage, open_emulator
from trio_webpubsub.webhooks import Accept, ConnectRequest, WebhookApp

Call = Callable[..., Awaitable[Ended]]


async def sent(emulator: Emulator, call: Call, *arguments: str, count: int = 1, given: bytes = b"") -> list[Any]:
    """Send to the group ``lobby``, and give what its member got: type, data and sender of each message."""
    async with open_client(emulator.client_url("chat")) as client, client.group_messages("lobby") as messages:
        ended = await call("send", "lobby", *arguments, given=given)
        assert ended.status == 0, ended.err
        assert ended.out == ""
        return [await described(messages) for _ in range(count)]


async def described(messages: Subscription[GroupMessage]) -> tuple[str, Any, str | None]:
    message = await messages.receive()
    return message.data_type, message.data, message.from_user_id


@pytest.mark.parametrize("way", [[], ["--rest"]])
@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (["Hello!"], ("text", "Hello!")),
        (['{"coffee": 1}', "--type", "json"], ("json", {"coffee": 1})),
        (['"text"', "--type", "json"], ("json", "text")),
        (["null", "--type", "json"], ("json", None)),
        (["ab", "--type", "binary"], ("binary", b"ab")),
        (["-1"], ("text", "-1")),
    ],
)
async def test_a_message(
    call: Call, emulator: Emulator, way: list[str], arguments: list[str], got: tuple[str, Any]
) -> None:
    assert await sent(emulator, call, *arguments, *way) == [(*got, None)]


async def test_a_client_has_a_user(call: Call, emulator: Emulator) -> None:
    assert await sent(emulator, call, "Hello!", "--user-id", "ann") == [("text", "Hello!", "ann")]


@pytest.mark.parametrize("way", [[], ["--rest"]])
async def test_lines_of_standard_input_keep_their_order(call: Call, emulator: Emulator, way: list[str]) -> None:
    lines = [f"line {number}" for number in range(250)]
    given = "\n".join(lines).encode()
    assert await sent(emulator, call, *way, count=250, given=given) == [("text", line, None) for line in lines]


async def test_lines_of_a_file(call: Call, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes('{}\r\n[1]\n"ä"\n'.encode())
    arguments = ["--file", str(tmp_path / "lines.txt"), "--type", "json"]
    expected: list[Any] = [{}, [1], "ä"]
    assert await sent(emulator, call, *arguments, count=3) == [("json", data, None) for data in expected]


async def test_a_whole_file(call: Call, emulator: Emulator, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    (tmp_path / "image").write_bytes(data)
    arguments = ["--file", str(tmp_path / "image"), "--whole", "--type", "binary"]
    assert await sent(emulator, call, *arguments) == [("binary", data, None)]


async def test_how_many_were_sent_is_told(call: Call, emulator: Emulator) -> None:
    assert (await call("send", "lobby", given=b"1\n2")).err == "2 messages were sent.\n"
    assert (await call("send", "lobby", "--rest", given=b"1\n")).err == "1 message was sent.\n"
    assert (await call("send", "lobby", "1")).err == ""


async def test_nothing_is_sent_after_a_line_that_cannot_be(call: Call, emulator: Emulator) -> None:
    ended = await call("send", "lobby", "--type", "json", given=b"1\n2\nnothing\n4\n")
    assert ended.status == 2
    assert "2 messages were sent." in ended.err
    assert "line 3 is no JSON" in ended.err
    assert [each.data for each in emulator.received() if isinstance(each, ReceivedMessage)] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "given", "why"),
    [
        (["x", "--file", "y"], b"", "there is a MESSAGE, and --file as well"),
        (["x", "--rest", "--user-id", "ann"], b"", "no --user-id"),
        (["{", "--type", "json"], b"", "the message is no JSON"),
        (["NaN", "--type", "json"], b"", "NaN"),
        (["x", "--user-id", " "], b"", "user id"),
        ([], b"\xff", "line 1 is no UTF-8"),
        (["--whole"], b"\xff", "the input is no UTF-8"),
        (["--whole", "--type", "json"], b"[" * 1_000_000, "the input is nested too deeply"),  # some Pythons take 50,000
        (["--whole"], b"a" * 1_048_577, "larger than a message can be"),
        ([], b"a" * 1_100_000, "longer than a message can be"),
    ],
)
async def test_what_cannot_be_sent_is_told(
    call: Call, emulator: Emulator, arguments: list[str], given: bytes, why: str
) -> None:
    ended = await call("send", "lobby", *arguments, given=given)
    assert ended.status == 2
    assert why in ended.err


async def test_a_group_that_cannot_be(call: Call, emulator: Emulator) -> None:
    ended = await call("send", "", "hi")
    assert ended.status == 2
    assert "group name" in ended.err


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("no/such", "no/such: No such file or directory"),
        ("/", "/: Is a directory"),
        ("", "No such file or directory"),  # it is not standard input
    ],
)
async def test_a_file_that_cannot_be_read(call: Call, emulator: Emulator, file: str, why: str) -> None:
    ended = await call("send", "lobby", "--file", file)
    assert (ended.status, ended.err) == (1, f"trio-webpubsub send: {why}\n")


@pytest.mark.parametrize("way", [[], ["--rest"]])
async def test_a_key_that_is_not_accepted(call: Call, emulator: Emulator, way: list[str]) -> None:
    wrong = f"Endpoint={emulator.endpoint};AccessKey=a-wrong-key-of-some-length-0123456789"
    ended = await call("send", "lobby", "hi", "--connection-string", wrong, *way)
    assert ended.status == 1
    assert "401" in ended.err
    assert "wrong-key" not in ended.err


@pytest.mark.parametrize("way", [[], ["--rest"]])
async def test_nobody_there(call: Call, emulator: Emulator, way: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ended = await call(
        "send", "lobby", "hi", "--connection-string", f"Endpoint=http://127.0.0.1:{port};AccessKey={'a' * 40}", *way
    )
    assert ended.status == 1
    assert f"127.0.0.1:{port}" in ended.err
    assert "trio-webpubsub doctor" in ended.err


async def test_the_first_refusal_ends_it(call: Call) -> None:
    async def without_roles(_: ConnectRequest) -> Accept:
        return Accept(roles=[])

    async with open_emulator(event_handlers=[WebhookApp("chat", on_connect=without_roles)]) as emulator:
        arguments = ["--hub", "chat", "--connection-string", emulator.connection_string]
        ended = await call("send", "lobby", *arguments, given=b"1\n2\n3\n")
    assert ended.status == 1
    lines = ended.err.splitlines()
    assert lines[0] == "0 messages were sent."
    assert "Forbidden" in lines[1]
    assert len(lines) == 2


class Numbers(AsyncIterator[bytes]):
    """Lines with numbers from 0 on; then it waits for ever."""

    def __init__(self, count: int, *, ends: bool = True) -> None:
        self._numbers = iter(range(count))
        self._ends = ends

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        number = next(self._numbers, None)
        if number is None:
            if self._ends:
                raise StopAsyncIteration
            await trio.sleep_forever()
        return str(number).encode()


async def test_a_rate_is_kept(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def send(_: object) -> None:
        times.append(trio.current_time())

    told: list[tuple[int, int]] = []
    sending = Sending(send, in_flight=1, rate=4)
    await sending.send_all(Numbers(5), "text", lambda done, messages: told.append((done, messages)))
    assert [time - times[0] for time in times] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert told[-1] == (10, 5)


async def test_small_delays_are_made_up_for_and_long_ones_are_not(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def send(number: object) -> None:
        times.append(trio.current_time())
        await trio.sleep({"3": 0.15, "6": 5}.get(str(number), 0))

    sending = Sending(send, in_flight=1, rate=10)
    await sending.send_all(Numbers(10), "text", lambda _done, _messages: None)
    expected = [0, 0.1, 0.2, 0.3, 0.45, 0.5, 0.6, 5.6, 5.6, 5.7]
    assert [time - times[0] for time in times] == pytest.approx(expected)


async def test_many_are_under_way_at_once_but_not_more(autojump_clock: MockClock) -> None:
    under_way: set[object] = set()
    most = 0

    async def send(message: object) -> None:
        nonlocal most
        under_way.add(message)
        most = max(most, len(under_way))
        await trio.sleep(1)
        under_way.remove(message)

    sending = Sending(send, in_flight=10, rate=math.inf)
    await sending.send_all(Numbers(35), "text", lambda _done, _messages: None)
    assert (most, sending.sent) == (10, 35)
    assert trio.current_time() == pytest.approx(4)


async def test_a_failure_does_not_wait_for_the_next_line(autojump_clock: MockClock) -> None:
    async def send(message: object) -> None:
        await trio.sleep(1)
        if message in ("1", "2"):
            raise SendFailed(1, "Forbidden", f"not {message}")

    sending = Sending(send, in_flight=10, rate=math.inf)
    with pytest.raises(SendFailed, match="not 1"):
        await sending.send_all(Numbers(4, ends=False), "text", lambda _done, _messages: None)
    assert sending.sent == 2  # those that were under way are still counted


async def test_what_becomes_of_the_connection_is_told(emulator: Emulator, client: Client) -> None:
    async with client.group_messages("lobby") as messages, process("send", "lobby") as started:
        assert started.stdin is not None
        assert started.stderr is not None
        err = Output(started.stderr)
        await started.stdin.send_all(b"one\n")
        assert (await messages.receive()).data == "one"
        (connection_id,) = {each.connection_id for each in emulator.connections("chat")} - {client.connection_id}
        emulator.cut(connection_id)
        assert "the connection was lost" in await err.line()
        assert "the session was recovered" in await err.line_with("recovered")
        await started.stdin.send_all(b"two\n")
        assert (await messages.receive()).data == "two"
        await started.stdin.aclose()
        assert await err.rest() == "2 messages were sent.\n"


async def test_ctrl_c_while_it_waits_for_input(emulator: Emulator, client: Client) -> None:
    async with client.group_messages("lobby") as messages, process("send", "lobby") as started:
        assert started.stdin is not None
        assert started.stderr is not None
        await started.stdin.send_all(b"one\ntwo\nthr")
        assert [(await messages.receive()).data for _ in range(2)] == ["one", "two"]
        started.send_signal(signal.SIGINT)
        assert await started.wait() == 130
        # The service hands messages over before it acknowledges them: the acknowledgements may have been under way.
        said = await Output(started.stderr).rest()
        assert re.fullmatch(r"(0 messages were|1 message was|2 messages were) sent\.\n", said)
