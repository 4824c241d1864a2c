"""The service client: one method for each operation of the REST API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict, Unpack

import trio

from .._shell.clock import wall_time
from .._shell.headers import Headers
from ..protocol import operations, tokens
from ..protocol.operations import Operation
from ..protocol.rest_answers import MemberPage, read_members, read_token
from ..protocol.rest_messages import ContentType
from ..protocol.roles import Permission
from ..protocol.urls import ClientProtocol, client_audience, client_base_url
from .bodies import read_message
from .credentials import SignedRequests
from .errors import ServiceError, TargetNotFound
from .pages import GroupMembers
from .exchange import Answer
from .requests import Requests


class CallOptions(TypedDict, total=False):
    """What every call takes besides its own arguments."""

    headers: Headers
    """Added to the request."""
    log_payloads: bool
    """Log this call's headers and bodies (their first 4 KiB) at DEBUG; the token is left out."""


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """What a client needs to connect. Its ``repr`` does not show the token."""

    base_url: str
    """``wss://...``, without the token."""
    token: str = field(repr=False)
    expires_at: float | None
    """Until when one can connect with it, in seconds since 1970; ``None`` if it does not say."""

    @property
    def url(self) -> str:
        """Both in one, for ``open_client``. It is a secret."""
        return f"{self.base_url}?access_token={self.token}"


