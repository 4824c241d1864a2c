"""Python values made into what travels: the one place that decides how a value is sent, and what cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard, cast, get_args

import msgspec

from .arguments import check_type
from .errors import InvalidPayload
from .messages import DataType
from .names import check_text
from .wire import Payload

_DATA_TYPES: tuple[str, ...] = get_args(DataType)
_METADATA_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")

_BYTES = (bytes, bytearray, memoryview)

_encode = msgspec.json.Encoder().encode


def payload_of(data: Any, data_type: str | None = None) -> Payload:
    """Make ``data`` ready for sending.

    Args:
        data: Without ``data_type``, ``str`` travels as text, ``bytes``, ``bytearray`` and ``memoryview`` as binary, and
            all else as JSON: what msgspec encodes, as ``None``, numbers, lists, mappings, dataclasses and ``datetime``.
        data_type: ``"text"``, ``"json"``, ``"binary"`` or ``"protobuf"`` (the bytes of a ``google.protobuf.Any``) where
            the choice by type is not the one wanted: a ``str`` with ``"json"`` travels as a JSON string.

    Raises:
        TypeError: ``data`` cannot travel as that data type.
        ValueError: ``data_type`` is unknown, or ``data`` holds what its data type has no form for: NaN or Infinity or
            a reference to itself in JSON, a lone surrogate in any text.
    """
    if data_type is None:
        if isinstance(data, str):
            return Payload("text", _utf8(data))
        data_type = "binary" if _is_bytes(data) else "json"
    match data_type:
        case "text":
            if not isinstance(data, str):
                other = "binary" if _is_bytes(data) else "json"
                raise TypeError(f"text is sent from a str, not from {_kind(data)}; data_type={other!r} would take it")
            return Payload(data_type, _utf8(data))
        case "json":
            if _is_bytes(data):
                raise TypeError(f"JSON has no form for {_kind(data)}; data_type='binary' would take it")
            return Payload(data_type, _json(data))
        case "binary" | "protobuf":
            if not _is_bytes(data):
                raise TypeError(f"{data_type} is sent from bytes, not from {_kind(data)}")
            return Payload(data_type, bytes(data))
        case _:
            raise ValueError(f"data_type is {data_type!r}, which is none of {', '.join(map(repr, _DATA_TYPES))}")


def data_of(payload: Payload) -> Any:
    """Give what a payload holds: the opposite of `payload_of`.

    Raises:
        InvalidPayload: it does not hold what its data type says.
    """
    try:
        match payload.data_type:
            case "text":
                return payload.body.decode()
            case "json":
                return msgspec.json.decode(payload.body)
            case _:
                return payload.body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayload(f"the {payload.data_type} payload cannot be decoded: {type(error).__name__}") from error


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check what a message's ``metadata`` may hold: a client that sends anything else has its connection closed.

    Raises:
        TypeError: it is no mapping, or a key or value is not a ``str``.
        ValueError: a key is empty, longer than 256 characters, or holds others than a token of HTTP may; a value is not
            ASCII or longer than 1,024; all together are longer than 8,192. (So Microsoft's emulator.)
    """
    check_type("metadata", metadata, Mapping, "a mapping of str to str")
    size = 0
    for key, value in metadata.items():
        check_text(key, "metadata key")
        check_text(value, "metadata value")
        if not _METADATA_KEY.fullmatch(key):
            raise ValueError(f"a metadata key is 1 to 256 letters, digits or any of !#$%&'*+-.^_`|~, not {key[:300]!a}")
        if not value.isascii() or len(value) > 1024:
            raise ValueError(f"the metadata value of {key!r} is not ASCII text of at most 1,024 characters")
        size += len(key) + len(value)
    if size > 8192:
        raise ValueError(f"the metadata has {size:,} characters, the limit is 8,192")


def check_state(state: object) -> dict[str, str]:
    """Give a copy of what a connection may set as its state in a group.

    Raises:
        TypeError: it is no mapping of ``str`` to ``str``.
        ValueError: a text holds a lone surrogate.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a mapping of str to str, not {_kind(state)}")
    items = cast("Mapping[object, object]", state).items()
    return {check_text(key, "state key"): check_text(value, "state value") for key, value in items}


def _is_bytes(data: object) -> TypeGuard[bytes | bytearray | memoryview]:
    return isinstance(data, _BYTES)


def _kind(value: object) -> str:
    return type(value).__name__


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text holds a lone surrogate at index {error.start}, which is not Unicode") from None


def _json(data: Any) -> bytes:
    try:
        text = _encode(data)
        # msgspec writes NaN and Infinity as null without a word: only where a null is there is something to look for.
        non_finite = b"null" in text and _holds_non_finite(data)
    except TypeError as error:
        raise TypeError(f"the data ({_kind(data)}) has no form in JSON: {error}") from None
    except UnicodeEncodeError:
        raise ValueError(f"a string in the data ({_kind(data)}) holds a lone surrogate, which is not Unicode") from None
    except ValueError as error:
        raise ValueError(f"the data ({_kind(data)}) has no form in JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"the data ({_kind(data)}) is nested too deeply for JSON, or holds itself") from None
    if non_finite:
        raise ValueError(f"the data ({_kind(data)}) holds NaN or Infinity, for which JSON has no form")
    return text


def _holds_non_finite(data: Any) -> bool:
    # The hook is for msgspec.Raw alone, since everything else was encoded before; what stands in it was JSON already.
    values = [msgspec.to_builtins(data, enc_hook=lambda _: None)]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        elif isinstance(value, float) and not math.isfinite(value):
            return True
    return False
