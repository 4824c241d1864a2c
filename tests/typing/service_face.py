"""What type checkers see of the service client. Nothing here is run: mypy and pyright read it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import assert_type

import httpx

from trio_webpubsub import open_client
from trio_webpubsub.service import (
    AccessToken,
    Answer,
    ClientAccess,
    Credential,
    GroupMember,
    GroupMembers,
    KeyCredential,
    MemberPage,
    Role,
    Service,
    ServiceError,
    TokenCredential,
    odata,
    open_service,
)


class Token:
    token = "token"
    expires_on = 0


class Identity:
    """As the credentials of azure-identity are typed."""

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: object
    ) -> Token:
        return Token()


class Key:
    @property
    def key(self) -> str:
        return "key"


async def opening(connection_string: str, endpoint: str, client: httpx.AsyncClient) -> None:
    async def token() -> str:
        return "token"

    async def token_with_its_end(scope: str) -> Token:
        return Token()

    async with open_service(connection_string, "chat") as service:
        assert_type(service, Service)
        assert_type(service.hub, str)
        assert_type(service.endpoint, str)
    open_service(connection_string, hub="chat", retries=1, retry_sends=True, request_timeout=5, http_client=client)
    open_service(endpoint, "chat", credential="key")
    open_service(endpoint, "chat", credential=Key())
    open_service(endpoint, "chat", credential=Identity())
    open_service(endpoint, "chat", credential=token)
    open_service(endpoint, "chat", credential=functools.partial(token_with_its_end, "scope"))
    any_credential: Credential = Identity()
    synchronous: TokenCredential = Identity()
    key: KeyCredential = Key()
    with_its_end: AccessToken = Token()
    assert [any_credential, synchronous, key, with_its_end]
    open_service(endpoint, "chat", credential=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_service(endpoint, "chat", credential=lambda: "token")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_service(connection_string)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_service(connection_string, "chat", timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def letting_clients_in(service: Service) -> None:
    url = await service.client_access_url(user_id="ann", roles=[Role.send_to_group("g")], groups={"g"})
    assert_type(url, str)
    access = await service.client_access(lifetime=timedelta(minutes=5), client_protocol="mqtt")
    assert_type(access, ClientAccess)
    assert_type(access.url, str)
    assert_type(access.expires_at, float | None)
    async with open_client(functools.partial(service.client_access_url, user_id="ann")):
        pass
    await service.client_access(lifetime=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.client_access(client_protocol="http")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.client_access(minutes_to_expire=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def sending(service: Service) -> None:
    assert_type(await service.send_to_all({"a": 1}, excluded=["c"], filter=odata("userId eq {}", "ann")), None)
    assert_type(await service.send_to_group("g", b"", message_ttl_seconds=5, metadata={"a": "b"}), None)
    assert_type(await service.send_to_user("u", "text", content_type="application/json"), None)
    assert_type(await service.send_to_connection("c", None, headers={"x-trace": "7"}, log_payloads=True), None)
    await service.send_to_all("", content_type="text/plain; charset=utf-8", headers=[("a", "1"), ("a", "2")])
    await service.send_to_all("", content_type="text/html")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.send_to_all("", exclude=["c"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await service.send_to_user("u", "", excluded=["c"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await service.send_to_connection("c", "", filter="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def asking(service: Service) -> None:
    assert_type(await service.connection_exists("c"), bool)
    assert_type(await service.group_exists("g"), bool)
    assert_type(await service.user_exists("u"), bool)
    assert_type(await service.has_permission("sendToGroup", "c", target_name="g"), bool)
    assert_type(await service.health(), None)
    await service.has_permission("fly", "c", target_name="g")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.grant_permission("sendToGroup", "c")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await service.close_all_connections(user_id="ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def listing(service: Service) -> None:
    members = service.list_connections("g", limit=5, page_size=2)
    assert_type(members, GroupMembers)
    async for member in members:
        assert_type(member, GroupMember)
        assert_type(member.user_id, str | None)
    assert_type(members.by_page(), AsyncIterator[MemberPage])
    async for page in members.by_page("token"):
        assert_type(page.members, list[GroupMember])
        assert_type(page.continuation_token, str | None)
    service.list_connections("g", top=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def anything_else(service: Service) -> None:
    try:
        answer = await service.request("GET", "/api/x", params={"a": "b"}, content="{}")
    except ServiceError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.error_code, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.retry_after, float | None)
        assert_type(error.tries, int)
    else:
        assert_type(answer, Answer)
        assert_type(answer.status_code, int)
        assert_type(answer.body, bytes)


async def mistakes(service: Service, connection_string: str) -> None:
    """What is wrong for the checkers, though it may be long before it shows when it runs."""
    with open_service(connection_string, "chat"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await open_service(connection_string, "chat")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    open_service(connection_string, "chat").send_to_all("hi")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    open_service(connection_string, "chat", retries="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    service.send_to_all("hi")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await service.send_to_all("hi", excluded=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.send_to_all("hi", metadata=[("a", "b")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.send_to_all("hi", headers="a: b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.request("GET", "/api/x", params="a=b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.request("GET", "/api/x", content={"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.client_access_url(roles=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.list_connections("g")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    for _ in service.list_connections("g"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
