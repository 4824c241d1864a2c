"""FrameStream with real trio-websocket at both ends, over bounded streams in memory, on the virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_server_stream

from tests.shell.side import LIMIT, Side
from trio_webpubsub._shell.frame_stream import FrameStream, TransportEnded
from trio_webpubsub._shell.memory import MemoryStream, memory_stream_pair
from trio_webpubsub.protocol.frame_reader import BinaryMessage
from trio_webpubsub.protocol.frame_writer import encode_close, encode_frame


@asynccontextmanager
async def connected(
    *, window: int = 65_536, receive: bool = True, write: bool = True
) -> AsyncGenerator[tuple[Side, Side, trio.Nursery]]:
    """Give client and server after their handshake."""
    near, far = memory_stream_pair(window)
    with trio.fail_after(1_000):
        async with trio.open_nursery() as nursery:
            client, server = Side(near, client=True), Side(far, client=False)
            async with trio.open_nursery() as handshake:
                handshake.start_soon(client.open, nursery)
                handshake.start_soon(server.accept, nursery)
            for side in client, server:
                if receive:
                    nursery.start_soon(side.receive)
                if write:
                    nursery.start_soon(side.write)
            yield client, server, nursery
            nursery.cancel_scope.cancel()


# Messages


async def test_messages_travel_both_ways_in_order(autojump_clock: MockClock) -> None:
    async with connected() as (client, server, _):
        for number in range(1_000):
            client.stream.queue_frames([b"up %d" % number])
            server.stream.queue_frames([b"down %d" % number], binary=True)
        await trio.testing.wait_all_tasks_blocked()
        assert server.received == [b"up %d" % number for number in range(1_000)]
        assert client.received == [b"down %d" % number for number in range(1_000)]
        assert {type(message) for message in server.received} == {bytes}
        assert {type(message) for message in client.received} == {BinaryMessage}
        assert client.stream.queued_bytes == server.stream.queued_bytes == 0


async def test_all_that_is_queued_goes_out_as_one_piece() -> None:
    class Counting(MemoryStream):
        sends = 0

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            self.sends += 1
            await super().send_all(data)

    near, far = memory_stream_pair()
    counting = Counting(near._incoming, near._outgoing)
    async with trio.open_nursery() as nursery:
        client, server = Side(far, client=True), Side(counting, client=False)
        nursery.start_soon(client.open, nursery)
        await server.accept(nursery)
        await trio.testing.wait_all_tasks_blocked()
        before = counting.sends
        for _ in range(100):
            server.stream.queue_frames([b"x"])
        assert server.stream.queued_bytes == 300
        await server.stream.flush()
        assert counting.sends == before + 1
        assert server.stream.queued_bytes == 0
        assert await client.stream.receive_batch() == [b"x"] * 100
        await server.stream.flush()
        assert counting.sends == before + 1
        nursery.cancel_scope.cancel()


async def test_messages_larger_than_the_window(autojump_clock: MockClock) -> None:
    async with connected(window=1_000) as (client, server, _):
        payload = b"y" * LIMIT
        client.stream.queue_frames([payload])
        server.stream.queue_frames([payload])
        await trio.testing.wait_all_tasks_blocked()
        assert client.received == server.received == [payload]


async def test_fragments_with_a_ping_between_them(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, _):
        await peer.send_all(b"\x01\x03one" + b"\x89\x02hi" + b"\x80\x03two" + b"\x02\x00" + b"\x80\x01\xff")
        assert await client.stream.receive_batch() == [b"onetwo", b"\xff"]
        await client.stream.wait_for_work()
        await client.stream.flush()
        pong = await peer.receive_some()
        assert pong[:2] == b"\x8a\x82"


async def test_the_masks_come_from_the_byte_source() -> None:
    near, far = memory_stream_pair()
    stream = FrameStream(near, client=True, max_message_size=LIMIT, random_bytes=lambda count: b"\0\1\2\3"[:count])
    stream.queue_frames([b"\0\0\0\0"])
    await stream.flush()
    assert await far.receive_some() == b"\x81\x84\0\1\2\3\0\1\2\3"


# Pings


async def test_pings_are_answered_while_data_flows(autojump_clock: MockClock) -> None:
    async with connected(window=5_000) as (client, server, nursery):

        async def flood(side: Side) -> None:
            for _ in range(200):
                side.stream.queue_frames([b"z" * 500])
                await trio.sleep(0.01)

        nursery.start_soon(flood, client)
        nursery.start_soon(flood, server)
        with trio.fail_after(1):
            await client.websocket.ping()
            await server.websocket.ping()
        await trio.sleep(3)
        assert len(client.received) == len(server.received) == 200


async def test_a_flood_of_pings_whose_answers_nobody_reads_is_held_back(autojump_clock: MockClock) -> None:
    async with served(window=65_536) as (client, peer, nursery):
        nursery.start_soon(client.receive)
        nursery.start_soon(client.write)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(10_000):
                await peer.send_all(b"\x89\x7d" + b"p" * 125)
                sent += 1
            await peer.send_all(encode_frame(b"through"))

        nursery.start_soon(flood)
        await trio.testing.wait_all_tasks_blocked()
        assert sent < 5_000
        assert client.stream.queued_bytes < 400_000
        # Once the answers are read, all goes on.
        nursery.start_soon(_drain, peer)
        await trio.testing.wait_all_tasks_blocked()
        assert client.received == [b"through"]


async def _drain(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


# Ends


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
@pytest.mark.parametrize("from_client", [False, True])
async def test_a_close_from_either_side(code: int, from_client: bool, autojump_clock: MockClock) -> None:
    async with connected() as (client, server, _):
        closing, other = (client, server) if from_client else (server, client)
        closing.stream.queue_frames([b"last words"])
        started = trio.current_time()
        await closing.websocket.aclose(code, "grüße")
        await other.ended.wait()
        assert other.received == [b"last words"]
        assert other.end is not None
        assert (other.end.code, other.end.reason) == (code, "grüße")
        assert other.websocket.closed is not None
        assert other.websocket.closed.code == code
        # The answer came back, and so nobody waited.
        await closing.ended.wait()
        assert closing.end is not None
        assert closing.end.code == code
        assert trio.current_time() == started


@pytest.mark.parametrize("from_client", [False, True])
async def test_pings_that_come_while_we_close_are_left_without_an_answer(
    from_client: bool, autojump_clock: MockClock
) -> None:
    async with connected() as (client, server, nursery):
        closing, pinging = (client, server) if from_client else (server, client)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ping, pinging)
        closing.stream.ignore_pings()
        await closing.websocket.aclose(1000)
        await trio.testing.wait_all_tasks_blocked()
        assert pinging.end is not None
        assert pinging.end.code == 1000


async def ping(side: Side) -> None:
    with suppress(ConnectionClosed):
        await side.websocket.ping()


async def test_a_close_from_both_sides_at_once(autojump_clock: MockClock) -> None:
    async with connected() as (client, server, _):
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.websocket.aclose, 4001)
            nursery.start_soon(server.websocket.aclose, 4002)
        await client.ended.wait()
        await server.ended.wait()
        assert client.end is not None
        assert server.end is not None
        assert (client.end.code, server.end.code) == (4002, 4001)
        assert trio.current_time() == started


async def test_no_message_goes_out_behind_a_close_frame(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, nursery):
        nursery.start_soon(client.websocket.aclose)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            client.stream.queue_frames([b"late"])
        await client.stream.flush()
        assert (await peer.receive_some())[:2] == b"\x88\x82"


async def test_closing_the_stream_waits_for_the_answer_to_the_peers_close(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, nursery):
        nursery.start_soon(client.write)
        await peer.send_all(encode_close(4001))
        with pytest.raises(TransportEnded):
            await client.stream.receive_batch()
        await client.stream.aclose()
        answer = await peer.receive_some()
        assert answer[:2] == b"\x88\x82"
        assert await peer.receive_some() == b""


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_end_without_a_close_frame_is_1006(how: str, autojump_clock: MockClock) -> None:
    async with served() as (client, peer, _):
        await peer.send_all(encode_frame(b"whole") + b"\x81\x05ha")
        assert await client.stream.receive_batch() == [b"whole"]
        getattr(peer, how)()
        for _ in range(2):
            with pytest.raises(TransportEnded) as caught:
                await client.stream.receive_batch()
            assert (caught.value.code, caught.value.reason) == (1006, "")
        await trio.testing.wait_all_tasks_blocked()
        assert client.websocket.closed is not None
        assert client.websocket.closed.code == 1006


async def test_a_violation_is_told_to_both_sides(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, nursery):
        nursery.start_soon(client.write)
        await peer.send_all(encode_frame(b"before") + encode_frame(b"x", mask_key=b"1234") + encode_frame(b"after"))
        assert await client.stream.receive_batch() == [b"before"]
        with pytest.raises(TransportEnded) as caught:
            await client.stream.receive_batch()
        assert (caught.value.code, caught.value.reason) == (1002, "a masked frame")
        await client.stream.aclose()
        told = await peer.receive_some()
        assert told[:1] == b"\x88"
        assert bytes(byte ^ key for byte, key in zip(told[6:8], told[2:4], strict=True)) == b"\x03\xea"
        assert await peer.receive_some() == b""


async def test_a_violation_after_our_own_close_frame_adds_no_second_one(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, nursery):
        nursery.start_soon(client.write)
        nursery.start_soon(client.receive)
        nursery.start_soon(client.websocket.aclose, 1000)
        assert (await peer.receive_some())[:2] == b"\x88\x82"
        await peer.send_all(b"\xff\xff")
        await client.ended.wait()
        assert client.end is not None
        assert client.end.code == 1002
        assert await peer.receive_some() == b""


async def test_a_message_over_the_limit_is_1009(autojump_clock: MockClock) -> None:
    async with connected() as (client, server, _):
        client.stream.queue_frames([b"x" * (LIMIT + 1)])
        await server.ended.wait()
        await client.ended.wait()
        assert server.end is not None
        assert client.end is not None
        assert (server.end.code, client.end.code) == (1009, 1009)


def test_the_peers_words_stand_in_no_message() -> None:
    assert "token" not in str(TransportEnded(4001, "the token is abc"))


async def test_every_byte_of_a_conversation_may_be_the_last(autojump_clock: MockClock) -> None:
    """The server's stream ends after each number of bytes in turn: the client hangs never and invents nothing."""
    messages = [b"first", b"x" * 130, b"third"]

    async def converse(budget: int, how: str) -> int:
        near, far = memory_stream_pair()
        cutting = Cutting(far, budget, how)
        client, server = Side(near, client=True), Side(cutting, client=False)
        opened = False
        code = 0
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.accept, nursery)
                nursery.start_soon(server.write)
                await client.open(nursery)
                opened = True
                nursery.start_soon(client.write)
                for message in messages:
                    server.stream.queue_frames([message])
                nursery.start_soon(server.receive)
                nursery.start_soon(server.websocket.aclose, 4001)
                await client.receive()
                nursery.cancel_scope.cancel()
        except* TransportEnded as ends:
            end = _only(ends)
            assert isinstance(end, TransportEnded)
            code = end.code
        except* trio.BrokenResourceError:
            # The server's own handshake failed, at the cut.
            code = code or 1006
        if opened:
            assert client.end is not None
            code = client.end.code
        assert code in (1006, 4001)
        assert client.received == messages[: len(client.received)]
        assert code == 1006 or client.received == messages
        return cutting.sent if code == 4001 else 0

    with trio.fail_after(1_000):
        total = await converse(1_000_000, "close")
        assert total > 250
        for budget in range(total):
            for how in ("close", "abort"):
                assert await converse(budget, how) == 0
        assert await converse(total, "close") == total


