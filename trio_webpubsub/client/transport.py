"""One WebSocket to the service, as the rest of the client sees it: batches in, frames out, one way to end.

trio-websocket does the handshake, answers pings and closes. It is given a `FrameStream` instead of the socket, so that
data frames never go through it. Every failure to connect becomes one `ConnectFailed`.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio
import trio_websocket

from .._shell.at_once import sender_of
from .._shell.clock import wall_time
from .._shell.connector import Connector, default_ssl_context, reason_of
from .._shell.frame_stream import FrameStream, TransportEnded
from .._shell.groups import forget_frames, leaves
from ..errors import ConnectFailed
from ..protocol.claims import expires_at
from ..protocol.urls import ClientUrl

_SAID_CHARACTERS = 200
"""How much of the service's reason for a refusal is passed on."""


class Transport(Protocol):
    """What a connection needs of its WebSocket. One task receives, one writes."""

    @property
    def nursery(self) -> trio.Nursery:
        """For the tasks of whoever uses the transport. It is cancelled when the block ends that holds the transport."""
        ...

    @property
    def last_received(self) -> float:
        """The time on trio's clock when the last byte came."""
        ...

    @property
    def queued_bytes(self) -> int:
        """Size of what is queued and not yet written."""
        ...

    @property
    def can_send(self) -> bool:
        """False once nothing more can be queued, since the transport is ending or dead."""
        ...

    def set_writer(self, start: Callable[[], None]) -> None:
        """Let ``start`` be called once, as soon as there is work for a writer; before anything is queued."""
        ...

    def receive_batch(self) -> Awaitable[list[bytes]]:
        """Give all data messages that have come, at least one.

        Raises:
            TransportEnded: nothing more will come.
        """
        ...

    def queue_frames(self, payloads: list[bytes], *, binary: bool = False) -> None:
        """Queue messages for the next push or flush."""
        ...

    def push(self) -> int:
        """Write what is queued, as far as the network takes it without waiting; the rest is left to the writer.

        Gives how many bytes that are.
        """
        ...

    def wake(self) -> None:
        """Make `wait_for_work` return."""
        ...

    def wait_for_work(self) -> Awaitable[None]:
        """Wait until something is queued or `wake` was called."""
        ...

    def flush(self) -> Awaitable[None]:
        """Write everything that is queued."""
        ...

    async def aclose(self, code: int) -> None:
        """Do the closing handshake. Needs a task that receives and one that writes; has no deadline of its own."""
        ...

    async def finish(self) -> None:
        """After the peer's close: answer it, and close. Needs a task that writes; has no deadline of its own."""
        ...

    async def abort(self) -> None:
        """End at once, without a word to the other side."""
        ...


class _WebSocketTransport:
    """A `Transport` over trio-websocket."""

    def __init__(
        self, nursery: trio.Nursery, websocket: trio_websocket.WebSocketConnection, stream: FrameStream
    ) -> None:
        self.nursery = nursery
        self.receive_batch = stream.receive_batch
        self.queue_frames = stream.queue_frames
        self.push = stream.push
        self.wake = stream.wake
        self.wait_for_work = stream.wait_for_work
        self.flush = stream.flush
        self._websocket = websocket
        self._stream = stream

    @property
    def last_received(self) -> float:
        return self._stream.last_received

    @property
    def queued_bytes(self) -> int:
        return self._stream.queued_bytes

    @property
    def can_send(self) -> bool:
        return self._stream.can_send

    def set_writer(self, start: Callable[[], None]) -> None:
        self._stream.start_writer = start

    async def aclose(self, code: int) -> None:
        self._stream.ignore_pings()
        await self._websocket.aclose(code)

    async def finish(self) -> None:
        await self._stream.aclose()

    async def abort(self) -> None:
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def open_transport(
    url: ClientUrl,
    connect_timeout: float,
    *,
    connector: Connector,
    subprotocol: str,
    headers: list[tuple[bytes, bytes]],
    ssl_context: ssl.SSLContext | None,
    max_message_size: int,
) -> AsyncGenerator[Transport, None]:
    """Connect, and hold the WebSocket for as long as the block runs.

    Raises:
        ConnectFailed: within ``connect_timeout`` seconds, for whatever reason.

    Cancellation: nothing is left open.
    """
    deadline = trio.current_time() + connect_timeout
    stream = await _dial(url, connector, ssl_context, deadline)
    frames = FrameStream(stream, client=True, max_message_size=max_message_size, try_send=sender_of(stream))
    opened = False
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_at(deadline):
                websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    # Annotated as a socket's stream, documented as any stream.
                    frames,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
                    url.host_header,
                    url.resource,
                    subprotocols=[subprotocol],
                    extra_headers=headers,
                )
            if websocket.subprotocol != subprotocol:
                raise ConnectFailed(f"the service did not accept the subprotocol {subprotocol}")
            opened = True
            yield _WebSocketTransport(nursery, websocket, frames)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if opened:
            raise  # out of the block, or a defect
        failure = _handshake_error(group, url)
        if failure not in leaves(group) and not _rejected(failure):
            failure.__cause__ = group
            forget_frames(group)  # those of trio-websocket hold the URL, with the token in it
    finally:
        await trio.aclose_forcefully(frames)
    if failure is not None:  # raised here, as one that stands in the group must not have the group for its context
        raise failure


