"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from .._shell.blocks import AsyncOnly
from ..protocol.operations import Operation, next_page
from ..protocol.rest_answers import GroupMember, MemberPage
from .errors import ServiceError


class GroupMembers(AsyncOnly):
    """The members of a group: ``async for member in service.list_connections("lobby")``.

    Each iteration asks anew. One request is made for each page, when the first of its members is wanted; nothing stays
    open between them, so an iteration can be left at any time.
    """

    _origin = "service.list_connections(group)"

    def __init__(self, first: Operation, limit: int | None, ask: Callable[[Operation], Awaitable[MemberPage]]) -> None:
        """Made by `Service.list_connections`."""
        self._first = first
        self._limit = limit
        self._ask = ask

    def __aiter__(self) -> AsyncIterator[GroupMember]:
        return _Members(self.by_page(), self._limit)

    def by_page(self, continuation_token: str | None = None) -> AsyncIterator[MemberPage]:
        """Give whole pages, each with the token with which the list can be gone on with later.

        Args:
            continuation_token: That of the page before; without, the list begins.

        Raises:
            ValueError: the token is none.
        """
        return _Pages(self._first, continuation_token, self._ask)


class _Pages:
    # Written out, since an async generator that is left early would be finalised by the garbage collector.

    def __init__(
        self, first: Operation, continuation_token: str | None, ask: Callable[[Operation], Awaitable[MemberPage]]
    ) -> None:
        self._first = first
        self._next: Operation | None = first if continuation_token is None else next_page(first, continuation_token)
        self._ask = ask

    def __aiter__(self) -> AsyncIterator[MemberPage]:
        return self

    async def __anext__(self) -> MemberPage:
        if self._next is None:
            raise StopAsyncIteration
        page = await self._ask(self._next)
        token = page.continuation_token
        following = None if token is None else next_page(self._first, token)
        if following == self._next:
            raise ServiceError("the list goes in a circle: after this page the same one follows")
        self._next = following
        return page


class _Members:
    def __init__(self, pages: AsyncIterator[MemberPage], limit: int | None) -> None:
        self._pages = pages
        self._left = limit
        self._members: list[GroupMember] = []  # of the present page, the next one last

    def __aiter__(self) -> AsyncIterator[GroupMember]:
        return self

    async def __anext__(self) -> GroupMember:
        if self._left == 0:
            raise StopAsyncIteration
        await trio.lowlevel.checkpoint()
        while not self._members:
            self._members = (await anext(self._pages)).members[::-1]
        if self._left is not None:
            self._left -= 1
        return self._members.pop()
