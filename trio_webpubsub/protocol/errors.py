"""The part of the error tree that the protocol core raises, so without trio. Users find it in ``trio_webpubsub``."""

from __future__ import annotations

from typing import Any

from .arguments import check_status, check_type


class WebPubSubError(Exception):
    """The root of all errors of this library, trio's own and wrong arguments (``ValueError``, ``TypeError``) apart."""

    def __reduce__(self) -> tuple[Any, ...]:
        # What an exception keeps in ``args`` is its text, but most of these are made of something else.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[WebPubSubError], args: tuple[object, ...]) -> WebPubSubError:
    """Make an error again that was copied or came from another process."""
    return kind.__new__(kind, *args)


class InvalidPayload(WebPubSubError):
    """A message's data does not fit the type that was asked for, or could not be decoded."""


class MessageTooLarge(WebPubSubError):
    """A message is larger than the service takes; nothing was sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message would have {size:,} bytes, the limit is {limit:,}")
        self.size = size
        """Bytes that it would have had."""
        self.limit = limit
        """Bytes that it may have."""


class ProtocolViolation(WebPubSubError):
    """What the other side sent breaks the protocol; ``code`` is the WebSocket close code that says so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} (close code {code})")
        self.code = code
        self.reason = reason


class UnreadableFrame(WebPubSubError):
    """A frame from the service whose envelope cannot be read."""


class InvalidToken(WebPubSubError):
    """A token that is not accepted; the text says why and never holds the token."""


class EventRejected(WebPubSubError):
    """Raised by an event handler: the event is refused, and the service told so. See `trio_webpubsub.webhooks`."""

    def __init__(self, status: int = 400, message: str = "") -> None:
        """Make the error.

        Args:
            status: The HTTP status, 400 to 599. The service runs an event again (up to three times) on 408 and from 500
                on.
            message: Goes to the service, which does not pass it on to the client.

        Raises:
            ValueError: The status does not refuse anything.
            TypeError: The status is no whole number, or the message no ``str``.
        """
        check_status(status, "an event is refused")
        check_type("message", message, str, "a str")
        super().__init__(message or f"refused with {status}")
        self.status = status
        self.message = message
