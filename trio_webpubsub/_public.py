"""The names that the package has: `trio_webpubsub` takes them from here at the first use of one."""

from __future__ import annotations

from ._shell.connector import Connector
from .client.client import Client
from .client.group_state import GroupState
from .client.group_streams import GroupStream, GroupStreams
from .client.opening import open_client
from .client.statistics import ClientStatistics, StreamStatistics, SubscriptionStatistics
from .client.stream_writer import GroupStreamWriter
from .client.subscription import Subscription
from .errors import (
    AckTimeout,
    ClientStopped,
    ConnectFailed,
    DeliveryUnknown,
    GroupLost,
    InternalError,
    InvalidPayload,
    InvocationFailed,
    InvocationTimeout,
    MessageTooLarge,
    SendFailed,
    StreamFailed,
    StreamLost,
    SubscriptionOverflow,
    WebPubSubError,
)
from .protocol.messages import (
    ConnectAttemptFailed,
    Connected,
    DataType,
    Disconnected,
    Gap,
    GroupMessage,
    GroupStateChange,
    InvokeResult,
    Lifecycle,
    MemberState,
    Recovered,
    RejoinFailed,
    SendResult,
    ServerMessage,
    Stopped,
    StreamError,
    StreamInfo,
)
from .protocol.ticket import SessionTicket

__all__ = [
    "AckTimeout",
    "Client",
    "ClientStatistics",
    "ClientStopped",
    "ConnectAttemptFailed",
    "ConnectFailed",
    "Connected",
    "Connector",
    "DataType",
    "DeliveryUnknown",
    "Disconnected",
    "Gap",
    "GroupLost",
    "GroupMessage",
    "GroupState",
    "GroupStateChange",
    "GroupStream",
    "GroupStreamWriter",
    "GroupStreams",
    "InternalError",
    "InvalidPayload",
    "InvocationFailed",
    "InvocationTimeout",
    "InvokeResult",
    "Lifecycle",
    "MemberState",
    "MessageTooLarge",
    "Recovered",
    "RejoinFailed",
    "SendFailed",
    "SendResult",
    "ServerMessage",
    "SessionTicket",
    "Stopped",
    "StreamError",
    "StreamFailed",
    "StreamInfo",
    "StreamLost",
    "StreamStatistics",
    "Subscription",
    "SubscriptionOverflow",
    "SubscriptionStatistics",
    "WebPubSubError",
    "open_client",
]
