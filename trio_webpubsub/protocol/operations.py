"""Each of the 25 operations of the REST API as a value: what to send. `rest_answers` has how answers read.

The functions are named as the service client's methods. They all raise ``ValueError`` for a name or value that the
service does not take, and ``TypeError`` for an argument of the wrong type.

Source: the data-plane specification 2024-12-01 (``specification/webpubsub`` in Azure/azure-rest-api-specs). What may be
repeated safely follows from what it says of each operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias, get_args
from urllib.parse import quote, urlencode

import msgspec

from .arguments import check_choice, check_several, checked_pairs, kind_of
from .filters import check_filter
from .names import MAX_TTL_SECONDS, check_connection_id, check_group, check_hub, check_text, check_user_id
from .payloads import check_metadata
from .rest_messages import ContentType, encode_message
from .roles import Permission, check_role
from .tokens import check_lifetime
from .urls import ClientProtocol

API_VERSION = "2024-12-01"
"""The newest stable version of the REST API."""

MAX_PAGE_SIZE = 200
"""Members of a group that the service gives in one page."""
MAX_LISTED = 2**31 - 1
"""Members of a group that the service lists in all."""

_METADATA_HEADER = "x-webpubsub-metadata-"
_Query: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request, before it is signed."""

    name: str
    """The operation's name here, for logs and traces."""
    method: str
    path: str
    """Percent-encoded."""
    query: _Query = ()
    """Names and values as they are meant, not yet encoded."""
    link_query: str | None = None
    """A query as it stood in a link, used in place of ``query``."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    repeatable: bool = True
    """Whether carrying it out twice comes to the same as once."""
    asks: bool = False
    """Whether it is a question, to which 404 is an answer: no."""

    def target(self, api_version: str = API_VERSION) -> str:
        """Path and query as they go over the wire."""
        query = urlencode(self.query, quote_via=quote, safe="") if self.link_query is None else self.link_query
        if any(name.lower() == "api-version" for name, _ in self.query):
            return f"{self.path}?{query}"
        return f"{self.path}?{query}{'&' if query else ''}api-version={quote(api_version, safe='')}"


# Messages


def send_to_all(
    hub: str,
    message: Any,
    *,
    excluded: Iterable[str] = (),
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation:
    """Send ``message`` to every connection of a hub.

    Args:
        hub: The hub.
        message: See `rest_messages.encode_message`.
        excluded: Ids of connections that are left out.
        filter: Only connections that this OData expression fits.
        content_type: How ``message`` is sent, where its type should not decide.
        message_ttl_seconds: How long it may wait for a slow or disconnected client, 0 to 300; 0 stands for no end.
        metadata: Sent with the message, as headers (a preview; read in the official emulator).
    """
    query = (*_excluded(excluded), *_filter(filter), *_ttl(message_ttl_seconds))
    return _send("send_to_all", (hub,), message, content_type, query, metadata)


def send_to_group(
    hub: str,
    group: str,
    message: Any,
    *,
    excluded: Iterable[str] = (),
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation:
    """Send ``message`` to every connection in a group; arguments are those of `send_to_all`."""
    query = (*_excluded(excluded), *_filter(filter), *_ttl(message_ttl_seconds))
    return _send("send_to_group", (hub, "groups", check_group(group)), message, content_type, query, metadata)


def send_to_user(
    hub: str,
    user_id: str,
    message: Any,
    *,
    filter: str | None = None,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation:
    """Send ``message`` to every connection of a user; arguments are those of `send_to_all`.

    All versions of the service so far take ``%2F`` and ``%25`` in a path as they stand, so a user id with a slash or a
    percent sign is not found here; send to all with ``filter="userId eq '...'"`` instead.
    """
    query = (*_filter(filter), *_ttl(message_ttl_seconds))
    return _send("send_to_user", (hub, "users", check_user_id(user_id)), message, content_type, query, metadata)


def send_to_connection(
    hub: str,
    connection_id: str,
    message: Any,
    *,
    content_type: ContentType | None = None,
    message_ttl_seconds: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation:
    """Send ``message`` to one connection; arguments are those of `send_to_all`."""
    place = (hub, "connections", check_connection_id(connection_id))
    return _send("send_to_connection", place, message, content_type, _ttl(message_ttl_seconds), metadata)


# Connections


def connection_exists(hub: str, connection_id: str) -> Operation:
    """Ask for a connection: 200 or 404."""
    return _question("connection_exists", hub, "connections", check_connection_id(connection_id))


def group_exists(hub: str, group: str) -> Operation:
    """Ask whether anybody is in a group: 200 or 404."""
    return _question("group_exists", hub, "groups", check_group(group))


def user_exists(hub: str, user_id: str) -> Operation:
    """Ask whether a user has a connection: 200 or 404."""
    return _question("user_exists", hub, "users", check_user_id(user_id))


def close_connection(hub: str, connection_id: str, *, reason: str | None = None) -> Operation:
    """Close a connection; ``reason`` is told to its client."""
    place = ("connections", check_connection_id(connection_id))
    return _plain("close_connection", "DELETE", hub, *place, query=_reason(reason))


def close_all_connections(hub: str, *, excluded: Iterable[str] = (), reason: str | None = None) -> Operation:
    """Close all connections of a hub but the ``excluded`` ids."""
    query = (*_excluded(excluded), *_reason(reason))
    return _plain("close_all_connections", "POST", hub, action=":closeConnections", query=query)


def close_group_connections(
    hub: str, group: str, *, excluded: Iterable[str] = (), reason: str | None = None
) -> Operation:
    """Close all connections in a group but the ``excluded`` ids."""
    place, query = ("groups", check_group(group)), (*_excluded(excluded), *_reason(reason))
    return _plain("close_group_connections", "POST", hub, *place, action=":closeConnections", query=query)


def close_user_connections(
    hub: str, user_id: str, *, excluded: Iterable[str] = (), reason: str | None = None
) -> Operation:
    """Close all connections of a user but the ``excluded`` ids."""
    place, query = ("users", check_user_id(user_id)), (*_excluded(excluded), *_reason(reason))
    return _plain("close_user_connections", "POST", hub, *place, action=":closeConnections", query=query)


# Groups


def list_connections(hub: str, group: str, *, limit: int | None = None, page_size: int | None = None) -> Operation:
    """List who is in a group, a page at a time; answers are read by `rest_answers.read_members`."""
    query: _Query = ()
    if page_size is not None:
        query += (("maxpagesize", str(_whole(page_size, "page_size", 1, MAX_PAGE_SIZE))),)
    if limit is not None:
        query += (("top", str(_whole(limit, "limit", 1, MAX_LISTED))),)
    return _plain("list_connections", "GET", hub, "groups", check_group(group), "connections", query=query)


def next_page(first: Operation, continuation_token: str) -> Operation:
    """The request for another page after ``first``: its query is that of the link that the page before gave."""
    if not re.fullmatch(r"[!-\"$-~]+", check_text(continuation_token, "continuation token")):
        raise ValueError("this is no continuation token")
    # Parts stay encoded as they came, since the service alone knows what they mean.
    kept = [part for part in continuation_token.split("&") if part.partition("=")[0].lower() != "api-version"]
    return replace(first, link_query="&".join(kept))


def add_connection_to_group(hub: str, group: str, connection_id: str) -> Operation:
    """Put a connection into a group; 404 if there is no such connection."""
    place = ("groups", check_group(group), "connections", check_connection_id(connection_id))
    return _plain("add_connection_to_group", "PUT", hub, *place)


def remove_connection_from_group(hub: str, group: str, connection_id: str) -> Operation:
    """Take a connection out of a group."""
    place = ("groups", check_group(group), "connections", check_connection_id(connection_id))
    return _plain("remove_connection_from_group", "DELETE", hub, *place)


def remove_connection_from_all_groups(hub: str, connection_id: str) -> Operation:
    """Take a connection out of all groups."""
    place = ("connections", check_connection_id(connection_id), "groups")
    return _plain("remove_connection_from_all_groups", "DELETE", hub, *place)


def add_user_to_group(hub: str, group: str, user_id: str) -> Operation:
    """Put the connections that a user has now into a group; 404 if there are none."""
    place = ("users", check_user_id(user_id), "groups", check_group(group))
    return _plain("add_user_to_group", "PUT", hub, *place)


def remove_user_from_group(hub: str, group: str, user_id: str) -> Operation:
    """Take a user's connections out of a group."""
    place = ("users", check_user_id(user_id), "groups", check_group(group))
    return _plain("remove_user_from_group", "DELETE", hub, *place)


