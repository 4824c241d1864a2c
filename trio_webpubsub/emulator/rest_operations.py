"""Each operation of the REST API on a hub, as its request comes in.

Source: the data-plane specification 2024-12-01; statuses for what is missing are modelled on the official emulator.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, get_args
from urllib.parse import quote, urlencode

from ..listener import Request, Response
from ..protocol.names import check_connection_id, check_group
from ..protocol.roles import Permission
from .hub import Effect, Hub
from .hub.lifetimes import TooManyGroups
from .hub.registry import Connection
from .hub.roles import TooManyRules
from .rest_requests import (
    Parameters,
    Refused,
    bad,
    bulk_of,
    checked,
    decoded,
    message_of,
    metadata_of,
    text_of,
    user_id_of,
)

_PAGE_SIZE = 200
_SEAL_SIZE = 16
_MOST_LISTED = 2**31 - 1
_NO_PERMISSION = "Info.Connection.NotExisted"
"""Stands for a missing connection too, where it is about permissions."""
_TOO_MANY = "Error.Connection.Conflict"
_NO_GROUP = "Warning.Group.NotExisted"
_NO_USER = "Warning.User.NotExisted"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is carried out now."""

    hub: Hub
    segments: Mapping[str, str]
    """What stood in the path's places, still encoded."""
    parameters: Parameters
    request: Request
    perform: Callable[[Hub, list[Effect]], None]
    now: float
    """On the hub's clock."""
    origin: str
    """Scheme, host and port under which the caller knows the service."""
    message_size: int
    """Bytes that a body may have."""
    secret: bytes
    """Marks what this API has written."""

    @property
    def connection_id(self) -> str:
        """The connection in the path."""
        return checked(check_connection_id, decoded(self.segments["connection"]))

    @property
    def group(self) -> str:
        """The group in the path."""
        return checked(check_group, decoded(self.segments["group"]))

    @property
    def user_id(self) -> str:
        """The user in the path."""
        return user_id_of(self.segments["user"])

    def chosen(self) -> list[Connection]:
        """Find the connections that path, ``excluded`` and ``filter`` mean."""
        excluded, fits = self.parameters.all("excluded"), self.parameters.filter()
        registry = self.hub.registry
        if "group" in self.segments:
            return registry.select(group=self.group, excluded=excluded, fits=fits)
        if "user" in self.segments:
            return registry.select(user_id=self.user_id, excluded=excluded, fits=fits)
        return registry.select(excluded=excluded, fits=fits)

    def connection(self, code: str = "Error.Connection.NotExisted") -> Connection:
        """Find the connection in the path.

        Raises:
            Refused: there is none; with this ``code``.
        """
        connection = self.hub.registry.connections.get(self.connection_id)
        if connection is None:
            raise Refused(404, f"Connection `{self.connection_id}` is not found.", code=code, target="Connection")
        return connection


Run: TypeAlias = Callable[[Call], Response]

_OK = Response(status=200)
_NO_CONTENT = Response(status=204)
_ACCEPTED = Response(status=202)


def send(call: Call) -> Response:
    """Send to all, a group or a user."""
    return _send(call, call.chosen(), group=call.group if "group" in call.segments else None)


def send_to_connection(call: Call) -> Response:
    """Send to one connection."""
    return _send(call, call.hub.registry.select(connection_id=call.connection_id))


def close(call: Call) -> Response:
    """Close all connections, or those of a group or user."""
    message = _closing_message(call)
    for connection in call.chosen():
        call.perform(call.hub, call.hub.close_connection(connection.id, reason=message))
    return _NO_CONTENT


def close_connection(call: Call) -> Response:
    """Close one connection."""
    call.perform(call.hub, call.hub.close_connection(call.connection_id, reason=_closing_message(call)))
    return _NO_CONTENT


def connection_exists(call: Call) -> Response:
    """Tell whether a connection exists."""
    call.connection()
    return _OK


def group_exists(call: Call) -> Response:
    """Tell whether anybody is in a group."""
    if call.group not in call.hub.registry.groups:
        raise Refused(404, "Nobody is in the group.", code=_NO_GROUP, target="Group")
    return _OK


def user_exists(call: Call) -> Response:
    """Tell whether a user is connected."""
    if call.user_id not in call.hub.registry.users:
        raise Refused(404, "The user has no connection.", code=_NO_USER, target="User")
    return _OK


def list_members(call: Call) -> Response:
    """Give a page of the members of a group, by connection id, so that the order is stable while members change."""
    parameters = call.parameters
    size = parameters.number("maxpagesize", 1, _PAGE_SIZE) or _PAGE_SIZE
    top = parameters.number("top", 1, _MOST_LISTED) or _MOST_LISTED
    after = _read_continuation(call, parameters.one("continuationToken"))
    members = sorted(call.hub.registry.groups.get(call.group, {}).values(), key=lambda member: member.id)
    rest = [member for member in members if member.id > after]
    page = rest[: min(size, top)]
    content: dict[str, object] = {"value": [_member(each) for each in page]}
    if len(page) < min(len(rest), top):
        query: dict[str, object] = {
            "api-version": parameters.one("api-version") or "2024-12-01",
            "maxpagesize": size,
            "continuationToken": _write_continuation(call, page[-1].id),
        }
        if parameters.one("top") is not None:
            query["top"] = top - len(page)
        content["nextLink"] = f"{call.origin}{call.request.path}?{urlencode(query, quote_via=quote)}"
    body = json.dumps(content).encode()
    return Response(status=200, headers=[("content-type", "application/json; charset=utf-8")], body=body)


