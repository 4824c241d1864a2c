"""Asks event handlers whether they want events at all, before the first one and now and then.

Source: the service's documentation, "Webhook validation" (the abuse protection of CloudEvents); how often it is done is
modelled on the official emulator. Here nothing is asked before somebody has an event: a result that is too old is
renewed beside it, and a handler that did not agree is asked once more, after a time that grows with each refusal.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import trio

from ..protocol.cloudevents_service import is_validated, write_validation
from .calls import Answer, CallFailed, Target, call
from .handlers import HandlerLimits

_logger = logging.getLogger("trio_webpubsub.emulator")


@dataclass(slots=True, eq=False)
class _Validation:
    """What is known of one event handler."""

    allowed: bool = False
    failures: int = 0
    due: float = 0.0
    """When it is to be asked again."""
    asking: trio.Lock = field(default_factory=trio.Lock)


class Validations:
    """Knows which event handlers agreed to get events."""

    def __init__(
        self,
        origins: Sequence[str],
        limits: HandlerLimits,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        """Start without knowledge.

        Args:
            origins: what the service is called; an agreement with any of them counts, and the first one is sent.
            limits: times.
            spawn: runs what nobody waits for.
        """
        self._origins = origins
        self._limits = limits
        self._spawn = spawn
        self._known: dict[Target, _Validation] = {}

    async def is_allowed(self, target: Target) -> bool:
        """Tell whether events may be sent there.

        Cancellation: changes nothing.
        """
        known = self._known.setdefault(target, _Validation())
        await trio.lowlevel.checkpoint()
        if not known.allowed:
            await self._renew(target, known)
        elif trio.current_time() >= known.due and not known.asking.locked():
            self._spawn(partial(self._renew, target, known))
        return known.allowed

    async def _renew(self, target: Target, known: _Validation) -> None:
        async with known.asking:
            if trio.current_time() >= known.due:
                await self._validate(target, known)

    async def _validate(self, target: Target, known: _Validation) -> None:
        reason = f"nothing came within {self._limits.validation_timeout:g} seconds"
        allowed = False
        with trio.move_on_after(self._limits.validation_timeout):
            try:
                answer = await self._request(target)
                allowed = any(is_validated(answer.status, answer.headers, origin) for origin in self._origins)
                reason = f"it answered {answer.status} without WebHook-Allowed-Origin for {self._origins[0]}"
            except CallFailed as error:
                reason = str(error)
        now = trio.current_time()
        known.allowed = allowed
        if allowed:
            known.failures = 0
            known.due = now + self._limits.validation_interval
        else:
            known.due = now + min(2.0**known.failures, self._limits.validation_interval)
            known.failures += 1
            _logger.warning("no events are sent to the event handler at %s: %s", target, reason)

    async def _request(self, target: Target) -> Answer:
        answer = await self._send(target, "OPTIONS")
        return await self._send(target, "GET") if answer.status == 404 else answer

    async def _send(self, target: Target, method: Literal["OPTIONS", "GET"]) -> Answer:
        event = write_validation(self._origins[0], method=method)
        return await call(target, event, retry_delays=self._limits.retry_delays, answer_size=self._limits.answer_size)
