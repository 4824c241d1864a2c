"""Limits and errors of the REST API, as they come over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from tests.emulator.peer import open_peer
from tests.listener.peers import read_answer
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, Emulator, HubLimits, Limits, open_emulator
from trio_webpubsub.protocol.tokens import request_token
from trio_webpubsub.service import AuthenticationFailed, ServiceError, open_service

SECOND = "secondary-access-key-secondary-access-key-secondary-key"


class Caller:
    """Sends requests that are signed, and nothing else."""

    def __init__(self, emulator: Emulator, client: httpx.AsyncClient) -> None:
        self._emulator = emulator
        self._client = client

    async def __call__(self, method: str, target: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        url = f"{self._emulator.endpoint}/api/hubs/chat/{target}"
        token = request_token(DEFAULT_ACCESS_KEY, url=url, now=wall_time())
        given = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): each for name, each in headers.items()}}
        return await self._client.request(method, url, content=content, headers=given)


@asynccontextmanager
async def calling(**options: Any) -> AsyncGenerator[tuple[Emulator, Caller]]:
    async with (
        open_emulator(in_memory=True, **options) as emulator,
        httpx.AsyncClient(transport=emulator.http_transport) as client,
    ):
        yield emulator, Caller(emulator, client)


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()
    assert response.headers["x-ms-error-code"] == error["code"]
    assert int(response.headers["content-length"]) == len(response.content)
    return error


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 50_000_000])
async def test_a_message_that_is_too_large_is_bad(autojump_clock: MockClock, size: int) -> None:
    async with calling() as (_, call):
        response = await call("POST", ":send", bytes(size), content_type="application/octet-stream")
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["target"]) == ("Error.BadRequest", "Content-Length")
        assert "Content-Length header is invalid" in error["message"]
        assert (await call("POST", ":send", bytes(1024 * 1024))).status_code == 202


async def test_how_large_a_message_may_be_is_an_option(autojump_clock: MockClock) -> None:
    async with calling(listener_limits=Limits(message_size=10)) as (emulator, call):
        assert (await call("POST", ":send", bytes(10))).status_code == 202
        assert (await call("POST", ":send", bytes(11))).status_code == 400
        groups = json.dumps({"groups": ["a"]}).encode()
        response = await call("POST", ":addToGroups", groups, content_type="application/json")
        assert response.status_code == 400
        async with open_peer(emulator) as peer:
            await peer.send(type="sendToGroup", group="lobby", dataType="text", data="x" * 10)
            assert (await peer.closed())[0] == 1009


async def test_a_body_without_a_length_is_bad(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator, await emulator.connector("127.0.0.1", 1, None) as stream:
        token = request_token(DEFAULT_ACCESS_KEY, url=f"{emulator.endpoint}/api/hubs/chat/:send", now=wall_time())
        head = f"POST /api/hubs/chat/:send HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
        await stream.send_all(f"{head}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".encode())
        status, body = await read_answer(stream)
        assert (status, json.loads(body)["target"]) == (400, "Content-Length")


@pytest.mark.parametrize(
    ("method", "target", "status", "code", "about"),
    [
        ("PUT", "groups/g/connections/nobody", 404, "Error.Connection.NotExisted", "Connection"),
        ("PUT", "users/nobody/groups/g", 404, "Warning.User.NotExisted", "User"),
        ("GET", "groups/g/connections?maxpagesize=0", 400, "Error.BadRequest", "maxpagesize"),
        ("GET", "groups/g/connections?maxpagesize=201", 400, "Error.BadRequest", "maxpagesize"),
        ("GET", "groups/g/connections?maxpagesize=", 400, "Error.BadRequest", "maxpagesize"),
        ("GET", "groups/g/connections?top=0", 400, "Error.BadRequest", "top"),
        ("GET", "groups/g/connections?top=2147483648", 400, "Error.BadRequest", "top"),
        ("GET", "groups/g/connections?top=1&top=1", 400, "Error.BadRequest", "top"),
        ("GET", "groups/g/connections?continuationToken=%20", 400, "Error.BadRequest", "continuationToken"),
        ("GET", "groups/g/connections?continuationToken=", 400, "Error.BadRequest", "continuationToken"),
        ("GET", "groups/g/connections?continuationToken=Yg==", 400, "Error.BadRequest", "continuationToken"),
        ("PUT", "permissions/sendToGroup/connections/c", 400, "Error.BadRequest", "targetName"),
        ("PUT", "permissions/sendToGroup/connections/c?targetName=%20%09", 400, "Error.BadRequest", None),
        ("PUT", "permissions/other/connections/c?targetName=g", 400, "Error.BadRequest", "permission"),
        ("PUT", "permissions/SendToGroup/connections/c?targetName=g", 404, "Info.Connection.NotExisted", "Connection"),
        ("POST", ":send?api-version=1", 400, "Error.BadRequest", "api-version"),
        ("POST", ":send?messageTtlSeconds=301", 400, "Error.BadRequest", "messageTtlSeconds"),
    ],
)
async def test_errors_say_what_they_are_about(
    autojump_clock: MockClock, method: str, target: str, status: int, code: str, about: str | None
) -> None:
    async with calling() as (_, call):
        response = await call(method, target, b"" if method == "POST" else None)
        assert response.status_code == status
        error = error_of(response)
        assert (error["code"], error.get("target")) == (code, about)
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("target", ["connections/nobody", "groups/nobody", "users/nobody"])
async def test_what_does_not_exist_has_a_code_and_no_body(autojump_clock: MockClock, target: str) -> None:
    async with calling() as (_, call):
        response = await call("HEAD", target)
        assert (response.status_code, response.content) == (404, b"")
        assert response.headers["x-ms-error-code"].endswith(".NotExisted")


async def test_a_permission_that_is_not_there_has_the_code_of_a_missing_connection(autojump_clock: MockClock) -> None:
    async with calling() as (emulator, call), open_peer(emulator, roles=[]) as peer:
        for connection_id in (peer.connection_id, "nobody"):
            response = await call("HEAD", f"permissions/sendToGroup/connections/{connection_id}?targetName=g")
            assert (response.status_code, response.headers["x-ms-error-code"]) == (404, "Info.Connection.NotExisted")


async def test_a_continuation_is_good_for_its_own_group_only(autojump_clock: MockClock) -> None:
    async with (
        calling() as (emulator, call),
        open_peer(emulator, groups=["g", "h"]) as first,
        open_peer(emulator, groups=["g", "h"]) as second,
    ):
        page = (await call("GET", "groups/g/connections?maxpagesize=1")).json()
        query = page["nextLink"].partition("?")[2]
        rest = (await call("GET", f"groups/g/connections?{query}")).json()
        ids = [member["connectionId"] for member in page["value"] + rest["value"]]
        assert ids == sorted([first.connection_id, second.connection_id])
        assert "nextLink" not in rest
        assert (await call("GET", f"groups/h/connections?{query}")).status_code == 400
        assert (await call("GET", f"groups/g/connections?{query.replace('Token=', 'Token=AAAA')}")).status_code == 400


async def test_a_slash_at_the_end_changes_nothing(autojump_clock: MockClock) -> None:
    async with calling() as (_, call):
        assert (await call("GET", "groups/g/connections/?maxpagesize=1")).status_code == 200
        assert (await call("POST", ":closeConnections/")).status_code == 204


async def test_a_filter_error_is_json_that_says_it_is_text(autojump_clock: MockClock) -> None:
    async with calling() as (_, call):
        for response in (
            await call("POST", ":send?filter=userId%20eq%20'a'%20or%20length(1)", b"hi"),
            await call(
                "POST",
                ":addToGroups",
                b'{"groups":["g"],"filter":"userId eq \'a\' or length(1)"}',
                content_type="application/json",
            ),
        ):
            assert response.status_code == 400
            assert response.headers["content-type"].startswith("text/plain")
            error = error_of(response)
            assert error["code"] == "Error.BadRequest"
            assert error["target"] == "Request"
            assert error["message"].startswith("Invalid syntax for 'length(1)': ")


async def test_a_connection_is_in_so_many_groups(autojump_clock: MockClock) -> None:
    async with calling(limits=HubLimits(groups=2)) as (emulator, call), open_peer(emulator, user_id="ann") as peer:
        assert (await call("PUT", f"groups/a/connections/{peer.connection_id}")).status_code == 200
        body = b'{"groups":["a","b","c"]}'
        for response in (
            await call("POST", ":addToGroups", body, content_type="application/json"),
            (await call("PUT", "users/ann/groups/b"), await call("PUT", "users/ann/groups/c"))[1],
        ):
            assert (response.status_code, error_of(response)["code"]) == (409, "Error.Connection.Conflict")
        assert emulator.groups("chat").keys() == {"a", "b"}
        assert (await call("PUT", "users/ann/groups/b")).status_code == 200


async def test_the_secondary_key_signs_as_well(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True, secondary_key=SECOND) as emulator:
        second = emulator.connection_string.replace(DEFAULT_ACCESS_KEY, SECOND)
        for connection_string in (emulator.connection_string, second):
            async with open_service(connection_string, "chat", connector=emulator.connector) as service:
                await service.send_to_all("hi")
        wrong = second.replace(SECOND, SECOND[::-1])
        async with open_service(wrong, "chat", connector=emulator.connector) as service:
            with pytest.raises(AuthenticationFailed):
                await service.send_to_all("hi")


async def test_requests_make_no_hubs(autojump_clock: MockClock) -> None:
    async with calling() as (emulator, call):
        assert (await call("POST", ":send", b"hi")).status_code == 202
        assert list(emulator._switchboard.hubs) == []


async def test_a_reader_only_looks(autojump_clock: MockClock) -> None:
    async with open_emulator(in_memory=True) as emulator:
        credential = emulator.credential("Web PubSub Service Reader")
        async with open_service(
            emulator.endpoint, "chat", credential=credential, connector=emulator.connector
        ) as service:
            assert not await service.user_exists("ann")
            for forbidden in (service.send_to_all("hi"), service.client_access_url()):
                with pytest.raises(ServiceError) as refused:
                    await forbidden
                assert refused.value.status_code == 403
