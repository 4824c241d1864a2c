"""Headers of the handshake that the user adds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .._shell.version import VERSION

USER_AGENT = f"trio-webpubsub/{VERSION}"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_OURS = frozenset({"host", "connection", "upgrade", "content-length", "transfer-encoding", "user-agent"})


def handshake_headers(
    headers: Mapping[str, str] | Sequence[tuple[str, str]], user_agent: str | None
) -> list[tuple[bytes, bytes]]:
    """Check and encode what is added to the handshake.

    Raises:
        ValueError: a header cannot be sent, or belongs to the handshake; its value is not shown, it may be a secret.
    """
    items = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    for name, value in items:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:100]!r} cannot be the name of a header")
        if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"the header {name!r} belongs to the handshake (user_agent= sets User-Agent)")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of the header {name!r} holds characters that no header may hold")
    agent = USER_AGENT if user_agent is None else user_agent
    if not _VALUE.fullmatch(agent):
        raise ValueError("user_agent holds characters that no header may hold")
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in [("User-Agent", agent), *items]]
