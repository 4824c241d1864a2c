"""The emulator as its users see it: how it opens and ends, what can be seen in it, and what can be broken."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.emulator.peer import RELIABLE, open_peer, raw_peer, recovery_url, rejection
from trio_webpubsub import ConnectFailed, open_client
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub.emulator import (
    DEFAULT_ACCESS_KEY,
    Cut,
    EmulatedConnection,
    Emulator,
    open_emulator,
    serve_emulator,
)
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.protocol.urls import ClientUrl
from trio_webpubsub.service import open_service

CUTS: tuple[Cut, ...] = ("reset", "eof", "silence")


# Opening


async def test_the_connection_string_is_that_of_the_official_emulator_but_for_the_port(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    read = ConnectionString.parse(emulator.connection_string)
    assert (read.endpoint, read.access_key) == ("http://127.0.0.1:1", DEFAULT_ACCESS_KEY)


async def test_a_client_url_names_hub_user_groups_and_roles(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, "Chat", user_id="ann", groups=["a"], roles=["webpubsub.sendToGroup"]) as peer:
        assert emulator.connections("chat") == [
            EmulatedConnection(
                connection_id=peer.connection_id,
                user_id="ann",
                groups=frozenset("a"),
                attached=True,
                subprotocol=RELIABLE,
            )
        ]
        assert (await peer.ask(type="joinGroup", group="b", ackId=1))["error"]["name"] == "Forbidden"


@pytest.mark.parametrize(
    "bad", [{"hub": ""}, {"hub": "a b"}, {"hub": "chat", "groups": [" "]}, {"hub": "chat", "user_id": ""}]
)
async def test_a_client_url_with_a_bad_name_is_a_value_error(
    autojump_clock: MockClock, emulator: Emulator, bad: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"name|user id"):
        emulator.client_url(**bad)


async def test_the_key_stands_in_no_repr_and_tokens_in_no_log(
    autojump_clock: MockClock, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert DEFAULT_ACCESS_KEY not in repr(emulator)
    url = emulator.client_url("chat")
    token = ClientUrl.parse(url).access_token
    assert token is not None
    async with open_peer(emulator) as peer:
        await rejection(emulator, url.replace("/chat", "/other"))
        await peer.websocket.send_message("nonsense")
        await peer.closed()
    async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
        await again.receive()
    assert token not in caplog.text
    assert peer.connected["reconnectionToken"] not in caplog.text


async def test_in_memory_only_its_own_address_is_known(autojump_clock: MockClock, emulator: Emulator) -> None:
    for host, port in (("localhost", 1), ("127.0.0.1", 80)):
        with pytest.raises(ConnectionRefusedError):
            await emulator.connector(host, port, None)
    with pytest.raises(ConnectionError, match="TLS"):
        await emulator.connector("127.0.0.1", 1, ssl.create_default_context())


async def test_without_the_connector_nobody_is_found() -> None:
    async with open_emulator(in_memory=True) as emulator:
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1:1"):
            async with open_client(emulator.client_url("chat")):
                pytest.fail("there is an emulator on this machine")


async def test_after_the_block_nobody_is_there(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator:
        pass
    with pytest.raises(ConnectionRefusedError):
        await emulator.connector("127.0.0.1", 1, None)


async def test_an_unknown_http_path_is_not_found(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with httpx.AsyncClient(transport=emulator.http_transport) as client:
        assert (await client.get(f"{emulator.endpoint}/nothing")).status_code == 404


async def test_what_a_server_sends_over_rest_reaches_the_clients(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, user_id="ann", groups=["lobby"]) as peer,
        open_service(emulator.connection_string, "Chat", connector=emulator.connector) as service,
    ):
        await service.send_to_group("lobby", {"a": 1})
        message = await peer.receive()
        assert (message["from"], message["group"], message["data"]) == ("group", "lobby", {"a": 1})
        for send in (
            service.send_to_all("hi"),
            service.send_to_user("ann", "hi"),
            service.send_to_connection(peer.connection_id, "hi"),
        ):
            await send
            message = await peer.receive()
            assert (message["from"], message["data"]) == ("server", "hi")
        await service.send_to_all("not for all", excluded=[peer.connection_id])
        assert await peer.ask(type="ping") == {"type": "pong"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_the_known_key_is_refused_where_others_could_connect(host: str) -> None:
    with pytest.raises(ValueError, match="access key"):
        async with open_emulator(host=host):
            pass


async def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        async with open_emulator(access_key=""):
            pass


async def test_a_taken_port_is_an_os_error() -> None:
    async with open_emulator() as emulator:
        port = int(emulator.endpoint.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with open_emulator(port=port):
                pass


async def test_over_tcp_on_a_free_port() -> None:
    async with open_emulator() as emulator, open_peer(emulator, groups=["lobby"]) as peer:
        await peer.send(type="sendToGroup", group="lobby", dataType="text", data="a")
        assert (await peer.receive())["data"] == "a"
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{emulator.endpoint}/nothing")).status_code == 404


async def test_in_a_nursery_it_serves_until_it_is_cancelled() -> None:
    async with trio.open_nursery() as inner:
        emulator: Emulator = await inner.start(partial(serve_emulator, port=0))
        async with open_peer(emulator) as peer:
            inner.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await peer.closed())[0] == 1001


# Ending


async def hold_open(
    leave: trio.Event, *, task_status: trio.TaskStatus[Emulator], ended: trio.Event | None = None
) -> None:
    """Keep an emulator open until it is told to leave."""
    async with open_emulator(in_memory=True) as emulator:
        task_status.started(emulator)
        await leave.wait()
    if ended is not None:
        ended.set()


async def test_at_the_end_clients_are_told_and_closed_with_1001(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    leave = trio.Event()
    emulator: Emulator = await nursery.start(hold_open, leave)
    async with open_peer(emulator) as peer:
        leave.set()
        assert (await peer.receive())["event"] == "disconnected"
        assert (await peer.closed())[0] == 1001


async def test_an_exception_leaves_the_block_as_it_is(autojump_clock: MockClock) -> None:
    class OwnError(Exception):
        pass

    with pytest.raises(OwnError):
        async with open_emulator(in_memory=True):
            raise OwnError


async def test_a_cancelled_block_finds_its_emulator_alive_to_the_end(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with open_emulator(in_memory=True) as emulator, open_peer(emulator) as peer:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
                assert await peer.ask(type="ping") == {"type": "pong"}
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_cancelled_block_still_closes_with_1001(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        emulator: Emulator = await nursery.start(hold_open, trio.Event())
        async with open_peer(emulator) as peer:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await peer.closed())[0] == 1001


async def test_it_may_be_cancelled_while_it_opens(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_emulator(in_memory=True):
            pytest.fail("the block was entered")
    assert scope.cancelled_caught


@pytest.mark.parametrize("how", [*CUTS, None])
async def test_a_client_that_does_not_take_part_does_not_hold_the_end_up(
    autojump_clock: MockClock, nursery: trio.Nursery, how: Cut | None
) -> None:
    leave, ended = trio.Event(), trio.Event()
    emulator: Emulator = await nursery.start(partial(hold_open, leave, ended=ended))
    idle = await emulator.connector("127.0.0.1", 1, None)
    async with idle, raw_peer(emulator, emulator.client_url("chat")) as peer:
        connection_id = (await peer.receive())["connectionId"]
        if how is not None:
            emulator.cut(connection_id, how)
        leave.set()
        with trio.fail_after(3.5):
            await ended.wait()


# Looking inside


async def test_groups_and_users_can_be_seen(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with (
        open_peer(emulator, user_id="ann", groups=["lobby"]) as ann,
        open_peer(emulator, groups=["lobby", "hall"]) as other,
    ):
        assert emulator.groups("chat") == {
            "lobby": [ann.connection_id, other.connection_id],
            "hall": [other.connection_id],
        }
        assert emulator.users("chat") == {"ann": [ann.connection_id]}
        assert emulator.groups("other") == {}


async def test_a_session_that_waits_for_its_client_can_be_seen(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        emulator.cut(peer.connection_id)
        await wait_all_tasks_blocked()
        (connection,) = emulator.connections("chat")
        assert (connection.connection_id, connection.attached) == (peer.connection_id, False)


# Faults


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_a_cut_connection_ends_abruptly_and_can_be_recovered(
    autojump_clock: MockClock, emulator: Emulator, how: Cut
) -> None:
    async with open_peer(emulator) as peer, open_peer(emulator) as other:
        emulator.cut(peer.connection_id, how)
        assert (await peer.closed())[0] == 1006
        assert await other.ask(type="ping") == {"type": "pong"}
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.receive())["event"] == "connected"


async def test_a_silent_connection_gives_no_sign_and_can_be_recovered(
    autojump_clock: MockClock, emulator: Emulator
) -> None:
    async with open_peer(emulator, groups=["lobby"]) as peer, open_peer(emulator) as other:
        emulator.cut(peer.connection_id, "silence")
        await peer.send(type="ping")
        await other.ask(type="sendToGroup", group="lobby", dataType="text", data="a", ackId=1)
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.receive())["event"] == "connected"
            assert (await again.receive())["data"] == "a"


async def test_all_connections_of_all_hubs_can_be_cut(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator, "a") as first, open_peer(emulator, "b") as second:
        emulator.cut_all()
        assert (await first.closed())[0] == (await second.closed())[0] == 1006


async def test_a_forgotten_session_cannot_be_recovered(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        emulator.forget_session(peer.connection_id)
        assert (await peer.closed())[0] == 1006
        async with raw_peer(emulator, recovery_url(emulator, peer)) as again:
            assert (await again.closed())[0] == 1008


async def test_a_fault_of_what_is_not_there_is_a_lookup_error(autojump_clock: MockClock, emulator: Emulator) -> None:
    async with open_peer(emulator) as peer:
        with pytest.raises(LookupError, match="no-such-id"):
            emulator.cut("no-such-id")
        with pytest.raises(LookupError, match="no-such-id"):
            emulator.forget_session("no-such-id")
        emulator.cut(peer.connection_id)
        await wait_all_tasks_blocked()
        with pytest.raises(LookupError, match=peer.connection_id):
            emulator.cut(peer.connection_id)


async def test_handshakes_can_be_refused_for_a_while(autojump_clock: MockClock, emulator: Emulator) -> None:
    url = emulator.client_url("chat")
    async with open_peer(emulator) as peer:
        with emulator.refuse_connections(503):
            assert await rejection(emulator, url) == 503
            with emulator.refuse_connections(429):
                assert await rejection(emulator, url) == 429
            assert await rejection(emulator, recovery_url(emulator, peer)) == 503
            assert await peer.ask(type="ping") == {"type": "pong"}
    async with open_peer(emulator):
        pass


@pytest.mark.parametrize("status", [101, 200, 399, 600])
async def test_a_status_that_does_not_refuse_is_a_value_error(
    autojump_clock: MockClock, emulator: Emulator, status: int
) -> None:
    with pytest.raises(ValueError, match=str(status)), emulator.refuse_connections(status):
        pass


async def test_connections_can_be_refused_before_any_http(autojump_clock: MockClock, emulator: Emulator) -> None:
    with emulator.refuse_connections(None), pytest.raises(ConnectionRefusedError):
        await emulator.connector("127.0.0.1", 1, None)
    async with open_peer(emulator):
        pass


async def test_over_tcp_new_connections_can_be_reset() -> None:
    async with open_emulator() as emulator:
        with emulator.refuse_connections(None):
            stream = await emulator.connector("127.0.0.1", int(emulator.endpoint.rpartition(":")[2]), None)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()
        async with open_peer(emulator):
            pass


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_over_tcp_a_connection_can_be_cut(how: Cut) -> None:
    async with open_emulator() as emulator, open_peer(emulator) as peer:
        emulator.cut(peer.connection_id, how)
        assert (await peer.closed())[0] == 1006


async def test_a_connection_that_was_made_elsewhere_is_served(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    async with open_emulator(in_memory=True) as emulator:
        emulator.accept(far)
        await near.send_all(b"HEAD /api/health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await near.receive_some()).startswith(b"HTTP/1.1 200")
        with emulator.refuse_connections(None), pytest.raises(ConnectionRefusedError):
            emulator.accept(far)
    with pytest.raises(ConnectionRefusedError):
        emulator.accept(far)
