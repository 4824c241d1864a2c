"""The official service client beside ours: against the emulator, and by what both put on the wire for the same call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from tests.interop.conftest import Opened
from trio_webpubsub import GroupMessage, open_client
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.service import TargetNotFound, open_service

LIMIT = 60.0


@pytest.fixture
def emulator(opened: Opened) -> Emulator:
    """An emulator on a port, over http and over TLS."""
    return opened.emulator


class Threaded:
    """The synchronous client, each call in a thread."""

    def __init__(self, emulator: Emulator) -> None:
        self._client = WebPubSubServiceClient.from_connection_string(emulator.connection_string, hub="chat")

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        def call() -> Any:
            result = getattr(self._client, name)(*arguments, **options)
            return list(result) if name == "list_connections" else result

        return await trio.to_thread.run_sync(call)


class Asynchronous:
    """The asyncio client, each call in an event loop of its own."""

    def __init__(self, emulator: Emulator) -> None:
        self._connection_string = emulator.connection_string

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        async def call() -> Any:
            async with AsyncWebPubSubServiceClient.from_connection_string(
                self._connection_string, hub="chat"
            ) as client:
                result = getattr(client, name)(*arguments, **options)
                if name == "list_connections":
                    return [member async for member in result]
                return await result

        return await trio.to_thread.run_sync(asyncio.run, call())


@pytest.fixture(params=[Threaded, Asynchronous])
def official(request: pytest.FixtureRequest, emulator: Emulator) -> Any:
    """The official client."""
    return request.param(emulator)


async def test_messages_of_every_type(opened: Opened, emulator: Emulator, official: Any) -> None:
    async with (
        opened.our_client(user_id="ann", groups=["g"]) as client,
        client.messages() as messages,
    ):
        me = client.connection_id
        await official("send_to_all", {"n": "ü"})
        # Nothing but ASCII: azure-core counts the characters of a text as bytes, and its asyncio transport cuts it off.
        await official("send_to_all", "text", content_type="text/plain")
        await official("send_to_group", "g", b"\x00\xff", content_type="application/octet-stream")
        await official("send_to_user", "ann", "as JSON")
        await official("send_to_connection", me, [None])
        await official("send_to_all", "no", filter="userId ne 'ann'")
        await official("send_to_all", "no", excluded=[me])
        await official("send_to_all", "end", filter="'g' in groups", params={"messageTtlSeconds": 5})
        got = [await messages.receive() for _ in range(6)]
        assert [each.data for each in got] == [{"n": "ü"}, "text", b"\x00\xff", "as JSON", [None], "end"]
        assert isinstance(got[2], GroupMessage)


async def test_existence_groups_and_permissions(opened: Opened, emulator: Emulator, official: Any) -> None:
    async with opened.our_client(user_id="ann", roles=[]) as client:
        me = client.connection_id
        assert await official("connection_exists", me)
        assert not await official("connection_exists", "nobody")
        assert await official("user_exists", "ann")
        assert not await official("group_exists", "g")
        await official("add_connection_to_group", "g", me)
        assert await official("group_exists", "g")
        await official("add_user_to_group", "h", "ann")
        assert emulator.groups("chat") == {"g": [me], "h": [me]}
        await official("remove_connection_from_group", "g", me)
        await official("remove_user_from_group", "h", "ann")
        await official("add_user_to_group", "h", "ann")
        await official("remove_user_from_all_groups", "ann")
        await official("add_user_to_group", "h", "ann")
        await official("remove_connection_from_all_groups", me)
        assert emulator.groups("chat") == {}
        assert not await official("has_permission", "sendToGroup", me, target_name="g")
        await official("grant_permission", "sendToGroup", me, target_name="g")
        assert await official("has_permission", "sendToGroup", me, target_name="g")
        await client.send_to_group("g", "hi")
        await official("revoke_permission", "sendToGroup", me, target_name="g")
        assert not await official("has_permission", "sendToGroup", me, target_name="g")
        with pytest.raises(ResourceNotFoundError) as missing:
            await official("add_connection_to_group", "g", "nobody")
        assert missing.value.status_code == 404


async def test_members_in_pages(opened: Opened, emulator: Emulator, official: Any) -> None:
    async with trio.open_nursery() as nursery:
        ids: set[str] = set()

        async def member(index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with opened.our_client(user_id=f"u{index}", groups=["g"]) as client:
                ids.add(client.connection_id or "")
                task_status.started()
                await trio.sleep_forever()

        for index in range(5):
            await nursery.start(member, index)
        members = await official("list_connections", group="g", maxpagesize=2)
        assert {each.connection_id for each in members} == ids
        assert {each.user_id for each in members} == {f"u{index}" for index in range(5)}
        assert len(await official("list_connections", group="g", top=3, maxpagesize=2)) == 3
        nursery.cancel_scope.cancel()


async def test_bad_requests_are_told(opened: Opened, emulator: Emulator, official: Any) -> None:
    with pytest.raises(HttpResponseError) as bad:
        await official("send_to_all", "hi", filter="userId eq")
    assert bad.value.status_code == 400
    assert "Expression expected at position 9" in str(bad.value)


async def test_closing(opened: Opened, emulator: Emulator, official: Any) -> None:
    for name, arguments in (
        ("close_all_connections", []),
        ("close_user_connections", ["ann"]),
        ("close_group_connections", ["g"]),
    ):
        async with opened.our_client(user_id="ann", groups=["g"]):
            await official(name, *arguments, reason="why not")
            assert emulator.connections("chat") == []
    async with opened.our_client() as client:
        await official("close_connection", client.connection_id)
        assert emulator.connections("chat") == []


async def test_a_token_of_the_official_client_opens_the_emulator(
    opened: Opened, emulator: Emulator, official: Any
) -> None:
    access = await official(
        "get_client_access_token", user_id="ann", roles=["webpubsub.joinLeaveGroup"], groups=["g"], minutes_to_expire=5
    )
    async with open_client(access["url"], ssl_context=opened.ssl_context) as client:
        assert client.user_id == "ann"
        await client.join_group("h")
        assert emulator.groups("chat").keys() == {"g", "h"}


async def test_the_official_client_signs_in_with_a_token(opened: Opened, emulator: Emulator) -> None:
    token = await emulator.credential()()
    expires_on = int(wall_time()) + 3600

    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            assert scopes == ("https://webpubsub.azure.com/.default",)
            return AccessToken(token, expires_on)

    def call() -> dict[str, str]:
        client: Any = WebPubSubServiceClient(emulator.endpoint, "chat", Credential())  # type: ignore[arg-type]  # whose options any will do
        client.send_to_all("hi", enforce_https=False)
        return dict(client.get_client_access_token(user_id="ann", groups=["g"], enforce_https=False))

    access = await trio.to_thread.run_sync(call)
    async with open_client(access["url"], ssl_context=opened.ssl_context) as client:
        assert client.user_id == "ann"


async def test_ours_signs_in_with_a_key_credential(opened: Opened, emulator: Emulator) -> None:
    key = ConnectionString.parse(emulator.connection_string).access_key
    async with open_service(
        emulator.endpoint, "chat", credential=AzureKeyCredential(key), ssl_context=opened.ssl_context
    ) as service:
        assert not await service.user_exists("ann")
        with pytest.raises(TargetNotFound):
            await service.add_user_to_group("g", "ann")
