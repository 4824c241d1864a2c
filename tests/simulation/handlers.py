"""The application server of the simulation: a webhook app that handles what clients send, and keeps count."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import trio

from trio_webpubsub.emulator import DEFAULT_ACCESS_KEY, EventHandler, HandlerLimits
from trio_webpubsub.webhooks import (
    Accept,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    EventRejected,
    Reply,
    UserEvent,
    WebhookApp,
)
from trio_webpubsub.webhooks.serve import http_listener

from .model import Model, text_of

GIVEN = "given"
"""A group that the connect handler puts everybody into."""
LIMITS = HandlerLimits(timeout=20.0, validation_timeout=4.0, validation_interval=5.0)
GOOD, BAD, SLOW = "order", "refused", "slow"
"""Events: the handler of the first answers, that of the second says no, that of the third takes longer than some wait.
"""
_URL = "http://app.test/hooks/{hub}/"
_MOST_SECONDS = 2.0
_LONG = (14.0, 25.0)
"""Seconds: longer than some clients wait, and longer than the service does."""


class ApplicationServer:
    """Handles events, over the network or in the process of the emulator; a server for `SimulatedNetwork`."""

    def __init__(self, hub: str, chance: random.Random, nursery: trio.Nursery, *, in_process: bool) -> None:
        self.ran: Counter[str] = Counter()
        """How often each event was handled."""
        self.answers: dict[str, str] = {}
        """What each was answered last."""
        self.let_in: set[str] = set()
        self.connected: Counter[str] = Counter()
        self.disconnected: Counter[str] = Counter()
        self.is_reliable: bool = in_process
        """Whether nothing stands between the service and this."""
        self._model: Model
        self._answered: set[tuple[str, str]] = set()
        self._chance = chance
        self._nursery = nursery
        app = WebhookApp(
            hub,
            access_keys=[DEFAULT_ACCESS_KEY],
            path="/hooks/{hub}/",
            on_connect=self._connect,
            on_connected=self._connect_done,
            on_disconnected=self._gone,
            on_user_event=self._handle,
            remember_events=1_000,
        )
        self._listener = http_listener(app)
        self.handler = EventHandler(_URL, user_events=f"{GOOD},{BAD},{SLOW}", app=app if in_process else None)

    def watch(self, model: Model) -> None:
        """Say who is told what is wrong."""
        self._model = model

    def accept(self, stream: trio.abc.Stream) -> None:
        """Serve a connection of the emulator."""
        self._nursery.start_soon(self._listener.handle, stream)

    def check(self, sessions: Mapping[str, list[str]]) -> None:
        """Check what has to hold once the emulator has told everything: each session came once, and went once.

        That a client went is told as well where it was let in, and its handshake came to nothing.
        """
        ids = {connection_id for several in sessions.values() for connection_id in several}
        for told, known in ((self.connected, ids), (self.disconnected, ids | self.let_in)):
            if told.keys() - known or (told and max(told.values()) > 1):
                raise self._model.fail(f"the application was told of {told}, for the sessions {known}")
            if self.is_reliable and ids - told.keys():
                raise self._model.fail(f"the application was not told of {ids - told.keys()}")

    async def _connect(self, request: ConnectRequest) -> Accept:
        await self._take_time()
        request.state["events"] = 0
        self.let_in.add(request.connection_id)
        return Accept(user_id=request.user_id, groups=[*(request.claims.get("webpubsub.group", ())), GIVEN])

    async def _connect_done(self, event: ConnectedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.connected[event.connection_id] += 1

    async def _gone(self, event: DisconnectedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.disconnected[event.connection_id] += 1

    async def _handle(self, event: UserEvent) -> Reply:
        text = text_of(event.data)
        self.ran[text] += 1
        self._model.note(f"{text} is handled as {event.name}")
        # The service forgets an event that failed, so that it can be tried again: also where the news of that got lost.
        if self.ran[text] > 1 and self.is_reliable and event.name == GOOD:
            raise self._model.fail(f"{text} was handled twice")
        if (event.connection_id, event.event_id) in self._answered:
            raise self._model.fail(f"{text} was answered already")
        event.state["events"] += 1
        await self._take_time()
        if event.name == SLOW:
            await trio.sleep(self._chance.choice(_LONG))
        if event.name == BAD:
            raise EventRejected(403, "no")
        self._answered.add((event.connection_id, event.event_id))
        self.answers[text] = f"answer:{text}:{self.ran[text]}"
        return Reply(self.answers[text], metadata={"of": text})

    async def _take_time(self) -> None:
        await trio.sleep(self._chance.choice((0.0, 0.0, 0.0, self._chance.uniform(0, _MOST_SECONDS))))
