"""Keep-alive, slow consumers, and everything that can be wrong with a URL or a service."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    Client,
    ConnectFailed,
    Stopped,
    SubscriptionOverflow,
    open_client,
)

from .raw_service import URL, RawService

# Keep-alive


async def test_a_silent_link_is_pinged_and_lives_when_it_answers(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        start = trio.current_time()
        for _ in range(3):
            await peer.expect("ping")
            await peer.send(type="pong")
        assert trio.current_time() - start == pytest.approx(60)
        assert client.state == "connected"


async def test_a_link_that_does_not_answer_is_dropped_and_recovered(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        start = trio.current_time()
        peer.stream.silence()
        peer = await service.recover()
        assert trio.current_time() - start == pytest.approx(30)
        await wait_all_tasks_blocked()
        assert client.state == "connected"


async def test_a_peer_that_sends_but_does_not_read_is_left(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        start = trio.current_time()

        @nursery.start_soon
        async def send_and_never_read() -> None:
            with contextlib.suppress(trio_websocket.ConnectionClosed):
                for number in itertools.count(1):
                    await peer.message(number)
                    await trio.sleep(5)

        with trio.move_on_after(1):
            while True:
                await client.send_to_group("g", "x" * 10_000, ack=False)
        await service.recover()
        assert 30 <= trio.current_time() - start <= 60
        nursery.cancel_scope.cancel()


class AtTheEndOfReceiving(trio.abc.Instrument):
    """Notes the client's state in the step in which its receive loop ends."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.states: list[str] = []

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("receive loop"):
            self.states.append(self._client.state)


