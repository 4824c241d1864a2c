"""The error tree: everything under `WebPubSubError`, with fields for what a program may want to know."""

from __future__ import annotations

import trio

from .protocol.errors import InvalidPayload, MessageTooLarge, WebPubSubError

__all__ = [
    "AckTimeout",
    "ClientStopped",
    "ConnectFailed",
    "DeliveryUnknown",
    "GroupLost",
    "InternalError",
    "InvalidPayload",
    "InvocationFailed",
    "InvocationTimeout",
    "MessageTooLarge",
    "SendFailed",
    "StreamFailed",
    "StreamLost",
    "SubscriptionOverflow",
    "WebPubSubError",
]


class ConnectFailed(WebPubSubError):
    """No connection came about: nobody there, TLS failure, handshake rejected, no answer in time, no URL."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        """What was in the way, without a secret."""
        self.status = status
        """The HTTP status with which the service rejected the handshake, if it did."""


class ClientStopped(WebPubSubError):
    """The client gave up: there is no connection, and none will be tried. Its cause is the last `ConnectFailed`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the client stopped: {reason}")
        self.reason = reason
        """Why it gave up."""


class SendFailed(WebPubSubError):
    """The service answered that an operation failed.

    It did not run, except an event whose handler failed: ``InternalServerError``.
    """

    def __init__(self, ack_id: int, name: str, message: str) -> None:
        super().__init__(f"{name or 'unnamed error'}: {message}" if message else name or "refused without a reason")
        self.ack_id = ack_id
        """Under this id it can be tried again, as long as the session lasts: ``ack_id=``."""
        self.name = name
        """The service's name for the failure, such as ``Forbidden`` or ``InternalServerError``."""
        self.message = message
        """What the service says about it; may be empty."""


class AckTimeout(WebPubSubError, trio.TooSlowError):
    """The link lives, but no answer to an operation came in time. It may have run or not."""

    def __init__(self, ack_id: int) -> None:
        super().__init__(f"no ack for operation {ack_id} came in time; it may have run or not")
        self.ack_id = ack_id
        """Under this id it can be tried again, as long as the session lasts: ``ack_id=``."""


class DeliveryUnknown(WebPubSubError):
    """The session was lost after an operation was written and before its ack came. It may have run or not."""

    def __init__(self, ack_id: int) -> None:
        super().__init__(f"the session was lost before the ack of operation {ack_id} came; it may have run or not")
        self.ack_id = ack_id
        """The id that it had in the lost session."""


class InvocationFailed(WebPubSubError):
    """An invocation brought no result: the service or the handler refused, or the link dropped and nothing is known."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name
        """The service's name for the failure; ``ConnectionLost`` when the link dropped."""
        self.message = message
        """What the service says about it; may be empty."""


class InvocationTimeout(InvocationFailed, trio.TooSlowError):
    """No response to an invocation came in time. Its handler may have run or not."""


class SubscriptionOverflow(WebPubSubError):
    """A subscription's consumer was too slow for its buffer."""

    def __init__(self, dropped: int) -> None:
        super().__init__(f"the consumer was too slow: {dropped} message{'s' if dropped != 1 else ''} did not fit")
        self.dropped = dropped
        """How many messages were lost to this subscription."""


class GroupLost(WebPubSubError):
    """After a lost session the group could not be joined again; its messages no longer come."""

    def __init__(self, group: str, error: Exception) -> None:
        super().__init__(f"group {group!r} could not be joined again: {error}")
        self.group = group
        """The group that was lost."""
        self.error = error
        """Why it could not be joined again."""


class StreamFailed(WebPubSubError):
    """A group stream did not end as its sender wished, or was not opened (a preview of the service)."""

    def __init__(self, name: str, message: str, user_error_code: str | None = None) -> None:
        code = f" ({user_error_code})" if user_error_code else ""
        super().__init__(f"{name or 'unnamed error'}{code}: {message}" if message else f"{name}{code}" or "no reason")
        self.name = name
        """What kind of error, by the service: to a sender ``Forbidden`` or ``IdleTimeout``, say; to a reader
        ``UserError`` if the sender ended it with an error, ``Cancelled`` if the sender has gone. Given by this library:
        ``ProtocolViolation`` and ``Timeout`` to a sender; ``IdleTimeout``, ``Superseded`` (another stream began under
        the same name) and ``ClientClosed`` to a reader."""
        self.message = message
        """What the service or the sender says about it; may be empty."""
        self.user_error_code = user_error_code
        """The sender's own code: ``Exception`` or ``Cancelled`` where a block of this library was left like that."""


class StreamLost(WebPubSubError):
    """The session was lost, and with it a group stream that was being sent (a preview of the service)."""

    def __init__(self, acknowledged: int) -> None:
        super().__init__(f"the session was lost, and the stream with it; {acknowledged} fragments were acknowledged")
        self.acknowledged = acknowledged
        """How many of its first fragments are known to have been published; later ones may have been or not."""


class InternalError(WebPubSubError):
    """A defect of this library; please report it with the traceback."""
