"""The official service client for JavaScript against the emulator: every operation that it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.interop.conftest import Opened
from tests.interop.node_peer import Node, NodeError, open_node


@pytest.fixture
async def node(opened: Opened) -> AsyncIterator[Node]:
    """A driver with an open service client."""
    async with open_node() as node:
        await node.do("openService", opened.emulator.connection_string, "chat")
        yield node


async def test_messages_of_every_type(opened: Opened, node: Node) -> None:
    async with opened.our_client(user_id="ann", groups=["g"]) as client, client.messages() as messages:
        me = client.connection_id
        for name, *arguments in (
            ("sendToAll", {"n": "ü"}),
            ("sendToAll", "text ü", {"contentType": "text/plain"}),
            ("sendToUser", "ann", "as JSON"),
            ("sendToConnection", me, b"\x00\xff"),
            ("sendToAll", "no", {"filter": "userId ne 'ann'"}),
            ("sendToAll", "no", {"excludedConnections": [me]}),
            ("sendToAll", "end", {"filter": "'g' in groups", "messageTtlSeconds": 5}),
        ):
            await node.do(name, *arguments, on="service")
        await node.do("group", "g", "sendToAll", [1, None], {"filter": "userId eq 'ann'"})
        got = [(await messages.receive()).data for _ in range(6)]
        assert got == [{"n": "ü"}, "text ü", "as JSON", b"\x00\xff", "end", [1, None]]


async def test_existence_groups_and_permissions(opened: Opened, node: Node) -> None:
    groups = opened.emulator.groups
    async with opened.our_client(user_id="ann", roles=[]) as client:
        me = client.connection_id
        assert await node.do("connectionExists", me, on="service")
        assert not await node.do("connectionExists", "nobody", on="service")
        assert await node.do("userExists", "ann", on="service")
        assert not await node.do("userExists", "bob", on="service")
        assert not await node.do("groupExists", "g", on="service")
        await node.do("group", "g", "addConnection", me)
        assert await node.do("groupExists", "g", on="service")
        await node.do("group", "g", "removeConnection", me)
        await node.do("group", "h", "addUser", "ann")
        assert groups("chat") == {"h": [me]}
        await node.do("group", "h", "removeUser", "ann")
        for cleared in (["removeUserFromAllGroups", "ann"], ["removeConnectionFromAllGroups", me]):
            await node.do("addConnectionsToGroups", ["a", "b"], "userId eq 'ann'", on="service")
            assert groups("chat") == {"a": [me], "b": [me]}
            await node.do("removeConnectionsFromGroups", ["a"], "userId eq 'ann'", on="service")
            assert groups("chat") == {"b": [me]}
            await node.do(*cleared, on="service")
            assert groups("chat") == {}
        to_g = {"targetName": "g"}
        assert not await node.do("hasPermission", me, "joinLeaveGroup", to_g, on="service")
        await node.do("grantPermission", me, "joinLeaveGroup", to_g, on="service")
        assert await node.do("hasPermission", me, "joinLeaveGroup", to_g, on="service")
        await client.join_group("g")
        await node.do("revokePermission", me, "joinLeaveGroup", to_g, on="service")
        assert not await node.do("hasPermission", me, "joinLeaveGroup", to_g, on="service")


async def test_members_in_pages(opened: Opened, node: Node) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(opened.our_client(user_id=f"u{index}", groups=["g"])) for index in range(5)
        ]
        everybody = sorted((each.connection_id, each.user_id) for each in clients)
        pages: list[list[dict[str, Any]]] = await node.do("group", "g", "listConnections", {"maxPageSize": 2})
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [(each["connectionId"], each["userId"]) for page in pages for each in page] == everybody
        few = await node.do("group", "g", "listConnections", {"maxPageSize": 2, "top": 3})
        assert [each["connectionId"] for page in few for each in page] == [each[0] for each in everybody[:3]]
        assert await node.do("group", "nobody", "listConnections", {}) in ([], [[]])


async def test_closing(opened: Opened, node: Node) -> None:
    for arguments in (["closeAllConnections", {"reason": "why not"}], ["closeUserConnections", "ann"]):
        async with opened.our_client(user_id="ann"):
            await node.do(*arguments, on="service")
            assert opened.emulator.connections("chat") == []
    async with opened.our_client(groups=["g"]) as client:
        await node.do("group", "g", "closeAllConnections", {"excluded": [client.connection_id]})
        await node.do("closeConnection", client.connection_id, {"reason": "enough"}, on="service")
        assert opened.emulator.connections("chat") == []


async def test_errors_are_told(opened: Opened, node: Node) -> None:
    with pytest.raises(NodeError, match="Expression expected at position 9") as bad:
        await node.do("sendToAll", "hi", {"filter": "userId eq"}, on="service")
    assert bad.value.status_code == 400
    with pytest.raises(NodeError) as missing:
        await node.do("group", "g", "addConnection", "nobody")
    assert missing.value.status_code == 404
    with pytest.raises(NodeError) as nobody:
        await node.do("group", "g", "addUser", "nobody")
    assert nobody.value.status_code == 404


async def test_its_tokens_open_the_emulator(opened: Opened, node: Node) -> None:
    access = await node.do("getClientAccessToken", {"userId": "ann", "roles": [], "groups": ["g"]}, on="service")
    async with open_node() as other:
        await other.do("openClient", access["url"], {"protocol": "json.reliable.webpubsub.azure.v1"})
        (connected,) = await other.wait_for("connected")
        assert connected["userId"] == "ann"
        assert opened.emulator.groups("chat") == {"g": [connected["connectionId"]]}
