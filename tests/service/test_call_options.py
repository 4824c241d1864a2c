"""What every call takes besides its arguments: headers, names that are spelt right; and requests of the user's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from trio.testing import MockClock

from tests.service.peer import KEY, Peer, said, service_of
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.protocol.tokens import verify_token
from trio_webpubsub.service import InvalidRequest, Service, ServiceError, TargetNotFound

# Headers


async def test_headers_are_added_and_take_the_place_of_ours(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [said(400)]
    headers = [("X-Trace", "7"), ("x-trace", "é "), ("Accept", "text/plain"), ("X-MS-Client-Request-Id", "mine")]
    async with service_of(peer, user_agent=" my-program/1 ") as service:
        with pytest.raises(InvalidRequest) as refused:
            await service.send_to_all("hi", headers=headers)
        await service.send_to_all("hi", headers={"User-Agent": "this-call/1"})
    assert refused.value.request_id == "mine"
    first, second = peer.heads
    assert first["x-trace"] == "é"  # the last of two
    assert (first["accept"], first["user-agent"], first["x-ms-client-request-id"]) == (
        "text/plain",
        "my-program/1",
        "mine",
    )
    assert second["user-agent"] == "this-call/1"
    assert second["accept"] == "application/json"


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Authorization": "Bearer canary"}, ValueError),
        ({"host": "x"}, ValueError),
        ({"Content-Length": "7"}, ValueError),
        ({"transfer-encoding": "chunked"}, ValueError),
        ({"upgrade": "websocket"}, ValueError),
        ({"content-type": "text/html"}, ValueError),  # a message has an argument for it
        ({"X-WebPubSub-Metadata-a": "7"}, ValueError),
        ({"a b": "c"}, ValueError),
        ({"": "c"}, ValueError),
        ({"a:": "c"}, ValueError),
        ({"a": "canary\r\nb: c"}, ValueError),
        ({"a": "canary\x00"}, ValueError),
        ({"a": "日本"}, ValueError),
        ({"a": None}, TypeError),
        ({b"a": "b"}, TypeError),
    ],
)
async def test_headers_that_are_not_for_callers(
    autojump_clock: MockClock, peer: Peer, headers: Any, error: type[Exception]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(error, match="header") as refused:
            await service.send_to_all("hi", headers=headers, metadata={"a": "b"})
    assert "canary" not in str(refused.value)
    assert peer.requests == []


# Names of arguments

MISSPELT: list[Callable[[Any], Any]] = [
    lambda service: service.send_to_all("hi", exclude=["c"]),
    lambda service: service.send_to_user("u", "hi", excluded=["c"]),
    lambda service: service.send_to_connection("c", "hi", filter="x"),
    lambda service: service.client_access_url(user="ann"),
    lambda service: service.client_access(minutes_to_expire=5),
    lambda service: service.close_all_connections(user_id="ann"),
    lambda service: service.close_connection("c", excluded=["c"]),
    lambda service: service.add_connection_to_group("g", "c", filter="x"),
    lambda service: service.list_connections("g", top=5),
    lambda service: service.has_permission("sendToGroup", "c", target="g", target_name="g"),
    lambda service: service.health(timeout=5),
]


@pytest.mark.parametrize("call", MISSPELT)
async def test_a_misspelt_argument_is_an_error_at_once(
    autojump_clock: MockClock, peer: Peer, call: Callable[[Any], Any]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(TypeError, match=r"unexpected keyword argument|close_user_connections\(user_id\)"):
            given = call(service)
            assert isinstance(given, Awaitable)  # a list of members would have been given here
            await given
    assert peer.connects == []


# Tokens for clients


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"lifetime": 60}, TypeError, "timedelta, not int"),
        ({"lifetime": timedelta(0)}, ValueError, "positive"),
        ({"lifetime": timedelta(seconds=-1)}, ValueError, "positive"),
        ({"roles": "webpubsub.sendToGroup"}, TypeError, "several"),
        ({"roles": [""]}, ValueError, "role cannot be empty"),
        ({"roles": ["webpubsub.sendToGroups.a***b***"]}, ValueError, "at most 5 stars"),
        ({"roles": [7]}, TypeError, "role is a str"),
        ({"groups": "lobby"}, TypeError, "several"),
        ({"groups": [" "]}, ValueError, "group name"),
        ({"user_id": " "}, ValueError, "user id"),
        ({"user_id": 7}, TypeError, "user id is a str"),
        ({"claims": {"sub": "bo"}}, ValueError, "sub"),
        ({"claims": {"a": float("nan")}}, ValueError, "JSON"),
        ({"claims": {"a": object()}}, TypeError, "JSON"),
        ({"token_headers": {"alg": "none"}}, ValueError, "alg"),
        ({"token_headers": {"kid": 7}}, (TypeError, ValueError), "."),
        ({"client_protocol": "smoke"}, ValueError, "client_protocol"),
    ],
)
@pytest.mark.parametrize("entra", [False, True], ids=["key", "entra"])
async def test_tokens_that_cannot_be_made(
    autojump_clock: MockClock, peer: Peer, arguments: dict[str, Any], error: Any, why: str, entra: bool
) -> None:
    async def token() -> str:
        raise AssertionError

    options: dict[str, Any] = {"text": "https://resource.example", "credential": token} if entra else {}
    async with service_of(peer, **options) as service:
        with pytest.raises((TypeError, ValueError) if entra else error, match="." if entra else why):
            await service.client_access(**arguments)
    assert peer.connects == []


async def test_a_token_holds_what_was_asked_for(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer) as service:
        access = await service.client_access(
            user_id="日/本",
            roles=(role for role in ["webpubsub.sendToGroups.a*", "of.the.future"]),
            groups={"g"},
            lifetime=timedelta(seconds=90.5),
            claims={"plan": ["gold"]},
            token_headers={"kid": "1"},
            client_protocol="socketio",
        )
        now = wall_time()
    audience = "https://resource.example/clients/socketio/hubs/chat"
    claims = verify_token(access.token, keys=[KEY], audiences=[audience], now=now)
    assert access.base_url == "wss://resource.example/clients/socketio/hubs/chat"
    assert access.url == f"{access.base_url}?access_token={access.token}"
    assert access.expires_at == claims["exp"]
    assert claims["exp"] - now == pytest.approx(90.5, abs=1.1)
    assert (claims["sub"], claims["webpubsub.group"], claims["plan"]) == ("日/本", ["g"], ["gold"])
    assert claims["role"] == ["webpubsub.sendToGroups.a*", "of.the.future"]
    assert jwt.get_unverified_header(access.token)["kid"] == "1"


@pytest.mark.parametrize(
    ("lifetime", "minutes"),
    [
        (timedelta(microseconds=1), "1"),
        (timedelta(seconds=59), "1"),
        (timedelta(minutes=1), "1"),
        (timedelta(minutes=1, microseconds=1), "2"),
        (timedelta(days=365), "525600"),
    ],
)
async def test_the_service_makes_tokens_for_whole_minutes(
    autojump_clock: MockClock, peer: Peer, lifetime: timedelta, minutes: str
) -> None:
    async def token() -> str:
        return "token"

    made = jwt.encode({"exp": 2_000_000_000}, KEY, algorithm="HS256")
    peer.answers = [said(200, f'{{"token": "{made}"}}'.encode())]
    async with service_of(peer, "https://resource.example", credential=token) as service:
        access = await service.client_access(
            user_id="a&b", roles=["r 1", "r2"], groups=["g/1"], lifetime=lifetime, client_protocol="mqtt"
        )
    assert (access.token, access.expires_at) == (made, 2_000_000_000)
    assert access.base_url == "wss://resource.example/clients/mqtt/hubs/chat"
    assert peer.methods == ["POST"]
    assert peer.targets == [
        "/api/hubs/chat/:generateToken?userId=a%26b&role=r%201&role=r2&group=g%2F1"
        f"&minutesToExpire={minutes}&clientType=MQTT&api-version=2024-12-01"
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": ""}', b'{"token": 7}', b"<html>", b"\xff", b"[" * 5000])
async def test_an_answer_without_a_token_is_an_error(autojump_clock: MockClock, peer: Peer, body: bytes) -> None:
    async def token() -> str:
        return "token"

    peer.answers = [said(200, body)]
    async with service_of(peer, "https://resource.example", credential=token) as service:
        with pytest.raises(ServiceError, match="no token") as failed:
            await service.client_access()
    assert failed.value.request_id == peer.heads[0]["x-ms-client-request-id"]


# Requests that have no method


async def test_a_request_of_the_users_own(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [said(200, b"{}", x_some="thing"), said(503), said(200)]
    async with service_of(peer) as service:
        answer = await service.request(
            "patch",
            "/api/hubs/chat/chat/rooms/a%2Fb",
            params=[("a", "1 &"), ("a", "ü")],
            headers={"content-type": "application/merge-patch+json"},
            content='{"ü": 1}',
        )
        assert (answer.status_code, answer.body, answer.headers["x-some"]) == (200, b"{}", "thing")
        assert answer.request_id == peer.heads[0]["x-ms-client-request-id"]
        await service.request("GET", "/api/x", params={"API-Version": "2026-02-01-preview"}, content=b"")
    assert peer.methods == ["PATCH", "GET", "GET"]
    assert peer.targets[0] == "/api/hubs/chat/chat/rooms/a%2Fb?a=1%20%26&a=%C3%BC&api-version=2024-12-01"
    assert peer.targets[1] == peer.targets[2] == "/api/x?API-Version=2026-02-01-preview"
    assert peer.bodies[0] == '{"ü": 1}'.encode()
    assert peer.heads[0]["content-type"] == "application/merge-patch+json"
    audience = f"https://resource.example{peer.targets[0]}"
    assert verify_token(peer.heads[0]["authorization"][7:], keys=[KEY], audiences=[audience], now=wall_time())


async def test_an_answer_has_a_limit(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [said(200, bytes(5_000_000)), said(200, bytes(4_000_000))]
    async with service_of(peer) as service:
        with pytest.raises(ServiceError, match="the answer is too long"):
            await service.request("GET", "/api/x")
        assert len((await service.request("GET", "/api/x")).body) == 4_000_000


async def test_a_404_to_a_request_of_the_users_own_is_an_error(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [said(404), said(503), said(503)]
    async with service_of(peer) as service:
        with pytest.raises(TargetNotFound):
            await service.request("HEAD", "/api/x")
        with pytest.raises(ServiceError):
            await service.request("POST", "/api/x")
    assert len(peer.methods) == 2


@pytest.mark.parametrize(
    ("method", "path", "options", "error"),
    [
        ("GET", "api", {}, ValueError),
        ("GET", "https://elsewhere.example/api", {}, ValueError),
        ("GET", "/a b", {}, ValueError),
        ("GET", "/ü", {}, ValueError),
        ("GET", "/a?b", {}, ValueError),
        ("GET", "/a#b", {}, ValueError),
        ("GET", "/a/../b", {}, ValueError),
        ("GET", "/a\r\nb", {}, ValueError),
        ("G T", "/a", {}, ValueError),
        ("", "/a", {}, ValueError),
        ("GET", "/a", {"params": {"a": 1}}, TypeError),
        ("GET", "/a", {"content": 7}, TypeError),
        ("GET", "/a", {"content": {"a": 1}}, TypeError),
    ],
)
async def test_requests_that_cannot_be_made(
    autojump_clock: MockClock, peer: Peer, method: str, path: str, options: dict[str, Any], error: type[Exception]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(error):
            await service.request(method, path, **options)
    assert peer.requests == []


# Questions


@pytest.mark.parametrize("status", [200, 204, 404])
async def test_only_a_404_means_no(autojump_clock: MockClock, peer: Peer, status: int) -> None:
    peer.answers = [said(status)] * 4
    async with service_of(peer) as service:
        answers = await all_questions(service)
    assert answers == [status != 404] * 4
    assert peer.methods == ["HEAD"] * 4


@pytest.mark.parametrize("status", [301, 400, 401, 403, 405, 410, 500])
async def test_anything_else_is_an_error(autojump_clock: MockClock, peer: Peer, status: int) -> None:
    peer.answers = [said(status)] * 2
    async with service_of(peer, retries=0) as service:
        with pytest.raises(ServiceError) as failed:
            await all_questions(service)
    assert failed.value.status_code == status


async def all_questions(service: Service) -> list[bool]:
    return [
        await service.connection_exists("c"),
        await service.group_exists("g"),
        await service.user_exists("u"),
        await service.has_permission("sendToGroup", "c", target_name="g"),
    ]
