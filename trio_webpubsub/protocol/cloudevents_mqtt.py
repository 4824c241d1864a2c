"""What MQTT clients add to events: which session, what their packets said, and the codes that refuse them.

Sources: the documentation's "MQTT client protocol: CloudEvents", and for the pairs of status and code the official
handler library for JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

MqttProperties: TypeAlias = tuple[tuple[str, str], ...]
"""MQTT's user properties: names and values in order; a name may be there more than once."""


class MqttSession(msgspec.Struct, frozen=True, kw_only=True):
    """Which connection and session of MQTT an event belongs to; ``connection_id`` is the MQTT client id."""

    physical_connection_id: str
    """Names the WebSocket, since a client id outlives it."""
    session_id: str | None = None
    """``None`` while the client connects."""


class MqttConnect(MqttSession, frozen=True, kw_only=True):
    """What the CONNECT packet said."""

    protocol_version: int
    """4 for MQTT 3.1.1, 5 for MQTT 5.0."""
    username: str | None = None
    password: bytes | None = None
    clean_start: bool | None = None
    user_properties: MqttProperties = ()

    def __repr__(self) -> str:  # the password is a secret
        return f"MqttConnect(protocol_version={self.protocol_version}, username={self.username!r})"


class MqttDisconnect(MqttSession, frozen=True, kw_only=True):
    """How an MQTT session ended."""

    initiated_by_client: bool
    code: int | None = None
    """The reason code of the DISCONNECT packet; ``None`` when none came."""
    user_properties: MqttProperties = ()


class MqttMessage(MqttSession, frozen=True, kw_only=True):
    """What the PUBLISH packet of a user event said."""

    user_properties: MqttProperties = ()
    """Each name once: they come as headers."""


MOST_MQTT_CODE = 0xFF
"""A code is one byte."""

_STATUS_OF_V3_CODE: Mapping[int, int] = {1: 400, 2: 400, 3: 503, 4: 401, 5: 401}
_STATUS_OF_V5_CODE: Mapping[int, int] = {
    **dict.fromkeys((0x81, 0x83, 0x84, 0x85, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B), 400),
    **dict.fromkeys((0x86, 0x87), 401),
    0x8A: 403,
    **dict.fromkeys((0x97, 0x9F), 429),
}
_V3_CODE_OF_STATUS: Mapping[int, int] = {401: 5, 403: 5}
_V5_CODE_OF_STATUS: Mapping[int, int] = {401: 0x87, 403: 0x87, 429: 0x97, 503: 0x88}


def status_of_mqtt_code(code: int) -> int:
    """Give the HTTP status that goes with the code of a refused CONNECT; 500 for a code that refuses nothing."""
    return (_STATUS_OF_V3_CODE if code < 0x80 else _STATUS_OF_V5_CODE).get(code, 500)


def mqtt_code_of_status(status: int, protocol_version: int) -> int:
    """Give the code of a refused CONNECT for an HTTP status."""
    of_client = status < 500
    if protocol_version == 4:
        return _V3_CODE_OF_STATUS.get(status, 4 if of_client else 3)
    return _V5_CODE_OF_STATUS.get(status, 0x86 if of_client else 0x80)
