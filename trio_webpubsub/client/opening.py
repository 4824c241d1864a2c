"""`open_client`: connect, run the background tasks beside the user's block, and end them."""

from __future__ import annotations

import inspect
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import NoneType

import trio

from .._shell.blocks import block
from .._shell.connector import Connector, connect_tcp
from .._shell.groups import leaves
from .._shell.proxy import Proxy, ProxyConnector, connect_as_environment_says
from ..errors import InternalError
from ..protocol.arguments import check_callable, check_flags, check_numbers, check_type, kind_of
from ..protocol.backoff import full_jitter
from ..protocol.names import check_count
from ..protocol.session import Session
from ..protocol.session_values import SessionSettings
from ..protocol.subprotocols import Subprotocol, codec_for
from ..protocol.ticket import SessionTicket
from .client import Client
from .core import Core
from .headers import handshake_headers
from .transport import open_transport
from .url_source import UrlSource

MAX_RECEIVED_MESSAGE = 4 * 1024 * 1024
LEAVE_AT_ONCE = 0.5
"""Seconds that a block left by an exception or a cancellation may take to close."""

RETRY_BASE = 0.5
RETRY_CAP = 8.0


def reconnect_delays() -> Iterator[float]:
    """Give the delays between tries to reconnect that `open_client` uses by default: without end, with full jitter.

    Seconds, each between 0 and a limit that doubles from 0.5 to 30.
    """
    return full_jitter(random.random, base=0.5, cap=30.0)


