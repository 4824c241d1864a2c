"""Headers of the handshake that the user adds."""

from __future__ import annotations

from .._shell.headers import Headers, checked_headers, checked_user_agent

_OURS = frozenset({"host", "connection", "upgrade", "content-length", "transfer-encoding", "user-agent"})


def handshake_headers(headers: Headers, user_agent: str | None) -> list[tuple[bytes, bytes]]:
    """Check and encode what is added to the handshake.

    Raises:
        ValueError: a header cannot be sent, or belongs to the handshake; its value is not shown, it may be a secret.
    """
    items = checked_headers(headers)
    for name, _ in items:
        if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"the header {name!r} belongs to the handshake (user_agent= sets User-Agent)")
    agent = ("User-Agent", checked_user_agent(user_agent))
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in [agent, *items]]
