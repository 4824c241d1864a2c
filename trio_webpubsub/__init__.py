"""A trio-native library for Azure Web PubSub.

This package holds the WebSocket client and the errors of all parts. The other parts are imported by name, so that
nobody loads what they do not use: `trio_webpubsub.service`, `trio_webpubsub.webhooks` and `trio_webpubsub.emulator`.
"""

from __future__ import annotations

from .client.client import Client, open_client
from .client.subscription import Subscription
from .errors import (
    AckTimeout,
    ClientStopped,
    ConnectFailed,
    DeliveryUnknown,
    GroupLost,
    InternalError,
    InvalidPayload,
    MessageTooLarge,
    SendFailed,
    SubscriptionOverflow,
    WebPubSubError,
)
from .protocol.messages import (
    ConnectAttemptFailed,
    Connected,
    DataType,
    Disconnected,
    GroupMessage,
    Lifecycle,
    Recovered,
    RejoinFailed,
    SendResult,
    ServerMessage,
    Stopped,
    StreamInfo,
)

__all__ = [
    "AckTimeout",
    "Client",
    "ClientStopped",
    "ConnectAttemptFailed",
    "ConnectFailed",
    "Connected",
    "DataType",
    "DeliveryUnknown",
    "Disconnected",
    "GroupLost",
    "GroupMessage",
    "InternalError",
    "InvalidPayload",
    "Lifecycle",
    "MessageTooLarge",
    "Recovered",
    "RejoinFailed",
    "SendFailed",
    "SendResult",
    "ServerMessage",
    "Stopped",
    "StreamInfo",
    "Subscription",
    "SubscriptionOverflow",
    "WebPubSubError",
    "open_client",
]
