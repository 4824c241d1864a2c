"""One WebSocket to the service, as the rest of the client sees it: batches in, frames out, one way to end.

trio-websocket does the handshake, answers pings and closes. It is given a `FrameStream` instead of the socket, so that
data frames never go through it. Every failure to connect becomes one `ConnectFailed`.

The first connection loads trio-websocket, and with it wsproto and h11. They are half of what importing the package
would take beside trio, and who uses only its service or its webhooks never connects.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .._shell.clock import wall_time
from .._shell.connector import Connector, default_ssl_context, reason_of
from .._shell.frame_stream import FrameStream, TransportEnded
from .._shell.groups import forget_frames, leaves
from .._shell.tcp import sender_of
from ..errors import ConnectFailed
from ..protocol.claims import expires_at
from ..protocol.urls import ClientUrl

if TYPE_CHECKING:
    import trio_websocket

_SAID_CHARACTERS = 200
"""How much of the service's reason for a refusal is passed on."""


class Transport:
    """One open WebSocket. One task receives from its ``frames``, one writes."""

    def __init__(
        self, nursery: trio.Nursery, websocket: trio_websocket.WebSocketConnection, frames: FrameStream
    ) -> None:
        self.nursery: trio.Nursery = nursery
        """For the tasks of whoever uses the transport. It is cancelled when the block ends that holds the transport."""
        self.frames: FrameStream = frames
        """What comes and goes."""
        self._websocket = websocket

    async def aclose(self, code: int) -> None:
        """Do the closing handshake. Needs a task that receives and one that writes; has no deadline of its own."""
        self.frames.ignore_pings()
        await self._websocket.aclose(code)

    async def finish(self) -> None:
        """After the peer's close: answer it, and close. Needs a task that writes; has no deadline of its own."""
        await self.frames.aclose()

    async def abort(self) -> None:
        """End at once, without a word to the other side."""
        await trio.aclose_forcefully(self.frames)


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
    import trio_websocket  # not at the top: see there

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
            yield Transport(nursery, websocket, frames)
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
    import trio_websocket  # was loaded before there was a handshake

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
