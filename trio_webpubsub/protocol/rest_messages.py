"""Messages as bodies of requests to the REST API.

Source: the data-plane specification 2024-12-01 (``specification/webpubsub`` in Azure/azure-rest-api-specs).
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

from .errors import MessageTooLarge
from .names import MAX_MESSAGE_SIZE, check_text
from .payloads import payload_of

ContentType: TypeAlias = Literal[
    "text/plain",
    "application/json",
    "application/octet-stream",
    "text/plain; charset=utf-8",
    "application/json; charset=utf-8",
]
"""What a message can be sent as."""

_TYPES = {"text": "text/plain", "json": "application/json", "binary": "application/octet-stream"}
_CONTENT_TYPE = re.compile(r'([a-z/-]+)\s*(?:;\s*charset=("?)([a-z0-9_.:-]+)\2\s*)?', re.IGNORECASE)


def encode_message(message: Any, content_type: str | None = None) -> tuple[str, bytes]:
    """Give a message's content type and bytes.

    ``str`` travels as text, bytes-like objects as binary, anything else as JSON. With a ``content_type``, bytes-like
    objects are sent as they are, a ``str`` can also be JSON, and anything else can only be JSON.

    Raises:
        ValueError: not a content type that messages can have, or a value that JSON does not have (NaN, infinity).
        TypeError: ``message`` cannot be sent as ``content_type``, or as JSON.
        MessageTooLarge: it has more than 1 MiB.
    """
    is_bytes = isinstance(message, bytes | bytearray | memoryview)
    if content_type is None:
        payload = payload_of(message)
        sent_as, body = _TYPES[payload.data_type], payload.body
    else:
        sent_as, media_type = _read_content_type(content_type, is_bytes=is_bytes)
        if is_bytes:
            body = payload_of(message).body
        elif media_type == "application/json":
            body = payload_of(message, "json").body
        elif media_type == "text/plain" and isinstance(message, str):
            body = payload_of(message).body
        else:
            raise TypeError(f"{type(message).__name__} cannot be sent as {media_type}")
    if len(body) > MAX_MESSAGE_SIZE:
        raise MessageTooLarge(len(body), MAX_MESSAGE_SIZE)
    return sent_as, body


def _read_content_type(content_type: str, *, is_bytes: bool) -> tuple[str, str]:
    """Give it as it is sent, and without its charset."""
    found = _CONTENT_TYPE.fullmatch(check_text(content_type, "content type").strip())
    media_type, charset = (found[1].lower(), (found[3] or "").lower()) if found else ("", "")
    if media_type not in _TYPES.values():
        raise ValueError(f"a message is sent as one of {', '.join(_TYPES.values())}")
    if charset not in ("", "utf-8", "utf8") and not is_bytes:
        raise ValueError("what is not bytes already is encoded as UTF-8, so the charset can only be that")
    return (f"{media_type}; charset={charset}" if charset else media_type), media_type
