"""Serves the clients: one `Clients.serve` for each WebSocket, from its handshake to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from .._shell.clock import wall_time
from .._shell.frame_stream import TransportEnded
from .._shell.randomness import ByteSource
from ..listener import WebSocketRequest
from ..protocol.codec import Codec
from ..protocol.errors import ProtocolViolation
from ..protocol.json_codec import RELIABLE_JSON
from ..protocol.subprotocols import SUBPROTOCOLS, codec_for
from .handshake import Handshake, HandshakeRefused, Recovery
from .hub import ConnectAccepted, ConnectRequest, Effect, Hub, Transport
from .switchboard import Link, Switchboard

_logger = logging.getLogger("trio_webpubsub.emulator")


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is left to do for a handshake that is granted."""

    hub: Hub
    connection_id: str
    codec: Codec
    subprotocol: str | None
    opened: Callable[[], list[Effect]]
    """Tells the hub that the WebSocket is open."""


class Clients:
    """The side of the service that clients connect to."""

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        keys: Sequence[str],
        endpoint_host: str,
        refusals: Sequence[int | None],
        random_bytes: ByteSource,
    ) -> None:
        """Say whom to serve.

        Args:
            switchboard: the hubs and links.
            keys: any of them may have signed a token.
            endpoint_host: host and port under which clients know the service.
            refusals: read anew for each handshake: HTTP statuses, the last of which it gets.
            random_bytes: for connection ids and the secrets of sessions.
        """
        self._switchboard = switchboard
        self._keys = keys
        self._endpoint_host = endpoint_host
        self._random_bytes = random_bytes
        self._refusals = refusals

    async def serve(self, request: WebSocketRequest) -> None:
        """Serve one WebSocket.

        Cancellation: its client sees an abrupt end, and may recover a reliable session.
        """
        transport = self._switchboard.next_transport()
        try:
            for status in filter(None, reversed(self._refusals)):
                raise HandshakeRefused(status, "The emulator was told to refuse connections.")
            handshake = Handshake(request.path, request.query, request.headers, request.subprotocols)
            if handshake.recovery is None:
                opening = self._admit(handshake, transport)
            else:
                opening = self._recover(handshake, handshake.recovery, transport)
        except HandshakeRefused as refused:
            _logger.info("refused a client with %d: %s", refused.status, refused.reason)
            content_type = ("content-type", "text/plain; charset=utf-8")
            await request.reject(refused.status, [content_type], refused.reason.encode())
            return
        hub = opening.hub
        code: int | None = None
        link: Link | None = None
        try:
            websocket = await request.accept(subprotocol=opening.subprotocol)
            link = Link(opening.codec, websocket)
            self._switchboard.links[transport] = link
            self._switchboard.perform(hub, opening.opened())
            _logger.info("%s: the WebSocket of %r is open", handshake.hub, opening.connection_id)
            code = await self._receive(hub, transport, link, opening.connection_id)
        finally:
            self._switchboard.end_transport(hub, transport, code)
            _logger.info("%s: the WebSocket of %r has ended, code %s", handshake.hub, opening.connection_id, code)
        if link.farewell is not None:
            await link.websocket.close(*link.farewell)

    def _admit(self, handshake: Handshake, transport: Transport) -> _Opening:
        admission = handshake.admit(keys=self._keys, endpoint_host=self._endpoint_host, now=wall_time())
        hub = self._switchboard.hubs.hub(handshake.hub)
        codec = admission.codec
        request = ConnectRequest(
            connection_id=self._random_bytes(16).hex(),
            session_secret=self._random_bytes(32) if codec.reliable else None,
            subprotocol=codec.subprotocol,
            user_id=admission.user_id,
            roles=admission.roles,
            groups=admission.groups,
        )
        hub.connect(transport, request)
        # Nobody is there who handles connect events: whoever has a good token is welcome.
        hub.answer_connect(transport, ConnectAccepted())
        return _Opening(
            hub, request.connection_id, codec, admission.subprotocol, lambda: hub.transport_opened(transport)
        )

    def _recover(self, handshake: Handshake, recovery: Recovery, transport: Transport) -> _Opening:
        """Grant any recovery, in the session's own subprotocol: it is the hub that refuses, with a close."""
        hub = self._switchboard.hubs.hub(handshake.hub, keep=False)
        connection = hub.registry.connections.get(recovery.connection_id)
        if connection is not None and connection.subprotocol is not None:
            subprotocol = handshake.offered([connection.subprotocol])
            codec = codec_for(connection.subprotocol)
        else:
            subprotocol = handshake.offered(SUBPROTOCOLS)
            codec = RELIABLE_JSON  # nothing will be said but the close
        return _Opening(
            hub,
            recovery.connection_id,
            codec,
            subprotocol,
            lambda: hub.recover(
                transport, recovery.connection_id, recovery.reconnection_token, now=trio.current_time()
            ),
        )

    async def _receive(self, hub: Hub, transport: Transport, link: Link, connection_id: str) -> int | None:
        """Pass on what the client sends, to the end; give the code of its close frame, if that was the end."""
        with link.receiving:
            try:
                while True:
                    for frame in await link.websocket.receive_batch():
                        self._switchboard.receive(hub, transport, connection_id, link.read(frame))
                        if hub.behind:
                            await self._switchboard.let_others_catch_up(hub, connection_id)
            except TransportEnded as ended:
                return ended.code
            except ProtocolViolation as violation:
                _logger.info("a client broke the protocol: %s", violation)
                link.close(violation.code, violation.reason)
        return None
