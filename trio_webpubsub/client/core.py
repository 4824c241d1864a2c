"""What stands between the client's face and its background tasks: the session, and everybody who waits for it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import trio

from ..errors import ClientStopped, ConnectFailed, GroupLost, WebPubSubError
from ..protocol import wire
from ..protocol.group_state import StateChanged, StateRefused
from ..protocol.invocations import Invocation
from ..protocol.messages import Connected, Gap, Recovered, RejoinFailed, SendResult
from ..protocol.outgoing_stream import OutgoingStream
from ..protocol.pending import Done, Operation, Refused
from ..protocol.session import DETACHED, Session
from ..protocol.session_values import Delivery, GroupRefused, Output
from ..protocol.ticket import SessionTicket, UnreadMessage
from ..protocol.urls import ClientUrl
from .connection import Connection, shown
from .outcomes import error_of, response_of
from .own_thread import OwnThread
from .route import Route
from .router import Key, Router
from .state_watchers import StateWatchers
from .statistics import ClientStatistics
from .supervisor import OpenTransport, Supervisor
from .transport import Transport
from .url_source import UrlSource

logger: logging.Logger = logging.getLogger("trio_webpubsub.client")

MAX_POSTED_BYTES = 256 * 1024
"""Sends without an ack wait while more than this is queued for the writer."""

AT_ONCE = 32
"""So many frames of callers who wait for acks are written without waiting for more, so that the service can begin."""

POSTS_PER_SCHEDULE_POINT = 64
LAST_WRITES = 0.5
"""Seconds that a session which is being detached gets for writing what is queued."""
NORMAL_CLOSURE = 1000
HANDED_OVER = wire.StreamEndError("the sender's session was handed over", "Cancelled")
"""What readers of a stream are told, which cannot be handed over."""


class Core:
    """Waits for the session on behalf of callers, and hands its outputs on."""

    def __init__(
        self,
        *,
        session: Session,
        urls: UrlSource,
        first_url: ClientUrl,
        open_transport: OpenTransport,
        connect_timeout: float,
        reconnect: Callable[[], Iterable[float]] | None,
        max_pending_sends: int,
        max_pending_bytes: int,
        log_payloads: bool,
    ) -> None:
        self.session = session
        self.router: Router = Router()
        self.states: StateWatchers = StateWatchers()
        self.thread: OwnThread = OwnThread()
        self._log_payloads = log_payloads
        self._supervisor = Supervisor(
            session,
            urls=urls,
            first_url=first_url,
            open_transport=open_transport,
            make_connection=self._make_connection,
            dispatch=self._dispatch,
            connect_timeout=connect_timeout,
            reconnect=reconnect,
            random=random.random,
        )
        self._max_pending_sends = max_pending_sends
        self._max_pending_bytes = max_pending_bytes
        self._room = trio.lowlevel.ParkingLot()  # for callers that wait until less is pending
        self._behind = trio.lowlevel.ParkingLot()  # for callers, and a block being left, until enough is written
        self._post_credit = POSTS_PER_SCHEDULE_POINT
        self._ready = trio.Event()
        self._detached = False
        self._stopped = trio.Event()
        self._stop_reason = ""
        self._failure: ConnectFailed | None = None
        self._failure_told = False

    # Group subscriptions

    async def enter_group(self, group: str, key: Key, route: Route[Any], also: Key | None) -> None:
        """Join for a subscription. The route stands before the join goes out, so that no message is missed."""
        operation: Operation | None = None

        def start() -> Operation:
            nonlocal operation
            operation = self.session.outgoing.subscribe(group)
            self.router.add(key, route, also)  # nothing is written before this returns
            return operation

        try:
            await self.perform(start)
        except BaseException:  # cancellation too: the route would stay for ever
            if operation is not None:
                refused = isinstance(operation.outcome, Refused)
                self._drop_route(group, key, route, also, maybe_joined=operation.writes > 0 and not refused)
            raise

    def release_group(self, group: str, key: Key, route: Route[Any], also: Key | None) -> None:
        """End a subscription that joined its group."""
        self._drop_route(group, key, route, also, maybe_joined=True)

    def _drop_route(self, group: str, key: Key, route: Route[Any], also: Key | None, *, maybe_joined: bool) -> None:
        if self.router.remove(key, route, also):
            self.session.outgoing.unsubscribe(group, maybe_joined=maybe_joined)
            self.wake_writer()

    # Operations

    async def perform(self, start: Callable[[], Operation]) -> SendResult:
        """Start an operation as soon as few enough are pending, and make its outcome a result or an error."""
        if get_ident() != self.thread.ident:
            self.thread.check()
        if not self._has_room or self.session.state == "stopped":
            await self._wait_for_room()
        pending = self.session.outgoing.pending
        waiting = pending.waiting
        at_once = not pending or waiting >= AT_ONCE - 1
        try:
            if at_once:  # before there is a chance to withdraw it
                await trio.lowlevel.checkpoint_if_cancelled()
            operation = start()
        finally:
            if self._room:  # what woke this task may make room for more than this, and this may not want it
                self._offer_room()
        operation.wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        if at_once:
            self._write()
        elif not waiting:  # other tasks send as well, so that much can go together
            self.wake_writer()
        await trio.lowlevel.wait_task_rescheduled(partial(self._withdraw, operation))
        outcome = operation.outcome
        if isinstance(outcome, Done):
            return SendResult(ack_id=operation.ack_id, duplicated=outcome.duplicated)
        raise error_of(operation, self.stopped_error)

    def _withdraw(self, operation: Operation, _: Callable[[], None]) -> trio.lowlevel.Abort:
        self.session.outgoing.withdraw(operation)
        self._offer_room()
        self.wake_writer()  # a join may have to be undone
        return trio.lowlevel.Abort.SUCCEEDED

    async def _wait_for_room(self) -> None:
        self.raise_if_stopped()
        while not self._has_room:
            await self._room.park()
            self.raise_if_stopped()

    @property
    def _has_room(self) -> bool:
        pending = self.session.outgoing.pending
        return len(pending) < self._max_pending_sends and pending.bytes < self._max_pending_bytes

    def _offer_room(self) -> None:
        """Let the caller that has waited longest go on, who then lets the next one, as far as there is room."""
        if self._room and self._has_room:
            self._room.unpark()

    async def post(self, message: wire.SendToGroup | wire.SendEvent) -> None:
        """Queue a message that nobody waits for, as soon as there is a link and its writer keeps up."""
        if get_ident() != self.thread.ident:
            self.thread.check()
        self._post_credit -= 1
        if self._post_credit:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._post_credit = POSTS_PER_SCHEDULE_POINT
            await trio.lowlevel.checkpoint()
        outgoing = self.session.outgoing
        if not self.session.can_post or outgoing.pending.posted_bytes >= MAX_POSTED_BYTES:
            await self._wait_for_writer()
        if outgoing.post(message):  # else the writer was woken for what is there, and takes this as well
            self.wake_writer()

    async def _wait_for_writer(self) -> None:
        session = self.session
        self.raise_if_stopped()
        while not session.can_post or session.outgoing.pending.posted_bytes >= MAX_POSTED_BYTES:
            await self._behind.park()
            self.raise_if_stopped()

    async def invoke(self, message: wire.Invoke) -> wire.InvokeResponse:
        """Wait for an invocation's response, as soon as there is a link and its writer keeps up."""
        self.thread.check()
        await self._wait_for_writer()
        invocation = self.session.outgoing.invoke(message, trio.current_time())
        invocation.wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        self.wake_writer()

        def abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
            self.session.outgoing.withdraw_invocation(invocation)
            self.wake_writer()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return response_of(invocation, self.raise_if_stopped)

    def log_sent(self, message: object) -> None:
        """Log what one call sends."""
        logger.debug("sending %s", shown(message))

    def log_received(self, message: object) -> None:
        """Log what one call got."""
        logger.debug("received %s", shown(message))

    # How it stands

    @property
    def hub(self) -> str:
        """Where this is a client."""
        return self._supervisor.url.hub

    @property
    def token_expires_at(self) -> float | None:
        """When the token of the present URL expires."""
        return self._supervisor.token_expires_at

    async def wait_stopped(self) -> str:
        """Wait for the end; gives its reason."""
        self.thread.check()
        await self._stopped.wait()
        return self._stop_reason

    def statistics(self) -> ClientStatistics:
        """Count what there is to count."""
        counts = self.session.counts
        return ClientStatistics(
            messages_received=counts.messages_received,
            frames_received=counts.frames_received,
            bytes_received=counts.bytes_received,
            frames_sent=counts.frames_sent,
            bytes_sent=counts.bytes_sent,
            repeated=counts.repeated,
            unrouted=self.router.unrouted,
            dropped=self.router.dropped,
            undecodable=counts.undecodable,
            unreadable=counts.unreadable,
            unknown=counts.unknown,
            sends_lost=counts.posts_lost,
            pending_sends=len(self.session.outgoing.pending),
            last_round_trip=counts.last_round_trip,
            recoveries=counts.recoveries,
            reconnects=max(0, counts.sessions - 1),
            connected_since=counts.connected_since,
        )

    # The end of it all

    def end_of_subscriptions(self) -> Exception | None:
        """How subscriptions end after the client: normally with its block, with an error when it gave up."""
        return None if self._failure is None else self._give_up_error()

    def untold_failure(self) -> Exception | None:
        """Give the error with which the client gave up, if nobody has been told yet."""
        return None if self._failure is None or self._failure_told else self._give_up_error()

    def raise_if_stopped(self) -> None:
        """Raise what every operation of a client that has ended does."""
        if self.session.state == "stopped":
            raise self.stopped_error()

    def stopped_error(self) -> Exception:
        """Give what operations of a client that has ended raise."""
        if self._failure is None:
            return trio.ClosedResourceError(self._stop_reason)
        return self._give_up_error()

    def _give_up_error(self) -> Exception:
        self._failure_told = True
        error = ClientStopped(str(self._failure))
        error.__cause__ = self._failure
        return error

    # What the background tasks call

    def _make_connection(self, transport: Transport) -> Connection:
        return Connection(
            self.session, transport, self.router, self._dispatch, self._written, log_payloads=self._log_payloads
        )

    def _dispatch(self, outputs: Sequence[Output]) -> None:
        """Hand a session's outputs to whoever waits for them, in order."""
        for output in outputs:
            match output:
                case Delivery(messages, sizes):
                    self.router.messages(messages, sizes)
                case Operation() | Invocation() | OutgoingStream():
                    if output.wake is not None:
                        output.wake()
                case Gap():
                    self.router.gap(output)
                case GroupRefused(group=group, rejoin=rejoin):
                    self._group_refused(group, rejoin)
                case StateChanged(observed=observed, changes=changes):
                    self.states.changed(observed, changes)
                case StateRefused():
                    self._state_refused(output)
                case _:
                    logger.info("%s", shown(output))
                    self.router.lifecycle(output)
                    if isinstance(output, Connected | Recovered):
                        self._ready.set()
                        self._behind.unpark_all()
        self._offer_room()  # not where operations are woken: some have nobody to be woken

    def _group_refused(self, group: str, rejoin: Operation | None) -> None:
        reason = self._rejoin_failure(group, rejoin, "could not be joined again")
        self.router.end_group(group, lambda: GroupLost(group, reason))

    def _state_refused(self, refused: StateRefused) -> None:
        what = "does not know this client's state any more" if refused.observed is None else "does not tell its states"
        reason = self._rejoin_failure(refused.group, refused.operation, what)
        if refused.observed is not None:
            self.states.lost(refused.observed, lambda: GroupLost(refused.group, reason))

    def _rejoin_failure(self, group: str, operation: Operation | None, consequence: str) -> Exception:
        """Say why a group is not in the new session what it was in the last one, and tell of what was tried."""
        if operation is None:
            return WebPubSubError("the session was lost, and groups are not joined again (auto_rejoin=False)")
        reason = error_of(operation, self.stopped_error)
        logger.warning("group %r %s: %s", group, consequence, shown(reason))
        self.router.lifecycle(RejoinFailed(group=group, error=reason))
        return reason

    def _written(self) -> None:
        """The writer has caught up a little."""
        if self._behind and self.session.outgoing.pending.posted_bytes < MAX_POSTED_BYTES:
            self._behind.unpark_all()

    def _write(self) -> None:
        """Write at once, if there is a link."""
        if self._supervisor.connection is not None:
            self._supervisor.connection.write()

    def wake_writer(self) -> None:
        """Something may be there to write."""
        if self._supervisor.connection is not None:
            self._supervisor.connection.wake_writer()

    # What the block calls

    @property
    def background(self) -> trio.CancelScope:
        """In which `run` has to be called: shielded, and cancelled when the block ends or the session is detached."""
        return self._supervisor.scope

    async def run(self) -> None:
        """Be the client until the session stops or no connection can be had."""
        try:
            await self._supervisor.run()
        except ConnectFailed as error:
            self._failure = error
            self.stop(f"gave up: {error}")

    async def wait_ready(self) -> None:
        """Wait for the first session.

        Raises:
            ConnectFailed: there is none.
        """
        await self._ready.wait()
        if self._failure is not None:
            self._failure_told = True
            raise self._failure

    async def detach(self) -> SessionTicket:
        """End the client, not the session, and give what another process needs to go on with it.

        Raises:
            RuntimeError: there is no session that could be recovered.
        """
        self.thread.check()
        await trio.lowlevel.checkpoint()
        self._raise_if_not_detachable()
        with trio.move_on_after(LAST_WRITES):  # what nobody waits for has no place in a ticket
            await self._drain()
        self._raise_if_not_detachable()
        if self.session.outgoing.streams.end_all(HANDED_OVER):
            with trio.move_on_after(LAST_WRITES, shield=True):
                await self._drain()
            self._raise_if_not_detachable()
        unread = {
            name: [UnreadMessage.of(message) for message in messages]
            for name, messages in self.router.take_unread().items()
        }
        self._detached = True
        ticket, outputs = self.session.detach(self._supervisor.url.without_tokens(), unread)
        self._dispatch(outputs)
        self.stop(DETACHED)
        connection = self._supervisor.connection
        with trio.CancelScope(shield=True):  # it takes no time, and a ticket must not be lost
            if connection is not None:
                await connection.abort()
        self._supervisor.stop()  # a recovery under way would take the session from whoever has the ticket
        return ticket

    def _raise_if_not_detachable(self) -> None:
        self.raise_if_stopped()
        if not self.session.can_detach:
            raise RuntimeError("only a session that can be recovered can be detached: a reliable one, while it lasts")

    async def leave(self, *, drain: bool) -> None:
        """Say goodbye: what is queued is written, then comes the closing handshake. Bounded by the caller."""
        if drain:
            await self._drain()
        self.stop("the block was left")
        if self._supervisor.connection is not None and not self._detached:
            await self._supervisor.connection.aclose(NORMAL_CLOSURE)

    async def _drain(self) -> None:
        self.wake_writer()
        while self.session.state != "stopped" and not self._all_written:
            await self._behind.park()

    def stop(self, reason: str) -> None:
        """End everything that anybody waits for. Does nothing the second time."""
        if not self._stopped.is_set():
            self._stop_reason = reason
            self._stopped.set()
        self._dispatch(self.session.stop(reason))
        self.router.end_all(self.end_of_subscriptions)
        self.states.end_all(self.end_of_subscriptions)
        self._room.unpark_all()
        self._behind.unpark_all()
        self._ready.set()

    @property
    def _all_written(self) -> bool:
        connection = self._supervisor.connection
        return self.session.idle and not (connection is not None and connection.busy)
