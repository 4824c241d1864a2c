"""Connect, recover, reconnect: loops over connections, in the order that the session asks for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeAlias

import trio

from .._shell.clock import wall_time
from ..errors import ConnectFailed
from ..protocol.backoff import full_jitter
from ..protocol.claims import expires_at
from ..protocol.messages import ConnectAttemptFailed
from ..protocol.session import Session
from ..protocol.session_values import Output, Reconnect, Recover, Stop
from ..protocol.urls import ClientUrl
from .connection import Connection
from .transport import Transport
from .url_source import UrlSource

logger: logging.Logger = logging.getLogger("trio_webpubsub.client")

PROOF_TIMEOUT = 5.0
"""Seconds after which a recovery that opened a socket but brought no frame counts as failed."""

LASTED = 30.0
"""Seconds after which a session counts as stable, so that its loss starts the back-off anew."""

LINK_LASTED = 5.0
"""The same for a transport, whose loss is then followed by a recovery at once."""

RECOVERY_BASE = 0.2
RECOVERY_CAP = 2.0

REFUSED = frozenset({400, 401, 403, 404})
"""Handshake statuses that trying again with the same URL cannot change."""

OpenTransport: TypeAlias = Callable[[ClientUrl, float], AbstractAsyncContextManager[Transport]]
"""Opens a transport to a URL within so many seconds."""


@contextmanager
def _users_delays() -> Generator[None, None, None]:
    """Run the user's code for delays.

    Raises:
        ConnectFailed: it raised something.
    """
    try:
        yield
    except Exception as error:  # the user's code may raise anything; without a delay there is no other try
        raise ConnectFailed(f"the iterator of delays between tries raised {type(error).__name__}") from error


def _next_delay(delays: Iterator[float]) -> float | None:
    """Give the seconds until the next try; ``None`` when there is to be none.

    Raises:
        ConnectFailed: the user's iterator failed, or gave something else.
    """
    with _users_delays():
        delay = next(delays, None)
        if delay is None or delay >= 0:
            return delay
    raise ConnectFailed(f"the iterator of delays between tries gave {delay}, which is no time to wait")


def _expiry(url: ClientUrl) -> float | None:
    """Give when a URL's token expires, if it says so."""
    return expires_at(url.access_token) if url.access_token else None


async def _warn_of_expiry(expiry: float) -> None:
    """Say once when a fixed URL's token has expired: this session lives on, but there will be no other."""
    await trio.sleep(max(0, expiry - wall_time()))
    logger.warning(
        "the token of the URL has expired; when this session is lost, no new one can be had."
        " Pass an async callable instead of a URL, which is asked for each new session"
    )