@block("async with open_client(url) as client:")
def open_client(
    url: str | Callable[[], Awaitable[str]],
    *,
    subprotocol: Subprotocol = "json.reliable.webpubsub.azure.v1",
    auto_rejoin: bool = True,
    reconnect: Callable[[], Iterable[float]] | None = reconnect_delays,
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
    proxy: str | None = None,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    user_agent: str | None = None,
    allow_insecure: bool = False,
    log_payloads: bool = False,
    resume: SessionTicket | None = None,
    connector: Connector = connect_tcp,
) -> AbstractAsyncContextManager[Client]:
    """Connect to a hub, and stay connected for as long as the block runs.

    The block starts when the service has accepted the connection. Drops are recovered in the background, without loss,
    repetition or reordering of messages; where that is not possible a new connection is made and its groups are joined
    again (`Client.lifecycle` tells). Leaving the block writes what is queued and closes the connection. To start again,
    call `open_client` again.

    Args:
        url: The client access URL (``wss://.../client/hubs/...?access_token=...``), or an async callable that gives
            one, which is asked again for every new session, so that tokens may be short-lived.
        subprotocol: How to talk to the service. Only the reliable ones can recover. Those in protobuf need the extra
            ``protobuf``, and have no ``from_user_id``.
        auto_rejoin: Join the groups that this client wanted in a lost session again in the next one: those of
            `Client.join_group` and of open subscriptions. Without, subscriptions to groups end with `GroupLost`.
        reconnect: Gives the seconds to wait before each try to get a new session, as a list or an iterator; called when
            one is lost that had lasted. When they end, the client stops. ``None`` stops it at once when a session is
            lost. By default a random part of 0.5, 1, 2, 4 and so on, at most 30, without end.
        recovery_timeout: Seconds from the loss of a link in which the session may be recovered.
        ack_timeout: Seconds to wait for the answer to an operation, from when it was last written. The first time they
            are over it is asked for once more (an event is not), and after as many again given up. ``math.inf`` waits
            for ever.
        connect_timeout: Seconds for each try to connect, from the dial to the service's ``connected``; as many again
            for the URL callable before it.
        close_timeout: Seconds that leaving the block may take. Left by an exception or cancellation it takes at most
            0.5.
        keep_alive_interval: Seconds of silence after which a ping is sent, or up to a sixteenth less, so that many
            clients in a process wake together; ``math.inf`` sends none.
        keep_alive_timeout: Seconds to wait for the answer to it, before the link counts as dead.
        send_retries: How often an operation is tried again when the service reports an internal error.
        max_pending_sends: Operations that may wait for their answers; more callers wait.
        max_pending_bytes: Bytes that they may have together.
        max_message_size: Bytes of the largest frame that is sent. (Frames of up to 4 MiB are received.)
        ssl_context: For ``wss://``; by default the system's certificates are trusted.
        proxy: The HTTP proxy to go through, ``http://[user:password@]host[:port]``; with ``https://`` it is spoken to
            in TLS, trusting the system's certificates. Without one, and without a ``connector``, the environment is
            asked: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.
        headers: Added to every handshake.
        user_agent: Sent instead of this library's name and version.
        allow_insecure: Allow ``ws://`` to other hosts than this one, with the token in the clear.
        log_payloads: Log every message at DEBUG under ``trio_webpubsub.client``, cut to 4,096 characters.
        resume: Go on with a session that `Client.detach` gave, with its subprotocol. ``url`` is used if that session is
            lost: then a new one begins, with a `Gap`. The ticket is used up by this, whatever comes of it.
        connector: How to make connections, for tests and unusual networks.

    Raises:
        ConnectFailed: There is no connection, and why: tried once, at most ``connect_timeout`` seconds. With a ticket,
            after trying to recover its session for up to ``recovery_timeout``, and then to begin a new one once.
        ValueError: The URL or an option cannot be used; the message says what is wrong and never holds the token.
        TypeError: ``url`` is neither a ``str`` nor an async callable, or ``reconnect`` is no callable.
        ImportError: ``subprotocol`` needs the extra ``protobuf``, which is not installed.
        ClientStopped: On leaving the block: the client had given up, and no operation or subscription had told. Its
            cause is the last `ConnectFailed`, with the ``status``, if any.
        InternalError: A defect in a background task cancelled the block.

    Cancellation: The connection is closed, in at most half a second. Exceptions of the block come out as they are.
    """
    urls = UrlSource(url, allow_insecure=allow_insecure)
    check_numbers(
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
    check_count("send_retries", send_retries)
    check_flags(auto_rejoin=auto_rejoin, log_payloads=log_payloads)
    if reconnect is not None and not callable(reconnect):
        raise TypeError(f"reconnect is a callable that gives seconds to wait, or None; this is {kind_of(reconnect)}")
    if inspect.iscoroutinefunction(reconnect) or inspect.isasyncgenfunction(reconnect):
        raise TypeError("reconnect is a callable that gives seconds to wait, and not async: a generator, say")
    check_type("ssl_context", ssl_context, (ssl.SSLContext, NoneType), "an ssl.SSLContext or None")
    check_type("resume", resume, (SessionTicket, NoneType), "a SessionTicket, which its from_bytes reads, or None")
    check_callable("connector", connector, "host", "port", "ssl_context")
    extra_headers = handshake_headers(headers, user_agent)
    if proxy is not None:
        connector = ProxyConnector(Proxy.parse(proxy), connector)
    elif connector is connect_tcp:
        connector = connect_as_environment_says
    codec = codec_for(subprotocol if resume is None else resume.subprotocol)

    async def make_core() -> Core:
        first_url = await urls.get(connect_timeout) if resume is None else urls.parse(resume.url)
        ticket = None if resume is None else resume.take()
        session = Session(
            codec,
            SessionSettings(
                ack_timeout=ack_timeout,
                recovery_timeout=recovery_timeout,
                keep_alive_interval=keep_alive_interval,
                keep_alive_timeout=keep_alive_timeout,
                send_retries=send_retries,
                auto_rejoin=auto_rejoin,
                max_message_size=max_message_size,
            ),
            retry_delays=partial(full_jitter, random.random, base=RETRY_BASE, cap=RETRY_CAP),
        )
        if ticket is not None:
            session.resume(ticket, trio.current_time())
        core = Core(
            session=session,
            urls=urls,
            first_url=first_url,
            open_transport=partial(
                open_transport,
                connector=connector,
                subprotocol=codec.subprotocol,
                headers=extra_headers,
                ssl_context=ssl_context,
                max_message_size=MAX_RECEIVED_MESSAGE,
            ),
            connect_timeout=connect_timeout,
            reconnect=reconnect,
            max_pending_sends=max_pending_sends,
            max_pending_bytes=max_pending_bytes,
            log_payloads=log_payloads,
        )
        if ticket is not None:
            core.router.inherit(
                {name: [(each.message, each.size) for each in messages] for name, messages in ticket.unread.items()}
            )
        return core

    # What these arguments were is not kept for as long as the block runs: there may be thousands of clients.
    return _running(make_core, close_timeout)


@asynccontextmanager
async def _running(make_core: Callable[[], Awaitable[Core]], close_timeout: float) -> AsyncGenerator[Client, None]:
    """Run the background tasks beside a block, and let one exception out: the block's own, or what ended the client.

    The tasks are shielded from their birth, and this function alone cancels them. So a block that is being cancelled
    may still say goodbye in a shielded scope of its own, and the writer lives to write it.
    """
    core = await make_core()
    del make_core
    background = core.background
    block_error: BaseException | None = None
    defect: BaseException | None = None

    async def run() -> None:
        nonlocal defect
        try:
            with background:
                await core.run()
        except BaseException as error:  # kept, to be told as what it is; the scope has taken out its own cancellation
            defect = error
            raise

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, name=f"supervisor {core.hub}")
            try:
                await core.wait_ready()
                yield Client(core)
            except BaseException as error:  # whatever ends the block early, cancellation too, is not kept waiting
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
    if block_error is not None and not all(isinstance(each, trio.Cancelled) for each in leaves(block_error)):
        error.add_note(f"The block itself raised {block_error!r}.")
    return error


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is `KeyboardInterrupt` or the like, which may strike in any task."""
    return not isinstance(error, Exception | BaseExceptionGroup | trio.Cancelled)
