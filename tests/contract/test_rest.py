"""What servers can ask of the service and of the emulator, with the same answers."""

from __future__ import annotations

import pytest
import trio

from trio_webpubsub import Connected
from trio_webpubsub.service import InvalidRequest, TargetNotFound, odata

from .conftest import Place

LIMIT = 60.0


async def test_connections_groups_and_permissions(place: Place) -> None:
    service, group, user = place.service, place.group, f"user of {place.group}"
    with trio.fail_after(LIMIT):
        async with place.client(user_id=user, roles=[]) as client:
            me = client.connection_id or ""
            assert await service.connection_exists(me)
            assert await service.user_exists(user)
            assert not await service.group_exists(group)
            await service.add_connection_to_group(group, me)
            assert await service.group_exists(group)
            members = [each async for each in service.list_connections(group)]
            assert [(each.connection_id, each.user_id) for each in members] == [(me, user)]
            await service.remove_user_from_group(group, user)
            await service.add_connections_to_groups([group], filter=odata("userId eq {}", user))
            assert await service.group_exists(group)
            await service.remove_connection_from_all_groups(me)
            assert not await service.group_exists(group)
            assert not await service.has_permission("sendToGroup", me, target_name=group)
            await service.grant_permission("sendToGroup", me, target_name=group)
            assert await service.has_permission("sendToGroup", me, target_name=group)
            await client.send_to_group(group, "allowed")


async def test_what_is_missing_or_wrong(place: Place) -> None:
    with trio.fail_after(LIMIT):
        assert not await place.service.user_exists(place.group)
        with pytest.raises(TargetNotFound):
            await place.service.add_connection_to_group(place.group, "nobody")
        with pytest.raises(InvalidRequest):
            await place.service.send_to_all("hi", filter="userId eq")
        await place.service.health()


async def test_a_filter_reaches_whom_it_means(place: Place) -> None:
    user = f"o'neil/7 of {place.group}"
    with trio.fail_after(LIMIT):
        async with place.client(user_id=user) as client, client.server_messages() as messages:
            await place.service.send_to_all("you", filter=odata("userId eq {}", user))
            assert (await messages.receive()).data == "you"


async def test_a_connection_is_closed(place: Place) -> None:
    with trio.fail_after(LIMIT):
        async with place.client(groups=[place.group]) as client, client.lifecycle() as news:
            first = client.connection_id or ""
            await place.service.close_connection(first, reason="a test")
            async for each in news:
                if isinstance(each, Connected) and not each.first:
                    break
            assert client.connection_id != first
            assert not await place.service.connection_exists(first)
