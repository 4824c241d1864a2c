"""What hubs, groups, events, users and connections may be called, and the limits that the service publishes.

Sources: the name patterns in the data-plane specification 2024-12-01 (``specification/webpubsub`` in
Azure/azure-rest-api-specs), the client specification (Azure/azure-webpubsub), and, for event names, the official
emulator.
"""

from __future__ import annotations

import re

MAX_MESSAGE_SIZE = 1024 * 1024
"""Bytes of one WebSocket message or REST body. The documentation says 1 MB, the official emulator takes 1 MiB."""
MAX_UNACKNOWLEDGED_MESSAGES = 1_000
"""Messages that the service keeps for a reliable connection before it ends the session."""
MAX_UNACKNOWLEDGED_BYTES = 16 * 1024 * 1024
"""Bytes that the service keeps for a reliable connection before it ends the session."""
ACK_IDS_REMEMBERED = 1_000
"""How many ack ids of one connection the service knows again (read in the official emulator)."""
RECOVERY_WINDOW = 30.0
"""Seconds for which the service keeps a session without a transport, at least."""
MAX_TTL_SECONDS = 300
"""The longest time to live that a message may ask for, in seconds; 0 stands for no end."""
MAX_HUB_NAME = 128
"""Characters."""
MAX_GROUP_NAME = 1_024
"""Characters."""
MAX_EVENT_NAME = 128
"""Characters."""

_HUB = re.compile(rf"[A-Za-z][A-Za-z0-9_`,.[\]]{{0,{MAX_HUB_NAME - 1}}}")
_EVENT = re.compile(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{MAX_EVENT_NAME - 1}}}")


def is_hub(name: str) -> bool:
    """Whether a hub may be called that."""
    return _HUB.fullmatch(name) is not None


def check_hub(name: str) -> str:
    """Give ``name`` back if a hub may be called that. The service does not tell upper from lower case here.

    Raises:
        ValueError: it may not; the text says what is allowed.
        TypeError: it is not a ``str``.
    """
    if not is_hub(check_text(name, "hub name")):
        allowed = f"a letter, then up to {MAX_HUB_NAME - 1} letters, digits and _ ` , . [ ]"
        raise ValueError(f"{_shown(name)} cannot be a hub name: allowed is {allowed}")
    return name


def check_group(name: str) -> str:
    """Give ``name`` back if a group may be called that. Upper and lower case differ.

    Raises:
        ValueError: it may not; the text says what is allowed.
        TypeError: it is not a ``str``.
    """
    if not 1 <= len(check_text(name, "group name")) <= MAX_GROUP_NAME or name.isspace() or "\n" in name:
        allowed = f"1 to {MAX_GROUP_NAME:,} characters without a line feed, not only white space"
        raise ValueError(f"{_shown(name)} cannot be a group name: allowed is {allowed}")
    return name


def check_event(name: str) -> str:
    """Give ``name`` back if an event may be called that. The service does not tell upper from lower case here.

    Raises:
        ValueError: it may not; the text says what is allowed.
        TypeError: it is not a ``str``.
    """
    if not _EVENT.fullmatch(check_text(name, "event name")):
        allowed = f"a letter, then up to {MAX_EVENT_NAME - 1} letters, digits and _ . -"
        raise ValueError(f"{_shown(name)} cannot be an event name: allowed is {allowed}")
    return name


def check_count(name: str, value: object, most: int | None = None, *, least: int = 0) -> int:
    """Give ``value`` back if it is a whole number from ``least`` to ``most``.

    Raises:
        ValueError: it is another number; the text names it.
        TypeError: it is no whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__!r}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {value}; it must be {least} {'or more' if most is None else f'to {most}'}")
    return value


def check_user_id(user_id: str) -> str:
    """Give ``user_id`` back if a user may be called that. No upper limit is published.

    Raises:
        ValueError: it is empty or only white space.
        TypeError: it is not a ``str``.
    """
    if not check_text(user_id, "user id").strip():
        raise ValueError(f"{_shown(user_id)} cannot be a user id: it must hold more than white space")
    return user_id


def check_connection_id(connection_id: str) -> str:
    """Give ``connection_id`` back if a connection may be called that.

    Raises:
        ValueError: it is empty.
        TypeError: it is not a ``str``.
    """
    if not check_text(connection_id, "connection id"):
        raise ValueError("a connection id cannot be empty")
    return connection_id


def check_access_key(key: str) -> str:
    """Give ``key`` back if it can be an access key.

    Raises:
        ValueError: it is empty, or a connection string, or has white space around it, such as the line end of the file
            that it was read from: it would sign, and fit nothing. The text does not show it.
        TypeError: it is not a ``str``.
    """
    if not check_text(key, "access key"):
        raise ValueError("an access key is empty")
    if key != key.strip():
        raise ValueError("an access key has white space around it, such as the line end of a file; strip that")
    if "accesskey=" in key.lower():
        raise ValueError("an access key is the key alone; this is a connection string")
    return key


def check_text(value: object, kind: str) -> str:
    """Give ``value`` back if it is a ``str`` that can be encoded; ``kind`` says in the error what it should have been.

    Raises:
        ValueError: it holds a lone surrogate.
        TypeError: it is not a ``str``.
    """
    if not isinstance(value, str):
        raise TypeError(f"{'an' if kind[0] in 'aeio' else 'a'} {kind} is a str, not {type(value).__name__}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the {kind} holds a lone surrogate, which no encoding can carry")
    return value


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
