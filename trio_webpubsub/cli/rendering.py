"""What comes from others, as text or as JSON: on one line each, and without power over the terminal."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def printable(text: str, keep: str = "") -> str:
    """Escape what is not printable: a line end would end the line, and ESC begins a command to the terminal."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode("ascii") for each in text
    )


def text_of(data: Any, data_type: str | None, keep: str = "") -> str:
    """Show a message's data as text: JSON as such, bytes in base64."""
    if isinstance(data, bytes):
        return f"({data_type}) {base64.b64encode(data).decode('ascii')}"
    return printable(data, keep) if data_type == "text" else _json(data)


def json_line(values: Mapping[str, Any]) -> str:
    """Show values as a JSON object: bytes in base64, and ``None`` only where it is ``data``."""
    return _json(
        {
            name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
            for name, value in values.items()
            if value is not None or name == "data"
        }
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
