"""The webhook app: takes the service's requests in, runs the handlers, and answers."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from .._shell.groups import leaves, ungrouped
from ..protocol.arguments import check_async, check_flags, check_number, check_type
from ..protocol.cloudevents import HttpAnswer
from ..protocol.cloudevents_gate import EventGate, EventHead, RequestRefused, UnknownEvent, bearer_token, failure
from ..protocol.cloudevents_handler import NO_CONTENT, answer_connect, answer_event, answer_rejection, read_event
from ..protocol.cloudevents_values import (
    Accept,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    Event,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    UserEvent,
)
from ..protocol.errors import EventRejected, InvalidPayload, InvalidToken
from ..protocol.names import MAX_MESSAGE_SIZE, check_count, check_text
from . import asgi
from .deadline import DeadlinePassed, run_within
from .replays import ReplayMemory

ConnectHandler: TypeAlias = Callable[[ConnectRequest], Awaitable[Accept | Reject | None]]
"""Decides whether a client may connect; ``None`` accepts it as its token says."""
UserEventHandler: TypeAlias = Callable[[UserEvent], Awaitable[object]]
"""Handles a client's event. What it gives is sent to the client: ``None`` for nothing, ``str`` as text, bytes-like as
binary, a `Reply`, or any JSON value."""
ConnectedHandler: TypeAlias = Callable[[ConnectedEvent], Awaitable[None]]
"""Is told that a client has connected."""
DisconnectedHandler: TypeAlias = Callable[[DisconnectedEvent], Awaitable[None]]
"""Is told that a connection has ended."""
GroupJoinedHandler: TypeAlias = Callable[[GroupJoinedEvent], Awaitable[None]]
"""Is told that a connection came into a group."""
GroupLeftHandler: TypeAlias = Callable[[GroupLeftEvent], Awaitable[None]]
"""Is told that a connection went out of a group."""
Authenticate: TypeAlias = Callable[[str], Awaitable[bool]]
"""Says whether a token is the service's own; may raise `InvalidToken` to say why it is not."""

_KINDS_TOLD = 100
"""How many unknown kinds of events are logged; whoever may send events might think of any number of them."""

_CHALLENGE = ("www-authenticate", "Bearer")

_logger = logging.getLogger(__name__)


