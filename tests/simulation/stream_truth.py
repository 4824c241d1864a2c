"""What the hub does with streams and states of groups, and what is allowed to follow from it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

import trio

from trio_webpubsub import GroupMessage
from trio_webpubsub.emulator.hub import Hub
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.messages import StreamError

from .model import REMEMBERED, Broken

STAGE = "stage"
"""The group of all this."""

Place = tuple[str, int]
"""A fragment: the id of its stream and its number."""


class Truth:
    """What the hub published, and what is wrong with it."""

    def __init__(self, hub: Hub) -> None:
        self.published: dict[str, int] = defaultdict(int)
        """How many fragments of each stream."""
        self.ends: dict[str, StreamError | None] = {}
        """How streams ended, by id."""
        self.sent: dict[str, list[Place]] = defaultdict(list)
        """What each reliable connection has to get, in order."""
        self.sessions: dict[str, list[str]] = defaultdict(list)
        """The connection ids of each user, in the order in which they began."""
        self.events: deque[str] = deque(maxlen=REMEMBERED)
        self._broken: Broken | None = None
        self._hub = hub
        self._watch(hub)

    def note(self, event: str) -> None:
        """Remember something for the report of a failure."""
        self.events.append(f"{trio.current_time():10.4f} {event}")

    def fail(self, what: str) -> Broken:
        """Make the error for a broken promise, and keep it: raised within the emulator, it would not get out."""
        self.note(f"BROKEN: {what}")
        self._broken = self._broken or Broken(what)
        return self._broken

    def check(self) -> None:
        """Raise the error that was made first, if there was one."""
        if self._broken is not None:
            raise self._broken

    @property
    def open_streams(self) -> list[str]:
        """The streams that have not ended."""
        return [stream_id for streams in self._hub.streams._streams.values() for stream_id in streams]

    @property
    def states(self) -> dict[str, Any]:
        """The states in the group, by connection id."""
        return {each: item.state for each, item in self._hub._states._states.get(STAGE, {}).items()}

    @property
    def connections(self) -> set[str]:
        """The ids of the connections that there are."""
        return set(self._hub.registry.connections)

    def _watch(self, hub: Hub) -> None:
        deliver, opened = hub._deliveries.deliver, hub.transport_opened
        publish = hub.streams._publish

        def watched_publish(stream: Any, payload: wire.Payload, info: Any, now: float, effects: Any) -> None:
            self._published(stream.id, payload.body.decode(), info.stream_sequence_id, info.end_of_stream, info.error)
            publish(stream, payload, info, now, effects)

        def watched_deliver(message: wire.Numbered, connections: Iterable[Any], *args: Any, **options: Any) -> None:
            connections = list(connections)
            before = {each.id: each.session.unconfirmed._newest for each in connections if each.session is not None}
            deliver(message, connections, *args, **options)
            if not isinstance(message, wire.DataMessage) or message.stream is None:
                return
            place = message.stream.stream_id, message.stream.stream_sequence_id
            for each in connections:
                if each.session is not None and each.session.unconfirmed._newest > before[each.id]:
                    self.sent[each.id].append(place)

        def watched_opened(transport: int) -> Any:
            if (connection := hub._accepted.get(transport)) is not None:
                self.sessions[connection.user_id or ""].append(connection.id)
                self.note(f"{connection.user_id} gets session {connection.id}")
            return opened(transport)

        # Between the hub and its switchboard, which know nothing of it.
        hub._deliveries.deliver = watched_deliver  # type: ignore[method-assign]
        hub.transport_opened = watched_opened  # type: ignore[method-assign]
        hub.streams._publish = watched_publish  # type: ignore[method-assign]

    def _published(self, stream_id: str, text: str, number: int, end: bool, error: StreamError | None) -> None:
        expected = self.published[stream_id] + 1
        if expected == 1:  # it may have become idle while the answer to its opening was lost: then it is opened again
            self.ends.pop(stream_id, None)
        if stream_id in self.ends or number != expected:
            raise self.fail(f"{stream_id} goes on with fragment {number} instead of {expected}: {self.ends}")
        if end:
            self.ends[stream_id] = error
            self.note(f"{stream_id} ends after {number - 1}: {error}")
        else:
            self.published[stream_id] = number
            if text.partition(" ")[0] != f"{stream_id}:{number}":
                raise self.fail(f"fragment {number} of {stream_id} is {text[:50]!r}")


class Ear:
    """What one subscriber heard of each stream."""

    def __init__(self, truth: Truth, what: str) -> None:
        self._truth = truth
        self.what = what
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.endings: dict[str, object] = {}

    def fragment(self, message: GroupMessage) -> Place:
        """Take a fragment: its number is higher than those before, and it is what was written."""
        assert message.stream is not None
        stream_id, number = message.stream.stream_id, message.stream.stream_sequence_id
        heard = self.numbers[stream_id]
        if heard and number <= heard[-1]:
            raise self._truth.fail(f"{self.what} hears fragment {number} of {stream_id} after {heard[-1]}")
        heard.append(number)
        data = message.data.decode() if isinstance(message.data, bytes) else message.data
        if data.partition(" ")[0] != f"{stream_id}:{number}":
            raise self._truth.fail(f"{self.what} hears {data[:50]!r} as fragment {number} of {stream_id}")
        return stream_id, number
