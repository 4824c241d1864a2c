"""The emulator as its users see it: open it, look inside, break things."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import TypedDict, Unpack, get_args

import httpx
import trio

from .._shell.blocks import block
from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp
from .._shell.http import ConnectorTransport
from .._shell.randomness import ByteSource, system_bytes
from ..listener import Limits, Listener, Request, Response, check_server_context, open_sockets
from ..protocol.arguments import (
    check_callable,
    check_choice,
    check_flags,
    check_number,
    check_several,
    check_type,
    kind_of,
)
from ..protocol.names import check_access_key, check_count, check_hub, check_text
from ..protocol.tokens import check_lifetime, client_access_token
from ..protocol.urls import client_audience, client_url, is_loopback
from .directory import OWNER, Directory, DirectoryRole
from .dispatcher import EventDispatcher
from .doors import Doors
from .faults import Faults, Gate
from .handlers import EventHandlers, HandlerLimits, HandlerTable
from .hub.limits import HubLimits
from .record import Received, Record
from .rest import RestApi
from .rest_requests import Refusal, too_large
from .switchboard import Switchboard
from .websocket import Clients

DEFAULT_PORT = 8080
"""Where the official emulator listens too."""
DEFAULT_ACCESS_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
"""The key that the official emulator has by default. Everybody knows it."""

_NOBODYS_PORT = 1
"""Stands in the addresses of an emulator in memory. What looks for it without the connector finds nobody, where another
port may be that of another emulator, which takes the same key."""
_GROUP_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EmulatedConnection:
    """One connection, as it was when it was looked at."""

    connection_id: str
    user_id: str | None
    groups: frozenset[str]
    attached: bool
    """False while a reliable session waits for its client to come back."""
    subprotocol: str | None = None


class Emulator(Faults):
    """An open emulator; `open_emulator` makes it.

    Connections are named by their connection ids, which are unique over all hubs.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        switchboard: Switchboard,
        listener: Listener,
        gate: Gate,
        connector: Connector,
        accept: Callable[[trio.abc.Stream], None],
        directory: Directory,
    ) -> None:
        super().__init__(switchboard, listener, gate)
        self.endpoint = endpoint
        """``http://host:port``, or with https if it has an ``ssl_context``, as it stands in the connection string."""
        self.connector = connector
        """Connects to this emulator, over memory or TCP: for ``open_client(connector=)`` and the like."""
        self._accept = accept
        self._access_key = access_key
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
        lifetime: timedelta = timedelta(hours=1),
    ) -> str:
        """Make the URL with which a client connects to a hub. It holds a token.

        Args:
            hub: its name.
            user_id: who the client is; ``None`` for an anonymous one.
            groups: what it is in from the beginning.
            roles: what it may do; by default join, leave and send to every group.
            lifetime: for how long one can connect with it.

        Raises:
            ValueError: a name is not allowed, or the lifetime is none.
            TypeError: an argument is of the wrong type.
        """
        token = client_access_token(
            self._access_key,
            audience=client_audience(self.endpoint, check_hub(hub)),
            now=wall_time(),
            lifetime=check_lifetime(lifetime) / timedelta(seconds=1),
            user_id=user_id,
            roles=roles,
            groups=groups,
        )
        return client_url(self.endpoint, hub, token)

    def accept(self, stream: trio.abc.Stream) -> None:
        """Take a connection that was made elsewhere, such as one over a simulated network, and serve it to its end.

        Args:
            stream: the service's end of it.

        Raises:
            ConnectionRefusedError: connections are not taken.
            TypeError: it is no stream.
        """
        check_type("stream", stream, trio.abc.Stream, "a trio.abc.Stream")
        self._accept(stream)

    def credential(self, role: DirectoryRole = OWNER) -> Callable[[], Awaitable[str]]:
        """Give a credential as Entra ID would: ``open_service(emulator.endpoint, hub, credential=...)``.

        It is an async callable, whose tokens only this emulator accepts.

        Args:
            role: ``"Web PubSub Service Owner"`` may do everything, ``"Web PubSub Service Reader"`` only look.

        Raises:
            ValueError: there is no such role.
        """
        check_choice("role", role, get_args(DirectoryRole))
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
                subprotocol=connection.subprotocol,
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

    def received(self) -> list[Received]:
        """Give what clients and application servers sent, the oldest first.

        The newest messages and requests are kept, as many as `open_emulator` was told; ``received_dropped`` says how
        many are not there any more. Requests for tokens are among them, tokens are not.
        """
        return self._switchboard.record.entries()

    @property
    def received_dropped(self) -> int:
        """How many messages and requests were received, but are not kept any more."""
        return self._switchboard.record.dropped

    def clear_received(self) -> None:
        """Forget what was received so far."""
        self._switchboard.record.clear()


