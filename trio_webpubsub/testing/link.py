"""A simulated connection: two streams, and between them bytes that take their time, come in pieces, or never come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias, assert_never

import trio

from .._shell.memory import MemoryStream, Pipe

LinkCut: TypeAlias = Literal["reset", "eof", "half_close", "silence", "half_open"]
"""How a link is cut: both ends fail; both see the end of the bytes; one direction ends while the other goes on; nothing
gets through any more and nobody is told; the client's end fails and the service is told nothing."""

Direction: TypeAlias = Literal["up", "down"]
"""``"up"`` is from the client to the service."""

_RECEIVE_SIZE = 65_536


class Quality(NamedTuple):
    """How well bytes travel; ``None`` where it says nothing about that."""

    latency: float | None = None
    """Seconds that every byte takes."""
    jitter: float | None = None
    """Up to so many seconds more; bytes never overtake each other."""
    split: float | None = None
    """How likely it is that what was sent as one piece arrives as two, from 0 to 1."""
    bytes_per_second: float | None = None
    """How much gets through in each direction of a link."""


class Conditions:
    """How bytes travel between one client and everybody; `network.SimulatedNetwork` sets it.

    Args:
        usual: how they travel while nothing disturbs them, with nothing left out.
    """

    def __init__(self, usual: Quality) -> None:
        self._usual = usual
        self._disturbances: list[Quality] = []
        self.held: dict[Direction, int] = {"up": 0, "down": 0}
        """How many partitions hold the bytes of a direction back."""
        self.healed: Final = trio.lowlevel.ParkingLot()
        self._choose()

    def disturb(self, disturbance: Quality) -> None:
        """Let bytes travel worse. Of several disturbances the youngest decides about what it does not leave out."""
        self._disturbances.append(disturbance)
        self._choose()

    def calm(self, disturbance: Quality) -> None:
        """End a disturbance."""
        self._disturbances.remove(disturbance)
        self._choose()

    def _choose(self) -> None:
        self.latency: float = self._value(0)
        self.jitter: float = self._value(1)
        self.split: float = self._value(2)
        self.bytes_per_second: float = self._value(3)

    def _value(self, index: int) -> float:
        values = [disturbance[index] for disturbance in (*reversed(self._disturbances), self._usual)]
        return next(value for value in values if value is not None)


