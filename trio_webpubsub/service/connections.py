"""Who is connected, and who is not any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from ..protocol import operations
from .calls import CallOptions, Calls


class Connections(Calls):
    """The part of `Service` about connections."""

    async def connection_exists(self, connection_id: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether a connection exists.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.connection_exists(self._hub, connection_id), call)

    async def group_exists(self, group: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether anybody is in a group.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.group_exists(self._hub, group), call)

    async def user_exists(self, user_id: str, **call: Unpack[CallOptions]) -> bool:
        """Tell whether a user has a connection.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        return await self._ask(operations.user_exists(self._hub, user_id), call)

    async def close_connection(
        self, connection_id: str, *, reason: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Close a connection; ``reason`` is told to its client. One that does not exist is no error.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.close_connection(self._hub, connection_id, reason=reason), call)

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
        await self._call(operation, call)

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
        await self._call(operation, call)

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
        await self._call(operation, call)
