"""The emulator's pure parts (hub, codecs, REST API) for servers that are not ours: same work, another machinery.

Every broadcast is encoded once here too, and everything is done at once, in the call that brings it about.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count

from trio_webpubsub.emulator.directory import Directory
from trio_webpubsub.emulator.emulator import DEFAULT_ACCESS_KEY
from trio_webpubsub.emulator.handshake import Admission, Handshake
from trio_webpubsub.emulator.hub import Abort, Close, ConnectAccepted, ConnectRequest, Deliver, Effect, Hub, Hubs, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.rest import RestApi
from trio_webpubsub.listener import Request, Response
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.subprotocols import codec_for

HOST = "127.0.0.1"


class DrivenHub:
    """All hubs of a service, and where to send what is for each of their WebSockets."""

    def __init__(self) -> None:
        self._hubs = Hubs(HubLimits())
        self._numbers = count(1)
        self._links: dict[int, tuple[Codec, Callable[[bytes], None]]] = {}
        self._rest = RestApi(
            self._hubs,
            self._perform,
            keys=[DEFAULT_ACCESS_KEY],
            endpoint=f"http://{HOST}",
            directory=Directory(os.urandom),
        )

    def answer(self, request: Request) -> Response:
        """Answer a request of the REST API."""
        return self._rest.answer(request, now=time.time(), hub_now=time.monotonic())

    def admit(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[Hub, Admission]:
        """Check a handshake."""
        handshake = Handshake(path, query, headers)
        admission = handshake.admit(keys=[DEFAULT_ACCESS_KEY], endpoint_host=HOST, now=time.time())
        return self._hubs.hub(handshake.hub), admission

    def open(
        self, hub: Hub, admission: Admission, subprotocol: str, send: Callable[[bytes], None]
    ) -> Callable[[bytes | None], None]:
        """Open a connection; gives what its messages, and ``None`` at its end, are to be given to."""
        transport = next(self._numbers)
        codec = codec_for(subprotocol)
        request = ConnectRequest(
            connection_id=os.urandom(16).hex(),
            session_secret=os.urandom(32),
            subprotocols=[subprotocol],
            user_id=admission.user_id,
            roles=admission.roles,
            groups=admission.groups,
        )
        hub.connect(transport, request)
        hub.answer_connect(transport, ConnectAccepted())
        self._links[transport] = codec, send
        self._perform(hub, hub.transport_opened(transport))

        def receive(frame: bytes | None) -> None:
            if frame is None:
                del self._links[transport]
                hub.transport_ended(transport, code=None, now=time.monotonic())
            else:
                self._perform(hub, hub.receive(transport, codec.decode_upstream(frame), now=time.monotonic()))

        return receive

    def _perform(self, hub: Hub, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(message, recipients):
                    frames: dict[Codec, bytes] = {}
                    for transport, sequence_id in recipients:
                        codec, send = self._links[transport]
                        frame = frames.get(codec)
                        if frame is None:
                            frame = frames[codec] = codec.encode_data(message)
                        send(frame if sequence_id is None else codec.with_sequence_id(frame, sequence_id))
                case Send(transport, message):
                    codec, send = self._links[transport]
                    send(codec.encode_control(message))
                case Close() | Abort():
                    raise RuntimeError(f"a benchmark that ends connections measures nothing: {effect}")
                case _:
                    raise RuntimeError("there are no events in the benchmark")
