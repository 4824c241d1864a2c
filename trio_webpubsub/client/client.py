"""`Client`: the face of the WebSocket client."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Literal, overload

from ..protocol import wire
from ..protocol.arguments import check_flags
from ..protocol.messages import (
    DataType,
    Gap,
    GroupMessage,
    InvokeResult,
    Lifecycle,
    SendResult,
    ServerMessage,
)
from ..protocol.names import MAX_TTL_SECONDS, check_count, check_event, check_group
from ..protocol.payloads import check_metadata, data_of, payload_of
from ..protocol.pending import Operation
from ..protocol.session_values import State
from ..protocol.ticket import SessionTicket
from .previews import Previews
from .route import Overflow
from .router import Feed, Fragments
from .statistics import ClientStatistics
from .subscribing import subscribe
from .subscription import Subscription

DEFAULT_BUFFER = 10_000
LIFECYCLE_BUFFER = 1_000
"""What a watcher may be behind: days of an outage, and little memory for one that nobody reads."""


class Client(Previews):
    """A connection to a hub that survives drops. Get one from `open_client`.

    It is used in the thread that opened it. In another one, under a ``trio.run()`` of its own, what would have to wait
    raises ``RuntimeError``; such a thread lets this one call, with ``trio.from_thread.run``.
    """

    def __repr__(self) -> str:
        return f"<Client {self.state} connection_id={self.connection_id!r} user_id={self.user_id!r}>"

    @property
    def state(self) -> State:
        """``"connecting"``, ``"connected"``, ``"recovering"``, ``"reconnecting"`` or ``"stopped"``."""
        return self._core.session.state

    @property
    def connection_id(self) -> str | None:
        """The session's id at the service; ``None`` while there is none, between a lost session and the next.

        After the end it is that of the last session, if the client still had one.
        """
        return self._core.session.connection_id

    @property
    def user_id(self) -> str | None:
        """The user that the service knows this connection as; ``None`` when anonymous."""
        return self._core.session.user_id

    @property
    def token_expires_at(self) -> float | None:
        """When the token of the present URL expires, in seconds since 1970; ``None`` if it does not say.

        The service looks at it only when a new session begins: a living connection outlives its token.
        """
        return self._core.token_expires_at

    # Receiving

    @overload
    def group_messages(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        fragments: bool = False,
        gaps: Literal[False] = False,
        buffer: int = DEFAULT_BUFFER,
        overflow: Overflow = "error",
    ) -> Subscription[GroupMessage]: ...

    @overload
    def group_messages(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        fragments: bool = False,
        gaps: Literal[True],
        buffer: int = DEFAULT_BUFFER,
        overflow: Overflow = "error",
    ) -> Subscription[GroupMessage | Gap]: ...

    def group_messages(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        fragments: bool = False,
        gaps: bool = False,
        buffer: int = DEFAULT_BUFFER,
        overflow: Overflow = "error",
    ) -> Subscription[Any]:
        """Subscribe to a group's messages.

        ``async with client.group_messages("g") as messages`` joins on entry and leaves on exit. The short form
        ``async for message in client.group_messages("g")`` joins when the iteration starts, and leaves some time after
        it was given up. Every subscription to a group gets each of its messages.

        Args:
            group: The group; ``None`` for the messages of every group that this connection is in, without joining any.
            join: ``False`` for a membership that the token, the REST API or an event handler gives, which needs no
                role.
            fragments: Take the fragments of streams as well, which `group_streams` is for (a preview of the service).
            gaps: Yield a `Gap` wherever messages are missing: after a lost session, for a frame that could not be read,
                for messages that did not fit into the buffer.
            buffer: Messages that may wait for the consumer, 10,000 by default, beside the limit of 16 MiB.
            overflow: What happens to a consumer that stands still while more comes: ``"error"`` ends the subscription
                with `SubscriptionOverflow`; ``"drop_oldest"`` and ``"drop_newest"`` lose messages.

        Raises:
            ValueError: ``group`` is no group name, or an argument makes no sense.
        """
        check_flags(join=join, fragments=fragments)
        key = Feed.EVERY_GROUP if group is None else check_group(group)
        also = Fragments(group) if fragments else None
        return subscribe(
            self._core, key, gaps=gaps, buffer=buffer, overflow=overflow, also=also, join=group if join else None
        )

    @overload
    def server_messages(
        self, *, gaps: Literal[False] = False, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[ServerMessage]: ...

    @overload
    def server_messages(
        self, *, gaps: Literal[True], buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[ServerMessage | Gap]: ...

    def server_messages(
        self, *, gaps: bool = False, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[Any]:
        """Subscribe to what the service's side sends to this connection, its user or everybody.

        Replies of event handlers come here too. The arguments are those of `group_messages`.
        """
        return subscribe(self._core, Feed.SERVER, gaps=gaps, buffer=buffer, overflow=overflow)

    @overload
    def messages(
        self, *, gaps: Literal[False] = False, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[GroupMessage | ServerMessage]: ...

    @overload
    def messages(
        self, *, gaps: Literal[True], buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[GroupMessage | ServerMessage | Gap]: ...

    def messages(
        self, *, gaps: bool = False, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[Any]:
        """Subscribe to everything that comes, in the order in which it came; joins nothing.

        The arguments are those of `group_messages`.
        """
        return subscribe(self._core, Feed.EVERYTHING, gaps=gaps, buffer=buffer, overflow=overflow)

    def lifecycle(self) -> Subscription[Lifecycle]:
        """Watch the connection: first how it stands, then each change.

        It ends when the client does, with `Stopped`.

        Back-pressure: a watcher that is 1,000 of them behind loses the oldest news.
        """
        return subscribe(self._core, Feed.LIFECYCLE, buffer=LIFECYCLE_BUFFER, overflow="drop_oldest")

    async def detach(self) -> SessionTicket:
        """End this client but not its session, which another process may go on with: ``open_client(resume=ticket)``.

        The ticket takes along what nobody had read and what was not acknowledged. Subscriptions end, and callers who
        still wait for an ack get `ClientStopped`: whoever has the ticket goes on with what they asked for. What was
        sent without an ack is written first, for which there is half a second. Streams to groups are no part of a
        ticket: those that are open are ended as if they were cancelled. Keep the ticket secret: whoever has it can be
        this client. It is good for as long as the service keeps the session, about half a minute.

        Raises:
            RuntimeError: there is no session that could be recovered.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.

        Cancellation: nothing has happened; once there is a ticket, it is given.
        """
        return await self._core.detach()

    async def wait_stopped(self) -> str:
        """Wait until the client has ended for good; gives the reason.

        Cancellation: changes nothing.
        """
        return await self._core.wait_stopped()

    def statistics(self) -> ClientStatistics:
        """Say what has come and gone since the block began."""
        return self._core.statistics()

    # Sending

    async def join_group(self, group: str) -> SendResult:
        """Join a group, and stay in it over every reconnect until `leave_group`.

        Raises:
            SendFailed: the service refused; ``Forbidden`` when a role is missing.
            AckTimeout: no answer came.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.
            ValueError: ``group`` is no group name.

        Cancellation: a join that is already on its way is undone by a leave.

        Back-pressure: waits while too many operations are pending.
        """
        check_group(group)
        return await self._core.perform(partial(self._core.session.outgoing.join, group))

    async def leave_group(self, group: str) -> SendResult:
        """Leave a group.

        Raises:
            RuntimeError: a subscription holds the group; close that instead.
            SendFailed, AckTimeout, ClientStopped, trio.ClosedResourceError, ValueError: as for `join_group`.

        Cancellation: the group is left or not, depending on whether the frame was already written.

        Back-pressure: waits while too many operations are pending.
        """
        check_group(group)
        outgoing = self._core.session.outgoing

        def leave() -> Operation:
            if outgoing.is_subscribed(group):
                raise RuntimeError(f"a subscription holds group {group!r}; close it, which leaves the group")
            return outgoing.leave(group)

        return await self._core.perform(leave)

    @overload
    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: int | None = None,
        ack: Literal[True] = True,
        ack_id: int | None = None,
        retries: int | None = None,
        repeat_in_new_session: bool = False,
        log_payloads: bool = False,
    ) -> SendResult: ...

    @overload
    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: int | None = None,
        ack: Literal[False],
        log_payloads: bool = False,
    ) -> None: ...

    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: int | None = None,
        ack: bool = True,
        ack_id: int | None = None,
        retries: int | None = None,
        repeat_in_new_session: bool = False,
        log_payloads: bool = False,
    ) -> SendResult | None:
        """Send a message to everybody in a group; membership is not needed for that.

        Args:
            group: The group.
            data: ``str`` travels as text, bytes-like values as binary, anything else as JSON.
            data_type: Chooses otherwise: a ``str`` with ``"json"`` travels as a JSON string.
            no_echo: Leave out this connection, if it is a member.
            metadata: Attached to the message, ASCII text (a preview of the service).
            ttl_seconds: How long, 0 to 300, the message may wait for members who are slow or being recovered; 0 for
                ever (a preview of the service).
            ack: ``True`` waits for the service's acknowledgement. ``False`` returns when the frame is queued for the
                writer; if it is lost with its link, nobody is told.
            ack_id: The id from an error of this session, to go on trying what failed: the service runs an id once.
            retries: How often to try again when the service reports an internal error; by default ``send_retries``.
            repeat_in_new_session: Send again where the loss of a session leaves open whether the message went out,
                instead of raising `DeliveryUnknown`. It may then be delivered twice.
            log_payloads: Log the message at DEBUG, as the option of `open_client` does for all.

        Raises:
            SendFailed: the service refused, after retries where they make sense; ``Forbidden`` when a role is missing.
            AckTimeout: no answer came though the link lives.
            DeliveryUnknown: the session was lost before the answer came.
            MessageTooLarge: nothing was sent.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.
            TypeError, ValueError: ``data`` cannot be sent as that type, or another argument makes no sense.

        Cancellation: not sent if it was not yet written, and never sent again. With ``ack=False`` and room in the queue
        this checks for cancellation but takes a schedule point only once in 64 calls.

        Back-pressure: waits while too many operations are pending, or, with ``ack=False``, while there is no connection
        or the writer is behind.
        """
        if ttl_seconds is not None:
            check_count("ttl_seconds", ttl_seconds, MAX_TTL_SECONDS)
        if type(no_echo) is not bool:
            check_flags(no_echo=no_echo)
        message = wire.SendToGroup(
            group=check_group(group),
            payload=payload_of(data, data_type),
            no_echo=no_echo,
            ttl_seconds=ttl_seconds,
            metadata=None if metadata is None else _checked(metadata),
        )
        return await self._send(message, ack, ack_id, retries, repeat_in_new_session, log_payloads)

    @overload
    async def send_event(
        self,
        event: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        metadata: Mapping[str, str] | None = None,
        ack: Literal[True] = True,
        ack_id: int | None = None,
        retries: int | None = None,
        repeat_in_new_session: bool = False,
        log_payloads: bool = False,
    ) -> SendResult: ...

    @overload
    async def send_event(
        self,
        event: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        metadata: Mapping[str, str] | None = None,
        ack: Literal[False],
        log_payloads: bool = False,
    ) -> None: ...

    async def send_event(
        self,
        event: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        metadata: Mapping[str, str] | None = None,
        ack: bool = True,
        ack_id: int | None = None,
        retries: int | None = None,
        repeat_in_new_session: bool = False,
        log_payloads: bool = False,
    ) -> SendResult | None:
        """Send an event to the hub's event handler. What that answers comes as a `ServerMessage`.

        Arguments, errors, cancellation and back-pressure as for `send_to_group`. ``SendFailed`` is named
        ``InternalServerError`` when there is no handler or it failed; unless ``retries`` says so that is not retried,
        since the handler would run again.
        """
        message = wire.SendEvent(
            event=check_event(event),
            payload=payload_of(data, data_type),
            metadata=None if metadata is None else _checked(metadata),
        )
        return await self._send(message, ack, ack_id, retries, repeat_in_new_session, log_payloads)

    async def invoke_event(
        self,
        event: str,
        data: Any = None,
        *,
        data_type: DataType | None = None,
        metadata: Mapping[str, str] | None = None,
        log_payloads: bool = False,
    ) -> InvokeResult:
        """Send an event to the hub's event handler and wait for its answer (a preview of the service).

        Raises:
            InvocationFailed: the service or the handler refused, or the link dropped: then nothing is known. An
                invocation is never repeated.
            InvocationTimeout: no answer came within ``ack_timeout``.
            InvalidPayload: the answer cannot be decoded.
            MessageTooLarge, ClientStopped, trio.ClosedResourceError, TypeError, ValueError: as for `send_to_group`.

        Cancellation: the service is told to forget it; the handler may run all the same.

        Back-pressure: waits while there is no connection or the writer is behind.
        """
        check_flags(log_payloads=log_payloads)
        message = wire.Invoke(
            invocation_id="",
            event=check_event(event),
            payload=payload_of(data, data_type),
            metadata=None if metadata is None else _checked(metadata),
        )
        if log_payloads:
            self._core.log_sent(message)
        response = await self._core.invoke(message)
        if log_payloads:
            self._core.log_received(response)
        payload = response.payload
        if payload is None:
            return InvokeResult(metadata=response.metadata)
        return InvokeResult(data=data_of(payload), data_type=payload.data_type, metadata=response.metadata)

    def _send(
        self,
        message: wire.SendToGroup | wire.SendEvent,
        ack: bool,
        ack_id: int | None,
        retries: int | None,
        repeat_in_new_session: bool,
        log_payloads: bool,
    ) -> Awaitable[SendResult | None]:
        """Give what sends, to be awaited at once: a coroutine more would be passed through at every task switch."""
        if type(ack) is not bool:  # else without a call, which would cost once per message
            check_flags(ack=ack)
        if repeat_in_new_session is not False or log_payloads is not False:
            check_flags(repeat_in_new_session=repeat_in_new_session, log_payloads=log_payloads)
        core = self._core
        if log_payloads:
            core.log_sent(message)
        if not ack:
            if ack_id is not None or retries is not None or repeat_in_new_session:
                raise ValueError("without an ack there is nothing to go on, to retry or to repeat by")
            return core.post(message)
        if ack_id is not None:
            check_count("ack_id", ack_id)
        if retries is not None:
            check_count("retries", retries)
        return core.perform(partial(core.session.outgoing.send, message, retries, repeat_in_new_session, ack_id))


def _checked(metadata: Mapping[str, str]) -> Mapping[str, str]:
    check_metadata(metadata)
    return dict(metadata)  # a copy, for the frame may have to be written anew
