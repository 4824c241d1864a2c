"""One client of the simulation of streams: what it does, and whether what it sees is right."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from trio_webpubsub import (
    AckTimeout,
    Client,
    Gap,
    GroupLost,
    GroupMessage,
    GroupState,
    GroupStream,
    GroupStreams,
    GroupStreamWriter,
    StreamFailed,
    StreamLost,
    SubscriptionOverflow,
    open_client,
)
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.protocol.messages import StreamError
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.testing import SimulatedNetwork, cancel_at

from .actor import HUB, TOKEN_LIFETIME
from .stream_truth import STAGE, Ear, Truth

RELIABLE: tuple[Subprotocol, ...] = ("json.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1")
PLAIN: tuple[Subprotocol, ...] = ("json.webpubsub.azure.v1", "protobuf.webpubsub.azure.v1")
ROLES = (
    "webpubsub.joinLeaveGroup",
    "webpubsub.sendToGroup",
    "webpubsub.setGroupState",
    "webpubsub.getGroupState",
)
ACTIONS = 8
WINDOW = 64
SMALL_BUFFER = 8
MANY_STEPS = 40
IDLE_TIMEOUTS = (4.0, 300.0)
"""Virtual seconds. Streams with the first may become idle while their links are broken."""


class Streamer:
    """A client that streams, tells its state, and watches."""

    def __init__(
        self,
        name: str,
        subprotocol: Subprotocol,
        chance: random.Random,
        truth: Truth,
        network: SimulatedNetwork,
        emulator: Emulator,
        *,
        link_is_slow: bool,
    ) -> None:
        self.name = name
        self.client: Client
        self.is_reliable: bool = subprotocol in RELIABLE
        self._subprotocol: Subprotocol = subprotocol
        self._chance = chance
        self._truth = truth
        self._network = network
        self._emulator = emulator
        self._link_is_slow = link_is_slow
        self._streams = 0
        self._raw = Ear(truth, f"{name}, of all messages,")
        self._ear = Ear(truth, name)
        self._members: GroupState
        self._changed: dict[str, Any] = {}
        """The states as the changes tell them."""
        self._state: Any = None
        self._state_is_known = True
        self._setting = trio.Lock()
        self._gave_up = False
        """Whether a subscription could not be renewed, since both of its answers were lost."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Streamer]:
        """Connect, and listen while the block lasts."""
        quick = self._chance.random() < 0.5
        async with (
            open_client(
                self._network.provider(self._url, self.name),
                subprotocol=self._subprotocol,
                connector=self._network.connector(self._emulator, self.name),
                keep_alive_interval=2.0 if quick else 20.0,
                keep_alive_timeout=3.0 if quick else 10.0,
                ack_timeout=12.0 if quick else 30.0,
            ) as self.client,
            self.client.group_state(STAGE) as self._members,
            self.client.group_streams(STAGE, gaps=True) as streams,
            self.client.group_streams(STAGE, buffer=SMALL_BUFFER, from_start=True) as slow,
            trio.open_nursery() as listening,
        ):
            listening.start_soon(self._hear_all)
            listening.start_soon(self._hear_streams, streams, listening)
            listening.start_soon(self._hear_slowly, slow)
            listening.start_soon(self._hear_changes)
            yield self
            listening.cancel_scope.cancel()

    async def _url(self) -> str:
        return self._emulator.client_url(HUB, user_id=self.name, lifetime=TOKEN_LIFETIME, roles=ROLES)

    # Listening

    async def _hear_all(self) -> None:
        async for message in self.client.messages():
            if isinstance(message, GroupMessage) and (info := message.stream) is not None:
                if info.end_of_stream:
                    self._raw.endings[info.stream_id] = info.error
                else:
                    self._raw.fragment(message)

    async def _hear_streams(self, streams: GroupStreams[GroupMessage | Gap], nursery: trio.Nursery) -> None:
        try:
            async for stream in streams:
                nursery.start_soon(self._hear_stream, stream)
        except GroupLost as lost:
            self._not_renewed(lost)

    async def _hear_stream(self, stream: GroupStream[GroupMessage | Gap]) -> None:
        """Read a stream as it comes; what is missing has its place and its number."""
        truth, stream_id, expected, missing = self._truth, stream.stream_id, 1, 0
        ending: object = None
        try:
            async for item in stream:
                if isinstance(item, Gap):
                    expected += item.fragments
                    missing += item.fragments
                    continue
                _, number = self._ear.fragment(item)
                if number != expected:
                    raise truth.fail(f"{self.name} hears fragment {number} of {stream_id} instead of {expected}")
                expected += 1
        except StreamFailed as error:
            ending = StreamError(name=error.name, message=error.message, user_error_code=error.user_error_code)
        except GroupLost as lost:
            self._not_renewed(lost)
            return
        if missing != stream.missing:
            raise truth.fail(f"{self.name} misses {missing} fragments of {stream_id}, and counts {stream.missing}")
        self._ear.endings[stream_id] = ending

    async def _hear_slowly(self, streams: GroupStreams[GroupMessage]) -> None:
        """Read one stream after the other, slowly: each has its first fragments, and then all or an overflow."""
        try:
            async for stream in streams:
                ear = Ear(self._truth, f"{self.name}, slowly,")
                try:
                    async for fragment in stream:
                        ear.fragment(fragment)
                        if stream.statistics().buffered > SMALL_BUFFER:
                            raise self._truth.fail(f"{self.name} buffers more than {SMALL_BUFFER} fragments")
                        await trio.sleep(0.2)
                except (StreamFailed, SubscriptionOverflow) as error:
                    self._truth.note(f"{self.name}, slowly: {error!r}")
                heard = ear.numbers[stream.stream_id]
                if heard and not stream.missing and heard != list(range(1, len(heard) + 1)):
                    raise self._truth.fail(f"{self.name}, slowly, hears {heard} of {stream.stream_id}")
        except GroupLost as lost:
            self._not_renewed(lost)

    async def _hear_changes(self) -> None:
        try:
            async for change in self._members.changes():
                if change.state is None:
                    self._changed.pop(change.connection_id, None)
                else:
                    self._changed[change.connection_id] = change.state
        except GroupLost as lost:
            self._not_renewed(lost)

    def _not_renewed(self, lost: GroupLost) -> None:
        self._truth.note(f"{self.name}: {lost!r}")
        if not isinstance(lost.error, AckTimeout):
            raise lost
        self._gave_up = True

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
        step = chance.randint(1, MANY_STEPS)
        return [
            self.stream,
            self.stream,
            partial(self.stream, pause=chance.uniform(0.0, 1.0)),
            partial(self.stream, fragments=150),
            partial(self.stream, fails=True),
            partial(self.stream, aborts=True),
            partial(cancel_at, step, self.stream),
            partial(self._give_up, chance.uniform(0, 2), partial(self.stream, pause=0.2)),
            self._set_state,
            self._set_state,
            self._clear_state,
            partial(cancel_at, step % 5 + 1, self._set_state),
            self._send,
        ]

    async def stream(
        self, *, fragments: int | None = None, pause: float = 0.0, fails: bool = False, aborts: bool = False
    ) -> None:
        """Stream, and see that what is said of it is true."""
        chance, truth = self._chance, self._truth
        self._streams += 1
        stream_id = f"{self.name}~{self._streams}"
        count = chance.randint(0, 30) if fragments is None else fragments
        if self._link_is_slow:  # or what waits for it would take minutes
            count = min(count, 15)
        idle_timeout = chance.choice(IDLE_TIMEOUTS)
        try:
            async with self.client.open_stream(
                STAGE, stream_id=stream_id, no_echo=chance.random() < 0.3, idle_timeout=idle_timeout
            ) as writer:
                await self._write(writer, count, pause)
                if fails:
                    raise _Fails
                if aborts:
                    await writer.abort("E", "why")
        except _Fails:
            truth.note(f"{stream_id} failed")
        except StreamLost as error:
            truth.note(f"{stream_id} lost: {error!r}")
            if truth.published[stream_id] < error.acknowledged:
                raise truth.fail(f"{stream_id}: {error!r}, but {truth.published[stream_id]} published") from error
        except StreamFailed as error:
            truth.note(f"{stream_id}: {error!r}")
            may_be_idle = idle_timeout < max(IDLE_TIMEOUTS) and error.name in ("IdleTimeout", "StreamNotFound")
            if not may_be_idle and not (self._link_is_slow and error.name == "Timeout"):
                raise truth.fail(f"{stream_id}: {error!r}, with an idle timeout of {idle_timeout}") from error
        except trio.Cancelled:
            truth.note(f"{stream_id} cancelled")
            raise
        else:
            end = truth.ends.get(stream_id, StreamError(name="nothing", message=""))
            if truth.published[stream_id] != count or (None if end is None else end.user_error_code) != (
                "E" if aborts else None
            ):
                raise truth.fail(f"{stream_id}: {count} written, {truth.published[stream_id]} published, end: {end}")

    async def _write(self, writer: GroupStreamWriter, count: int, pause: float) -> None:
        chance, truth, stream_id = self._chance, self._truth, writer.stream_id
        for number in range(1, count + 1):
            padding = 0 if self._link_is_slow else chance.choice((0, 100, 1_000))
            text = f"{stream_id}:{number} {'x' * padding}"
            await writer.write(text.encode() if number % 5 == 0 else text)
            if pause:
                await trio.sleep(chance.uniform(0, pause))
            if chance.random() < 0.05:
                await writer.flush()
                if truth.published[stream_id] < number:
                    raise truth.fail(f"{number} fragments of {stream_id} flushed, {truth.published} published")
            statistics = writer.statistics()
            if statistics.acknowledged > truth.published[stream_id] or statistics.unacknowledged > WINDOW:
                raise truth.fail(f"{stream_id}: {statistics}, {truth.published[stream_id]} published")
            if statistics.written != number or statistics.acknowledged + statistics.unacknowledged > number:
                raise truth.fail(f"{stream_id}: {statistics} after fragment {number}")

    async def _give_up(self, seconds: float, call: Callable[[], Awaitable[object]]) -> None:
        with trio.move_on_after(seconds):
            await call()

    async def _send(self) -> None:
        await self.client.send_to_group(STAGE, "no fragment", ack=False)

    async def _set_state(self) -> None:
        state = {"at": f"{trio.current_time():.4f}"}
        await self._change_state(partial(self.client.set_group_state, STAGE, state), state)

    async def _clear_state(self) -> None:
        await self._change_state(partial(self.client.clear_group_state, STAGE), None)

    async def _change_state(self, call: Callable[[], Awaitable[object]], state: Any) -> None:
        async with self._setting:
            self._state_is_known = False
            try:
                await call()
            except AckTimeout as error:
                self._truth.note(f"{self.name}: {error!r}")
                return
            self._state, self._state_is_known = state, True

    # At the end

    def troubles(self) -> list[str]:
        """Say what is not as it should be once all has settled."""
        client, truth = self.client, self._truth
        if client.state != "connected" or client.statistics().pending_sends:
            return [f"{self.name} is not well: {client!r} {client.statistics()}"]
        troubles: list[str] = []
        states = {each: dict(member.state) for each, member in self._members.items()}
        if self._gave_up:
            return troubles
        if not states == self._changed == truth.states:
            troubles.append(f"{self.name} has the states {states}, of changes {self._changed}, and not {truth.states}")
        if gone := truth.states.keys() - truth.connections:
            troubles.append(f"there are states of connections that are gone: {gone}")
        if self._state_is_known and truth.states.get(client.connection_id or "") != self._state:
            troubles.append(f"the state of {self.name} should be {self._state}")
        raw, ear = self._raw, self._ear
        if (numbers := dict(ear.numbers)) != raw.numbers:
            troubles.append(f"{self.name} hears {numbers}, and of all messages {dict(raw.numbers)}")
        for stream_id, end in raw.endings.items():
            if ear.endings.get(stream_id, "nothing") != end:
                troubles.append(f"{self.name} hears {stream_id} end with {ear.endings.get(stream_id)}, not {end}")
        if self.is_reliable:
            troubles += self._lacks()
        return troubles

    def _lacks(self) -> list[str]:
        """What the newest session has to yield is heard, and of lost ones as far as the link carried it."""
        *lost, newest = self._truth.sessions[self.name]
        ends = {(stream_id, self._truth.published[stream_id] + 1) for stream_id in self._raw.endings}
        heard = {(stream_id, number) for stream_id, numbers in self._raw.numbers.items() for number in numbers} | ends
        sent = self._truth.sent
        lacks = [place for place in sent[newest] if place not in heard]
        troubles = [f"{self.name} lacks {lacks[:5]} of {len(sent[newest])} in {newest}"] if lacks else []
        later = set(sent[newest])
        for session in reversed(lost):
            flags = [place in heard for place in sent[session] if place not in later]
            if sorted(flags, reverse=True) != flags:
                troubles.append(f"{self.name} heard of session {session} not the first messages: {flags}")
            later.update(sent[session])
        return troubles


class _Fails(Exception):
    """What an actor raises in the block of a stream."""
