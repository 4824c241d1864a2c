"""The application's side of an event: the service's request read as a value, the handler's reply written as an answer.

`cloudevents_gate` has looked at the head of the request before.

Sources: as in `cloudevents`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import msgspec

from . import cloudevents as ce
from .cloudevents import HttpAnswer
from .cloudevents_gate import EventHead, RequestRefused
from .cloudevents_mqtt import (
    MqttConnect,
    MqttDisconnect,
    MqttMessage,
    MqttProperties,
    MqttSession,
    mqtt_code_of_status,
)
from .cloudevents_values import (
    Accept,
    ClientCertificate,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    Event,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    Reply,
    UserEvent,
)
from .connection_state import ConnectionState, StoredState
from .errors import EventRejected, InvalidPayload
from .payloads import payload_of

NO_CONTENT = HttpAnswer(204)
"""The answer that says yes and nothing else."""

_JSON = ("content-type", ce.CONTENT_TYPES["json"])
_TEXT = ("content-type", ce.CONTENT_TYPES["text"])
_PROPERTY_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_event(head: EventHead, body: bytes) -> Event:
    """Read an event.

    Raises:
        RequestRefused: The body is not what this kind of event has.
    """
    headers = head.headers
    mqtt = _mqtt_session(headers)
    common: dict[str, Any] = {
        "hub": headers["ce-hub"],
        "connection_id": headers["ce-connectionid"],
        "user_id": headers.get("ce-userid") or None,
        "event_id": headers.get("ce-id", ""),
        "time": _time(headers.get("ce-time", "")),
        "origin": headers[ce.ORIGIN],
        "subprotocol": headers.get("ce-subprotocol") or None,
        "request_headers": headers,
    }
    state = headers.get(ce.STATE)
    match head.kind:
        case "connect":
            return _connect_request(body, mqtt, {**common, "state": ConnectionState(state)})
        case "user":
            return _user_event(head, body, mqtt, {**common, "state": ConnectionState(state)})
        case "connected":
            return ConnectedEvent(**common, state=StoredState(state), mqtt=mqtt)
        case "disconnected":
            end = _decode(body, _DisconnectedBody)
            left = None if mqtt is None else _mqtt_disconnect(mqtt, end.mqtt or _MqttDisconnectBody())
            return DisconnectedEvent(**common, state=StoredState(state), reason=end.reason or "", mqtt=left)
        case _:
            kind = GroupJoinedEvent if head.kind == "joined" else GroupLeftEvent
            group = _decode(body, _GroupBody).group
            if not group:
                raise RequestRefused(400, f"the event {head.kind!r} names no group")
            return kind(**common, state=StoredState(state), group=group, mqtt=mqtt)


def answer_connect(request: ConnectRequest, reply: object) -> HttpAnswer:
    """Write the reply to a connect request: `Accept`, `Reject` or ``None``.

    Raises:
        ValueError: The subprotocol is none that the client offered, or the state cannot be stored.
        TypeError: ``reply`` is something else.
    """
    match reply:
        case None:
            return HttpAnswer(204, _state_headers(request.state))
        case Accept():
            if reply.subprotocol is not None and reply.subprotocol not in request.subprotocols:
                raise ValueError(f"the client did not offer the subprotocol {reply.subprotocol!r}")
            fields: dict[str, object] = {
                "userId": reply.user_id,
                "groups": reply.groups and list(reply.groups),
                "roles": None if reply.roles is None else list(reply.roles),
                "subprotocol": reply.subprotocol,
            }
            if request.mqtt is not None and reply.mqtt_user_properties:
                fields["mqtt"] = {"userProperties": _written_properties(reply.mqtt_user_properties)}
            given = {name: value for name, value in fields.items() if value is not None}
            state = _state_headers(request.state)
            return HttpAnswer(200, (_JSON, *state), msgspec.json.encode(given)) if given else HttpAnswer(204, state)
        case Reject():
            if request.mqtt is not None:
                return _mqtt_refusal(request.mqtt.protocol_version, reply)
            return HttpAnswer(reply.status, (_TEXT,), reply.reason.encode())
        case _:
            raise TypeError(f"a connect handler gives Accept, Reject or None, not {type(reply).__name__}")


def answer_event(event: UserEvent, value: object) -> HttpAnswer:
    """Write the reply to a user event: ``None``, a `Reply`, or what is to be sent.

    Raises:
        ValueError: It cannot be sent, is larger than 16 MiB, or the state cannot be stored.
        TypeError: It cannot be sent, or is the reply to a connect request.
    """
    reply = value if isinstance(value, Reply) else Reply(value)
    if isinstance(reply.data, Accept | Reject):  # as dataclasses they would go to the client, as JSON
        raise TypeError(f"{type(reply.data).__name__} is for connect requests; a user event raises EventRejected")
    headers = [*_state_headers(event.state)]
    if reply.metadata:
        headers += ce.metadata_headers(reply.metadata)
    if event.mqtt is not None:
        headers += _property_headers(reply.mqtt_user_properties or {})
    if reply.data is None and reply.data_type is None:
        # With metadata it is a message all the same, of an empty text.
        return HttpAnswer(200, (_TEXT, *headers)) if reply.metadata else HttpAnswer(204, tuple(headers))
    payload = payload_of(reply.data, reply.data_type)
    if len(payload.body) > ce.MAX_ANSWER_SIZE:
        raise ValueError(f"the reply has {len(payload.body):,} bytes, the limit is {ce.MAX_ANSWER_SIZE:,}")
    return HttpAnswer(200, (("content-type", ce.CONTENT_TYPES[payload.data_type]), *headers), payload.body)


def answer_rejection(event: Event, rejection: EventRejected) -> HttpAnswer:
    """Write what a handler's `EventRejected` means."""
    if isinstance(event, ConnectRequest):
        return answer_connect(event, Reject(rejection.status, rejection.message))
    return HttpAnswer(rejection.status, (_TEXT,), rejection.message.encode(errors="replace"))


