"""The client's session and the service's hub, wired back to back: no IO, no clock, links that lose what they hold.

Everything that happens is one of a few actions, so that a list of them is a whole history. What every client hears and
what becomes of every send is checked against the promise while it happens:

* within a session every message is delivered once and in order, with no gap;
* a send is executed at most once; exactly once where its ack said so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from itertools import count, repeat

from trio_webpubsub.emulator.hub import (
    UNHANDLED,
    Abort,
    AskEvent,
    Close,
    ConnectAccepted,
    ConnectRequest,
    Deliver,
    Effect,
    Hub,
    Notify,
    Send,
    Upgrade,
    Withdraw,
)
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol import wire
from trio_webpubsub.protocol.codec import Codec
from trio_webpubsub.protocol.messages import Connected
from trio_webpubsub.protocol.pending import Done, Operation, Refused
from trio_webpubsub.protocol.session import Session
from trio_webpubsub.protocol.session_values import Delivery, Output, Recover, SessionSettings

GROUP = "g"
ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


class Link:
    """One transport: what is on its way in both directions, and which end has noticed that it is cut."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.up: deque[bytes] = deque()
        self.down: deque[bytes | Close] = deque()


class Client:
    """One session with what it sent and heard."""

    def __init__(self, name: str, codec: Codec) -> None:
        self.name = name
        self.session = Session(codec, SessionSettings(), retry_delays=lambda: repeat(0.5))
        self.link: Link | None = None
        self.heard: list[str] = []
        self.newest = 0
        self.connection_ids: list[str] = []
        self.operations: dict[str, Operation] = {}
        self.withdrawn: set[str] = set()


