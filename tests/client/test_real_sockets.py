"""Sending over real sockets: past the writer while the network takes it, through the writer when it does not."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import Client, Disconnected, Recovered, open_client

from .raw_service import URL, RawService

LARGE = "x" * 900_000
"""Much more than the buffers of `SocketService` hold."""


class SocketService(RawService):
    """A raw service whose connections are sockets with small buffers."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.sockets: list[trio.SocketStream] = []
        """The clients' ends."""
        self.others: list[trio.SocketStream] = []
        """Ours."""

    async def pair(self) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        listener = trio.socket.socket()
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours = await trio.open_tcp_stream(*listener.getsockname())
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            theirs, _ = await listener.accept()
        self.sockets.append(ours)
        self.others.append(trio.SocketStream(theirs))
        return ours, self.others[-1]


@pytest.fixture
async def service() -> AsyncIterator[SocketService]:
    """A raw service over sockets, on the real clock."""
    async with trio.open_nursery() as nursery:
        service = SocketService(nursery)
        with trio.fail_after(20):
            yield service
        nursery.cancel_scope.cancel()
    for each in service.others:
        each.socket.close()


def background() -> set[str]:
    """Give what the tasks of connections do now, as their names begin."""

    def tasks(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from tasks(child)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    names = {each.name.removesuffix(" chat") for each in tasks(root) if each.name.endswith(" chat")}
    return names - {"supervisor", "token watch"}


async def send_in_order(client: Client, *texts: str) -> None:
    for text in texts:
        await client.send_to_group("g", text, ack=False)


async def test_an_idle_client_has_neither_writer_nor_ticker(service: SocketService) -> None:
    async with open_client(URL, connector=service.connector):
        await service.next()
        await wait_all_tasks_blocked()
        assert background() == {"receive loop", "keep-alive"}


async def test_whoever_sends_alone_needs_no_writer(service: SocketService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        for data in ("one", "two"):
            nursery.start_soon(client.send_to_group, "g", data)
            assert (await peer.answer("sendToGroup"))["data"] == data
            await wait_all_tasks_blocked()
        assert background() == {"receive loop", "keep-alive", "sequence-ack ticker"}


async def test_many_who_send_at_once_are_written_together(
    service: SocketService, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.write

    def counted_write(file: int, data: bytes) -> int:
        if service.sockets and file == service.sockets[0].socket.fileno():
            written.append(len(data))
        return write(file, data)

    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        monkeypatch.setattr(os, "write", counted_write)
        for number in range(100):
            nursery.start_soon(client.send_to_group, "g", number)
        messages = [await peer.expect("sendToGroup") for _ in range(100)]
        assert [each["ackId"] for each in messages] == list(range(1, 101))
        assert len(written) == 5  # the first alone, three parts of 32, and the rest by the writer
        for message in messages:
            await peer.ack(message)


async def test_who_is_cancelled_already_sends_nothing(service: SocketService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send_to_group("g", "unwanted")
        assert scope.cancelled_caught
        nursery.start_soon(client.send_to_group, "g", "wanted")
        assert (await peer.answer("sendToGroup"))["data"] == "wanted"
        assert client.statistics().frames_sent == 1


async def test_what_the_network_does_not_take_goes_out_in_order(service: SocketService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        nursery.start_soon(client.send_to_group, "g", LARGE)
        await wait_all_tasks_blocked()
        nursery.start_soon(client.send_to_group, "g", "with others")
        await send_in_order(client, "without", "an ack")
        first = await peer.expect("sendToGroup")
        assert first["data"] == LARGE
        await peer.ack(first)
        others = [await peer.expect("sendToGroup") for _ in range(3)]
        assert sorted(each["data"] for each in others) == ["an ack", "with others", "without"]
        assert [each["data"] for each in others if "ackId" not in each] == ["without", "an ack"]
        await peer.ack(next(each for each in others if "ackId" in each))


async def test_a_pong_never_goes_into_a_frame(service: SocketService) -> None:
    text = "x" * 100_000  # of which two, unlike longer ones, leave room for an answer behind them
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        nursery.start_soon(send_in_order, client, *[text] * 6)
        await wait_all_tasks_blocked()  # the peer reads no more, since nobody takes what it has
        nursery.start_soon(peer.websocket.ping)
        await wait_all_tasks_blocked()
        for _ in range(6):
            assert (await peer.expect("sendToGroup"))["data"] == text


async def test_leaving_waits_for_a_peer_that_reads_slowly(service: SocketService) -> None:
    numbers: list[int] = []
    closed: list[int] = []

    async def read_later() -> None:
        await wait_all_tasks_blocked()
        numbers.extend([(await peer.expect("sendToGroup"))["data"][0] for _ in range(300)])
        closed.append(await peer.closed())

    async with (
        trio.open_nursery() as nursery,
        open_client(URL, connector=service.connector, close_timeout=15) as client,
    ):
        peer = await service.next()
        for number in range(300):
            await client.send_to_group("g", [number, "x" * 1_000], ack=False)
        nursery.start_soon(read_later)
    assert numbers == list(range(300))
    assert closed == [1000]


async def test_a_send_into_a_connection_that_was_just_reset_goes_out_again(service: SocketService) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        await service.next()
        await wait_all_tasks_blocked()
        service.others[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        service.others[0].socket.close()
        nursery.start_soon(client.send_to_group, "g", "x")
        recovered = await service.recover()
        assert (await recovered.answer("sendToGroup"))["data"] == "x"


async def test_a_socket_closed_underneath_is_recovered_and_its_number_left_alone(
    service: SocketService, tmp_path: Path
) -> None:
    async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as nursery:
        peer = await service.next()
        changes = client.lifecycle()
        number = service.sockets[0].socket.fileno()
        with (tmp_path / "strangers").open("wb") as file:
            service.sockets[0].socket.close()
            os.dup2(file.fileno(), number)  # as the next file that somebody opens may get it
            try:
                nursery.start_soon(client.send_to_group, "g", "x")
                recovered = await service.recover()
                assert (await recovered.answer("sendToGroup"))["data"] == "x"
            finally:
                os.close(number)
        assert (tmp_path / "strangers").read_bytes() == b""
        kinds = [type(await anext(changes)) for _ in range(3)]
        assert kinds[1:] == [Disconnected, Recovered]
        assert peer is not recovered


async def test_in_memory_all_is_left_to_the_writer(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        service = RawService(nursery)
        async with open_client(URL, connector=service.connector) as client, trio.open_nursery() as sending:
            peer = await service.next()
            await wait_all_tasks_blocked()
            assert background() == {"receive loop", "keep-alive"}
            sending.start_soon(client.send_to_group, "g", "x")
            await peer.answer("sendToGroup")
            await wait_all_tasks_blocked()
            assert background() == {"receive loop", "keep-alive", "writer", "sequence-ack ticker"}
        nursery.cancel_scope.cancel()


async def test_a_ping_that_becomes_due_while_a_message_is_sent_follows_it(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        service = SocketService(nursery)
        async with (
            open_client(URL, connector=service.connector, keep_alive_interval=2, keep_alive_timeout=10) as client,
            trio.open_nursery() as sending,
        ):
            peer = await service.next()
            await peer.expect("ping")
            await peer.websocket.ping()  # a sign of life, of which the session is not told
            await trio.sleep(5)
            sending.start_soon(client.send_event, "e", "x")
            event = await peer.expect("event")
            await peer.expect("ping")
            await peer.ack(event)
        nursery.cancel_scope.cancel()