# Bodies

_Lists: TypeAlias = dict[str, list[str] | str | None]


class _PropertyBody(msgspec.Struct):
    name: str
    value: str | None = None


class _MqttConnectBody(msgspec.Struct, rename="camel"):
    protocol_version: int | None = None
    username: str | None = None
    password: bytes | None = None
    clean_start: bool | None = None
    user_properties: list[_PropertyBody] | None = None


class _CertificateBody(msgspec.Struct):
    thumbprint: str
    content: str | None = None


class _ConnectBody(msgspec.Struct, rename="camel"):
    claims: _Lists | None = None
    query: _Lists | None = None
    headers: _Lists | None = None
    subprotocols: list[str] | None = None
    client_certificates: list[_CertificateBody] | None = None
    mqtt: _MqttConnectBody | None = None


class _DisconnectPacket(msgspec.Struct, rename="camel"):
    code: int | None = None
    user_properties: list[_PropertyBody] | None = None


class _MqttDisconnectBody(msgspec.Struct, rename="camel"):
    initiated_by_client: bool | None = None
    disconnect_packet: _DisconnectPacket | None = None


class _DisconnectedBody(msgspec.Struct):
    reason: str | None = None
    mqtt: _MqttDisconnectBody | None = None


class _GroupBody(msgspec.Struct):
    group: str | None = None


BodyT = TypeVar("BodyT")


def _decode(body: bytes, type_: type[BodyT]) -> BodyT:
    """Read a JSON object, of which every field may be missing or ``null`` and any may be new; so may the object be."""
    try:
        return msgspec.json.decode(b"{}" if body.strip() in (b"", b"null") else body, type=type_)
    except _UNREADABLE as error:
        # What msgspec says names fields and types, and quotes nothing.
        raise RequestRefused(400, f"the body is not what the event has: {error}") from None


def _connect_request(body: bytes, mqtt: MqttSession | None, common: Mapping[str, Any]) -> ConnectRequest:
    content = _decode(body, _ConnectBody)
    return ConnectRequest(
        **common,
        claims=_lists(content.claims),
        query=_lists(content.query),
        headers=_lists(content.headers),
        subprotocols=content.subprotocols or [],
        client_certificates=[
            ClientCertificate(thumbprint=each.thumbprint, content=each.content or "")
            for each in content.client_certificates or []
        ],
        mqtt=None if mqtt is None else _mqtt_connect(mqtt, content.mqtt or _MqttConnectBody()),
    )


