"""Serves the clients: one `Clients.serve` for each WebSocket, from its handshake to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import trio

from .._shell.clock import wall_time
from .._shell.frame_stream import TransportEnded
from .._shell.randomness import ByteSource
from ..listener import ServerWebSocket, WebSocketRequest
from ..protocol.errors import ProtocolViolation
from ..protocol.subprotocols import SUBPROTOCOLS, codec_for, first_known
from .faults import Gate
from .handshake import Admission, Handshake, HandshakeRefused, Publishing, Recovery, texts_of
from .hub import ConnectRequest, Effect, Hub, Reject, Transport
from .links import Link, PubSubLink, SimpleLink
from .switchboard import Switchboard

_ABRUPT = 1006
_MOST_ROLES_TOLD = 10
"""Of each connection, in the log."""

_logger = logging.getLogger("trio_webpubsub.emulator")


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is left to do for a handshake that is granted."""

    connection_id: str
    subprotocol: str | None
    link: Callable[[ServerWebSocket], Link]
    opened: Callable[[], list[Effect]]
    """Tells the hub that the WebSocket is open."""


@dataclass(frozen=True, slots=True)
class _Client:
    """A client that is in."""

    hub: Hub
    link: Link
    connection_id: str
    name: str
    """In the log."""


class Clients:
    """The side of the service that clients connect to."""

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        keys: Sequence[str],
        endpoint_host: str,
        anonymous_hubs: AbstractSet[str],
        gate: Gate,
        random_bytes: ByteSource,
    ) -> None:
        """Say whom to serve.

        Args:
            switchboard: the hubs and links.
            keys: any of them may have signed a token.
            endpoint_host: host and port under which clients know the service.
            anonymous_hubs: names, in lower case, of the hubs to which clients may come without a token; ``*`` for all.
            gate: lets them in, or does not.
            random_bytes: for connection ids and the secrets of sessions.
        """
        self._switchboard = switchboard
        self._keys = keys
        self._endpoint_host = endpoint_host
        self._anonymous_hubs = anonymous_hubs
        self._random_bytes = random_bytes
        self._gate = gate

    async def serve(self, request: WebSocketRequest) -> None:
        """Serve one WebSocket.

        Cancellation: its client sees an abrupt end, and may recover a reliable session.
        """
        transport = self._switchboard.next_transport()
        try:
            client = await self._open(transport, request)
        except HandshakeRefused as refused:
            _logger.info("refused a client with %d: %s", refused.status, refused.reason)
            content_type = ("content-type", "text/plain; charset=utf-8")
            await request.reject(refused.status, [content_type], refused.reason.encode())
            return
        _logger.info("%s is open", client.name)
        link, code = client.link, None
        try:
            code = await self._receive(client.hub, transport, link, client.connection_id)
        finally:
            self._switchboard.end_transport(client.hub, transport, code)
            # Nobody waits for a client's answer to our close frame; without any frame it is an abrupt end.
            _logger.info("%s has ended, code %s", client.name, code or (link.farewell or (_ABRUPT, ""))[0])
        if link.farewell is not None:
            await link.websocket.close(*link.farewell)

    async def _open(self, transport: Transport, request: WebSocketRequest) -> _Client:
        """Let a client in. All that it said to come in, tokens among it, is forgotten at the end of this.

        Raises:
            HandshakeRefused: it may not come in.

        Cancellation: the connection has to be closed.
        """
        await self._gate.enter()
        handshake = Handshake(request.path, request.query, request.headers)
        recovery = handshake.recovery
        admission = self._admit(handshake) if recovery is None else Admission()
        hub = self._switchboard.hubs.hub(handshake.hub, keep=recovery is None)
        try:
            if recovery is None:
                opening = await self._connect(hub, transport, request, handshake, admission)
            else:
                opening = self._recover(hub, transport, request, recovery)
            link = opening.link(await request.accept(subprotocol=opening.subprotocol))
            self._switchboard.links[transport] = link
            self._switchboard.perform(hub, opening.opened())
        except BaseException:  # cancellation too: the hub has heard of this transport
            self._switchboard.end_transport(hub, transport, None)
            raise
        return _Client(hub, link, opening.connection_id, f"{handshake.hub}: the WebSocket of {opening.connection_id!r}")

    def _admit(self, handshake: Handshake) -> Admission:
        anonymous = not self._anonymous_hubs.isdisjoint(("*", handshake.hub.lower()))
        return handshake.admit(keys=self._keys, endpoint_host=self._endpoint_host, now=wall_time(), anonymous=anonymous)

    async def _connect(
        self, hub: Hub, transport: Transport, request: WebSocketRequest, handshake: Handshake, admission: Admission
    ) -> _Opening:
        question = hub.connect(
            transport,
            ConnectRequest(
                connection_id=self._random_bytes(16).hex(),
                session_secret=self._random_bytes(32),
                subprotocols=request.subprotocols,
                user_id=admission.user_id,
                roles=admission.roles,
                groups=admission.groups,
            ),
        )
        answer = hub.answer_connect(
            transport,
            await self._switchboard.events.connect(
                handshake.hub.lower(),
                question.request,
                claims=texts_of(admission.claims),
                query=handshake.shown_parameters(),
                headers={name: [value] for name, value in request.headers.items() if name != "authorization"},
            ),
        )
        if isinstance(answer, Reject):
            raise HandshakeRefused(answer.status, answer.reason)
        connection_id = question.request.connection_id

        def opened() -> list[Effect]:
            effects = hub.transport_opened(transport)
            for role in hub.registry.connections[connection_id].roles.skipped[:_MOST_ROLES_TOLD]:
                _logger.warning(
                    "a role of %r is unknown, invalid or one too many, and does not count: %.100r", connection_id, role
                )
            return effects

        link = _link_for(answer.subprotocol, handshake.publishing)
        return _Opening(connection_id, answer.subprotocol, link, opened)

    def _recover(self, hub: Hub, transport: Transport, request: WebSocketRequest, recovery: Recovery) -> _Opening:
        """Grant any recovery, in the session's own subprotocol: it is the hub that refuses, with a close."""
        connection = hub.registry.connections.get(recovery.connection_id)
        spoken = None if connection is None else connection.subprotocol
        return _Opening(
            recovery.connection_id,
            first_known(request.subprotocols, SUBPROTOCOLS if spoken is None else [spoken.lower()]),
            _link_for(spoken, None),  # to who has no session nothing is said but the close
            lambda: hub.recover(
                transport, recovery.connection_id, recovery.reconnection_token, now=trio.current_time()
            ),
        )

    async def _receive(self, hub: Hub, transport: Transport, link: Link, connection_id: str) -> int | None:
        """Pass on what the client sends, to the end; give the code of its close frame, if that was the end."""
        switchboard = self._switchboard
        with link.receiving:
            try:
                while True:
                    frames = await link.websocket.receive_batch()
                    for frame in frames:
                        while connection_id in hub.stalled:
                            switchboard.push()
                            await switchboard.one_answered.park()
                        if len(frames) > 1:
                            switchboard.hold()
                        switchboard.receive(hub, transport, connection_id, link.read(frame))
                        if hub.behind:
                            switchboard.push()
                            await switchboard.let_others_catch_up(hub, connection_id)
                        elif switchboard.turn_is_over:
                            switchboard.push()
                            await trio.lowlevel.checkpoint()
                    switchboard.push()
            except TransportEnded as ended:
                return ended.code
            except ProtocolViolation as violation:
                _logger.info("a client broke the protocol: %s", violation)
                link.close(violation.code, violation.reason)
            finally:
                switchboard.push()
        return None


def _link_for(subprotocol: str | None, publishing: Publishing | None) -> Callable[[ServerWebSocket], Link]:
    """Find out how to speak with a client.

    Raises:
        HandshakeRefused: its subprotocol takes a library that is not installed.
    """
    if subprotocol is None or subprotocol.lower() not in SUBPROTOCOLS:
        return lambda websocket: SimpleLink(websocket, publishing)
    try:
        codec = codec_for(subprotocol.lower())
    except ImportError as error:
        raise HandshakeRefused(400, f"{subprotocol} is not served here: {error}.") from error
    return lambda websocket: PubSubLink(websocket, codec)
