"""Streams to groups, against a service that the test plays."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    Client,
    ClientStopped,
    GroupStreamWriter,
    MessageTooLarge,
    StreamFailed,
    StreamLost,
    StreamStatistics,
    open_client,
)

from .raw_service import URL, Peer, RawService

MIB = 1024 * 1024


async def accept(peer: Peer) -> dict[str, Any]:
    """Take an opening, and give its message."""
    message = await peer.expect("sendToGroup")
    await ack(peer, message["stream"]["streamId"], 1)
    return message


async def ack(peer: Peer, stream_id: str, expected: int) -> None:
    await peer.send(type="streamAck", streamId=stream_id, expectedSequenceId=expected)


async def closed(peer: Peer, stream_id: str, error: str | None = None) -> None:
    fields = {} if error is None else {"error": {"name": error, "message": "the test says so"}}
    await peer.send(type="streamClosed", streamId=stream_id, **fields)


async def see_it_end(peer: Peer) -> dict[str, Any]:
    """Take an end, and give its message."""
    message = await peer.expect("streamEnd")
    await closed(peer, message["streamId"])
    return message


@asynccontextmanager
async def streaming(
    client: Client, peer: Peer, nursery: trio.Nursery, **options: Any
) -> AsyncGenerator[GroupStreamWriter, None]:
    """A stream called ``s`` that the service has opened."""
    nursery.start_soon(accept, peer)
    async with client.open_stream("g", stream_id="s", **options) as stream:
        yield stream


async def test_a_stream_from_its_opening_to_its_end(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        frames: list[dict[str, Any]] = []

        async def play() -> None:
            frames.append(await accept(peer))
            for number in (1, 2):
                frames.append(await peer.expect("streamData"))
                await ack(peer, "s", number + 1)
            frames.append(await see_it_end(peer))

        nursery.start_soon(play)
        async with client.open_stream("g", stream_id="s", no_echo=True, idle_timeout=60) as stream:
            assert (stream.group, stream.stream_id) == ("g", "s")
            assert repr(stream) == "<GroupStreamWriter 's' to group 'g', open>"
            await stream.write("Once ")
            await stream.write({"n": 1})
    assert frames == [
        {"type": "sendToGroup", "group": "g", "noEcho": True, "stream": {"streamId": "s", "idleTimeoutMs": 60000}},
        {"type": "streamData", "streamId": "s", "streamSequenceId": 1, "dataType": "text", "data": "Once "},
        {"type": "streamData", "streamId": "s", "streamSequenceId": 2, "dataType": "json", "data": {"n": 1}},
        {"type": "streamEnd", "streamId": "s"},
    ]


async def test_the_block_starts_when_the_service_has_opened_the_stream(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        began: list[float] = []

        async def sender() -> None:
            async with client.open_stream("g") as stream:
                began.append(trio.current_time())
                assert len(stream.stream_id) == 36
            began.append(trio.current_time())

        start = trio.current_time()
        nursery.start_soon(sender)
        opening = await peer.expect("sendToGroup")
        await trio.sleep(2)
        await ack(peer, opening["stream"]["streamId"], 1)
        await peer.expect("streamEnd")
        await trio.sleep(3)
        await closed(peer, opening["stream"]["streamId"])
        await wait_all_tasks_blocked()
        assert began == [start + 2, start + 5]


async def test_a_refusal_is_raised_on_entry(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def refuse() -> None:
            opening = await peer.expect("sendToGroup")
            await closed(peer, opening["stream"]["streamId"], "Forbidden")

        nursery.start_soon(refuse)
        with pytest.raises(
            StreamFailed, match=r"^Forbidden: the test says so \(.* webpubsub\.sendToGroup\.g\)$"
        ) as caught:
            async with client.open_stream("g"):
                raise AssertionError("not reached")
        assert (caught.value.name, caught.value.user_error_code) == ("Forbidden", None)


async def test_a_service_that_never_answers_is_not_waited_for_without_end(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        peer = await service.next()
        start = trio.current_time()
        with pytest.raises(StreamFailed, match="Timeout"):
            async with client.open_stream("g"):
                raise AssertionError("not reached")
        assert trio.current_time() == start + 60
        for _ in range(2):
            await peer.expect("sendToGroup")
        assert (await peer.expect("streamEnd"))["error"]["userErrorCode"] == "Timeout"


async def test_a_full_window_is_back_pressure(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            for _ in range(64):
                await stream.write("x")
            assert stream.statistics() == StreamStatistics(
                written=64, acknowledged=0, unacknowledged=64, unacknowledged_bytes=64
            )
            with trio.move_on_after(1) as scope:
                await stream.write("one more")
            assert scope.cancelled_caught
            await ack(peer, "s", 64)
            await stream.write("yy")
            assert stream.statistics() == StreamStatistics(
                written=65, acknowledged=63, unacknowledged=2, unacknowledged_bytes=3
            )
            await ack(peer, "s", 66)
            for _ in range(65):
                await peer.expect("streamData")
            nursery.start_soon(see_it_end, peer)


async def test_statistics_remember_what_was_written(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        nursery.start_soon(accept, peer)
        with pytest.raises(StreamFailed):
            async with client.open_stream("g", stream_id="s") as stream:
                for _ in range(3):
                    await stream.write("x")
                await ack(peer, "s", 2)
                await closed(peer, "s", "InternalServerError")
                with pytest.raises(StreamFailed):
                    await stream.flush()
                assert stream.statistics() == StreamStatistics(
                    written=3, acknowledged=1, unacknowledged=0, unacknowledged_bytes=0
                )


async def test_a_mebibyte_is_a_full_window_too(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            for _ in range(2):
                await stream.write("x" * (MIB // 2))
                await peer.expect("streamData")
            with trio.move_on_after(1) as scope:
                await stream.write("x")
            assert scope.cancelled_caught
            await ack(peer, "s", 2)
            await stream.write("x")
            await peer.expect("streamData")
            await ack(peer, "s", 4)
            nursery.start_soon(see_it_end, peer)


async def test_flush_waits_until_all_is_acknowledged(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            await stream.flush()
            start = trio.current_time()
            await stream.write("a")
            await stream.write("b")

            async def play() -> None:
                for number in (1, 2):
                    await peer.expect("streamData")
                    await trio.sleep(1)
                    await ack(peer, "s", number + 1)

            nursery.start_soon(play)
            await stream.flush()
            assert trio.current_time() == start + 2
            nursery.start_soon(see_it_end, peer)


async def test_what_was_acknowledged_was_flushed_though_the_stream_ended_right_then(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        flushed = False
        with pytest.raises(StreamFailed):
            async with streaming(client, peer, nursery) as stream:
                await stream.write("x")
                async with trio.open_nursery() as flushing:
                    flushing.start_soon(stream.flush)
                    await wait_all_tasks_blocked()
                    answers = (
                        {"type": "streamAck", "streamId": "s", "expectedSequenceId": 2},
                        {"type": "streamClosed", "streamId": "s", "error": {"name": "InternalServerError"}},
                    )
                    frames = [msgspec.json.encode(answer) for answer in answers]
                    # In one piece, so that they are read at once.
                    await peer.send_raw(b"".join(bytes([0x81, len(frame)]) + frame for frame in frames))
                flushed = True
                await stream.flush()
        assert flushed


async def test_the_end_waits_for_what_has_to_be_sent_again(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        numbers: list[int] = []

        async def play() -> None:
            numbers.extend([(await peer.expect("streamData"))["streamSequenceId"] for _ in range(2)])
            await peer.send(type="streamNack", streamId="s", expectedSequenceId=1, name="TransientError")
            await peer.send(type="streamNack", streamId="s", expectedSequenceId=1, name="InvalidSequenceId")
            numbers.extend([(await peer.expect("streamData"))["streamSequenceId"] for _ in range(2)])
            await ack(peer, "s", 3)
            await see_it_end(peer)

        async with streaming(client, peer, nursery) as stream:
            await stream.write("a")
            await stream.write("b")
            nursery.start_soon(play)
        assert numbers == [1, 2, 1, 2]


async def test_an_exception_ends_the_stream_with_an_error(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        start = trio.current_time()
        with pytest.raises(ValueError, match="canary"):
            async with streaming(client, peer, nursery) as stream:
                await stream.write("a")
                raise ValueError("canary")
        assert trio.current_time() == start + 0.5  # no answer came
        assert (await peer.expect("streamData"))["data"] == "a"
        end = await peer.expect("streamEnd")
        assert end["error"] == {"message": "the sender failed with ValueError", "userErrorCode": "Exception"}
        assert "canary" not in str(end)


async def test_an_exception_is_raised_even_if_there_is_hardly_room_to_tell_of_it(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    long = type("X" * 5_000, (Exception,), {})
    async with open_client(URL, connector=service.connector, max_message_size=150) as client:
        peer = await service.next()
        with pytest.raises(long):
            async with streaming(client, peer, nursery):
                nursery.start_soon(see_it_end, peer)
                raise long


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_cancellation_ends_the_stream_with_an_error(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery, grouped: bool
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.CancelScope() as scope:
            async with streaming(client, peer, nursery):
                nursery.start_soon(see_it_end, peer)
                scope.cancel()
                if grouped:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(trio.sleep_forever)
                        inner.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_the_reason_of_a_cancelled_block_is_told(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            async with streaming(client, peer, nursery):
                await trio.sleep_forever()
        assert (await peer.expect("streamEnd"))["error"]["userErrorCode"] == "Cancelled"


async def test_a_sender_may_end_its_stream_with_an_error_of_its_own(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:

            async def play() -> None:
                await peer.expect("streamData")
                await ack(peer, "s", 2)
                end = await see_it_end(peer)
                assert end["error"] == {"message": "no more tokens", "userErrorCode": "Quota"}

            nursery.start_soon(play)
            await stream.write("a")
            await stream.abort("Quota", "no more tokens")
            with pytest.raises(trio.ClosedResourceError, match="ended"):
                await stream.write("b")
            with pytest.raises(trio.ClosedResourceError, match="ended"):
                await stream.abort("Again")


async def test_a_stream_that_the_service_closes_is_told_to_the_next_who_asks(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with pytest.raises(StreamFailed, match="IdleTimeout"):
            async with streaming(client, peer, nursery) as stream:
                await closed(peer, "s", "IdleTimeout")
                await wait_all_tasks_blocked()
                with pytest.raises(StreamFailed, match="IdleTimeout"):
                    await stream.write("a")
                with pytest.raises(StreamFailed, match="IdleTimeout"):
                    await stream.flush()


async def test_a_writer_that_waits_is_told_as_well(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with pytest.raises(StreamFailed, match="InternalServerError"):
            async with streaming(client, peer, nursery) as stream:
                for _ in range(64):
                    await stream.write("x")
                nursery.start_soon(closed, peer, "s", "InternalServerError")
                await stream.write("one more")


async def test_a_recovered_link_carries_the_stream_on(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            for text in "abc":
                await stream.write(text)
                await peer.expect("streamData")
            await ack(peer, "s", 2)
            await stream.write("d")
            await peer.expect("streamData")
            peer.cut()
            peer = await service.next()
            await peer.expect("ping")
            await stream.write("e")
            await peer.send(type="pong")
            assert [(await peer.expect("streamData"))["data"] for _ in range(4)] == ["b", "c", "d", "e"]
            await ack(peer, "s", 6)
            nursery.start_soon(see_it_end, peer)


async def test_a_lost_session_tells_what_was_acknowledged(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with pytest.raises(StreamLost, match="1 fragments were acknowledged") as caught:
            async with streaming(client, peer, nursery) as stream:
                await stream.write("a")
                await stream.write("b")
                await peer.expect("streamData")
                await ack(peer, "s", 2)
                await wait_all_tasks_blocked()
                await peer.websocket.aclose(1008)
                peer = await service.next()
                with pytest.raises(StreamLost):
                    await stream.write("c")
                with pytest.raises(StreamLost):
                    await stream.flush()
        assert caught.value.acknowledged == 1
        assert client.connection_id == "c-2"


async def test_a_stream_may_be_opened_while_the_link_is_being_recovered(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        peer.cut()
        await wait_all_tasks_blocked()

        async def play() -> None:
            peer = await service.next()
            await peer.expect("ping")
            await peer.send(type="pong")
            await accept(peer)
            await see_it_end(peer)

        nursery.start_soon(play)
        async with client.open_stream("g"):
            pass


async def test_a_stream_ends_with_the_client(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    streams: list[GroupStreamWriter] = []

    async def hold(client: Client, peer: Peer) -> None:
        with pytest.raises(trio.ClosedResourceError):
            async with streaming(client, peer, nursery) as stream:
                streams.append(stream)
                while True:
                    await stream.write("x")

    async with open_client(URL, connector=service.connector, close_timeout=0.1) as client:
        peer = await service.next()
        nursery.start_soon(hold, client, peer)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    with pytest.raises(trio.ClosedResourceError, match="block was left"):
        await streams[0].write("x")
    with pytest.raises(trio.ClosedResourceError, match="block was left"):
        async with client.open_stream("g"):
            pass


async def test_a_client_that_gives_up_says_so(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    with pytest.raises(ClientStopped):
        async with open_client(URL, connector=service.connector, reconnect=None) as client:
            peer = await service.next()
            await peer.websocket.aclose(1008)
            await client.wait_stopped()
            async with client.open_stream("g"):
                pass


async def test_an_idle_stream_is_kept_alive(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery, idle_timeout=30):
            start = trio.current_time()
            for turn in (1, 2, 3):
                assert await peer.expect("streamData") == {"type": "streamData", "streamId": "s"}
                assert trio.current_time() == start + 10 * turn
            nursery.start_soon(see_it_end, peer)


async def test_a_cancelled_opening_is_taken_back(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            async with client.open_stream("g", stream_id="s"):
                raise AssertionError("not reached")
        await peer.expect("sendToGroup")
        end = await peer.expect("streamEnd")
        assert end["error"]["userErrorCode"] == "Cancelled"


async def test_a_cancelled_wait_for_the_close_still_sends_all(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1):
            async with streaming(client, peer, nursery) as stream:
                await stream.write("a")
        assert (await peer.expect("streamData"))["data"] == "a"
        await ack(peer, "s", 2)
        assert "error" not in await peer.expect("streamEnd")


async def test_a_service_without_streams_is_not_tried_for_ever(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async def play() -> None:
        for _ in range(2):
            peer = await service.next()
            if "awps_connection_id" in peer.query:
                await peer.expect("ping")
                await peer.send(type="pong")
            await peer.expect("sendToGroup")
            await peer.websocket.aclose(1007)

    async with open_client(URL, connector=service.connector) as client:
        nursery.start_soon(play)
        with pytest.raises(StreamFailed, match="MessageRefused: the service closed with 1007"):
            async with client.open_stream("g"):
                raise AssertionError("not reached")


async def test_two_streams_at_once(autojump_clock: MockClock, service: RawService, nursery: trio.Nursery) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        nursery.start_soon(accept, peer)
        async with client.open_stream("g", stream_id="1") as first:
            nursery.start_soon(accept, peer)
            async with client.open_stream("h", stream_id="2") as second:
                with pytest.raises(ValueError, match="'1' is open"):
                    async with client.open_stream("g", stream_id="1"):
                        pass
                await first.write("a")
                await second.write("b")
                frames = [await peer.expect("streamData") for _ in range(2)]
                assert [(frame["streamId"], frame["data"]) for frame in frames] == [("1", "a"), ("2", "b")]
                await ack(peer, "1", 2)
                await ack(peer, "2", 2)
                nursery.start_soon(see_it_end, peer)
            nursery.start_soon(see_it_end, peer)


async def test_what_cannot_be_sent_costs_the_stream_nothing(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector, max_message_size=200) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            with pytest.raises(MessageTooLarge):
                await stream.write("x" * 200)
            with pytest.raises(TypeError, match="JSON has no form"):
                await stream.write(b"x", data_type="json")
            with pytest.raises(ValueError, match="NaN"):
                await stream.write(math.nan)
            with pytest.raises(ValueError, match="surrogate"):
                await stream.abort("\ud800")
            with pytest.raises(TypeError, match="message"):
                await stream.abort("E", b"bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            with pytest.raises(MessageTooLarge):
                await stream.abort("E", "x" * 200)
            await stream.write(b"\xff")
            assert (await peer.expect("streamData"))["streamSequenceId"] == 1
            await ack(peer, "s", 2)
            nursery.start_soon(see_it_end, peer)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group": ""}, "group name"),
        ({"stream_id": ""}, "stream_id is empty"),
        ({"stream_id": "\ud800"}, "surrogate"),
        ({"idle_timeout": 0}, "idle_timeout is 0"),
        ({"idle_timeout": -1}, "idle_timeout is -1"),
        ({"idle_timeout": math.inf}, "idle_timeout is inf"),
        ({"idle_timeout": math.nan}, "idle_timeout is nan"),
    ],
)
async def test_arguments_that_make_no_sense(
    autojump_clock: MockClock, service: RawService, options: dict[str, Any], text: str
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(ValueError, match=text):
            client.open_stream(options.pop("group", "g"), **options)


async def test_every_write_checks_for_cancellation_and_some_let_others_run(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with streaming(client, peer, nursery) as stream:
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.write("never")
            assert scope.cancelled_caught
            assert stream.statistics().written == 0
            turns = 0

            async def count_turns() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as inner:
                inner.start_soon(count_turns)
                for _ in range(64):
                    await stream.write("x")
                inner.cancel_scope.cancel()
            assert turns >= 1
            await ack(peer, "s", 65)
            for _ in range(64):
                await peer.expect("streamData")
            nursery.start_soon(see_it_end, peer)
