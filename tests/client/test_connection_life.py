"""Keep-alive, recovery, reconnecting, and everything that can be wrong with a URL or a service."""

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
    ConnectAttemptFailed,
    Connected,
    ConnectFailed,
    Disconnected,
    Gap,
    GroupLost,
    Lifecycle,
    Recovered,
    RejoinFailed,
    Stopped,
    SubscriptionOverflow,
    open_client,
)

from .raw_service import URL, Peer, RawService


async def answer_pings(peer: Peer) -> None:
    with contextlib.suppress(Exception):
        while True:
            if (await peer.receive())["type"] == "ping":
                await peer.send(type="pong")


async def recover(service: RawService) -> Peer:
    peer = await service.next()
    await peer.expect("ping")
    await peer.send(type="pong")
    return peer


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
        peer = await recover(service)
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
        await recover(service)
        assert 30 <= trio.current_time() - start <= 60
        nursery.cancel_scope.cancel()


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


async def test_a_ping_of_the_websocket_is_answered(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        with trio.fail_after(1):
            await peer.websocket.ping()


# Recovery


async def test_a_quiet_session_is_recovered_by_the_answer_to_a_ping(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        peer.cut()
        await recover(service)
        told = [await lifecycle.receive() for _ in range(3)]
        assert told == [
            Connected(connection_id="c-1", user_id="ann", first=True),
            Disconnected(connection_id="c-1", code=1006),
            Recovered(connection_id="c-1"),
        ]


async def test_a_recovery_that_stays_mute_is_tried_again(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        (await service.next()).cut()
        start = trio.current_time()
        await service.next()  # opens, and says nothing
        await recover(service)
        assert 5 <= trio.current_time() - start < 6
        await wait_all_tasks_blocked()
        assert client.state == "connected"


async def test_a_recovery_is_tried_until_its_time_is_over(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        start = trio.current_time()
        service.refuse = OSError("no route to host")
        peer.cut()
        attempts: list[Lifecycle] = []
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                attempts.append(event)
                if client.state == "reconnecting":
                    break
        assert 30 <= trio.current_time() - start < 33  # what follows is delayed by up to a jittered half second, twice
        assert len(attempts) > 10
        service.refuse = None
        peer = await service.next()
        assert "awps_connection_id" not in peer.query


@pytest.mark.parametrize("status", [401, 404])
async def test_a_recovery_refused_by_status_is_followed_by_a_new_session(
    autojump_clock: MockClock, service: RawService, status: int
) -> None:
    async def url() -> str:
        return URL

    async with open_client(url, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        service.reject = status
        peer.cut()
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                break
        assert client.state == "reconnecting"
        service.reject = None
        assert "awps_connection_id" not in (await service.next()).query


async def test_the_newest_reconnection_token_is_used(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        await peer.connected("c-1", token="newer")
        await wait_all_tasks_blocked()
        peer.cut()
        assert (await service.next()).query["awps_reconnection_token"] == "newer"


async def test_the_recovery_keeps_path_prefix_and_other_parameters(
    autojump_clock: MockClock, service: RawService
) -> None:
    url = "ws://localhost/prefix/client/hubs/chat?a=1&access_token=canary&b=2"
    async with open_client(url, connector=service.connector):
        peer = await service.next()
        peer.cut()
        peer = await service.next()
        assert peer.path.startswith("/prefix/client/hubs/chat?")
        assert peer.query == {
            "a": "1",
            "b": "2",
            "awps_connection_id": "c-1",
            "awps_reconnection_token": "canary-token",
        }


async def test_many_drops_lose_repeat_and_reorder_nothing(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        sent = 0
        for drop in range(20):
            for again in range(max(1, sent - 2), sent + 1):  # the service repeats what was not acknowledged
                await peer.message(again, again)
            for _ in range(drop % 4):
                sent += 1
                await peer.message(sent, sent)
            await wait_all_tasks_blocked()
            peer.cut()
            peer = await service.next()
            await peer.expect("ping")
        assert [(await messages.receive()).sequence_id for _ in range(sent)] == list(range(1, sent + 1))
        with pytest.raises(trio.WouldBlock):
            messages.receive_nowait()


async def test_a_service_that_closes_and_keeps_the_connection_open_is_left(
    autojump_clock: MockClock, service: RawService
) -> None:
    with trio.fail_after(100):
        async with open_client(URL, connector=service.connector) as client, client.lifecycle() as news:
            peer = await service.next()
            start = trio.current_time()
            peer.stream.silence()  # it takes no notice of the answer
            await peer.send_raw(b"\x88\x02" + (1001).to_bytes(2, "big"))
            peer = await recover(service)
            assert trio.current_time() - start < 5
            seen = [await news.receive() for _ in range(3)]
            assert [type(each) for each in seen] == [Connected, Disconnected, Recovered]
            assert isinstance(seen[1], Disconnected)
            assert seen[1].code == 1001


async def test_three_unreadable_frames_drop_the_link(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        for _ in range(3):
            await peer.websocket.send_message("{")
        await recover(service)
        await wait_all_tasks_blocked()
        assert client.state == "connected"


async def test_one_unreadable_frame_is_passed_over(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client, client.messages() as messages:
        peer = await service.next()
        await peer.websocket.send_message("{")
        await peer.websocket.send_message('{"type":"message","from":"group","group":"g","dataType":"text","data":7}')
        await peer.message(1, "fine")
        assert (await messages.receive()).data_error is not None
        assert (await messages.receive()).data == "fine"


async def test_poison_in_a_message_harms_neither_the_link_nor_the_next_message(
    autojump_clock: MockClock, service: RawService
) -> None:
    poison = [
        r'{"type":"message","from":"server","dataType":"json","data":"\ud800","sequenceId":%d}',
        r'{"type":"message","from":"server","dataType":"text","data":"\ud800","sequenceId":%d}',
        '{"type":"message","from":"server","dataType":"json","data":' + "9" * 5_000 + ',"sequenceId":%d}',
        '{"type":"message","from":"server","dataType":"json","data":1e400,"sequenceId":%d}',
        '{"sequenceId":%d,"type":"message","from":"server","dataType":"json","data":' + "[" * 9_000 + "]" * 9_000 + "}",
        '{"type":"message","from":"server","dataType":"unheard-of","data":"x","sequenceId":%d}',
        '{"type":"unheard-of","sequenceId":%d}',
    ]
    with trio.fail_after(100):
        async with open_client(URL, connector=service.connector) as client, client.server_messages() as messages:
            peer = await service.next()
            for number, frame in enumerate(poison):
                await peer.websocket.send_message(frame % (2 * number + 1))
                await peer.message(2 * number + 2, "fine", group=None)
            got = [await messages.receive() for _ in range(2 * len(poison) - 1)]
            assert [each.data for each in got].count("fine") == len(poison)
            assert sum(each.data_error is not None for each in got) == len(poison) - 1
            assert (await peer.receive())["sequenceId"] == 2 * len(poison)
            assert client.statistics().recoveries == 0


@pytest.mark.parametrize("frame", [b"\x81\x02\xff\xff", b"\x82\x7f" + (2**40).to_bytes(8, "big"), b"\xf1\x00"])
async def test_a_violation_that_comes_again_after_a_recovery_ends_the_session(
    autojump_clock: MockClock, service: RawService, frame: bytes
) -> None:
    with trio.fail_after(100):
        async with (
            open_client(URL, connector=service.connector) as client,
            client.messages(gaps=True) as messages,
        ):
            peer = await service.next()
            await peer.stream.send_all(frame)
            peer = await recover(service)
            await peer.stream.send_all(frame)
            peer = await service.next()
            assert "awps_connection_id" not in peer.query
            await peer.message(1, "fine")
            assert await messages.receive() == Gap(session_lost=True)
            message = await messages.receive()
            assert not isinstance(message, Gap)
            assert message.data == "fine"
            assert client.statistics().recoveries == 1


# New sessions


async def test_a_callable_is_asked_for_every_new_session(autojump_clock: MockClock, service: RawService) -> None:
    asked = 0

    async def url() -> str:
        nonlocal asked
        asked += 1
        return URL.replace("canary", f"token-{asked}")

    async with open_client(url, connector=service.connector):
        peer = await service.next()
        assert peer.query["access_token"] == "token-1-access-token"
        await peer.websocket.aclose(1008)
        peer = await service.next()
        assert peer.query["access_token"] == "token-2-access-token"


async def test_a_failing_callable_is_one_more_way_not_to_connect(
    autojump_clock: MockClock, service: RawService
) -> None:
    failures = [None, RuntimeError("secret-in-here"), None]

    async def url() -> str:
        if (failure := failures.pop(0)) is not None:
            raise failure
        return URL

    async with open_client(url, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        await peer.websocket.aclose(1008)
        async for event in lifecycle:
            if isinstance(event, ConnectAttemptFailed):
                assert "RuntimeError" in str(event.error)
                assert "secret" not in str(event.error)
                assert isinstance(event.error.__cause__, RuntimeError)
                break
        await service.next()


async def test_a_hanging_callable_has_a_deadline(autojump_clock: MockClock, service: RawService) -> None:
    with pytest.raises(ConnectFailed, match="within 10 s"):
        async with open_client(trio.sleep_forever, connector=service.connector):
            pytest.fail("there is no URL")


async def test_a_flapping_service_is_not_hammered(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        start = trio.current_time()
        for _ in range(20):
            await peer.websocket.aclose(1008)
            peer = await service.next()
        assert trio.current_time() - start > 10


async def test_a_link_that_drops_again_and_again_is_not_hammered(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector):
        peer = await service.next()
        start = trio.current_time()
        peer.cut()
        for _ in range(20):
            peer = await recover(service)
            peer.cut()
        await service.next()
        assert trio.current_time() - start > 5


async def test_a_refused_rejoin_is_told_and_ends_its_subscriptions(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client, client.lifecycle() as lifecycle:
        peer = await service.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer, "joinGroup")
            messages = client.group_messages("g")
            await messages.__aenter__()
        await peer.websocket.aclose(1008)
        peer = await service.next()
        await peer.ack(await peer.expect("joinGroup"), "Forbidden")
        with pytest.raises(GroupLost, match="Forbidden") as caught:
            await messages.receive()
        assert caught.value.group == "g"
        assert any([isinstance(await lifecycle.receive(), RejoinFailed) for _ in range(4)])
        messages.close()


async def test_leaving_while_there_is_no_link_is_quick(autojump_clock: MockClock, service: RawService) -> None:
    start = trio.current_time()
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        service.refuse = OSError("no route to host")
        peer.cut()
        await wait_all_tasks_blocked()
        assert client.state == "recovering"
    assert trio.current_time() - start < 1


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

    with pytest.raises(ConnectFailed, match="no usable URL"):
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
