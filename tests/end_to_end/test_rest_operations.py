"""Every operation of the REST API, from the service client through real HTTP in memory to the emulator's clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_webpubsub import ConnectFailed, Disconnected, GroupMessage, ServerMessage, open_client
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol.claims import expires_at
from trio_webpubsub.service import (
    AuthenticationFailed,
    InvalidRequest,
    Role,
    Service,
    ServiceError,
    TargetNotFound,
    odata,
    open_service,
)


@pytest.fixture
async def emulator(autojump_clock: MockClock) -> AsyncIterator[Emulator]:
    """An emulator in memory."""
    with trio.fail_after(1_000):
        async with open_emulator(in_memory=True) as emulator:
            yield emulator


@pytest.fixture
async def service(emulator: Emulator) -> AsyncIterator[Service]:
    """A service client of it."""
    async with open_service(emulator.connection_string, "chat", connector=emulator.connector) as service:
        yield service


async def test_messages_reach_whom_they_are_for(emulator: Emulator, service: Service) -> None:
    async with (
        open_client(emulator.client_url("chat", user_id="ann", groups=["g"]), connector=emulator.connector) as ann,
        open_client(emulator.client_url("chat", user_id="o'neil/7"), connector=emulator.connector) as neil,
        ann.messages() as anns,
        neil.messages() as neils,
    ):
        assert ann.connection_id is not None
        await service.send_to_all("all", excluded=[ann.connection_id])
        await service.send_to_all("neil", filter=odata("userId eq {}", "o'neil/7"), message_ttl_seconds=5)
        await service.send_to_group("g", {"n": 1}, metadata={"Trace": "7"})
        await service.send_to_user("ann", b"\x00", filter="'g' in groups")
        await service.send_to_user("ann", "nobody", filter="'h' in groups")
        await service.send_to_connection(ann.connection_id, None)
        assert [(await neils.receive()).data for _ in range(2)] == ["all", "neil"]
        first, second, third = [await anns.receive() for _ in range(3)]
        assert isinstance(first, GroupMessage)
        assert (first.group, first.data, first.metadata) == ("g", {"n": 1}, {"trace": "7"})
        assert isinstance(second, ServerMessage)
        assert (second.data, third.data) == (b"\x00", None)


async def test_who_exists(emulator: Emulator, service: Service) -> None:
    assert not await service.user_exists("ann")
    async with open_client(
        emulator.client_url("chat", user_id="ann", groups=["a/b"]), connector=emulator.connector
    ) as client:
        assert client.connection_id is not None
        assert await service.connection_exists(client.connection_id)
        assert await service.group_exists("a/b")
        assert await service.user_exists("ann")
        assert not await service.connection_exists("nobody")
        assert not await service.group_exists("a")
        assert not await service.user_exists("Ann")


async def test_groups_are_joined_and_left(emulator: Emulator, service: Service) -> None:
    async with (
        open_client(emulator.client_url("chat", user_id="ann"), connector=emulator.connector) as ann,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as anonymous,
    ):
        one, other = ann.connection_id or "", anonymous.connection_id or ""
        await service.add_connection_to_group("a", one)
        await service.add_connection_to_group("a", other)
        await service.add_user_to_group("b", "ann")
        assert emulator.groups("chat") == {"a": [one, other], "b": [one]}
        await service.remove_connection_from_group("a", one)
        await service.remove_connection_from_group("never joined", one)
        await service.remove_user_from_group("b", "ann")
        assert emulator.groups("chat") == {"a": [other]}
        await service.add_connections_to_groups(["c", "d"], filter="userId eq 'ann'")
        await service.add_connections_to_groups(["e"])
        assert emulator.groups("chat") == {"a": [other], "c": [one], "d": [one], "e": [one, other]}
        await service.remove_connections_from_groups(["e", "c"], filter="userId eq null")
        await service.remove_user_from_all_groups("ann")
        assert emulator.groups("chat") == {"a": [other]}
        await service.remove_connection_from_all_groups(other)
        await service.remove_connection_from_all_groups("nobody")
        assert emulator.groups("chat") == {}
        with pytest.raises(TargetNotFound) as missing:
            await service.add_connection_to_group("a", "nobody")
        assert missing.value.error_code == "Error.Connection.NotExisted"
        with pytest.raises(TargetNotFound):
            await service.add_user_to_group("a", "nobody")


@pytest.mark.parametrize("way", ["connection", "user", "group", "all"])
async def test_connections_are_closed_and_told_why(emulator: Emulator, service: Service, way: str) -> None:
    async with (
        open_client(
            emulator.client_url("chat", user_id="ann", groups=["g"]), connector=emulator.connector, reconnect=None
        ) as client,
        client.lifecycle() as news,
    ):
        match way:
            case "connection":
                await service.close_connection(client.connection_id or "", reason="time to go")
            case "user":
                await service.close_user_connections("ann", reason="time to go", excluded=["other"])
            case "group":
                await service.close_group_connections("g", reason="time to go")
            case _:
                await service.close_all_connections(reason="time to go")
        assert emulator.connections("chat") == []
        async for each in news:
            if isinstance(each, Disconnected):
                assert each.message == "Application server closed the connection. Reason: time to go"
                break
        with pytest.raises(Exception, match="reconnecting is switched off"):
            await client.join_group("g")


async def test_excluded_connections_stay(emulator: Emulator, service: Service) -> None:
    async with open_client(emulator.client_url("chat"), connector=emulator.connector) as client:
        await service.close_all_connections(excluded=[client.connection_id or ""])
        await service.close_connection("nobody")
        await client.join_group("g")
        assert client.statistics().reconnects == 0


async def test_closing_the_connections_of_a_user_has_a_method_of_its_own(service: Service) -> None:
    as_guides_print_it: Any = {"user_id": "ann"}
    with pytest.raises(TypeError, match=r"close_user_connections\(user_id\)"):
        await service.close_all_connections(**as_guides_print_it)


async def test_permissions_are_granted_and_revoked(emulator: Emulator, service: Service) -> None:
    async with open_client(emulator.client_url("chat", roles=[]), connector=emulator.connector) as client:
        me = client.connection_id or ""
        assert not await service.has_permission("sendToGroup", me, target_name="g")
        await service.grant_permission("sendToGroup", me, target_name="g")
        assert await service.has_permission("sendToGroup", me, target_name="g")
        await client.send_to_group("g", "hi")
        await service.revoke_permission("sendToGroup", me, target_name="g")
        await service.revoke_permission("sendToGroup", "nobody", target_name="g")
        assert not await service.has_permission("sendToGroup", me, target_name="g")
        assert not await service.has_permission("joinLeaveGroup", "nobody", target_name="g")
        with pytest.raises(TargetNotFound):
            await service.grant_permission("joinLeaveGroup", "nobody", target_name="g")
        with pytest.raises(InvalidRequest, match="targetName"):
            await service.grant_permission("joinLeaveGroup", me, target_name=None)


async def test_members_are_listed_in_pages(emulator: Emulator, service: Service) -> None:
    async with trio.open_nursery() as nursery:
        ids: set[str] = set()

        async def member(index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            url = emulator.client_url("chat", user_id=f"user {index}" if index % 2 else None, groups=["g"])
            async with open_client(url, connector=emulator.connector) as client:
                ids.add(client.connection_id or "")
                task_status.started()
                await trio.sleep_forever()

        for index in range(7):
            await nursery.start(member, index)
        members = [each async for each in service.list_connections("g", page_size=3)]
        assert {each.connection_id for each in members} == ids
        assert sorted(each.user_id or "" for each in members) == ["", "", "", "", "user 1", "user 3", "user 5"]
        assert len([each async for each in service.list_connections("g", limit=5, page_size=2)]) == 5
        pages = [page async for page in service.list_connections("g", page_size=3).by_page()]
        assert [len(page.members) for page in pages] == [3, 3, 1]
        assert pages[-1].continuation_token is None
        rest = service.list_connections("g", page_size=3).by_page(pages[0].continuation_token)
        assert [page.members async for page in rest] == [page.members for page in pages[1:]]
        assert [each async for each in service.list_connections("nobody's")] == []
        with pytest.raises(InvalidRequest, match="continuationToken"):
            await anext(service.list_connections("g").by_page("continuationToken=%3F"))
        nursery.cancel_scope.cancel()


async def test_the_service_is_well(service: Service) -> None:
    await service.health()


async def test_requests_that_have_no_method(service: Service) -> None:
    answer = await service.request("GET", "/api/hubs/chat/groups/g/connections", params={"maxpagesize": "2"})
    assert (answer.status_code, answer.body) == (200, b'{"value": []}')
    with pytest.raises(TargetNotFound):
        await service.request("POST", "/api/hubs/chat/:unheardOf")


async def test_whoever_signs_in_with_entra_gets_tokens_from_the_service(emulator: Emulator) -> None:
    async with open_service(
        emulator.endpoint, "chat", credential=emulator.credential(), connector=emulator.connector
    ) as service:
        access = await service.client_access(
            user_id="ann", roles=[Role.join_leave_group("g")], groups=["h"], lifetime=timedelta(seconds=61)
        )
        assert access.expires_at == expires_at(access.token)
        assert access.token not in repr(access)
        async with open_client(access.url, connector=emulator.connector) as client:
            assert client.user_id == "ann"
            await client.join_group("g")
            assert emulator.groups("chat").keys() == {"g", "h"}
            await service.send_to_user("ann", "hi")
        with pytest.raises(ValueError, match="need an access key"):
            await service.client_access_url(claims={"a": 1})


async def test_readers_may_only_look(emulator: Emulator) -> None:
    credential = emulator.credential("Web PubSub Service Reader")
    async with open_service(emulator.endpoint, "chat", credential=credential, connector=emulator.connector) as service:
        assert not await service.user_exists("ann")
        with pytest.raises(AuthenticationFailed) as refused:
            await service.send_to_all("hi")
        assert refused.value.status_code == 403


async def test_a_key_does_not_get_tokens_from_the_service(service: Service) -> None:
    with pytest.raises(AuthenticationFailed):
        await service.request("POST", "/api/hubs/chat/:generateToken")


async def test_messages_expire_while_their_client_is_away(emulator: Emulator, service: Service) -> None:
    async with (
        open_client(emulator.client_url("chat", groups=["g"]), connector=emulator.connector) as client,
        open_client(emulator.client_url("chat"), connector=emulator.connector) as sender,
        client.messages() as messages,
    ):
        with emulator.refuse_connections(503):
            emulator.cut(client.connection_id or "")
            await service.send_to_connection(client.connection_id or "", "short", message_ttl_seconds=1)
            await service.send_to_connection(client.connection_id or "", "long", message_ttl_seconds=300)
            await sender.send_to_group("g", "short too", ttl_seconds=1)
            await sender.send_to_group("g", "end")
            await trio.sleep(5)
        assert [(await messages.receive()).data for _ in range(2)] == ["long", "end"]


async def test_a_token_of_another_emulator_is_refused(emulator: Emulator) -> None:
    async with open_emulator(in_memory=True) as other:
        credential = other.credential()
    async with open_service(emulator.endpoint, "chat", credential=credential, connector=emulator.connector) as service:
        with pytest.raises(AuthenticationFailed):
            await service.send_to_all("hi")


async def test_other_client_protocols_have_addresses_of_their_own(emulator: Emulator, service: Service) -> None:
    access = await service.client_access(client_protocol="mqtt")
    assert access.base_url.endswith("/clients/mqtt/hubs/chat")
    unheard_of: Any = "smoke signals"
    with pytest.raises(ValueError, match="client_protocol is 'smoke signals', which is none of"):
        await service.client_access(client_protocol=unheard_of)
    with pytest.raises((ConnectFailed, ValueError)):
        async with open_client(access.url, connector=emulator.connector):
            pass
    with pytest.raises(ServiceError):
        await service.request("GET", "/api/nowhere")
