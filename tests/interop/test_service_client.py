"""The official service client beside ours: against the emulator, and by what both put on the wire for the same call."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import trio
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from trio_webpubsub import GroupMessage, open_client
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.emulator import Emulator, open_emulator
from trio_webpubsub.protocol.connection_string import ConnectionString
from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.service import Service, TargetNotFound, open_service

LIMIT = 60.0


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulator on a port."""
    with trio.fail_after(LIMIT):
        async with open_emulator() as emulator:
            yield emulator


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


async def test_messages_of_every_type(emulator: Emulator, official: Any) -> None:
    async with (
        open_client(emulator.client_url("chat", user_id="ann", groups=["g"])) as client,
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


async def test_existence_groups_and_permissions(emulator: Emulator, official: Any) -> None:
    async with open_client(emulator.client_url("chat", user_id="ann", roles=[])) as client:
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


async def test_members_in_pages(emulator: Emulator, official: Any) -> None:
    async with trio.open_nursery() as nursery:
        ids: set[str] = set()

        async def member(index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with open_client(emulator.client_url("chat", user_id=f"u{index}", groups=["g"])) as client:
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


async def test_bad_requests_are_told(emulator: Emulator, official: Any) -> None:
    with pytest.raises(HttpResponseError) as bad:
        await official("send_to_all", "hi", filter="userId eq")
    assert bad.value.status_code == 400
    assert "Invalid syntax for 'the end' at position 9" in str(bad.value)


async def test_closing(emulator: Emulator, official: Any) -> None:
    for name, arguments in (
        ("close_all_connections", []),
        ("close_user_connections", ["ann"]),
        ("close_group_connections", ["g"]),
    ):
        async with open_client(emulator.client_url("chat", user_id="ann", groups=["g"])):
            await official(name, *arguments, reason="why not")
            assert emulator.connections("chat") == []
    async with open_client(emulator.client_url("chat")) as client:
        await official("close_connection", client.connection_id)
        assert emulator.connections("chat") == []


async def test_a_token_of_the_official_client_opens_the_emulator(emulator: Emulator, official: Any) -> None:
    access = await official(
        "get_client_access_token", user_id="ann", roles=["webpubsub.joinLeaveGroup"], groups=["g"], minutes_to_expire=5
    )
    async with open_client(access["url"]) as client:
        assert client.user_id == "ann"
        await client.join_group("h")
        assert emulator.groups("chat").keys() == {"g", "h"}


async def test_the_official_client_signs_in_with_a_token(emulator: Emulator) -> None:
    token = await emulator.credential()()
    expires_on = int(wall_time()) + 3600

    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            assert scopes == ("https://webpubsub.azure.com/.default",)
            return AccessToken(token, expires_on)

    def call() -> dict[str, str]:
        client: Any = WebPubSubServiceClient(emulator.endpoint, "chat", Credential())  # type: ignore[arg-type]
        client.send_to_all("hi", enforce_https=False)
        return dict(client.get_client_access_token(user_id="ann", groups=["g"], enforce_https=False))

    access = await trio.to_thread.run_sync(call)
    async with open_client(access["url"]) as client:
        assert client.user_id == "ann"


async def test_ours_signs_in_with_a_key_credential(emulator: Emulator) -> None:
    key = ConnectionString.parse(emulator.connection_string).access_key
    async with open_service(emulator.endpoint, "chat", credential=AzureKeyCredential(key)) as service:
        assert not await service.user_exists("ann")
        with pytest.raises(TargetNotFound):
            await service.add_user_to_group("g", "ann")


# What goes over the wire for the same call


@dataclass
class Recorder:
    """A server that notes requests and answers all of them well."""

    requests: list[tuple[str, str, list[tuple[str, str]], str | None, bytes, str]] = field(default_factory=list[Any])
    port: int = 0

    @property
    def connection_string(self) -> str:
        return f"Endpoint=http://localhost:{self.port};AccessKey={'key-' * 12};Version=1.0;"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A recorder on a port, in threads of its own."""
    recorder = Recorder()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            content_type = (self.headers.get("content-type") or "").partition(";")[0] or None
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            query = sorted(parse_qsl(url.query))
            recorder.requests.append((self.command, url.path, query, content_type, body, token))
            audience = f"http://localhost:{recorder.port}{self.path}"
            verify_token(token, keys=["key-" * 12], audiences=[audience], now=time.time())
            answer = b'{"value":[]}' if self.command == "GET" else b""
            status = {"GET": 200, "HEAD": 200, "PUT": 200}.get(self.command, 204)
            if url.path.endswith(":send"):
                status = 202
            self.send_response(status)
            if answer:
                self.send_header("content-type", "application/json")
            if status != 204:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    for method in ("HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.do_GET)
    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        recorder.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield recorder
        server.shutdown()
        thread.join()


Calls = tuple[Callable[[Any], Any], Callable[[Service], Awaitable[Any]]]


async def listed(service: Service) -> None:
    async for _ in service.list_connections("a/b", limit=7, page_size=3):
        pass


SAME: list[Calls] = [
    (
        lambda client: client.send_to_all({"a": [1, "ü"]}, excluded=["c 1", "c+2"], filter="userId eq 'o''neil'"),
        lambda service: service.send_to_all({"a": [1, "ü"]}, excluded=["c 1", "c+2"], filter="userId eq 'o''neil'"),
    ),
    (
        lambda client: client.send_to_group("a/b%", "text", content_type="text/plain"),
        lambda service: service.send_to_group("a/b%", "text"),
    ),
    (
        lambda client: client.send_to_user("tenant/ann é", b"\x00", content_type="application/octet-stream"),
        lambda service: service.send_to_user("tenant/ann é", b"\x00"),
    ),
    (
        lambda client: client.send_to_connection("c~1", "text"),
        lambda service: service.send_to_connection("c~1", "text", content_type="application/json"),
    ),
    (
        lambda client: client.close_all_connections(excluded=["c"], reason="a&b"),
        lambda service: service.close_all_connections(excluded=["c"], reason="a&b"),
    ),
    (
        lambda client: client.close_group_connections("g", reason="r"),
        lambda service: service.close_group_connections("g", reason="r"),
    ),
    (
        lambda client: client.close_user_connections("u", excluded=["c"]),
        lambda service: service.close_user_connections("u", excluded=["c"]),
    ),
    (
        lambda client: client.close_connection("c", reason="r r"),
        lambda service: service.close_connection("c", reason="r r"),
    ),
    (lambda client: client.connection_exists("c"), lambda service: service.connection_exists("c")),
    (lambda client: client.group_exists("g g"), lambda service: service.group_exists("g g")),
    (lambda client: client.user_exists("u"), lambda service: service.user_exists("u")),
    (
        lambda client: client.add_connection_to_group("g", "c"),
        lambda service: service.add_connection_to_group("g", "c"),
    ),
    (
        lambda client: client.remove_connection_from_group("g", "c"),
        lambda service: service.remove_connection_from_group("g", "c"),
    ),
    (
        lambda client: client.remove_connection_from_all_groups("c"),
        lambda service: service.remove_connection_from_all_groups("c"),
    ),
    (lambda client: client.add_user_to_group("g", "u"), lambda service: service.add_user_to_group("g", "u")),
    (lambda client: client.remove_user_from_group("g", "u"), lambda service: service.remove_user_from_group("g", "u")),
    (
        lambda client: client.remove_user_from_all_groups("u"),
        lambda service: service.remove_user_from_all_groups("u"),
    ),
    (
        lambda client: client.grant_permission("sendToGroup", "c", target_name="g/1"),
        lambda service: service.grant_permission("sendToGroup", "c", target_name="g/1"),
    ),
    (
        lambda client: client.revoke_permission("joinLeaveGroup", "c", target_name="g"),
        lambda service: service.revoke_permission("joinLeaveGroup", "c", target_name="g"),
    ),
    (
        lambda client: client.has_permission("sendToGroup", "c", target_name="g"),
        lambda service: service.has_permission("sendToGroup", "c", target_name="g"),
    ),
    (lambda client: list(client.list_connections(group="a/b", top=7, maxpagesize=3)), listed),
]


@pytest.mark.parametrize(("theirs", "ours"), SAME)
async def test_both_clients_say_the_same(
    recorder: Recorder, theirs: Callable[[Any], Any], ours: Callable[[Service], Awaitable[Any]]
) -> None:
    official = WebPubSubServiceClient.from_connection_string(recorder.connection_string, hub="chat")
    with trio.fail_after(LIMIT):
        await trio.to_thread.run_sync(partial(theirs, official))
        async with open_service(recorder.connection_string, "chat") as service:
            await ours(service)
    first, second = recorder.requests
    assert first[:4] == second[:4]
    # The same JSON may be written with blanks or without.
    assert first[4].replace(b" ", b"").replace(b"\\u00fc", "ü".encode()) == second[4].replace(b" ", b"")