class Supervisor:
    """Keeps the session on a transport for as long as there is any hope."""

    def __init__(
        self,
        session: Session,
        *,
        urls: UrlSource,
        first_url: ClientUrl,
        open_transport: OpenTransport,
        make_connection: Callable[[Transport], Connection],
        dispatch: Callable[[list[Output]], None],
        connect_timeout: float,
        reconnect: Callable[[], Iterable[float]] | None,
        random: Callable[[], float],
    ) -> None:
        self._session = session
        self.urls = urls
        self._open_transport = open_transport
        self._make_connection = make_connection
        self._dispatch = dispatch
        self._connect_timeout = connect_timeout
        self._new_delays = reconnect
        self._random = random
        self.url: ClientUrl = first_url
        """Where the present session was begun."""
        self._recovery_delays: Iterator[float] | None = None
        self._lived = 0.0
        self.scope: trio.CancelScope = trio.CancelScope(shield=True)
        """In which `run` has to be called."""
        self.connection: Connection | None = None
        """The transport at work, if there is one."""

    async def run(self) -> None:
        """Connect to the first URL once, then live until the session says stop or no new session can be had.

        Raises:
            ConnectFailed: the first connect failed, or the last reconnect.
        """
        expiry = None if self.urls.fixed is None else _expiry(self.urls.fixed)
        failure: ConnectFailed | None = None
        if expiry is None:
            failure = await self._live_until_stopped()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_warn_of_expiry, expiry, name=f"token watch {self.url.hub}")
                failure = await self._live_until_stopped()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _live_until_stopped(self) -> ConnectFailed | None:
        """Live until the end, and give the error that it ended with, so that a nursery makes no group of it."""
        try:
            await self._live()
        except ConnectFailed as error:
            return error
        return None

    def stop(self) -> None:
        """Drop the link, or the try to get one, without a word: the session is somebody else's now."""
        self.scope.cancel()

    async def _live(self) -> None:
        started = trio.current_time()
        if isinstance(step := self._session.step, Recover):  # the session of a ticket
            recovered = await self._recover(step.deadline)
            error = None if recovered or self._session.state == "stopped" else await self._try_new_session()
        else:
            error = await self._new_session(self.url)
        if error is not None:
            raise error
        delays: Iterator[float] | None = None
        while True:
            match self._session.step:
                case Stop():
                    return
                case Recover(deadline=deadline):
                    await self._recover(deadline)
                case Reconnect():
                    lasted = trio.current_time() - started > LASTED
                    delays = await self._delays(delays, lasted)
                    started = await self._reconnect(delays)

    async def _delays(self, delays: Iterator[float] | None, lasted: bool) -> Iterator[float]:
        """Give the delays between the tries to come. A session that lasted starts them anew, at once; else wait a turn.

        Raises:
            ConnectFailed: there is no turn.
        """
        if self._new_delays is None:
            raise ConnectFailed("the session was lost, and reconnecting is switched off")
        if delays is None or lasted:
            with _users_delays():
                delays = iter(self._new_delays())
        if not lasted:
            delay = _next_delay(delays)
            if delay is None:
                raise ConnectFailed("the session was lost, and no tries to reconnect are left")
            await trio.sleep(delay)
        return delays

    async def _recover(self, deadline: float) -> bool:
        """Try to get the session onto a new transport, until it is lost. Gives whether that worked, when it has ended.

        The first try is made at once, unless the last transport was a recovery that did not last.
        """
        if self._recovery_delays is None or self._lived > LINK_LASTED:
            self._recovery_delays = full_jitter(self._random, base=RECOVERY_BASE, cap=RECOVERY_CAP)
        else:
            await trio.sleep(next(self._recovery_delays))
        delays = self._recovery_delays
        while True:
            step = self._session.step
            if not isinstance(step, Recover):
                return False
            now = trio.current_time()
            if now >= deadline:
                logger.warning("the session was not recovered in time")
                self._dispatch(self._session.recovery_failed())
                return False
            url = self.url.recovery(step.connection_id, step.reconnection_token)
            error = await self._attempt(url, min(now + self._connect_timeout, deadline), PROOF_TIMEOUT)
            if error is None:
                return True
            if error.status in REFUSED:
                self._dispatch(self._session.recovery_failed())
            if isinstance(self._session.step, Recover):
                delay = min(next(delays), max(deadline - trio.current_time(), 0))
                self._attempt_failed(error, delay)
                await trio.sleep(delay)
            else:
                self._attempt_failed(error, 0)

    async def _reconnect(self, delays: Iterator[float]) -> float:
        """Get a new session. Gives the time when its transport opened, after it has ended.

        Raises:
            ConnectFailed: it cannot get better.
        """
        while True:
            started = trio.current_time()
            error = await self._try_new_session()
            if error is None or isinstance(self._session.step, Stop):
                return started
            hopeless = self.urls.fixed is not None and error.status in REFUSED
            delay = None if hopeless else _next_delay(delays)
            self._attempt_failed(error, delay)
            if delay is None:
                raise error
            await trio.sleep(delay)

    async def _try_new_session(self) -> ConnectFailed | None:
        """Get a URL, open a transport and live on it. Gives the error if no session came about."""
        try:
            url = await self.urls.get(self._connect_timeout)
        except ConnectFailed as error:
            return error
        except TypeError as error:  # not an async callable, and for a ticket's session it was not asked before
            return ConnectFailed(str(error))
        return await self._new_session(url)

    async def _new_session(self, url: ClientUrl) -> ConnectFailed | None:
        self.url = url
        return await self._attempt(url, trio.current_time() + self._connect_timeout)

    async def _attempt(self, url: ClientUrl, deadline: float, proof_timeout: float = math.inf) -> ConnectFailed | None:
        """Live on one transport from its opening to its end. Gives the error if it never carried the session.

        Args:
            url: where to connect to.
            deadline: until when the transport must be open and have shown that it carries the session.
            proof_timeout: seconds from its opening until it must have shown that.
        """
        try:
            async with self._open_transport(url, deadline - trio.current_time()) as transport:
                self.connection = connection = self._make_connection(transport)
                opened = trio.current_time()
                try:
                    ended = await connection.run(url.hub, min(proof_timeout, deadline - opened))
                finally:
                    self.connection = None
                    self._lived = trio.current_time() - opened
                logger.info("the link ended with close code %d", ended.code)
        except ConnectFailed as error:
            # Watchers may keep errors for long, and a traceback keeps everything that this try was made of.
            return error.with_traceback(None)
        if connection.proven:
            return None
        reason = f": {ended.reason}" if ended.reason else ""
        return ConnectFailed(f"the connection was closed before the session began (close code {ended.code}{reason})")

    @property
    def token_expires_at(self) -> float | None:
        """When the token of the present URL expires, in seconds since 1970."""
        return _expiry(self.url)

    def _attempt_failed(self, error: ConnectFailed, delay: float | None) -> None:
        logger.info("no connection: %s", error)
        self._dispatch([ConnectAttemptFailed(error=error, next_delay=delay)])
