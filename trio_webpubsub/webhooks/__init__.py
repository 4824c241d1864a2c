"""The service's events, answered in Python: `WebhookApp` is an ASGI app, `serve_webhooks` a server for it.

Azure Web PubSub asks an application by HTTP whether a client may connect, hands it clients' events, and tells it of
connections that came and went. The handlers are async functions; what they get and give are values.
"""

from ..protocol.cloudevents import HttpAnswer
from ..protocol.cloudevents_mqtt import MqttConnect, MqttDisconnect, MqttMessage, MqttProperties, MqttSession
from ..protocol.cloudevents_values import (
    Accept,
    ClientCertificate,
    ConnectedEvent,
    ConnectRequest,
    DisconnectedEvent,
    GroupJoinedEvent,
    GroupLeftEvent,
    Reject,
    Reply,
    UserEvent,
)
from ..protocol.connection_state import ConnectionState, StoredState
from ..protocol.errors import EventRejected, InvalidToken
from .app import (
    Authenticate,
    ConnectedHandler,
    ConnectHandler,
    DisconnectedHandler,
    GroupJoinedHandler,
    GroupLeftHandler,
    UserEventHandler,
    WebhookApp,
)
from .entra import EntraVerifier
from .serve import serve_webhooks

__all__ = [
    "Accept",
    "Authenticate",
    "ClientCertificate",
    "ConnectHandler",
    "ConnectRequest",
    "ConnectedEvent",
    "ConnectedHandler",
    "ConnectionState",
    "DisconnectedEvent",
    "DisconnectedHandler",
    "EntraVerifier",
    "EventRejected",
    "GroupJoinedEvent",
    "GroupJoinedHandler",
    "GroupLeftEvent",
    "GroupLeftHandler",
    "HttpAnswer",
    "InvalidToken",
    "MqttConnect",
    "MqttDisconnect",
    "MqttMessage",
    "MqttProperties",
    "MqttSession",
    "Reject",
    "Reply",
    "StoredState",
    "UserEvent",
    "UserEventHandler",
    "WebhookApp",
    "serve_webhooks",
]
