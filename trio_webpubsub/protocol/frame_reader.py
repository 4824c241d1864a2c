"""WebSocket frames read: complete messages cut out of the bytes of a connection, many at once.

This is the hot path of every client, so it does not walk a state machine byte by byte: whatever came is one buffer,
and each message is one slice of it. What is left over waits in a second buffer until as much as its frame needs is
there, so that a large message is not looked at, nor copied, each time that a piece of it comes.

The reader decides about data frames alone. Control frames are checked and handed on as they came, since somebody else
answers them. No extension is ever negotiated, hence reserved bits are illegal. All rules are those of RFC 6455,
sections 5 and 7.4.
"""

from __future__ import annotations

import codecs
import struct
from typing import NamedTuple

from .errors import ProtocolViolation
from .frame_writer import apply_mask

_FINAL = 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0x0, 0x1, 0x2, 0x8
_FINAL_TEXT = _FINAL | _TEXT
_EMPTY_TEXT = _FINAL_TEXT << 8
"""The first two bytes of a whole text message, unmasked; its length is added to them if it is below 126."""
_MEDIUM_TEXT = _EMPTY_TEXT | 126
"""The same two bytes where the length stands in the next two."""
_FIRST_CONTROL = _FINAL | _CLOSE
"""Among legal first bytes, this one and those above are control frames."""
_LEGAL_FIRST_BYTES = frozenset((0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A))

_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1014), *range(3000, 5000)))
"""What may stand in a close frame: what wsproto, which has to answer it, takes too; IANA also lists 1014 by now."""
_NO_CODE = 1005

_utf8 = codecs.getincrementaldecoder("utf-8")
_two_words = struct.Struct(">HH").unpack_from

_SMALL_PIECE = 1_024
"""Pieces of a frame below this size are put together at once, so that a peer that trickles costs no object for each."""


class BinaryMessage(bytes):
    """The payload of a binary message; that of a text message is plain ``bytes``."""

    __slots__ = ()


class CloseFrame(NamedTuple):
    """What the peer's close frame said."""

    code: int
    """1005 when it held none."""
    reason: str