def _only(error: BaseException) -> BaseException:
    """Give the one error inside any number of groups."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return error


class Cutting(trio.abc.Stream):
    """Lets so many bytes through and then ends."""

    def __init__(self, inner: MemoryStream, budget: int, how: str) -> None:
        self._inner = inner
        self._budget = budget
        self._how = how
        self.sent = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        allowed = data[: self._budget - self.sent]
        await self._inner.send_all(allowed)
        self.sent += len(allowed)
        if len(allowed) < len(data):
            # What was let through is read, even where the end is a reset.
            await trio.testing.wait_all_tasks_blocked()
            getattr(self._inner, self._how)()

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


# The handshake

ANSWER_101 = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@asynccontextmanager
async def served(*, window: int = 65_536) -> AsyncGenerator[tuple[Side, MemoryStream, trio.Nursery]]:
    """Give a client whose peer is bytes written by hand, after the handshake."""
    near, far = memory_stream_pair(window)
    with trio.fail_after(1_000):
        async with trio.open_nursery() as nursery:
            client, server = Side(near, client=True), Side(far, client=False)
            async with trio.open_nursery() as handshake:
                handshake.start_soon(client.open, nursery)
                # trio-websocket answers the handshake and is left alone with it; nobody reads for it afterwards.
                handshake.start_soon(server.accept, nursery)
            yield client, far, nursery
            nursery.cancel_scope.cancel()


async def answered_with(answer: bytes, *, pieces: int = 1 << 30, end: Callable[[MemoryStream], None]) -> BaseException:
    """Open a client to a peer that gives ``answer`` to its request and ends; give what came of it."""
    near, far = memory_stream_pair()
    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                client = Side(near, client=True)
                nursery.start_soon(client.open, nursery)
                await far.receive_some()
                for position in range(0, len(answer), pieces):
                    await far.send_all(answer[position : position + pieces])
                    await trio.testing.wait_all_tasks_blocked()
                end(far)
    except ExceptionGroup as group:
        return _only(group)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("pieces", [1, 7, 1_000])
async def test_a_rejection_is_seen_with_its_body(pieces: int, autojump_clock: MockClock) -> None:
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\ngo\r\n\r\naway"
    error = await answered_with(answer[:-1], pieces=pieces, end=lambda _: None)
    assert isinstance(error, ConnectionRejected)
    assert (error.status_code, error.body) == (401, b"go\r\n\r\na")


async def test_a_rejection_without_end_is_not_kept(autojump_clock: MockClock) -> None:
    answer = b"HTTP/1.1 500 Oops\r\n\r\n" + bytes(80_000)
    error = await answered_with(answer, pieces=4_096, end=lambda _: None)
    assert isinstance(error, TransportEnded)
    assert error.reason == "the service refused the handshake, and gave too long an answer"


@pytest.mark.parametrize("end", [MemoryStream.close, MemoryStream.abort])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the connection ended during the handshake"),
        (b"HTTP/1.1 10", "the connection ended during the handshake"),
        (ANSWER_101, "the connection ended during the handshake, after an answer with status 101"),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\nuntil the end",
            "the connection ended during the handshake, after an answer with status 502",
        ),
    ],
)
async def test_an_end_during_the_handshake_is_told_at_once(
    answer: bytes, reason: str, end: Callable[[MemoryStream], None], autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    error = await answered_with(answer, end=end)
    assert isinstance(error, TransportEnded)
    assert (error.code, error.reason) == (1006, reason)
    assert trio.current_time() == started


async def test_messages_that_come_with_the_head(autojump_clock: MockClock) -> None:
    """The first message may come in one piece with the 101; only the head is trio-websocket's."""
    for split in range(8):
        near, far = memory_stream_pair()
        holding = Holding(far)
        async with trio.open_nursery() as nursery:
            client, server = Side(near, client=True), Side(holding, client=False)
            nursery.start_soon(client.open, nursery)
            await server.accept(nursery)
            frame = encode_frame(b"early")
            await far.send_all(holding.held + frame[:split])
            await trio.testing.wait_all_tasks_blocked()
            await far.send_all(frame[split:])
            assert await client.stream.receive_batch() == [b"early"]
            assert client.websocket.subprotocol == "p"
            nursery.cancel_scope.cancel()


