"""All 25 operations one after the other, on a port and in memory, with an access key and with tokens of Entra ID."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from trio_webpubsub import Client, open_client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.service import Role, Service, odata, open_service

OPERATIONS = {
    *("health", "client_access", "list_connections"),
    *("send_to_all", "send_to_group", "send_to_user", "send_to_connection"),
    *("close_all_connections", "close_group_connections", "close_user_connections", "close_connection"),
    *("connection_exists", "group_exists", "user_exists"),
    *("add_connection_to_group", "remove_connection_from_group", "remove_connection_from_all_groups"),
    *("add_user_to_group", "remove_user_from_group", "remove_user_from_all_groups"),
    *("add_connections_to_groups", "remove_connections_from_groups"),
    *("grant_permission", "revoke_permission", "has_permission"),
}
OTHERS = {"client_access_url", "request", "hub", "endpoint"}


class Noting:
    """A service that notes which of its methods were used."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.used.add(name)
        return getattr(self.service, name)


@asynccontextmanager
async def connected(emulator: Emulator, url: str) -> AsyncGenerator[tuple[Client, str]]:
    async with open_client(url, connector=emulator.connector) as client:
        assert client.connection_id is not None
        yield client, client.connection_id


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "on a port"])
@pytest.mark.parametrize("entra", [False, True], ids=["key", "entra"])
async def test_every_operation(in_memory: bool, entra: bool) -> None:
    with trio.fail_after(50):
        async with open_emulator(in_memory=in_memory) as emulator:
            where = emulator.endpoint if entra else emulator.connection_string
            async with open_service(
                where,
                "chat",
                credential=emulator.credential() if entra else None,
                connector=emulator.connector,
            ) as service:
                await use_everything(emulator, service)


async def use_everything(emulator: Emulator, service: Service) -> None:
    noting = Noting(service)
    await use(emulator, noting)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert noting.used == OPERATIONS
    assert {name for name in dir(service) if not name.startswith("_")} == OPERATIONS | OTHERS
    assert len(OPERATIONS) == 25


async def use(emulator: Emulator, service: Service) -> None:
    await service.health()
    access = await service.client_access(user_id="ann", roles=[Role.join_leave_group()], groups=["a/b"])
    async with connected(emulator, access.url) as (client, me), client.messages() as messages:
        assert client.user_id == "ann"
        # Who is there.
        assert await service.connection_exists(me)
        assert await service.group_exists("a/b")
        assert await service.user_exists("ann")
        assert [each.connection_id async for each in service.list_connections("a/b")] == [me]
        # Messages.
        await service.send_to_all("1", filter=odata("userId eq {} and {} in groups", "ann", "a/b"))
        await service.send_to_group("a/b", {"n": 2})
        await service.send_to_user("ann", b"3")
        await service.send_to_connection(me, None)
        assert [(await messages.receive()).data for _ in range(4)] == ["1", {"n": 2}, b"3", None]
        # Groups.
        await service.add_connection_to_group("c", me)
        await service.add_user_to_group("u", "ann")
        await service.add_connections_to_groups(["x", "y"], filter="userId eq 'ann'")
        assert emulator.groups("chat").keys() == {"a/b", "c", "u", "x", "y"}
        await service.remove_connection_from_group("c", me)
        await service.remove_user_from_group("u", "ann")
        await service.remove_connections_from_groups(["x"])
        assert emulator.groups("chat").keys() == {"a/b", "y"}
        await service.remove_connection_from_all_groups(me)
        await service.add_user_to_group("u", "ann")
        await service.remove_user_from_all_groups("ann")
        assert emulator.groups("chat") == {}
        # Permissions.
        assert not await service.has_permission("sendToGroup", me, target_name="g")
        await service.grant_permission("sendToGroup", me, target_name="g")
        assert await service.has_permission("sendToGroup", me, target_name="g")
        await service.revoke_permission("sendToGroup", me, target_name="g")
        assert not await service.has_permission("sendToGroup", me, target_name="g")
        await service.close_connection(me, reason="enough")
        assert not await service.connection_exists(me)
    async with connected(emulator, access.url) as (_, me):
        await service.close_all_connections(excluded=[me])
        assert emulator.connections("chat") != []
        await service.close_user_connections("ann")
        assert emulator.connections("chat") == []
    async with connected(emulator, access.url):
        await service.close_group_connections("a/b")
        assert emulator.connections("chat") == []
