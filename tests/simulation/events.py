"""What an actor sends to the event handlers, and whether what becomes of it is right."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import trio

from trio_webpubsub import AckTimeout, Client, DeliveryUnknown, InvocationFailed, SendFailed
from trio_webpubsub.testing import cancel_at

from .handlers import BAD, GOOD, SLOW, ApplicationServer
from .model import Model

UNHANDLED = "nobody"
"""An event that has no handler."""
_MANY_STEPS = 8


class Sender(Protocol):
    """An actor, as far as this is concerned."""

    name: str
    client: Client


class EventSender:
    """Sends events and invocations for an actor."""

    def __init__(self, sender: Sender, model: Model, server: ApplicationServer, chance: random.Random) -> None:
        self._sender = sender
        self._model = model
        self._server = server
        self._chance = chance
        self._sent = 0

    def actions(self) -> list[Callable[[], Awaitable[object]]]:
        """Give what there is to choose from."""
        step = self._chance.randint(1, _MANY_STEPS)
        return [
            partial(self._send, UNHANDLED),
            partial(self._send, GOOD),
            partial(self._send, GOOD),
            partial(self._send, BAD),
            partial(self._send, SLOW),
            partial(self._invoke, UNHANDLED),
            partial(self._invoke, GOOD),
            partial(self._invoke, BAD),
            partial(cancel_at, step, self._send, GOOD),
            partial(cancel_at, step, self._invoke, GOOD),
            self._invoke_several,
        ]

    async def _send(self, event: str) -> None:
        text = self._next_text()
        links = self._links()
        try:
            result = await self._sender.client.send_event(event, text)
        except (AckTimeout, DeliveryUnknown) as error:
            self._model.note(f"{text}: {error!r}")
        except SendFailed as error:
            self._failed(text, event, error)
        else:
            if result.duplicated:
                # Repeated after its link dropped: it has arrived, and what its handler says is not known yet.
                if self._links() == links:
                    raise self._model.fail(f"the event {event} {text} was asked for again on a living link")
                return
            if event in (BAD, UNHANDLED):
                raise self._model.fail(f"the event {event} {text} was acknowledged")
            if not self._server.ran[text]:
                raise self._model.fail(f"{text} was acknowledged, and nobody handled it")

    async def _invoke(self, event: str) -> None:
        text = self._next_text()
        try:
            result = await self._sender.client.invoke_event(event, text)
        except InvocationFailed as error:
            self._failed(text, event, error)
        else:
            if event != GOOD or result.data != self._server.answers.get(text) or result.metadata != {"of": text}:
                raise self._model.fail(f"the invocation {event} {text} was answered with {result}")

    async def _invoke_several(self) -> None:
        """Some at the same time, one of which is given up, so that answers could be mixed up."""
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(self._give_up if number == 1 else self._invoke, GOOD)

    async def _give_up(self, event: str) -> None:
        with trio.move_on_after(self._chance.uniform(0, 1)):
            await self._invoke(event)

    def _failed(self, text: str, event: str, error: SendFailed | InvocationFailed) -> None:
        """An event failed: one that is handled well, only if something stands between the service and the handler."""
        self._model.note(f"{text}: {error!r}")
        known = ("InternalServerError", "ConnectionLost", "Timeout")
        if error.name not in known or (event == GOOD and self._server.is_reliable and error.name == known[0]):
            raise self._model.fail(f"the event {event} {text} failed: {error!r}")

    def _links(self) -> int:
        """Count the links that there were."""
        statistics = self._sender.client.statistics()
        return statistics.recoveries + statistics.reconnects

    def _next_text(self) -> str:
        self._sent += 1
        return f"{self._sender.name}:e{self._sent}"
