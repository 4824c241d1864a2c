"""HTTP and WebSocket on one port, over any trio stream: TCP, TLS or memory."""

from .listener import Listener, open_listeners
from .values import Limits, Request, Response
from .websocket import ServerWebSocket, WebSocketRequest

__all__ = ["Limits", "Listener", "Request", "Response", "ServerWebSocket", "WebSocketRequest", "open_listeners"]
