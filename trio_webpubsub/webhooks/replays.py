"""The memory of events that were handled, so that one that comes again is answered and not handled again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

import trio

from ..protocol.cloudevents import MAX_ANSWER_SIZE, HttpAnswer
from .deadline import new_event


class ReplayMemory:
    """Remembers the answers to so many events, the oldest forgotten first; large ones count by their bytes as well.

    Only success is remembered: after a failure the service means what it asks.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: dict[Hashable, HttpAnswer] = {}  # the oldest first
        self._bytes = 0
        self._running: dict[Hashable, trio.Event | asyncio.Event] = {}

    async def answer(self, key: Hashable, handle: Callable[[], Awaitable[HttpAnswer]]) -> tuple[HttpAnswer, bool]:
        """Give the answer to an event, and whether it was known; an event that is being handled is waited for.

        Cancellation: The next who asks for the same event handles it.
        """
        while (running := self._running.get(key)) is not None:
            await running.wait()
        if (known := self._answers.get(key)) is not None:
            return known, True
        done = self._running[key] = new_event()
        try:
            answer = await handle()
        finally:
            del self._running[key]
            done.set()
        if answer.status < 400:
            self._remember(key, answer)
        return answer, False

    def _remember(self, key: Hashable, answer: HttpAnswer) -> None:
        self._answers[key] = answer
        self._bytes += len(answer.body)
        while len(self._answers) > self._size or self._bytes > MAX_ANSWER_SIZE:
            self._bytes -= len(self._answers.pop(next(iter(self._answers))).body)
