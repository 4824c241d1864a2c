"""``python -m trio_webpubsub demo``: three clients and a service in conversation, told on the terminal and counted.

Without a connection string everything happens in this process, over real sockets: the emulator plays the service, and
it cuts one connection half-way. With one, the same conversation is held at a real resource, without the cut.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import trio

from . import Client, Disconnected, Recovered, SendFailed, Subscription, open_client
from ._shell.randomness import system_bytes
from .emulator import open_emulator
from .service import Service, open_service

NAMES = ("ann", "bob", "cat")
BURST = 200
PATIENCE = 5.0
"""Seconds to wait for messages that should have come."""

Say = Callable[[str], None]


class Ledger:
    """Writes down who should hear what, and who heard it; nothing in the summary is assumed."""

    def __init__(self) -> None:
        self.expected: Counter[tuple[str, str]] = Counter()  # (listener, what)
        self.heard: Counter[tuple[str, str]] = Counter()
        self.sent: int = 0
        self.out_of_order: int = 0
        self._newest: dict[tuple[str, str, str], int] = {}  # by listener, subscription and speaker
        self._changed = trio.Event()

    def expect(self, what: str, listeners: tuple[str, ...]) -> None:
        """Note that something was sent."""
        self.sent += 1
        self.expected.update((listener, what) for listener in listeners)

    def hear(self, listener: str, data: Any, *, over: str) -> None:
        """Note that something was heard over a subscription; what is not of this demo is passed over."""
        match data:
            case {"speaker": str(speaker), "number": int(number)}:
                self.heard[listener, f"{speaker} {number}"] += 1
                newest = self._newest.get((listener, over, speaker), 0)
                if number < newest:
                    self.out_of_order += 1
                self._newest[listener, over, speaker] = max(number, newest)
            case _:
                return
        self._changed.set()
        self._changed = trio.Event()

    @property
    def lost(self) -> int:
        """How much of what should have been heard has not been."""
        return (self.expected - self.heard).total()

    @property
    def repeated(self) -> int:
        """How much was heard more often than it was sent."""
        return (self.heard - self.expected).total()

    async def settle(self) -> None:
        """Wait until everything was heard, or for as long as patience lasts."""
        with trio.move_on_after(PATIENCE):
            while self.lost:
                await self._changed.wait()


class Speaker:
    """Numbers what somebody says, so that it can be accounted for."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self._name = name
        self._ledger = ledger
        self._number = 0

    def phrase(self, text: str, listeners: tuple[str, ...] = NAMES) -> dict[str, Any]:
        """Make a message that ``listeners`` are expected to hear."""
        self._number += 1
        self._ledger.expect(f"{self._name} {self._number}", listeners)
        return {"speaker": self._name, "number": self._number, "text": text}


async def run_demo(connection_string: str | None, hub: str) -> bool:
    """Hold the conversation; gives whether nothing was lost, repeated or out of order."""
    # What the client logs about the cut is told by the story.
    logging.getLogger("trio_webpubsub").addHandler(logging.NullHandler())
    start = trio.current_time()

    def say(text: str) -> None:
        print(f"{trio.current_time() - start:6.2f} s  {text}", flush=True)

    async with AsyncExitStack() as stack:
        cut: Callable[[str], None] | None = None
        if connection_string is None:
            emulator = await stack.enter_async_context(open_emulator())
            connection_string = emulator.connection_string
            cut = emulator.cut
            say(f"An emulated service listens on {emulator.endpoint}.")
        service = await stack.enter_async_context(open_service(connection_string, hub))
        ledger = Ledger()
        await _converse(service, ledger, say, cut)
    return _sum_up(ledger, say)


