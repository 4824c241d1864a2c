"""Streams from groups, against a service that the test plays."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    Client,
    ClientStopped,
    Gap,
    GroupLost,
    GroupMessage,
    GroupStream,
    GroupStreams,
    SendFailed,
    SessionTicket,
    StreamFailed,
    SubscriptionOverflow,
    open_client,
)
from trio_webpubsub.protocol.subprotocols import Subprotocol

from ..protocol.protobuf_bytes import block, number
from .raw_service import URL, Peer, RawService

PROTOBUF: Subprotocol = "protobuf.reliable.webpubsub.azure.v1"


class Sender:
    """The service's side of the fragments that a client gets."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sequence_id = 0

    async def fragment(
        self, number: int, data: str = "x", *, stream_id: str = "s", group: str = "g", **stream: Any
    ) -> None:
        self.sequence_id += 1
        await self.peer.send(
            type="message",
            group=group,
            fromUserId="bob",
            dataType="text",
            data=data,
            stream={"streamId": stream_id, "streamSequenceId": number, **stream},
            sequenceId=self.sequence_id,
            **{"from": "group"},
        )

    async def end(self, number: int, **options: Any) -> None:
        await self.fragment(number, "", endOfStream=True, **options)

    async def message(self, data: str = "plain") -> None:
        self.sequence_id += 1
        await self.peer.message(self.sequence_id, data)


async def texts(stream: GroupStream[GroupMessage]) -> list[str]:
    return [fragment.data async for fragment in stream]


