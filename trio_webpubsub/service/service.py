"""The service client: one method for each operation, one place where requests are signed, sent and judged."""

from __future__ import annotations

import logging
import ssl
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import httpx
import trio

from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp
from .._shell.http import ConnectorTransport
from .._shell.randomness import system_bytes
from ..protocol import operations
from ..protocol.connection_string import ConnectionString
from ..protocol.names import check_hub
from ..protocol.operations import ContentType, Operation
from ..protocol.urls import Address, client_audience, client_url, is_loopback
from .credentials import AccessKey
from .errors import (
    AuthenticationFailed,
    InvalidRequest,
    OutcomeUnknown,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
)

_logger = logging.getLogger("trio_webpubsub.service")

_KINDS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: TargetNotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    429: Throttled,
}
_LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; what the service has to say is much shorter."""


@asynccontextmanager
async def open_service(
    connection_string: str,
    hub: str,
    *,
    request_timeout: float = 30.0,
    ssl_context: ssl.SSLContext | None = None,
    allow_insecure: bool = False,
    connector: Connector = connect_tcp,
) -> AsyncGenerator[Service]:
    """Open a client for the REST API of one hub; leaving the block closes its connections.

    One client serves a whole application, any number of tasks at once. Opening it does not connect.

    Args:
        connection_string: ``Endpoint=https://...;AccessKey=...;``, as the Azure portal and the emulator show it.
        hub: The hub that all calls are about.
        request_timeout: Seconds for one call, connecting included; ``math.inf`` for no limit.
        ssl_context: For https; by default one that trusts the system's authorities.
        allow_insecure: Whether requests, and tokens with them, may leave this machine without TLS.
        connector: Where connections come from.

    Raises:
        ValueError: the connection string, the hub's name or the timeout cannot be used, or the endpoint is neither
            https nor on this machine.

    Cancellation: all connections are closed.
    """
    resource = ConnectionString.parse(connection_string)
    check_hub(hub)
    if not request_timeout > 0:
        raise ValueError("request_timeout must be a positive number of seconds")
    address = Address.parse(resource.endpoint)
    if address.scheme == "http" and not (is_loopback(address.host) or allow_insecure):
        raise ValueError("the endpoint is not https: tokens would travel in the open (allow_insecure=True lets them)")
    async with ConnectorTransport(connector, ssl_context=ssl_context) as transport:
        yield Service(resource.endpoint, hub, AccessKey(resource.access_key), transport, request_timeout)


class Service:
    """The REST API of one hub; see `open_service`.

    Every call raises `ServiceError` when it fails, of these kinds among others: `ServiceUnreachable` (nothing was
    sent), `OutcomeUnknown` (no answer came), `InvalidRequest`, `AuthenticationFailed`, `TargetNotFound`, `Throttled`.
    After the block of `open_service` it raises ``trio.ClosedResourceError``.
    """

    def __init__(
        self, endpoint: str, hub: str, key: AccessKey, transport: httpx.AsyncBaseTransport, request_timeout: float
    ) -> None:
        """Made by `open_service`."""
        self._endpoint = endpoint
        self._hub = hub
        self._key = key
        self._transport = transport
        self._request_timeout = request_timeout

    def __repr__(self) -> str:
        return f"<Service of hub {self._hub!r} at {self._endpoint}>"

    @property
    def hub(self) -> str:
        """The hub that all calls are about."""
        return self._hub

    @property
    def endpoint(self) -> str:
        """Where the service is: ``https://host[:port]``."""
        return self._endpoint

    async def client_access_url(
        self,
        *,
        user_id: str | None = None,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        lifetime: timedelta = timedelta(hours=1),
    ) -> str:
        """Make the URL with which a client connects to the hub. It holds a token, so it is a secret.

        Args:
            user_id: Whom the client is; ``None`` for an anonymous one.
            roles: What it may do, such as ``webpubsub.joinLeaveGroup`` or ``webpubsub.sendToGroup.lobby``; without
                roles it can only send events.
            groups: What it is a member of from the beginning.
            lifetime: How long one can connect with it; an open connection outlives it.

        Raises:
            ValueError: a name that the service does not allow, or a lifetime that is not positive.
            TypeError: a ``str`` where several are expected.

        Cancellation: nothing happened; the URL is made here, without asking the service.
        """
        await trio.lowlevel.checkpoint()
        token = self._key.client_token(
            audience=client_audience(self._endpoint, self._hub),
            now=wall_time(),
            lifetime=lifetime / timedelta(seconds=1),
            user_id=user_id,
            roles=roles,
            groups=groups,
        )
        return client_url(self._endpoint, self._hub, token)

    async def send_to_all(
        self,
        message: Any,
        *,
        excluded: Iterable[str] = (),
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
    ) -> None:
        """Send a message to every connection of the hub.

        Args:
            message: ``str`` travels as text, bytes-like objects as binary, anything else as JSON.
            excluded: Ids of connections that are left out.
            filter: Only connections that this OData expression fits, such as ``userId ne 'ann'``.
            content_type: How ``message`` travels, where its type should not decide: ``application/json`` makes JSON of
                a ``str`` and sends bytes as they are.
            message_ttl_seconds: How long it may wait for a slow or disconnected client, 0 to 300; 0 stands for no end.

        Raises:
            ServiceError: the service did not take the message; see `Service` for the kinds.
            ValueError: an argument that the service does not take; nothing was sent.
            TypeError: an argument of the wrong type, or a message that does not fit ``content_type``; nothing was sent.

        Cancellation: the message may have been sent or not.
        """
        await self._call(
            operations.send_to_all(
                self._hub,
                message,
                excluded=excluded,
                filter=filter,
                content_type=content_type,
                message_ttl_seconds=message_ttl_seconds,
            )
        )

    async def send_to_group(
        self,
        group: str,
        message: Any,
        *,
        excluded: Iterable[str] = (),
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
    ) -> None:
        """Send a message to every connection in a group. An empty group is no error.

        Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        await self._call(
            operations.send_to_group(
                self._hub,
                group,
                message,
                excluded=excluded,
                filter=filter,
                content_type=content_type,
                message_ttl_seconds=message_ttl_seconds,
            )
        )

    async def send_to_user(
        self,
        user_id: str,
        message: Any,
        *,
        filter: str | None = None,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
    ) -> None:
        """Send a message to every connection of a user. A user without connections is no error.

        The service does not find user ids with a slash or a percent sign here; `send_to_all` with
        ``filter="userId eq 'tenant/ann'"`` does. Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        await self._call(
            operations.send_to_user(
                self._hub,
                user_id,
                message,
                filter=filter,
                content_type=content_type,
                message_ttl_seconds=message_ttl_seconds,
            )
        )

    async def send_to_connection(
        self,
        connection_id: str,
        message: Any,
        *,
        content_type: ContentType | None = None,
        message_ttl_seconds: int | None = None,
    ) -> None:
        """Send a message to one connection. A connection that does not exist is no error.

        Arguments and errors are those of `send_to_all`.

        Cancellation: the message may have been sent or not.
        """
        await self._call(
            operations.send_to_connection(
                self._hub, connection_id, message, content_type=content_type, message_ttl_seconds=message_ttl_seconds
            )
        )

    async def _call(self, operation: Operation) -> None:
        url = self._endpoint + operation.target()
        request_id = str(uuid.UUID(bytes=system_bytes(16), version=4))
        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        request = httpx.Request(
            operation.method,
            url,
            headers=[
                ("authorization", f"Bearer {self._key.request_token(url, wall_time())}"),
                ("accept", "application/json"),
                ("user-agent", "trio-webpubsub"),
                ("x-ms-client-request-id", request_id),
                *operation.headers,
            ],
            content=operation.body,
            extensions={"sending": sending},
        )
        started = trio.current_time()
        status: int | None = None
        try:
            with trio.fail_after(self._request_timeout):
                response = await self._transport.handle_async_request(request)
                body = await _read(response)
            status = response.status_code
        except (httpx.TransportError, trio.TooSlowError) as error:
            reason = str(error) or f"no answer within {self._request_timeout:g} s"
            raise (OutcomeUnknown if sent else ServiceUnreachable)(reason, request_id=request_id) from error
        finally:
            _logger.debug(
                "%s %s: %s, %.1f ms, request %s",
                operation.method,
                operation.path,
                status or "no answer",
                (trio.current_time() - started) * 1000,
                request_id,
            )
        if not response.is_success:
            code, message = operations.read_error(response.status_code, response.headers, body)
            kind = _KINDS.get(response.status_code, ServiceError)
            raise kind(message, status_code=response.status_code, error_code=code, request_id=request_id)


async def _read(response: httpx.Response) -> bytes:
    body = b""
    async with aclosing(response):
        async for part in cast("httpx.AsyncByteStream", response.stream):
            body += part
            if len(body) > _LARGEST_ANSWER:
                break
    return body[:_LARGEST_ANSWER]
