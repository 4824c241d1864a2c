"""What event handlers get and give: one value per kind of event, and the replies to those that wait for one.

What a client says about itself (claims, query, headers, certificates, password) stands in no ``repr``, and neither do
the headers of the request, which may hold a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar, get_args

import msgspec

from .arguments import check_choice, check_several, check_status, check_type, checked_pairs
from .cloudevents_mqtt import MOST_MQTT_CODE, MqttConnect, MqttDisconnect, MqttMessage, MqttSession, status_of_mqtt_code
from .connection_state import ConnectionState, StoredState
from .errors import InvalidPayload
from .messages import DataType
from .names import check_count, check_group, check_text
from .payloads import check_metadata
from .roles import check_role

T = TypeVar("T")


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate with which a client connects, where the resource asks for them."""

    thumbprint: str
    """SHA-1, in hexadecimal digits."""
    content: str = ""
    """PEM."""


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    hub: str
    """As the service spells it; upper and lower case do not differ."""
    connection_id: str
    """Unique; for MQTT clients the client id, which they choose."""
    user_id: str | None
    """``None`` for an anonymous client."""
    event_id: str
    """Unique within the connection; the service sends an event again under the same id."""
    time: datetime | None
    """When it happened, to the second; ``None`` where the service does not say it in a way that can be read."""
    origin: str
    """The host name of the service that asks."""
    subprotocol: str | None
    """Which one the client and the service speak; ``None`` for a simple client."""
    request_headers: Mapping[str, str]
    """The headers of the service's request, by lower-case name, for what has no field here."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of connection {self.connection_id!r} to hub {self.hub!r}>"


class ConnectRequest(_Event, frozen=True, kw_only=True):
    """A client wants to connect; the service waits for the reply."""

    claims: Mapping[str, Sequence[str]]
    """Of the client's token."""
    query: Mapping[str, Sequence[str]]
    """Of the client's URL, without the token."""
    headers: Mapping[str, Sequence[str]]
    """Of the client's request, as the client and what is before the service spell them."""
    subprotocols: Sequence[str]
    """What the client offers to speak, in its order."""
    client_certificates: Sequence[ClientCertificate]
    """What the client shows. The service lets clients in without any: it is for you to refuse them."""
    state: ConnectionState
    """What is put into it is kept for the connection."""
    mqtt: MqttConnect | None
    """Set for MQTT clients."""


class ConnectedEvent(_Event, frozen=True, kw_only=True):
    """A client has connected. An event of its own may have been faster."""

    state: StoredState
    """What handlers have kept for the connection; it can be read here."""
    mqtt: MqttSession | None
    """Set for MQTT clients."""


class DisconnectedEvent(_Event, frozen=True, kw_only=True):
    """A connection has ended for good; a lost link that is recovered does not count."""

    reason: str
    """Free text, may be empty; not made for programs to read."""
    state: StoredState
    """What handlers have kept for the connection; it can be read here."""
    mqtt: MqttDisconnect | None
    """Set for MQTT clients."""


class UserEvent(_Event, frozen=True, kw_only=True):
    """A client sent an event, or a simple client a message; the service waits for the reply."""

    name: str
    """``"message"`` for every message of a simple client."""
    data: Any
    """What was sent: a JSON value, ``str`` for text, ``bytes`` for binary and protobuf."""
    data_type: str
    """``"json"``, ``"text"``, ``"binary"`` or ``"protobuf"``; binary for any other content type."""
    content_type: str
    """As it came, which MQTT clients choose freely."""
    metadata: Mapping[str, str]
    """What the client attached to the event, keys in lower case."""
    data_error: str | None = None
    """Why ``data`` could not be decoded; then ``data`` is ``None`` and ``raw`` holds what came."""
    raw: bytes | None = None
    """The body as it came, only where it could not be decoded."""
    state: ConnectionState
    """May be changed; the changes are kept if the event succeeds."""
    mqtt: MqttMessage | None
    """Set for MQTT clients."""

    def __repr__(self) -> str:
        return f"<UserEvent {self.name!r} of connection {self.connection_id!r} to hub {self.hub!r}>"

    def decode_as(self, type: type[T]) -> T:
        """Give ``data`` as a value of ``type``: a dataclass, ``TypedDict``, msgspec struct, or what else msgspec knows.

        Raises:
            InvalidPayload: ``data`` does not fit ``type``, or could not be decoded in the first place. Let out of the
                handler, it refuses the event.
        """
        if self.data_error is not None:
            raise InvalidPayload(self.data_error)
        try:
            return msgspec.convert(self.data, type)
        except msgspec.ValidationError as error:
            raise InvalidPayload(str(error)) from error


class GroupEvent(_Event, frozen=True, kw_only=True):
    """A connection came into a group or went out of it; the class says which (a preview of the service)."""

    group: str
    """Which one."""
    state: StoredState
    """What handlers have kept for the connection; it can be read here."""
    mqtt: MqttSession | None
    """Set for MQTT clients."""


