"""Whatever is passed in: it is named at the door, with what is right, and nothing is sent."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import trio

from tests.case_names import shown
from trio_webpubsub.service import KeyCredential, Role, Service, open_service

CONNECTION_STRING = "Endpoint=http://localhost:8080;AccessKey=canary;Version=1.0;"
ENDPOINT = "http://localhost:8080"


async def nobody(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
    raise AssertionError("something was sent")


async def wants_more(scope: str) -> str:
    return scope


def not_async() -> str:
    return "token"


async def coroutine() -> str:
    return "token"


PLACES: list[tuple[Any, Any, dict[str, Any], str]] = [
    (None, "chat", {}, "a connection string is a str, not NoneType"),
    (CONNECTION_STRING.encode(), "chat", {}, "a connection string is a str, not bytes"),
    ("", "chat", {}, "has no Endpoint: it reads Endpoint="),
    ("localhost:8080", "chat", {}, "not of the form Key=Value: it reads Endpoint="),
    ("chat", CONNECTION_STRING, {}, "not of the form Key=Value"),
    ("wss://localhost/client/hubs/chat?access_token=canary", "chat", {}, "the URL of a client; .* connection string"),
    (ENDPOINT, "chat", {}, "it takes a credential"),
    (CONNECTION_STRING, "chat", {"credential": "canary"}, "the endpoint alone"),
    (CONNECTION_STRING, None, {}, "a hub name is a str, not NoneType"),
    (CONNECTION_STRING, "my-hub", {}, "'my-hub' cannot be a hub name: allowed is"),
    (CONNECTION_STRING, b"chat", {}, "a hub name is a str, not bytes"),
    (ENDPOINT, "chat", {"credential": b"canary"}, "credential is an access key, an object with a .key"),
    (ENDPOINT, "chat", {"credential": {"key": "canary"}}, "credential is an access key, an object with a .key"),
    (ENDPOINT, "chat", {"credential": KeyCredential}, "KeyCredential only describes .* or an access key as a str"),
    (ENDPOINT, "chat", {"credential": Service}, "credential is the class Service; pass an instance of it"),
    (ENDPOINT, "chat", {"credential": wants_more}, "credential is called without arguments .*'scope'"),
]


@pytest.mark.parametrize(("place", "hub", "options", "why"), PLACES, ids=range(len(PLACES)))
async def test_a_wrong_place_is_told(place: Any, hub: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why) as caught:
        async with open_service(place, hub, connector=nobody, **options):
            pytest.fail("it is not opened")
    assert "canary" not in str(caught.value)


async def test_a_credential_that_was_called_already_is_told() -> None:
    called: Any = coroutine()
    with pytest.raises(TypeError, match="credential is an async function; this is one that was called already"):
        async with open_service(ENDPOINT, "chat", credential=called, connector=nobody):
            pytest.fail("it is not opened")


async def test_a_credential_that_is_not_async_is_told_when_it_is_asked() -> None:
    wrong: Any = not_async
    async with open_service(ENDPOINT, "chat", credential=wrong, connector=nobody) as service:
        with pytest.raises(TypeError, match="has to be async; it gave str") as caught:
            await service.health()
    assert type(caught.value) is TypeError


OPTIONS: list[dict[str, Any]] = [
    *({"request_timeout": value} for value in (None, 0, -1, "3", math.nan, True)),
    *({"retries": value} for value in (None, -1, "3", 1.5, math.inf, True)),
    *({"max_connections": value} for value in (None, 0, "3", 1.5, math.inf)),
    {"retry_sends": "no"},
    {"allow_insecure": "false"},
    {"log_payloads": None},
    {"api_version": ""},
    {"user": 5},
    {"user": ""},
    {"scope": None},
    {"user_agent": 5},
    {"reverse_proxy_endpoint": "wss://proxy"},
    {"proxy": 5},
    {"proxy": {"https": "http://proxy"}},
    {"ssl_context": False},
    {"http_client": 5},
    {"connector": None},
    {"connector": coroutine},
]


@pytest.mark.parametrize("options", OPTIONS, ids=shown)
async def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=name):
        async with open_service(CONNECTION_STRING, "chat", **options):
            pytest.fail("it is not opened")


Call = Callable[[Any], Awaitable[object]]

CALLS: list[tuple[str, Call]] = [
    ("a group name is a str", lambda it: it.send_to_group(None, "hi")),
    ("be a group name", lambda it: it.send_to_group("", "hi")),
    ("a user id is a str", lambda it: it.send_to_user(5, "hi")),
    ("a connection id cannot be empty", lambda it: it.send_to_connection("", "hi")),
    ("excluded takes several", lambda it: it.send_to_all("hi", excluded="c-1")),
    ("excluded takes several", lambda it: it.send_to_all("hi", excluded=None)),
    ("a connection id is a str, not bytes", lambda it: it.send_to_all("hi", excluded=[b"c-1"])),
    ("a filter cannot be empty", lambda it: it.send_to_all("hi", filter="")),
    ("message_ttl_seconds is a number", lambda it: it.send_to_all("hi", message_ttl_seconds=301)),
    ("message_ttl_seconds is an int", lambda it: it.send_to_all("hi", message_ttl_seconds=timedelta(seconds=1))),
    ("metadata is a mapping", lambda it: it.send_to_all("hi", metadata=[("a", "b")])),
    ("metadata is a mapping", lambda it: it.send_to_all("hi", metadata="a")),
    ("headers is a mapping, or a sequence of pairs", lambda it: it.send_to_all("hi", headers="a: b")),
    ("headers is a mapping, or a sequence of pairs", lambda it: it.send_to_all("hi", headers=5)),
    ("headers is a mapping, or a sequence of pairs", lambda it: it.send_to_all("hi", headers="")),
    ("headers is a mapping, or a sequence of pairs", lambda it: it.health(headers=None)),
    ("log_payloads is True or False, not 'str'", lambda it: it.health(log_payloads="no")),
    ("log_payloads is True or False, not 'int'", lambda it: it.client_access_url(log_payloads=1)),
    ("sent as one of", lambda it: it.send_to_all("hi", content_type="text")),
    ("unexpected keyword argument 'timeout'", lambda it: it.send_to_all("hi", timeout=5)),
    ("has no form in JSON", lambda it: it.send_to_all(coroutine)),
    ("gives bytes, not str", lambda it: it.send_to_all(letter for letter in "hi")),
    ("groups takes several", lambda it: it.add_connections_to_groups("lobby")),
    ("groups takes several", lambda it: it.remove_connections_from_groups(None)),
    ("there are no groups", lambda it: it.add_connections_to_groups([])),
    ("permission is .*none of", lambda it: it.grant_permission("webpubsub.sendToGroup", "c", target_name="g")),
    ("permission is .*none of", lambda it: it.has_permission(["sendToGroup"], "c", target_name="g")),
    ("closes the connections of all users", lambda it: it.close_all_connections(user_id="ann")),
    ("a reason is a str", lambda it: it.close_connection("c", reason=5)),
    ("roles takes several", lambda it: it.client_access_url(roles="webpubsub.sendToGroup")),
    ("roles takes several", lambda it: it.client_access_url(roles=None)),
    ("a role is a str, not function", lambda it: it.client_access_url(roles=[Role.send_to_group])),
    ("groups takes several", lambda it: it.client_access_url(groups=b"lobby")),
    ("lifetime of a token is a timedelta", lambda it: it.client_access_url(lifetime=60)),
    ("claims is a mapping", lambda it: it.client_access_url(claims=["a"])),
    ("JSON has no form", lambda it: it.client_access_url(claims={"a": object()})),
    ("the token cannot be made", lambda it: it.client_access_url(claims={"a": math.nan})),
    ("headers of the token is a mapping", lambda it: it.client_access_url(token_headers=["a"])),
    ("client_protocol is .*none of", lambda it: it.client_access_url(client_protocol=[])),
]


@pytest.mark.parametrize(("why", "call"), CALLS, ids=range(len(CALLS)))
async def test_a_wrong_argument_is_named(why: str, call: Call) -> None:
    async with open_service(CONNECTION_STRING, "chat", connector=nobody) as service:
        with pytest.raises((TypeError, ValueError), match=why):
            await call(service)


REQUESTS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("a method is a str, not NoneType", (None, "/api/x"), {}),
    ("a method is a str, not bytes", (b"GET", "/api/x"), {}),
    ("a method is a word, such as GET", ("/api/x", "GET"), {}),
    ("a path is a str", ("GET", None), {}),
    ("a path is a str", ("GET", b"/api/x"), {}),
    ("a path starts with a slash", ("GET", "https://x/api"), {}),
    ("no query .that is params.", ("GET", "/api/x?a=b"), {}),
    ("a path starts with a slash", ("GET", "/api/../x"), {}),
    *(
        ("params is a mapping, or a sequence of pairs", ("GET", "/api/x"), {"params": params})
        for params in ("a=b", b"a=b", None, 5, ("a", "b"), ["ab"], [("a", "b", "c")], [5], [None])
    ),
    ("a value in params is a str, not int", ("GET", "/api/x"), {"params": {"a": 1}}),
    ("a value in params is a str, not list", ("GET", "/api/x"), {"params": {"a": ["b"]}}),
    ("a value in params is a str, not NoneType", ("GET", "/api/x"), {"params": [("a", None)]}),
    ("a name in params is a str, not bytes", ("GET", "/api/x"), {"params": {b"a": "b"}}),
    ("the value in params holds a lone surrogate", ("GET", "/api/x"), {"params": {"a": "\ud800"}}),
    *(
        ("content is a str or bytes-like, not", ("POST", "/api/x"), {"content": content})
        for content in ({"a": 1}, None, 5, [b"a"])
    ),
    ("the content holds a lone surrogate", ("POST", "/api/x"), {"content": "\ud800"}),
    ("unexpected keyword argument 'json'", ("POST", "/api/x"), {"json": {}}),
]


@pytest.mark.parametrize(("why", "arguments", "options"), REQUESTS, ids=range(len(REQUESTS)))
async def test_a_request_of_ones_own_is_checked(why: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    async with open_service(CONNECTION_STRING, "chat", connector=nobody) as service:
        with pytest.raises((TypeError, ValueError), match=why):
            await service.request(*arguments, **options)


@pytest.mark.parametrize("pattern", [None, 5, b"a", "", "a" * 1025])
def test_a_pattern_of_a_role_is_a_text(pattern: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="pattern"):
        Role.send_to_groups(pattern)


def test_a_service_client_is_not_made_by_hand() -> None:
    by_hand: Any = Service
    with pytest.raises(TypeError, match=r"async with open_service\(\.\.\.\) as service"):
        by_hand(CONNECTION_STRING, "chat")