class World:
    """Clients, a hub and the links between them, where the subprotocol of ``codec`` is spoken."""

    def __init__(self, codec: Codec, *, clients: int = 2, limits: HubLimits | None = None) -> None:
        self.codec = codec
        self.now = 0.0
        self.hub = Hub(limits or HubLimits())
        self.clients = [Client(f"client-{number}", codec) for number in range(clients)]
        self.links: dict[int, tuple[Link, Client]] = {}
        self.executed: Counter[str] = Counter()
        self._numbers = count(1)
        for client in self.clients:
            self.dial(client)
            client.session.outgoing.join(GROUP)
        self.settle()

    # What may happen

    def send(self, client: Client) -> None:
        """Somebody sends the next number."""
        data = str(next(self._numbers))
        message = wire.SendToGroup(group=GROUP, payload=wire.Payload("text", data.encode()))
        client.operations[data] = client.session.outgoing.send(message)

    def withdraw(self, client: Client) -> None:
        """The caller of the oldest send that is pending goes away."""
        for data, operation in client.operations.items():
            if operation.outcome is None and data not in client.withdrawn:
                client.withdrawn.add(data)
                client.session.outgoing.withdraw(operation)
                return

    def write(self, client: Client) -> None:
        """The writer takes its turn."""
        if client.link is not None:
            client.link.up.extend(client.session.take_frames(self.now, 500))

    def arrive_up(self, client: Client, frames: int) -> None:
        """Frames reach the service."""
        link = client.link
        while link is not None and link.up and frames:
            frames -= 1
            message = self.codec.decode_upstream(link.up.popleft())
            for effect in (effects := self.hub.receive(link.number, message, now=self.now)):
                if isinstance(effect, Deliver) and isinstance(effect.message, wire.DataMessage):
                    self.executed[effect.message.payload.body.decode()] += 1
            self._carry_out(effects)

    def arrive_down(self, client: Client, frames: int) -> None:
        """Frames reach the client."""
        link = client.link
        batch: list[bytes] = []
        while link is not None and link.down and frames:
            frames -= 1
            frame = link.down.popleft()
            if isinstance(frame, Close):
                self._take(client, client.session.receive(batch, self.now))
                self._client_lost(client, frame.code)
                return
            batch.append(frame)
        self._take(client, client.session.receive(batch, self.now))

    def duplicate_ack(self, client: Client) -> None:
        """The service says twice what it says next."""
        if client.link is not None and client.link.down:
            client.link.down.appendleft(client.link.down[0])

    def lose_ack(self, client: Client) -> None:
        """An ack gets lost, though the link holds."""
        link = client.link
        for number, frame in enumerate(link.down if link is not None else ()):
            if (
                link is not None
                and isinstance(frame, bytes)
                and isinstance(self.codec.decode_downstream(frame), wire.Ack)
            ):
                del link.down[number]
                return

    def cut(self, client: Client) -> None:
        """The link breaks, and both ends notice."""
        if (link := client.link) is not None:
            self._client_lost(client, 1006)
            self._service_lost(link)

    def cut_half(self, client: Client) -> None:
        """The link breaks, and only the client notices."""
        self._client_lost(client, 1006)

    def forget(self, client: Client) -> None:
        """The service loses the session."""
        if client.session.connection_id is not None:
            self._carry_out(self.hub.forget_session(client.session.connection_id))

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.hub.handle_timeout(self.now)
        for client in self.clients:
            self._take(client, client.session.handle_timeout(self.now))

    def dial(self, client: Client) -> None:
        """A client without a link gets one, for what its session asks for."""
        if client.link is not None:
            return
        step = client.session.step
        if isinstance(step, Recover) and self.now >= step.deadline:
            self._take(client, client.session.recovery_failed())
            step = client.session.step
        number = next(self._numbers)
        client.link = link = Link(number)
        self.links[number] = (link, client)
        client.session.transport_opened()
        if isinstance(step, Recover):
            self._carry_out(self.hub.recover(number, step.connection_id, step.reconnection_token, now=self.now))
            return
        request = ConnectRequest(
            connection_id=f"c-{number}", session_secret=b"secret", subprotocols=[self.codec.subprotocol], roles=ROLES
        )
        self.hub.connect(number, request)
        assert isinstance(self.hub.answer_connect(number, ConnectAccepted()), Upgrade)
        self._carry_out(self.hub.transport_opened(number))

    def settle(self) -> None:
        """Let everything arrive, over links that hold."""
        for _ in range(200):
            for client in self.clients:
                self.dial(client)
                self.write(client)
                self.arrive_up(client, 1000)
            for client in self.clients:
                self.arrive_down(client, 1000)
            self.wait(0.5)
            if all(self._is_settled(client) for client in self.clients):
                return
        raise AssertionError("it never settled")

    # The promise

    def check(self) -> None:
        """Check what is left to check once all has settled."""
        for client in self.clients:
            for data, operation in client.operations.items():
                if isinstance(operation.outcome, Done):
                    assert self.executed[data] == 1, f"{data} was acknowledged and executed {self.executed[data]} times"
                assert not isinstance(operation.outcome, Refused), f"{data} was refused: {operation.outcome}"
        assert all(times == 1 for times in self.executed.values()), "a send was executed twice"

    def _take(self, client: Client, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Connected(connection_id=connection_id):
                    assert connection_id not in client.connection_ids
                    client.connection_ids.append(connection_id)
                    client.newest = 0
                case Delivery(messages):
                    for message in messages:
                        client.newest += 1
                        came = message.sequence_id
                        assert came == client.newest, f"{client.name} got {came} instead of {client.newest}"
                        client.heard.append(message.data)
                case _:
                    pass

    def _is_settled(self, client: Client) -> bool:
        link = client.link
        return (
            link is not None
            and not link.up
            and not link.down
            and client.session.state == "connected"
            and len(client.session.outgoing.pending) == 0
        )

    def _carry_out(self, effects: list[Effect]) -> None:
        pending = deque(effects)
        while pending:
            effect = pending.popleft()
            match effect:
                case Send(transport, message):
                    if self._knows(transport):
                        self.links[transport][0].down.append(self.codec.encode_control(message))
                case Deliver(message, recipients):
                    shared = self.codec.encode_data(message)
                    for transport, sequence_id in recipients:
                        if self._knows(transport):
                            assert sequence_id is not None
                            self.links[transport][0].down.append(self.codec.with_sequence_id(shared, sequence_id))
                case Close(transport):
                    if self._knows(transport):
                        self.links[transport][0].down.append(effect)
                case Abort(transport):
                    if self._knows(transport):
                        link, client = self.links.pop(transport)
                        if client.link is link:
                            self._client_lost(client, 1006)
                case AskEvent(token=token):
                    pending.extend(self.hub.answer_event(token, UNHANDLED, now=self.now))
                case Withdraw() | Notify():
                    raise AssertionError("nobody invokes anything or listens here")

    def _knows(self, transport: int) -> bool:
        return transport in self.links

    def _client_lost(self, client: Client, code: int) -> None:
        if client.link is not None:
            client.link = None
            self._take(client, client.session.transport_ended(code, "", self.now))

    def _service_lost(self, link: Link) -> None:
        self.links.pop(link.number, None)
        self.hub.transport_ended(link.number, code=None, now=self.now)


def all_heard(world: World) -> Iterator[list[str]]:
    """Give what each client heard."""
    for client in world.clients:
        yield client.heard
