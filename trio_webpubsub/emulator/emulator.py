"""The emulator as its users see it: open it, look inside, break things."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import httpx
import trio

from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp
from .._shell.groups import leaves
from .._shell.http import ConnectorTransport
from .._shell.memory import memory_stream_pair
from .._shell.randomness import ByteSource, system_bytes
from ..listener import Listener
from ..listener.cuttable import CuttableStream
from ..protocol.names import check_hub
from ..protocol.tokens import client_access_token
from ..protocol.urls import client_audience, client_url, is_loopback
from .asgi import CannotStart
from .directory import OWNER, Directory, DirectoryRole
from .dispatcher import EventDispatcher
from .handlers import EventHandlers, HandlerLimits, HandlerTable
from .hub.limits import HubLimits
from .links import Link
from .rest import RestApi
from .switchboard import Switchboard
from .websocket import Clients

DEFAULT_PORT = 8080
"""Where the official emulator listens too."""
DEFAULT_ACCESS_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
"""The key that the official emulator has by default. Everybody knows it."""

_TOKEN_LIFETIME = 3600.0
_GROUP_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
_GOODBYE = 3.0
"""Seconds that clients have to take leave when the emulator closes."""

Cut: TypeAlias = Literal["reset", "eof", "silence"]
"""How a connection is cut: both ends fail at once; the bytes end without a close frame; nothing gets through any more
and nobody is told."""


@dataclass(frozen=True, slots=True)
class EmulatedConnection:
    """One connection, as it was when it was looked at."""

    connection_id: str
    user_id: str | None
    groups: frozenset[str]
    attached: bool
    """False while a reliable session waits for its client to come back."""


class Emulator:
    """An open emulator; `open_emulator` makes it.

    Connections are named by their connection ids, which are unique over all hubs.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        switchboard: Switchboard,
        connector: Connector,
        refusals: list[int | None],
        directory: Directory,
    ) -> None:
        self.endpoint = endpoint
        """``http://host:port``, as it stands in the connection string."""
        self.connector = connector
        """Connects to this emulator, over memory or TCP: for ``open_client(connector=)`` and the like."""
        self._access_key = access_key
        self._switchboard = switchboard
        self._refusals = refusals
        self._directory = directory

    def __repr__(self) -> str:
        return f"<Emulator at {self.endpoint}>"

    # What its users need to reach it

    @property
    def connection_string(self) -> str:
        """For ``open_service`` and every other tool that takes one. It holds the access key."""
        return f"Endpoint={self.endpoint};AccessKey={self._access_key};Version=1.0;"

    @property
    def http_transport(self) -> httpx.AsyncBaseTransport:
        """A new transport for an ``httpx.AsyncClient``, over `connector`."""
        return ConnectorTransport(self.connector)

    def client_url(
        self,
        hub: str,
        *,
        user_id: str | None = None,
        groups: Sequence[str] = (),
        roles: Sequence[str] = _GROUP_ROLES,
    ) -> str:
        """Make the URL with which a client connects to a hub, within an hour. It holds a token.

        Args:
            hub: its name.
            user_id: who the client is; ``None`` for an anonymous one.
            groups: what it is in from the beginning.
            roles: what it may do; by default join, leave and send to every group.

        Raises:
            ValueError: a name is not allowed.
        """
        token = client_access_token(
            self._access_key,
            audience=client_audience(self.endpoint, check_hub(hub)),
            now=wall_time(),
            lifetime=_TOKEN_LIFETIME,
            user_id=user_id,
            roles=roles,
            groups=groups,
        )
        return client_url(self.endpoint, hub, token)

    def credential(self, role: DirectoryRole = OWNER) -> Callable[[], Awaitable[str]]:
        """Give a credential as Entra ID would: ``open_service(emulator.endpoint, hub, credential=...)``.

        It is an async callable, whose tokens only this emulator accepts.

        Args:
            role: ``"Web PubSub Service Owner"`` may do everything, ``"Web PubSub Service Reader"`` only look.
        """
        return self._directory.credential(role)

    # Looks inside

    def connections(self, hub: str) -> list[EmulatedConnection]:
        """Give the connections of a hub, the oldest first."""
        return [
            EmulatedConnection(
                connection_id=connection.id,
                user_id=connection.user_id,
                groups=frozenset(connection.groups),
                attached=connection.transport is not None,
            )
            for connection in self._switchboard.hubs.hub(check_hub(hub), keep=False).registry.connections.values()
        ]

    def groups(self, hub: str) -> dict[str, list[str]]:
        """Give the ids of the member connections of each group that has any."""
        registry = self._switchboard.hubs.hub(check_hub(hub), keep=False).registry
        return {group: list(members) for group, members in registry.groups.items()}

    def users(self, hub: str) -> dict[str, list[str]]:
        """Give the ids of the connections of each user that has any."""
        registry = self._switchboard.hubs.hub(check_hub(hub), keep=False).registry
        return {user_id: list(connections) for user_id, connections in registry.users.items()}

    # Faults

    def cut(self, connection_id: str, how: Cut = "reset") -> None:
        """Cut the WebSocket of a connection. A reliable session can be recovered afterwards.

        Args:
            connection_id: which.
            how: ``"reset"``: both ends fail at once. ``"eof"``: the bytes end, without a close frame. ``"silence"``:
                nothing gets through any more, and nobody is told.

        Raises:
            LookupError: there is no such connection, or it has no WebSocket at present.
        """
        link = self._switchboard.link_of(connection_id)
        if link is None:
            raise LookupError(f"connection {connection_id!r} has no WebSocket")
        _cut(link, how)

    def cut_all(self, how: Cut = "reset") -> None:
        """Cut the WebSockets of all connections of all hubs."""
        for link in list(self._switchboard.links.values()):
            _cut(link, how)

    def forget_session(self, connection_id: str) -> None:
        """Lose a connection as if its server had crashed: it is cut, and can not be recovered.

        Raises:
            LookupError: there is no such connection.
        """
        if not self._switchboard.forget_session(connection_id):
            raise LookupError(f"there is no connection {connection_id!r}")

    @contextmanager
    def refuse_connections(self, status: int | None = 503) -> Generator[None, None, None]:
        """Refuse new connections while the block lasts; those that are open stay open.

        Args:
            status: the HTTP status, 400 to 599, with which WebSocket handshakes are rejected; ``None`` to reset every
                new TCP connection instead, those of HTTP requests included (in memory: to refuse it).

        Raises:
            ValueError: the status is none that rejects.
        """
        if status is not None and not 400 <= status <= 599:
            raise ValueError(f"a handshake is rejected with a status from 400 to 599, not {status}")
        self._refusals.append(status)
        try:
            yield
        finally:
            self._refusals.remove(status)


