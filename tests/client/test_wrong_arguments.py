"""Whatever is passed in: it is named at the door, and nothing is sent, lost or broken by it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.case_names import shown
from trio_webpubsub import AckTimeout, Client, ConnectFailed, SessionTicket, open_client
from trio_webpubsub.emulator import Emulator

from .raw_service import URL, RawService


async def url_of(hub: str) -> str:
    """A provider that still wants an argument."""
    return URL.replace("chat", hub)


async def urls() -> AsyncGenerator[str]:  # noqa: ASYNC900  # which is the mistake
    """What is asked for one URL after the other, which no provider is."""
    yield URL


CONNECTION_STRING = "Endpoint=https://example.webpubsub.azure.com;AccessKey=canary;Version=1.0;"

PLACES: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "the URL is a str or an async callable"),
    (URL.encode(), TypeError, "the URL is a str or an async callable"),
    ("", ValueError, "not a URL .*client_access_url"),
    ("localhost:8080", ValueError, "not a URL .*client_access_url"),
    (CONNECTION_STRING, ValueError, "this is a connection string, and a client takes the URL .*client_access_url"),
    ("https://example.webpubsub.azure.com", ValueError, "starts with wss://, not https://.*client_access_url"),
    ("wss://example.webpubsub.azure.com", ValueError, "names no hub"),
    (URL.replace("localhost", "example.com"), ValueError, "in the clear; use wss://"),
    (lambda: URL, TypeError, "an async callable .*; this callable gave 'str'"),
    (url_of, TypeError, r"is called without arguments \(functools.partial binds some\).*'hub'"),
    (urls, TypeError, "an async function, not an async generator"),
]


@pytest.mark.parametrize(("url", "error", "why"), PLACES, ids=range(len(PLACES)))
async def test_a_wrong_url_is_told_with_what_is_right(
    autojump_clock: MockClock, service: RawService, url: Any, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why) as caught:
        async with open_client(url, connector=service.connector):
            pytest.fail("there is no such place")
    assert type(caught.value) is error
    assert "canary" not in str(caught.value)
    assert service.dials == 0


async def test_a_refused_url_without_a_token_is_told(autojump_clock: MockClock, emulator: Emulator) -> None:
    with pytest.raises(ConnectFailed, match="status 401; the URL has no access_token"):
        async with open_client(emulator.client_url("chat").partition("?")[0], connector=emulator.connector):
            pytest.fail("nobody comes in")


async def test_a_refused_token_that_has_expired_is_told(autojump_clock: MockClock, emulator: Emulator) -> None:
    url = emulator.client_url("chat", lifetime=timedelta(minutes=1))
    await trio.sleep(1000)
    with pytest.raises(ConnectFailed, match="status 401; the token in the URL has expired"):
        async with open_client(url, connector=emulator.connector):
            pytest.fail("nobody comes in")


OPTIONS: list[dict[str, Any]] = [
    {"ack_timeout": "3"},
    {"connect_timeout": None},
    {"keep_alive_interval": True},
    {"max_pending_bytes": b"1"},
    {"send_retries": -1},
    {"send_retries": "3"},
    {"send_retries": 1.5},
    {"reconnect": 5},
    {"ssl_context": True},
    {"proxy": 5},
    {"user_agent": 5},
    {"auto_rejoin": "no"},
    {"allow_insecure": "false"},
    {"log_payloads": None},
    {"headers": "X: 5"},
    {"headers": None},
    {"headers": ("X", "5")},
    {"headers": [("X", "5", "6")]},
    {"headers": {"X": 5}},
    {"headers": [(5, "X")]},
    {"resume": b"{}"},
    {"resume": "ticket"},
    {"connector": 5},
    {"connector": None},
    {"connector": url_of},
    {"subprotocol": ["json"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=shown)
async def test_a_wrong_option_is_named(autojump_clock: MockClock, service: RawService, options: dict[str, Any]) -> None:
    (name,) = options
    options = {"connector": service.connector, **options}
    with pytest.raises((TypeError, ValueError), match=name.rstrip("s")):
        async with open_client(URL, **options):
            pytest.fail("this option makes no sense")
    assert service.dials == 0


SENDS: list[dict[str, Any]] = [
    {"ttl_seconds": "3"},
    {"ttl_seconds": 1.5},
    {"ttl_seconds": True},
    {"ttl_seconds": -1},
    {"metadata": "x"},
    {"metadata": 5},
    {"metadata": [("a", "b")]},
    {"metadata": {"a": 5}},
    {"retries": -1},
    {"retries": "3"},
    {"retries": 1.5},
    {"ack_id": "1"},
    {"ack_id": []},
    {"ack_id": True},
    {"ack_id": 7},
    {"data_type": "xml"},
    {"data_type": 5},
]


@pytest.mark.parametrize("options", SENDS, ids=shown)
async def test_a_wrong_send_sends_nothing(
    autojump_clock: MockClock, service: RawService, options: dict[str, Any]
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with pytest.raises((TypeError, ValueError), match=r"\S"):
            await client.send_to_group("g", "hi", **options)
        if "ttl_seconds" not in options:
            with pytest.raises((TypeError, ValueError), match=r"\S"):
                await client.send_event("e", "hi", **options)
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught
        assert client.state == "connected"


async def test_metadata_may_change_behind_the_call(autojump_clock: MockClock, service: RawService) -> None:
    metadata = {"a": "1"}
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()

        @nursery.start_soon
        async def send() -> None:
            await client.send_to_group("g", "hi", metadata=metadata, repeat_in_new_session=True)

        await peer.expect("sendToGroup")
        metadata["a"] = "2"
        await peer.websocket.aclose(1008)
        peer = await service.next()
        assert (await peer.answer("sendToGroup"))["metadata"] == {"a": "1"}


async def test_an_id_of_another_kind_of_operation_is_refused(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, ack_timeout=1) as client:
        with pytest.raises(AckTimeout) as caught:
            await client.join_group("g")
        with pytest.raises(ValueError, match="no operation of this kind"):
            await client.send_to_group("g", "hi", ack_id=caught.value.ack_id)


@pytest.mark.parametrize("buffer", [0, -1, 1.5, "10", None])
async def test_a_buffer_is_a_number_of_messages(autojump_clock: MockClock, service: RawService, buffer: Any) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises((TypeError, ValueError), match="buffer"):
            client.messages(buffer=buffer)


@pytest.mark.parametrize("seconds", [0, -1, "1", None, True, float("nan")])
async def test_streams_have_a_number_of_seconds(autojump_clock: MockClock, service: RawService, seconds: Any) -> None:
    async with open_client(URL, connector=service.connector) as client:
        for open_them in (client.open_stream, client.group_streams):
            with pytest.raises((TypeError, ValueError), match="idle_timeout is"):
                open_them("g", idle_timeout=seconds)


@pytest.mark.parametrize("stream_id", ["", b"", 0])
async def test_a_stream_is_named_by_a_text(autojump_clock: MockClock, service: RawService, stream_id: Any) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises((TypeError, ValueError), match="stream_id"):
            client.open_stream("g", stream_id=stream_id)


WRONG_GROUPS: list[Any] = [None, "", "  ", "a\nb", "g" * 1025, b"g", ["g"], "\ud800", 5]


@pytest.mark.parametrize("group", WRONG_GROUPS, ids=lambda group: repr(group)[:10])
async def test_a_wrong_group_is_told_by_whatever_takes_one(
    autojump_clock: MockClock, service: RawService, group: Any
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        for call in (
            client.join_group,
            client.leave_group,
            partial(client.send_to_group, data="hi"),
            client.clear_group_state,
            partial(client.set_group_state, state={}),
        ):
            with pytest.raises((TypeError, ValueError), match="group name"):
                await call(group)
        made: list[Callable[[Any], object]] = [client.open_stream, client.group_state]
        if group is not None:  # which stands for every group
            made += [client.group_messages, client.group_streams]
        for make in made:
            with pytest.raises((TypeError, ValueError), match="group name"):
                make(group)


@pytest.mark.parametrize("flag", ["join", "fragments", "gaps"])
async def test_a_wrong_flag_is_told(autojump_clock: MockClock, service: RawService, flag: str) -> None:
    wrong: Any = {flag: "no"}
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(TypeError, match=f"{flag} is True or False, not 'str'"):
            client.group_messages("g", **wrong)


async def test_a_wrong_flag_for_streams_is_told(autojump_clock: MockClock, service: RawService) -> None:
    wrong: Any = "no"
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(TypeError, match="from_start is True or False, not 'str'"):
            client.group_streams("g", from_start=wrong)
        with pytest.raises(TypeError, match="no_echo is True or False, not 'str'"):
            client.open_stream("g", no_echo=wrong)


@pytest.mark.parametrize("flag", ["ack", "no_echo", "repeat_in_new_session", "log_payloads"])
@pytest.mark.parametrize("value", ["false", None, 0, 1])
async def test_a_wrong_flag_of_a_send_is_told(
    autojump_clock: MockClock, service: RawService, flag: str, value: Any
) -> None:
    wrong: Any = {flag: value}
    async with open_client(URL, connector=service.connector) as client:
        calls: list[Callable[..., Awaitable[object]]] = [partial(client.send_to_group, "g")]
        if flag != "no_echo":
            calls.append(partial(client.send_event, "e"))
        if flag == "log_payloads":
            calls.append(partial(client.invoke_event, "e"))
        for call in calls:
            with pytest.raises(TypeError, match=f"{flag} is True or False, not '{type(value).__name__}'"):
                await call("hi", **wrong)


@pytest.mark.parametrize("event", [None, "", "a b", "1", "e" * 129, b"e"])
async def test_a_wrong_event_is_told(autojump_clock: MockClock, service: RawService, event: Any) -> None:
    async with open_client(URL, connector=service.connector) as client:
        for call in (partial(client.send_event, data="hi"), client.invoke_event):
            with pytest.raises((TypeError, ValueError), match=r"an event name is a str|be an event name"):
                await call(event)


async def coroutine_function() -> str:
    return "hi"


WRONG_DATA: list[tuple[Any, str | None, str]] = [
    (b"hi", "text", "data_type='binary' would take it"),
    ({"a": 1}, "text", "data_type='json' would take it"),
    (b"hi", "json", "data_type='binary' would take it"),
    ("hi", "binary", "binary is sent from bytes, not from str"),
    ("hi", "text/plain", "data_type is 'text/plain', which is none of 'json', 'text'"),
    (coroutine_function, None, r"the data \(function\) has no form in JSON"),
    (object(), None, r"the data \(object\) has no form in JSON"),
    ((letter for letter in "hi"), None, r"the data \(generator\) has no form in JSON"),
    (float("nan"), None, "holds NaN or Infinity"),
]


@pytest.mark.parametrize(("data", "data_type", "why"), WRONG_DATA, ids=range(len(WRONG_DATA)))
async def test_data_that_cannot_be_sent_is_told(
    autojump_clock: MockClock, service: RawService, data: Any, data_type: Any, why: str
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        for call in (client.send_to_group, client.send_event, client.invoke_event):
            with pytest.raises((TypeError, ValueError), match=why):
                await call("lobby", data, data_type=data_type)


async def test_a_closed_subscription_says_so_whatever_is_tried(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        async with client.messages() as messages:
            pass
        for call in (messages.receive, messages.__anext__, messages.__aenter__, messages.batches().__anext__):
            with pytest.raises(trio.ClosedResourceError, match=r"closed, by the end of its block or by close\(\)"):
                await call()
        with pytest.raises(trio.ClosedResourceError, match="by the end of its block"):
            messages.receive_nowait()


async def test_what_is_called_after_the_block_says_so(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_client(emulator.client_url("chat"), connector=emulator.connector) as client:
        async with client.open_stream("lobby") as writer:
            await writer.write("hi")
        for late in (partial(writer.write, "hi"), writer.flush, partial(writer.abort, "Late")):
            with pytest.raises(trio.ClosedResourceError, match="the stream was ended"):
                await late()
    for call in (
        partial(client.join_group, "lobby"),
        partial(client.leave_group, "lobby"),
        partial(client.send_to_group, "lobby", "hi"),
        partial(client.send_to_group, "lobby", "hi", ack=False),
        partial(client.send_event, "e", "hi"),
        partial(client.invoke_event, "e"),
        partial(client.set_group_state, "lobby", {}),
        client.detach,
        client.group_messages("lobby").__aenter__,
        client.open_stream("lobby").__aenter__,
        client.group_state("lobby").__aenter__,
    ):
        with pytest.raises(trio.ClosedResourceError, match="the block was left"):
            await call()


def test_a_client_is_not_made_by_hand() -> None:
    by_hand: Any = Client
    with pytest.raises(TypeError, match=r"async with open_client\(url\) as client"):
        by_hand(URL)


@pytest.mark.parametrize("data", [None, "ticket", b"ticket", b"{}"])
def test_what_is_no_ticket_is_told(data: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="ticket"):
        SessionTicket.from_bytes(data)


# Other people's connectors and streams


class BrokenTls(trio.abc.Stream):
    """What a stream does on which TLS has ended with an alert."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert")
        alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        raise trio.BrokenResourceError from alert

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_why_tls_ended_is_told(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        return BrokenTls()

    start = trio.current_time()
    with pytest.raises(ConnectFailed, match="ended TLS during the handshake: TLSV13_ALERT_CERTIFICATE_REQUIRED"):
        async with open_client(URL.replace("ws:", "wss:"), connector=connector):
            pytest.fail("there is no connection")
    assert trio.current_time() == start


ERRORS = [RuntimeError("the user's own"), trio.BrokenResourceError("gone"), ValueError("canary"), UnicodeError("idna")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_a_connector_raises_is_one_more_way_not_to_connect(
    autojump_clock: MockClock, service: RawService, error: Exception
) -> None:
    failures: list[Exception | None] = [None, error, error, None]

    async def connector(*args: Any) -> trio.abc.Stream:
        if (failure := failures.pop(0)) is not None:
            raise failure
        return await service.connector(*args)

    async with open_client(URL, connector=connector) as client:
        peer = await service.next()
        peer.cut()
        peer = await service.next()
        await peer.expect("ping")
        await peer.send(type="pong")
        await wait_all_tasks_blocked()
        assert client.state == "connected"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_first_connector_that_raises_fails_the_opening(autojump_clock: MockClock, error: Exception) -> None:
    async def connector(*_: object) -> trio.abc.Stream:
        raise error

    with pytest.raises(ConnectFailed, match=f"the connector raised {type(error).__name__}") as caught:
        async with open_client(URL, connector=connector):
            pytest.fail("there is no connection")
    assert caught.value.__cause__ is error


async def test_a_connector_that_is_not_async_fails_the_opening(autojump_clock: MockClock) -> None:
    def connector(*_: object) -> Any:
        return BrokenTls()

    with pytest.raises(ConnectFailed, match="the connector is not async: it gave 'BrokenTls'"):
        async with open_client(URL, connector=connector):
            pytest.fail("there is no connection")


async def test_a_connector_that_gives_no_stream_fails_the_opening(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> Any:
        return None

    with pytest.raises(ConnectFailed, match="the connector gave 'NoneType', which is no stream"):
        async with open_client(URL, connector=connector):
            pytest.fail("there is no connection")
