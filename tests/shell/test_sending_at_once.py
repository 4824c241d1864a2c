"""FrameStream over a network that takes bytes without waiting: what goes at once, and what is left to the writer."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_webpubsub._shell.frame_stream import FrameStream
from trio_webpubsub._shell.memory import memory_stream_pair
from trio_webpubsub.protocol.frame_writer import encode_frame

A, B, C = (encode_frame(letter * 10) for letter in (b"a", b"b", b"c"))


class Network:
    """Takes as many bytes at once as it has room for; the rest has to wait for the stream."""

    def __init__(self, room: int = 1_000) -> None:
        near, self.far = memory_stream_pair()
        self.room = room
        self.broken = False
        self.at_once: list[bytes] = []
        self.writers = 0
        self.stream = FrameStream(near, client=False, max_message_size=1_000, try_send=self.try_send)
        self.stream.start_writer = self.start_writer

    def try_send(self, data: bytes) -> int:
        if self.broken:
            raise trio.BrokenResourceError
        taken = data[: self.room]
        self.room -= len(taken)
        if taken:
            self.at_once.append(taken)
        return len(taken)

    def start_writer(self) -> None:
        self.writers += 1


async def test_a_frame_goes_at_once_and_needs_no_writer() -> None:
    network = Network()
    assert network.stream.send_frame(A) == 0
    assert network.stream.send_frame(B) == 0
    assert network.at_once == [A, B]
    assert network.writers == 0


async def test_what_is_held_goes_together() -> None:
    network = Network()
    assert network.stream.hold(A) == len(A)
    assert network.stream.hold(B) == len(A + B)
    assert network.at_once == []
    network.stream.push()
    network.stream.push()
    assert network.at_once == [A + B]
    assert network.stream.queued_bytes == 0


async def test_what_is_sent_stays_behind_what_is_held() -> None:
    network = Network()
    network.stream.hold(A)
    assert network.stream.send_frame(B) == 0
    assert network.at_once == [A + B]


async def test_what_the_network_does_not_take_is_left_to_the_writer() -> None:
    network = Network(room=5)
    assert network.stream.send_frame(A) == len(A) - 5
    assert network.writers == 1
    network.room = 1_000
    # All that is sent before the writer is done has to wait for it.
    assert network.stream.send_frame(B) == len(A + B) - 5
    network.stream.hold(C)
    network.stream.push()
    assert network.at_once == [A[:5]]
    await network.stream.wait_for_work()
    await network.stream.flush()
    assert await network.far.receive_some() == (A + B + C)[5:]
    assert network.stream.send_frame(A) == 0
    network.room = 0
    network.stream.send_frame(B)
    assert network.at_once == [A[:5], A]
    assert network.writers == 1


async def test_a_waiting_writer_is_woken(autojump_clock: MockClock) -> None:
    network = Network(room=0)
    network.stream.send_frame(A)
    await network.stream.wait_for_work()
    await network.stream.flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.stream.wait_for_work)
        await trio.testing.wait_all_tasks_blocked()
        network.stream.send_frame(B)


async def test_while_the_writer_sends_nothing_goes_past_it(autojump_clock: MockClock) -> None:
    network = Network(room=0)
    frame = encode_frame(b"x" * 100_000)
    network.stream.send_frame(frame)
    network.room = 1_000_000
    received = bytearray()

    async def receive() -> None:
        while len(received) < len(frame + A):
            received.extend(await network.far.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.stream.flush)
        await trio.testing.wait_all_tasks_blocked()
        assert network.stream.send_frame(A) > 0
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await network.stream.flush()
    assert received == frame + A
    assert network.at_once == []


async def test_a_push_is_enough_to_drain(autojump_clock: MockClock) -> None:
    network = Network()
    network.stream.hold(A)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.stream.drain)
        await trio.testing.wait_all_tasks_blocked()
        network.stream.push()


@pytest.mark.parametrize("how", ["send", "push"])
async def test_a_broken_network_is_told_to_the_writer(how: str) -> None:
    network = Network()
    network.broken = True
    if how == "push":
        network.stream.hold(A)
        network.stream.push()
    else:
        network.stream.send_frame(A)
    assert network.writers == 1
    assert network.stream.queued_bytes == 0
    with pytest.raises(trio.BrokenResourceError):
        await network.stream.wait_for_work()
    # Nothing goes any more, and nothing is kept.
    network.stream.queue_ping()
    assert network.stream.hold(B) == network.stream.send_frame(C) == 0
    assert network.at_once == []


async def test_a_ping_goes_at_once() -> None:
    network = Network()
    network.stream.queue_ping()
    assert network.at_once == [b"\x89\x00"]
