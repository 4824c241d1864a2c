"""What may stand in a header of HTTP, wherever the user adds some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..protocol.arguments import checked_pairs
from ..protocol.names import check_text
from .version import VERSION

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
"""Names and values; as a sequence, a name may be there more than once."""

USER_AGENT = f"trio-webpubsub/{VERSION}"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_BLANKS = " \t"


def checked_headers(headers: Headers) -> list[tuple[str, str]]:
    """Give the headers as a list if they can be sent. Blanks around a value are no part of it (RFC 9110, section 5.5).

    Raises:
        ValueError: one cannot; its value is not shown, it may be a secret.
        TypeError: it is neither a mapping nor a sequence of pairs, or a name or value is not a ``str``.
    """
    items = checked_pairs("headers", headers)
    for name, value in items:
        check_text(name, "name of a header")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:100]!r} cannot be the name of a header")
        if not _VALUE.fullmatch(check_text(value, "value of a header")):
            raise ValueError(f"the value of the header {name!r} holds characters that no header may hold")
    return [(name, value.strip(_BLANKS)) for name, value in items]


def checked_user_agent(user_agent: str | None) -> str:
    """Give what names the program to the other side, by default this library and its version.

    Raises:
        ValueError: it cannot be sent.
        TypeError: it is not a ``str``.
    """
    agent = USER_AGENT if user_agent is None else check_text(user_agent, "user_agent")
    if not _VALUE.fullmatch(agent):
        raise ValueError("user_agent holds characters that no header may hold")
    return agent.strip(_BLANKS)
