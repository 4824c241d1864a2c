"""What callers get for what became of their operations and invocations."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import AckTimeout, ClientStopped, DeliveryUnknown, InvocationFailed, InvocationTimeout, SendFailed
from ..protocol import wire
from ..protocol.invocations import Invocation
from ..protocol.pending import HandedOver, Operation, Refused, Unanswered, Unknown
from ..protocol.session import DETACHED


def error_of(operation: Operation, stopped_error: Callable[[], Exception]) -> Exception:
    """Say what became of an operation that was not done.

    Args:
        operation: with its outcome.
        stopped_error: gives what stands for the end of the client.
    """
    match operation.outcome:
        case Refused(error=error):
            return SendFailed(operation.ack_id, error.name, f"{error.message}{_advice(operation.message, error)}")
        case Unanswered():
            return AckTimeout(operation.ack_id)
        case Unknown():
            return DeliveryUnknown(operation.ack_id)
        case HandedOver():
            return ClientStopped(f"{DETACHED}; whoever has the ticket goes on with this operation")
        case _:  # never sent
            return stopped_error()


def response_of(invocation: Invocation, raise_if_stopped: Callable[[], None]) -> wire.InvokeResponse:
    """Give the response to an invocation that is over.

    Args:
        invocation: what was asked.
        raise_if_stopped: raises what stands for the end of the client.

    Raises:
        InvocationFailed: there is none, or it tells of a failure.
    """
    match invocation:
        case Invocation(response=wire.InvokeResponse(success=True) as response):
            return response
        case Invocation(response=wire.InvokeResponse(error=error)):
            error = error or wire.WireError("", "the service gave no reason")
            raise InvocationFailed(error.name, error.message)
        case Invocation(timed_out=True):
            raise InvocationTimeout("Timeout", "no response came in time; the handler may have run or not")
        case _:
            raise_if_stopped()
            raise InvocationFailed(
                "ConnectionLost", "the link dropped before a response came; the handler may have run or not"
            )


def role_to_send(group: str) -> str:
    """Say which role sending to a group takes, messages and streams alike."""
    return f"this takes the role webpubsub.sendToGroup or webpubsub.sendToGroup.{group}"


def _advice(message: wire.Acknowledged, error: wire.WireError) -> str:
    """Say which role an operation would have taken."""
    if error.name != "Forbidden":
        return ""
    match message:
        case wire.JoinGroup(group=group) | wire.LeaveGroup(group=group):
            return (
                f" (this takes the role webpubsub.joinLeaveGroup or webpubsub.joinLeaveGroup.{group};"
                " where the membership comes from elsewhere, use group_messages(..., join=False))"
            )
        case wire.SendToGroup(group=group):
            return f" ({role_to_send(group)})"
        case wire.SetGroupState():
            return " (this takes the role webpubsub.setGroupState)"
        case wire.SubscribeGroupState() | wire.UnsubscribeGroupState():
            return " (this takes the role webpubsub.getGroupState)"
        case _:
            return ""