async def test_a_stream_from_its_start_to_its_end(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        sender = Sender(peer)

        async def play() -> None:
            assert (await peer.answer("joinGroup"))["group"] == "g"
            await sender.fragment(1, "Once ")
            await sender.fragment(2, "upon")
            await sender.end(3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async with client.group_streams("g") as streams:
                async for stream in streams:
                    assert repr(stream) == "<GroupStream 's' of group 'g'>"
                    assert (stream.group, stream.stream_id, stream.from_user_id) == ("g", "s", "bob")
                    assert (stream.from_start, stream.missing) == (True, 0)
                    assert await texts(stream) == ["Once ", "upon"]
                    break
        assert (await peer.expect("leaveGroup"))["group"] == "g"


async def test_the_short_form_joins_when_the_iteration_starts(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.answer("joinGroup")
            await Sender(peer).fragment(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async for stream in client.group_streams("g"):
                assert (await stream.receive()).data == "x"
                break


async def test_streams_at_once_are_apart(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            for number in (1, 2):
                await sender.fragment(number, f"a{number}", stream_id="a")
                await sender.fragment(number, f"b{number}", stream_id="b")
            await sender.end(3, stream_id="b")
            first, second = await streams.receive(), await streams.receive()
            assert await texts(second) == ["b1", "b2"]
            assert [(await first.receive()).data for _ in range(2)] == ["a1", "a2"]
            with pytest.raises(trio.WouldBlock):
                first.receive_nowait()


async def test_the_same_name_in_two_groups_is_two_streams(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams() as streams:
            await sender.fragment(1, group="g")
            await sender.fragment(1, group="h")
            assert [(await streams.receive()).group for _ in range(2)] == ["g", "h"]


@pytest.mark.parametrize("name", ["UserError", "Cancelled", "Forbidden", "IdleTimeout", "InternalServerError"])
async def test_an_early_end_is_raised_after_what_came_before(
    autojump_clock: MockClock, service: RawService, name: str
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1)
            error = {"name": name, "message": "why"} | ({"userErrorCode": "E"} if name == "UserError" else {})
            await sender.end(2, error=error)
            stream = await streams.receive()
            assert (await stream.receive()).data == "x"
            with pytest.raises(StreamFailed) as caught:
                await stream.receive()
            code = "E" if name == "UserError" else None
            assert (caught.value.name, caught.value.message, caught.value.user_error_code) == (name, "why", code)


async def test_a_slow_reader_loses_its_stream_and_no_other(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1, stream_id="slow")
            await sender.fragment(1, stream_id="quick")
            slow, quick = await streams.receive(), await streams.receive()
            for number in range(2, 1026):
                await sender.fragment(number, stream_id="slow")
            for number in range(2, 12):
                await sender.fragment(number, stream_id="quick")
            await sender.end(12, stream_id="quick")
            assert len(await texts(quick)) == 11
            assert slow.statistics().buffered == 1024
            for _ in range(1024):
                await slow.receive()
            with pytest.raises(SubscriptionOverflow) as caught:
                await slow.receive()
            assert caught.value.dropped == 1


async def test_a_stream_holds_what_fits(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            for number in range(1, 1025):
                await sender.fragment(number)
            await sender.end(1025)
            await trio.sleep(1)
            assert len(await texts(await streams.receive())) == 1024


async def test_a_burst_does_not_overflow_a_reader_that_keeps_taking(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())

        async def play() -> None:
            for number in range(1, 5001):
                await sender.fragment(number)
            await sender.end(5001)

        async with client.group_streams("g", join=False) as streams, trio.open_nursery() as nursery:
            nursery.start_soon(play)
            assert len(await texts(await streams.receive())) == 5000


async def test_small_fragments_that_come_in_one_read_do_not_overflow_it_either(
    autojump_clock: MockClock, service: RawService
) -> None:
    service.subprotocol = PROTOBUF
    service.greet = False

    def framed(message: bytes) -> bytes:
        return bytes([0x82, len(message)]) + message

    def fragment(place: int) -> bytes:
        stream = block(6, block(1, "s"), number(2, place))
        return block(2, block(1, "group"), block(2, "g"), block(3, block(1, "x")), number(4, place), stream)

    async def play(client_opened: trio.Event) -> None:
        peer = await service.next()
        await peer.send_raw(framed(block(3, block(1, block(1, "c-1"), block(3, "canary-token")))))
        await client_opened.wait()
        await peer.send_raw(b"".join(framed(fragment(place)) for place in range(1, 4001)))

    async with trio.open_nursery() as nursery:
        opened = trio.Event()
        nursery.start_soon(play, opened)
        async with (
            open_client(URL, connector=service.connector, subprotocol=PROTOBUF) as client,
            client.group_streams("g", join=False) as streams,
        ):
            opened.set()
            stream = await streams.receive()
            heard = [(await stream.receive()).data for _ in range(4000)]
    assert heard == ["x"] * 4000
    assert client.statistics().dropped == 0


async def test_only_so_many_streams_wait_to_be_taken(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            for number in range(1026):
                await sender.fragment(1, stream_id=str(number))
            await trio.sleep(1)
            assert (streams.statistics().buffered, streams.statistics().dropped) == (1024, 2)
            taken = [await streams.receive() for _ in range(1024)]
            assert [stream.stream_id for stream in taken] == [str(number) for number in range(1024)]
            await sender.fragment(2, stream_id="1025")
            await sender.fragment(1, stream_id="next")
            assert (await streams.receive()).stream_id == "next"


async def test_who_joins_late_is_told(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(7)
            stream = await streams.receive()
            assert (stream.from_start, stream.missing) == (False, 6)
            assert (await stream.receive()).data == "x"


async def test_streams_from_their_start_alone(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False, from_start=True) as streams:
            await sender.fragment(7, stream_id="late")
            await sender.end(8, stream_id="late")
            await sender.fragment(1)
            assert (await streams.receive()).stream_id == "s"


async def test_gaps_stand_in_their_place(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False, gaps=True) as streams:
            await sender.fragment(3, "3")
            await sender.fragment(4, "4")
            await sender.fragment(6, "6")
            await sender.end(9)
            stream = await streams.receive()
            heard = [item if isinstance(item, Gap) else item.data async for item in stream]
            assert heard == [Gap(fragments=2), "3", "4", Gap(fragments=1), "6", Gap(fragments=2)]
            assert stream.missing == 5


async def test_gaps_are_counted_where_nobody_asked_for_them(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1)
            await sender.end(5)
            stream = await streams.receive()
            assert await texts(stream) == ["x"]
            assert stream.missing == 3


async def test_an_idle_stream_is_given_up(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False, idle_timeout=10) as streams:
            await sender.fragment(1)
            stream = await streams.receive()
            await stream.receive()
            start = trio.current_time()

            async def play() -> None:
                await trio.sleep(9)
                await sender.fragment(2)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(play)
                assert (await stream.receive()).data == "x"
                with pytest.raises(StreamFailed, match="IdleTimeout: nothing came for 10 seconds"):
                    await stream.receive()
            assert trio.current_time() == start + 19
            with pytest.raises(StreamFailed, match="IdleTimeout"):
                await stream.receive()


async def test_all_readers_of_an_idle_stream_are_told(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        sender = Sender(await service.next())
        failures: list[StreamFailed] = []

        async def read(stream: GroupStream[GroupMessage]) -> None:
            with pytest.raises(StreamFailed) as caught:
                await stream.receive()
            failures.append(caught.value)

        async with client.group_streams("g", join=False, idle_timeout=10) as streams:
            await sender.fragment(1)
            stream = await streams.receive()
            await stream.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, stream)
                nursery.start_soon(read, stream)
        assert [failure.name for failure in failures] == ["IdleTimeout", "IdleTimeout"]


async def test_a_reader_may_be_cancelled_and_come_back(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1, "1")
            stream = await streams.receive()
            assert (await stream.receive()).data == "1"
            with trio.move_on_after(1) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            await sender.fragment(2, "2")
            assert (await stream.receive()).data == "2"


async def test_a_closed_stream_hears_nothing_more(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1)
            stream = await streams.receive()
            stream.close()
            await sender.fragment(2)
            await sender.fragment(1, stream_id="next")
            assert (await streams.receive()).stream_id == "next"
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive()


async def test_closing_the_subscription_closes_its_streams(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1, stream_id="taken")
            await sender.fragment(1, stream_id="waiting")
            stream = await streams.receive()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()
        with pytest.raises(trio.ClosedResourceError):
            await streams.receive()


async def test_a_forgotten_stream_is_closed(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            await sender.fragment(1)
            stream: GroupStream[GroupMessage] | None = await streams.receive()
            del stream
            gc.collect()
            for number in range(2, 2000):
                await sender.fragment(number)
            await sender.end(2000)
            await sender.fragment(1, stream_id="next")
            assert (await streams.receive()).stream_id == "next"


async def test_fragments_do_not_appear_among_the_messages_of_the_group(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        plain = client.group_messages("g", join=False)
        every = client.group_messages()
        asked = client.group_messages("g", join=False, fragments=True)
        every_asked = client.group_messages(fragments=True)
        everything = client.messages()
        async with plain, every, asked, every_asked, everything:
            await sender.message("before")
            await sender.fragment(1, "fragment")
            await sender.message("after")
            for channel in (plain, every):
                assert [(await channel.receive()).data for _ in range(2)] == ["before", "after"]
            for wide in (asked, every_asked, everything):
                assert [(await wide.receive()).data for _ in range(3)] == ["before", "fragment", "after"]


async def test_what_came_before_is_kept_for_the_first_who_wants_it(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        await sender.fragment(1, "early")
        await sender.message("plain")
        await wait_all_tasks_blocked()
        async with client.group_messages("g", join=False) as messages:
            assert (await messages.receive()).data == "plain"
        async with client.group_streams("g", join=False) as streams:
            assert (await (await streams.receive()).receive()).data == "early"
        await sender.fragment(2, "late")
        await trio.sleep(1)
        assert client.statistics().unrouted == 1


async def test_a_refused_join_is_raised(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def refuse() -> None:
            await peer.ack(await peer.expect("joinGroup"), "Forbidden")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(SendFailed, match="Forbidden"):
                async with client.group_streams("g"):
                    raise AssertionError("not reached")


@asynccontextmanager
async def joined(client: Client, peer: Peer) -> AsyncGenerator[GroupStreams[GroupMessage], None]:
    """A subscription whose join the service grants."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.answer, "joinGroup")
        async with client.group_streams("g") as streams:
            yield streams


async def test_a_stream_goes_on_after_a_recovery(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        sender = Sender(peer)
        async with joined(client, peer) as streams:
            await sender.fragment(1, "1")
            stream = await streams.receive()
            await sender.fragment(2, "2")
            await wait_all_tasks_blocked()
            peer.cut()
            sender.peer = peer = await service.next()
            await peer.send(type="pong")
            sender.sequence_id = 1  # what was not confirmed comes again
            await sender.fragment(2, "2")
            await sender.fragment(3, "3")
            await sender.end(4)
            assert await texts(stream) == ["1", "2", "3"]
            assert stream.missing == 0


async def test_a_stream_goes_on_in_a_new_session_and_tells_what_is_missing(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        sender = Sender(peer)
        async with joined(client, peer) as streams:
            await sender.fragment(1, "1")
            stream = await streams.receive()
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)
            peer = await service.next()
            await peer.answer("joinGroup")
            sender = Sender(peer)
            await sender.fragment(3, "3")
            await sender.end(4)
            assert await texts(stream) == ["1", "3"]
            assert stream.missing == 1


async def test_a_group_that_cannot_be_joined_again_ends_its_streams(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with joined(client, peer) as streams:
            await Sender(peer).fragment(1)
            stream = await streams.receive()
            await stream.receive()
            await peer.websocket.aclose(1008)
            peer = await service.next()
            await peer.ack(await peer.expect("joinGroup"), "Forbidden")
            with pytest.raises(GroupLost):
                await stream.receive()
            with pytest.raises(GroupLost):
                await streams.receive()


async def test_a_stream_that_had_not_ended_says_so_when_the_client_ends(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        streams = client.group_streams("g", join=False)
        await sender.fragment(1)
        stream = await streams.receive()
        await sender.fragment(1, stream_id="done")
        await sender.end(2, stream_id="done")
        done = await streams.receive()
        await wait_all_tasks_blocked()
    assert (await stream.receive()).data == "x"
    with pytest.raises(StreamFailed, match="ClientClosed"):
        await stream.receive()
    assert await texts(done) == ["x"]
    with pytest.raises(trio.EndOfChannel):
        await streams.receive()
    with pytest.raises(trio.EndOfChannel):
        await client.group_streams("g", join=False).receive()


async def test_a_client_that_gives_up_ends_its_streams(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()
        async with client.group_streams("g", join=False) as streams:
            await Sender(peer).fragment(1)
            stream = await streams.receive()
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)
            assert (await stream.receive()).data == "x"
            with pytest.raises(ClientStopped):
                await stream.receive()


async def test_a_ticket_takes_unread_fragments_along(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams, client.group_streams() as every:
            for number in (1, 2):
                await sender.fragment(number, f"a{number}", stream_id="a")
            await sender.fragment(1, "b1", stream_id="b")
            await sender.end(2, stream_id="b", error={"name": "UserError", "userErrorCode": "E"})
            taken = await streams.receive()
            assert (await taken.receive()).data == "a1"
            await wait_all_tasks_blocked()
            ticket = SessionTicket.from_bytes((await client.detach()).to_bytes())

    async def prove() -> None:
        await (await service.next()).send(type="pong")

    nursery.start_soon(prove)
    async with open_client(URL, connector=service.connector, resume=ticket) as client:
        async with client.group_streams("g", join=False) as streams:
            heard = {stream.stream_id: stream for stream in [await streams.receive(), await streams.receive()]}
            assert (await heard["a"].receive()).data == "a2"
            assert not heard["a"].from_start
            assert (await heard["b"].receive()).data == "b1"
            with pytest.raises(StreamFailed, match=r"UserError \(E\)"):
                await heard["b"].receive()
        async with client.group_streams() as every:
            assert (await (await every.receive()).receive()).data == "a1"


async def test_a_ticket_takes_the_rest_of_a_stream_along_that_is_over(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False) as streams:
            for name in ("read", "unread"):
                await sender.fragment(1, "a", stream_id=name)
                await sender.fragment(2, "b", stream_id=name)
                await sender.end(3, stream_id=name)
            read, unread = [await streams.receive(), await streams.receive()]
            await wait_all_tasks_blocked()
            assert await texts(read) == ["a", "b"]
            assert (await unread.receive()).data == "a"
            ticket = await client.detach()

    async def prove() -> None:
        await (await service.next()).send(type="pong")

    nursery.start_soon(prove)
    async with (
        open_client(URL, connector=service.connector, resume=ticket) as client,
        client.group_streams("g", join=False) as streams,
    ):
        stream = await streams.receive()
        assert (stream.stream_id, await texts(stream)) == ("unread", ["b"])
        with pytest.raises(trio.WouldBlock):
            streams.receive_nowait()


async def test_a_ticket_tells_of_fragments_that_did_not_fit(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        sender = Sender(await service.next())
        async with client.group_streams("g", join=False, buffer=2):
            for number in range(1, 5):
                await sender.fragment(number, str(number))
            await wait_all_tasks_blocked()
            ticket = await client.detach()

    async def prove() -> None:
        await (await service.next()).send(type="pong")

    nursery.start_soon(prove)
    async with (
        open_client(URL, connector=service.connector, resume=ticket) as client,
        client.group_streams("g", join=False) as streams,
    ):
        stream = await streams.receive()
        assert [(await stream.receive()).data for _ in range(2)] == ["1", "2"]
        with pytest.raises(StreamFailed, match="SubscriptionOverflow: 2 fragments did not fit"):
            await stream.receive()
        with pytest.raises(trio.WouldBlock):
            streams.receive_nowait()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group": " "}, "group name"),
        ({"buffer": 0}, "buffer is 0"),
        ({"idle_timeout": 0}, "idle_timeout is 0"),
        ({"idle_timeout": math.nan}, "idle_timeout is nan"),
    ],
)
async def test_arguments_that_make_no_sense(
    autojump_clock: MockClock, service: RawService, options: dict[str, Any], text: str
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(ValueError, match=text):
            client.group_streams(options.pop("group", "g"), **options)
