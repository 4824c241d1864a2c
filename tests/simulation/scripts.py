"""What is said and heard while `cuts` cuts: a session with every type of message, and how links and sessions begin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Literal, TypeAlias

import trio

from trio_webpubsub import (
    Client,
    ClientStopped,
    InvocationFailed,
    Lifecycle,
    SendFailed,
    SessionTicket,
    Subscription,
    open_client,
)
from trio_webpubsub.emulator import Emulator
from trio_webpubsub.protocol.subprotocols import Subprotocol
from trio_webpubsub.service import Service
from trio_webpubsub.testing import LinkCut, SimulatedNetwork

from .model import Listener, Model
from .waits import CLOSE_TIMEOUT

Act: TypeAlias = Literal["opening", "session", "recovery", "renewal", "handover"]
"""``opening``: until a client is connected. ``session``: every type of message. ``recovery``: the link breaks, and is
made anew. ``renewal``: the service ends the session, and another is begun. ``handover``: the client is detached, with
everything unread, and another process goes on with its session."""

HUB = "chat"
NAME = "ann"
LATENCY = 0.01
MEANWHILE = 5
"""Messages that are on their way at a handover."""


class Stage:
    """Where an act is played."""

    def __init__(
        self,
        network: SimulatedNetwork,
        emulator: Emulator,
        model: Model,
        service: Service,
        subprotocol: Subprotocol,
        begin: Callable[[], None],
    ) -> None:
        self.begin = begin
        """Says that from now on a cut may happen."""
        self.model = model
        self.service = service
        self._network = network
        self._emulator = emulator
        self._subprotocol: Subprotocol = subprotocol
        self._listener = Listener(model, NAME, "messages", lambda _: True)

    @asynccontextmanager
    async def client(self, ticket: SessionTicket | None = None, *, reads: bool = True) -> AsyncGenerator[Client]:
        """Open the client, and let it listen; unless it reads, it takes nothing of what it could hear."""
        async with (
            open_client(
                self._url,
                connector=self._network.connector(self._emulator, NAME),
                subprotocol=self._subprotocol,
                keep_alive_interval=2,
                keep_alive_timeout=3,
                resume=ticket,
                connect_timeout=8,  # before a session there is nothing to keep alive
            ) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch, client.lifecycle())
            nursery.start_soon(self._listen, client, reads)
            yield client
            nursery.cancel_scope.cancel()

    async def settle(self, client: Client) -> None:
        """Wait until all is as if nothing had been."""
        # There is no event for all of that.
        while self._listener.missing or client.state != "connected" or client.statistics().pending_sends:  # noqa: ASYNC110
            await trio.sleep(0.1)

    def check(self, client: Client, *, new_sessions: bool) -> None:
        """Check how many sessions it took."""
        lost = client.statistics().reconnects
        if bool(lost) != new_sessions:
            raise self.model.fail(f"{lost} sessions were lost")
        if self._listener.sessions_lost != lost:
            raise self.model.fail(f"{lost} sessions were lost, and {self._listener.sessions_lost} gaps told")

    def break_link(self, how: LinkCut) -> None:
        """Break the link that there is."""
        self._network.cut(how, NAME)

    async def _url(self) -> str:
        return self._emulator.client_url(HUB, user_id=NAME, groups=["given"])

    async def _watch(self, news: Subscription[Lifecycle]) -> None:
        async for one in news:
            self.model.note(f"{NAME} {one}")

    async def _listen(self, client: Client, reads: bool) -> None:
        messages = client.messages(gaps=True)
        if not reads:
            await trio.sleep_forever()
        async for message in messages:
            self._listener.take(message)


async def play(act: Act, stage: Stage, *, longest: float) -> float:
    """Play an act, and give how many seconds it took until all was well again.

    Raises:
        trio.TooSlowError: it took longer than so many seconds.
        ConnectFailed: there never was a session.
    """
    start = trio.current_time()
    if act == "opening":
        stage.begin()
    ticket: SessionTicket | None = None
    with trio.fail_at(start + longest) as limit:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(stage.client(reads=act != "handover"))
            if act != "opening":
                await trio.sleep(1)
                stage.begin()
                start = trio.current_time()
                limit.deadline = start + longest
            if act == "handover":
                ticket = await _detached(stage, client)
                await stack.aclose()
                client = await stack.enter_async_context(stage.client(ticket))
            await _PLAYED[act](stage, client)
            await stage.settle(client)
            seconds = trio.current_time() - start
            limit.deadline = trio.current_time() + CLOSE_TIMEOUT + 1
            stage.check(client, new_sessions=act == "renewal")
    return seconds


async def _opening(stage: Stage, client: Client) -> None:
    await client.send_to_group("a", "one:1")
    stage.model.succeeded("one:1")


async def _recovery(stage: Stage, client: Client) -> None:
    """Lose the link with something on its way in both directions."""
    await client.send_to_group("given", "before:1")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(client.send_to_group, "given", f"meanwhile:{number}")
        await trio.sleep(LATENCY * 1.5)
        stage.break_link("reset")
        await stage.service.send_to_all("server:1")
    await client.send_to_group("given", "after:1")
    stage.model.succeeded("after:1")


async def _detached(stage: Stage, client: Client) -> SessionTicket:
    """Detach a client that waits for acks, of what was carried out and of what was not."""

    async def send(number: int) -> None:
        with suppress(ClientStopped):
            await client.send_to_group("given", f"meanwhile:{number}")

    await client.send_to_group("given", "before:1")
    stage.model.succeeded("before:1")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(send, number)
        await trio.sleep(LATENCY * 1.5)
        stage.break_link("silence")
        for number in range(3, MEANWHILE):
            nursery.start_soon(send, number)  # which gets nowhere
        await trio.sleep(LATENCY)
        ticket = await client.detach()
    return ticket  # noqa: RET504 (nothing returns from within a nursery)


async def _handover(stage: Stage, client: Client) -> None:
    """Go on with what another process left."""
    await client.send_to_group("given", "after:1")
    stage.model.succeeded("after:1")
    for number in range(MEANWHILE):
        stage.model.succeeded(f"meanwhile:{number}")


async def _renewal(stage: Stage, client: Client) -> None:
    """Have the session ended by the service, which says so."""
    await client.send_to_group("given", "before:1")
    stage.model.succeeded("before:1")
    assert client.connection_id is not None
    await stage.service.close_connection(client.connection_id, reason="have a break")
    while client.state != "connected" or not client.statistics().reconnects:  # noqa: ASYNC110 - as above
        await trio.sleep(0.1)
    await stage.service.send_to_all("server:1")
    await client.send_to_group("given", "after:1", repeat_in_new_session=True)


async def _session(stage: Stage, client: Client) -> None:
    """Say and hear everything that can be said in a session."""
    model, service = stage.model, stage.service

    async def refused(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except (SendFailed, InvocationFailed):
            return
        raise model.fail("nobody handles events here, and yet one was handled")

    await client.join_group("a")
    await client.send_to_group("a", "text:1")
    model.succeeded("text:1")
    await client.send_to_group("a", "json:1", data_type="json")
    model.succeeded("json:1")
    await client.send_to_group("a", b"binary:1", metadata={"kind": "binary"})
    model.succeeded("binary:1")
    await client.send_to_group("a", "posted:1", ack=False)
    await service.send_to_all("server:1")
    await service.send_to_group("given", "server:2")
    await service.send_to_user(NAME, b"server:3")
    await refused(partial(client.send_event, "nobody", "hears"))
    await refused(partial(client.invoke_event, "nobody", "answers"))
    with trio.move_on_after(LATENCY):
        await refused(partial(client.invoke_event, "nobody", "has time to answer"))
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(client.send_to_group, "a", f"burst:{number}")
    await trio.sleep(0.9)
    async with trio.open_nursery() as nursery:
        for number in range(10):  # while what came before is confirmed
            nursery.start_soon(client.send_to_group, "a", f"more:{number}")
            await trio.sleep(0.02)
    await trio.sleep(4)  # sequence acks, pings and pongs
    await client.leave_group("a")


_PLAYED: dict[Act, Callable[[Stage, Client], Awaitable[None]]] = {
    "opening": _opening,
    "session": _session,
    "recovery": _recovery,
    "renewal": _renewal,
    "handover": _handover,
}