@block("async with open_emulator() as emulator:")
@asynccontextmanager
async def open_emulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    in_memory: bool = False,
    access_key: str = DEFAULT_ACCESS_KEY,
    secondary_key: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    anonymous_hubs: Collection[str] = (),
    connected_after_recovery: bool = True,
    event_handlers: EventHandlers = (),
    drop_failed_events: bool = False,
    handler_connector: Connector = connect_tcp,
    limits: HubLimits | None = None,
    handler_limits: HandlerLimits | None = None,
    listener_limits: Limits | None = None,
    kept_messages: int = 1_000,
    kept_bytes: int = 16 * _MIB,
    close_timeout: float = 3.0,
    random_bytes: ByteSource = system_bytes,
) -> AsyncGenerator[Emulator]:
    """Run the service in this process for as long as the block lasts.

    At the end its clients get a ``disconnected`` message and a close with 1001, and have ``close_timeout`` to go,
    however the block is left.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        in_memory: listen nowhere, and be reached by ``emulator.connector`` and ``emulator.http_transport`` only. No
            real IO is done then, so that all of it works on a virtual clock. ``host`` and ``port`` are mere names then,
            by default those of a port where nobody listens, 1.
        access_key: signs and checks all tokens.
        secondary_key: what it signed is good as well.
        ssl_context: the server's side of TLS, which is then spoken; `SelfMadeCertificate` has one.
        anonymous_hubs: the hubs to which clients may come without a token, where they have no user id and no roles;
            ``*`` for all.
        connected_after_recovery: whether a recovered session gets ``connected`` once more, with a fresh token.
        event_handlers: who handles the events of clients, by hub (``_default`` for all others) or, as a list, of every
            hub: an `EventHandler`, or an ASGI app such as ``webhooks.WebhookApp``, which gets every event. The first
            one that takes an event gets it.
        drop_failed_events: whether a client whose event fails is dropped, as the service's documentation says, or gets
            an ack that says so, as from the official emulator. A simple client is dropped in any case.
        handler_connector: reaches the event handlers that are no apps in this process.
        limits: what the hubs keep, and for how long; by default as the service does.
        handler_limits: how patient the emulator is with event handlers; by default as the service is.
        listener_limits: what each connection may do to the server, and how many there may be.
        kept_messages: how many messages and requests `Emulator.received` gives at most.
        kept_bytes: how much memory these take at most, about.
        close_timeout: seconds that clients have at the end.
        random_bytes: where connection ids and secrets come from.

    Raises:
        OSError: it cannot listen at ``host`` and ``port``.
        ValueError: the port is none, or the host empty; or a key is empty or has white space around it, or is the
            default one, which everybody knows, where other machines could connect; or a hub cannot be called that.
        TypeError: an option is of the wrong type.
        RuntimeError: an event handler's app cannot start up.

    Cancellation: clients have ``close_timeout`` to go.
    """
    if not check_text(host, "host"):
        raise ValueError("host is empty")
    check_count("port", port, 65_535)  # of more the system would take the rest of a division without a word
    check_flags(
        in_memory=in_memory, connected_after_recovery=connected_after_recovery, drop_failed_events=drop_failed_events
    )
    check_server_context(ssl_context)
    check_callable("handler_connector", handler_connector, "host", "port", "ssl_context")
    check_type("limits", limits, (HubLimits, NoneType), "HubLimits(...) or None")
    check_type("handler_limits", handler_limits, (HandlerLimits, NoneType), "HandlerLimits(...) or None")
    check_type("listener_limits", listener_limits, (Limits, NoneType), "Limits(...) or None")
    check_count("kept_messages", kept_messages)
    check_count("kept_bytes", kept_bytes)
    check_number("close_timeout", close_timeout, zero=True)
    keys = [access_key] if secondary_key is None else [access_key, secondary_key]
    for key in keys:
        check_access_key(key)
    if DEFAULT_ACCESS_KEY in keys and not in_memory and not is_loopback(host):
        raise ValueError(f"everybody knows the default access key: give another one to listen on {host}")
    names = check_several("anonymous_hubs", anonymous_hubs)
    without_token = frozenset(name if name == "*" else check_hub(name).lower() for name in names)
    table = HandlerTable(event_handlers)
    if not callable(random_bytes):
        raise TypeError(f"random_bytes is a function that gives so many bytes, not {kind_of(random_bytes)}")
    directory = Directory(random_bytes)
    # From here on nothing raises that was passed in, so that no socket stays open.
    sockets: list[trio.SocketListener] = []
    if in_memory:
        port = port or _NOBODYS_PORT
    else:
        sockets = await open_sockets(port, host)
        port = sockets[0].socket.getsockname()[1]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    endpoint = f"{'http' if ssl_context is None else 'https'}://{address}"

    events = EventDispatcher(
        table,
        handler_limits or HandlerLimits(),
        origins=[address.rpartition(":")[0], address],
        keys=keys,
        connector=handler_connector,
    )
    record = Record(kept_messages, kept_bytes)
    switchboard = Switchboard(
        limits or HubLimits(),
        events,
        record,
        connected_after_recovery=connected_after_recovery,
        drop_failed_events=drop_failed_events,
    )
    gate = Gate()
    clients = Clients(
        switchboard,
        keys=keys,
        endpoint_host=address,
        anonymous_hubs=without_token,
        gate=gate,
        random_bytes=random_bytes,
    )
    listener_limits = listener_limits or Limits()
    rest = RestApi(
        switchboard.hubs,
        switchboard.perform,
        keys=keys,
        endpoint=endpoint,
        directory=directory,
        message_size=listener_limits.message_size,
    )

    async def answer(request: Request) -> Response:
        response = await rest.handle(request)
        refusal = response.reason if isinstance(response, Refusal) else None
        record.request(trio.current_time(), request, response.status, refusal)
        return response

    listener = Listener(
        answer, clients.serve, limits=listener_limits, too_large=too_large(listener_limits.body_size).response("POST")
    )
    doors = Doors(listener, switchboard, gate, sockets=sockets, ssl_context=ssl_context, close_timeout=close_timeout)
    emulator = Emulator(
        endpoint=endpoint,
        access_key=access_key,
        switchboard=switchboard,
        listener=listener,
        gate=gate,
        connector=doors.memory_connector(host, port) if in_memory else connect_tcp,
        accept=doors.accept,
        directory=directory,
    )
    async with doors:
        await doors.opened()
        yield emulator