class Holding(trio.abc.Stream):
    """Keeps back what is sent."""

    def __init__(self, inner: MemoryStream) -> None:
        self._inner = inner
        self.held = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.held += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


REQUEST = (
    b"GET /path HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: p\r\n"
    + b"X-Long: "
    + b"x" * 6_000
    + b"\r\n\r\n"
)


@pytest.mark.parametrize("read_ahead", [0, 10, len(REQUEST), len(REQUEST) + 5])
async def test_a_server_may_have_read_some_already(read_ahead: int, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    whole = REQUEST + encode_frame(b"eager", mask_key=b"abcd")
    await near.send_all(whole[read_ahead:])
    stream = FrameStream(far, client=False, max_message_size=LIMIT, head=whole[:read_ahead])
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        assert request.path == "/path"
        await request.accept(subprotocol="p")
        assert (await near.receive_some()).startswith(b"HTTP/1.1 101 ")
        assert await stream.receive_batch() == [b"eager"]
        nursery.cancel_scope.cancel()


async def test_a_server_may_reject(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    server = FrameStream(far, client=False, max_message_size=LIMIT)
    rejected = trio.Event()

    async def reject(nursery: trio.Nursery) -> None:
        request = await wrap_server_stream(nursery, server)
        await request.reject(403, body=b"no")
        rejected.set()

    rejection: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reject, nursery)
            await Side(near, client=True).open(nursery)
    except* ConnectionRejected as group:
        rejection = _only(group)
    assert isinstance(rejection, ConnectionRejected)
    assert (rejection.status_code, rejection.body) == (403, b"no")
    assert rejected.is_set()


# Writing


async def test_a_peer_that_does_not_read_holds_the_writer_back(autojump_clock: MockClock) -> None:
    async with served(window=10_000) as (client, peer, nursery):
        nursery.start_soon(client.write)
        client.stream.queue_frames([b"x" * 20_000])
        await trio.testing.wait_all_tasks_blocked()
        client.stream.queue_frames([b"y"])
        assert client.stream.queued_bytes == 20_000 + 8 + 1 + 6
        read = 0
        while read < 20_015:
            read += len(await peer.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        assert client.stream.queued_bytes == 0


async def test_an_interrupted_flush_is_an_abrupt_end_and_never_garbage(autojump_clock: MockClock) -> None:
    async with connected(window=1_000, receive=False, write=False) as (client, server, _):
        client.stream.queue_frames([b"whole"])
        await client.stream.flush()
        client.stream.queue_frames([b"x" * 5_000])
        with trio.move_on_after(1) as scope:
            await client.stream.flush()
        assert scope.cancelled_caught
        assert client.stream.queued_bytes == 0

        with pytest.raises(trio.BrokenResourceError):
            client.stream.queue_frames([b"x"])
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.flush()
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.wait_for_work()
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.send_all(b"\x89\x80abcd")
        with pytest.raises(TransportEnded):
            await client.stream.receive_batch()

        await server.receive()
        assert server.received == [b"whole"]
        assert server.end is not None
        assert server.end.code == 1006


async def test_what_the_peer_said_before_it_went_is_read_though_writing_fails(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, _):
        await peer.send_all(encode_frame(b"last words") + encode_close(4002))
        peer.close()
        client.stream.queue_frames([b"x"])
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.flush()
        await client.receive()
        assert client.received == [b"last words"]
        assert client.end is not None
        assert client.end.code == 4002


async def test_wake_is_remembered_once() -> None:
    near, _ = memory_stream_pair()
    stream = FrameStream(near, client=True, max_message_size=LIMIT)
    stream.wake()
    stream.wake()
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.wait_for_work()
    assert scope.cancelled_caught
    await stream.wait_for_work()
    finished = trio.Event()

    async def wait() -> None:
        await stream.wait_for_work()
        finished.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not finished.is_set()
        stream.wake()
        await finished.wait()
        stream.queue_frames([b"x"])
        await stream.wait_for_work()
        await stream.wait_for_work()


async def test_closing_wakes_the_writer() -> None:
    near, _ = memory_stream_pair()
    stream = FrameStream(near, client=True, max_message_size=LIMIT)

    async def write() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.wait_for_work()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()


async def test_a_cancelled_close_closes(autojump_clock: MockClock) -> None:
    async with served(window=1_000) as (client, peer, nursery):
        nursery.start_soon(client.write)
        client.stream.queue_frames([b"x" * 5_000])
        with trio.move_on_after(2) as scope:
            await client.stream.aclose()
        assert scope.cancelled_caught
        await _drain(peer)
        with pytest.raises(trio.BrokenResourceError):
            await peer.send_all(b"x")


# Cancellation and time


async def test_a_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, _):
        frame = encode_frame(b"patient")
        for byte in frame[:-1]:
            await peer.send_all(bytes((byte,)))
            with trio.move_on_after(0.1) as scope:
                await client.stream.receive_batch()
            assert scope.cancelled_caught
        await peer.send_all(frame[-1:])
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await client.stream.receive_batch()
        assert cancelled.cancelled_caught
        assert await client.stream.receive_batch() == [b"patient"]


async def test_last_received_counts_bytes_of_any_kind(autojump_clock: MockClock) -> None:
    async with served() as (client, peer, nursery):
        nursery.start_soon(client.receive)
        assert client.stream.last_received == trio.current_time()
        await trio.sleep(5)
        assert client.stream.last_received == trio.current_time() - 5
        for piece in (b"\x8a\x00", b"\x81", b"\x00"):
            await peer.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
            assert client.stream.last_received == trio.current_time()
            await trio.sleep(5)


async def test_trio_websocket_gets_no_more_than_it_asks_for(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    stream = FrameStream(near, client=False, max_message_size=LIMIT, head=REQUEST)
    taken = b""
    while len(taken) < len(REQUEST):
        piece = await stream.receive_some(50)
        assert 0 < len(piece) <= 50
        taken += piece
    assert taken == REQUEST
    await far.send_all(b"\x89\x80abcd\x89\x82abcdef" + encode_frame(b"x", mask_key=b"abcd"))
    assert await stream.receive_batch() == [b"x"]
    assert await stream.receive_some(4) == b"\x89\x80ab"
    stream.ignore_pings()  # but for the one that it has begun to take
    assert await stream.receive_some() == b"cd"
    await far.send_all(b"\x8a\x80abcd" + encode_frame(b"x", mask_key=b"abcd"))
    assert await stream.receive_batch() == [b"x"]
    assert await stream.receive_some() == b"\x8a\x80abcd"
    await stream.wait_send_all_might_not_block()