class GroupJoinedEvent(GroupEvent, frozen=True, kw_only=True):
    """A connection came into a group (a preview of the service)."""


class GroupLeftEvent(GroupEvent, frozen=True, kw_only=True):
    """A connection went out of a group (a preview of the service)."""


Event: TypeAlias = ConnectRequest | ConnectedEvent | DisconnectedEvent | UserEvent | GroupJoinedEvent | GroupLeftEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class Accept:
    """The reply that lets a client connect; what is ``None`` stays as its token says.

    Raises:
        ValueError: A group cannot be called that, a role cannot be written so, or a text holds a lone surrogate.
        TypeError: Not texts, or one text where several are expected.
    """

    user_id: str | None = None
    """Whom the client is; ``""`` for nobody."""
    groups: Sequence[str] | None = None
    """What it is a member of from the beginning. (The service takes an empty list for none given.)"""
    roles: Sequence[str] | None = None
    """What it may do; an empty list takes away what the token allows."""
    subprotocol: str | None = None
    """Which of the offered ones is spoken; by default the first that the service knows."""
    mqtt_user_properties: Sequence[tuple[str, str]] = ()
    """For the CONNACK packet of MQTT 5.0."""

    def __post_init__(self) -> None:
        if self.user_id is not None:
            check_text(self.user_id, "user id")
        for group in () if self.groups is None else check_several("groups", self.groups):
            check_group(group)
        for role in () if self.roles is None else check_several("roles", self.roles):
            check_role(role)
        if self.subprotocol is not None:
            check_text(self.subprotocol, "subprotocol")
        _check_properties(self.mqtt_user_properties)


@dataclass(frozen=True, slots=True)
class Reject:
    """The reply that does not let a client connect.

    Raises:
        ValueError: The status does not refuse anything, or MQTT has no such code.
        TypeError: A value is of the wrong type.
    """

    status: int = 401
    """What the client's handshake fails with, 400 to 599. On 408 and from 500 on the service asks again, up to three
    times, and then tells the client 500."""
    reason: str = ""
    """Goes to the service; do not count on the client getting to see it."""
    _: KW_ONLY
    mqtt_code: int | None = None
    """MQTT's own code; by default the one that goes with the status."""
    mqtt_user_properties: Sequence[tuple[str, str]] = ()
    """For the CONNACK packet of MQTT 5.0."""

    def __post_init__(self) -> None:
        check_status(self.status, "a client is rejected")
        check_text(self.reason, "reason")
        if self.mqtt_code is not None:
            check_count("mqtt_code", self.mqtt_code, MOST_MQTT_CODE)
        _check_properties(self.mqtt_user_properties)

    @classmethod
    def with_mqtt_code(cls, code: int, reason: str = "", *, user_properties: Sequence[tuple[str, str]] = ()) -> Reject:
        """Reject an MQTT client by one of its own codes: a return code of MQTT 3.1.1 or a reason code of MQTT 5.0.

        Args:
            code: The status that goes with it is found.
            reason: For MQTT 5.0's reason string.
            user_properties: For MQTT 5.0.
        """
        status = status_of_mqtt_code(check_count("code", code, MOST_MQTT_CODE))
        return cls(status, reason, mqtt_code=code, mqtt_user_properties=user_properties)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client gets for its event, where the type of the value alone does not say it.

    An empty text and no bytes at all are no message: nothing is sent for them.

    Raises:
        ValueError: There is no such data type, or metadata cannot be like that.
        TypeError: Metadata or properties are no mapping.
    """

    data: Any = None
    """As for the client's sends: ``str`` is text, bytes-like is binary, anything else JSON."""
    _: KW_ONLY
    data_type: str | None = None
    """``"text"``, ``"json"``, ``"binary"`` or ``"protobuf"`` where that choice is not the one wanted. ``Reply(None)``
    is no message; with ``"json"`` it is a ``null``."""
    metadata: Mapping[str, str] | None = None
    """Attached to the message; keys travel in lower case."""
    mqtt_user_properties: Mapping[str, str] | None = None
    """Attached to the message for an MQTT client; names travel in lower case."""

    def __post_init__(self) -> None:
        if self.data_type is not None:
            check_choice("data_type", self.data_type, get_args(DataType))
        if self.metadata is not None:
            check_metadata(self.metadata)
        if self.mqtt_user_properties is not None:
            check_type("mqtt_user_properties", self.mqtt_user_properties, Mapping, "a mapping of str to str")
            _check_properties(list(self.mqtt_user_properties.items()))


def _check_properties(properties: Sequence[tuple[str, str]]) -> None:
    if isinstance(properties, Mapping):
        raise TypeError("mqtt_user_properties are pairs, since a name may be there more than once; not a mapping")
    for name, value in checked_pairs("mqtt_user_properties", properties):
        check_text(name, "name of an MQTT property")
        check_text(value, "value of an MQTT property")
