"""Streams from groups (a preview of the service): each one a channel of its own, handed over by a channel of streams.

The router gives the fragments of all streams to one route; this one sorts them out, by the rules of
`protocol.incoming_streams`. So a reader that is slow with one stream holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import trio

from ..errors import StreamFailed
from ..protocol.incoming_streams import (
    Began,
    Fragment,
    IncomingStream,
    IncomingStreams,
    Missing,
    Over,
    idle_error,
)
from ..protocol.messages import Gap, GroupMessage, StreamError, StreamInfo
from .route import Route
from .subscription import Subscription

MAX_WAITING_STREAMS = 1024
DEFAULT_FRAGMENTS = 1024

M_co = TypeVar("M_co", covariant=True)


class StreamRoute(Route[Any]):
    """The fragments of one stream that wait for its reader."""

    def __init__(self, stream: IncomingStream, *, buffer: int, gaps: bool, idle_timeout: float) -> None:
        super().__init__(buffer=buffer, overflow="error", gaps=gaps)
        self.crowded_at: int = buffer // 4  # far enough from the end for what the receive loop hands over at once
        self.stream = stream
        self.missing: int = 0
        self.failure: StreamError | None = None
        """Why it ended early."""
        self._idle_timeout = idle_timeout

    async def _wait(self) -> None:
        """Wait for a fragment; a reader that waits for too long gives the stream up.

        Only who waits can tell that a stream is idle, so no timer is needed beside the readers' own.
        """
        with trio.move_on_at(self.stream.heard_at + self._idle_timeout):
            await super()._wait()
            return
        if self.stream.heard_at + self._idle_timeout <= trio.current_time():
            self.fail(idle_error(self._idle_timeout))

    def miss(self, fragments: int) -> None:
        """So many fragments did not come."""
        self.missing += fragments
        self.gap(Gap(fragments=fragments))

    def fail(self, error: StreamError | None) -> None:
        """No more fragments will come, and this is why; ``None`` if that is how it should be."""
        self.failure = error
        self.end(None if error is None else lambda: StreamFailed(error.name, error.message, error.user_error_code))

    def hand_over(self) -> list[Any]:
        """Take what nobody has read, and how the stream ended if it did."""
        unread = [fragment for fragment in self.take_all() if not isinstance(fragment, Gap)]
        if self._ended:
            stream = self.stream
            info = StreamInfo(
                stream_id=stream.stream_id,
                stream_sequence_id=stream.expected,
                end_of_stream=True,
                error=self.failure or self._overflow_error(),
            )
            unread.append(GroupMessage(group=stream.group, from_user_id=stream.from_user_id, stream=info))
        return unread

    def _overflow_error(self) -> StreamError | None:
        """Tell a successor of what overflowed: the end that would tell it stays behind."""
        if not self.dropped:
            return None
        return StreamError(name="SubscriptionOverflow", message=f"{self.dropped:,} fragments did not fit")


class GroupStream(Subscription[M_co]):
    """One stream from a group, as a channel of its fragments: iterate over it (a preview of the service).

    The iteration ends when the sender ended the stream. It raises `StreamFailed` when the stream ended otherwise, and
    `SubscriptionOverflow` when too many fragments waited for this reader: each after what is buffered. After the
    `GroupStreams` it came from was closed, it raises ``trio.ClosedResourceError``.

    Back-pressure: a reader that keeps taking is waited for. One that stands still loses this stream, and no other.
    """

    _origin = "stream"

    def __init__(self, route: StreamRoute, abandoned: list[Callable[[], object]]) -> None:
        super().__init__(route, enter=None, release=route.close, abandoned=abandoned)
        self._stream_route = route

    def __repr__(self) -> str:
        return f"<GroupStream {self.stream_id!r} of group {self.group!r}>"

    @property
    def group(self) -> str:
        """The group that it was sent to."""
        return self._stream_route.stream.group

    @property
    def stream_id(self) -> str:
        """The name that its sender gave it."""
        return self._stream_route.stream.stream_id

    @property
    def from_user_id(self) -> str | None:
        """The sender's user id; ``None`` for an anonymous one, and on the protobuf subprotocols, which do not tell."""
        return self._stream_route.stream.from_user_id

    @property
    def from_start(self) -> bool:
        """Whether its first fragment came. False for one that had begun before this connection was in the group."""
        return self._stream_route.stream.from_start

    @property
    def missing(self) -> int:
        """How many fragments are known not to have come, those before a late start included."""
        return self._stream_route.missing


