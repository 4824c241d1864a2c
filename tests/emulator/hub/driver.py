"""Short ways to drive a hub in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trio_webpubsub.emulator.hub import AskEvent, ConnectAccepted, ConnectRequest, Deliver, Effect, Hub, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import Ack, ConnectedMessage, DataMessage, Payload

PLAIN = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
BOTH_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


def make_hub(limits: HubLimits | None = None, **options: Any) -> Hub:
    return Hub(limits or HubLimits(), **options)


def text(value: str) -> Payload:
    return Payload("text", value.encode())


def open_connection(
    hub: Hub,
    transport: int,
    *,
    connection_id: str | None = None,
    reliable: bool = False,
    simple: bool = False,
    user_id: str | None = None,
    roles: Sequence[str] = BOTH_ROLES,
    groups: Sequence[str] = (),
) -> str:
    """Open a connection called ``c-<transport>`` and give its reconnection token ("" if it is not reliable)."""
    request = ConnectRequest(
        connection_id=connection_id or f"c-{transport}",
        session_secret=b"secret",
        subprotocols=[] if simple else [RELIABLE if reliable else PLAIN],
        user_id=user_id,
        roles=roles,
        groups=groups,
    )
    hub.connect(transport, request)
    hub.answer_connect(transport, ConnectAccepted())
    effects = hub.transport_opened(transport)
    if simple:
        return ""
    (effect,) = effects
    return token_of(effect)


def token_of(effect: Effect) -> str:
    assert isinstance(effect, Send)
    assert isinstance(effect.message, ConnectedMessage)
    return effect.message.reconnection_token or ""


def question_of(effects: list[Effect]) -> AskEvent:
    (effect,) = effects
    assert isinstance(effect, AskEvent)
    return effect


def error_name(effects: list[Effect]) -> str:
    """The name of the error in the one ack that these effects are."""
    (effect,) = effects
    assert isinstance(effect, Send)
    assert isinstance(effect.message, Ack)
    assert not effect.message.success
    assert effect.message.error is not None
    return effect.message.error.name


def received(effects: list[Effect], transport: int) -> list[tuple[str, int | None]]:
    """The texts delivered to a transport, with their sequence ids."""
    return [
        (effect.message.payload.body.decode(), number)
        for effect in effects
        if isinstance(effect, Deliver) and isinstance(effect.message, DataMessage)
        for recipient, number in effect.recipients
        if recipient == transport
    ]


def send_to_all(hub: Hub, payload: Payload, **options: Any) -> list[Effect]:
    """Send what a server sends to everybody."""
    excluded = options.pop("excluded", ())
    return hub.send_to(hub.registry.select(excluded=excluded), payload, now=0, **options)


def send_to_group(hub: Hub, group: str, payload: Payload, **options: Any) -> list[Effect]:
    """Send what a server sends to a group."""
    excluded = options.pop("excluded", ())
    return hub.send_to(hub.registry.select(group=group, excluded=excluded), payload, now=0, group=group, **options)


def send_to_user(hub: Hub, user_id: str, payload: Payload, **options: Any) -> list[Effect]:
    """Send what a server sends to a user."""
    return hub.send_to(hub.registry.select(user_id=user_id), payload, now=0, **options)


def send_to_connection(hub: Hub, connection_id: str, payload: Payload, **options: Any) -> list[Effect]:
    """Send what a server sends to a connection."""
    return hub.send_to(hub.registry.select(connection_id=connection_id), payload, now=0, **options)
