"""How answers of the REST API read.

Source: the data-plane specification 2024-12-01 (``specification/webpubsub`` in Azure/azure-rest-api-specs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A connection that is in a group."""

    connection_id: str
    user_id: str | None = None
    """Whose it is; ``None`` for an anonymous client's."""


@dataclass(frozen=True, slots=True)
class MemberPage:
    """Some of the members of a group."""

    members: list[GroupMember]
    continuation_token: str | None
    """Where the next page begins; ``None`` on the last one. To be kept as it is."""


def read_members(body: bytes) -> MemberPage:
    """Read a page of members.

    Raises:
        ValueError: it is none.
    """
    try:
        page = msgspec.json.decode(body, type=_MemberPage)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not a page of group members") from None
    members = [GroupMember(each.connection_id, each.user_id or None) for each in page.value]
    # Only the query of the link counts: a request that shows who we are goes nowhere but where we meant it to.
    return MemberPage(members, (page.next_link or "").partition("?")[2] or None)


def read_token(body: bytes) -> str:
    """Read the token that the service made for a client.

    Raises:
        ValueError: there is none.
    """
    try:
        token = msgspec.json.decode(body, type=_Token).token
    except (ValueError, RecursionError):
        token = ""
    if not token:
        # Raised out here, since the decoder's error may quote what came.
        raise ValueError("the answer holds no token")
    return token


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> tuple[str | None, str]:
    """Give an error answer's code, if it has one, and its text, which is never empty.

    The code stands in ``x-ms-error-code`` (answers to HEAD have nothing else) or, as the text does, in a JSON object,
    whatever the content type says; proxies answer with anything.

    Args:
        status: The HTTP status.
        headers: With names in lower case, or in any case if the mapping knows how.
        body: What came; the service may send nothing.
    """
    text = body.decode(errors="replace")
    try:
        content = msgspec.json.decode(text, type=_ErrorBody)
    except (ValueError, RecursionError):
        content = _ErrorBody()
    code = headers.get("x-ms-error-code") or content.code
    message = content.message if isinstance(content.message, str) else text
    return (
        code if isinstance(code, str) and code else None,
        " ".join(message.split())[:500] or _phrase(status),
    )


class _Member(msgspec.Struct, rename="camel"):
    connection_id: str
    user_id: str | None = None


class _MemberPage(msgspec.Struct, rename="camel"):
    value: list[_Member]
    next_link: str | None = None


class _Token(msgspec.Struct):
    token: str


class _ErrorBody(msgspec.Struct):
    # Of any type, since one wrong field must not hide the other.
    code: Any = None
    message: Any = None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"
