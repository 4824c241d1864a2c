"""States in groups, against a service that the test plays."""

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
    AckTimeout,
    Client,
    ClientStopped,
    GroupLost,
    GroupState,
    GroupStateChange,
    MemberState,
    RejoinFailed,
    SendFailed,
    Subscription,
    SubscriptionOverflow,
    open_client,
)

from .raw_service import URL, Peer, RawService

TYPING = {"status": "typing"}


def item(connection_id: str, state: dict[str, str] | None = TYPING, at: int = 1_000) -> dict[str, Any]:
    return {"connectionId": connection_id, "userId": "bob", "updatedAt": at} | (
        {} if state is None else {"state": state}
    )


def change(connection_id: str, state: dict[str, str] | None = TYPING, at: float = 1.0) -> GroupStateChange:
    return GroupStateChange(connection_id=connection_id, user_id="bob", state=state, updated_at=at)


async def snapshot(peer: Peer, *items: dict[str, Any], sequence_id: int = 1) -> None:
    await peer.send(type="groupStateSnapshot", group="g", items=items, sequenceId=sequence_id)


async def update(peer: Peer, *items: dict[str, Any], sequence_id: int) -> None:
    await peer.send(type="groupStateUpdate", group="g", items=items, sequenceId=sequence_id)


async def grant(peer: Peer, *items: dict[str, Any], sequence_id: int = 1) -> None:
    await peer.answer("subscribeGroupState")
    await snapshot(peer, *items, sequence_id=sequence_id)


async def refuse(peer: Peer, type: str) -> None:
    await peer.ack(await peer.expect(type), "Forbidden")


