"""What becomes of a command's connection, told on standard error."""

from __future__ import annotations

from .. import ConnectAttemptFailed, Connected, Disconnected, Lifecycle, Recovered, RejoinFailed, Subscription
from .rendering import printable
from .terminal import notice


async def tell_changes(lifecycle: Subscription[Lifecycle]) -> None:
    """Tell when it is lost, and how it goes on, until the client's block ends.

    Raises:
        WebPubSubError: a group cannot be joined again.

    Cancellation: at any time.
    """
    async for change in lifecycle:
        match change:
            case Connected(first=False, connection_id=connection_id):
                notice(f"a new session began, connection {connection_id}", "yellow")
            case Disconnected(code=code, message=message):
                notice(f"the connection was lost ({printable(message or f'close code {code}')})", "yellow")
            case Recovered():
                notice("the session was recovered, and nothing is missing", "green")
            case ConnectAttemptFailed(error=error, next_delay=delay):
                then = "" if delay is None else f"; trying again in {delay:.1f} s"
                notice(f"{error}{then}", "yellow")
            case RejoinFailed(error=error):
                raise error
            case _:
                pass
