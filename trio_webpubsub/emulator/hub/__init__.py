"""The service itself as a pure state machine: connections, users, groups, roles and reliable sessions of its hubs."""

from .effects import (
    Abort,
    AskConnect,
    AskEvent,
    Close,
    Deliver,
    Effect,
    Notice,
    Notify,
    Reject,
    Send,
    Token,
    Transport,
    Upgrade,
    Withdraw,
)
from .hub import Hub
from .hubs import Hubs
from .inputs import (
    UNHANDLED,
    ConnectAccepted,
    ConnectAnswer,
    ConnectRefused,
    ConnectRequest,
    EventAnswer,
    EventFailed,
    EventHandled,
)
from .registry import Connection, Registry

__all__ = [
    "UNHANDLED",
    "Abort",
    "AskConnect",
    "AskEvent",
    "Close",
    "ConnectAccepted",
    "ConnectAnswer",
    "ConnectRefused",
    "ConnectRequest",
    "Connection",
    "Deliver",
    "Effect",
    "EventAnswer",
    "EventFailed",
    "EventHandled",
    "Hub",
    "Hubs",
    "Notice",
    "Notify",
    "Registry",
    "Reject",
    "Send",
    "Token",
    "Transport",
    "Upgrade",
    "Withdraw",
]