def _user_event(head: EventHead, body: bytes, mqtt: MqttSession | None, common: Mapping[str, Any]) -> UserEvent:
    content_type = head.headers.get("content-type", "")
    data_type = ce.DATA_TYPES.get(ce.media_type(content_type), "binary")
    data: object = None
    data_error: str | None = None
    try:
        data = ce.data_from(body, data_type, content_type)
    except InvalidPayload as error:
        data_error = str(error)
    return UserEvent(
        **common,
        name=head.name,
        data=data,
        data_type=data_type,
        content_type=content_type,
        metadata=ce.prefixed(head.headers.items(), ce.METADATA_PREFIX),
        data_error=data_error,
        raw=None if data_error is None else body,
        mqtt=None if mqtt is None else _mqtt_message(mqtt, head.headers),
    )


def _lists(values: _Lists | None) -> dict[str, Sequence[str]]:
    return {name: [value] if isinstance(value, str) else value or [] for name, value in (values or {}).items()}


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# MQTT


def _mqtt_session(headers: Mapping[str, str]) -> MqttSession | None:
    physical = headers.get("ce-physicalconnectionid")
    if not physical or "mqtt" not in headers.get("ce-subprotocol", "").lower():
        return None
    return MqttSession(physical_connection_id=physical, session_id=headers.get("ce-sessionid") or None)


def _mqtt_connect(session: MqttSession, body: _MqttConnectBody) -> MqttConnect:
    return MqttConnect(
        physical_connection_id=session.physical_connection_id,
        session_id=session.session_id,
        protocol_version=5 if body.protocol_version is None else body.protocol_version,
        username=body.username,
        password=body.password,
        clean_start=body.clean_start,
        user_properties=_read_properties(body.user_properties),
    )


def _mqtt_disconnect(session: MqttSession, body: _MqttDisconnectBody) -> MqttDisconnect:
    packet = body.disconnect_packet or _DisconnectPacket()
    return MqttDisconnect(
        physical_connection_id=session.physical_connection_id,
        session_id=session.session_id,
        initiated_by_client=bool(body.initiated_by_client),
        code=packet.code,
        user_properties=_read_properties(packet.user_properties),
    )


def _mqtt_message(session: MqttSession, headers: Mapping[str, str]) -> MqttMessage:
    return MqttMessage(
        physical_connection_id=session.physical_connection_id,
        session_id=session.session_id,
        user_properties=tuple(ce.prefixed(headers.items(), ce.MQTT_PREFIX).items()),
    )


def _mqtt_refusal(protocol_version: int, reply: Reject) -> HttpAnswer:
    code = mqtt_code_of_status(reply.status, protocol_version) if reply.mqtt_code is None else reply.mqtt_code
    content: dict[str, object] = {"code": code}
    if reply.reason:
        content["reason"] = reply.reason
    if reply.mqtt_user_properties:
        content["userProperties"] = _written_properties(reply.mqtt_user_properties)
    return HttpAnswer(reply.status, (_JSON,), msgspec.json.encode({"mqtt": content}))


def _read_properties(properties: Sequence[_PropertyBody] | None) -> MqttProperties:
    return tuple((each.name, each.value or "") for each in properties or ())


def _written_properties(properties: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in properties]


def _property_headers(properties: Mapping[str, str]) -> list[tuple[str, str]]:
    for name, value in properties.items():
        if not _PROPERTY_NAME.fullmatch(name):
            raise ValueError(f"{name[:100]!a} cannot be the name of an MQTT property, which travels as a header")
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(
                f"the value of the MQTT property {name!r} is not printable ASCII without outer white space"
            )
    return [(ce.MQTT_PREFIX + name.lower(), value) for name, value in properties.items()]


# Answers


def _state_headers(state: ConnectionState) -> tuple[tuple[str, str], ...]:
    change = state.change()
    return () if change is None else ((ce.STATE, change),)
