"""What both sides of an event's HTTP request share: its names, its content types, its metadata, its signature.

Azure Web PubSub tells an application of what its clients do by CloudEvents 1.0 in HTTP's binary mode: attributes in
``ce-*`` headers, the data in the body. `cloudevents_handler` is the application's side, `cloudevents_service` the
service's; what handlers get to see stands in `cloudevents_values`.

Sources: the documentation's "CloudEvents extension for Azure Web PubSub event handler", the official emulator, and the
official handler libraries for JavaScript and .NET.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

import msgspec

from .arguments import check_several
from .errors import InvalidPayload
from .json_upstream import check_json
from .payloads import check_metadata, data_of
from .wire import Payload

SYSTEM_PREFIX = "azure.webpubsub.sys."
USER_PREFIX = "azure.webpubsub.user."
GROUP_PREFIX = "azure.webpubsub.gp."
METADATA_PREFIX = "x-webpubsub-metadata-"
MQTT_PREFIX = "mqtt-"

ORIGIN = "webhook-request-origin"
ALLOWED_ORIGIN = "webhook-allowed-origin"
STATE = "ce-connectionstate"

MAX_ANSWER_SIZE = 16 * 1024 * 1024
"""Bytes of a handler's answer that the service takes."""
MAX_STATE_SIZE = 16 * 1024
"""Characters of a connection's state that are sent; it travels as a header with every request."""
_MAX_SIGNATURES = 16
"""How many signatures of one request are looked at: the service sends one for each of its two keys."""

CONTENT_TYPES: Mapping[str, str] = {
    "text": "text/plain; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}
"""As what each data type is sent, in both directions."""
DATA_TYPES: Mapping[str, str] = {
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "binary",
    "application/x-protobuf": "protobuf",
}
"""The data type of each media type."""

# Looked up here and nowhere else: Python's own registry would import modules by names that came from outside.
_CHARSETS = {
    **dict.fromkeys(("", "utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "latin1"), "latin-1"),
    "windows-1252": "cp1252",
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be")},
}


class HttpAnswer(msgspec.Struct, frozen=True):
    """An HTTP response without its length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    body: bytes = b""


def signatures(keys: Iterable[str], connection_id: str) -> str:
    """Give the value of ``ce-signature``: one HMAC-SHA256 of the connection id for each access key.

    It covers neither the event nor its time: who saw one request of a connection can make others for it.
    """
    return ",".join(f"sha256={_digest(key, connection_id)}" for key in keys)


def is_signed(value: str, keys: Iterable[str], connection_id: str) -> bool:
    """Whether one of the signatures in ``value`` was made with one of the keys; takes as long whichever it is.

    Args:
        value: What ``ce-signature`` says; several lines of it joined with commas.
        keys: The access keys.
        connection_id: What ``ce-connectionId`` says.
    """
    found = [each.strip().lower() for each in value.split(",", _MAX_SIGNATURES)[:_MAX_SIGNATURES]]
    shown = [each.removeprefix("sha256=").encode() for each in found if each.startswith("sha256=")]
    good = False
    for key in keys:
        right = _digest(key, connection_id).encode()
        for each in shown:
            good |= hmac.compare_digest(each, right)
    return good


def media_type(content_type: str) -> str:
    """Give what stands before the parameters of a ``Content-Type``, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def data_from(body: bytes, data_type: str, content_type: str) -> object:
    """Give what a body holds, as the client would give it: a JSON value, ``str`` for text, else ``bytes``.

    The charset of the content type counts for text and JSON. No bytes at all are no value in JSON, which is how an
    event that only has metadata comes.

    Raises:
        InvalidPayload: The body does not hold what its data type says.
    """
    if data_type not in ("text", "json"):
        return body
    if not body:
        return "" if data_type == "text" else None
    return data_of(Payload(data_type, _in_utf8(body, data_type, content_type)))


def wire_body(body: bytes, data_type: str, content_type: str) -> bytes:
    """Give a body as it travels in a message: text and JSON in UTF-8, and JSON that is JSON.

    Raises:
        InvalidPayload: The body does not hold what its data type says.
    """
    if data_type not in ("text", "json"):
        return body
    body = _in_utf8(body, data_type, content_type)
    try:
        if data_type == "json":
            check_json(body)
        else:
            str(body, "utf-8")
    except ValueError:
        raise InvalidPayload(f"the {data_type} payload is not what its content type says") from None
    return body


def metadata_headers(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give the headers in which a message's metadata travels. Keys are in lower case, as HTTP has no other.

    Raises:
        ValueError: A key or value is not allowed (see `payloads.check_metadata`), or cannot stand in a header: control
            characters, white space at the ends.
        TypeError: A key or value is not a ``str``.
    """
    check_metadata(metadata)
    for key, value in metadata.items():
        if not (value.isprintable() and value == value.strip()):
            raise ValueError(f"the metadata value of {key!r} has control characters or outer white space")
    return [(METADATA_PREFIX + key.lower(), value) for key, value in metadata.items()]


def prefixed(headers: Iterable[tuple[str, str]], prefix: str) -> dict[str, str]:
    """Give the headers (names in lower case) whose names begin with ``prefix``, without it; the last of a name wins."""
    start = len(prefix)
    return {name[start:]: value for name, value in headers if name.startswith(prefix) and len(name) > start}


def check_texts(texts: Iterable[object], argument: str) -> tuple[str, ...]:
    """Give an argument that takes several texts as a tuple.

    Raises:
        TypeError: They are not texts, or are one text and not several.
        ValueError: One is empty.
    """
    several = check_several(argument, texts)
    good = tuple(text for text in several if isinstance(text, str))
    if len(good) < len(several):
        raise TypeError(f"{argument} takes a list of str")
    if not all(good):
        raise ValueError(f"an empty text is not one of {argument}")
    return good


def _digest(key: str, connection_id: str) -> str:
    return hmac.digest(key.encode(), connection_id.encode(), hashlib.sha256).hex()


def _in_utf8(body: bytes, data_type: str, content_type: str) -> bytes:
    if (codec := _CHARSETS.get(_charset(content_type))) is None:
        raise InvalidPayload(f"the {data_type} payload has a charset that is not known here")
    if codec == "utf-8":
        return body
    try:
        return body.decode(codec).encode()
    except UnicodeError as error:
        raise InvalidPayload(f"the {data_type} payload is not {codec}: {type(error).__name__}") from error


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""
