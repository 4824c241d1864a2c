"""What is written to a socket without waiting, and to which streams that may be done."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from trio_webpubsub._shell.at_once import file_of, sender_of
from trio_webpubsub._shell.memory import memory_stream_pair


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
    assert file_of(near) == near.socket.fileno()