async def test_a_lost_link_is_known_before_any_other_task_runs(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        noted = AtTheEndOfReceiving(client)
        trio.lowlevel.add_instrument(noted)
        try:
            peer.cut()
            await service.recover()
        finally:
            trio.lowlevel.remove_instrument(noted)
    assert noted.states == ["recovering"]


async def test_keep_alive_can_be_switched_off(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf):
        peer = await service.next()
        with trio.move_on_after(10_000) as scope:
            await peer.receive()
        assert scope.cancelled_caught


async def test_sequence_acks_go_out_within_a_second(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        start = trio.current_time()
        await peer.message(1)
        await peer.message(2)
        assert (await peer.expect("sequenceAck"))["sequenceId"] == 2
        assert trio.current_time() - start == pytest.approx(1)
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught  # nothing to acknowledge, nothing sent


@pytest.mark.parametrize(("messages", "size"), [(100, 2), (1, 2**20)])
async def test_much_is_acknowledged_at_once_though_nobody_takes_it(
    autojump_clock: MockClock, service: RawService, messages: int, size: int
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        waiting = client.messages()
        start = trio.current_time()
        for number in range(1, messages + 1):
            await peer.message(number, "x" * size)
        assert (await peer.expect("sequenceAck"))["sequenceId"] == messages
        assert trio.current_time() == start
        assert waiting.statistics().buffered == messages


async def test_a_ping_of_the_websocket_is_answered(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        with trio.fail_after(1):
            await peer.websocket.ping()


# Slow consumers


async def test_a_slow_subscriber_never_stops_another_or_an_ack(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        slow = client.messages(buffer=10)
        async with client.messages() as quick:
            for number in range(1, 51):
                await peer.message(number, number)
                assert (await quick.receive()).sequence_id == number
            async with trio.open_nursery() as nursery:

                async def play() -> None:
                    while (message := await peer.receive())["type"] == "sequenceAck":
                        pass
                    await peer.ack(message)

                nursery.start_soon(play)
                await client.send_to_group("g", "hi")
        for _ in range(10):
            await slow.receive()
        with pytest.raises(SubscriptionOverflow):
            await slow.receive()
        slow.close()


# What can be wrong

BAD_URLS = [
    ("", "URL"),
    ("ws://", "host"),
    ("ftp://localhost/client/hubs/chat", "ws"),
    ("http://localhost/client/hubs/chat?access_token=canary", "ws"),
    ("ws://localhost:99999/client/hubs/chat?access_token=canary", "port"),
    ("ws://localhost/?access_token=canary", "hub"),
    ("ws://user:canary@localhost/client/hubs/chat", "user"),
    ("ws://example.org/client/hubs/chat?access_token=canary", "allow_insecure"),
]


@pytest.mark.parametrize(("url", "told"), BAD_URLS)
async def test_a_bad_url_is_named_and_not_shown(
    autojump_clock: MockClock, service: RawService, url: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        async with open_client(url, connector=service.connector):
            pytest.fail("this is no URL")
    assert "canary" not in str(caught.value)
    assert service.dials == 0


async def test_an_insecure_url_can_be_allowed(autojump_clock: MockClock, service: RawService) -> None:
    url = URL.replace("localhost", "example.org")
    async with open_client(url, connector=service.connector, allow_insecure=True) as client:
        assert client.state == "connected"


def not_async() -> str:
    return URL


@pytest.mark.parametrize("url", [not_async, functools.partial(not_async), 7, None, b"ws://localhost"])
async def test_what_is_neither_text_nor_async_is_a_type_error(autojump_clock: MockClock, url: Any) -> None:
    with pytest.raises(TypeError, match=r"functools\.partial\(service\.client_access_url"):
        async with open_client(url):
            pytest.fail("this is no URL")


async def test_a_coroutine_instead_of_a_callable_is_a_type_error(autojump_clock: MockClock) -> None:
    async def url() -> str:
        return URL

    coroutine: Any = url()
    with pytest.raises(TypeError, match="coroutine"):
        async with open_client(coroutine):
            pytest.fail("a coroutine can be awaited only once")


async def test_a_callable_that_gives_no_url_fails(autojump_clock: MockClock, service: RawService) -> None:
    async def url() -> Any:
        return 7

    with pytest.raises(ConnectFailed, match=r"no usable URL: .* not int; client_access_url\(\) gives one"):
        async with open_client(url, connector=service.connector):
            pytest.fail("7 is no URL")


BAD_OPTIONS: list[dict[str, Any]] = [
    {"subprotocol": "json"},
    {"ack_timeout": 0},
    {"connect_timeout": -1},
    {"keep_alive_interval": math.nan},
    {"max_pending_sends": 0},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
async def test_a_bad_option_is_named(autojump_clock: MockClock, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        async with open_client(URL, **options):
            pytest.fail("this option makes no sense")


async def test_a_misspelt_option_is_a_type_error() -> None:
    options: dict[str, Any] = {"ack_timeuot": 1}
    with pytest.raises(TypeError, match="ack_timeuot"):
        open_client(URL, **options)


BAD_CALLS: list[Callable[[Client], Awaitable[object]]] = [
    lambda client: client.join_group(" "),
    lambda client: client.leave_group(""),
    lambda client: client.send_to_group("x" * 1025, "hi"),
    lambda client: client.send_event("9lives", "hi"),
    lambda client: client.send_to_group("g", math.nan),
    lambda client: client.send_to_group("g", b"hi", data_type="text", ack=False),
]


@pytest.mark.parametrize("call", BAD_CALLS)
async def test_bad_arguments_send_nothing(
    autojump_clock: MockClock, service: RawService, call: Callable[[Client], Awaitable[object]]
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with pytest.raises((ValueError, TypeError), match=r"\S"):
            await call(client)
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught


async def test_bad_subscriptions_are_refused(autojump_clock: MockClock, service: RawService) -> None:
    overflow: Any = "panic"
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(ValueError, match="buffer"):
            client.messages(buffer=0)
        with pytest.raises(ValueError, match="overflow"):
            client.messages(overflow=overflow)
        with pytest.raises(ValueError, match="group"):
            client.group_messages("")


async def test_leaving_a_group_that_a_subscription_holds_is_an_error(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        with pytest.raises(RuntimeError, match="subscription"):
            await client.leave_group("g")
        messages.close()


async def test_a_service_that_closes_at_once_is_a_failure_to_connect(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    service.greet = False

    async def play() -> None:
        await (await service.next()).websocket.aclose(4001, "not today")

    nursery.start_soon(play)
    with pytest.raises(ConnectFailed, match=r"4001.*not today"):
        async with open_client(URL, connector=service.connector):
            pytest.fail("no session began")


async def test_a_dial_that_hangs_is_left_at_the_timeout(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        await trio.sleep_forever()

    start = trio.current_time()
    with pytest.raises(ConnectFailed, match="in time"):
        async with open_client(URL, connector=connector, connect_timeout=4):
            pytest.fail("nobody is there")
    assert trio.current_time() - start == pytest.approx(4)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "handshake"),
        (b"HTTP/1.1 101", "handshake"),
        (b"nonsense\r\n\r\n", "makes no sense"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "503"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://evil\r\nContent-Length: 0\r\n\r\n", "302"),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
            "makes no sense",
        ),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: \xff\r\nSec-WebSocket-Accept: no\r\n\r\n",
            "makes no sense",
        ),
    ],
)
async def test_a_bad_answer_to_the_handshake(autojump_clock: MockClock, answer: bytes, told: str) -> None:
    from trio_webpubsub._shell.memory import memory_stream_pair

    async with trio.open_nursery() as nursery:

        async def connector(*_: object) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()

            async def play() -> None:
                await theirs.receive_some()
                await theirs.send_all(answer)
                await theirs.aclose()

            nursery.start_soon(play)
            return ours

        start = trio.current_time()
        with pytest.raises(ConnectFailed, match=told):
            async with open_client(URL, connector=connector):
                pytest.fail("no session began")
        assert trio.current_time() == start


async def test_the_last_state_is_stopped(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        lifecycle = client.lifecycle()
    events = [event async for event in lifecycle]
    assert isinstance(events[-1], Stopped)


async def test_a_secure_url_is_never_dialled_without_tls(autojump_clock: MockClock, service: RawService) -> None:
    contexts: list[object] = []

    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        contexts.append(ssl_context)
        return await service.connector(host, port, ssl_context)

    urls = [URL, URL.replace("ws://", "wss://")]

    async def url() -> str:
        return urls.pop(0)

    async with open_client(url, connector=connector):
        await (await service.next()).websocket.aclose(1008)
        await service.next()
    assert contexts[0] is None
    assert isinstance(contexts[1], ssl.SSLContext)
