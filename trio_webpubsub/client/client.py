"""`open_client` and `Client`: the face of the WebSocket client."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, get_args, overload

import trio

from .._shell.connector import Connector, connect_tcp
from .._shell.groups import leaves
from ..errors import InternalError
from ..protocol import wire
from ..protocol.backoff import full_jitter
from ..protocol.json_codec import JSON, RELIABLE_JSON
from ..protocol.messages import DataType, GroupMessage, Lifecycle, SendResult, ServerMessage
from ..protocol.names import check_event, check_group
from ..protocol.payloads import payload_of
from ..protocol.session import Session, SessionSettings, State
from ..protocol.urls import ClientUrl
from .core import Core
from .subscription import EVERY_GROUP, EVERYTHING, LIFECYCLE, SERVER, Key, Overflow, Route, Subscription
from .transport import open_transport
from .url_source import UrlSource

CODECS = {codec.subprotocol: codec for codec in (RELIABLE_JSON, JSON)}

Subprotocol = Literal["json.reliable.webpubsub.azure.v1", "json.webpubsub.azure.v1"]

MAX_RECEIVED_MESSAGE = 4 * 1024 * 1024
LEAVE_AT_ONCE = 0.5
"""Seconds that a block left by an exception or a cancellation may take to close."""

DEFAULT_BUFFER = 10_000

RETRY_BASE = 0.5
RETRY_CAP = 8.0


class Client:
    """A connection to a hub that survives drops. Get one from `open_client`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"<Client {self.state} connection_id={self.connection_id!r} user_id={self.user_id!r}>"

    @property
    def state(self) -> State:
        """``"connecting"``, ``"connected"``, ``"recovering"``, ``"reconnecting"`` or ``"stopped"``."""
        return self._core.session.state

    @property
    def connection_id(self) -> str | None:
        """The present session's id at the service; ``None`` while there is no session."""
        return self._core.session.connection_id

    @property
    def user_id(self) -> str | None:
        """The user that the service knows this connection as; ``None`` when anonymous."""
        return self._core.session.user_id

    # Receiving

    def group_messages(
        self,
        group: str | None = None,
        *,
        join: bool = True,
        buffer: int = DEFAULT_BUFFER,
        overflow: Overflow = "error",
    ) -> Subscription[GroupMessage]:
        """Subscribe to a group's messages.

        ``async with client.group_messages("g") as messages`` joins on entry and leaves on exit. The short form
        ``async for message in client.group_messages("g")`` joins when the iteration starts, and leaves some time after
        it was given up. Every subscription to a group gets each of its messages.

        Args:
            group: The group; ``None`` for the messages of every group that this connection is in, without joining any.
            join: ``False`` for a membership that the token, the REST API or an event handler gives, which needs no
                role.
            buffer: Messages that may wait for the consumer, beside the limit of 16 MiB.
            overflow: What happens to a consumer that stands still while more comes: ``"error"`` ends the subscription
                with `SubscriptionOverflow`; ``"drop_oldest"`` and ``"drop_newest"`` lose messages.

        Raises:
            ValueError: ``group`` is no group name, or an argument makes no sense.
        """
        if group is None or not join:
            return self._subscription(EVERY_GROUP if group is None else check_group(group), buffer, overflow)
        return self._subscription(check_group(group), buffer, overflow, join=group)

    def server_messages(
        self, *, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[ServerMessage]:
        """Subscribe to what the service's side sends to this connection, its user or everybody.

        Replies of event handlers come here too. ``buffer`` and ``overflow`` as for `group_messages`.
        """
        return self._subscription(SERVER, buffer, overflow)

    def messages(
        self, *, buffer: int = DEFAULT_BUFFER, overflow: Overflow = "error"
    ) -> Subscription[GroupMessage | ServerMessage]:
        """Subscribe to everything that comes, in the order in which it came; joins nothing."""
        return self._subscription(EVERYTHING, buffer, overflow)

    def lifecycle(self) -> Subscription[Lifecycle]:
        """Watch the connection: first how it stands, then each change.

        A watcher that stands still loses the oldest news.
        """
        return self._subscription(LIFECYCLE, DEFAULT_BUFFER, "drop_oldest")

    # Sending

    async def join_group(self, group: str) -> SendResult:
        """Join a group, and stay in it over every reconnect until `leave_group`.

        Raises:
            SendFailed: the service refused; ``Forbidden`` when a role is missing.
            AckTimeout: no answer came.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.
            ValueError: ``group`` is no group name.

        Cancellation: a join that is already on its way is undone by a leave.
        """
        check_group(group)
        await self._core.wait_for_room()
        return await self._core.perform(self._core.session.join(group))

    async def leave_group(self, group: str) -> SendResult:
        """Leave a group.

        Raises:
            RuntimeError: a subscription holds the group; close that instead.
            SendFailed, AckTimeout, ClientStopped, trio.ClosedResourceError, ValueError: as for `join_group`.

        Cancellation: the group is left or not, depending on whether the frame was already written.
        """
        check_group(group)
        if self._core.session.is_subscribed(group):
            raise RuntimeError(f"a subscription holds group {group!r}; close it, which leaves the group")
        await self._core.wait_for_room()
        return await self._core.perform(self._core.session.leave(group))

    @overload
    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        ack: Literal[True] = True,
        repeat_in_new_session: bool = False,
    ) -> SendResult: ...

    @overload
    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        ack: Literal[False],
    ) -> None: ...

    async def send_to_group(
        self,
        group: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        no_echo: bool = False,
        ack: bool = True,
        repeat_in_new_session: bool = False,
    ) -> SendResult | None:
        """Send a message to everybody in a group; membership is not needed for that.

        Args:
            group: The group.
            data: ``str`` travels as text, bytes-like values as binary, anything else as JSON.
            data_type: Chooses otherwise: a ``str`` with ``"json"`` travels as a JSON string.
            no_echo: Leave out this connection, if it is a member.
            ack: ``True`` waits for the service's acknowledgement. ``False`` returns when the frame is queued for the
                writer; if it is lost with its link, nobody is told.
            repeat_in_new_session: Send again where the loss of a session leaves open whether the message went out,
                instead of raising `DeliveryUnknown`. It may then be delivered twice.

        Raises:
            SendFailed: the service refused, after retries where they make sense; ``Forbidden`` when a role is missing.
            AckTimeout: no answer came though the link lives.
            DeliveryUnknown: the session was lost before the answer came.
            MessageTooLarge: nothing was sent.
            ClientStopped, trio.ClosedResourceError: there is no connection any more.
            TypeError, ValueError: ``data`` cannot be sent as that type, or ``group`` is no group name.

        Cancellation: not sent if it was not yet written, and never sent again. With ``ack=False`` and room in the queue
        this checks for cancellation but takes a schedule point only once in 64 calls.

        Back-pressure: waits while too many operations are pending, or, with ``ack=False``, while there is no connection
        or the writer is behind.
        """
        message = wire.SendToGroup(group=check_group(group), payload=payload_of(data, data_type), no_echo=no_echo)
        return await self._send(message, ack, repeat_in_new_session)

    @overload
    async def send_event(
        self,
        event: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        ack: Literal[True] = True,
        repeat_in_new_session: bool = False,
    ) -> SendResult: ...

    @overload
    async def send_event(
        self, event: str, data: Any, *, data_type: DataType | None = None, ack: Literal[False]
    ) -> None: ...

    async def send_event(
        self,
        event: str,
        data: Any,
        *,
        data_type: DataType | None = None,
        ack: bool = True,
        repeat_in_new_session: bool = False,
    ) -> SendResult | None:
        """Send an event to the hub's event handler. What that answers comes as a `ServerMessage`.

        Arguments, errors, cancellation and back-pressure as for `send_to_group`; ``SendFailed`` with the name
        ``InternalServerError`` when there is no handler or it failed, which is not retried.
        """
        message = wire.SendEvent(event=check_event(event), payload=payload_of(data, data_type))
        return await self._send(message, ack, repeat_in_new_session)

    async def _send(
        self, message: wire.SendToGroup | wire.SendEvent, ack: bool, repeat_in_new_session: bool
    ) -> SendResult | None:
        core = self._core
        if not ack:
            await core.post(message)
            return None
        await core.wait_for_room()
        return await core.perform(core.session.send(message, repeat_in_new_session=repeat_in_new_session))

    def _subscription(self, key: Key, buffer: int, overflow: Overflow, *, join: str | None = None) -> Subscription[Any]:
        if buffer < 1:
            raise ValueError(f"buffer is {buffer}; at least one message must fit")
        if overflow not in get_args(Overflow):
            raise ValueError(f"overflow is {overflow!r}, which is none of {', '.join(map(repr, get_args(Overflow)))}")
        core = self._core
        route: Route[Any] = Route(buffer=buffer, overflow=overflow)
        if core.session.state == "stopped":
            route.end(core.end_of_subscriptions)
        enter: Callable[[], Awaitable[None]] | None = None
        release: Callable[[], object] = partial(core.router.remove, key, route)
        if join is not None:
            enter = partial(core.enter_group, join, route)
            release = partial(core.release_group, join, route)
        else:
            core.router.add(key, route)
        return Subscription(route, enter=enter, release=release, abandoned=core.router.abandoned)