class FrameReader:
    """One direction of one connection: bytes in, messages out.

    Args:
        masked: True on the server's side, since every frame of a client is masked and none of a server.
        max_message_size: In bytes, counted over all fragments of a message and before they are kept.
    """

    def __init__(self, *, masked: bool, max_message_size: int) -> None:
        self.close: CloseFrame | None = None
        """Set once the peer's close frame was read; nothing behind it is."""
        self.violation: ProtocolViolation | None = None
        """Set once something illegal was read; nothing behind it is."""
        self._mask_bit = 0x80 if masked else 0
        self._max_message_size = max_message_size
        self._pieces: list[bytes | bytearray] = []
        """The start of a frame whose end has not come."""
        self._missing = 0
        """How many more bytes have to come before ``_pieces`` are worth a look."""
        self._control = bytearray()
        self._fragments: bytearray | None = None
        """The payloads of a message whose last frame has not come; ``None`` between messages."""
        self._fragments_text: codecs.IncrementalDecoder | None = None
        """Checks the text of ``_fragments``; ``None`` where they are binary."""

    def feed(self, data: bytes) -> list[bytes]:
        """Give the payload of every message that ``data`` completes, in order. See `close` and `violation` then.

        A text message is plain ``bytes``, known to be UTF-8, a binary one a `BinaryMessage`.
        """
        messages: list[bytes] = []
        if self.close is not None or self.violation is not None:
            return messages
        position = 0
        try:
            while self._pieces:  # only the frame they begin is put together, not all that comes behind it
                if len(data) - position < self._missing:
                    self._keep(data[position:])
                    return messages
                rest = data[position : position + self._missing]
                position += len(rest)
                frame = b"".join((*self._pieces, rest))
                self._pieces.clear()
                self._cut_and_keep(frame, 0, messages)
            self._cut_and_keep(data, position, messages)
        except ProtocolViolation as violation:
            self.violation = violation.with_traceback(None)  # it would keep the buffers alive
        return messages

    def take_control(self) -> bytes:
        """Give the control frames that came since the last call, as they came: masked, if they were."""
        control = bytes(self._control)
        self._control.clear()
        return control

    def _cut_and_keep(self, data: bytes, position: int, messages: list[bytes]) -> None:
        if self.close is not None:
            return
        position, needed = self._cut(data, position, messages)
        if position < len(data):
            self._missing = needed
            self._keep(data[position:])

    def _keep(self, data: bytes) -> None:
        self._missing -= len(data)
        last = self._pieces[-1] if self._pieces else None
        if len(data) >= _SMALL_PIECE:
            self._pieces.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._pieces.append(bytearray(data))

    def _cut(self, data: bytes, position: int, messages: list[bytes]) -> tuple[int, int]:
        """Cut every complete frame from ``position`` on.

        Gives where the first incomplete one starts, and how many bytes it needs.
        """
        mask_bit = self._mask_bit
        key_size = 4 if mask_bit else 0
        max_message_size = self._max_message_size
        append = messages.append
        # The first byte of a frame that is a whole text message, and so needs the least care.
        plain = _FINAL_TEXT if self._fragments is None else None
        size = len(data)
        while size - position >= 2:
            if plain is not None and not mask_bit:
                # Nearly all that a client gets is whole messages of text below 64 KiB.
                while size - position >= 4:
                    head, length = _two_words(data, position)
                    if head == _MEDIUM_TEXT and length > 125:
                        start = position + 4
                    elif _EMPTY_TEXT <= head < _MEDIUM_TEXT:
                        length = head - _EMPTY_TEXT
                        start = position + 2
                    else:
                        break
                    end = start + length
                    payload = data[start:end]
                    if end > size or length > max_message_size:
                        break
                    if not payload.isascii():
                        _check_text(payload)
                    append(payload)
                    position = end
                if size - position < 2:
                    break
            first = data[position]
            length = data[position + 1] ^ mask_bit
            if length > 127:
                raise ProtocolViolation(1002, "a frame that has to be masked is not" if mask_bit else "a masked frame")
            if first != plain:
                self._check_head(first, length)

            start = position + 2
            if length > 125:
                start += 2 if length == 126 else 8
                if start > size:
                    return position, start - position
                if length == 126:
                    length = data[position + 2] << 8 | data[position + 3]
                    shortest = 126
                else:
                    length = int.from_bytes(data[position + 2 : start], "big")
                    shortest = 65_536
                if not shortest <= length < 1 << 63:
                    raise ProtocolViolation(1002, "a frame's length is not written as the protocol asks")
            if length > max_message_size or first != plain:
                self._check_size(first, length)
            start += key_size
            end = start + length
            if end > size:
                return position, end - position

            payload = data[start:end]
            if mask_bit:
                payload = apply_mask(payload, data[start - 4 : start])
            if first == plain:
                if not payload.isascii():
                    _check_text(payload)
                append(payload)
            elif first < _FIRST_CONTROL:
                self._add_fragment(first, payload, messages)
                plain = _FINAL_TEXT if self._fragments is None else None
            else:
                if first == _FIRST_CONTROL:
                    self.close = _read_close(payload)
                self._control += data[position:end]
                if self.close is not None:
                    return size, 0
            position = end
        return position, 2

    def _check_head(self, first: int, length: int) -> None:
        """Check all that the first two bytes of a frame can tell."""
        if first not in _LEGAL_FIRST_BYTES:
            raise ProtocolViolation(1002, f"a frame that starts with 0x{first:02x}")
        if first >= _FIRST_CONTROL:
            if length > 125:
                raise ProtocolViolation(1002, "a control frame of more than 125 bytes")
        elif first & 0x0F == _CONTINUATION:
            if self._fragments is None:
                raise ProtocolViolation(1002, "a continuation of no message")
        elif self._fragments is not None:
            raise ProtocolViolation(1002, "a message inside another one")

    def _check_size(self, first: int, length: int) -> None:
        if first < _FIRST_CONTROL and length + len(self._fragments or b"") > self._max_message_size:
            raise ProtocolViolation(1009, f"a message of more than {self._max_message_size:,} bytes")

    def _add_fragment(self, first: int, payload: bytes, messages: list[bytes]) -> None:
        """Take a data frame that is not a whole text message."""
        opcode = first & 0x0F
        final = first >= _FINAL
        if opcode == _BINARY and final:
            messages.append(BinaryMessage(payload))
            return
        if self._fragments is None:
            self._fragments = bytearray()
            self._fragments_text = _utf8() if opcode == _TEXT else None
        self._fragments += payload
        if self._fragments_text is not None:
            _check_text(payload, self._fragments_text, final=final)
        if final:
            message = BinaryMessage if self._fragments_text is None else bytes
            messages.append(message(self._fragments))
            self._fragments = self._fragments_text = None


def _check_text(text: bytes, decoder: codecs.IncrementalDecoder | None = None, *, final: bool = True) -> None:
    """Check a whole text; or, with the decoder of the parts before, one part of it."""
    try:
        if decoder is None:
            text.decode()
        else:
            decoder.decode(text, final)
    except UnicodeDecodeError:
        valid = False
    else:
        valid = True
    # Raised out here, since the codec's error holds the text and would be this one's context.
    if not valid:
        raise ProtocolViolation(1007, "text that is not UTF-8")


def _read_close(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(_NO_CODE, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in _CLOSE_CODES:
        raise ProtocolViolation(1002, "a close frame without a legal code")
    _check_text(payload[2:])
    return CloseFrame(code, payload[2:].decode())