def add_connection_to_group(call: Call) -> Response:
    """Put a connection into a group."""
    group = call.group
    _join(call, [call.connection()], [group])
    return _OK


def remove_connection_from_group(call: Call) -> Response:
    """Take a connection out of a group."""
    group = call.group
    connections = call.hub.registry.select(connection_id=call.connection_id)
    call.perform(call.hub, call.hub.leave(connections, [group]))
    return _NO_CONTENT


def remove_connection_from_all_groups(call: Call) -> Response:
    """Take a connection out of all groups."""
    _leave_all(call, call.hub.registry.select(connection_id=call.connection_id))
    return _NO_CONTENT


def add_user_to_group(call: Call) -> Response:
    """Put a user's connections into a group."""
    group = call.group
    connections = call.hub.registry.select(user_id=call.user_id)
    if not connections:
        raise Refused(404, "The user has no connection.", code=_NO_USER, target="User")
    _join(call, connections, [group])
    return _OK


def remove_user_from_group(call: Call) -> Response:
    """Take a user's connections out of a group."""
    group = call.group
    call.perform(call.hub, call.hub.leave(call.hub.registry.select(user_id=call.user_id), [group]))
    return _NO_CONTENT


def remove_user_from_all_groups(call: Call) -> Response:
    """Take a user's connections out of all groups."""
    _leave_all(call, call.hub.registry.select(user_id=call.user_id))
    return _NO_CONTENT


def add_to_groups(call: Call) -> Response:
    """Put all connections that a filter fits into groups."""
    groups, fits = bulk_of(call.request, call.message_size)
    _join(call, call.hub.registry.select(fits=fits), groups)
    return _OK


def remove_from_groups(call: Call) -> Response:
    """Take all connections that a filter fits out of groups."""
    groups, fits = bulk_of(call.request, call.message_size)
    call.perform(call.hub, call.hub.leave(call.hub.registry.select(fits=fits), groups))
    return _OK


def grant_permission(call: Call) -> Response:
    """Allow a connection something with a group."""
    permission, group = _permission(call)
    try:
        call.connection(_NO_PERMISSION).roles.grant(permission, group)
    except TooManyRules as error:
        raise Refused(409, str(error), code=_TOO_MANY) from None
    return _OK


def revoke_permission(call: Call) -> Response:
    """Forbid a connection something with a group."""
    permission, group = _permission(call)
    for connection in call.hub.registry.select(connection_id=call.connection_id):
        try:
            connection.roles.revoke(permission, group)
        except TooManyRules as error:
            raise Refused(409, str(error), code=_TOO_MANY) from None
    return _NO_CONTENT


def has_permission(call: Call) -> Response:
    """Tell whether a connection is allowed something with a group."""
    permission, group = _permission(call)
    if not call.connection(_NO_PERMISSION).roles.allow(permission, group):
        raise Refused(404, "The connection has no such permission.", code=_NO_PERMISSION)
    return _OK


def _send(call: Call, connections: list[Connection], group: str | None = None) -> Response:
    payload, metadata = message_of(call.request, call.message_size), metadata_of(call.request)
    lifetime = call.parameters.lifetime()
    expires = math.inf if lifetime is None else call.now + lifetime
    effects = call.hub.send_to(connections, payload, now=call.now, group=group, metadata=metadata, expires=expires)
    call.perform(call.hub, effects)
    return _ACCEPTED


def _closing_message(call: Call) -> str:
    reason = call.parameters.one("reason")
    return "Application server closed the connection." + (f" Reason: {reason}" if reason else "")


def _join(call: Call, connections: list[Connection], groups: list[str]) -> None:
    try:
        effects = call.hub.join(connections, groups)
    except TooManyGroups as error:
        raise Refused(409, str(error), code=_TOO_MANY, target="Group") from None
    call.perform(call.hub, effects)


def _leave_all(call: Call, connections: list[Connection]) -> None:
    for connection in connections:
        call.perform(call.hub, call.hub.leave([connection], list(connection.groups)))


def _permission(call: Call) -> tuple[Permission, str]:
    named = decoded(call.segments["permission"])
    for permission in get_args(Permission):
        if permission.lower() == named.lower():
            return permission, checked(check_group, text_of(call.parameters, "targetName"))
    raise bad(f"A permission is one of {', '.join(get_args(Permission))}.", target="permission")


def _member(connection: Connection) -> dict[str, str]:
    member = {"connectionId": connection.id}
    if connection.user_id is not None:
        member["userId"] = connection.user_id
    return member


def _write_continuation(call: Call, after: str) -> str:
    """Say where the next page begins, in a form that only this emulator gives, and for this group only."""
    return base64.urlsafe_b64encode(_seal(call, after.encode()) + after.encode()).decode()


def _read_continuation(call: Call, token: str | None) -> str:
    if token is None:
        return ""
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True)
        after = content[_SEAL_SIZE:].decode()
    except ValueError:
        content, after = b"", ""
    if not hmac.compare_digest(content[:_SEAL_SIZE], _seal(call, after.encode())):
        raise bad("The continuationToken is none that was given here.", target="continuationToken")
    return after


def _seal(call: Call, after: bytes) -> bytes:
    place = "/".join([decoded(call.segments["hub"]).lower(), call.group]).encode()
    return hmac.digest(call.secret, b"%d %b %b" % (len(place), place, after), "sha256")[:_SEAL_SIZE]
