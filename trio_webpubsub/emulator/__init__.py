"""The service itself, in this process or on a port: for development, demos and tests.

`open_emulator` serves WebSocket clients and the REST API over the same wire protocols as Azure Web PubSub. In memory it
does no real IO, so that tests of whole programs run on a virtual clock.
"""

from .directory import DirectoryRole
from .emulator import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PORT,
    EmulatedConnection,
    Emulator,
    open_emulator,
    serve_emulator,
)
from .handlers import EventHandler, EventHandlers, GroupEvent, HandlerLimits, SystemEvent
from .hub.limits import HubLimits

__all__ = [
    "DEFAULT_ACCESS_KEY",
    "DEFAULT_PORT",
    "DirectoryRole",
    "EmulatedConnection",
    "Emulator",
    "EventHandler",
    "EventHandlers",
    "GroupEvent",
    "HandlerLimits",
    "HubLimits",
    "SystemEvent",
    "open_emulator",
    "serve_emulator",
]
