from __future__ import annotations

import pytest

from trio_webpubsub.protocol.rest_answers import GroupMember, MemberPage, read_members, read_token


def test_a_page_of_members() -> None:
    body = (
        b'{"value":[{"connectionId":"c-1","userId":"ann"},{"connectionId":"c-2","more":1}],'
        b'"nextLink":"https://elsewhere/api/x?continuationToken=a%2Bb&api-version=1"}'
    )
    members = [GroupMember("c-1", "ann"), GroupMember("c-2")]
    assert read_members(body) == MemberPage(members, "continuationToken=a%2Bb&api-version=1")


@pytest.mark.parametrize("body", [b'{"value":[]}', b'{"value":[],"nextLink":null}', b'{"value":[],"nextLink":""}'])
def test_the_last_page_has_no_link(body: bytes) -> None:
    assert read_members(body) == MemberPage([], None)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"value":[{}]}', b'{"value":{}}', b"[" * 100_000])
def test_what_is_no_page(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a page of group members"):
        read_members(body)


def test_a_token() -> None:
    assert read_token(b'{"token":"a.b.c"}') == "a.b.c"


@pytest.mark.parametrize("body", [b"", b'{"token":""}', b'{"token":"canary', b'{"token":7}', b"[" * 100_000])
def test_no_token(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^the answer holds no token$"):
        read_token(body)
