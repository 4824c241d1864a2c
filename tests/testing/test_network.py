"""What the simulated network does to a connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub._shell.tcp import sender_of
from trio_webpubsub.testing import LinkCut, SimulatedNetwork


class Server:
    """Keeps its ends of the connections."""

    def __init__(self) -> None:
        self.streams: list[trio.abc.Stream] = []
        self.closed = False

    def accept(self, stream: trio.abc.Stream) -> None:
        if self.closed:
            raise ConnectionRefusedError("closed")
        self.streams.append(stream)


async def connected(
    network: SimulatedNetwork, name: str = "ann"
) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
    server = Server()
    near = await network.connector(server, name)("host", 80, None)
    (far,) = server.streams
    assert isinstance(near, trio.abc.HalfCloseableStream)
    assert isinstance(far, trio.abc.HalfCloseableStream)
    return near, far


async def nothing_comes(stream: trio.abc.Stream) -> bool:
    with trio.move_on_after(3600):
        await stream.receive_some()
        return False
    return True


async def test_bytes_go_both_ways_and_take_their_time(autojump_clock: MockClock) -> None:
    near, far = await connected(SimulatedNetwork(latency=0.5))
    start = trio.current_time()
    await near.send_all(b"there")
    assert trio.current_time() == start
    assert await far.receive_some(3) == b"the"
    assert await far.receive_some() == b"re"
    assert trio.current_time() == start + 0.5
    await far.send_all(b"and back")
    assert await near.receive_some() == b"and back"
    await near.send_eof()
    assert await far.receive_some() == b""
    await far.send_all(b"still")
    assert await near.receive_some() == b"still"


async def test_jitter_and_splits_keep_the_order(autojump_clock: MockClock) -> None:
    near, far = await connected(SimulatedNetwork(3, jitter=1, split=1))
    sent = bytes(range(256))
    for start in range(0, 256, 16):
        await near.send_all(sent[start : start + 16])
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < 256:
        pieces.append(bytes(await far.receive_some()))
    assert b"".join(pieces) == sent
    assert len(pieces) == 32


async def test_a_window_makes_the_sender_wait(autojump_clock: MockClock) -> None:
    near, far = await connected(SimulatedNetwork(window=10))
    with trio.move_on_after(1) as scope:
        await near.send_all(bytes(11))
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        assert await far.receive_some() == bytes(10)
    await near.send_all(bytes(10))
    assert await far.receive_some() == bytes(10)


async def test_every_other_link_takes_at_once_what_its_window_holds(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork(window=10)
    near, far = await connected(network)
    send = sender_of(near)
    assert send is not None
    assert send(bytes(8)) == 8
    assert send(bytes(8)) == 2
    assert send(bytes(8)) == 0
    assert await far.receive_some() == bytes(8)
    network.cut("reset")
    with pytest.raises(trio.BrokenResourceError):
        send(bytes(1))
    like_tls, _ = await connected(network)
    send = sender_of(like_tls)
    assert send is not None
    assert send(bytes(8)) == 0


async def test_a_trickle(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    with network.disturb("ann", bytes_per_second=100), network.disturb(latency=1):
        await near.send_all(bytes(50))
    start = trio.current_time()
    got = 0
    while got < 50:
        got += len(await far.receive_some())
    assert trio.current_time() - start == pytest.approx(1.5)
    await near.send_all(b"quick again")
    now = trio.current_time()
    assert await far.receive_some() == b"quick again"
    assert trio.current_time() == now


async def test_of_disturbances_that_overlap_each_ends_in_its_time(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork(latency=1)
    conditions = network._conditions_of("ann")
    first, second = network.disturb("ann", latency=2), network.disturb(latency=3)
    with first:
        second.__enter__()
        assert conditions.latency == 3
    assert conditions.latency == 3
    second.__exit__(None, None, None)
    assert conditions.latency == 1


async def test_nothing_at_all_is_no_slow_link(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="bytes_per_second is"), SimulatedNetwork().disturb(bytes_per_second=0):
        pass


async def test_a_reset_loses_what_is_on_its_way(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    await near.send_all(b"lost")
    assert network.cut("reset", "ann") == 1
    for end in (near, far):
        with pytest.raises(trio.BrokenResourceError):
            await end.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await end.send_all(b"x")


async def test_a_client_without_a_link_is_no_mistake(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    await near.aclose()
    await far.aclose()
    assert (network.cut("reset", "ann"), network.close(1001, name="ann")) == (0, 0)


async def test_eof_comes_behind_what_was_sent(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    await near.send_all(b"last")
    network.cut("eof")
    assert await far.receive_some() == b"last"
    assert await far.receive_some() == b""
    assert await near.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x")


async def test_half_of_a_link_can_end(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    network.cut("half_close", direction="up")
    assert await far.receive_some() == b""
    await far.send_all(b"still")
    assert await near.receive_some() == b"still"
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")


async def test_silence_tells_nobody(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork(window=100)
    near, far = await connected(network)
    await near.send_all(b"on its way")
    network.cut("silence")
    await near.send_all(b"lost")
    await far.send_all(b"lost")
    await near.aclose()
    assert await nothing_comes(far)
    with trio.move_on_after(10) as scope:
        await far.send_all(bytes(100))
    assert scope.cancelled_caught


async def test_half_open_tells_the_client_only(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    network.cut("half_open")
    with pytest.raises(trio.BrokenResourceError):
        await near.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")
    await near.wait_send_all_might_not_block()
    await far.send_all(b"x")
    assert await nothing_comes(far)


@pytest.mark.parametrize("how", ["reset", "eof", "half_close", "silence", "half_open"])
async def test_a_cut_within_a_message(autojump_clock: MockClock, how: LinkCut) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    network.cut(how, direction="up", after_bytes=3)
    await near.send_all(b"ab")
    assert await far.receive_some() == b"ab"
    with suppress(trio.BrokenResourceError):
        await near.send_all(b"cde")
    assert await far.receive_some() == b"c"
    if how in ("silence", "half_open"):
        assert await nothing_comes(far)
    elif how == "reset":
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
    else:
        assert await far.receive_some() == b""


async def test_no_bytes_are_taken_back(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="after_bytes is"):
        SimulatedNetwork().cut(after_bytes=-1)


async def test_a_close_frame_stands_between_frames(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork(window=4)
    near, far = await connected(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, b"abcdef")
        await wait_all_tasks_blocked()
        assert network.close(1012, "bye") == 1
        received = b""
        while piece := await near.receive_some():
            received += piece
    assert received == b"abcdef\x88\x05\x03\xf4bye"
    assert await far.receive_some() == b""


@pytest.mark.parametrize("code", [999, 1005, 1006, 5000])
async def test_a_code_that_is_never_sent(autojump_clock: MockClock, code: int) -> None:
    with pytest.raises(ValueError, match="no close code"):
        SimulatedNetwork().close(code)


async def test_a_partition_holds_everything_back(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    with network.partition("ann"):
        await near.send_all(b"up")
        await far.send_all(b"down")
        assert await nothing_comes(far)
        assert await nothing_comes(near)
        with trio.move_on_after(10) as scope:
            await connected(network)
        assert scope.cancelled_caught
    assert await far.receive_some() == b"up"
    assert await near.receive_some() == b"down"


async def test_a_partition_of_one_direction(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    with network.partition(direction="down"):
        await near.send_all(b"up")
        await far.send_all(b"down")
        assert await far.receive_some() == b"up"
        await near.aclose()
        await far.send_all(b"nobody has told that nobody reads")
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x")


async def test_an_unreachable_service(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, _ = await connected(network)
    other, _ = await connected(network, "ben")
    with network.unreachable("ann"):
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()
        with pytest.raises(ConnectionRefusedError):
            await connected(network)
        await connected(network, "ben")
        await other.send_all(b"x")
    await connected(network)


async def test_a_black_hole_takes_connections_and_no_bytes(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    with network.blackhole():
        near, far = await connected(network)
    await connected(network, "ben")
    with network.blackhole():
        near, far = await connected(network, "ben")
        await near.send_all(b"x")
    assert await nothing_comes(far)


async def test_who_takes_no_connections_leaves_no_link(autojump_clock: MockClock) -> None:
    network, server = SimulatedNetwork(), Server()
    server.closed = True
    with pytest.raises(ConnectionRefusedError):
        await network.connector(server)("host", 80, None)
    assert network.links == []


async def test_links_are_there_until_both_ends_are_closed(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    near, far = await connected(network)
    await near.aclose()
    await near.aclose()
    assert network.links == ["ann"]
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    assert await far.receive_some() == b""
    await far.aclose()
    assert network.links == []
    assert repr(network) == "<SimulatedNetwork seed=0 with 0 links>"


async def test_a_provider_of_urls_can_fail(autojump_clock: MockClock) -> None:
    network = SimulatedNetwork()
    count = 0

    async def ask() -> str:
        nonlocal count
        count += 1
        return f"url {count}"

    provide = network.provider(ask, "ann")
    with network.break_provider("repeats"):
        assert [await provide(), await provide()] == ["url 1", "url 1"]
    assert await provide() == "url 2"
    with network.break_provider("raises", "ann"), pytest.raises(ConnectionError):
        await provide()
    with network.break_provider("hangs"), trio.move_on_after(1000) as scope:
        await provide()
    assert scope.cancelled_caught
    with network.break_provider("raises", "somebody else"):
        assert await provide() == "url 3"


async def test_what_happened_can_be_read(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def some_network() -> AsyncGenerator[SimulatedNetwork]:
        network = SimulatedNetwork(1)
        near, _ = await connected(network)
        await near.send_all(b"x" * 1000)
        yield network

    async with some_network() as first, some_network() as second:
        assert first.digest == second.digest
        assert list(first.events(1)) == [f"    0.0000 ann/1 up 60 bytes {b'x' * 60!r}"]
        second.cut()
        assert first.digest != second.digest
