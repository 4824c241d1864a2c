"""Messages to all, a group, a user or a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from ..protocol import operations
from ..protocol.rest_messages import ContentType
from .bodies import read_message
from .calls import CallOptions, Calls


class Messages(Calls):
    """The part of `Service` that sends."""

    async def _read(self, message: Any, options: CallOptions) -> object:
        self._check(options)  # before anything is read that could not be read again
        return await read_message(message)

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
            message: ``str`` travels as text; bytes and whatever has a buffer (arrays, memory maps), files, and
                iterables of bytes, sync or async, as binary; anything else as JSON, ``None`` as ``null``. Files and
                iterables are read whole first, since the service wants to know the length; of a text file the UTF-8
                is sent. A message has at most 1 MiB.
            excluded: Ids of connections that are left out.
            filter: Only connections that this OData expression fits, such as ``userId ne 'ann'``; see `odata`.
            content_type: How ``message`` travels, where its type should not decide: ``application/json`` makes JSON of
                a ``str``; bytes (files and iterables too) are sent as they are, under each of the content types.
            message_ttl_seconds: How long it may wait for a slow or disconnected client, 0 to 300; 0 stands for no end.
            metadata: Sent with the message (a preview of the service), as headers: keys arrive in lower case, and
                values are ASCII without commas.
            **call: See `Service`.

        Raises:
            ServiceError: the service did not take the message; see `Service` for the kinds.
            ValueError: an argument that the service does not take; nothing was sent.
            TypeError: an argument of the wrong type, or a message that does not fit ``content_type``; nothing was sent.
            MessageTooLarge: it has more than 1 MiB; nothing was sent.

        Cancellation: the message may have been sent or not.
        """
        operation = operations.send_to_all(
            self._hub,
            await self._read(message, call),
            excluded=excluded,
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._call(operation, call)

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
            await self._read(message, call),
            excluded=excluded,
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._call(operation, call)

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
            await self._read(message, call),
            filter=filter,
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._call(operation, call)

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
            await self._read(message, call),
            content_type=content_type,
            message_ttl_seconds=message_ttl_seconds,
            metadata=metadata,
        )
        await self._call(operation, call)
