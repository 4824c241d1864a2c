"""What can be broken in an open emulator, for tests of how programs get over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import trio

from ..listener import Listener, ServerWebSocket
from ..protocol.arguments import check_choice, check_flags, check_number, check_status
from ..protocol.names import check_count, check_hub, check_text
from ..protocol.wire import WireError
from .handshake import HandshakeRefused
from .hub import Hub, Transport
from .links import Link
from .switchboard import SendNow, Switchboard

Cut: TypeAlias = Literal["reset", "eof", "silence"]
"""How a connection is cut: both ends fail at once; the bytes end without a close frame; nothing gets through any more
and nobody is told."""


class Gate:
    """Lets clients in, or refuses or stalls them while it is told to."""

    def __init__(self) -> None:
        self._refusals: list[int | None] = []
        self._stalls: list[tuple[trio.Event, int | None]] = []

    @property
    def is_shut(self) -> bool:
        """Whether no connection is taken at all."""
        return None in self._refusals

    async def enter(self) -> None:
        """Let a WebSocket handshake go on, sooner or later.

        Raises:
            HandshakeRefused: it may not go on.

        Cancellation: nothing happened.
        """
        for ended, status in list(self._stalls):
            await ended.wait()
            if status is not None:
                raise HandshakeRefused(status, "The emulator was told to refuse connections, after a while.")
        for status in filter(None, reversed(self._refusals)):
            raise HandshakeRefused(status, "The emulator was told to refuse connections.")

    @contextmanager
    def refuse(self, status: int | None) -> Generator[None]:
        """Refuse handshakes with a status, or every connection, while the block lasts."""
        self._refusals.append(status)
        try:
            yield
        finally:
            self._refusals.remove(status)

    @contextmanager
    def stall(self, status: int | None) -> Generator[None]:
        """Hold handshakes until the block ends, and then let them go on or refuse them."""
        stall = trio.Event(), status
        self._stalls.append(stall)
        try:
            yield
        finally:
            self._stalls.remove(stall)
            stall[0].set()


class Faults:
    """The faults of an emulator; `Emulator` has them all. Where a fault lasts, it lasts as long as a ``with`` block."""

    def __init__(self, switchboard: Switchboard, listener: Listener, gate: Gate) -> None:
        self._switchboard = switchboard
        self._listener = listener
        self._gate = gate
        self._slowed: list[tuple[ServerWebSocket | None, float]] = []
        """What is slowed down now, ``None`` for everything, and to how many bytes a second."""

    # Connections

    def cut(self, connection_id: str, how: Cut = "reset", *, after_bytes: int = 0) -> None:
        """Cut the WebSocket of a connection. A reliable session can be recovered afterwards.

        Args:
            connection_id: which.
            how: ``"reset"``: both ends fail at once. ``"eof"``: the bytes end, without a close frame. ``"silence"``:
                nothing gets through any more, and nobody is told.
            after_bytes: cut it when so many more bytes have been sent to the client, in the middle of a message if
                need be; by default at once.

        Raises:
            LookupError: there is no such connection, or it has no WebSocket at present.
            ValueError: ``after_bytes`` is negative, or there is no such way to cut.
        """
        _check_cut(how, after_bytes)
        _cut(self._websocket(connection_id), how, after_bytes)

    def cut_all(self, how: Cut = "reset", *, after_bytes: int = 0) -> None:
        """Cut the WebSockets of all connections of all hubs; ``after_bytes`` counts for each of them.

        Raises:
            ValueError: ``after_bytes`` is negative, or there is no such way to cut.
        """
        _check_cut(how, after_bytes)
        for link in list(self._switchboard.links.values()):
            _cut(link.websocket, how, after_bytes)

    @contextmanager
    def slow_links(self, bytes_per_second: float, connection_id: str | None = None) -> Generator[None]:
        """Let only so much through, in each direction, while the block lasts. Of several blocks the slowest counts.

        Args:
            bytes_per_second: how much.
            connection_id: whose WebSocket, as it is now; by default every connection to the emulator, HTTP and those
                that are made meanwhile included.

        Raises:
            LookupError: there is no such connection, or it has no WebSocket at present.
            ValueError: nothing at all would get through, for which there is `cut`.
        """
        check_number("bytes_per_second", bytes_per_second)
        slowed = None if connection_id is None else self._websocket(connection_id), bytes_per_second
        self._slowed.append(slowed)
        self._slow_down()
        try:
            yield
        finally:
            self._slowed.remove(slowed)
            self._slow_down()

    def _slow_down(self) -> None:
        def slowest(*slowed: ServerWebSocket | None) -> float:
            return min((rate for each, rate in self._slowed if each in slowed), default=math.inf)

        self._listener.slow_down(slowest(None))
        for websocket, _ in self._slowed:
            if websocket is not None:
                websocket.slow_down(slowest(None, websocket))

    # Handshakes

    @contextmanager
    def refuse_connections(self, status: int | None = 503) -> Generator[None]:
        """Refuse new connections while the block lasts; those that are open stay open.

        Args:
            status: the HTTP status, 400 to 599, with which WebSocket handshakes are rejected; ``None`` to reset every
                new TCP connection instead, those of HTTP requests included (in memory: to refuse it).

        Raises:
            ValueError: the status is none that rejects.
        """
        _check_status(status)
        with self._gate.refuse(status):
            yield

    @contextmanager
    def stall_connections(self, status: int | None = None) -> Generator[None]:
        """Leave new WebSocket handshakes without an answer while the block lasts.

        Args:
            status: the HTTP status, 400 to 599, with which they are rejected at its end; ``None`` to go on with them.

        Raises:
            ValueError: the status is none that rejects.
        """
        _check_status(status)
        with self._gate.stall(status):
            yield

    # Acks: those of joins, leaves, sends and events. What was asked for is done all the same.

    @contextmanager
    def hold_acks(self, connection_id: str | None = None) -> Generator[None]:
        """Hold acks back, those of one connection or all, and send them in order when the block ends.

        Those for a WebSocket that is gone by then are lost.

        Raises:
            LookupError: there is no such connection.
        """
        held: list[SendNow] = []
        try:
            with self._ack_fault(connection_id, held.append):
                yield
        finally:
            for send in held:
                send()

    @contextmanager
    def lose_acks(self, connection_id: str | None = None) -> Generator[None]:
        """Send no acks, those of one connection or all, while the block lasts.

        Raises:
            LookupError: there is no such connection.
        """
        with self._ack_fault(connection_id, lambda _: None):
            yield

    @contextmanager
    def repeat_acks(self, connection_id: str | None = None) -> Generator[None]:
        """Send every ack twice, those of one connection or all, while the block lasts.

        Raises:
            LookupError: there is no such connection.
        """

        def twice(send: SendNow) -> None:
            send()
            send()

        with self._ack_fault(connection_id, twice):
            yield

    @contextmanager
    def lose_sequence_acks(self, connection_id: str | None = None) -> Generator[None]:
        """Overlook what clients confirm, one connection or all, while the block lasts.

        Who recovers a session then gets again what it has long had. With so much unconfirmed as is kept for a client,
        its session ends.

        Raises:
            LookupError: there is no such connection.
        """
        if connection_id is not None:
            self._check_connection(connection_id)
        self._switchboard.unheard.append(connection_id)
        try:
            yield
        finally:
            self._switchboard.unheard.remove(connection_id)

    # Streams to groups

    def fail_stream(
        self, connection_id: str, stream_id: str, name: str = "InternalServerError", message: str = ""
    ) -> None:
        """End a stream that a client sends, as the service might: its sender and its readers get the error.

        Args:
            connection_id: whose stream.
            stream_id: which.
            name: of the error; the service is known to give ``Forbidden``, ``IdleTimeout`` and ``InternalServerError``.
            message: what it says.

        Raises:
            LookupError: there is no such stream.
        """
        if not self._switchboard.fail_stream(connection_id, stream_id, WireError(name, message)):
            raise LookupError(f"connection {connection_id!r} has no stream {stream_id!r}")

    def refuse_fragments(self, hub: str, count: int) -> None:
        """Refuse the next fragments of streams for the moment (``TransientError``), as an overloaded service does.

        Args:
            hub: where.
            count: how many.

        Raises:
            ValueError: there can be no such hub, or not so many fragments.
            TypeError: ``count`` is no whole number.
        """
        self._switchboard.hubs.hub(check_hub(hub)).streams.refusals = check_count("count", count)

    # The service's memory

    def forget_session(self, connection_id: str) -> None:
        """Lose a connection as if its server had crashed: it is cut, and can not be recovered.

        Raises:
            LookupError: there is no such connection.
        """
        if not self._switchboard.forget_session(connection_id):
            raise LookupError(f"there is no connection {connection_id!r}")

    def forget_all_sessions(self) -> None:
        """Lose all connections of all hubs, with their groups, permissions and whatever waits for them."""
        for hub in self._switchboard.hubs:
            for connection_id in list(hub.registry.connections):
                self._switchboard.perform(hub, hub.forget_session(connection_id))

    def restart(self, *, keep_state: bool = True) -> None:
        """Break off every connection, HTTP included, as a restart of the service does.

        Do it in a block of ``refuse_connections(None)`` to have the service away for a while.

        Args:
            keep_state: whether the reliable sessions outlive it.
        """
        check_flags(keep_state=keep_state)
        if not keep_state:
            self.forget_all_sessions()
        self._listener.reset_all()

    def _websocket(self, connection_id: str) -> ServerWebSocket:
        link: Link | None = self._switchboard.link_of(check_text(connection_id, "connection id"))
        if link is None:
            raise LookupError(f"connection {connection_id!r} has no WebSocket")
        return link.websocket

    def _check_connection(self, connection_id: str) -> None:
        check_text(connection_id, "connection id")
        if not any(connection_id in hub.registry.connections for hub in self._switchboard.hubs):
            raise LookupError(f"there is no connection {connection_id!r}")

    @contextmanager
    def _ack_fault(self, connection_id: str | None, handle: Callable[[SendNow], None]) -> Generator[None]:
        if connection_id is not None:
            self._check_connection(connection_id)

        def fault(hub: Hub, transport: Transport, send: SendNow) -> bool:
            if connection_id is not None:
                connection = hub.registry.connections.get(connection_id)
                if connection is None or connection.transport != transport:
                    return False
            handle(send)
            return True

        self._switchboard.ack_faults.append(fault)
        try:
            yield
        finally:
            self._switchboard.ack_faults.remove(fault)


def _check_cut(how: Cut, after_bytes: int) -> None:
    check_choice("how", how, get_args(Cut))
    check_count("after_bytes", after_bytes)


def _cut(websocket: ServerWebSocket, how: Cut, after_bytes: int) -> None:
    faults = {"reset": websocket.abort, "eof": websocket.end, "silence": websocket.silence}
    websocket.after_sending(after_bytes, faults[how])


def _check_status(status: int | None) -> None:
    if status is not None:
        check_status(status, "a handshake is rejected")