class Service:
    """The REST API of one hub; see `open_service`.

    One client serves a whole application, any number of tasks at once. Every call raises `ServiceError` when it fails,
    of these kinds among others: `ServiceUnreachable` (nothing was sent), `OutcomeUnknown` (no answer came),
    `InvalidRequest`, `AuthenticationFailed`, `TargetNotFound`, `Throttled`; and ``ValueError`` or ``TypeError``, with
    nothing sent, for arguments that the service would not take. After the block of `open_service` it raises
    ``trio.ClosedResourceError``.

    Every call also takes ``headers``, which are added to its request, and ``log_payloads=True``, which logs what it
    sends and gets at DEBUG under ``trio_webpubsub.service``, without the token.

    Names become one segment of the request's path each and are percent-encoded once, as the official clients do it:
    the group ``a/b`` travels as ``a%2Fb``.
    """

    def __init__(self, hub: str, requests: Requests) -> None:
        """Made by `open_service`."""
        self._hub = hub
        self._requests = requests

    def __repr__(self) -> str:
        return f"<Service of hub {self._hub!r} at {self.endpoint}>"

    @property
    def hub(self) -> str:
        """The hub that all calls are about."""
        return self._hub

    @property
    def endpoint(self) -> str:
        """Where the service is: ``https://host[:port]``."""
        return self._requests.endpoint

    # Clients that are to connect

    async def client_access_url(
        self,
        *,
        user_id: str | None = None,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        lifetime: timedelta = timedelta(hours=1),
        claims: Mapping[str, Any] | None = None,
        token_headers: Mapping[str, Any] | None = None,
        client_protocol: ClientProtocol = "default",
        **call: Unpack[CallOptions],
    ) -> str:
        """Make the URL with which a client connects to the hub. It holds a token, so it is a secret.

        With an access key it is made here; with a credential of Entra ID the service is asked for the token.

        Args:
            user_id: Whom the client is; ``None`` for an anonymous one.
            roles: What it may do, see `Role`; without roles it can only receive, and send events.
            groups: What it is a member of from the beginning.
            lifetime: How long one can connect with it; an open connection outlives it. The service makes tokens for
                whole minutes, rounded up here.
            claims: More claims, which the connect event handler gets to see. Only with an access key.
            token_headers: More headers of the token. Only with an access key.
            client_protocol: ``"default"``, ``"mqtt"`` or ``"socketio"``.
            **call: See `Service`.

        Raises:
            ServiceError: the service did not make the token.
            ValueError: a name that the service does not allow, a lifetime that is not positive, or claims or headers
                where the service makes the token.
            TypeError: a ``str`` where several are expected.

        Cancellation: nothing happened that matters.
        """
        access = await self.client_access(
            user_id=user_id,
            roles=roles,
            groups=groups,
            lifetime=lifetime,
            claims=claims,
            token_headers=token_headers,
            client_protocol=client_protocol,
            **call,
        )
        return access.url

    async def client_access(
        self,
        *,
        user_id: str | None = None,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        lifetime: timedelta = timedelta(hours=1),
        claims: Mapping[str, Any] | None = None,
        token_headers: Mapping[str, Any] | None = None,
        client_protocol: ClientProtocol = "default",
        **call: Unpack[CallOptions],
    ) -> ClientAccess:
        """Make the same in its parts: address, token, and when the token expires.

        Arguments and errors are those of `client_access_url`.

        Cancellation: nothing happened that matters.
        """
        audience = client_audience(self.endpoint, self._hub, client_protocol)
        base_url = client_base_url(self.endpoint, self._hub, client_protocol)
        credential = self._requests.credential
        if isinstance(credential, SignedRequests):
            await trio.lowlevel.checkpoint()
            token = tokens.client_access_token(
                credential.key,
                audience=audience,
                now=wall_time(),
                lifetime=lifetime / timedelta(seconds=1),
                user_id=user_id,
                roles=roles,
                groups=groups,
                claims=claims,
                headers=token_headers,
            )
        else:
            if claims or token_headers:
                raise ValueError("claims and token_headers need an access key: the service makes the token here")
            operation = operations.generate_client_token(
                self._hub,
                user_id=user_id,
                roles=roles,
                groups=groups,
                lifetime=lifetime,
                client_protocol=client_protocol,
            )
            answer = await self._requests.call(operation, **call)
            try:
                token = read_token(answer.body)
            except ValueError as error:
                raise ServiceError(str(error), status_code=answer.status_code) from None
        return ClientAccess(base_url, token, tokens.expires_at(token))

    # Messages

    async def send_to_all(
        self,
        message: Any,
        *,
        excluded: Iterable[str] = (),
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Send a message to every connection of the hub.

        Args:
            message: ``str`` travels as text; bytes-like objects, binary files and iterables of bytes (sync or async,
                read whole first, at most 1 MiB) as binary; text files as text; anything else as JSON.
            excluded: Ids of connections that are left out.
            filter: Only connections that this OData expression fits, such as ``userId ne 'ann'``; see `odata`.
            content_type: How ``message`` travels, where its type should not decide: ``application/json`` makes JSON of
                a ``str`` and sends bytes as they are.
            message_ttl_seconds: How long it may wait for a slow or disconnected client, 0 to 300; 0 stands for no end.
            metadata: Sent with the message (a preview of the service).
            **call: See `Service`.

        Raises:
            ServiceError: the service did not take the message; see `Service` for the kinds.
            ValueError: an argument that the service does not take; nothing was sent.
            TypeError: an argument of the wrong type, or a message that does not fit ``content_type``; nothing was sent.
            MessageTooLarge: a file or iterable held more than 1 MiB; nothing was sent.

        Cancellation: the message may have been sent or not.
        """
        operation = operations.send_to_all(
            self._hub,
            await read_message(message),
            excluded=excluded,
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._requests.call(operation, **call)

    async def send_to_group(
        self,
        group: str,
        message: Any,
        *,
        excluded: Iterable[str] = (),
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Send a message to every connection in a group. An empty group is no error.

        Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        operation = operations.send_to_group(
            self._hub,
            group,
            await read_message(message),
            excluded=excluded,
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._requests.call(operation, **call)

    async def send_to_user(
        self,
        user_id: str,
        message: Any,
        *,
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Send a message to every connection of a user. A user without connections is no error.

        The service does not find user ids with a slash or a percent sign here; `send_to_all` with
        ``filter=odata("userId eq {}", user_id)`` does.

        Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        operation = operations.send_to_user(
            self._hub,
            user_id,
            await read_message(message),
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._requests.call(operation, **call)

    async def send_to_connection(
        self,
        connection_id: str,
        message: Any,
        *,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Send a message to one connection. A connection that does not exist is no error.

        Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        operation = operations.send_to_connection(
            self._hub,
            connection_id,
            await read_message(message),
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._requests.call(operation, **call)

    # Connections

    async def connection_exists(self, connection_id: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether a connection exists.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.connection_exists(self._hub, connection_id), **call)

    async def group_exists(self, group: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether anybody is in a group.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.group_exists(self._hub, group), **call)

    async def user_exists(self, user_id: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether a user has a connection.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.user_exists(self._hub, user_id), **call)

    async def close_connection(
        self, connection_id: str, *, reason: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Close a connection; ``reason`` is told to its client. One that does not exist is no error.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.close_connection(self._hub, connection_id, reason=reason), **call)

    async def close_all_connections(
        self, *, excluded: Iterable[str] = (), reason: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Close all connections of the hub but the ``excluded`` ids; ``reason`` is told to their clients.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.
            TypeError: ``user_id`` was given, as some guides say; `close_user_connections` takes one.

        Cancellation: it may have happened or not.
        """
        if "user_id" in call:
            raise TypeError("this closes the connections of all users; close_user_connections(user_id) those of one")
        operation = operations.close_all_connections(self._hub, excluded=excluded, reason=reason)
        await self._requests.call(operation, **call)

    async def close_group_connections(
        self,
        group: str,
        *,
        excluded: Iterable[str] = (),
        reason: str | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Close all connections in a group but the ``excluded`` ids; ``reason`` is told to their clients.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.close_group_connections(self._hub, group, excluded=excluded, reason=reason)
        await self._requests.call(operation, **call)

    async def close_user_connections(
        self,
        user_id: str,
        *,
        excluded: Iterable[str] = (),
        reason: str | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Close all connections of a user but the ``excluded`` ids; ``reason`` is told to their clients.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.close_user_connections(self._hub, user_id, excluded=excluded, reason=reason)
        await self._requests.call(operation, **call)

    # Groups

    def list_connections(
        self,
        group: str,
        *,
        limit: int | None = None,
        page_size: int | None = None,
        **call: Unpack[CallOptions],
    ) -> GroupMembers:
        """List who is in a group: ``async for member in service.list_connections("lobby")``.

        Args:
            group: Which; one that nobody is in has no members.
            limit: How many members are listed at most.
            page_size: How many come with one request, 1 to 200; by default as many as the service likes.
            **call: See `Service`.

        Raises:
            ValueError: a name or number that the service does not take.
        """

        async def ask(operation: Operation) -> MemberPage:
            answer = await self._requests.call(operation, **call)
            try:
                return read_members(answer.body)
            except ValueError as error:
                raise ServiceError(str(error), status_code=answer.status_code) from None

        return GroupMembers(operations.list_connections(self._hub, group, limit=limit, page_size=page_size), limit, ask)

    async def add_connection_to_group(self, group: str, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Put a connection into a group.

        Raises:
            TargetNotFound: there is no such connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.add_connection_to_group(self._hub, group, connection_id), **call)

    async def remove_connection_from_group(self, group: str, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Take a connection out of a group. One that is not in it is no error.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.remove_connection_from_group(self._hub, group, connection_id), **call)

    async def remove_connection_from_all_groups(self, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Take a connection out of all groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.remove_connection_from_all_groups(self._hub, connection_id), **call)

    async def add_user_to_group(self, group: str, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Put all connections that a user has now into a group. Later ones are not in it by themselves.

        Raises:
            TargetNotFound: the user has no connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.add_user_to_group(self._hub, group, user_id), **call)

    async def remove_user_from_group(self, group: str, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Take all connections of a user out of a group.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.remove_user_from_group(self._hub, group, user_id), **call)

    async def remove_user_from_all_groups(self, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Take all connections of a user out of all groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.remove_user_from_all_groups(self._hub, user_id), **call)

    async def add_connections_to_groups(
        self, groups: Iterable[str], *, filter: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Put all connections that ``filter`` fits, or without it all of the hub, into several groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.
            ValueError: there are no groups, or one cannot be called that.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.add_connections_to_groups(self._hub, groups, filter=filter), **call)

    async def remove_connections_from_groups(
        self, groups: Iterable[str], *, filter: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Take all connections that ``filter`` fits, or without it all of the hub, out of several groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.
            ValueError: there are no groups, or one cannot be called that.

        Cancellation: it may have happened or not.
        """
        await self._requests.call(operations.remove_connections_from_groups(self._hub, groups, filter=filter), **call)

    # Permissions

    async def grant_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> None:
        """Allow a connection to join and leave a group, or to send to it, from now on.

        Args:
            permission: ``"joinLeaveGroup"`` or ``"sendToGroup"``.
            connection_id: Whose.
            target_name: The group. ``None`` means every group; the specification leaves open whether that works.
            **call: See `Service`.

        Raises:
            TargetNotFound: there is no such connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.grant_permission(self._hub, permission, connection_id, target_name=target_name)
        await self._requests.call(operation, **call)

    async def revoke_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> None:
        """Forbid it again. A membership stays.

        Arguments are those of `grant_permission`.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.revoke_permission(self._hub, permission, connection_id, target_name=target_name)
        await self._requests.call(operation, **call)

    async def has_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> bool:
        """Tell whether a connection may join and leave a group, or send to it.

        Arguments are those of `grant_permission`.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        operation = operations.has_permission(self._hub, permission, connection_id, target_name=target_name)
        return await self._ask(operation, **call)

    # The rest

    async def health(self, **call: Unpack[CallOptions]) -> None:
        """Ask whether the service is well; returns if it is.

        Raises:
            ServiceError: it is not, or cannot be reached.

        Cancellation: nothing happened.
        """
        await self._requests.call(operations.health(), **call)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
        **call: Unpack[CallOptions],
    ) -> Answer:
        """Make a request that has no method here, such as one of a preview of the API.

        It is signed, and raises like the others. It is tried again only where nothing was done, unless ``method`` is
        one that may be repeated: GET, HEAD, PUT or DELETE.

        Args:
            method: The HTTP method.
            path: Percent-encoded, such as ``/api/hubs/chat/:send``.
            params: The query; ``api-version`` is that of the service client unless it is given here.
            content: The body.
            **call: See `Service`.

        Returns:
            Status, headers and body, of a status from 200 to 299.

        Raises:
            ServiceError: it failed; see `Service` for the kinds.
            ValueError: method or path cannot be used; nothing was sent.

        Cancellation: it may have happened or not.
        """
        return await self._requests.call(operations.any_request(method, path, params or {}, content), **call)

    async def _ask(self, operation: Operation, **call: Unpack[CallOptions]) -> bool:
        try:
            await self._requests.call(operation, **call)
        except TargetNotFound:
            return False
        return True
