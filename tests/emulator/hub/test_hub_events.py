"""User events and invocations: questions to the shell, and what its answers become."""

from __future__ import annotations

import pytest

from tests.emulator.hub.driver import error_name, make_hub, open_connection, question_of, text
from trio_webpubsub.emulator.hub import UNHANDLED, AskEvent, Deliver, EventFailed, EventHandled, Send
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.protocol.wire import (
    Ack,
    CancelInvocation,
    DataMessage,
    Invoke,
    InvokeResponse,
    JoinGroup,
    SendEvent,
    WireError,
)

FAILED = EventFailed(WireError("InternalServerError", "it broke"))


def event(ack_id: int | None = 1, name: str = "order.placed") -> SendEvent:
    return SendEvent(event=name, payload=text("x"), ack_id=ack_id, metadata={"k": "v"})


def invoke(invocation_id: str = "i-1", name: str = "price.get") -> Invoke:
    return Invoke(invocation_id=invocation_id, event=name, payload=text("x"))


def test_an_event_is_asked_about() -> None:
    hub = make_hub()
    open_connection(hub, 1, user_id="ann", roles=())
    assert hub.receive(1, event(), now=0) == [
        AskEvent(
            token=1,
            connection_id="c-1",
            user_id="ann",
            event="order.placed",
            payload=text("x"),
            metadata={"k": "v"},
            invocation_id=None,
        )
    ]


def test_a_handled_event_is_acknowledged() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(5), now=0))
    assert hub.answer_event(question.token, EventHandled()) == [Send(1, Ack(5, True))]


def test_the_reply_comes_before_the_ack() -> None:
    hub = make_hub()
    open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    reply = DataMessage(payload=text("done"), metadata={"a": "b"})
    assert hub.answer_event(question.token, EventHandled(text("done"), {"a": "b"})) == [
        Deliver(reply, [(1, 1)]),
        Send(1, Ack(5, True)),
    ]


def test_an_event_that_nobody_handles_is_an_internal_server_error() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    assert error_name(hub.answer_event(question.token, UNHANDLED)) == "InternalServerError"


def test_without_an_ack_id_only_the_reply_comes() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, FAILED) == []
    assert hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, EventHandled()) == []
    effects = hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, EventHandled(text("done")))
    assert effects == [Deliver(DataMessage(payload=text("done")), [(1, None)])]


def test_a_bad_event_name_is_a_bad_request() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert error_name(hub.receive(1, event(name="not an event"), now=0)) == "BadRequest"


def test_a_repeat_of_a_running_event_is_a_duplicate() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(5), now=0))
    assert error_name(hub.receive(1, event(5), now=0)) == "Duplicate"
    assert hub.answer_event(question.token, EventHandled()) == [Send(1, Ack(5, True))]


def test_a_failed_event_may_be_repeated_under_its_id() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert (
        error_name(hub.answer_event(question_of(hub.receive(1, event(5), now=0)).token, FAILED))
        == "InternalServerError"
    )
    question = question_of(hub.receive(1, event(5), now=0))
    assert hub.answer_event(question.token, EventHandled()) == [Send(1, Ack(5, True))]


def test_other_requests_are_served_while_an_event_is_running() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    first = question_of(hub.receive(1, event(1), now=0))
    second = question_of(hub.receive(1, event(2), now=0))
    assert hub.receive(1, JoinGroup("a", 3), now=0) == [Send(1, Ack(3, True))]
    assert hub.answer_event(second.token, EventHandled()) == [Send(1, Ack(2, True))]
    assert hub.answer_event(first.token, EventHandled()) == [Send(1, Ack(1, True))]


def test_an_answer_counts_once() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    hub.answer_event(question.token, EventHandled())
    assert hub.answer_event(question.token, EventHandled(text("again"))) == []


@pytest.mark.parametrize("answer", [FAILED, EventHandled(text("done"))])
def test_an_answer_for_a_connection_that_is_gone_is_dropped(answer: EventFailed | EventHandled) -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, answer) == []


def test_the_answer_of_an_event_finds_the_session_on_its_new_transport() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    hub.recover(2, "c-1", token, now=1)
    assert hub.answer_event(question.token, EventHandled()) == [Send(2, Ack(5, True))]


def test_a_reply_waits_for_the_session_and_its_ack_does_not() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, EventHandled(text("done"))) == []
    assert hub.recover(2, "c-1", token, now=1)[1:] == [Deliver(DataMessage(payload=text("done")), [(2, 1)])]
    assert error_name(hub.receive(2, event(5), now=0)) == "Duplicate"


def test_a_failure_while_the_transport_is_lost_lets_the_event_be_repeated() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, FAILED) == []
    hub.recover(2, "c-1", token, now=1)
    question_of(hub.receive(2, event(5), now=0))


def test_a_reply_that_finds_no_room_ends_the_session_and_there_is_no_ack() -> None:
    hub = make_hub(HubLimits(unacknowledged_bytes=2))
    open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    assert not any(isinstance(effect, Send) for effect in hub.answer_event(question.token, EventHandled(text("long"))))
    assert hub.registry.connections == {}


def test_an_invocation_gets_its_result() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke("i-7"), now=0))
    assert question.invocation_id == "i-7"
    response = InvokeResponse(invocation_id="i-7", success=True, payload=text("12"), metadata={"a": "b"})
    assert hub.answer_event(question.token, EventHandled(text("12"), {"a": "b"})) == [Send(1, response)]


def test_an_invocation_that_fails_gets_the_error() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke(), now=0))
    response = InvokeResponse(invocation_id="i-1", success=False, error=FAILED.error)
    assert hub.answer_event(question.token, FAILED) == [Send(1, response)]


@pytest.mark.parametrize("bad", [invoke("i-1"), invoke("i-2", "not an event")])
def test_an_invocation_with_a_running_id_or_a_bad_name_is_a_bad_request(bad: Invoke) -> None:
    hub = make_hub()
    open_connection(hub, 1)
    hub.receive(1, invoke("i-1"), now=0)
    (effect,) = hub.receive(1, bad, now=0)
    assert isinstance(effect, Send)
    assert isinstance(effect.message, InvokeResponse)
    assert effect.message.error is not None
    assert (effect.message.invocation_id, effect.message.error.name) == (bad.invocation_id, "BadRequest")


def test_the_answer_to_a_cancelled_invocation_is_dropped() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke(), now=0))
    assert hub.receive(1, CancelInvocation("i-1"), now=0) == []
    assert hub.answer_event(question.token, EventHandled()) == []
    question_of(hub.receive(1, invoke(), now=0))


def test_cancelling_what_does_not_run_does_nothing() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, CancelInvocation("i-1"), now=0) == []


def test_an_invocation_does_not_outlive_its_transport() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, invoke(), now=0))
    hub.transport_ended(1, code=None, now=0)
    hub.recover(2, "c-1", token, now=1)
    assert hub.answer_event(question.token, EventHandled()) == []
    question_of(hub.receive(2, invoke(), now=0))