class EmulatorOptions(TypedDict, total=False):
    """The options of `open_emulator` that `serve_emulator` passes on."""

    host: str
    access_key: str
    secondary_key: str | None
    ssl_context: ssl.SSLContext | None
    anonymous_hubs: Collection[str]
    connected_after_recovery: bool
    event_handlers: EventHandlers
    drop_failed_events: bool
    handler_connector: Connector
    limits: HubLimits | None
    handler_limits: HandlerLimits | None
    listener_limits: Limits | None
    kept_messages: int
    kept_bytes: int
    close_timeout: float
    random_bytes: ByteSource


async def serve_emulator(
    *,
    port: int = DEFAULT_PORT,
    task_status: trio.TaskStatus[Emulator] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[EmulatorOptions],
) -> None:
    """Run the service until it is cancelled: ``emulator = await nursery.start(serve_emulator)``.

    Args:
        port: that of the official emulator; 0 takes a free one.
        task_status: told the `Emulator` when it is open.
        options: those of `open_emulator`.

    Raises:
        OSError: it cannot listen there.
        ValueError: as `open_emulator`.

    Cancellation: clients have ``close_timeout`` to go.
    """
    async with open_emulator(port=port, **options) as emulator:
        task_status.started(emulator)
        await trio.sleep_forever()
