"""Who is in which group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from ..protocol import operations
from ..protocol.operations import Operation
from ..protocol.rest_answers import MemberPage, read_members
from .calls import CallOptions, Calls
from .errors import ServiceError
from .pages import GroupMembers


class Groups(Calls):
    """The part of `Service` about groups."""

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
        self._check(call)

        async def ask(operation: Operation) -> MemberPage:
            answer = await self._call(operation, call)
            try:
                return read_members(answer.body)
            except ValueError as error:
                raise ServiceError(str(error), status_code=answer.status_code, request_id=answer.request_id) from None

        return GroupMembers(operations.list_connections(self._hub, group, limit=limit, page_size=page_size), limit, ask)

    async def add_connection_to_group(self, group: str, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Put a connection into a group.

        Raises:
            TargetNotFound: there is no such connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.add_connection_to_group(self._hub, group, connection_id), call)

    async def remove_connection_from_group(self, group: str, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Take a connection out of a group. One that is not in it is no error.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.remove_connection_from_group(self._hub, group, connection_id), call)

    async def remove_connection_from_all_groups(self, connection_id: str, **call: Unpack[CallOptions]) -> None:
        """Take a connection out of all groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.remove_connection_from_all_groups(self._hub, connection_id), call)

    async def add_user_to_group(self, group: str, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Put all connections that a user has now into a group. Later ones are not in it by themselves.

        Raises:
            TargetNotFound: the user has no connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.add_user_to_group(self._hub, group, user_id), call)

    async def remove_user_from_group(self, group: str, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Take all connections of a user out of a group.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.remove_user_from_group(self._hub, group, user_id), call)

    async def remove_user_from_all_groups(self, user_id: str, **call: Unpack[CallOptions]) -> None:
        """Take all connections of a user out of all groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.remove_user_from_all_groups(self._hub, user_id), call)

    async def add_connections_to_groups(
        self, groups: Iterable[str], *, filter: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Put all connections that ``filter`` fits, or without it all of the hub, into several groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.
            ValueError: there are no groups, or one cannot be called that.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.add_connections_to_groups(self._hub, groups, filter=filter), call)

    async def remove_connections_from_groups(
        self, groups: Iterable[str], *, filter: str | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Take all connections that ``filter`` fits, or without it all of the hub, out of several groups.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.
            ValueError: there are no groups, or one cannot be called that.

        Cancellation: it may have happened or not.
        """
        await self._call(operations.remove_connections_from_groups(self._hub, groups, filter=filter), call)