def _cut(link: Link, how: Cut) -> None:
    match how:
        case "reset":
            link.websocket.abort()
        case "eof":
            link.websocket.end()
        case "silence":
            link.websocket.silence()


class _Doors:
    """The way in, over TCP or over memory, and all that runs behind it, for as long as an ``async with`` block lasts.

    The tasks are shielded from birth, and only `__aexit__` cancels them: a block that is being cancelled finds its
    service alive to its end. The nursery never sees what leaves the block, which so leaves as it is and not in an
    exception group.
    """

    def __init__(
        self,
        listener: Listener,
        switchboard: Switchboard,
        sockets: list[trio.SocketListener],
        refusals: list[int | None],
    ) -> None:
        self._listener = listener
        self._switchboard = switchboard
        self._sockets = sockets
        self._refusals = refusals
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope(shield=True)
        self._ready = trio.Event()
        self._failure: BaseException | None = None
        self._closed = trio.Event()

    async def __aenter__(self) -> None:
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(self._run)

    async def opened(self) -> None:
        """Wait until connections can come.

        Raises:
            RuntimeError: an event handler's app cannot start up.

        Cancellation: leave the block.
        """
        await self._ready.wait()
        if self._failure is not None:
            raise RuntimeError(str(self._failure)) from self._failure

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_GOODBYE):
                self._refusals.append(None)
                self._switchboard.close_all(1001, "The emulator is closing.")
                await self._listener.shutdown(_GOODBYE)
                await self._switchboard.events.stop()
            self._scope.cancel()
            await self._closed.wait()
        await self._stack.aclose()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._switchboard.events.start(nursery)
                    self._nursery = nursery
                    nursery.start_soon(self._switchboard.expire_sessions)
                    if self._sockets:
                        nursery.start_soon(trio.serve_listeners, self._serve_tcp, self._sockets)
                    self._ready.set()
        except* CannotStart as group:
            self._failure = next(leaves(group))
        finally:
            self._nursery = None
            self._ready.set()
            self._closed.set()

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        if None in self._refusals:
            CuttableStream(stream).reset()
        else:
            await self._listener.handle(stream)

    def memory_connector(self, endpoint_host: str, endpoint_port: int) -> Connector:
        """Make a connector to this emulator that knows no other host."""

        async def connect(host: str, port: int, ssl_context: ssl.SSLContext | None, /) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if ssl_context is not None:
                raise ConnectionError("an emulator in memory does not speak TLS")
            if self._nursery is None or None in self._refusals or (host, port) != (endpoint_host, endpoint_port):
                raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
            theirs, ours = memory_stream_pair()
            self._nursery.start_soon(self._listener.handle, ours)
            return theirs

        return connect


