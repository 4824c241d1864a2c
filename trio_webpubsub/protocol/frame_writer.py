"""WebSocket frames written: one message is always one frame, without extensions (RFC 6455, section 5)."""

from __future__ import annotations

import struct
from collections.abc import Callable

_MEDIUM_HEAD = struct.Struct(">BBH")
_LARGE_HEAD = struct.Struct(">BBQ")
_REASON_LIMIT = 123
"""Bytes that a close frame has for its text: 125, less two for the code (RFC 6455, section 5.5)."""


def encode_frame(payload: bytes, *, binary: bool = False, mask_key: bytes | None = None) -> bytes:
    """Write one complete message.

    Args:
        payload: UTF-8 for a text message (not checked here), anything for a binary one.
        binary: Which of the two it is.
        mask_key: Four unpredictable bytes, anew for each frame, on the client's side; ``None`` on the server's.
    """
    first = 0x82 if binary else 0x81
    size = len(payload)
    mask_bit = 0 if mask_key is None else 0x80
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65_536:
        head = _MEDIUM_HEAD.pack(first, mask_bit | 126, size)
    else:
        head = _LARGE_HEAD.pack(first, mask_bit | 127, size)
    if mask_key is None:
        return head + payload
    return head + mask_key + apply_mask(payload, mask_key)


def encode_close(code: int, reason: str = "", *, mask_key: bytes | None = None) -> bytes:
    """Write a close frame. A reason that is too long for it is cut, between two characters."""
    text = reason.encode()[:_REASON_LIMIT].decode(errors="ignore")
    return _control(0x88, code.to_bytes(2, "big") + text.encode(), mask_key)


def encode_ping(*, mask_key: bytes | None = None) -> bytes:
    """Write a ping that carries nothing."""
    return _control(0x89, b"", mask_key)


def mask_in_python(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask, which is the same operation (RFC 6455, section 5.3): each byte xor the key's byte of its turn."""
    # Two long integers are much the quickest way that the standard library has.
    size = len(payload)
    keys = key * ((size + 3) // 4)
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(keys[:size], "little")
    return masked.to_bytes(size, "little")


apply_mask: Callable[[bytes, bytes], bytes]
"""Does the same; in C, and many times as fast, where the extra ``speed`` is installed."""
try:
    from websockets import speedups
except ImportError:
    apply_mask = mask_in_python
else:
    apply_mask = speedups.apply_mask


def _control(first: int, payload: bytes, mask_key: bytes | None) -> bytes:
    """Write a control frame, which is never longer than the short form of the head can say."""
    if mask_key is None:
        return bytes((first, len(payload))) + payload
    return bytes((first, 0x80 | len(payload))) + mask_key + apply_mask(payload, mask_key)
