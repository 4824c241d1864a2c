"""The WebSockets of clients, each in the language that its client speaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import trio

from ..listener import ServerWebSocket
from ..protocol.codec import Codec
from ..protocol.errors import ProtocolViolation
from ..protocol.frame_reader import BinaryMessage
from ..protocol.frame_writer import encode_frame
from ..protocol.wire import Control, DataMessage, Numbered, Payload, SendEvent, SendToGroup, Upstream
from .handshake import Publishing

_UNSUPPORTED_DATA = 1003
_NOTHING = Payload("text", b"")
_SIMPLE_EVENT = "message"
"""What every message of a simple client is called as an event."""


class Link(ABC):
    """One WebSocket of a client, from its opening to its end."""

    def __init__(self, websocket: ServerWebSocket, language: str) -> None:
        self.websocket = websocket
        self.language = language
        """A message is written once for all links of the same language."""
        self.receiving: trio.CancelScope = trio.CancelScope()
        """Cancelled when the connection is to be closed from this side."""
        self.farewell: tuple[int, str] | None = None
        """The close frame with which this side ends the connection."""
        self.send: Callable[[bytes], int] = websocket.send_frame
        self.hold: Callable[[bytes], int] = websocket.hold
        self.push: Callable[[], int] = websocket.push

    @abstractmethod
    def read(self, frame: bytes) -> Upstream:
        """Read a message of the client.

        Raises:
            ProtocolViolation: with the close code that the service answers.
        """

    @abstractmethod
    def control_frame(self, message: Control) -> bytes | None:
        """Give the frame with what is meant for this client alone; ``None`` where there is no form for it."""

    @abstractmethod
    def write(self, message: Numbered) -> bytes:
        """Write a message for all links of the same language."""

    @abstractmethod
    def data_frame(self, written: bytes, sequence_id: int | None) -> bytes:
        """Give the frame with what `write` gave, for all of the same language under this sequence id."""

    def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame, after what is queued."""
        self.farewell = self.farewell or (code, reason)
        self.receiving.cancel()


class PubSubLink(Link):
    """A client of one of the service's subprotocols."""

    def __init__(self, websocket: ServerWebSocket, codec: Codec) -> None:
        super().__init__(websocket, codec.subprotocol)
        self._codec = codec

    def read(self, frame: bytes) -> Upstream:
        """Read a message. JSON is taken from binary messages as well, but nothing binary from text."""
        if self._codec.binary and not isinstance(frame, BinaryMessage):
            raise ProtocolViolation(_UNSUPPORTED_DATA, f"{self._codec.subprotocol} has no text messages")
        return self._codec.decode_upstream(frame)

    def control_frame(self, message: Control) -> bytes:
        """Give the frame with an acknowledgement or the like."""
        return encode_frame(self._codec.encode_control(message), binary=self._codec.binary)

    def write(self, message: Numbered) -> bytes:
        """Write a message with its envelope, without a sequence id."""
        return self._codec.encode_data(message)

    def data_frame(self, written: bytes, sequence_id: int | None) -> bytes:
        """Give the frame with a message, its sequence id put in."""
        numbered = written if sequence_id is None else self._codec.with_sequence_id(written, sequence_id)
        return encode_frame(numbered, binary=self._codec.binary)


class SimpleLink(Link):
    """A client without one of the service's subprotocols: it sends and receives payloads without any envelope.

    Sources: "Client protocols" in the service's documentation; the mode that sends to a group is modelled on the
    official emulator.
    """

    def __init__(self, websocket: ServerWebSocket, publishing: Publishing | None) -> None:
        super().__init__(websocket, "")
        self._publishing = publishing

    def read(self, frame: bytes) -> Upstream:
        """Take a message for what this client's messages are: events, or messages to its group."""
        payload = Payload("binary", bytes(frame)) if isinstance(frame, BinaryMessage) else Payload("text", frame)
        if self._publishing is None:
            return SendEvent(event=_SIMPLE_EVENT, payload=payload)
        return SendToGroup(group=self._publishing.group, payload=payload, no_echo=self._publishing.no_echo)

    def control_frame(self, message: Control) -> None:
        """Give nothing: there is no form for it."""

    def write(self, message: Numbered) -> bytes:
        """Give the payload alone; text and JSON in text frames, all else in binary ones."""
        payload = message.payload if isinstance(message, DataMessage) else _NOTHING  # they cannot ask for anything else
        return payload.body if payload.data_type in ("text", "json") else BinaryMessage(payload.body)

    def data_frame(self, written: bytes, sequence_id: int | None) -> bytes:  # noqa: ARG002 - a simple client has none
        """Give the frame with a payload."""
        return encode_frame(written, binary=isinstance(written, BinaryMessage))
