"""A scripted session with every type of message, cut once: at a byte, in a direction, in one of three ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import trio

from trio_webpubsub import Client, InvocationFailed, SendFailed, open_client
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.frame_writer import apply_mask
from trio_webpubsub.protocol.subprotocols import Subprotocol, codec_for
from trio_webpubsub.service import Service, open_service
from trio_webpubsub.testing import Direction, SimulatedNetwork, simulate

from .model import Listener, Model
from .whole_stack import RELIABLE

HUB = "chat"
NAME = "ann"
HOW: tuple[Literal["reset", "eof", "silence"], ...] = ("reset", "eof", "silence")
LATENCY = 0.01
RECOVERED = 10.0
"""Virtual seconds that a cut may cost, with a keep-alive of 2 and 3 seconds."""


@dataclass(frozen=True)
class Cut:
    """One case."""

    subprotocol: Subprotocol
    direction: Direction
    after_bytes: int
    """Counted from the moment after the first ``connected``."""
    how: Literal["reset", "eof", "silence"]


class Frame(NamedTuple):
    """Where a frame stands in what is sent in one direction."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Session:
    """The scripted session as it goes without a cut."""

    seconds: float
    frames: dict[Direction, list[Frame]]


class _Recording(SimulatedNetwork):
    """Keeps all that is sent once it is told to."""

    recorded: dict[str, bytearray] | None = None

    def _record(self, label: str, what: str, data: bytes) -> None:
        super()._record(label, what, data)
        if self.recorded is not None and label.startswith(NAME) and what in self.recorded:
            self.recorded[what] += data


def run(cut: Cut) -> None:
    """Run the session with one cut.

    Raises:
        AssertionError: it was not as if there had been none, or took too long.
    """
    limit = session(cut.subprotocol).seconds + RECOVERED
    simulate(_main, SimulatedNetwork(latency=LATENCY), cut.subprotocol, cut, limit, seed=0)


@lru_cache
def session(subprotocol: Subprotocol) -> Session:
    """Find out how the session goes without a cut."""
    network = _Recording(latency=LATENCY)
    seconds = simulate(_main, network, subprotocol, None, 60.0, seed=0)
    assert network.recorded is not None
    codec = codec_for(subprotocol)
    return Session(
        seconds,
        {
            "up": list(_frames(bytes(network.recorded["up"]), codec, "up")),
            "down": list(_frames(bytes(network.recorded["down"]), codec, "down")),
        },
    )


def cases(subprotocol: Subprotocol, *, every_byte: bool = False) -> Iterator[Cut]:
    """Give the cuts to try.

    At every boundary between frames and one byte to both sides of it, and at every byte of the first frame of each
    type; or at every byte there is.
    """
    for direction, frames in session(subprotocol).frames.items():
        if every_byte:
            places = set(range(1, frames[-1].end + 1))
        else:
            places = {place for frame in frames for place in (frame.end - 1, frame.end, frame.end + 1)}
            first_of_kind = {frame.kind: frame for frame in reversed(frames)}
            for frame in first_of_kind.values():
                places |= set(range(frame.start + 1, frame.end))
        for place in sorted(places):
            for how in HOW:
                yield Cut(subprotocol, direction, place, how)


def _frames(data: bytes, codec: Codec, direction: Direction) -> Iterator[Frame]:
    """Find the frames in what was sent, and what each of them is."""
    start = 0
    while start < len(data):
        opcode, size = data[start] & 0x0F, data[start + 1] & 0x7F
        head = 2
        if size == 126:
            size = int.from_bytes(data[start + 2 : start + 4], "big")
            head = 4
        mask = 4 if data[start + 1] & 0x80 else 0
        body = data[start + head + mask : start + head + mask + size]
        if mask:
            body = apply_mask(body, data[start + head : start + head + 4])
        end = start + head + mask + size
        if opcode >= 8:
            kind = f"opcode {opcode}"
        elif direction == "up":
            kind = type(codec.decode_upstream(body)).__name__
        else:
            kind = type(codec.decode_downstream(body)).__name__
        yield Frame(start, end, kind)
        start = end


async def _main(network: SimulatedNetwork, subprotocol: Subprotocol, cut: Cut | None, limit: float) -> float:
    # The client specification allows both.
    again = subprotocol == RELIABLE[0]
    async with open_emulator(in_memory=True, connected_after_recovery=again) as emulator:
        model = Model(emulator._switchboard.hubs.hub(HUB))

        async def url() -> str:
            return emulator.client_url(HUB, user_id=NAME, groups=["given"])

        async with (
            open_service(emulator.connection_string, HUB, connector=network.connector(emulator, "rest")) as service,
            open_client(
                url,
                connector=network.connector(emulator, NAME),
                subprotocol=subprotocol,
                keep_alive_interval=2,
                keep_alive_timeout=3,
            ) as client,
            trio.open_nursery() as nursery,
        ):
            listener = Listener(model, NAME, "messages", lambda _: True)

            @nursery.start_soon
            async def listen() -> None:
                async for message in client.messages(gaps=True):
                    listener.take(message)

            await trio.sleep(1)
            if isinstance(network, _Recording):
                network.recorded = {"up": bytearray(), "down": bytearray()}
            if cut is not None:
                network.cut(cut.how, NAME, direction=cut.direction, after_bytes=cut.after_bytes)
            start = trio.current_time()
            with trio.fail_after(limit):
                await _script(client, service, model)
                while listener.missing or client.state != "connected" or client.statistics().pending_sends:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            seconds = trio.current_time() - start
            if client.statistics().reconnects:
                raise model.fail("a cut cost the session")
            nursery.cancel_scope.cancel()
    if network.links:
        raise model.fail(f"links that nobody closed: {network.links}")
    model.check()
    return seconds


async def _script(client: Client, service: Service, model: Model) -> None:
    """Say and hear everything that can be said in a session."""

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


SUBPROTOCOLS = RELIABLE
