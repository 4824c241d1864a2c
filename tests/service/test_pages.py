"""Listing members: pages, limits, going on later, and answers that are no pages."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from tests.service.peer import Answer, Peer, said, service_of
from trio_webpubsub.service import GroupMember, ServiceError

LIST = "/api/hubs/chat/groups/g/connections"


def page(*ids: str, link: str | None = None) -> Answer:
    content: dict[str, object] = {"value": [{"connectionId": each, "userId": f"user {each}"} for each in ids]}
    return said(200, json.dumps(content | ({"nextLink": link} if link else {})).encode())


def link(token: str) -> str:
    return f"https://elsewhere.example/whatever?api-version=2099-01-01&maxpagesize=2&continuationToken={token}"


async def test_a_page_is_asked_for_when_its_first_member_is_wanted(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", "b", link=link("1%2B=")), page(link=link("2")), page("c")]
    async with service_of(peer) as service:
        members = aiter(service.list_connections("g", limit=7, page_size=2))
        assert peer.targets == []
        assert await anext(members) == GroupMember("a", "user a")
        assert (await anext(members)).connection_id == "b"
        assert len(peer.targets) == 1
        assert (await anext(members)).connection_id == "c"
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(members)
    # The token is given back as it came, and only to where we wanted to ask.
    assert peer.targets == [
        f"{LIST}?maxpagesize=2&top=7&api-version=2024-12-01",
        f"{LIST}?maxpagesize=2&continuationToken=1%2B=&api-version=2024-12-01",
        f"{LIST}?maxpagesize=2&continuationToken=2&api-version=2024-12-01",
    ]
    assert peer.connects == [("resource.example", 443, True)]


async def test_no_more_are_given_than_were_wanted(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", "b", link=link("1")), page("c", "d", link=link("2"))]
    async with service_of(peer) as service:
        assert len([each async for each in service.list_connections("g", limit=3)]) == 3
    assert len(peer.targets) == 2


async def test_a_list_can_be_gone_on_with_later(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", link=link("1")), page("b")]
    async with service_of(peer) as service:
        first = await anext(service.list_connections("g").by_page())
    async with service_of(peer) as service:
        rest = [each async for each in service.list_connections("g").by_page(first.continuation_token)]
    assert [each.connection_id for page in (first, *rest) for each in page.members] == ["a", "b"]
    assert rest[-1].continuation_token is None


async def test_each_iteration_asks_anew_and_one_that_failed_can_go_on(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", link=link("1")), said(400), page("b"), page("c")]
    async with service_of(peer) as service:
        group = service.list_connections("g", headers={"x-trace": "7"})
        members = aiter(group)
        assert (await anext(members)).connection_id == "a"
        with pytest.raises(ServiceError):
            await anext(members)
        assert [each.connection_id async for each in members] == ["b"]
        assert [each.connection_id async for each in group] == ["c"]
    assert {head["x-trace"] for head in peer.heads} == {"7"}


async def test_between_pages_nothing_is_open(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", link=link("1"))]
    async with service_of(peer, max_connections=1) as service:
        async for _ in service.list_connections("g"):
            await service.send_to_all("the one connection is free")
            break
    await trio.testing.wait_all_tasks_blocked()
    assert peer.open == set()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"<html>",
        b'{"value": [{}]}',
        b'{"value": [{"connectionId": 7}]}',
        b'{"value": [], "nextLink": 7}',
    ],
)
async def test_what_is_no_page_is_an_error(autojump_clock: MockClock, peer: Peer, body: bytes) -> None:
    peer.answers = [said(200, body)]
    async with service_of(peer) as service:
        with pytest.raises(ServiceError, match="not a page of group members") as failed:
            await anext(aiter(service.list_connections("g")))
    assert failed.value.request_id == peer.heads[0]["x-ms-client-request-id"]


async def test_pages_that_go_in_circles_are_an_error(autojump_clock: MockClock, peer: Peer) -> None:
    peer.answers = [page("a", link=link("1"))] * 9
    async with service_of(peer) as service:
        with pytest.raises(ServiceError, match="circle"):
            async for _ in service.list_connections("g"):
                pass
    assert len(peer.targets) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": 0}, ValueError),
        ({"limit": -1}, ValueError),
        ({"limit": 2**31}, ValueError),
        ({"limit": 1.5}, TypeError),
        ({"page_size": 201}, ValueError),
        ({"page_size": 0}, ValueError),
        ({"page_size": True}, TypeError),
    ],
)
async def test_limits_that_the_service_does_not_take(
    peer: Peer, options: dict[str, object], error: type[Exception]
) -> None:
    async with service_of(peer) as service:
        with pytest.raises(error):
            service.list_connections("g", **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("token", ["", "a b", "a#b", "ü", "a\r\nb"])
async def test_what_is_no_continuation_token(peer: Peer, token: str) -> None:
    async with service_of(peer) as service:
        with pytest.raises(ValueError, match="no continuation token"):
            service.list_connections("g").by_page(token)
