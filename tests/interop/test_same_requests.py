"""What goes over the wire: the official clients and ours are asked for the same, and their requests compared."""

from __future__ import annotations

import asyncio
import http.server
import io
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
import trio
from azure.core.credentials import AccessToken
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.service import Service, open_service

LIMIT = 60.0
KEY = "key-" * 12
ROOM = "/api/hubs/chat/chat/rooms/7"
PREVIEW = "api-version=2026-02-01-preview"
MADE = jwt.encode({"exp": 2_000_000_000}, KEY, algorithm="HS256")


@dataclass
class Recorded:
    """A request as it came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def shape(self) -> tuple[object, ...]:
        """What has to be the same for the same call."""
        content_type = self.headers.get("content-type")
        body = json.loads(self.body) if content_type == "application/json" else self.body
        kept = {name: value for name, value in self.headers.items() if name.startswith(("content-type", "x-trace"))}
        return self.method, self.path, sorted(self.query), kept, body


@dataclass
class Recorder:
    """A server that notes requests and answers all of them well."""

    requests: list[Recorded] = field(default_factory=list[Recorded])
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def connection_string(self) -> str:
        return f"Endpoint={self.endpoint};AccessKey={KEY};Version=1.0;"


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
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.requests.append(Recorded(self.command, url.path, parse_qsl(url.query), headers, body))
            answer = b'{"value":[]}' if self.command == "GET" else b""
            status = {"GET": 200, "HEAD": 200, "PUT": 200}.get(self.command, 204)
            if url.path.endswith(":send"):
                status = 202
            if url.path.endswith(":generateToken"):
                status, answer = 200, json.dumps({"token": MADE}).encode()
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


def call_threaded(connection_string: str, call: Callable[[Any], Any]) -> None:
    """Let the synchronous client make a call."""
    with WebPubSubServiceClient.from_connection_string(connection_string, hub="chat") as client:
        result = call(client)
        if isinstance(result, Iterable):
            assert list(result) == []


def call_asynchronous(connection_string: str, call: Callable[[Any], Any]) -> None:
    """Let the asyncio client make it, in an event loop of its own."""

    async def main() -> None:
        async with AsyncWebPubSubServiceClient.from_connection_string(connection_string, hub="chat") as client:
            result = call(client)
            if isinstance(result, AsyncIterator):
                assert [each async for each in result] == []
            else:
                await result

    asyncio.run(main())


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
    (lambda client: client.list_connections(group="a/b", top=7, maxpagesize=3), listed),
    (
        lambda client: client.send_to_all("text", content_type="text/plain", params={"messageTtlSeconds": 60}),
        lambda service: service.send_to_all("text", message_ttl_seconds=60),
    ),
    (
        lambda client: client.send_to_group("g", [None], headers={"x-trace": "7"}),
        lambda service: service.send_to_group("g", [None], headers={"x-trace": "7"}),
    ),
    (
        lambda client: client.send_to_all(io.BytesIO(b"binary"), content_type="application/octet-stream"),
        lambda service: service.send_to_all(io.BytesIO(b"binary")),
    ),
    (
        lambda client: client.send_to_user("u", io.StringIO("text"), content_type="application/octet-stream"),
        lambda service: service.send_to_user("u", io.StringIO("text")),
    ),
    (
        lambda client: client.send_request(HttpRequest("GET", f"{ROOM}?{PREVIEW}")),
        lambda service: service.request("GET", ROOM, params={"api-version": "2026-02-01-preview"}),
    ),
]


@pytest.mark.parametrize("official", [call_threaded, call_asynchronous])
@pytest.mark.parametrize(("theirs", "ours"), SAME)
async def test_both_clients_say_the_same(
    recorder: Recorder,
    official: Callable[[str, Callable[[Any], Any]], None],
    theirs: Callable[[Any], Any],
    ours: Callable[[Service], Awaitable[Any]],
) -> None:
    with trio.fail_after(LIMIT):
        await trio.to_thread.run_sync(official, recorder.connection_string, theirs)
        async with open_service(recorder.connection_string, "chat") as service:
            await ours(service)
    first, second = recorder.requests
    assert first.shape() == second.shape()
    for request in (first, second):
        # What differs from call to call is of the same kind.
        assert uuid.UUID(request.headers["x-ms-client-request-id"])
        assert request.headers.get("content-length", "0") == str(len(request.body))
        assert "transfer-encoding" not in request.headers
        scheme, token = request.headers["authorization"].split(" ")
        assert scheme == "Bearer"
        assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
        query = "&".join(part for part in [urlsplit(token_audience(token)).query] if part)
        assert token_audience(token) == f"{recorder.endpoint}{request.path}?{query}"
        assert sorted(parse_qsl(query)) == sorted(request.query)
        verify_token(token, keys=[KEY], audiences=[token_audience(token)], now=time.time())
    assert second.headers["accept"] == "application/json"


def token_audience(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["aud"])


def test_the_comparison_has_every_operation_that_both_have() -> None:
    public = {name for name in vars(WebPubSubServiceClient) if not name.startswith("_")}
    inherited = {name for kind in WebPubSubServiceClient.__mro__ for name in vars(kind) if not name.startswith("_")}
    names = (public | inherited) & {name for name in dir(Service) if not name.startswith("_")}
    called: set[str] = set()

    class Noting:
        def __getattr__(self, name: str) -> Callable[..., None]:
            called.add(name)
            return lambda *_, **__: None

    for theirs, _ in SAME:
        theirs(Noting())
    assert names <= called
    assert len(names) >= 20


async def test_both_ask_the_service_for_the_same_token(recorder: Recorder) -> None:
    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken("token", int(time.time()) + 3600)

    def theirs() -> None:
        client: Any = WebPubSubServiceClient(recorder.endpoint, "chat", Credential())  # type: ignore[arg-type]  # whose options any will do
        access = client.get_client_access_token(
            user_id="ann é", roles=["r 1", "r2"], groups=["g/1"], minutes_to_expire=5, enforce_https=False
        )
        assert access["token"] == MADE

    with trio.fail_after(LIMIT):
        await trio.to_thread.run_sync(theirs)
        async with open_service(recorder.endpoint, "chat", credential=Credential()) as service:
            access = await service.client_access(
                user_id="ann é", roles=["r 1", "r2"], groups=["g/1"], lifetime=timedelta(minutes=5)
            )
    assert access.token == MADE
    first, second = recorder.requests
    # The official client also says that the client type is the default one.
    assert [each for each in sorted(first.query) if each != ("clientType", "Default")] == sorted(second.query)
    assert (first.method, first.path, first.body) == (second.method, second.path, second.body)
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer token"


async def test_both_sign_the_same_token_for_a_client(recorder: Recorder) -> None:
    official = WebPubSubServiceClient.from_connection_string(recorder.connection_string, hub="chat")
    for protocol in ("Default", "MQTT", "SocketIO"):
        theirs = official.get_client_access_token(
            user_id="ann", roles=["r"], groups=["g"], minutes_to_expire=5, client_protocol=protocol
        )
        async with open_service(recorder.connection_string, "chat") as service:
            ours = await service.client_access(
                user_id="ann",
                roles=["r"],
                groups=["g"],
                lifetime=timedelta(minutes=5),
                client_protocol=protocol.lower(),  # type: ignore[arg-type]  # one of ours, all the same
            )
        assert ours.base_url == theirs["baseUrl"]
        first, second = (
            jwt.decode(token, options={"verify_signature": False}) for token in (theirs["token"], ours.token)
        )
        assert first.keys() == second.keys()
        for name in first:
            assert first[name] == pytest.approx(second[name], abs=5) if name in ("iat", "exp") else second[name]
        assert recorder.requests == []
