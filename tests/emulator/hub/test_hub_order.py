"""Whatever happens to links and events, the requests of a connection are carried out once, and in order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.hub.driver import make_hub, open_connection, text
from trio_webpubsub.emulator.hub import (
    AskEvent,
    Deliver,
    Effect,
    EventFailed,
    EventHandled,
    Notify,
    Send,
    Withdraw,
)
from trio_webpubsub.protocol.wire import Ack, CancelInvocation, DataMessage, Invoke, SendEvent, SendToGroup, WireError

FAILED = EventFailed(WireError("InternalServerError", "it broke"))
ACTIONS = st.lists(
    st.sampled_from(["event", "send", "invoke", "cancel", "handled", "failed", "lost", "back", "take over"]),
    max_size=40,
)


class Service:
    """A hub with one client, and what it wanted done."""

    def __init__(self) -> None:
        self.hub = make_hub(announced=["disconnected"])
        open_connection(self.hub, 0, connection_id="watcher", groups=["g"])
        self.token = open_connection(self.hub, 1, connection_id="c", reliable=True)
        self.transport: int | None = 1
        self.number = 1
        self.asked: list[AskEvent] = []
        self.done: list[int] = []
        """The requests that were carried out, by their numbers."""
        self.acked: list[int] = []
        self.ended = 0

    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case AskEvent():
                    assert self.asked == [], "two events of a connection run at the same time"
                    self.asked.append(effect)
                    if effect.invocation_id is None:
                        self.done.append(int(effect.event[1:]))
                case Withdraw(token):
                    assert self.asked.pop().token == token
                case Deliver(DataMessage() as message):
                    self.done.append(int(message.payload.body))
                case Send(_, Ack(ack_id)):
                    self.acked.append(ack_id)
                case Notify():
                    self.ended += 1
                case _:
                    pass

    def do(self, action: str) -> None:
        self.number += 1
        number, transport = self.number, self.transport
        match action:
            case "event" if transport is not None:
                event = SendEvent(event=f"e{number}", payload=text("x"), ack_id=number)
                self.take(self.hub.receive(transport, event, now=0))
            case "send" if transport is not None:
                send = SendToGroup(group="g", payload=text(str(number)), ack_id=number)
                self.take(self.hub.receive(transport, send, now=0))
            case "invoke" if transport is not None:
                self.take(self.hub.receive(transport, Invoke(invocation_id="i", event="i"), now=0))
            case "cancel" if transport is not None:
                self.take(self.hub.receive(transport, CancelInvocation("i"), now=0))
            case "handled" | "failed" if self.asked:
                answer = EventHandled() if action == "handled" else FAILED
                self.take(self.hub.answer_event(self.asked.pop().token, answer, now=0))
            case "lost" if transport is not None:
                self.transport = None
                self.take(self.hub.transport_ended(transport, code=None, now=0))
            case "back" | "take over" if (transport is None) == (action == "back"):
                self.transport = number
                self.take(self.hub.recover(number, "c", self.token, now=0))
            case _:
                pass


@given(ACTIONS)
def test_requests_are_carried_out_once_and_in_order(actions: list[str]) -> None:
    service = Service()
    for action in actions:
        service.do(action)
    while service.asked:
        service.do("handled")
    service.take(service.hub.close_connection("c"))
    assert service.done == sorted(set(service.done))
    assert service.acked == sorted(set(service.acked))
    assert set(service.acked) <= set(service.done)
    assert (service.ended, service.hub.stalled) == (1, set())


@given(ACTIONS)
def test_what_a_client_sent_before_it_left_is_carried_out_before_its_end_is_told(actions: list[str]) -> None:
    service = Service()
    requests = [action for action in actions if action in ("event", "send")]
    for action in requests:
        service.do(action)
    service.take(service.hub.transport_ended(1, code=1000, now=0))
    while service.asked:
        assert service.ended == 0
        service.do("handled")
    assert len(service.done) == len(requests)
    assert service.ended == 1
