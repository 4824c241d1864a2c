"""Each operation of the REST API as a value: what to send, and how an answer that is an error reads.

Source: the data-plane specification 2024-12-01 (``specification/webpubsub`` in Azure/azure-rest-api-specs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from .names import MAX_TTL_SECONDS, check_connection_id, check_group, check_hub, check_text, check_user_id
from .payloads import payload_of

API_VERSION = "2024-12-01"
"""The newest stable version of the REST API."""

ContentType: TypeAlias = Literal["text/plain", "application/json", "application/octet-stream"]
"""What a message can be sent as."""

_CONTENT_TYPES: dict[str, ContentType] = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request, before it is signed."""

    method: str
    path: str
    """Percent-encoded."""
    query: tuple[tuple[str, str], ...] = ()
    """Names and values as they are meant, not yet encoded."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def target(self, api_version: str = API_VERSION) -> str:
        """Path and query as they go over the wire."""
        return f"{self.path}?{urlencode([*self.query, ('api-version', api_version)], quote_via=quote, safe='')}"


def send_to_all(
    hub: str,
    message: Any,
    *,
    excluded: Iterable[str] = (),
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
) -> Operation:
    """Send ``message`` to every connection of a hub.

    Args:
        hub: The hub.
        message: See `encode_message`.
        excluded: Ids of connections that are left out.
        filter: Only connections that this OData expression fits.
        content_type: How ``message`` is sent, where its type should not decide.
        message_ttl_seconds: How long it may wait for a slow or disconnected client, 0 to 300; 0 stands for no end.

    Raises:
        ValueError: a name, value or content type that the service does not take.
        TypeError: an argument of the wrong type, or a message that does not fit ``content_type``.
    """
    return _send((hub,), message, content_type, _send_options(excluded, filter, message_ttl_seconds))


def send_to_group(
    hub: str,
    group: str,
    message: Any,
    *,
    excluded: Iterable[str] = (),
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
) -> Operation:
    """Send ``message`` to every connection in a group; arguments and errors are those of `send_to_all`."""
    options = _send_options(excluded, filter, message_ttl_seconds)
    return _send((hub, "groups", check_group(group)), message, content_type, options)


def send_to_user(
    hub: str,
    user_id: str,
    message: Any,
    *,
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
) -> Operation:
    """Send ``message`` to every connection of a user; arguments and errors are those of `send_to_all`.

    All versions of the service so far take ``%2F`` and ``%25`` in a path as they stand, so a user id with a slash or a
    percent sign is not found here; send to all with ``filter="userId eq '...'"`` instead.
    """
    options = _send_options((), filter, message_ttl_seconds)
    return _send((hub, "users", check_user_id(user_id)), message, content_type, options)


def send_to_connection(
    hub: str,
    connection_id: str,
    message: Any,
    *,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
) -> Operation:
    """Send ``message`` to one connection; arguments and errors are those of `send_to_all`."""
    options = _send_options((), None, message_ttl_seconds)
    return _send((hub, "connections", check_connection_id(connection_id)), message, content_type, options)


def encode_message(message: Any, content_type: ContentType | None = None) -> tuple[ContentType, bytes]:
    """Give a message's content type and bytes.

    ``str`` travels as text, bytes-like objects as binary, anything else as JSON. With a ``content_type``, bytes-like
    objects are sent as they are, a ``str`` can also be JSON, and anything else can only be JSON.

    Raises:
        ValueError: not a content type that messages can have, or a value that JSON does not have (NaN, infinity).
        TypeError: ``message`` cannot be sent as ``content_type``, or as JSON.
    """
    if content_type not in (None, *_CONTENT_TYPES.values()):
        raise ValueError(f"a message is sent as one of {', '.join(_CONTENT_TYPES.values())}")
    is_bytes = isinstance(message, bytes | bytearray | memoryview)
    if content_type is not None and is_bytes:
        return content_type, payload_of(message).body
    if content_type == "application/octet-stream" or (content_type == "text/plain" and not isinstance(message, str)):
        raise TypeError(f"{type(message).__name__} cannot be sent as {content_type}")
    payload = payload_of(message, "json" if content_type == "application/json" else None)
    return _CONTENT_TYPES[payload.data_type], payload.body


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


class _ErrorBody(msgspec.Struct):
    # Of any type, since one wrong field must not hide the other.
    code: Any = None
    message: Any = None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"


def _send(
    place: tuple[str, ...], message: Any, content_type: ContentType | None, query: tuple[tuple[str, str], ...]
) -> Operation:
    check_hub(place[0])
    sent_as, body = encode_message(message, content_type)
    path = "/".join(["/api/hubs", *map(_segment, place), ":send"])
    return Operation(method="POST", path=path, query=query, headers=(("content-type", sent_as),), body=body)


def _segment(value: str) -> str:
    if value in (".", ".."):
        # Every client and server on the way may resolve these, and a message to the group ".." go to the whole hub.
        raise ValueError(f"{value!r} cannot stand in the path of a request")
    return quote(value, safe="")


def _send_options(
    excluded: Iterable[str], filter: str | None, message_ttl_seconds: int | None
) -> tuple[tuple[str, str], ...]:
    if isinstance(excluded, str):
        raise TypeError("excluded takes several connection ids, so a list and not one str")
    query = [("excluded", check_connection_id(connection_id)) for connection_id in excluded]
    if filter is not None:
        if not check_text(filter, "filter").strip():
            raise ValueError("a filter cannot be empty; leave it out to reach all")
        query.append(("filter", filter))
    if message_ttl_seconds is not None:
        query.append(("messageTtlSeconds", str(_check_ttl(message_ttl_seconds))))
    return tuple(query)


def _check_ttl(seconds: object) -> int:
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise TypeError(f"message_ttl_seconds is an int, not {type(seconds).__name__}")
    if not 0 <= seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"message_ttl_seconds is a number from 0 to {MAX_TTL_SECONDS}")
    return seconds