class WebhookApp:
    """Answers the events of one hub: an ASGI app, for any server and any framework that mounts one.

    Every event is handled within its request, so the service learns whether that worked. The handlers of different
    connections run at the same time; the service waits with a connection's next event for the answer to its last,
    except to those that are only told (connected, disconnected, group events).

    It runs under trio and, with handlers for asyncio, under asyncio.
    """

    def __init__(
        self,
        hub: str,
        *,
        access_keys: Sequence[str] = (),
        allowed_origins: Sequence[str] | None = None,
        authenticate: Authenticate | None = None,
        path: str = "/api/webpubsub/hubs/{hub}/",
        on_connect: ConnectHandler | None = None,
        on_user_event: UserEventHandler | None = None,
        on_connected: ConnectedHandler | None = None,
        on_disconnected: DisconnectedHandler | None = None,
        on_group_joined: GroupJoinedHandler | None = None,
        on_group_left: GroupLeftHandler | None = None,
        handler_timeout: float = 30.0,
        retry_on_error: bool = False,
        remember_events: int = 0,
        max_body_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        """Make an app. What has no handler is answered with success: a client may connect as its token says.

        Args:
            hub: The hub's name.
            access_keys: The resource's keys, primary and secondary. If there are any, a request has to be signed with
                one of them. Mind that a signature covers the connection id and nothing else: use TLS.
            allowed_origins: Which services may send events: host names or URLs of resources. ``None`` allows all.
            authenticate: Is asked about the bearer token of every event, for resources whose managed identity signs in,
                such as `EntraVerifier`. With ``access_keys`` both are checked.
            path: Where the events come in; everything below it does too. ``{hub}`` stands for the hub.
            on_connect: May accept or reject a client, and set its user, groups, roles and subprotocol.
            on_user_event: Gets clients' events and invocations, and simple clients' messages.
            on_connected: Is told of new connections.
            on_disconnected: Is told of ended connections.
            on_group_joined: Is told who came into a group (a preview of the service).
            on_group_left: Is told who went out of a group (a preview of the service).
            handler_timeout: Seconds for one handler, which is cancelled then and the service told 504. The service
                itself waits for 100 seconds.
            retry_on_error: Whether a failed user event is answered with 500 instead of 400, so that the service sends
                it again, up to three times. For handlers that may run twice.
            remember_events: For so many events the answer is remembered. The service sends an event again when it did
                not get the answer; then it gets it without the handler running again.
            max_body_size: Bytes of the largest request that is read, 1 MiB by default.

        Raises:
            ValueError: A name, key, origin or number that cannot be.
            TypeError: A handler that is not async or cannot be called with one argument, one ``str`` where a list is
                expected, or another value of the wrong type.
        """
        check_number("handler_timeout", handler_timeout)
        check_count("remember_events", remember_events)
        check_count("max_body_size", max_body_size)
        check_flags(retry_on_error=retry_on_error)
        self.max_body_size: int = max_body_size
        """Bytes of the largest request that is read."""
        self._gate = EventGate(hub, path=path, access_keys=access_keys, allowed_origins=allowed_origins)
        self._authenticate = authenticate
        self._handlers: dict[type[Event], Callable[..., Awaitable[object]] | None] = {
            ConnectRequest: on_connect,
            UserEvent: on_user_event,
            ConnectedEvent: on_connected,
            DisconnectedEvent: on_disconnected,
            GroupJoinedEvent: on_group_joined,
            GroupLeftEvent: on_group_left,
        }
        handlers = {
            "authenticate": authenticate,
            "on_connect": on_connect,
            "on_user_event": on_user_event,
            "on_connected": on_connected,
            "on_disconnected": on_disconnected,
            "on_group_joined": on_group_joined,
            "on_group_left": on_group_left,
        }
        for name, handler in handlers.items():
            if handler is not None:
                check_async(name, handler, "token" if name == "authenticate" else "event")
        self._hub = hub
        self._handler_timeout = handler_timeout
        self._status_of_error = 500 if retry_on_error else 400
        self._replays = ReplayMemory(remember_events) if remember_events else None
        self._told_kinds: set[str] = set()
        if not access_keys and authenticate is None:
            _logger.warning("hub %s: whoever can reach the app can send events, since it was given no access key", hub)

    def __repr__(self) -> str:
        return f"<WebhookApp of hub {self._hub!r}>"

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Serve one ASGI connection: requests, and the lifespan protocol; a WebSocket is refused.

        Cancellation: The handler is cancelled, and nothing is answered.
        """
        await asgi.serve(self._answer, scope, receive, send, max_body_size=self.max_body_size)

    async def handle_request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Handle a request that came in some other way than by ASGI, such as a function's trigger.

        Args:
            method: Of the request.
            path: Of the request, without percent signs and query.
            headers: Of the request, by name in any case.
            body: Of the request.

        Raises:
            TypeError: One of them is of the wrong type.

        Cancellation: The handler is cancelled.
        """
        check_text(method, "method")
        check_text(path, "path")
        check_type("headers", headers, Mapping, "a mapping of str to str")
        for name, value in headers.items():
            check_text(name, "header's name")
            check_text(value, "header's value")
        check_type("body", body, bytes, "bytes, as they came")

        async def read() -> bytes:
            if len(body) > self.max_body_size:
                raise RequestRefused(413, f"the body is larger than {self.max_body_size:,} bytes")
            return body

        return await self._answer(method, (path,), {name.lower(): value for name, value in headers.items()}, read)

    async def _answer(
        self, method: str, paths: Sequence[str], headers: Mapping[str, str], read_body: asgi.ReadBody
    ) -> HttpAnswer:
        try:
            if not any(self._gate.covers(path) for path in paths):
                raise RequestRefused(404, "no events come in at this path")
            entered = self._gate.enter(method, headers)
            if isinstance(entered, HttpAnswer):
                return entered
            if self._authenticate is not None:
                await self._check_token(self._authenticate, headers)
            if isinstance(entered, UnknownEvent):
                return self._pass_over(entered)
            return await self._handle(entered, await read_body())
        except RequestRefused as refused:
            _logger.warning("%s: refused a request with %d: %s", self._hub, refused.answer.status, refused)
            return refused.answer

    async def _check_token(self, authenticate: Authenticate, headers: Mapping[str, str]) -> None:
        token = bearer_token(headers)
        if token is None:
            raise RequestRefused(401, "it has no bearer token", _CHALLENGE)
        accepted, status, reason = False, 401, "its token is not accepted"
        try:
            accepted = bool(await run_within(self._handler_timeout, partial(_called, authenticate, token)))
        except* InvalidToken as group:
            reason = str(next(leaves(group)))
        except* DeadlinePassed:
            status, reason = 504, "its token was not checked in time"
        except* Exception as group:
            _logger.error("%s: a token could not be checked", self._hub, exc_info=ungrouped(group))
            status, reason = 500, "its token could not be checked"
        if not accepted:
            raise RequestRefused(status, reason, _CHALLENGE)

    def _pass_over(self, event: UnknownEvent) -> HttpAnswer:
        if event.type not in self._told_kinds and len(self._told_kinds) < _KINDS_TOLD:
            self._told_kinds.add(event.type)
            _logger.warning("%s: events of the unknown type %s are passed over", self._hub, event.type)
        return NO_CONTENT

    async def _handle(self, head: EventHead, body: bytes) -> HttpAnswer:
        event = read_event(head, body)
        handler = self._handlers[type(event)]
        if handler is None:
            return NO_CONTENT
        if self._replays is None or not event.event_id:
            return await self._run(handler, event)
        physical = None if event.mqtt is None else event.mqtt.physical_connection_id
        key = (event.connection_id, physical, event.event_id)
        answer, known = await self._replays.answer(key, partial(self._run, handler, event))
        if known:
            _logger.info("%s: %r came again and is answered as before", self._hub, event)
        return answer

    async def _run(self, handler: Callable[..., Awaitable[object]], event: Event) -> HttpAnswer:
        """Run a handler, and answer whatever becomes of it."""
        answer: HttpAnswer | None = None
        try:
            value = await run_within(self._handler_timeout, partial(_called, handler, event))
            answer = _written(event, value)
        except* (EventRejected, InvalidPayload) as group:
            rejection = next(leaves(group))
            _logger.warning("%s: %r was rejected: %s", self._hub, event, rejection)
            answer = answer_rejection(event, rejection) if isinstance(rejection, EventRejected) else _failed(event, 400)
        except* DeadlinePassed:
            _logger.error("%s: the handler of %r took longer than its deadline", self._hub, event)
            answer = _failed(event, 504)
        except* Exception as group:
            _logger.error("%s: the handler of %r failed", self._hub, event, exc_info=ungrouped(group))
            answer = None
        return answer or _failed(event, self._status_of_error if isinstance(event, UserEvent) else 500)


async def _called(handler: Callable[..., Awaitable[object]], argument: object) -> object:
    awaitable = handler(argument)
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"a handler has to be async; {handler!r} gave {type(awaitable).__name__}")
    return await awaitable


def _written(event: Event, value: object) -> HttpAnswer:
    match event:
        case ConnectRequest():
            return answer_connect(event, value)
        case UserEvent():
            return answer_event(event, value)
        case _:
            return NO_CONTENT


def _failed(event: Event, status: int) -> HttpAnswer:
    return answer_connect(event, Reject(status)) if isinstance(event, ConnectRequest) else failure(status)