def remove_user_from_all_groups(hub: str, user_id: str) -> Operation:
    """Take a user's connections out of all groups."""
    return _plain("remove_user_from_all_groups", "DELETE", hub, "users", check_user_id(user_id), "groups")


def add_connections_to_groups(hub: str, groups: Iterable[str], *, filter: str | None = None) -> Operation:
    """Put all connections that ``filter`` fits into several groups."""
    return _bulk("add_connections_to_groups", hub, ":addToGroups", groups, filter)


def remove_connections_from_groups(hub: str, groups: Iterable[str], *, filter: str | None = None) -> Operation:
    """Take all connections that ``filter`` fits out of several groups."""
    return _bulk("remove_connections_from_groups", hub, ":removeFromGroups", groups, filter)


# Permissions


def grant_permission(hub: str, permission: Permission, connection_id: str, *, target_name: str | None) -> Operation:
    """Allow a connection something with the group ``target_name``; 404 if there is no such connection."""
    return _permission("grant_permission", "PUT", hub, permission, connection_id, target_name)


def revoke_permission(hub: str, permission: Permission, connection_id: str, *, target_name: str | None) -> Operation:
    """Forbid it again."""
    return _permission("revoke_permission", "DELETE", hub, permission, connection_id, target_name)


def has_permission(hub: str, permission: Permission, connection_id: str, *, target_name: str | None) -> Operation:
    """Ask whether it is allowed: 200 or 404."""
    return replace(_permission("has_permission", "HEAD", hub, permission, connection_id, target_name), asks=True)


