"""What a subprotocol's codec does: values of `wire` to the bytes of one WebSocket message, and back."""

from __future__ import annotations

from typing import Protocol

from . import wire
from .messages import GroupMessage, ServerMessage


class Codec(Protocol):
    """One subprotocol, both directions. Codecs hold no state: one serves every connection."""

    @property
    def subprotocol(self) -> str:
        """The name offered in ``Sec-WebSocket-Protocol``."""
        ...

    @property
    def reliable(self) -> bool:
        """Whether messages carry sequence ids, and sessions survive their transport."""
        ...

    @property
    def binary(self) -> bool:
        """Whether messages travel as binary frames."""
        ...

    # The client's side

    def encode_upstream(self, message: wire.Upstream) -> bytes:
        """Write a message to the service."""
        ...

    def decode_downstream(self, frame: bytes) -> wire.Downstream:
        """Read a message from the service; a payload that cannot be decoded is a value of its message.

        Raises:
            UnreadableFrame: the envelope itself cannot be read.
        """
        ...

    def decode_messages(self, frames: list[bytes]) -> list[GroupMessage | ServerMessage] | None:
        """Read frames in one step, if all are messages as most are; ``None`` if each needs a look of its own."""
        ...

    # The service's side

    def decode_upstream(self, frame: bytes) -> wire.Upstream:
        """Read a message from a client.

        Raises:
            ProtocolViolation: with the close code that the service answers.
        """
        ...

    def encode_control(self, message: wire.Control) -> bytes:
        """Write a message to one client."""
        ...

    def encode_data(self, message: wire.Numbered) -> bytes:
        """Write, once for all its recipients, a message without its sequence id."""
        ...

    def with_sequence_id(self, data_message: bytes, sequence_id: int) -> bytes:
        """Give the output of `encode_data` one recipient's sequence id, without writing it anew."""
        ...