@asynccontextmanager
async def open_client(
    url: str | Callable[[], Awaitable[str]],
    *,
    subprotocol: Subprotocol = "json.reliable.webpubsub.azure.v1",
    recovery_timeout: float = 30.0,
    ack_timeout: float = 30.0,
    connect_timeout: float = 10.0,
    close_timeout: float = 5.0,
    keep_alive_interval: float = 20.0,
    keep_alive_timeout: float = 10.0,
    send_retries: int = 3,
    max_pending_sends: int = 1000,
    max_pending_bytes: int = 16 * 1024 * 1024,
    max_message_size: int = 1024 * 1024,
    ssl_context: ssl.SSLContext | None = None,
    allow_insecure: bool = False,
    connector: Connector = connect_tcp,
) -> AsyncGenerator[Client, None]:
    """Connect to a hub, and stay connected for as long as the block runs.

    The block starts when the service has accepted the connection. Drops are recovered in the background, without loss,
    repetition or reordering of messages; where that is not possible a new connection is made and its groups are joined
    again (`Client.lifecycle` tells). Leaving the block writes what is queued and closes the connection. To start again,
    call `open_client` again.

    Args:
        url: The client access URL (``wss://.../client/hubs/...?access_token=...``), or an async callable that gives
            one, which is asked again for every new session, so that tokens may be short-lived.
        subprotocol: How to talk to the service. Only the reliable one can recover.
        recovery_timeout: Seconds from the loss of a link in which the session may be recovered.
        ack_timeout: Seconds to wait for the answer to an operation; ``math.inf`` waits for ever.
        connect_timeout: Seconds for each try to connect, from the dial to the service's ``connected``.
        close_timeout: Seconds that leaving the block may take. Left by an exception or cancellation it takes at most
            0.5.
        keep_alive_interval: Seconds of silence after which a ping is sent; ``math.inf`` sends none.
        keep_alive_timeout: Seconds to wait for the answer to it, before the link counts as dead.
        send_retries: How often an operation is tried again when the service reports an internal error.
        max_pending_sends: Operations that may wait for their answers; more callers wait.
        max_pending_bytes: Bytes that they may have together.
        max_message_size: Bytes of the largest frame that is sent. (Frames of up to 4 MiB are received.)
        ssl_context: For ``wss://``; by default the system's certificates are trusted.
        allow_insecure: Allow ``ws://`` to other hosts than this one, with the token in the clear.
        connector: How to make connections, for tests and unusual networks.

    Raises:
        ConnectFailed: There is no connection, and why: tried once, at most ``connect_timeout`` seconds.
        ValueError: The URL or an option cannot be used; the message says what is wrong and never holds the token.
        TypeError: ``url`` is neither a ``str`` nor an async callable.
        ClientStopped: On leaving the block: the client had given up, and no operation or subscription had told.
        InternalError: A defect in a background task cancelled the block.

    Cancellation: The connection is closed, in at most half a second. Exceptions of the block come out as they are.
    """
    codec = CODECS.get(subprotocol)
    if codec is None:
        raise ValueError(f"subprotocol is {subprotocol!r}, which is none of {', '.join(map(repr, CODECS))}")
    _check_positive(
        recovery_timeout=recovery_timeout,
        ack_timeout=ack_timeout,
        connect_timeout=connect_timeout,
        close_timeout=close_timeout,
        keep_alive_interval=keep_alive_interval,
        keep_alive_timeout=keep_alive_timeout,
        max_pending_sends=max_pending_sends,
        max_pending_bytes=max_pending_bytes,
        max_message_size=max_message_size,
    )
    urls = UrlSource(url, allow_insecure=allow_insecure)
    first_url = await urls.get(connect_timeout)
    if first_url.secure and ssl_context is None:
        ssl_context = ssl.create_default_context()
    session = Session(
        codec,
        SessionSettings(
            ack_timeout=ack_timeout,
            recovery_timeout=recovery_timeout,
            keep_alive_interval=keep_alive_interval,
            keep_alive_timeout=keep_alive_timeout,
            send_retries=send_retries,
            max_message_size=max_message_size,
        ),
        retry_delays=partial(full_jitter, random.random, base=RETRY_BASE, cap=RETRY_CAP),
    )
    core = Core(
        session=session,
        urls=urls,
        open_transport=partial(
            open_transport,
            connector=connector,
            subprotocol=codec.subprotocol,
            ssl_context=ssl_context,
            max_message_size=MAX_RECEIVED_MESSAGE,
        ),
        connect_timeout=connect_timeout,
        max_pending_sends=max_pending_sends,
        max_pending_bytes=max_pending_bytes,
    )
    async with _running(core, first_url, close_timeout):
        yield Client(core)


