"""The service client, against a server that notes what came and answers as told."""

from __future__ import annotations

import logging
import math
import ssl
import traceback
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import h11
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.http_server import Server, reply
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.protocol.errors import WebPubSubError
from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.protocol.urls import ClientUrl
from trio_webpubsub.service import (
    AuthenticationFailed,
    InvalidRequest,
    OutcomeUnknown,
    Service,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
    open_service,
)

KEY = "canary-access-key-canary-access-key-canary-access-key"
CONNECTION_STRING = f"Endpoint=http://localhost:8080;AccessKey={KEY};Version=1.0;"


class Peer(Server):
    """Answers every request alike, and keeps the requests' heads."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, self.give_answer)
        self.heads: list[h11.Request] = []
        self.status = 202
        self.body = b""

    async def give_answer(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        self.heads.append(request)
        await stream.send_all(reply(connection, self.body, ("location", "http://elsewhere/"), status=self.status))

    def header(self, name: str, request: int = -1) -> str | None:
        return {name.decode(): value.decode() for name, value in self.heads[request].headers}.get(name)

    def token(self, request: int = -1) -> str:
        return (self.header("authorization", request) or "").removeprefix("Bearer ")


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


@asynccontextmanager
async def service_of(peer: Any, **options: Any) -> AsyncGenerator[Service]:
    async with open_service(CONNECTION_STRING, "chat", connector=peer, **options) as service:
        yield service


SENDS: list[tuple[Callable[[Service], Awaitable[None]], bytes]] = [
    (
        lambda service: service.send_to_all("hi", excluded=["c 1"], filter="x", message_ttl_seconds=3),
        b"/api/hubs/chat/:send?excluded=c%201&filter=x&messageTtlSeconds=3&api-version=2024-12-01",
    ),
    (
        lambda service: service.send_to_group("a/b", "hi", excluded=["c"], filter="x", message_ttl_seconds=3),
        b"/api/hubs/chat/groups/a%2Fb/:send?excluded=c&filter=x&messageTtlSeconds=3&api-version=2024-12-01",
    ),
    (
        lambda service: service.send_to_user("a%", "hi", filter="x", message_ttl_seconds=3),
        b"/api/hubs/chat/users/a%25/:send?filter=x&messageTtlSeconds=3&api-version=2024-12-01",
    ),
    (
        lambda service: service.send_to_connection("c", "hi", message_ttl_seconds=3),
        b"/api/hubs/chat/connections/c/:send?messageTtlSeconds=3&api-version=2024-12-01",
    ),
]


@pytest.mark.parametrize(("send", "target"), SENDS)
async def test_what_goes_over_the_wire(
    autojump_clock: MockClock, peer: Peer, send: Callable[[Service], Awaitable[None]], target: bytes
) -> None:
    async with service_of(peer) as service:
        await send(service)
        now = wall_time()
    assert peer.connects == [("localhost", 8080, False)]
    assert peer.heads[0].method == b"POST"
    assert peer.requests == [(0, target, b"hi")]
    assert peer.header("host") == "localhost:8080"
    assert peer.header("content-type") == "text/plain"
    assert peer.header("content-length") == "2"
    assert peer.header("transfer-encoding") is None
    # Signed for the exact address, and for a short time.
    audiences = [f"http://localhost:8080{target.decode()}"]
    assert verify_token(peer.token(), keys=[KEY], audiences=audiences, now=now, leeway=0)["exp"] <= now + 301


@pytest.mark.parametrize(
    ("message", "content_type", "sent_as", "body"),
    [
        ({"a": 1}, None, "application/json", b'{"a":1}'),
        (None, None, "application/json", b"null"),
        (b"\xff", None, "application/octet-stream", b"\xff"),
        ("", None, "text/plain", b""),
        ("hi", "application/json", "application/json", b'"hi"'),
    ],
)
@pytest.mark.parametrize("method", ["send_to_all", "send_to_group", "send_to_user", "send_to_connection"])
async def test_the_type_of_a_message_decides_how_it_is_sent(
    autojump_clock: MockClock,
    peer: Peer,
    method: str,
    message: object,
    content_type: str | None,
    sent_as: str,
    body: bytes,
) -> None:
    async with service_of(peer) as service:
        whom = [] if method == "send_to_all" else ["x"]
        await getattr(service, method)(*whom, message, content_type=content_type)
    assert (peer.header("content-type"), peer.requests[0][2]) == (sent_as, body)
    assert peer.header("content-length") == str(len(body))


WRONG: list[Callable[[Any], Awaitable[object]]] = [
    lambda service: service.send_to_group(" ", "hi"),
    lambda service: service.send_to_all("hi", message_ttl_seconds=301),
    lambda service: service.send_to_user("u", {}, content_type="text/plain"),
    lambda service: service.send_to_connection("..", "hi"),
    lambda service: service.send_to_all("hi", exclude=["c"]),
    lambda service: service.client_access_url(roles="admin"),
    lambda service: service.client_access_url(lifetime=60),
    lambda service: service.client_access_url(lifetime=timedelta(0)),
]


@pytest.mark.parametrize("call", WRONG)
async def test_nothing_wrong_is_sent(
    autojump_clock: MockClock, peer: Peer, call: Callable[[Any], Awaitable[object]]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises((ValueError, TypeError)):
            await call(service)
    assert peer.connects == []


async def test_every_request_has_an_id_of_its_own(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        await service.send_to_all("1")
        await service.send_to_all("2")
    first, second = (uuid.UUID(peer.header("x-ms-client-request-id", request)) for request in (0, 1))
    assert first != second


async def test_a_token_is_kept_until_shortly_before_its_end(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        await service.send_to_all("")
        await trio.sleep(239)
        await service.send_to_all("")
        await service.send_to_group("g", "")
        await trio.sleep(1)
        await service.send_to_all("")
    tokens = [peer.token(request) for request in range(4)]
    assert tokens[0] == tokens[1]
    assert len({*tokens}) == 3


async def test_tokens_kept_are_bounded(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        await service.send_to_user("0", "")
        await trio.sleep(2)  # a token made later looks different
        for number in range(1, 1000):
            await service.send_to_user(str(number), "")
        await service.send_to_user("0", "")
        assert peer.token() == peer.token(0)
        await service.send_to_user("1000", "")  # this is one too many
        await service.send_to_user("0", "")
        assert peer.token() != peer.token(0)


async def test_a_client_access_url_connects_its_user(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        made = await service.client_access_url(
            user_id="ann", roles=["webpubsub.sendToGroup"], groups=["g"], lifetime=timedelta(minutes=5)
        )
        now = wall_time()
    url = ClientUrl.parse(made)
    assert str(url) == "ws://localhost:8080/client/hubs/chat?access_token=***"
    audience = "http://localhost:8080/client/hubs/chat"
    claims = verify_token(url.access_token or "", keys=[KEY], audiences=[audience], now=now)
    assert (claims["sub"], claims["role"], claims["webpubsub.group"]) == ("ann", ["webpubsub.sendToGroup"], ["g"])
    assert claims["exp"] - claims["iat"] in (300, 301)
    assert peer.connects == []


async def test_a_client_access_url_is_anonymous_and_for_an_hour_by_default(
    autojump_clock: MockClock, peer: Peer
) -> None:
    async with service_of(peer) as service:
        url = ClientUrl.parse(await service.client_access_url())
        now = wall_time()
    audience = "http://localhost:8080/client/hubs/chat"
    claims = verify_token(url.access_token or "", keys=[KEY], audiences=[audience], now=now)
    assert claims.keys() == {"aud", "iat", "exp"}
    assert claims["exp"] - claims["iat"] in (3600, 3601)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, TargetNotFound),
        (409, ServiceError),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (429, Throttled),
        (503, ServiceError),
        (599, ServiceError),
    ],
)
async def test_an_error_has_the_kind_of_its_status(
    autojump_clock: MockClock, peer: Peer, status: int, kind: type[ServiceError]
) -> None:
    peer.status = status
    peer.body = b'{"code":"Error.Some","message":"because"}'
    async with service_of(peer) as service:
        with pytest.raises(WebPubSubError) as caught:
            await service.send_to_all("hi")
        error = caught.value
        assert type(error) is kind
        assert isinstance(error, ServiceError)
        request_id = peer.header("x-ms-client-request-id")
        assert (error.status_code, error.error_code, error.message) == (status, "Error.Some", "because")
        assert error.request_id == request_id
        assert str(error) == f"{status} Error.Some: because (request {request_id})"
        # The connection is still good, and nobody followed anything.
        peer.status = 202
        await service.send_to_all("hi")
    assert len(peer.connects) == 1


async def test_a_redirect_is_not_followed(autojump_clock: MockClock, peer: Peer) -> None:
    peer.status = 307
    async with service_of(peer) as service:
        with pytest.raises(ServiceError, match="redirect, which is not followed") as caught:
            await service.send_to_all("hi")
    assert caught.value.status_code == 307
    assert len(peer.connects) == 1


async def test_an_error_without_body(autojump_clock: MockClock, peer: Peer) -> None:
    peer.status = 401
    async with service_of(peer) as service:
        with pytest.raises(AuthenticationFailed, match=r"^401: Unauthorized \(request ") as caught:
            await service.send_to_all("hi")
    assert caught.value.__notes__ == [
        "Is the access key, or the identity's role, one of this endpoint's resource? Is this machine's clock right?"
    ]


def test_an_error_may_have_nothing_but_a_message() -> None:
    assert str(ServiceError("because")) == "because"


async def test_an_endless_error_is_cut_off(autojump_clock: MockClock, peer: Peer) -> None:
    peer.status, peer.body = 500, b"x" * 10_000_000
    async with service_of(peer) as service:
        with pytest.raises(ServiceError) as caught:
            await service.send_to_all("hi")
        assert len(str(caught.value)) < 700
        peer.status, peer.body = 202, b""
        await service.send_to_all("hi")


async def refuse(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise ConnectionRefusedError("nobody there")


async def hang(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_service_that_is_not_there() -> None:
    async with service_of(refuse, retries=0) as service:
        with pytest.raises(ServiceUnreachable, match="no connection to http://localhost:8080: nobody there") as caught:
            await service.send_to_all("hi")
    assert caught.value.status_code is None
    assert caught.value.error_code is None


async def test_a_service_that_lets_nobody_in(autojump_clock: MockClock) -> None:
    async with service_of(hang, request_timeout=7, retries=0) as service:
        with pytest.raises(ServiceUnreachable, match="no answer within 7 s"):
            await service.send_to_all("hi")
    assert trio.current_time() == 7


async def test_a_connectors_own_deadline_is_not_told_as_ours(autojump_clock: MockClock) -> None:
    async def connector(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
        with trio.fail_after(1):
            await trio.sleep_forever()
        raise AssertionError

    async with service_of(connector, request_timeout=7, retries=0) as service:
        with pytest.raises(ServiceUnreachable, match="TooSlowError"):
            await service.send_to_all("hi")


async def test_a_service_that_does_not_answer(autojump_clock: MockClock, peer: Peer) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await trio.sleep_forever()

    peer.answer = answer
    async with service_of(peer, request_timeout=7) as service:
        with pytest.raises(OutcomeUnknown, match="no answer within 7 s"):
            await service.send_to_all("hi")
    assert trio.current_time() == 7


async def test_a_service_that_answers_slowly(autojump_clock: MockClock, peer: Peer) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        for byte in reply(connection, b"x" * 100):
            await trio.sleep(1)
            await stream.send_all(bytes([byte]))

    peer.answer = answer
    async with service_of(peer, request_timeout=math.inf) as service:
        await service.send_to_all("hi")
    assert trio.current_time() > 100
    async with service_of(peer) as service:
        with pytest.raises(OutcomeUnknown, match="no answer within 30 s"):
            await service.send_to_all("hi")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 20", b"SMTP ready\r\n", b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n"]
)
async def test_a_service_that_breaks_off(autojump_clock: MockClock, peer: Peer, answer: bytes) -> None:
    async def give(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.send_all(answer)
        await stream.aclose()

    peer.answer = give
    async with service_of(peer) as service:
        with pytest.raises(OutcomeUnknown) as caught:
            await service.send_to_all("hi")
    assert caught.value.status_code is None


async def test_a_call_that_never_got_a_connection_sent_nothing(autojump_clock: MockClock, peer: Peer) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await trio.sleep(20)
        await stream.send_all(reply(connection))

    async def occupy() -> None:
        await long.send_to_all("hi")

    peer.answer = answer
    async with service_of(peer) as long:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(occupy)
            await trio.sleep(1)
            with trio.move_on_after(5) as scope:
                await long.send_to_all("waits")
        assert scope.cancelled_caught
    assert b"waits" not in [body for _, _, body in peer.requests]


async def test_a_call_can_be_cancelled(autojump_clock: MockClock, peer: Peer) -> None:
    async def answer(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await trio.sleep(20)
        await stream.send_all(reply(connection))

    peer.answer = answer
    async with service_of(peer) as service:
        with trio.move_on_after(5):
            await service.send_to_all("hi")
        assert trio.current_time() == 5
        await service.send_to_all("hi")
    assert len(peer.connects) == 2


async def test_after_the_block_calls_are_refused(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        await service.send_to_all("hi")
    with pytest.raises(trio.ClosedResourceError):
        await service.send_to_all("hi")
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()


@pytest.mark.parametrize(
    ("connection_string", "hub", "options", "why"),
    [
        ("nonsense", "chat", {}, "connection string"),
        (f"Endpoint=http://h;AccessKey={KEY}", "chat", {}, "not https"),
        (f"Endpoint=http://10.0.0.1:8080;AccessKey={KEY}", "chat", {}, "not https"),
        (CONNECTION_STRING, "", {}, "hub name"),
        (CONNECTION_STRING, "chat", {"request_timeout": 0}, "request_timeout is"),
        (CONNECTION_STRING, "chat", {"request_timeout": math.nan}, "request_timeout is"),
    ],
)
async def test_what_cannot_be_opened(connection_string: str, hub: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        async with open_service(connection_string, hub, **options):
            raise AssertionError
    assert "canary" not in str(caught.value)


async def test_an_environment_variable_that_is_not_set_is_told() -> None:
    missing: Any = None
    for credential in (None, "key"):
        with pytest.raises(TypeError, match="a connection string is a str, not NoneType"):
            async with open_service(missing, "chat", credential=credential):
                pass


def test_a_misspelt_option_is_an_error() -> None:
    options: dict[str, Any] = {"request_timeuot": 5}
    with pytest.raises(TypeError):
        open_service(CONNECTION_STRING, "chat", **options)


async def test_insecure_endpoints_can_be_allowed(autojump_clock: MockClock, peer: Peer) -> None:
    text = f"Endpoint=http://emulator.example:81;AccessKey={KEY}"
    async with open_service(text, "chat", allow_insecure=True, connector=peer) as service:
        await service.send_to_all("hi")
    assert peer.connects == [("emulator.example", 81, False)]


async def test_a_secure_endpoint_speaks_tls(autojump_clock: MockClock, peer: Peer) -> None:
    async with open_service(f"Endpoint=https://H.example;AccessKey={KEY}", "chat", connector=peer) as service:
        await service.send_to_all("hi")
        url = await service.client_access_url()
    assert peer.connects == [("h.example", 443, True)]
    assert url.startswith("wss://h.example/client/hubs/chat?access_token=")


async def test_a_service_says_what_it_is(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        assert (service.hub, service.endpoint) == ("chat", "http://localhost:8080")
        assert repr(service) == "<Service of hub 'chat' at http://localhost:8080>"


async def test_every_call_is_logged(autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_webpubsub.service")
    async with service_of(peer) as service:
        await service.send_to_group("g", "hi")
    async with service_of(refuse, retries=0) as service:
        with pytest.raises(ServiceUnreachable):
            await service.send_to_all("hi")
    first, second = (record.getMessage() for record in caplog.records if record.name == "trio_webpubsub.service")
    assert first.startswith("POST /api/hubs/chat/groups/g/:send: 202, ")
    assert first.endswith(f"request {peer.header('x-ms-client-request-id')}")
    assert second.startswith("POST /api/hubs/chat/:send: no answer, ")


@pytest.mark.parametrize("fault", ["401", "cut", "refused"])
async def test_no_error_and_no_log_tells_a_secret(
    autojump_clock: MockClock, peer: Peer, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    async def cut(server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request) -> None:
        await stream.aclose()

    caplog.set_level(logging.DEBUG)
    peer.status = 401
    if fault == "cut":
        peer.answer = cut
    async with service_of(refuse if fault == "refused" else peer) as service:
        with pytest.raises(ServiceError) as caught:
            await service.send_to_all("hi")
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + repr(service) + caplog.text
    assert "canary" not in told
    assert "eyJ" not in told  # as every token begins
    assert "POST" in told
