"""One client of the simulation: what it does, and whether what it sees is right."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import trio

from trio_webpubsub import (
    AckTimeout,
    Client,
    Connected,
    DataType,
    DeliveryUnknown,
    GroupLost,
    Lifecycle,
    Recovered,
    SendFailed,
    Subscription,
    open_client,
)
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.testing import SimulatedNetwork, cancel_at

from .events import EventSender
from .handlers import GIVEN, ApplicationServer
from .model import Listener, Model, Numbered, Said
from .waits import CLOSE_TIMEOUT, Waits

HUB = "chat"
ROOM = "room"
ACTIONS = 10
SMALL_BUFFER = 8
MAX_PENDING = 6
THE_CLIENTS_OWN = 7
"""Operations of the client itself, which nobody waits for: a join or a leave for each group."""
TOKEN_LIFETIME = timedelta(seconds=10)
"""Virtual seconds, so that an old URL is soon one that the service refuses."""
_MANY_STEPS = 12


class Actor:
    """A client with subscriptions of every kind, and a random script."""

    def __init__(
        self,
        name: str,
        subprotocol: Subprotocol,
        chance: random.Random,
        model: Model,
        network: SimulatedNetwork,
        emulator: Emulator,
        server: ApplicationServer,
        waits: Waits,
    ) -> None:
        self.name = name
        self.client: Client
        self._subprotocol: Subprotocol = subprotocol
        self._chance = chance
        self._model = model
        self._network = network
        self._emulator = emulator
        self._waits = waits
        quick = chance.random() < 0.5
        self.keep_alive = (2.0, 3.0) if quick else (20.0, 10.0)
        """After how long a silence it asks, and how long it waits for an answer."""
        self.patience: float = sum(self.keep_alive)
        self.ack_timeout: float = 12.0 if quick else 30.0
        self._events = EventSender(self, model, server, chance)
        self._sent = 0
        self._listeners: list[Listener] = []
        self._lost_listeners = 0
        self._posted: list[str] = []
        self._news: list[Lifecycle] = []
        self._changes: Counter[str] = Counter()
        self._groups: dict[str, bool | None] = {ROOM: True, GIVEN: True}
        """Whether the client is to be in a group; ``None`` where a call left that open."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Actor]:
        """Connect, and listen while the block lasts."""
        leaving = ExitStack()
        with leaving:
            async with self._listening():
                yield self
                leaving.enter_context(self._waits.at_most(CLOSE_TIMEOUT, f"{self.name} leaving"))

    @asynccontextmanager
    async def _listening(self) -> AsyncGenerator[None]:
        async with (
            open_client(
                self._network.provider(self._url, self.name),
                subprotocol=self._subprotocol,
                connector=self._network.connector(self._emulator, self.name),
                keep_alive_interval=self.keep_alive[0],
                keep_alive_timeout=self.keep_alive[1],
                ack_timeout=self.ack_timeout,
                max_pending_sends=MAX_PENDING,
            ) as self.client,
            trio.open_nursery() as listening,
        ):
            client = self.client
            everything = client.messages(gaps=True)
            server = client.server_messages(gaps=True)
            slow = client.group_messages(ROOM, join=False, gaps=True, buffer=SMALL_BUFFER, overflow="drop_oldest")
            listening.start_soon(self._watch, client.lifecycle())

            def everything_wanted(_: Numbered) -> bool:
                return True

            def of_the_server(one: Numbered) -> bool:
                return one.group is None

            def of_the_room(one: Numbered) -> bool:
                return one.group == ROOM

            def of_any_group(one: Numbered) -> bool:
                return one.group is not None

            listening.start_soon(self._listen, everything, "messages", everything_wanted)
            listening.start_soon(self._listen, server, "server messages", of_the_server)
            listening.start_soon(self._listen, slow, "slow consumer", of_the_room, 0.7)
            groups = client.group_messages(gaps=True)
            listening.start_soon(self._listen, groups, "messages of groups", of_any_group)
            async with client.group_messages(ROOM, gaps=True) as room:
                # It is cancelled below, before the room is closed.
                listening.start_soon(self._listen, room, "messages of the room", of_the_room)  # noqa: ASYNC111
                yield
                listening.cancel_scope.cancel()

    async def _url(self) -> str:
        return self._emulator.client_url(HUB, user_id=self.name, lifetime=TOKEN_LIFETIME)

    # Listening

    async def _watch(self, news: Subscription[Lifecycle]) -> None:
        async for one in news:
            self._model.note(f"{self.name} {one}")
            self._waits.heard(self.name, one)
            self._news.append(one)

    async def _listen(
        self, subscription: Subscription[Any], what: str, wants: Callable[[Numbered], bool], pause: float = 0.0
    ) -> None:
        listener = Listener(self._model, self.name, what, wants)
        self._listeners.append(listener)
        try:
            async for item in subscription:
                listener.take(item)
                if (pending := len(self.client._core.session.outgoing.pending)) > MAX_PENDING + THE_CLIENTS_OWN:
                    raise self._model.fail(f"{self.name} has {pending} operations pending")
                if pause:
                    if subscription.statistics().buffered > SMALL_BUFFER:
                        raise self._model.fail(f"{self.name} buffers more than {SMALL_BUFFER} messages")
                    await trio.sleep(pause)
        except GroupLost as lost:
            # The acks of a join in a new session were lost twice: whether it worked cannot be known.
            self._model.note(f"{self.name}: {lost!r}")
            if not isinstance(lost.error, SendFailed) or lost.error.name != "Timeout":
                raise
            self._listeners.remove(listener)
            self._lost_listeners += 1
            self._groups[ROOM] = None

    # Doing things

    async def act(self, seconds: float) -> None:
        """Go through a random script, which ends when every call has come back."""
        chance = self._chance
        actions = [chance.choice(self._actions()) for _ in range(ACTIONS)]
        times = sorted(chance.uniform(0, seconds) for _ in actions)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for when, action in zip(times, actions, strict=True):
                await trio.sleep_until(start + when)
                nursery.start_soon(action)

    def _actions(self) -> list[Callable[[], Awaitable[object]]]:
        chance = self._chance
        step = chance.randint(1, _MANY_STEPS)
        return [
            self.send,
            self._burst,
            self._burst,
            self._post,
            *self._events.actions(),
            partial(self.send, repeat=True),
            partial(self.send, no_echo=True),
            partial(self.send, group=f"g{chance.randint(1, 3)}"),
            partial(self.send, group=GIVEN),
            partial(self.send, padding=chance.choice((1_000, 5_000))),
            partial(cancel_at, step, self.send),
            partial(self._give_up, chance.uniform(0, 2), self.send),
            partial(self._join, f"g{chance.randint(1, 3)}"),
            partial(self._leave, f"g{chance.randint(1, 3)}"),
            partial(cancel_at, step, self._join, f"g{chance.randint(1, 3)}"),
            partial(cancel_at, step, self._look_in, f"h{chance.randint(1, 3)}"),
        ]

    async def send(self, *, group: str = ROOM, repeat: bool = False, padding: int = 0, no_echo: bool = False) -> None:
        """Send one message to a group and see what the service says."""
        text, said = self._next_message(padding)
        if repeat:
            self._model.may_repeat.add(text)
        metadata = {"of": text} if repeat else None
        self._model.said[text] = said._replace(metadata=metadata, no_echo=no_echo)
        frames = self.client.statistics().frames_sent
        try:
            result = await self.client.send_to_group(
                group,
                said.data,
                data_type="json" if said.data_type == "json" else None,
                no_echo=no_echo,
                metadata=metadata,
                repeat_in_new_session=repeat,
            )
        except trio.Cancelled:
            self._model.cancelled(text, written=self.client.statistics().frames_sent > frames)
            raise
        except (AckTimeout, DeliveryUnknown) as error:
            self._model.note(f"{text}: {error!r}")
        except SendFailed as error:
            self._model.refused(text)
            raise self._model.fail(f"{text}: {error!r}") from error
        else:
            self._model.succeeded(text, duplicated=result.duplicated)

    async def _burst(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self._chance.randint(2, 16)):
                nursery.start_soon(self.send)

    async def _post(self) -> None:
        text, said = self._next_message(0)
        self._model.said[text] = said
        self._posted.append(text)
        data_type: DataType | None = "json" if said.data_type == "json" else None
        await self.client.send_to_group(ROOM, said.data, data_type=data_type, ack=False)

    async def _give_up(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        with trio.move_on_after(seconds):
            await call()

    async def _join(self, group: str) -> None:
        await self._change(group, self.client.join_group, True)

    async def _leave(self, group: str) -> None:
        await self._change(group, self.client.leave_group, False)

    async def _change(self, group: str, call: Callable[[str], Awaitable[object]], wanted: bool) -> None:
        before = self._groups.get(group, False)
        self._changes[group] += 1
        change = self._changes[group]
        self._groups[group] = None
        after: bool | None = None  # what one of several calls at a time leads to cannot be known
        try:
            await call(group)
            after = wanted
        except trio.Cancelled:
            after = before if wanted else None  # a cancelled join is undone, a cancelled leave may have happened
            raise
        except (AckTimeout, DeliveryUnknown):
            return
        finally:
            if self._changes[group] == change and before is not None:
                self._groups[group] = after

    async def _look_in(self, group: str) -> None:
        self._groups.setdefault(group, False)
        try:
            async with self.client.group_messages(group) as messages:
                with trio.move_on_after(self._chance.uniform(0, 2)):
                    async for message in messages:
                        if message.group != group:
                            raise self._model.fail(f"{self.name} hears {message} in {group}")
        except (AckTimeout, DeliveryUnknown, GroupLost):
            self._groups[group] = None

    def _next_message(self, padding: int) -> tuple[str, Said]:
        self._sent += 1
        text = f"{self.name}:{self._sent}"
        whole = f"{text} {'x' * padding}"
        data_type = self._chance.choice(("text", "json", "binary"))
        return text, Said(data_type, whole.encode() if data_type == "binary" else whole)

    # At the end

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left to wait for."""
        client = self.client
        return (
            client.state == "connected"
            and client.statistics().pending_sends == 0
            and not self._emulator._switchboard.hubs.hub(HUB)._requests._asked
            and all(listener.missing == [] for listener in self._listeners)
        )

    def check(self) -> None:
        """Check what has to hold once all has settled."""
        model, client = self._model, self.client
        if not self.is_settled:
            missing = [line for listener in self._listeners for line in listener.missing]
            raise model.fail(f"{self.name} is not well: {client!r} {client.statistics()} lacks {missing[:5]}")
        news = [one for one in self._news if isinstance(one, Connected)]
        notices = [one.connection_id for one in news if not one.first]
        self._check_counts()
        if len(set(notices)) != len(notices) or len(notices) != client.statistics().reconnects:
            raise model.fail(f"{self.name} was told of {notices}, and lost {client.statistics().reconnects} sessions")
        for listener in self._listeners:
            if not (bool(notices) <= listener.sessions_lost <= len(notices)):
                raise model.fail(
                    f"{listener.what} were told of {listener.sessions_lost} lost sessions, of {len(notices)}"
                )
        (mine,) = [each for each in self._emulator.connections(HUB) if each.connection_id == client.connection_id]
        if unconfirmed := model.unconfirmed(mine.connection_id):
            raise model.fail(f"{self.name} has not confirmed {unconfirmed} messages")
        wanted = {group for group, is_in in self._groups.items() if is_in}
        unknown = {group for group, is_in in self._groups.items() if is_in is None}
        if wrong := (mine.groups - unknown) ^ wanted:
            raise model.fail(f"{self.name} should be in {wanted}, and perhaps in {unknown}: wrong are {wrong}")

    def _check_counts(self) -> None:
        """Check that what can be counted is right, and that nothing is kept of what is over."""
        statistics = self.client.statistics()
        recovered = sum(isinstance(one, Recovered) for one in self._news)
        if recovered != statistics.recoveries:
            raise self._model.fail(f"{self.name} was told of {recovered} recoveries, of {statistics.recoveries}")
        overflowed = sum(listener.overflowed for listener in self._listeners)
        if not self._lost_listeners and overflowed != statistics.dropped:
            raise self._model.fail(f"{self.name} was told of {overflowed} lost messages, of {statistics.dropped}")
        lost = [text for text in self._posted if not self._model.executed[text]]
        if lost and not statistics.recoveries and not statistics.reconnects:
            raise self._model.fail(f"{self.name} posted {lost} over a link that never broke, and they got lost")
        outgoing, router = self.client._core.session.outgoing, self.client._core.router
        kept = outgoing.pending.bytes, outgoing.pending.posted_bytes, len(outgoing._invocations._running)
        if any(kept):
            raise self._model.fail(f"{self.name} keeps {kept} bytes and invocations of what is over")
        routes = sum(map(len, router._routes.values()))
        if not self._lost_listeners and routes != len(self._listeners) + 1:
            raise self._model.fail(f"{self.name} has {routes} routes, for {len(self._listeners)} subscriptions")
