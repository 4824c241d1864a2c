"""The user's handle on a route: a channel of messages.

Handle and route are two, so that a forgotten handle is really finalised: nothing of ours refers to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import trio

from .._shell.blocks import AsyncOnly
from .route import Route
from .statistics import SubscriptionStatistics

M_co = TypeVar("M_co", covariant=True)
M = TypeVar("M")


class Subscription(AsyncOnly, trio.abc.ReceiveChannel[M_co]):
    """Messages as they come: a `trio.abc.ReceiveChannel`.

    Get one from `Client.group_messages`, `Client.server_messages`, `Client.messages` or `Client.lifecycle`, and iterate
    over it. Several tasks may share one; each message then goes to one of them.

    It ends when the client's block ends (what is buffered first, then the iteration is over), with `ClientStopped` when
    the client gave up, with `SubscriptionOverflow` when its consumer was too slow, and with `GroupLost` when its group
    could not be joined again after a lost session: each after what is buffered.

    Back-pressure: a consumer that keeps taking is waited for. One that stands still never stops the client; what
    becomes of messages that do not fit is decided by the ``overflow`` given when the subscription was made.
    """

    _origin = "client.group_messages(group)"

    def __init__(
        self,
        route: Route[M_co],
        *,
        enter: Callable[[], Awaitable[None]] | None,
        release: Callable[[], object],
        abandoned: list[Callable[[], object]],
    ) -> None:
        self._route = route
        self._enter = enter
        self._entering = trio.Lock()
        self._release = release
        self._abandoned = abandoned

    async def receive(self) -> M_co:
        """Give the next message. The first call joins the group, if that has not happened yet.

        Raises:
            trio.EndOfChannel: the client's block has ended.
            trio.ClosedResourceError: the subscription was closed.
            SendFailed: the service refused the join; the subscription is closed.
            ClientStopped: the client gave up.
            SubscriptionOverflow: this consumer was too slow, and some messages did not fit.
            GroupLost: the group could not be joined again after a lost session.

        Cancellation: no message is lost; a join under way is undone and the subscription is closed. When a message is
        already there this checks for cancellation but takes a schedule point only once in 64 messages.
        """
        if self._enter is not None:
            await self._join()
        return await self._route.receive()

    # One coroutine less for each message than the async method of trio's class, which no type can express.
    def __anext__(self) -> Coroutine[Any, Any, M_co]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._route.receive(StopAsyncIteration) if self._enter is None else self._join_and_take()

    async def _join_and_take(self) -> M_co:
        await self._join()
        return await self._route.receive(StopAsyncIteration)

    def receive_nowait(self) -> M_co:
        """Give a message that is already there.

        Raises:
            trio.WouldBlock: there is none, or the group was not joined yet.
            Exception: as `receive` does.
        """
        return self._route.receive_nowait()

    def statistics(self) -> SubscriptionStatistics:
        """Say how this subscription stands."""
        return self._route.statistics()

    def batches(self) -> AsyncIterator[list[M_co]]:
        """Iterate over lists: everything that is there, at least one message each. Quicker for very many messages.

        Errors, cancellation and back-pressure as for `receive`.
        """
        return _Batches(self, self._route)

    def close(self) -> None:
        """End the subscription now; messages in its buffer are thrown away.

        The last subscription to a group leaves the group, unless it was also joined with `Client.join_group`. This does
        not wait for the service.
        """
        self._release()
        self._route.close()

    async def aclose(self) -> None:
        """Do what `close` does, and let other tasks run.

        Cancellation: it is closed all the same.
        """
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        """Join the group, if that is how this subscription gets its messages.

        Raises:
            SendFailed: the service refused the join.
            trio.ClosedResourceError: the subscription was closed; make a new one.
            Exception: as `Client.join_group` does.

        Cancellation: the join is undone.
        """
        if self._enter is not None:
            await self._join()
        self._route.raise_if_closed()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    if not TYPE_CHECKING:  # as in `AsyncOnly`

        def __enter__(self) -> NoReturn:
            raise TypeError(f"this takes `async with`, not `with`: async with {self._origin} as messages:")

        def __exit__(self, *_: object) -> None: ...

    async def _join(self) -> None:
        async with self._entering:
            if self._enter is not None and not self._route.closed:
                await self._enter()
                self._enter = None

    def __del__(self) -> None:
        # Nobody can take from it any more. Finalisers run anywhere, so the receive loop does the rest on its next turn.
        if not self._route.closed:
            self._abandoned.append(self._release)


class _Batches(AsyncIterator[list[M]]):
    def __init__(self, subscription: Subscription[M], route: Route[M]) -> None:
        self._subscription = subscription
        self._route = route

    async def __anext__(self) -> list[M]:
        try:
            first = await self._subscription.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return [first, *self._route.take_all()]
