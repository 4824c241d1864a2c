"""What has come of a reliable session, and when the service should be told.

The service numbers the messages of a session from 1 upwards and keeps each until a ``sequenceAck`` confirms its id or a
larger one; with 1,000 messages or 16 MB unconfirmed it ends the session. It sends again what was unconfirmed when a
transport was lost, so old ids do come back. An acknowledgement always holds the largest id that ever came, also when an
older one arrives again. (Sources: ``protocols/client/client-spec.md`` in Azure/azure-webpubsub, and the documentation's
how-to on reliable clients.)
"""

from __future__ import annotations

import math

ACK_AFTER_SECONDS = 1.0
"""How long the service waits at most to hear of a message, as its own clients have it."""
ACK_AFTER_MESSAGES = 100
"""So many messages are acknowledged at once: a tenth of what ends the session."""
ACK_AFTER_BYTES = 1024 * 1024
"""So many bytes are acknowledged at once: a sixteenth of what ends the session."""


class SequenceTracker:
    """Tells new messages from repeated ones, and knows when an acknowledgement is due."""

    __slots__ = ("_bytes", "_messages", "due", "newest")

    newest: int
    """The largest id that has come in this session; 0 before the first."""
    due: float
    """When to acknowledge, on the clock of ``now``; ``math.inf`` while there is nothing to acknowledge."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start over: a new session counts from 1 again."""
        self.newest = 0
        self._disarm()

    def note(self, sequence_id: int, size: int, now: float) -> bool:
        """Take note of a message of ``size`` bytes; false when it is one that has come before.

        A repetition arms the acknowledgement as well, since it shows that the service missed the last one.
        """
        self._arm(1, size, now)
        if sequence_id <= self.newest:
            return False
        self.newest = sequence_id
        return True

    def note_all(self, sequence_ids: list[int | None], size: int, now: float) -> bool:
        """Take note of messages of ``size`` bytes together, if all are new and follow one another, or have no ids.

        False, and nothing has changed, when each has to be noted by itself.
        """
        count = len(sequence_ids)
        if sequence_ids == list(range(self.newest + 1, self.newest + count + 1)):
            self._arm(count, size, now)
            self.newest += count
            return True
        return sequence_ids.count(None) == count

    def take(self, now: float) -> int | None:
        """Give the id to acknowledge if that is due, and count it as acknowledged."""
        if now < self.due:
            return None
        self._disarm()
        return self.newest

    def rearm(self, now: float) -> None:
        """Make an acknowledgement due at once, for what was written to the lost transport may have been lost with it.

        Does nothing while nothing has come.
        """
        if self.newest:
            self.due = now

    def _arm(self, messages: int, size: int, now: float) -> None:
        self._messages += messages
        self._bytes += size
        if self.due > now:
            if self._messages >= ACK_AFTER_MESSAGES or self._bytes >= ACK_AFTER_BYTES:
                self.due = now
            elif self.due == math.inf:
                self.due = now + ACK_AFTER_SECONDS

    def _disarm(self) -> None:
        self.due = math.inf
        self._messages = 0
        self._bytes = 0
