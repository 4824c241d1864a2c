"""Connection strings: where a resource is, and the key that opens it.

Source: the formats that the official SDKs read (``Endpoint=https://...;AccessKey=...;Version=1.0;``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .names import check_text
from .urls import Address

_FORM = "it reads Endpoint=https://...;AccessKey=...;"


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A connection string, read. Its ``repr`` does not show the key."""

    endpoint: str
    """``https://host[:port]`` or ``http://host[:port]``: lower case, without a scheme's own port, without a slash."""
    access_key: str = field(repr=False)
    """The key as it stands: its UTF-8 bytes sign tokens, it is not decoded."""

    @classmethod
    def parse(cls, text: str) -> ConnectionString:
        """Read ``Key=Value`` pairs between semicolons.

        Case and order of the keys do not matter, unknown ones are passed over. ``Port`` takes the place of a port in
        ``Endpoint``.

        Raises:
            ValueError: something is missing, twice there or malformed; the text names the key and never shows a value,
                since a misplaced value may be the secret.
            TypeError: it is not a ``str``.
        """
        values: dict[str, str] = {}
        if (
            check_text(text, "connection string").strip().startswith(("'", '"'))
        ):  # files for Docker keep those of shells
            raise ValueError(f"the connection string stands in quotes, which do not belong to it: {_FORM}")
        for number, part in enumerate(text.split(";"), 1):
            if not part.strip():
                continue
            name, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"part {number} of the connection string is not of the form Key=Value: {_FORM}")
            key = name.strip().lower()
            if key in values:
                raise ValueError(f"part {number} of the connection string repeats a key")
            values[key] = value.strip()
        for key, name in (("endpoint", "Endpoint"), ("accesskey", "AccessKey")):
            if not values.get(key):
                raise ValueError(f"the connection string has no {name}: {_FORM}")
        return cls(_endpoint(values["endpoint"], values.get("port")), values["accesskey"])


def _endpoint(url: str, port: str | None) -> str:
    try:
        address = Address.parse(url)
    except ValueError as error:
        raise ValueError(f"Endpoint of the connection string: {error}") from None
    if address.scheme not in ("http", "https"):
        raise ValueError("Endpoint of the connection string must start with https:// or http://")
    if address.path.strip("/") or address.query:
        raise ValueError("Endpoint of the connection string must hold a host and at most a port, no path or query")
    if port is not None:
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise ValueError("Port of the connection string is not a number from 1 to 65535")
        address = replace(address, port=int(port))
    return f"{address.scheme}://{address.host_header}"
