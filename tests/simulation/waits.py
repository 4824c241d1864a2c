"""A watch over everything that is waited for: nothing may wait past its deadline.

That all is well in the end is not enough: something else may have come to the rescue, late. So the deadline of every
single wait is kept here, a second time, by those rules of the client that its documentation gives. While a client has
no connection its calls wait for one, so that their time begins anew when there is one again; how long it may be without
is another deadline.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio

from trio_webpubsub import Client, Connected, Lifecycle, Recovered
from trio_webpubsub.emulator.hub import Hub
from trio_webpubsub.protocol import wire
from trio_webpubsub.testing import SimulatedNetwork

from .model import Model

PERIOD = 1.0
"""Virtual seconds between two looks."""
SLACK = 1.5
"""Virtual seconds: a look may come so late, and a last word or a jump of the clock takes its time."""
CONNECT_TIMEOUT = 10.0
"""The default of clients: for a URL, and for a handshake with the sign of life after it."""
PROOF_TIMEOUT = 5.0
"""For the first frame on the new link of a recovery."""
RECOVERY_PAUSE = 2.0
RECONNECT_PAUSE = 30.0
RECOVERY_TIMEOUT = 30.0
CLOSE_TIMEOUT = 5.0


class Watched(Protocol):
    """An actor, as far as it is watched."""

    name: str
    client: Client
    patience: float
    """Seconds in which a dead link is noticed."""
    ack_timeout: float


class Waits:
    """Knows who waits since when."""

    def __init__(self, model: Model, hub: Hub, network: SimulatedNetwork, *, handler_timeout: float) -> None:
        self._model = model
        self._hub = hub
        self._network = network
        self._handler_timeout = handler_timeout
        self._calls: dict[int, tuple[str, float, float]] = {}
        self._next_call = 0
        self._first_seen: dict[Hashable, float] = {}
        self._last_news: dict[str, float] = {}
        self._connected_since: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._since_state: dict[str, float] = {}

    @contextmanager
    def at_most(self, seconds: float, what: str) -> Generator[None]:
        """Let a block take so long, whatever happens."""
        number = self._next_call = self._next_call + 1
        self._calls[number] = what, trio.current_time(), seconds
        try:
            yield
        finally:
            del self._calls[number]

    def heard(self, name: str, news: Lifecycle) -> None:
        """Take what a client tells of its connection."""
        now = self._last_news[name] = trio.current_time()
        if isinstance(news, Connected | Recovered):
            self._connected_since[name] = now

    async def watch(self, watched: Sequence[Watched]) -> None:
        """Look at everything again and again, until cancelled."""
        while True:
            await trio.sleep(PERIOD)
            self._look(watched)

    def _look(self, watched: Sequence[Watched]) -> None:
        seen = self._first_seen
        self._first_seen = {}
        now = trio.current_time()
        for what, start, seconds in self._calls.values():
            self._judge(what, now - start, seconds)
        for token in self._hub._requests._asked:
            since = self._first_seen[token] = seen.get(token, now)
            self._judge("an event handler's answer", now - since, self._handler_timeout)
        for each in watched:
            self._look_at(each, seen, now)

    def _look_at(self, watched: Watched, seen: dict[Hashable, float], now: float) -> None:
        name, client = watched.name, watched.client
        session = client._core.session
        connected = self._connected_since[name] if client.state == "connected" else now
        self._look_at_pause(name, client.state, now)
        for operation in session.outgoing.pending:
            since = self._first_seen[operation] = seen.get(operation, now)
            # The ack of what was written is waited for twice, but for an event; writing takes as long as a link lives.
            times = 1 if isinstance(operation.message, wire.SendEvent) else 2
            longest = times * watched.ack_timeout + watched.patience
            self._judge(f"{name}: {operation.message}", now - max(since, connected), longest)
        for invocation in session.outgoing._invocations._running.values():
            since = self._first_seen[invocation] = seen.get(invocation, now)
            longest = watched.ack_timeout if since >= connected else 0.0  # it ends with its link
            self._judge(f"{name}: invocation {invocation.invocation_id}", now - since, longest)
        for link in self._network._links:
            if link.name == name and link.down.silent and not link.client_end._closed:
                key = name, link.number
                since = self._first_seen[key] = seen.get(key, now)
                longest = max(CONNECT_TIMEOUT, watched.patience)
                if client.state == "connected":
                    longest = watched.patience
                elif client._core._supervisor.connection is not None:
                    longest = PROOF_TIMEOUT if client.state == "recovering" else CONNECT_TIMEOUT
                self._judge(f"{name}: noticing that link {link.number} is dead", now - max(since, connected), longest)

    def _look_at_pause(self, name: str, state: str, now: float) -> None:
        """A client without a connection tries to get one, and says when that fails."""
        if state != self._states.get(name):
            self._states[name] = state
            self._since_state[name] = now
        if state == "recovering":
            longest = RECOVERY_PAUSE + CONNECT_TIMEOUT
            self._judge(f"{name}: the end of its recovery", now - self._since_state[name], RECOVERY_TIMEOUT)
        elif state == "reconnecting":
            longest = RECONNECT_PAUSE + 2 * CONNECT_TIMEOUT
        else:
            return
        waited = now - max(self._last_news[name], self._since_state[name])
        self._judge(f"{name}: news from a client that is {state}", waited, longest)

    def _judge(self, what: str, waited: float, longest: float) -> None:
        if waited > longest + SLACK:
            raise self._model.fail(f"{what} is waited for since {waited:.1f} s, {longest:.1f} s at most")