@asynccontextmanager
async def watched(client: Client, peer: Peer, *items: dict[str, Any]) -> AsyncGenerator[GroupState, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(grant, peer, *items)
        async with client.group_state("g") as members:
            yield members


async def some(changes: Subscription[GroupStateChange], count: int) -> list[GroupStateChange]:
    return [await changes.receive() for _ in range(count)]


async def test_setting_and_clearing_a_state(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        frames: list[dict[str, Any]] = []

        async def play() -> None:
            frames.extend([await peer.answer("setGroupState") for _ in range(2)])

        nursery.start_soon(play)
        assert (await client.set_group_state("g", TYPING)).ack_id == 1
        assert (await client.clear_group_state("g")).ack_id == 2
        assert frames == [
            {"type": "setGroupState", "group": "g", "state": TYPING, "ackId": 1},
            {"type": "setGroupState", "group": "g", "ackId": 2},
        ]


async def test_a_missing_role_is_named(autojump_clock: MockClock, service: RawService, nursery: trio.Nursery) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        nursery.start_soon(refuse, peer, "setGroupState")
        with pytest.raises(SendFailed, match=r"webpubsub\.setGroupState"):
            await client.set_group_state("g", TYPING)
        nursery.start_soon(refuse, peer, "subscribeGroupState")
        with pytest.raises(SendFailed, match=r"webpubsub\.getGroupState"):
            async with client.group_state("g"):
                raise AssertionError("not reached")


async def test_the_mapping_is_there_when_the_block_begins_and_lives(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as members:
            assert members.group == "g"
            assert repr(members) == "<GroupState of 'g': 1>"
            assert dict(members) == {"c-1": MemberState(user_id="bob", state=TYPING, updated_at=1.0)}
            await update(peer, item("c-2", {"status": "away"}), item("c-1", None), sequence_id=2)
            await wait_all_tasks_blocked()
            assert list(members) == ["c-2"]
            assert members["c-2"].state == {"status": "away"}
        assert (await peer.expect("unsubscribeGroupState"))["group"] == "g"


async def test_changes_begin_with_what_is_there(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1"), item("c-2")) as members, members.changes() as changes:
            await update(peer, item("c-2", None, 2_000), sequence_id=2)
            assert await some(changes, 3) == [change("c-1"), change("c-2"), change("c-2", None, 2.0)]
            async with members.changes() as later:
                assert await some(later, 1) == [change("c-1")]
            await update(peer, item("c-3"), sequence_id=3)
            async for each in changes:
                assert each == change("c-3")
                break


async def test_a_new_session_tells_the_differences(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-8"), item("c-9")) as members, members.changes() as changes:
            await some(changes, 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.answer, "setGroupState")
                await client.set_group_state("g", {"me": "1"})
            await peer.websocket.aclose(1008)
            peer = await service.next()
            assert (await peer.answer("setGroupState"))["state"] == {"me": "1"}
            await grant(peer, item("c-9", {"status": "away"}), item("c-10"))
            assert await some(changes, 3) == [
                change("c-8", None),
                change("c-9", {"status": "away"}),
                change("c-10"),
            ]
            assert list(members) == ["c-9", "c-10"]


async def test_a_recovery_leaves_all_as_it_is(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as members, members.changes() as changes:
            await some(changes, 1)
            peer.cut()
            peer = await service.next()
            await peer.send(type="pong")
            await snapshot(peer, sequence_id=1)  # sent again, for it was not confirmed
            await update(peer, item("c-2"), sequence_id=2)
            assert await some(changes, 1) == [change("c-2")]
            assert list(members) == ["c-1", "c-2"]


async def test_two_watchers_share_one_subscription(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as first:
            nursery.start_soon(grant, peer, item("c-1"), item("c-2"))
            async with client.group_state("g") as second:
                await wait_all_tasks_blocked()
                assert list(second) == list(first)
            await update(peer, item("c-3"), sequence_id=3)
            await wait_all_tasks_blocked()
            assert "c-3" in first
        await peer.expect("unsubscribeGroupState")


async def test_a_subscription_that_is_refused_in_a_new_session_ends_the_changes(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as members, members.changes() as changes:
            await peer.websocket.aclose(1008)
            peer = await service.next()
            await refuse(peer, "subscribeGroupState")
            assert await some(changes, 1) == [change("c-1")]
            with pytest.raises(GroupLost, match=r"Forbidden.*takes the role webpubsub\.getGroupState"):
                await changes.receive()


async def test_who_asks_for_changes_after_that_is_told_as_well(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as members:
            await peer.websocket.aclose(1008)
            await refuse(await service.next(), "subscribeGroupState")
            await wait_all_tasks_blocked()
            async with members.changes() as changes:
                assert await some(changes, 1) == [change("c-1")]
                with pytest.raises(GroupLost):
                    await changes.receive()


async def test_an_own_state_that_is_refused_in_a_new_session_is_told_on_the_lifecycle(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        nursery.start_soon(peer.answer, "setGroupState")
        await client.set_group_state("g", TYPING)
        async with client.lifecycle() as lifecycle:
            await peer.websocket.aclose(1008)
            peer = await service.next()
            await refuse(peer, "setGroupState")
            async for news in lifecycle:
                if isinstance(news, RejoinFailed):
                    assert news.group == "g"
                    break


async def test_without_rejoining_nothing_is_watched_in_a_new_session(
    autojump_clock: MockClock, service: RawService
) -> None:
    async with open_client(URL, connector=service.connector, auto_rejoin=False) as client:
        peer = await service.next()
        async with watched(client, peer) as members, members.changes() as changes:
            await peer.websocket.aclose(1008)
            with pytest.raises(GroupLost, match="auto_rejoin=False"):
                await changes.receive()


async def test_a_service_without_snapshots_is_not_waited_for_without_end(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector, keep_alive_interval=math.inf) as client:
        peer = await service.next()
        nursery.start_soon(peer.answer, "subscribeGroupState")
        start = trio.current_time()
        with pytest.raises(AckTimeout):
            async with client.group_state("g"):
                raise AssertionError("not reached")
        assert trio.current_time() == start + 30
        await peer.expect("unsubscribeGroupState")


async def test_a_cancelled_entry_watches_nothing(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        with trio.move_on_after(1) as scope:
            async with client.group_state("g"):
                raise AssertionError("not reached")
        assert scope.cancelled_caught
        await peer.expect("subscribeGroupState")
        await peer.expect("unsubscribeGroupState")


async def test_changes_end_with_the_client(autojump_clock: MockClock, service: RawService) -> None:
    async with trio.open_nursery() as nursery:
        async with open_client(URL, connector=service.connector) as client:
            peer = await service.next()
            kept: list[Subscription[GroupStateChange]] = []

            async def watch() -> None:
                async with watched(client, peer, item("c-1")) as members:
                    kept.append(members.changes())
                    await client.wait_stopped()
                    assert [each async for each in members.changes()] == [change("c-1")]
                    assert [each async for each in kept[0]] == [change("c-1")]

            nursery.start_soon(watch)
            await trio.sleep(1)
        with pytest.raises(trio.ClosedResourceError):
            async with client.group_state("g"):
                raise AssertionError("not reached")


async def test_a_client_that_gives_up_ends_the_changes(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()
        async with watched(client, peer) as members, members.changes() as changes:
            await peer.websocket.aclose(1008)
            with pytest.raises(ClientStopped):
                await changes.receive()


async def test_who_waits_for_a_snapshot_is_told_of_the_end(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector, reconnect=None) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.answer("subscribeGroupState")
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)

        nursery.start_soon(play)
        with pytest.raises(ClientStopped):
            async with client.group_state("g"):
                raise AssertionError("not reached")


async def test_who_waits_for_a_snapshot_is_told_when_a_new_session_refuses(
    autojump_clock: MockClock, service: RawService, nursery: trio.Nursery
) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()

        async def play() -> None:
            await peer.answer("subscribeGroupState")
            await wait_all_tasks_blocked()
            await peer.websocket.aclose(1008)
            await refuse(await service.next(), "subscribeGroupState")

        nursery.start_soon(play)
        start = trio.current_time()
        with pytest.raises(GroupLost, match="Forbidden"):
            async with client.group_state("g"):
                raise AssertionError("not reached")
        assert trio.current_time() - start < 5


async def test_after_the_block_nothing_is_told_any_more(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer, item("c-1")) as members:
            changes = members.changes()
        with pytest.raises(trio.ClosedResourceError):
            await changes.receive()
        with pytest.raises(trio.ClosedResourceError):
            members.changes()
        assert list(members) == ["c-1"]


async def test_a_watcher_that_stands_still_overflows(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer) as members, members.changes(buffer=1) as changes:
            await update(peer, item("c-1"), item("c-2"), sequence_id=2)
            assert await some(changes, 1) == [change("c-1")]
            with pytest.raises(SubscriptionOverflow):
                await changes.receive()
            with pytest.raises(ValueError, match="buffer is 0"):
                members.changes(buffer=0)


async def test_forgotten_changes_are_released(autojump_clock: MockClock, service: RawService) -> None:
    async with open_client(URL, connector=service.connector) as client:
        peer = await service.next()
        async with watched(client, peer) as members:
            members.changes()
            gc.collect()
            await update(peer, item("c-1"), sequence_id=2)
            await wait_all_tasks_blocked()
            assert list(members) == ["c-1"]


@pytest.mark.parametrize("state", [None, {"a": 1}, "typing"])
async def test_what_is_no_state(autojump_clock: MockClock, service: RawService, state: Any) -> None:
    async with open_client(URL, connector=service.connector) as client:
        with pytest.raises(TypeError):
            await client.set_group_state("g", state)
        with pytest.raises(ValueError, match="group name"):
            await client.set_group_state("", {})
        with pytest.raises(ValueError, match="group name"):
            await client.clear_group_state("")
        with pytest.raises(ValueError, match="group name"):
            client.group_state("")