class Way(Pipe):
    """One direction of a link. What was sent stands in it until the reader has it."""

    def __init__(
        self,
        direction: Direction,
        conditions: Conditions,
        random: Callable[[], float],
        record: Callable[[str, bytes], None],
        window: int,
    ) -> None:
        super().__init__(window)
        self._conditions = conditions
        self._random = random
        self._record = record
        self._direction: Direction = direction
        self._pieces: deque[tuple[float, bytes | None]] = deque()
        """When each arrives; ``None`` for the end."""
        self._last_arrival = -math.inf
        self._remaining = math.inf
        self._when_sent: Callable[[], None] = self.drop
        self._between_sends: Callable[[], None] | None = None
        self._reset_at_end = False
        self.size: int = 0
        """Bytes that were sent and not read."""
        self.silent: bool = False
        self.deaf: bool = False
        """Nobody will read any more; the writer hears of it when the network lets the news through."""
        self.sending: bool = False

    @property
    def held(self) -> bool:
        """Whether a partition holds everything back."""
        return self._conditions.held[self._direction] > 0

    # The writer's side

    @property
    def room(self) -> int:
        """How many bytes the writer may still send."""
        return max(0, self.window - self.size)

    @property
    def refuses(self) -> bool:
        """Whether the writer has noticed that nobody reads."""
        return self.broken or (self.deaf and not self.silent and not self.held)

    def put(self, data: bytes) -> None:
        """Send bytes, up to where a fault waits."""
        self._record(self._direction, data)
        kept = int(min(len(data), self._remaining))
        self._remaining -= kept
        self._travel(data[:kept])
        if self._remaining == 0:
            self._remaining = math.inf
            self._when_sent()
        if kept < len(data):
            self._travel(data[kept:])  # which gets nowhere, unless the fault let this direction live
        self.changed.unpark_all()

    def finish(self) -> None:
        """No more bytes come; those on their way arrive first."""
        if not self.ended:
            self.ended = True
            if not self.silent:
                self._pieces.append((self._arrival(0), None))
            self.changed.unpark_all()

    def after_sending(self, size: int, fault: Callable[[], None]) -> None:
        """Call ``fault`` when ``size`` more bytes have been sent; 0 is at once."""
        if size == 0:
            fault()
        else:
            self._remaining, self._when_sent = size, fault

    def between_sends(self, act: Callable[[], None]) -> None:
        """Call ``act`` as soon as no send is under way, so not within a frame."""
        if self.sending:
            self._between_sends = act
        else:
            act()

    def sent(self) -> None:
        """A send is over."""
        self.sending = False
        act, self._between_sends = self._between_sends, None
        if act is not None:
            act()

    def _travel(self, data: bytes) -> None:
        if self.broken or self.ended or not data:
            return
        self.size += len(data)
        if self.silent:
            return
        if self._conditions.split and len(data) > 1 and self._random() < self._conditions.split:
            cut = 1 + int(self._random() * (len(data) - 1))
            self._pieces.append((self._arrival(cut), data[:cut]))
            data = data[cut:]
        rate = self._conditions.bytes_per_second
        step = len(data) if rate == math.inf else max(1, int(rate / 10))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._pieces.append((self._arrival(len(piece)), piece))

    def _arrival(self, size: int) -> float:
        conditions = self._conditions
        delay = conditions.latency + (self._random() * conditions.jitter if conditions.jitter else 0.0)
        self._last_arrival = max(self._last_arrival, trio.current_time() + delay) + size / conditions.bytes_per_second
        return self._last_arrival

    # Faults

    def drop(self) -> None:
        """Lose what is on its way, and let both ends know."""
        self.break_off()
        self._pieces.clear()

    def break_in_order(self) -> None:
        """Let the writer know at once, and the reader when it has read what was sent."""
        self.deaf = self._reset_at_end = True
        self.finish()

    def silence(self, *, in_order: bool) -> None:
        """Lose what will be sent and, unless that goes in order, what is on its way, and tell nobody."""
        self.silent = True
        if not in_order:
            self._pieces.clear()

    # The reader's side

    def arrival(self) -> float:
        """When there is something to read; ``math.inf`` if nothing is on its way or it is held back."""
        return self._pieces[0][0] if self._pieces and not self.held else math.inf

    def take(self, size: int) -> bytes:
        """Give what has arrived, at most ``size`` bytes of one piece; ``b""`` at the end.

        Raises:
            trio.BrokenResourceError: the connection was reset.
        """
        when, piece = self._pieces[0]
        if piece is None:
            if self._reset_at_end:
                raise trio.BrokenResourceError("the connection was reset")
            return b""
        if len(piece) > size:
            self._pieces[0] = when, piece[size:]
            piece = piece[:size]
        else:
            self._pieces.popleft()
        self.size -= len(piece)
        self.changed.unpark_all()
        return piece


