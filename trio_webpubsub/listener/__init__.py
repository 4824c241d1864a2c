"""HTTP and WebSocket on one port, over any trio stream: TCP, TLS or memory."""

from .listener import Listener, check_server_context, open_listeners, open_sockets
from .values import Limits, Request, Response
from .websocket import ServerWebSocket, WebSocketRequest

__all__ = [
    "Limits",
    "Listener",
    "Request",
    "Response",
    "ServerWebSocket",
    "WebSocketRequest",
    "check_server_context",
    "open_listeners",
    "open_sockets",
]
