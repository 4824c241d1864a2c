"""The in-memory connection: trio's own checks of a stream, the window, and the two ways to end it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_webpubsub._shell.memory import MemoryStream, memory_stream_pair


async def test_it_is_a_stream_as_trio_means_it(autojump_clock: MockClock) -> None:
    async def make_pair() -> tuple[MemoryStream, MemoryStream]:
        await trio.lowlevel.checkpoint()
        return memory_stream_pair()

    async def make_clogged_pair() -> tuple[MemoryStream, MemoryStream]:
        near, far = memory_stream_pair(window=1)
        await near.send_all(b"x")
        await far.send_all(b"x")
        return near, far

    await trio.testing.check_half_closeable_stream(make_pair, make_clogged_pair)


async def test_the_window_holds_the_sender_back(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair(window=10)
    with trio.move_on_after(1) as scope:
        await near.send_all(b"0123456789ab")
    assert scope.cancelled_caught
    assert await far.receive_some() == b"0123456789"
    await near.send_all(b"cd")
    assert await far.receive_some(1) == b"c"
    assert await far.receive_some(5) == b"d"


async def test_a_close_lets_the_peer_read_what_was_sent() -> None:
    near, far = memory_stream_pair()
    await near.send_all(b"last words")
    near.close()
    assert await far.receive_some(4) == b"last"
    assert await far.receive_some() == b" words"
    assert await far.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_an_abort_throws_away_what_was_not_read() -> None:
    near, far = memory_stream_pair()
    await near.send_all(b"lost")
    near.abort()
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


@pytest.mark.parametrize(("how", "peer_sees"), [("close", "end"), ("abort", "broken")])
async def test_the_end_wakes_all_who_wait(how: str, peer_sees: str, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair(window=1)
    seen: dict[str, str] = {}

    async def receive(name: str, stream: MemoryStream) -> None:
        try:
            while await stream.receive_some():
                pass
            seen[name] = "end"
        except trio.ClosedResourceError:
            seen[name] = "closed"
        except trio.BrokenResourceError:
            seen[name] = "broken"

    async def send(name: str, stream: MemoryStream) -> None:
        try:
            await stream.send_all(b"xyz")
        except trio.ClosedResourceError:
            seen[name] = "closed"
        except trio.BrokenResourceError:
            seen[name] = "broken"

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, "near", near)
            nursery.start_soon(receive, "far", far)
            await trio.testing.wait_all_tasks_blocked()
            getattr(near, how)()
        assert seen == {"near": "closed", "far": peer_sees}

        near, far = memory_stream_pair(window=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, "near", near)
            nursery.start_soon(send, "far", far)
            await trio.testing.wait_all_tasks_blocked()
            getattr(near, how)()
        assert seen == {"near": "closed", "far": "broken"}


async def test_bad_arguments() -> None:
    near, _ = memory_stream_pair()
    for size in (0, -1):
        with pytest.raises(ValueError, match="max_bytes"):
            await near.receive_some(size)