# The rest


def health() -> Operation:
    """Ask whether the service is well."""
    return Operation(name="health", method="HEAD", path="/api/health")


def generate_client_token(
    hub: str,
    *,
    user_id: str | None = None,
    roles: Iterable[str] = (),
    groups: Iterable[str] = (),
    lifetime: timedelta = timedelta(hours=1),
    client_protocol: ClientProtocol = "default",
) -> Operation:
    """Let the service sign a token for a client, for whole minutes; the answer is read by `rest_answers.read_token`."""
    query: list[tuple[str, str]] = []
    if user_id is not None:
        query.append(("userId", check_user_id(user_id)))
    query += [("role", check_role(role)) for role in check_several("roles", roles)]
    query += [("group", check_group(group)) for group in check_several("groups", groups)]
    query.append(("minutesToExpire", str(-(-check_lifetime(lifetime) // timedelta(minutes=1)))))
    if client_protocol == "mqtt":  # the specification knows nothing for Socket.IO, which needs nothing said
        query.append(("clientType", "MQTT"))
    return _plain("generate_client_token", "POST", hub, action=":generateToken", query=tuple(query))


def any_request(
    method: str, path: str, params: Mapping[str, str] | Sequence[tuple[str, str]], content: str | bytes
) -> Operation:
    """A request that has no function here; ``path`` is percent-encoded, a ``str`` as ``content`` becomes UTF-8."""
    if not re.fullmatch("[A-Za-z]{1,20}", check_text(method, "method")):
        raise ValueError("a method is a word, such as GET; the path comes behind it")
    if not re.fullmatch(r"/[!-\"$->@-~]*", check_text(path, "path")) or {".", ".."} & set(path.split("/")):
        raise ValueError(
            "a path starts with a slash, is percent-encoded, has no query (that is params) and no dots to climb with"
        )
    repeatable = method.upper() in ("GET", "HEAD", "PUT", "DELETE")
    query = tuple(
        (check_text(name, "name in params"), check_text(value, "value in params"))
        for name, value in checked_pairs("params", params)
    )
    if isinstance(content, str):
        body = check_text(content, "content").encode()
    else:
        try:
            body = bytes(memoryview(content))
        except TypeError:
            raise TypeError(
                f"content is a str or bytes-like, not {kind_of(content)}; JSON is for you to write"
            ) from None
    return Operation(name="request", method=method.upper(), path=path, query=query, body=body, repeatable=repeatable)


# How the above are put together


def _plain(name: str, method: str, hub: str, *place: str, action: str | None = None, query: _Query = ()) -> Operation:
    return Operation(name=name, method=method, path=_path(hub, *place, action=action), query=query)


def _question(name: str, hub: str, *place: str) -> Operation:
    return replace(_plain(name, "HEAD", hub, *place), asks=True)


def _send(
    name: str,
    place: tuple[str, ...],
    message: Any,
    content_type: ContentType | None,
    query: _Query,
    metadata: Mapping[str, str] | None,
) -> Operation:
    sent_as, body = encode_message(message, content_type)
    headers: list[tuple[str, str]] = [("content-type", sent_as)]
    if metadata is not None:
        check_metadata(metadata)
        headers += [(_METADATA_HEADER + key, _metadata_value(key, value)) for key, value in metadata.items()]
    path = _path(*place, action=":send")
    return Operation(
        name=name, method="POST", path=path, query=query, headers=tuple(headers), body=body, repeatable=False
    )


def _metadata_value(key: str, value: str) -> str:
    # The service reads what follows the last comma of a header, without the blanks around it.
    if re.search(r"[^ -~]|,|^ | $", value):
        raise ValueError(f"the metadata value of {key!r} holds commas, control characters, or blanks at an end")
    return value


def _bulk(name: str, hub: str, action: str, groups: Iterable[str], filter: str | None) -> Operation:
    content: dict[str, Any] = {"groups": [check_group(group) for group in check_several("groups", groups)]}
    if not content["groups"]:
        raise ValueError("there are no groups")
    content |= dict(_filter(filter))
    headers = (("content-type", "application/json"),)
    path = _path(hub, action=action)
    return Operation(name=name, method="POST", path=path, headers=headers, body=msgspec.json.encode(content))


def _permission(
    name: str, method: str, hub: str, permission: Permission, connection_id: str, target_name: str | None
) -> Operation:
    check_choice("permission", permission, get_args(Permission))
    place = ("permissions", permission, "connections", check_connection_id(connection_id))
    query = () if target_name is None else (("targetName", check_group(target_name)),)
    return _plain(name, method, hub, *place, query=query)


def _path(hub: str, *place: str, action: str | None = None) -> str:
    parts = ["/api/hubs", *map(_segment, (check_hub(hub), *place))]
    return "/".join(parts if action is None else [*parts, action])


def _segment(value: str) -> str:
    if value in (".", ".."):
        # Every client and server on the way may resolve these, and a message to the group ".." go to the whole hub.
        raise ValueError(f"{value!r} cannot stand in the path of a request")
    return quote(value, safe="")


def _excluded(connection_ids: Iterable[str]) -> _Query:
    return tuple(("excluded", check_connection_id(each)) for each in check_several("excluded", connection_ids))


def _filter(expression: str | None) -> _Query:
    return () if expression is None else (("filter", check_filter(expression)),)


def _ttl(seconds: int | None) -> _Query:
    if seconds is None:
        return ()
    return (("messageTtlSeconds", str(_whole(seconds, "message_ttl_seconds", 0, MAX_TTL_SECONDS))),)


def _reason(reason: str | None) -> _Query:
    return () if reason is None else (("reason", check_text(reason, "reason")),)


def _whole(value: object, argument: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} is an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{argument} is a number from {least} to {most}")
    return value
