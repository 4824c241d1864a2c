"""What is written to a socket without waiting, what is received from it, and from which streams."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub._shell.tcp import file_of, receiver_of, sender_of


@pytest.fixture
async def pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    near, far = trio.socket.socketpair()
    with near, far:
        yield trio.SocketStream(near), trio.SocketStream(far)


async def test_a_socket_takes_what_fits_and_no_more(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, far = pair
    send = sender_of(near)
    assert send is not None
    assert send(b"hello") == 5
    assert await far.receive_some() == b"hello"
    while send(b"x" * 100_000):
        pass
    assert send(b"x") == 0


async def test_a_peer_that_is_gone_breaks_it(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, far = pair
    send = sender_of(near)
    assert send is not None
    await far.aclose()
    with pytest.raises(trio.BrokenResourceError):
        send(b"x")


async def test_a_closed_socket_is_broken(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, _ = pair
    send = sender_of(near)
    assert send is not None
    await near.aclose()
    with pytest.raises(trio.BrokenResourceError):
        send(b"x")


async def test_other_streams_are_left_alone(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, _ = pair
    memory, _ = memory_stream_pair()
    for stream in (memory, trio.StapledStream(near, near)):
        assert sender_of(stream) is None
        assert file_of(stream) is None
        assert receiver_of(stream) == stream.receive_some
    assert file_of(near) == near.socket.fileno()


async def test_what_comes_is_received_up_to_its_end(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, far = pair
    receive = receiver_of(near)
    await far.send_all(b"hello")
    assert await receive(3) == b"hel"
    assert await receive(3) == b"lo"
    await far.aclose()
    assert await receive(3) == b""


async def test_who_is_cancelled_while_waiting_loses_nothing(
    pair: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    near, far = pair
    receive = receiver_of(near)
    with trio.CancelScope() as scope:
        scope.cancel()
        await receive(5)
    assert scope.cancelled_caught
    await far.send_all(b"hello")
    assert await receive(5) == b"hello"


class Thief(trio.abc.Instrument):
    """Takes what has come after its reader was found to be awake, and before that reads."""

    def __init__(self, file: int) -> None:
        self.taken = b""
        self._file = file

    def after_io_wait(self, timeout: float) -> None:
        if not self.taken:
            with suppress(BlockingIOError):
                self.taken = os.read(self._file, 5)


async def test_a_reader_that_is_woken_for_nothing_goes_on_waiting(
    pair: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    near, far = pair
    received: list[bytes | bytearray] = []

    async def reader() -> None:
        received.append(await receiver_of(near)(5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        thief = Thief(near.socket.fileno())
        trio.lowlevel.add_instrument(thief)
        await far.send_all(b"taken")
        await wait_all_tasks_blocked()
        assert (thief.taken, received) == (b"taken", [])
        await far.send_all(b"hello")
    assert received == [b"hello"]


async def test_closing_wakes_who_waits(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, _ = pair

    async def reader() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await receiver_of(near)(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        await near.aclose()


async def test_nothing_is_received_from_a_closed_socket(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    near, _ = pair
    receive = receiver_of(near)
    await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await receive(5)


async def test_a_file_that_was_closed_without_trio_is_broken(
    pair: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    near, _ = pair
    os.close(near.socket.fileno())
    with pytest.raises(trio.BrokenResourceError):
        await receiver_of(near)(5)
    near.socket.detach()  # the number may be another file's by the time it would be closed


async def test_a_reset_breaks_receiving() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.testing.open_stream_to_socket_listener(listeners[0])
    async with near, listeners[0], await listeners[0].accept() as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.socket.close()
        with pytest.raises(trio.BrokenResourceError):
            await receiver_of(near)(5)
