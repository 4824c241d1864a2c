"""What the service keeps of a reliable session, so that it survives the loss of its transport."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import deque
from collections.abc import Iterator
from itertools import compress

from ...protocol.wire import Numbered
from .limits import HubLimits


class ReplayBuffer:
    """The messages that the client has not confirmed, in the order of their sequence ids: 1, 2, 3 and so on."""

    def __init__(self, limits: HubLimits) -> None:
        self._most_messages = limits.unacknowledged_messages
        self._most_bytes = limits.unacknowledged_bytes
        # Side by side: a tuple for each would give the garbage collector a million objects to look at, over and over.
        self._messages: deque[Numbered] = deque()
        self._numbers: deque[int] = deque()
        self._expiries: deque[float] = deque()
        self._bytes = 0
        self._newest = 0

    def append(self, message: Numbered, *, now: float, expires: float = math.inf) -> int | None:
        """Keep one more message, which is of no use any more when it ``expires``.

        Returns:
            Its sequence id; ``None`` if there is no room, which ends the session.
        """
        size = self._bytes + message.size
        if len(self._messages) >= self._most_messages or size > self._most_bytes:
            self._drop_expired(now)
            size = self._bytes + message.size
            if len(self._messages) >= self._most_messages or size > self._most_bytes:
                return None
        self._bytes = size
        self._newest += 1
        self._messages.append(message)
        self._numbers.append(self._newest)
        self._expiries.append(expires)
        return self._newest

    def acknowledge(self, sequence_id: int) -> None:
        """Drop every message up to this one: sequence-acks are cumulative."""
        numbers = self._numbers
        while numbers and numbers[0] <= sequence_id:
            numbers.popleft()
            self._expiries.popleft()
            self._bytes -= self._messages.popleft().size

    def _drop_expired(self, now: float) -> None:
        kept = [now < expires for expires in self._expiries]
        self._messages = deque(compress(self._messages, kept))
        self._numbers = deque(compress(self._numbers, kept))
        self._expiries = deque(compress(self._expiries, kept))
        self._bytes = sum(message.size for message in self._messages)

    @property
    def is_half_full(self) -> bool:
        """Whether half of what the client may leave unconfirmed is there."""
        return len(self._messages) * 2 >= self._most_messages or self._bytes * 2 >= self._most_bytes

    def replay(self, now: float) -> Iterator[tuple[int, Numbered]]:
        """Give what is still of use, with sequence ids; those of expired messages are passed over."""
        self._drop_expired(now)
        return zip(self._numbers, self._messages, strict=True)


class ReconnectionTokens:
    """Makes and checks the reconnection tokens of one session.

    A client may not have received the newest token when its transport is lost, so every token ever given stays valid.
    They are therefore not kept but derived: a number, and its code under the session's secret.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._issued = 0

    def issue(self) -> str:
        """Give a token that was not given before."""
        self._issued += 1
        return self._token(b"%d" % self._issued).decode()

    def accept(self, token: str) -> bool:
        """Tell, in constant time, whether the token is one of this session."""
        given = token.encode(errors="replace")
        number, _, _ = given.partition(b".")
        return hmac.compare_digest(self._token(number), given)

    def _token(self, number: bytes) -> bytes:
        return number + b"." + hmac.new(self._secret, number, hashlib.sha256).hexdigest().encode()


class Session:
    """What makes a connection a reliable one."""

    def __init__(self, secret: bytes, limits: HubLimits) -> None:
        self.unconfirmed: ReplayBuffer = ReplayBuffer(limits)
        self.is_behind = False
        """Whether the buffer has been half full since the client was last far from losing its session."""
        self.tokens: ReconnectionTokens = ReconnectionTokens(secret)
