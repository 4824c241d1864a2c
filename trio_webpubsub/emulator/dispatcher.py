"""Brings the events of clients to their event handlers, and the answers back.

Blocking events (``connect``, user events, invocations) are waited for by the hub, one at a time for each connection.
The others, called notices, go out in the order in which they happened to a connection, beside its blocking events.

Source: the service's documentation of event handlers; what it leaves open (retries, times, cookies) is modelled on the
official emulator.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx
import trio

from .._shell.clock import wall_time
from .._shell.connector import Connector
from .._shell.http import ConnectorTransport
from ..protocol import cloudevents_service as ce
from ..protocol.cloudevents import MAX_STATE_SIZE, STATE
from ..protocol.wire import WireError
from .asgi import AppTransport, Lifespan
from .calls import Answer, CallFailed, Target, call
from .handlers import EventHandler, HandlerLimits, HandlerTable
from .hub import (
    AskEvent,
    ConnectAccepted,
    ConnectAnswer,
    ConnectRefused,
    ConnectRequest,
    EventAnswer,
    EventFailed,
    EventHandled,
    Hub,
    Notice,
    Notify,
    Token,
)
from .validation import Validations

_MOST_CONNECTIONS = 1_000
"""To handlers, so that one that hangs does not keep others from being called."""

_logger = logging.getLogger("trio_webpubsub.emulator")


@dataclass(slots=True, eq=False)
class _Conversation:
    """What handlers have been told of one connection, and what they gave it to keep."""

    hub: str
    state: str | None = None
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    last_event: int = 0
    """The id of the newest event; ``connect`` is 0."""
    notices: deque[tuple[EventHandler, Notify]] = field(default_factory=deque[tuple[EventHandler, Notify]])
    is_telling: bool = False


class EventDispatcher:
    """All traffic with event handlers."""

    def __init__(
        self,
        handlers: HandlerTable,
        limits: HandlerLimits,
        *,
        origins: Sequence[str],
        keys: Sequence[str],
        connector: Connector,
    ) -> None:
        """Say whom to call and how.

        Args:
            handlers: of all hubs.
            limits: times and sizes.
            origins: host, and host with port, under which the service is known.
            keys: sign the requests, the primary one first.
            connector: reaches handlers that are no apps in this process.
        """
        self._handlers = handlers
        self._limits = limits
        self._origin = origins[0]
        self._keys = keys
        self._http = ConnectorTransport(connector, max_connections=_MOST_CONNECTIONS)
        self._apps: dict[int, httpx.AsyncBaseTransport] = {}  # by identity: an app need not be hashable
        self._lifespans: list[Lifespan] = []
        self._validations = Validations(origins, limits, self._spawn)
        self._conversations: dict[str, _Conversation] = {}
        self._asked: dict[tuple[Hub, Token], trio.CancelScope] = {}
        self._busy = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery  # from `start` on

    # Its life

    async def start(self, nursery: trio.Nursery) -> None:
        """Begin; everything runs in ``nursery``.

        Raises:
            CannotStart: an app cannot start up.

        Cancellation: call `stop`.
        """
        self._nursery = nursery
        for app in self._handlers.apps:
            self._apps[id(app)] = AppTransport(app, nursery, max_body=self._limits.answer_size)
            lifespan = Lifespan(app)
            self._lifespans.append(lifespan)
            await lifespan.start(nursery)

    async def stop(self) -> None:
        """Tell what is still to be told, and let the apps shut down.

        Cancellation: neither is waited for.
        """
        try:
            while self._busy:
                await self._idle.park()
            for lifespan in self._lifespans:
                await lifespan.stop()
        finally:
            await self._http.aclose()  # waits for nobody

    def announced(self, hub: str) -> frozenset[Notice]:
        """Give the notices that are of use to the handlers of a hub; its name is in lower case."""
        return self._handlers.announced(hub)

    # Blocking events

    async def connect(
        self,
        hub: str,
        request: ConnectRequest,
        *,
        claims: Mapping[str, Sequence[str]],
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, Sequence[str]],
    ) -> ConnectAnswer:
        """Ask whether a client may connect to a hub, whose name is in lower case. Without a handler it may.

        Cancellation: it may not.
        """
        if not self._handlers.of_hub(hub):
            return ConnectAccepted()
        conversation = _Conversation(hub)
        handler = self._handlers.for_event(hub, "connect")
        answer: ConnectAnswer = ConnectAccepted()
        if handler is not None:
            write = partial(
                ce.write_connect,
                self._source(conversation, request.connection_id, request.user_id, None),
                time=wall_time(),
                claims=claims,
                query=query,
                headers=headers,
                subprotocols=request.subprotocols,
            )
            answer = await self._ask_connect(handler, conversation, write, request.subprotocols)
        if isinstance(answer, ConnectAccepted):
            self._conversations[request.connection_id] = conversation
        return answer

    async def _ask_connect(
        self,
        handler: EventHandler,
        conversation: _Conversation,
        write: Callable[[], ce.EventRequest],
        offered: Sequence[str],
    ) -> ConnectAnswer:
        try:
            answer = await self._call(handler, conversation, "connect", write)
        except CallFailed as error:
            _logger.warning("the connect event failed: %s", error)
            return ConnectRefused(500, "The event handler could not be asked.")
        read = ce.read_connect_answer(answer.status, answer.headers, answer.body, offered=offered)
        if isinstance(read, ce.HandlerFailure):
            _logger.info("the event handler refused a client: %s", read.detail)
            return ConnectRefused(read.client_status, "The event handler refused the connection.")
        conversation.state = read.state
        return ConnectAccepted(subprotocol=read.subprotocol, user_id=read.user_id, roles=read.roles, groups=read.groups)

    def ask(self, hub: Hub, question: AskEvent, answer: Callable[[EventAnswer], None]) -> bool:
        """Bring a user event or an invocation to its handler, and have the answer given; tell if there is a handler."""
        conversation = self._conversations.get(question.connection_id)
        if conversation is None:
            return False
        handler = self._handlers.for_user_event(conversation.hub, question.event)
        if handler is None:
            return False
        scope = self._asked[hub, question.token] = trio.CancelScope()

        async def run() -> None:
            result: EventAnswer | None = None
            try:
                with scope:
                    result = await self._user_event(handler, conversation, question)
            finally:
                del self._asked[hub, question.token]
            if result is not None:
                answer(result)

        self._spawn(run)
        return True

    def withdraw(self, hub: Hub, token: Token) -> None:
        """Cancel a call whose answer nobody waits for any more."""
        self._asked[hub, token].cancel()

    async def _user_event(self, handler: EventHandler, conversation: _Conversation, question: AskEvent) -> EventAnswer:
        conversation.last_event += 1
        write = partial(
            ce.write_user_event,
            self._source(conversation, question.connection_id, question.user_id, question.subprotocol),
            event_id=conversation.last_event,
            time=wall_time(),
            event=question.event,
            payload=question.payload,
            metadata=question.metadata,
        )
        try:
            answer = await self._call(handler, conversation, question.event, write)
        except CallFailed as error:
            return _failed(question, str(error), "The event handler gave no answer that is of use.")
        read = ce.read_event_answer(answer.status, answer.headers, answer.body)
        if isinstance(read, ce.HandlerFailure):
            return _failed(question, read.detail, f"The event handler failed: {read.detail}.")
        if read.state is not None:
            conversation.state = read.state
        return EventHandled(read.payload, read.metadata)

    # Notices

    def notify(self, notice: Notify) -> None:
        """Tell the handler of a notice, if there is one."""
        conversation = self._conversations[notice.connection_id]
        is_end = notice.notice == "disconnected"
        if is_end:
            del self._conversations[notice.connection_id]
        handler = self._handlers.for_event(conversation.hub, notice.notice)
        if handler is None:
            return
        if len(conversation.notices) >= self._limits.waiting_notices and not is_end:
            _logger.warning("%s is not told: too much is to be told of %r", notice.notice, notice.connection_id)
            return
        conversation.notices.append((handler, notice))
        if not conversation.is_telling:
            conversation.is_telling = True
            self._spawn(partial(self._tell, conversation))

    async def _tell(self, conversation: _Conversation) -> None:
        while conversation.notices:
            handler, notice = conversation.notices.popleft()
            try:
                answer = await self._call(
                    handler, conversation, notice.notice, partial(self._write_notice, conversation, notice)
                )
                if failure := ce.read_notification_answer(answer.status):
                    raise CallFailed(failure.detail)
            except CallFailed as error:
                _logger.warning("the %s event of %r failed: %s", notice.notice, notice.connection_id, error)
        conversation.is_telling = False

    def _write_notice(self, conversation: _Conversation, notice: Notify) -> ce.EventRequest:
        conversation.last_event += 1
        event_id, time = conversation.last_event, wall_time()
        source = self._source(conversation, notice.connection_id, notice.user_id, notice.subprotocol)
        match notice.notice:
            case "connected":
                return ce.write_connected(source, event_id=event_id, time=time)
            case "disconnected":
                return ce.write_disconnected(source, event_id=event_id, time=time, reason=notice.detail)
            case change:
                return ce.write_group_event(source, event_id=event_id, time=time, change=change, group=notice.detail)

    # What all of them need

    def _source(
        self, conversation: _Conversation, connection_id: str, user_id: str | None, subprotocol: str | None
    ) -> ce.EventSource:
        return ce.EventSource(
            origin=self._origin,
            hub=conversation.hub,
            connection_id=connection_id,
            user_id=user_id,
            subprotocol=subprotocol,
            state=conversation.state,
            keys=self._keys,
        )

    async def _call(
        self, handler: EventHandler, conversation: _Conversation, event: str, write: Callable[[], ce.EventRequest]
    ) -> Answer:
        """Send an event, if its handler wants any.

        Raises:
            CallFailed: there is no answer that is of use.
        """
        try:
            request = write()
        except ValueError as error:
            raise CallFailed(f"it cannot be written as a request: {error}") from None
        transport = self._http if handler.app is None else self._apps[id(handler.app)]
        with trio.move_on_after(self._limits.timeout):
            validated = Target(transport, handler.url(conversation.hub, "validate"))
            if not await self._validations.is_allowed(validated):
                raise CallFailed("the event handler has not agreed to get events")
            answer = await call(
                Target(transport, handler.url(conversation.hub, event)),
                request,
                retry_delays=self._limits.retry_delays,
                answer_size=self._limits.answer_size,
                cookies=conversation.cookies,
            )
            if any(name.lower() == STATE and len(value) > MAX_STATE_SIZE for name, value in answer.headers):
                raise CallFailed(f"the connection state has more than {MAX_STATE_SIZE:,} characters")
            return answer
        raise CallFailed(f"the event handler did not answer within {self._limits.timeout:g} seconds")

    def _spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        self._busy += 1
        self._nursery.start_soon(self._run, run, name="event handler")

    async def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        finally:
            self._busy -= 1
            self._idle.unpark_all()


def _failed(question: AskEvent, log: str, text: str) -> EventFailed:
    _logger.warning("the event %s of %r failed: %s", question.event, question.connection_id, log)
    return EventFailed(WireError("InternalServerError", text))