async def _converse(service: Service, ledger: Ledger, say: Say, cut: Callable[[str], None] | None) -> None:
    tag = system_bytes(4).hex()  # at a real resource there may be others
    group = f"lobby-{tag}"
    users = {name: f"{name}-{tag}" for name in NAMES}
    voices = {name: Speaker(name, ledger) for name in (*NAMES, "service")}
    async with _clients(service, users, group, ledger) as clients:
        say("ann, bob and cat are connected and have joined the lobby.")

        async def chat(name: str, text: str) -> None:
            say(f"{name}: {text}")
            await clients[name].send_to_group(group, voices[name].phrase(text))

        await chat("ann", "Hello! Who is here?")
        await chat("bob", "Me. The coffee is ready.")
        await chat("cat", "On my way.")
        await ledger.settle()

        say("The service speaks to the lobby, to bob, and to cat's connection.")
        announce = voices["service"].phrase
        await service.send_to_group(group, announce("The lobby closes at ten."))
        await service.send_to_user(users["bob"], announce("Your parcel is here.", ("bob",)))
        await service.send_to_connection(str(clients["cat"].connection_id), announce("You are welcome.", ("cat",)))
        await ledger.settle()

        say("ann sends an event to the hub's event handler.")
        try:
            await clients["ann"].send_event("order", {"coffee": 1})
        except SendFailed as error:
            say(f"  Nobody handles it, and she is told: {error}")
        else:
            say("  Somebody handles it.")

        if cut is not None:
            await _show_recovery(clients["bob"], chat, ledger, say, cut)

        say(f"Now all at once: {BURST} messages from each of them.")
        async with trio.open_nursery() as nursery:
            for name in NAMES:
                nursery.start_soon(_burst, clients[name], group, voices[name])
        await ledger.settle()
        say(f"  {BURST * len(NAMES)} messages, each to be heard by all three, are through.")


async def _show_recovery(
    bob: Client,
    chat: Callable[[str, str], Awaitable[None]],
    ledger: Ledger,
    say: Say,
    cut: Callable[[str], None],
) -> None:
    async with bob.lifecycle() as lifecycle:
        say("bob's connection is cut; the others talk on.")
        cut(str(bob.connection_id))
        await chat("ann", "bob? Are you there?")
        await chat("cat", "We lost him.")
        with trio.move_on_after(PATIENCE):
            async for event in lifecycle:
                match event:
                    case Disconnected(code=code):
                        say(f"  bob's client noticed: the link ended with code {code}.")
                    case Recovered():
                        say("  bob's client has recovered the session.")
                        break
                    case _:
                        pass
        await ledger.settle()
        say(f"  bob heard it all, {'nothing' if not ledger.lost else ledger.lost} is missing.")
        await chat("bob", "I am here. What was the question?")
        await ledger.settle()


async def _burst(client: Client, group: str, voice: Speaker) -> None:
    for number in range(BURST - 1):
        await client.send_to_group(group, voice.phrase(f"message {number}"), ack=False)
    await client.send_to_group(group, voice.phrase("that was all"))


@asynccontextmanager
async def _clients(
    service: Service, users: dict[str, str], group: str, ledger: Ledger
) -> AsyncGenerator[dict[str, Client], None]:
    """Connect everybody, and listen on their behalf."""
    roles = [f"webpubsub.joinLeaveGroup.{group}", f"webpubsub.sendToGroup.{group}"]
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for name, user_id in users.items():
            url = partial(service.client_access_url, user_id=user_id, roles=roles)
            client = clients[name] = await stack.enter_async_context(open_client(url))
            await nursery.start(_listen, name, client.group_messages(group), ledger)
            await nursery.start(_listen, name, client.server_messages(), ledger)
        yield clients


async def _listen(
    name: str, messages: Subscription[Any], ledger: Ledger, *, task_status: trio.TaskStatus[None]
) -> None:
    async with messages:
        task_status.started()
        async for message in messages:
            ledger.hear(name, message.data, over=type(message).__name__)


def _sum_up(ledger: Ledger, say: Say) -> bool:
    say("Everybody has left. Counted:")
    say(f"  {ledger.sent:5} messages sent, {ledger.expected.total()} to be heard")
    say(f"  {ledger.heard.total():5} heard")
    say(f"  {ledger.lost:5} lost")
    say(f"  {ledger.repeated:5} repeated")
    say(f"  {ledger.out_of_order:5} out of order")
    return not (ledger.lost or ledger.repeated or ledger.out_of_order)
