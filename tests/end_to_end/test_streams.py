"""Streams and group states between clients over an emulator in memory: what users see, and what faults leave whole."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webpubsub import (
    Client,
    Connected,
    Gap,
    GroupStreamWriter,
    Recovered,
    SendFailed,
    StreamFailed,
    StreamLost,
    open_client,
)
from trio_webpubsub.emulator import Emulator, HubLimits, open_emulator
from trio_webpubsub.protocol.subprotocols import SUBPROTOCOLS, Subprotocol
from trio_webpubsub.service import open_service

ROLES = (
    "webpubsub.joinLeaveGroup",
    "webpubsub.sendToGroup",
    "webpubsub.setGroupState",
    "webpubsub.getGroupState",
)
RELIABLE: list[Subprotocol] = ["json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1"]

everywhere = pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
reliable = pytest.mark.parametrize("subprotocol", RELIABLE)


@asynccontextmanager
async def opened(
    emulator: Emulator, user_id: str = "ann", subprotocol: Subprotocol = RELIABLE[0], **options: Any
) -> AsyncGenerator[Client, None]:
    url = emulator.client_url("chat", user_id=user_id, roles=ROLES)
    async with open_client(url, connector=emulator.connector, subprotocol=subprotocol, **options) as client:
        yield client


@asynccontextmanager
async def pair(subprotocol: Subprotocol) -> AsyncGenerator[tuple[Emulator, Client, Client], None]:
    """A client that sends, and one that reads."""
    async with (
        open_emulator(in_memory=True) as emulator,
        opened(emulator, "ann", subprotocol) as sender,
        opened(emulator, "bob", subprotocol) as reader,
    ):
        yield emulator, sender, reader


@everywhere
async def test_a_stream_arrives_as_it_was_written(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    fragments: list[object] = ["Once ", {"n": [1, None]}, b"\x00\xff", "", None]
    async with (
        pair(subprotocol) as (_, sender, reader),
        reader.group_streams("g") as streams,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def send() -> None:
            async with sender.open_stream("g", stream_id="s") as stream:
                for fragment in fragments:
                    await stream.write(fragment)

        stream = await streams.receive()
        assert (stream.stream_id, stream.from_start, stream.missing) == ("s", True, 0)
        assert stream.from_user_id == (None if subprotocol.startswith("protobuf") else "ann")
        assert [fragment.data async for fragment in stream] == fragments


@everywhere
async def test_a_failing_sender_is_told_to_its_readers(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    async with pair(subprotocol) as (_, sender, reader), reader.group_streams("g") as streams:
        with pytest.raises(ZeroDivisionError):
            async with sender.open_stream("g") as stream:
                await stream.write("a")
                raise ZeroDivisionError
        heard = await streams.receive()
        assert (await heard.receive()).data == "a"
        with pytest.raises(StreamFailed) as caught:
            await heard.receive()
        assert (caught.value.name, caught.value.user_error_code) == ("UserError", "Exception")


async def test_a_cancelled_sender_is_told_too(autojump_clock: MockClock) -> None:
    async with pair(RELIABLE[0]) as (_, sender, reader), reader.group_streams("g") as streams:
        with trio.move_on_after(1):
            async with sender.open_stream("g") as stream:
                await stream.write("a")
                await trio.sleep_forever()
        heard = await streams.receive()
        await heard.receive()
        with pytest.raises(StreamFailed) as caught:
            await heard.receive()
        assert caught.value.user_error_code == "Cancelled"


@pytest.mark.parametrize("how", ["abort", "exception", "cancellation"])
async def test_an_early_end_comes_after_what_was_written(autojump_clock: MockClock, how: str) -> None:
    """Though the service refuses fragments for the moment, which are sent again."""
    async with pair(RELIABLE[0]) as (emulator, sender, reader), reader.group_streams("g") as streams:
        emulator.refuse_fragments("chat", 3)
        with trio.CancelScope() as scope, suppress(LookupError):
            async with sender.open_stream("g") as stream:
                await stream.write("a")
                await stream.write("b")
                match how:
                    case "abort":
                        await stream.abort("Mine")
                    case "exception":
                        raise LookupError
                    case _:
                        scope.cancel()
                        await trio.sleep_forever()
        heard = await streams.receive()
        assert [(await heard.receive()).data for _ in range(2)] == ["a", "b"]
        with pytest.raises(StreamFailed) as caught:
            await heard.receive()
        assert caught.value.user_error_code == {"abort": "Mine", "exception": "Exception"}.get(how, "Cancelled")
        assert heard.missing == 0


async def test_a_sender_that_goes_away_is_told_by_the_service(autojump_clock: MockClock) -> None:
    async with (
        pair(RELIABLE[0]) as (emulator, sender, reader),
        reader.group_streams("g") as streams,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(StreamLost):
                async with sender.open_stream("g") as stream:
                    await stream.write("a")
                    await trio.sleep(5)

        stream = await streams.receive()
        await stream.receive()
        emulator.forget_session(sender.connection_id or "")
        with pytest.raises(StreamFailed, match="Cancelled"):
            await stream.receive()


async def test_a_role_is_needed(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator:
        url = emulator.client_url("chat", roles=[])
        async with open_client(url, connector=emulator.connector) as client:
            with pytest.raises(StreamFailed, match="Forbidden"):
                async with client.open_stream("g"):
                    raise AssertionError("not reached")


async def test_a_role_that_is_taken_away_ends_the_stream(autojump_clock: MockClock) -> None:
    async with (
        pair(RELIABLE[0]) as (emulator, sender, reader),
        open_service(emulator.connection_string, hub="chat", connector=emulator.connector) as service,
        reader.group_streams("g") as streams,
    ):
        with pytest.raises(StreamFailed, match="Forbidden"):
            async with sender.open_stream("g") as stream:
                await stream.write("a")
                await stream.flush()
                await service.revoke_permission("sendToGroup", sender.connection_id or "", target_name="g")
                await stream.write("b")
                await stream.flush()
        heard = await streams.receive()
        assert (await heard.receive()).data == "a"
        with pytest.raises(StreamFailed, match="Forbidden"):
            await heard.receive()


@pytest.mark.parametrize("name", ["InternalServerError", "IdleTimeout", "Forbidden"])
async def test_the_service_may_fail(autojump_clock: MockClock, name: str) -> None:
    async with pair(RELIABLE[0]) as (emulator, sender, reader), reader.group_streams("g") as streams:
        with pytest.raises(StreamFailed) as sent:
            async with sender.open_stream("g", stream_id="s") as stream:
                await stream.write("a")
                await stream.flush()
                emulator.fail_stream(sender.connection_id or "", "s", name, "the test says so")
        heard = await streams.receive()
        await heard.receive()
        with pytest.raises(StreamFailed) as caught:
            await heard.receive()
        assert sent.value.name == caught.value.name == name
        with pytest.raises(LookupError, match="has no stream 's'"):
            emulator.fail_stream(sender.connection_id or "", "s")
        with pytest.raises(ValueError, match="count is -1"):
            emulator.refuse_fragments("chat", -1)


async def test_the_service_gives_an_idle_stream_up(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        opened(emulator) as reader,
        reader.group_streams("g") as streams,
    ):
        peer = emulator.client_url("chat", roles=ROLES)
        async with open_client(peer, connector=emulator.connector) as sender:
            with pytest.raises(StreamFailed, match="StreamNotFound"):  # what it was told meanwhile went astray
                async with sender.open_stream("g", idle_timeout=10) as stream:
                    await stream.write("a")
                    await stream.flush()
                    emulator.cut(sender.connection_id or "", "silence")
                    await trio.sleep(60)
            heard = await streams.receive()
            await heard.receive()
            with pytest.raises(StreamFailed, match="IdleTimeout"):
                await heard.receive()


async def test_a_stream_that_does_nothing_is_kept_alive(autojump_clock: MockClock) -> None:
    async with pair(RELIABLE[0]) as (_, sender, reader), reader.group_streams("g", idle_timeout=5_000) as streams:
        async with sender.open_stream("g", idle_timeout=10) as stream:
            await stream.write("a")
            await trio.sleep(1_000)
            await stream.write("b")
        assert [fragment.data async for fragment in await streams.receive()] == ["a", "b"]


@reliable
@pytest.mark.parametrize("seed", range(6))
async def test_every_fragment_arrives_once_and_in_order_through_any_cuts(
    autojump_clock: MockClock, subprotocol: Subprotocol, seed: int
) -> None:
    """Two streams at once, of which each is cut many times at either end, and now and then refused for a moment."""
    number = 1_000
    chance = random.Random(seed)
    heard: dict[str, list[int]] = {}

    async def disturb(emulator: Emulator, clients: list[Client]) -> None:
        while True:
            await trio.sleep(chance.uniform(0.0, 2.0))
            client = chance.choice(clients)
            connections = [each.connection_id for each in emulator.connections("chat") if each.attached]
            if chance.random() < 0.3:
                emulator.refuse_fragments("chat", chance.randint(1, 5))
            elif client.connection_id in connections:
                emulator.cut(client.connection_id, chance.choice(["reset", "eof", "silence"]))

    async def send(client: Client, name: str) -> None:
        async with client.open_stream("g", stream_id=name) as stream:
            for each in range(number):
                await stream.write(each)
                if chance.random() < 0.05:
                    await trio.sleep(chance.uniform(0.0, 1.0))
            await stream.flush()
            assert stream.statistics().acknowledged == number

    with trio.fail_after(5_000):
        async with (
            open_emulator(in_memory=True, limits=HubLimits(unacknowledged_messages=10_000)) as emulator,
            opened(emulator, "ann", subprotocol) as sender,
            opened(emulator, "bob", subprotocol) as reader,
            reader.group_streams("g", gaps=True) as streams,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb, emulator, [sender, reader])
                async with trio.open_nursery() as work:
                    work.start_soon(send, sender, "first")
                    work.start_soon(send, sender, "second")
                    for _ in range(2):
                        stream = await streams.receive()

                        @work.start_soon
                        async def read(stream: Any = stream) -> None:
                            heard[stream.stream_id] = [fragment.data async for fragment in stream]

                nursery.cancel_scope.cancel()
            assert sender.statistics().recoveries + reader.statistics().recoveries > 5
    assert heard == {"first": list(range(number)), "second": list(range(number))}


@pytest.mark.parametrize("connected_after_recovery", [True, False])
async def test_a_cut_at_any_moment_of_a_short_stream_is_not_noticed(
    autojump_clock: MockClock, connected_after_recovery: bool
) -> None:
    """The opening and the end are the places where the answers matter that a link took along."""
    async with (
        open_emulator(in_memory=True, connected_after_recovery=connected_after_recovery) as emulator,
        opened(emulator, "bob") as reader,
        reader.group_streams("g", gaps=True) as streams,
    ):
        finished = False
        passes = 0
        while not finished:
            passes += 1
            async with opened(emulator) as sender, trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send(sender: Client = sender) -> None:
                    nonlocal finished
                    async with sender.open_stream("g") as stream:
                        await stream.write("a")
                        await stream.write("b")
                    finished = sender.statistics().recoveries == 0

                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                with suppress(LookupError):
                    emulator.cut(sender.connection_id or "")
                heard = [fragment async for fragment in await streams.receive()]
                assert [fragment.data for fragment in heard if not isinstance(fragment, Gap)] == ["a", "b"]
                assert len(heard) == 2
        assert passes > 10
        with pytest.raises(trio.WouldBlock):
            streams.receive_nowait()


@reliable
async def test_lost_sessions_lose_streams_and_say_how_far_they_came(
    autojump_clock: MockClock, subprotocol: Subprotocol
) -> None:
    async with pair(subprotocol) as (emulator, sender, reader), reader.group_streams("g") as streams:
        with pytest.raises(StreamLost) as caught:
            async with sender.open_stream("g") as stream:
                for each in range(10):
                    await stream.write(each)
                await stream.flush()
                emulator.forget_session(sender.connection_id or "")
                while True:
                    await stream.write("more")
        assert caught.value.acknowledged == 10
        heard = await streams.receive()
        assert [(await heard.receive()).data for _ in range(10)] == list(range(10))
        with pytest.raises(StreamFailed, match="Cancelled"):
            await heard.receive()


async def test_streams_end_when_their_session_is_handed_over(autojump_clock: MockClock) -> None:
    async with pair(RELIABLE[0]) as (_, sender, reader), reader.group_streams("g") as streams:
        with pytest.raises(trio.ClosedResourceError):
            async with sender.open_stream("g") as stream:
                await stream.write("a")
                await sender.detach()
                await stream.write("b")
        heard = await streams.receive()
        assert (await heard.receive()).data == "a"
        with trio.fail_after(1), pytest.raises(StreamFailed) as caught:
            await heard.receive()
        assert caught.value.user_error_code == "Cancelled"


async def test_a_reader_of_a_lost_session_is_told_what_it_missed(autojump_clock: MockClock) -> None:
    async with pair(RELIABLE[0]) as (emulator, sender, reader), reader.group_streams("g") as streams:
        async with sender.open_stream("g") as stream:
            await stream.write(1)
            heard = await streams.receive()
            await heard.receive()
            emulator.forget_session(reader.connection_id or "")
            await stream.write(2)
            await stream.flush()
            await trio.sleep(10)
            assert reader.statistics().reconnects == 1
            await stream.write(3)
        assert [fragment.data async for fragment in heard] == [3]
        assert heard.missing == 1


async def test_a_slow_reader_stops_no_other_and_no_sender(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True, limits=HubLimits(unacknowledged_messages=100_000)) as emulator,
        opened(emulator) as sender,
        opened(emulator, "slow") as slow,
        opened(emulator, "quick") as quick,
        slow.group_streams("g") as slow_streams,
        quick.group_streams("g") as quick_streams,
    ):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                async with sender.open_stream("g") as stream:
                    for each in range(3_000):
                        await stream.write(each)

            heard = await quick_streams.receive()
            assert [fragment.data async for fragment in heard] == list(range(3_000))
        assert (await slow_streams.receive()).statistics().dropped > 0


async def recovered(*clients: Client) -> None:
    """Wait until each of them has told of its first recovery."""
    for client in clients:
        async with client.lifecycle() as lifecycle:
            async for news in lifecycle:
                if isinstance(news, Recovered):
                    break


async def in_another_session(client: Client, old: str) -> None:
    """Wait until a client has another connection id."""
    async with client.lifecycle() as lifecycle:
        async for news in lifecycle:
            if isinstance(news, Connected) and news.connection_id != old:
                break


@everywhere
async def test_presence(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    async with (
        pair(subprotocol) as (emulator, ann, bob),
        bob.group_state("g") as members,
        members.changes() as changes,
    ):
        assert dict(members) == {}
        await ann.set_group_state("g", {"status": "typing"})
        change = await changes.receive()
        assert (change.connection_id, change.user_id, change.state) == (ann.connection_id, "ann", {"status": "typing"})
        assert members[ann.connection_id or ""].updated_at == change.updated_at > 0
        async with opened(emulator, "cat", subprotocol) as cat:
            await cat.set_group_state("g", {"status": "here"})
            assert (await changes.receive()).user_id == "cat"
            assert len(members) == 2
        assert (await changes.receive()).state is None
        await ann.clear_group_state("g")
        assert (await changes.receive()).state is None
        assert dict(members) == {}


@reliable
async def test_presence_survives_drops_and_lost_sessions(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    async with (
        pair(subprotocol) as (emulator, ann, bob),
        bob.group_state("g") as members,
        members.changes() as changes,
    ):
        await ann.set_group_state("g", {"status": "here"})
        await changes.receive()
        emulator.cut_all()
        await recovered(ann, bob)
        await ann.set_group_state("g", {"status": "typing"})
        assert (await changes.receive()).state == {"status": "typing"}
        old = ann.connection_id or ""
        emulator.forget_session(old)
        assert ((gone := await changes.receive()).connection_id, gone.state) == (old, None)
        await in_another_session(ann, old)
        back = await changes.receive()
        assert (back.connection_id, back.state) == (ann.connection_id, {"status": "typing"})
        old = bob.connection_id or ""
        emulator.forget_session(old)
        await in_another_session(bob, old)
        await ann.set_group_state("g", {"status": "away"})
        assert (await changes.receive()).state == {"status": "away"}
        assert list(members) == [ann.connection_id]


async def test_states_take_roles(autojump_clock: MockClock) -> None:
    async with (
        open_emulator(in_memory=True) as emulator,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as client,
    ):
        with pytest.raises(SendFailed, match=r"webpubsub\.setGroupState"):
            await client.set_group_state("g", {})
        with pytest.raises(SendFailed, match=r"webpubsub\.getGroupState"):
            async with client.group_state("g"):
                raise AssertionError("not reached")


async def script(client: Client) -> None:
    """Use everything of streams and states that waits."""
    async with client.group_streams("g") as streams:
        async with client.open_stream("g") as stream:
            await stream.write("a")
            await stream.flush()
        async for each in streams:
            assert [fragment.data async for fragment in each] == ["a"]
            break
        async with client.open_stream("g") as stream:
            await stream.abort("E", "why")
    await client.set_group_state("g", {"a": "b"})
    async with client.group_state("g") as members, members.changes() as changes:
        assert (await changes.receive()).state == {"a": "b"}
    await client.clear_group_state("g")


@everywhere
async def test_cancelling_anywhere_never_harms_the_link(autojump_clock: MockClock, subprotocol: Subprotocol) -> None:
    async with open_emulator(in_memory=True) as emulator:
        finished = False
        passes = 0
        while not finished:
            passes += 1
            async with opened(emulator, "ann", subprotocol) as client:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def run(client: Client = client) -> None:
                        nonlocal finished
                        await script(client)
                        finished = True

                    for _ in range(passes):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                async with client.group_streams("check") as streams:
                    async with client.open_stream("check", stream_id="s") as stream:
                        await stream.write(passes)
                    assert [each.data async for each in await streams.receive()] == [passes]
                assert client.statistics().pending_sends == 0
                assert client.statistics().recoveries == client.statistics().reconnects == 0
        assert passes > 30
        await wait_all_tasks_blocked()
        assert emulator.connections("chat") == []


async def test_fragments_and_messages_keep_out_of_each_others_way(autojump_clock: MockClock) -> None:
    async with pair(RELIABLE[0]) as (_, sender, reader), reader.group_messages("g") as messages:
        writer: GroupStreamWriter
        async with sender.open_stream("g") as writer:
            await writer.write("fragment")
            await writer.flush()
            await sender.send_to_group("g", "message")
        assert (await messages.receive()).data == "message"