@asynccontextmanager
async def _running(core: Core, url: ClientUrl, close_timeout: float) -> AsyncGenerator[None, None]:
    """Run the background tasks beside a block, and let one exception out: the block's own, or what ended the client.

    The tasks are shielded from their birth, and this function alone cancels them. So a block that is being cancelled
    may still say goodbye in a shielded scope of its own, and the writer lives to write it.
    """
    background = trio.CancelScope(shield=True)
    block_error: BaseException | None = None
    defect: BaseException | None = None

    async def run() -> None:
        nonlocal defect
        with background:
            try:
                await core.run(url)
            except trio.Cancelled:
                raise
            except BaseException as error:  # kept, to be told as what it is
                defect = error
                raise

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, name=f"supervisor {url.hub}")
            try:
                await core.wait_ready()
                yield
            except BaseException as error:
                block_error = error
                raise
            finally:
                at_most = close_timeout if block_error is None else min(close_timeout, LEAVE_AT_ONCE)
                with trio.move_on_after(at_most, shield=True):
                    await core.leave(drain=block_error is None)
                core.stop("the block was left")
                background.cancel()
    except BaseExceptionGroup:
        pass  # it holds what is kept here already
    if (outcome := _what_comes_out(block_error, defect) or core.untold_failure()) is not None:
        raise outcome


def _what_comes_out(block_error: BaseException | None, defect: BaseException | None) -> BaseException | None:
    """Choose one exception when a block and its background tasks have ended."""
    if block_error is not None and _is_interrupt(block_error):
        return block_error
    if defect is None:
        return block_error
    for each in leaves(defect):
        if _is_interrupt(each):
            return each
    error = InternalError(f"a defect of trio_webpubsub, please report it: {next(leaves(defect))!r}")
    error.__cause__ = defect
    return error


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is `KeyboardInterrupt` or the like, which may strike in any task."""
    return not isinstance(error, Exception | BaseExceptionGroup | trio.Cancelled)


def _check_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be more than 0")
