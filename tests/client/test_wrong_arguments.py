"""Whatever is passed in: it is named at the door, and nothing is sent, lost or broken by it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import AckTimeout, ConnectFailed, open_client

from .raw_service import URL, RawService

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
    {"headers": {"X": 5}},
    {"headers": [(5, "X")]},
    {"resume": b"{}"},
    {"resume": "ticket"},
    {"connector": 5},
    {"subprotocol": ["json"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
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


@pytest.mark.parametrize("options", SENDS, ids=str)
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


async def test_a_connector_that_gives_no_stream_fails_the_opening(autojump_clock: MockClock) -> None:
    async def connector(*_: object) -> Any:
        return None

    with pytest.raises(ConnectFailed, match="the connector gave 'NoneType', which is no stream"):
        async with open_client(URL, connector=connector):
            pytest.fail("there is no connection")
