"""`SimulatedNetwork`: everything that a network can do to a connection, at the points that a test or a seed chooses."""

from __future__ import annotations

import hashlib
import math
import random
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol, TypeAlias, get_args

import trio

from .._shell.connector import Connector, start_tls
from ..protocol.arguments import check_callable, check_choice, check_number, kind_of
from ..protocol.frame_writer import encode_close
from ..protocol.names import check_count, check_text
from .determinism import check_seed
from .link import Conditions, Direction, Link, LinkCut, Quality

ProviderFault: TypeAlias = Literal["raises", "hangs", "repeats"]
"""What can be wrong with what gives a client its URLs; the last gives an old one again, which may have expired."""

_REMEMBERED_EVENTS = 1000
_SHOWN_BYTES = 60


class Server(Protocol):
    """Who takes connections: an `Emulator`."""

    def accept(self, stream: trio.abc.Stream) -> None:
        """Serve a connection until it ends.

        Raises:
            OSError: connections are not taken.
        """
        ...


class SimulatedNetwork:
    """A network in memory between any number of clients and an emulator, and their HTTP.

    Every connection is a link with a window in each direction, and belongs to the client that made it, by a name that
    the test chooses. Links are perfect until told otherwise. What a fault does goes for one client, or for all where
    ``name`` is left out; a fault that lasts may be there before its client is. With one seed, and everything else the
    same, everything happens the same way again.

    On trio's clock, so mostly a virtual one: ``trio.testing.MockClock(autojump_threshold=0)``.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: float = 0.0,
        jitter: float = 0.0,
        split: float = 0.0,
        bytes_per_second: float = math.inf,
        window: int = 65_536,
    ) -> None:
        """Make a network without links.

        Args:
            seed: decides about jitter and splits.
            latency: seconds that every byte takes.
            jitter: up to so many seconds more. Bytes never overtake each other.
            split: how likely it is that what was sent as one piece arrives as two, from 0 to 1.
            bytes_per_second: how much gets through, in each direction of every link.
            window: how many bytes may be on their way in each direction of a link, before who sends has to wait.

        Raises:
            ValueError: a number makes no sense.
            TypeError: one is none.
        """
        check_seed(seed)
        _check_quality(latency=latency, jitter=jitter, split=split, bytes_per_second=bytes_per_second)
        check_count("window", window, least=1)
        self.seed: int = seed
        self._random = random.Random(seed)
        self.links_made: int = 0
        """How many connections there were."""
        self.links_lost: int = 0
        """How many of them were cut here."""
        self._usual = Quality(latency, jitter, split, bytes_per_second)
        self._window = window
        self._conditions: dict[str, Conditions] = {}
        self._links: list[Link] = []
        self._names: dict[str, None] = {}  # to whom ways were given, in that order
        self._unreachable: Counter[str] = Counter()
        self._black_holes: Counter[str] = Counter()
        self._provider_faults: list[tuple[str | None, ProviderFault]] = []
        self._events: deque[tuple[float, str, str, bytes]] = deque(maxlen=_REMEMBERED_EVENTS)
        self._hash = hashlib.blake2b(digest_size=16)

    def __repr__(self) -> str:
        return f"<SimulatedNetwork seed={self.seed} with {len(self._links)} links>"

    # What clients use

    def connector(self, server: Server, name: str = "client") -> Connector:
        """Give the way through this network: for ``open_client(connector=)`` and ``open_service(connector=)``.

        Args:
            server: where it leads, whatever host and port are asked for.
            name: whose way it is.

        Raises:
            TypeError: ``server`` takes no connections.
        """
        if isinstance(server, type) or not callable(getattr(server, "accept", None)):
            raise TypeError(f"server is an open Emulator, not {kind_of(server)}")
        check_text(name, "name")
        conditions = self._conditions_of(name)
        self._names[name] = None

        async def connect(host: str, _port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            while any(conditions.held.values()):
                await conditions.healed.park()
            await trio.sleep(conditions.latency)
            if self._unreachable[name]:
                raise ConnectionRefusedError(f"{name} does not reach the service")
            self.links_made += 1
            label = f"{name}/{self.links_made}"
            link = Link(
                name,
                self.links_made,
                conditions,
                random=self._random.random,
                record=lambda direction, data: self._record(label, direction, data),
                gone=self._links.remove,
                window=self._window,
            )
            self._links.append(link)
            try:
                server.accept(link.service_end)
            except BaseException:  # refused, mostly, and in any case there is no such link
                self._links.remove(link)
                raise
            self._record(label, "connect", b"")
            if self._black_holes[name]:
                link.cut("silence", "up", 0)
            return link.client_end if ssl_context is None else await start_tls(link.client_end, host, ssl_context)

        return connect

    def provider(self, provider: Callable[[], Awaitable[str]], name: str = "client") -> Callable[[], Awaitable[str]]:
        """Give an async callable that asks another for a URL, for ``open_client``; `break_provider` breaks it.

        Args:
            provider: gives the URL.
            name: whose it is.

        Raises:
            TypeError: ``provider`` cannot be called without arguments.
        """
        check_callable("provider", provider)
        check_text(name, "name")
        last: str | None = None

        async def provide() -> str:
            nonlocal last
            faults = [fault for whose, fault in self._provider_faults if whose in (None, name)]
            self._record(name, f"provider {' '.join(faults)}", b"")
            if "hangs" in faults:
                await trio.sleep_forever()
            if "raises" in faults:
                raise ConnectionError("the provider was told to fail")
            if last is None or "repeats" not in faults:
                last = await provider()
            return last

        return provide

    # How links are

    @contextmanager
    def disturb(
        self,
        name: str | None = None,
        *,
        latency: float | None = None,
        jitter: float | None = None,
        split: float | None = None,
        bytes_per_second: float | None = None,
    ) -> Generator[None]:
        """Let links be worse while the block lasts; the arguments are those of the network itself.

        Raises:
            ValueError: nothing at all would get through, for which there is `partition`; or another number makes no
                sense.
        """
        _check_quality(latency=latency, jitter=jitter, split=split, bytes_per_second=bytes_per_second)
        _check_text_or_none(name)
        disturbance = Quality(latency, jitter, split, bytes_per_second)
        affected = self._all_conditions(name)
        for conditions in affected:
            conditions.disturb(disturbance)
        self._record(name or "all", f"{disturbance}", b"")
        try:
            yield
        finally:
            for conditions in affected:
                conditions.calm(disturbance)

    # Faults that last as long as a block

    @contextmanager
    def partition(self, name: str | None = None, direction: Direction | Literal["both"] = "both") -> Generator[None]:
        """Hold everything back while the block lasts: nothing arrives, nobody is told, nobody gets a connection.

        What was sent meanwhile arrives when the block ends, if its link was not given up. With ``"down"`` a client
        hears nothing, but is heard; with ``"up"`` the other way round.

        Raises:
            ValueError: there is no such direction.
        """
        check_choice("direction", direction, ("up", "down", "both"))
        _check_text_or_none(name)
        directions: Sequence[Direction] = ("up", "down") if direction == "both" else (direction,)
        affected = self._all_conditions(name)
        self._record(name or "all", f"partition {direction}", b"")
        for conditions in affected:
            for each in directions:
                conditions.held[each] += 1
        try:
            yield
        finally:
            self._record(name or "all", f"healed {direction}", b"")
            for conditions in affected:
                for each in directions:
                    conditions.held[each] -= 1
                conditions.healed.unpark_all()
            for link in self._links_of(name):
                link.heal()

    @contextmanager
    def unreachable(self, name: str | None = None) -> Generator[None]:
        """Reset all links and refuse new ones while the block lasts."""
        _check_text_or_none(name)
        names = list(self._conditions) if name is None else [name]
        self._unreachable.update(names)
        self._cut_links(self._links_of(name), "reset")
        try:
            yield
        finally:
            self._unreachable.subtract(names)

    @contextmanager
    def blackhole(self, name: str | None = None) -> Generator[None]:
        """Silence all links, and those that are made while the block lasts: they come about, and then nothing comes."""
        _check_text_or_none(name)
        names = list(self._conditions) if name is None else [name]
        self._black_holes.update(names)
        self._cut_links(self._links_of(name), "silence")
        try:
            yield
        finally:
            self._black_holes.subtract(names)

    @contextmanager
    def break_provider(self, how: ProviderFault, name: str | None = None) -> Generator[None]:
        """Let what gives URLs raise an error, never come back, or give the last URL again, while the block lasts.

        Raises:
            ValueError: there is no such fault.
        """
        check_choice("how", how, get_args(ProviderFault))
        _check_text_or_none(name)
        fault = name, how
        self._provider_faults.append(fault)
        try:
            yield
        finally:
            self._provider_faults.remove(fault)

    # Faults that happen once

    def cut(
        self, how: LinkCut = "reset", name: str | None = None, *, direction: Direction = "down", after_bytes: int = 0
    ) -> int:
        """Cut links; gives how many there were.

        Args:
            how: ``"reset"``: both ends fail, and what was on its way is lost. ``"eof"``: both ends see the end, without
                a close frame. ``"half_close"``: only one direction ends. ``"silence"``: nothing gets through any more,
                and nobody is told. ``"half_open"``: the client's end fails, and the service is not told.
            name: whose.
            direction: which direction ``after_bytes`` counts, and a half-close ends.
            after_bytes: cut each when so many more bytes have been sent on it, all of which arrive; by default at once.

        Raises:
            ValueError: ``after_bytes`` is negative, there is no such way or direction, or nobody was given a
                `connector` by that name.
        """
        check_choice("how", how, get_args(LinkCut))
        check_choice("direction", direction, get_args(Direction))
        check_count("after_bytes", after_bytes)
        self._check_name(name)
        links = self._links_of(name)
        self._cut_links(links, how, direction, after_bytes)
        return len(links)

    def close(self, code: int, reason: str = "", name: str | None = None) -> int:
        """Close links as somebody on the way may do, with a close frame for the client; gives how many there were.

        It stands between two frames of the service. Only for links on which a WebSocket is open.

        Raises:
            ValueError: the code is none that can be sent, or nobody was given a `connector` by that name.
        """
        check_close_code(code)
        check_text(reason, "reason")
        self._check_name(name)
        links = self._links_of(name)
        for link in links:
            self._record(f"{link.name}/{link.number}", f"close {code}", b"")
            link.send_close(encode_close(code, reason, mask_key=None))
        self.links_lost += len(links)
        return len(links)

    # What happened

    @property
    def links(self) -> list[str]:
        """The names of the clients that have a link, once for each link of which an end is still open."""
        return [link.name for link in self._links]

    @property
    def digest(self) -> str:
        """A hash of all that happened: times, faults, and every byte. The same in every run with the same seed."""
        return self._hash.hexdigest()

    def events(self, newest: int = 50) -> Iterator[str]:
        """Describe the newest events, the oldest of them first. Payloads are shown, so tokens in handshakes are too."""
        check_count("newest", newest, least=1)
        for when, label, what, data in list(self._events)[-newest:]:
            shown = f" {len(data)} bytes {data[:_SHOWN_BYTES]!r}" if data else ""
            yield f"{when:10.4f} {label} {what}{shown}"

    # Within

    def _record(self, label: str, what: str, data: bytes) -> None:
        now = trio.current_time()
        self._events.append((now, label, what, data[:_SHOWN_BYTES] if len(data) > 4 * _SHOWN_BYTES else data))
        self._hash.update(f"{now:.6f} {label} {what} {len(data)} ".encode())
        self._hash.update(data)

    def _cut_links(
        self, links: Sequence[Link], how: LinkCut, direction: Direction = "down", after_bytes: int = 0
    ) -> None:
        for link in links:
            self._record(f"{link.name}/{link.number}", f"cut {how} {direction} after {after_bytes}", b"")
            link.cut(how, direction, after_bytes)
        self.links_lost += len(links)

    def _check_name(self, name: str | None) -> None:
        """Refuse to do nothing, and so test nothing, because of a name that was written wrongly."""
        _check_text_or_none(name)
        if name is not None and name not in self._names:
            known = ", ".join(map(repr, self._names)) or "none so far"
            raise ValueError(f"name is {name!r:.100}, for which no connector was made: there are {known}")

    def _links_of(self, name: str | None) -> list[Link]:
        return [link for link in self._links if name in (None, link.name)]

    def _conditions_of(self, name: str) -> Conditions:
        if name not in self._conditions:
            self._conditions[name] = Conditions(self._usual)
        return self._conditions[name]

    def _all_conditions(self, name: str | None) -> list[Conditions]:
        return list(self._conditions.values()) if name is None else [self._conditions_of(name)]


def _check_text_or_none(name: str | None) -> None:
    if name is not None:
        check_text(name, "name")


def check_close_code(code: int) -> None:
    """Refuse what no close frame can carry.

    Raises:
        ValueError: it is none that can be sent.
        TypeError: it is no whole number.
    """
    if not 1000 <= check_count("code", code) <= 4999 or code in (1004, 1005, 1006, 1015):
        raise ValueError(f"{code} is no close code that is sent")


def _check_quality(
    *, latency: float | None, jitter: float | None, split: float | None, bytes_per_second: float | None
) -> None:
    """Refuse what no link can be like; ``None`` leaves it as it is."""
    for name, value in (("latency", latency), ("jitter", jitter), ("split", split)):
        if value is not None:
            check_number(name, value, zero=True)
    if split is not None and split > 1:
        raise ValueError(f"split is {split}; it is a likelihood, from 0 to 1")
    if bytes_per_second is not None:
        check_number("bytes_per_second", bytes_per_second)
