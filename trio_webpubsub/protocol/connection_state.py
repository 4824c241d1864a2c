"""What handlers keep about a connection: one text, which the service stores and sends with every later event.

By the convention of the official handler libraries the text is base64 of a JSON object. Here it is that object, decoded
when it is first looked at; whoever has a convention of their own uses `raw`.

Source: the documentation of ``ce-connectionState``, and the official handler libraries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import msgspec

from .cloudevents import MAX_STATE_SIZE
from .payloads import payload_of


class StoredState(Mapping[str, Any]):
    """A connection's state as it came with an event: the JSON object in it, by name."""

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: str | None = None) -> None:
        self._raw = raw
        self._values: dict[str, Any] | None = None

    @property
    def raw(self) -> str | None:
        """The text itself; ``None`` when none was ever stored."""
        return self._raw

    def __getitem__(self, name: str) -> Any:
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"  # the values are the user's and may be secret

    def _loaded(self) -> dict[str, Any]:
        """Give the object, which is empty where the text holds none, as in the official libraries."""
        if self._values is None:
            self._values = _decoded(self._raw)
        return self._values


class ConnectionState(StoredState, MutableMapping[str, Any]):
    """A connection's state, to be read and changed like a dictionary of JSON values; the answer carries the changes.

    It is stored when the handler has succeeded. The service asks about one event of a connection at a time, so to read
    and to write cannot collide.
    """

    __slots__ = ("_before", "_replaced")

    def __init__(self, raw: str | None = None) -> None:
        super().__init__(raw)
        self._before = b""
        """The object as it was when it was first looked at."""
        self._replaced = False

    @property
    def raw(self) -> str | None:
        """The text itself; ``None`` when none was ever stored. Setting it puts the text in the object's place.

        Raises:
            ValueError: When set: it cannot stand in a header, or is longer than 16 KiB.
            TypeError: When set: it is not a ``str``.
        """
        return self.change() if self._changed() else self._raw

    @raw.setter
    def raw(self, text: str) -> None:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users may not check types
            raise TypeError(f"the state of a connection is a str, not {type(text).__name__}")
        self._raw = _checked(text)
        self._values = None
        self._replaced = True

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - the same
            raise TypeError(f"a name in the state of a connection is a str, not {type(name).__name__}")
        self._loaded()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._loaded()[name]

    def change(self) -> str | None:
        """Give the text to be stored; ``None`` when nothing changed, within the values included.

        Raises:
            ValueError: It would be longer than 16 KiB, or a value has no form in JSON.
            TypeError: A value has no form in JSON.
        """
        if self._changed():
            return _checked(base64.b64encode(payload_of(self._values, "json").body).decode())
        return self._raw if self._replaced else None

    def _changed(self) -> bool:
        return self._values is not None and payload_of(self._values, "json").body != self._before

    def _loaded(self) -> dict[str, Any]:
        if self._values is None:
            self._before = payload_of(super()._loaded(), "json").body
        return super()._loaded()


def _decoded(raw: str | None) -> dict[str, Any]:
    if not raw:
        return {}
    text = raw.replace("-", "+").replace("_", "/")  # both alphabets and a missing end are read, as by Node.js
    try:
        return msgspec.json.decode(base64.b64decode(text.rstrip("=") + "=="), type=dict[str, Any])
    except (binascii.Error, ValueError, RecursionError):
        return {}


def _checked(text: str) -> str:
    if len(text) > MAX_STATE_SIZE:
        raise ValueError(f"the state of a connection has {len(text):,} characters, the limit is {MAX_STATE_SIZE:,}")
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise ValueError("the state of a connection is printable ASCII without outer white space")
    return text