class GroupStreams(Subscription[GroupStream[M_co]]):
    """Streams from a group, as a channel of `GroupStream`. Get one from `Client.group_streams`.

    When this is closed, all of its streams are.

    Back-pressure: at most 1,024 streams wait to be taken; more are passed over, and counted as dropped in `statistics`.
    """

    _origin = "client.group_streams(group)"


class StreamsRoute(Route[GroupStream[Any]]):
    """The streams that wait for their subscriber, and the fragments of all that are open."""

    def __init__(
        self,
        *,
        buffer: int,
        gaps: bool,
        from_start: bool,
        idle_timeout: float,
        crowd: set[Route[Any]],
        abandoned: list[Callable[[], object]],
    ) -> None:
        super().__init__(buffer=MAX_WAITING_STREAMS, overflow="drop_newest")
        self._incoming = IncomingStreams(idle_timeout=idle_timeout, from_start=from_start)
        self._open: dict[IncomingStream, StreamRoute] = {}
        self._begun: WeakKeyDictionary[GroupStream[Any], StreamRoute] = (
            WeakKeyDictionary()
        )  # as long as somebody has them
        self._buffer = buffer
        self._gaps_wanted = gaps
        self._idle_timeout = idle_timeout
        self._crowd = crowd
        self._abandoned = abandoned

    def deliver(self, message: Any, size: int) -> int:
        """Take a fragment of any stream; the crowd is told of its stream here."""
        for event in self._incoming.take(message, trio.current_time()):
            if isinstance(event, Began):
                self._begin(event.stream)
                continue
            route = self._open.get(event.stream)
            if route is None:
                continue
            match event:
                case Fragment():
                    if route.deliver(message, size) > route.crowded_at:
                        self._crowd.add(route)
                case Missing(fragments=fragments):
                    route.miss(fragments)
                case Over(error=error):
                    del self._open[event.stream]
                    route.fail(error)
        return 0

    def deliver_all(self, messages: Sequence[Any], sizes: Sequence[int]) -> int:
        """Take fragments of any streams; in one step where all are the next ones of one stream."""
        stream = self._incoming.take_all(messages, trio.current_time())
        if stream is not None and (route := self._open.get(stream)) is not None:
            if route.deliver_all(messages, sizes) > route.crowded_at:
                self._crowd.add(route)
            return 0
        for message, size in zip(messages, sizes, strict=True):
            self.deliver(message, size)
        return 0

    def inherit(self, message: Any, size: int) -> None:
        """Take a fragment that another process had not read."""
        self.deliver(message, size)

    def end(self, error: Callable[[], Exception | None] | None = None) -> None:
        """No more will come, neither streams nor fragments."""
        super().end(error)
        for route in self._open.values():
            route.end(lambda: (error and error()) or StreamFailed("ClientClosed", "the client ended before the stream"))

    def close(self) -> None:
        """Close all streams, taken or not."""
        for stream in self._messages:
            stream.close()
        for route in self._open.values():
            route.close()
        self._open.clear()
        super().close()

    def hand_over(self) -> list[Any]:
        """Take, for another process, the fragments that nobody has read."""
        waiting = set(self._messages)
        left = [
            route
            for stream, route in self._begun.items()
            if stream in waiting or route.stream in self._open or len(route)  # of the others all was told here
        ]
        return [fragment for route in left for fragment in route.hand_over()]

    def _begin(self, stream: IncomingStream) -> None:
        route = StreamRoute(stream, buffer=self._buffer, gaps=self._gaps_wanted, idle_timeout=self._idle_timeout)
        dropped = self.dropped
        handle: GroupStream[Any] = GroupStream(route, self._abandoned)
        super().deliver(handle, 0)
        if self.dropped > dropped:
            self._incoming.pass_over(stream)
        else:
            self._open[stream] = route
            self._begun[handle] = route
