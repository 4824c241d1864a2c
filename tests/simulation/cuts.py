"""Scripted acts with every type of message, each cut once: at a byte, in a direction, in one of three ways."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from trio_webpubsub import ConnectFailed
from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.frame_writer import apply_mask
from trio_webpubsub.protocol.subprotocols import Subprotocol, codec_for
from trio_webpubsub.service import open_service
from trio_webpubsub.testing import Direction, SimulatedNetwork, simulate

from . import reports
from .model import Model
from .scripts import HUB, LATENCY, NAME, Act, Stage, play
from .whole_stack import RELIABLE

HOW: tuple[Literal["reset", "eof", "silence"], ...] = ("reset", "eof", "silence")
RECOVERED = 10.0
"""Virtual seconds that a cut may cost, with a keep-alive of 2 and 3 seconds."""
RECOVERED_AGAIN = 7.0
"""Where only a recovery is cut that has its handshake behind it: five for the proof that it is one, and a pause."""
SUBPROTOCOLS = RELIABLE
HANDSHAKE = "handshake"
_DIRECTIONS: tuple[Direction, ...] = ("up", "down")
SOME = 17
"""Of a handshake, which is no frame, not every byte is tried each time."""


@dataclass(frozen=True)
class Cut:
    """One case."""

    subprotocol: Subprotocol
    act: Act
    link: int
    """Which of the client's links: the first one of the act is 1."""
    direction: Direction
    after_bytes: int
    """Counted from the beginning of the link or, where there was one before the act, of the act."""
    how: Literal["reset", "eof", "silence"]
    in_handshake: bool = False


class Failed(AssertionError):
    """An act that a cut changed, with all that is needed to see it again."""


class Frame(NamedTuple):
    """Where a frame stands in what is sent in one direction of a link."""

    start: int
    end: int
    kind: str


Way = tuple[int, Direction]
"""A direction of one of the links."""


@dataclass(frozen=True)
class Played:
    """An act as it goes without a cut."""

    seconds: float
    frames: dict[Way, list[Frame]]


class _CutNetwork(SimulatedNetwork):
    """Cuts a link of the client, and keeps all that is sent on its links, once it is told to begin."""

    def __init__(self, cut: Cut | None) -> None:
        super().__init__(latency=LATENCY)
        self._cut = cut
        self._ordinals: dict[str, int] = {}
        self._has_begun = False
        self.recorded: defaultdict[Way, bytearray] = defaultdict(bytearray)

    def begin(self) -> None:
        """The act begins, with the link that there is, or the next."""
        self._has_begun = True
        self._ordinals.clear()
        for link in self._links:
            if link.name == NAME:
                self._take(f"{NAME}/{link.number}")

    def _record(self, label: str, what: str, data: bytes) -> None:
        super()._record(label, what, data)
        if not self._has_begun or not label.startswith(f"{NAME}/"):
            return
        if what == "connect":
            self._take(label)
        else:
            for direction in _DIRECTIONS:
                if what == direction:
                    self.recorded[self._ordinals[label], direction] += data

    def _take(self, label: str) -> None:
        number = self._ordinals[label] = len(self._ordinals) + 1
        cut = self._cut
        if cut is not None and cut.link == number:
            self._links[-1].cut(cut.how, cut.direction, cut.after_bytes)


def run(cut: Cut) -> None:
    """Play an act with one cut.

    Raises:
        Failed: it was not as if there had been none, or took too long.
    """
    costs = RECOVERED_AGAIN if cut.act in ("recovery", "handover") and not cut.in_handshake else RECOVERED
    limit = played(cut.subprotocol, cut.act).seconds + costs
    network = _CutNetwork(cut)
    models: list[Model] = []
    try:
        simulate(_main, network, cut.subprotocol, cut.act, limit, models, seed=0)
    except reports.FINDINGS as error:
        if cut.act == "opening" and isinstance(reports.innermost(error), ConnectFailed):
            return  # there was nothing to lose yet
        again = reports.command("cut", cut)
        said = reports.report("a cut", error, plan=[cut], again=again, network=network, models=models)
        raise Failed(said) from reports.innermost(error)


@lru_cache
def played(subprotocol: Subprotocol, act: Act) -> Played:
    """Find out how an act goes without a cut."""
    network = _CutNetwork(None)
    seconds = simulate(_main, network, subprotocol, act, 60.0, [], seed=0)
    codec = codec_for(subprotocol)
    frames = {way: list(_frames(bytes(data), codec, way[1])) for way, data in network.recorded.items()}
    return Played(seconds, frames)


def cases(subprotocol: Subprotocol, *, every_byte: bool = False) -> Iterator[Cut]:
    """Give the cuts to try.

    At every boundary between frames and one byte to both sides of it, and at every byte of the first frame of each
    type; or at every byte there is.
    """
    seen: Counter[tuple[Direction, str]] = Counter()
    for act in get_args(Act):
        for (link, direction), frames in played(subprotocol, act).frames.items():
            if act in ("recovery", "handover") and link == 1:
                continue  # which is lost in any case
            places: dict[int, bool] = {}
            for frame in frames:
                seen[direction, frame.kind] += 1
                nearby = (frame.end - 1, frame.end, frame.end + 1)
                within = range(frame.start + 1, frame.end, 1 if every_byte or frame.kind != HANDSHAKE else SOME)
                whole = every_byte or frame.kind == HANDSHAKE or seen[direction, frame.kind] == 1
                for place in (*nearby, *within) if whole else nearby:
                    # A request that arrived without an answer is no handshake yet.
                    places[place] = frame.kind == HANDSHAKE and place < frame.end + (direction == "up")
            for place, in_handshake in sorted(places.items()):
                for how in HOW:
                    yield Cut(subprotocol, act, link, direction, place, how, in_handshake)


def _frames(data: bytes, codec: Codec, direction: Direction) -> Iterator[Frame]:
    """Find the frames in what was sent, and what each of them is; before them there may be the head of a handshake."""
    start = 0
    if data.startswith((b"GET ", b"HTTP/1.1 ")):
        start = data.index(b"\r\n\r\n") + 4
        yield Frame(0, start, HANDSHAKE)
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


async def _main(network: _CutNetwork, subprotocol: Subprotocol, act: Act, limit: float, models: list[Model]) -> float:
    # The client specification allows both.
    again = subprotocol == SUBPROTOCOLS[0]
    async with open_emulator(in_memory=True, connected_after_recovery=again) as emulator:
        model = Model(emulator._switchboard.hubs.hub(HUB))
        models.append(model)
        rest = network.connector(emulator, "rest")
        async with open_service(emulator.connection_string, HUB, connector=rest) as service:
            stage = Stage(network, emulator, model, service, subprotocol, network.begin)
            seconds = await play(act, stage, longest=limit)
    if network.links:
        raise model.fail(f"links that nobody closed: {network.links}")
    model.check()
    return seconds