async def _dial(
    url: ClientUrl, connector: Connector, ssl_context: ssl.SSLContext | None, deadline: float
) -> trio.abc.Stream:
    try:
        with trio.fail_at(deadline):
            if url.secure and ssl_context is None:
                ssl_context = default_ssl_context()
            connecting = connector(url.host, url.port, ssl_context if url.secure else None)
            if not inspect.isawaitable(connecting):
                raise ConnectFailed(f"the connector is not async: it gave {type(connecting).__name__!r}")
            return _checked(await connecting)
    except ssl.SSLError as error:
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason or str(error)
        raise ConnectFailed(f"TLS with {url.host} failed: {reason}") from error
    except OSError as error:
        raise ConnectFailed(f"no connection to {url.host}:{url.port}: {reason_of(error)}") from error
    except trio.TooSlowError as error:
        raise ConnectFailed(f"no connection to {url.host}:{url.port} in time") from error
    except ConnectFailed:
        raise
    except Exception as error:  # the user's connector may raise anything; it is one more way not to connect
        raise ConnectFailed(f"the connector raised {type(error).__name__}") from error


def _checked(stream: object) -> trio.abc.Stream:
    if not isinstance(stream, trio.abc.Stream):
        raise ConnectFailed(f"the connector gave {type(stream).__name__!r}, which is no stream")
    return stream


def _handshake_error(group: BaseExceptionGroup[BaseException], url: ClientUrl) -> BaseException:
    """Choose what to raise for the failures of trio-websocket's tasks and of our wait for them."""
    errors = list(leaves(group))
    for error in errors:
        if not isinstance(error, Exception):
            return error
    for error in errors:
        match error:
            case ConnectFailed():
                return error
            case trio_websocket.ConnectionRejected(status_code=status, body=body):
                why = (_token_trouble(url) if status == 401 else "") or _said(body or b"", url)
                return ConnectFailed(f"the service refused the handshake with status {status}{why}", status=status)
            case trio.TooSlowError():
                return ConnectFailed("the service did not answer the handshake in time")
            case TransportEnded(__cause__=ssl.SSLError() as cause):
                return ConnectFailed(f"the service ended TLS during the handshake: {cause.reason}")
            case TransportEnded(reason=reason):
                # A service that refuses a client certificate ends the connection behind the handshake of TLS 1.3, and
                # whether its alert is still seen is a matter of luck.
                hint = "; over TLS, the reason may be the client certificate" if url.secure else ""
                return ConnectFailed(f"{reason or 'the connection ended during the handshake'}{hint}")
            case _:
                pass
    return ConnectFailed(f"the service's answer to the handshake makes no sense: {type(errors[0]).__name__}")


def _rejected(failure: BaseException) -> bool:
    """Tell whether it says all that its cause would, which has headers and body as well: they may repeat the token."""
    return isinstance(failure, ConnectFailed) and failure.status is not None


def _said(body: bytes, url: ClientUrl) -> str:
    """Say in one line what the service answered; gateways answer with pages for browsers, which say nothing more."""
    text = " ".join(url.conceal(body.decode(errors="replace")).split())
    if not text or text.startswith("<"):
        return ""
    text = "".join(each if each.isprintable() else "?" for each in text[:_SAID_CHARACTERS])
    return f": {text}"


def _token_trouble(url: ClientUrl) -> str:
    """Say what can be seen of a token that was refused."""
    if url.access_token is None:
        return "; the URL has no access_token"
    expiry = expires_at(url.access_token)
    return "; the token in the URL has expired" if expiry is not None and expiry <= wall_time() else ""