class LinkStream(MemoryStream):
    """One end of a link. Its limits and its manners are those of TCP.

    Back-pressure: `send_all` waits while the link holds a whole window of bytes that the peer has not read.
    """

    _incoming: Way
    _outgoing: Way

    def __init__(self, incoming: Way, outgoing: Way, closed: Callable[[], None], *, takes_at_once: bool) -> None:
        super().__init__(incoming, outgoing)
        self._when_closed = closed
        self._takes_at_once = takes_at_once
        self._failed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``.

        Raises:
            trio.BrokenResourceError: The link was cut, or nobody reads at its other end any more.
            trio.ClosedResourceError: This end was closed.

        Cancellation: An unknown part of ``data`` may have been sent.
        """
        data = bytes(data)
        way = self._outgoing
        with way.writing:
            way.sending = True
            try:
                await trio.lowlevel.checkpoint()
                while True:
                    self._check_writable()
                    part = data[: way.room]
                    if part:
                        way.put(part)
                        data = data[len(part) :]
                    if not data:
                        return
                    await way.changed.park()
            finally:
                way.sent()

    def try_send(self, data: bytes) -> int:
        """Send as much of ``data`` as there is room for, without waiting; give how many bytes that were.

        Some links take none, and leave everything to `send_all`, as TLS does. Nobody may be in `send_all`.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as for `send_all`.
        """
        self._check_writable()
        part = data[: self._outgoing.room] if self._takes_at_once else b""
        if part:
            self._outgoing.put(part)
        return len(part)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, or sending would fail at once.

        Cancellation: Changes nothing.
        """
        way = self._outgoing
        with way.writing:
            await trio.lowlevel.checkpoint()
            while not self._closed and not self._failed and not way.refuses and way.room <= 0:
                await way.changed.park()
            self._check_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give some of the bytes that have arrived, at most ``max_bytes``, or ``b""`` at the end.

        Raises:
            trio.BrokenResourceError: The link was reset.
            trio.ClosedResourceError: This end was closed.

        Cancellation: No bytes are lost.
        """
        way = self._incoming
        with way.reading:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if way.broken or self._failed:
                    raise trio.BrokenResourceError("the connection was reset")
                arrival = way.arrival()
                if arrival <= trio.current_time():
                    return way.take(_RECEIVE_SIZE if max_bytes is None else max_bytes)
                if arrival == math.inf:
                    await way.changed.park()
                else:
                    with trio.CancelScope(deadline=arrival):
                        await way.changed.park()

    # What `MemoryStream` does at once takes its way through the network here.

    def end(self) -> None:
        """Tell the peer that no more bytes come."""
        self._outgoing.finish()

    def close(self) -> None:
        """Close: the peer reads what was sent, then the end."""
        self._close(self._outgoing.finish)

    def abort(self) -> None:
        """Close as a reset does."""
        self._close(self._outgoing.break_in_order)

    def _close(self, tell: Callable[[], None]) -> None:
        if not self._closed:
            self._closed = True
            tell()
            self._outgoing.changed.unpark_all()
            self._incoming.deaf = True
            self._incoming.changed.unpark_all()
            self._when_closed()

    def fail(self) -> None:
        """Let this end fail, and only this one."""
        self._failed = True
        self._outgoing.changed.unpark_all()
        self._incoming.changed.unpark_all()

    def _check_writable(self) -> None:
        self._check_open()
        if self._outgoing.refuses or self._failed:
            raise trio.BrokenResourceError("the peer does not read any more")
        if self._outgoing.ended:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")


class Link:
    """A connection through the network, for as long as an end of it is open."""

    def __init__(
        self,
        name: str,
        number: int,
        conditions: Conditions,
        *,
        random: Callable[[], float],
        record: Callable[[str, bytes], None],
        gone: Callable[[Link], None],
        window: int,
    ) -> None:
        self.name = name
        self.number = number
        self.up: Final = Way("up", conditions, random, record, window)
        self.down: Final = Way("down", conditions, random, record, window)
        self._open_ends = 2
        self._gone = gone
        # Every other link behaves as plain TCP does, and the rest as TLS.
        takes_at_once = number % 2 == 1
        self.client_end: Final = LinkStream(self.down, self.up, self._end_closed, takes_at_once=takes_at_once)
        self.service_end: Final = LinkStream(self.up, self.down, self._end_closed, takes_at_once=takes_at_once)

    def cut(self, how: LinkCut, direction: Direction, after_bytes: int) -> None:
        """Cut it when so many more bytes have been sent in a direction; 0 is at once, with what is on its way."""
        way = self._way(direction)
        way.after_sending(after_bytes, lambda: self._cut(how, direction, in_order=after_bytes > 0))

    def send_close(self, frame: bytes) -> None:
        """Put a close frame behind what the service sends, and end the connection."""

        def act() -> None:
            self.down.put(frame)
            self._finish(self.down)
            self._finish(self.up)

        self.down.between_sends(act)

    def heal(self) -> None:
        """A partition is over."""
        self.up.changed.unpark_all()
        self.down.changed.unpark_all()

    def _way(self, direction: Direction) -> Way:
        return self.up if direction == "up" else self.down

    def _cut(self, how: LinkCut, direction: Direction, *, in_order: bool) -> None:
        match how:
            case "reset" if in_order:
                self.up.break_in_order()
                self.down.break_in_order()
            case "reset":
                self.up.drop()
                self.down.drop()
            case "eof":
                self._finish(self.up)
                self._finish(self.down)
            case "half_close":
                self._finish(self._way(direction))
            case "silence":
                self.up.silence(in_order=in_order)
                self.down.silence(in_order=in_order)
            case "half_open":
                self.up.silence(in_order=in_order)
                self.down.silence(in_order=in_order)
                self.client_end.fail()
            case _:
                assert_never(how)

    def _finish(self, way: Way) -> None:
        way.finish()
        way.deaf = True
        way.changed.unpark_all()

    def _end_closed(self) -> None:
        self._open_ends -= 1
        if self._open_ends == 0:
            self._gone(self)