@asynccontextmanager
async def open_emulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    in_memory: bool = False,
    access_key: str = DEFAULT_ACCESS_KEY,
    secondary_key: str | None = None,
    anonymous_hubs: Collection[str] = (),
    limits: HubLimits | None = None,
    connected_after_recovery: bool = True,
    event_handlers: EventHandlers = (),
    handler_limits: HandlerLimits | None = None,
    handler_connector: Connector = connect_tcp,
    drop_failed_events: bool = False,
    random_bytes: ByteSource = system_bytes,
) -> AsyncGenerator[Emulator, None]:
    """Run the service in this process for as long as the block lasts.

    At the end its clients get a ``disconnected`` message and a close with 1001, and have three seconds to go, however
    the block is left.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        in_memory: listen nowhere, and be reached by ``emulator.connector`` and ``emulator.http_transport`` only. No
            real IO is done then, so that all of it works on a virtual clock.
        access_key: signs and checks all tokens.
        secondary_key: tokens signed with this one are good as well.
        anonymous_hubs: the hubs to which clients may come without a token, where they have no user id and no roles;
            ``*`` for all.
        limits: what the hubs keep, and for how long; by default as the service does.
        connected_after_recovery: whether a recovered session gets ``connected`` once more, with a fresh token.
        event_handlers: who handles the events of clients, by hub (``_default`` for all others) or, as a list, of every
            hub: an `EventHandler`, or an ASGI app such as ``webhooks.WebhookApp``, which gets every event. The first
            one that takes an event gets it.
        handler_limits: how patient the emulator is with them; by default as the service is.
        handler_connector: reaches the event handlers that are no apps in this process.
        drop_failed_events: whether a client whose event fails is dropped, as the service's documentation says, or gets
            an ack that says so, as from the official emulator. A simple client is dropped in any case.
        random_bytes: where connection ids and secrets come from.

    Raises:
        OSError: it cannot listen at ``host`` and ``port``.
        ValueError: the port is none; or a key is empty, or is the default one, which everybody knows, where other
            machines could connect; or a hub cannot be called that.
        RuntimeError: an event handler's app cannot start up.

    Cancellation: the block is left, as by an exception.
    """
    if not 0 <= port <= 65_535:
        # The system would take the rest of a division without a word.
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    keys = [access_key] if secondary_key is None else [access_key, secondary_key]
    if not all(keys):
        raise ValueError("an access key is empty")
    if DEFAULT_ACCESS_KEY in keys and not in_memory and not is_loopback(host):
        raise ValueError(f"everybody knows the default access key: give another one to listen on {host}")
    if isinstance(anonymous_hubs, str):
        raise TypeError("anonymous_hubs takes several names, so a list and not one str")
    without_token = frozenset(name if name == "*" else check_hub(name).lower() for name in anonymous_hubs)
    sockets: list[trio.SocketListener] = []
    if in_memory:
        port = port or DEFAULT_PORT
    else:
        sockets = await trio.open_tcp_listeners(port, host=host)
        port = sockets[0].socket.getsockname()[1]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    table = HandlerTable(event_handlers)
    origins = [address.rpartition(":")[0], address]
    events = EventDispatcher(
        table, handler_limits or HandlerLimits(), origins=origins, keys=keys, connector=handler_connector
    )
    switchboard = Switchboard(
        limits or HubLimits(),
        events,
        connected_after_recovery=connected_after_recovery,
        drop_failed_events=drop_failed_events,
    )
    refusals: list[int | None] = []
    clients = Clients(
        switchboard,
        keys=keys,
        endpoint_host=address,
        anonymous_hubs=without_token,
        refusals=refusals,
        random_bytes=random_bytes,
    )
    directory = Directory(random_bytes)
    rest = RestApi(switchboard.hubs, switchboard.perform, keys=keys, endpoint_host=address, directory=directory)
    doors = _Doors(Listener(rest.handle, clients.serve), switchboard, sockets, refusals)
    emulator = Emulator(
        endpoint=f"http://{address}",
        access_key=access_key,
        switchboard=switchboard,
        connector=doors.memory_connector(host, port) if in_memory else connect_tcp,
        refusals=refusals,
        directory=directory,
    )
    async with doors:
        await doors.opened()
        yield emulator


async def serve_emulator(
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    access_key: str = DEFAULT_ACCESS_KEY,
    task_status: trio.TaskStatus[Emulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the service until it is cancelled: ``emulator = await nursery.start(serve_emulator)``.

    The arguments are those of `open_emulator`; ``port`` is that of the official emulator.

    Raises:
        OSError: it cannot listen at ``host`` and ``port``.
        ValueError: as `open_emulator`.

    Cancellation: clients have three seconds to go.
    """
    async with open_emulator(host=host, port=port, access_key=access_key) as emulator:
        task_status.started(emulator)
        await trio.sleep_forever()
