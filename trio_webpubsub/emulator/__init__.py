"""The service itself, in this process or on a port: for development, demos and tests.

`open_emulator` serves WebSocket clients and the REST API over the same wire protocols as Azure Web PubSub. In memory it
does no real IO, so that tests of whole programs run on a virtual clock.
"""

from ..listener import Limits
from .certificate import SelfMadeCertificate
from .directory import DirectoryRole
from .emulator import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PORT,
    EmulatedConnection,
    Emulator,
    EmulatorOptions,
    open_emulator,
    serve_emulator,
)
from .faults import Cut
from .handlers import EventHandler, EventHandlers, GroupEvent, HandlerLimits, SystemEvent
from .hub.limits import HubLimits
from .record import Received, ReceivedMessage, ReceivedRequest

__all__ = [
    "DEFAULT_ACCESS_KEY",
    "DEFAULT_PORT",
    "Cut",
    "DirectoryRole",
    "EmulatedConnection",
    "Emulator",
    "EmulatorOptions",
    "EventHandler",
    "EventHandlers",
    "GroupEvent",
    "HandlerLimits",
    "HubLimits",
    "Limits",
    "Received",
    "ReceivedMessage",
    "ReceivedRequest",
    "SelfMadeCertificate",
    "SystemEvent",
    "open_emulator",
    "serve_emulator",
]
