"""Messages as bodies of requests to the REST API.

Source: the data-plane specification 2024-12-01 (``specification/webpubsub`` in Azure/azure-rest-api-specs).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from .payloads import payload_of

ContentType: TypeAlias = Literal["text/plain", "application/json", "application/octet-stream"]
"""What a message can be sent as."""

_CONTENT_TYPES: dict[str, ContentType] = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
}


def encode_message(message: Any, content_type: ContentType | None = None) -> tuple[ContentType, bytes]:
    """Give a message's content type and bytes.

    ``str`` travels as text, bytes-like objects as binary, anything else as JSON. With a ``content_type``, bytes-like
    objects are sent as they are, a ``str`` can also be JSON, and anything else can only be JSON.

    Raises:
        ValueError: not a content type that messages can have, or a value that JSON does not have (NaN, infinity).
        TypeError: ``message`` cannot be sent as ``content_type``, or as JSON.
    """
    if content_type not in (None, *_CONTENT_TYPES.values()):
        raise ValueError(f"a message is sent as one of {', '.join(_CONTENT_TYPES.values())}")
    is_bytes = isinstance(message, bytes | bytearray | memoryview)
    if content_type is not None and is_bytes:
        return content_type, payload_of(message).body
    if content_type == "application/octet-stream" or (content_type == "text/plain" and not isinstance(message, str)):
        raise TypeError(f"{type(message).__name__} cannot be sent as {content_type}")
    payload = payload_of(message, "json" if content_type == "application/json" else None)
    return _CONTENT_TYPES[payload.data_type], payload.body
