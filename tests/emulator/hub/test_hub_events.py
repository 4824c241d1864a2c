"""User events and invocations: questions to the shell, and what its answers become."""

from __future__ import annotations

import pytest

from tests.emulator.hub.driver import error_name, make_hub, open_connection, question_of, send_to_all, text
from trio_webpubsub.emulator.hub import (
    UNHANDLED,
    Abort,
    AskEvent,
    Close,
    Deliver,
    Effect,
    EventFailed,
    EventHandled,
    Notify,
    Send,
    Withdraw,
)
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.hub.registry import Request
from trio_webpubsub.protocol.wire import (
    Ack,
    CancelInvocation,
    DataMessage,
    DisconnectedMessage,
    Invoke,
    InvokeResponse,
    JoinGroup,
    LeaveGroup,
    Ping,
    Pong,
    SendEvent,
    SendToGroup,
    SequenceAck,
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
            subprotocol="json.webpubsub.azure.v1",
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
    assert hub.answer_event(question.token, EventHandled(), now=0) == [Send(1, Ack(5, True))]


def test_the_reply_comes_before_the_ack() -> None:
    hub = make_hub()
    open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    reply = DataMessage(payload=text("done"), metadata={"a": "b"})
    assert hub.answer_event(question.token, EventHandled(text("done"), {"a": "b"}), now=0) == [
        Deliver(reply, [(1, 1)]),
        Send(1, Ack(5, True)),
    ]


def test_an_event_that_nobody_handles_is_an_internal_server_error() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    assert error_name(hub.answer_event(question.token, UNHANDLED, now=0)) == "InternalServerError"


def test_without_an_ack_id_only_the_reply_comes() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, FAILED, now=0) == []
    assert hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, EventHandled(), now=0) == []
    effects = hub.answer_event(question_of(hub.receive(1, event(None), now=0)).token, EventHandled(text("done")), now=0)
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
    assert hub.answer_event(question.token, EventHandled(), now=0) == [Send(1, Ack(5, True))]


def test_a_failed_event_may_be_repeated_under_its_id() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert (
        error_name(hub.answer_event(question_of(hub.receive(1, event(5), now=0)).token, FAILED, now=0))
        == "InternalServerError"
    )
    question = question_of(hub.receive(1, event(5), now=0))
    assert hub.answer_event(question.token, EventHandled(), now=0) == [Send(1, Ack(5, True))]


def test_other_requests_of_the_connection_wait_for_the_answer() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    first = question_of(hub.receive(1, event(1), now=0))
    assert hub.receive(1, JoinGroup("a", 2), now=0) == []
    assert hub.receive(1, event(3), now=0) == []
    assert hub.receive(1, LeaveGroup("a", 4), now=0) == []
    *acks, second = hub.answer_event(first.token, EventHandled(), now=0)
    assert acks == [Send(1, Ack(1, True)), Send(1, Ack(2, True))]
    assert hub.answer_event(question_of([second]).token, FAILED, now=0)[1:] == [Send(1, Ack(4, True))]


def test_what_is_no_requestdoes_not_wait() -> None:
    hub = make_hub()
    open_connection(hub, 1, reliable=True)
    send_to_all(hub, text("a"))
    question_of(hub.receive(1, event(1), now=0))
    assert hub.receive(1, Ping(), now=0) == [Send(1, Pong())]
    hub.receive(1, SequenceAck(1), now=0)
    session = hub.registry.connections["c-1"].session
    assert session is not None
    assert list(session.unconfirmed.replay(0)) == []


def test_an_event_holds_up_its_own_connection_only() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    open_connection(hub, 2)
    question_of(hub.receive(1, event(1), now=0))
    assert hub.receive(2, JoinGroup("a", 1), now=0) == [Send(2, Ack(1, True))]
    question_of(hub.receive(2, event(2), now=0))


def test_a_repeat_of_a_waiting_requestis_a_duplicate() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, JoinGroup("a", 2), now=0)
    assert error_name(hub.receive(1, JoinGroup("a", 2), now=0)) == "Duplicate"


def test_requests_wait_over_a_change_of_the_transport() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, JoinGroup("a", 2), now=0)
    hub.transport_ended(1, code=None, now=0)
    hub.recover(2, "c-1", token, now=1)
    hub.receive(2, LeaveGroup("a", 3), now=1)
    acks = hub.answer_event(question.token, EventHandled(), now=1)
    assert acks == [Send(2, Ack(number, True)) for number in (1, 2, 3)]


def test_a_client_with_too_many_waiting_requests_is_stalled_until_there_are_fewer() -> None:
    hub = make_hub(HubLimits(waiting_requests=2))
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, JoinGroup("a", 2), now=0)
    assert hub.stalled == set()
    hub.receive(1, JoinGroup("b", 3), now=0)
    assert hub.stalled == {"c-1"}
    hub.answer_event(question.token, EventHandled(), now=0)
    assert hub.stalled == set()


@pytest.mark.parametrize("how", ["closed", "lost"])
def test_a_stalled_client_that_was_closed_or_lost_is_stalled_no_more(how: str) -> None:
    hub = make_hub(HubLimits(waiting_requests=1))
    open_connection(hub, 1)
    question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, event(2), now=0)
    if how == "closed":
        hub.close_connection("c-1")
    else:
        hub.forget_session("c-1")
    assert hub.stalled == set()


@pytest.mark.parametrize(
    "waits",
    [
        SendToGroup(group="g" * 50, payload=text("x" * 30), metadata={"k" * 10: "v" * 10}),
        SendEvent(event="e" * 50, payload=text("x" * 30), metadata={"k" * 10: "v" * 10}),
        Invoke(invocation_id="i" * 50, event="e" * 40, metadata={"k": "v" * 9}),
        Invoke(invocation_id="i" * 50, event="e" * 40, payload=text("x" * 10)),
        JoinGroup("g" * 100),
    ],
)
def test_waiting_requests_count_by_all_that_they_hold(waits: Request) -> None:
    hub = make_hub(HubLimits(waiting_bytes=101))
    open_connection(hub, 1)
    question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, waits, now=0)
    assert hub.stalled == set()
    hub.receive(1, JoinGroup("g"), now=0)
    assert hub.stalled == {"c-1"}


# How a connection ends while something waits


def test_what_a_client_sent_before_it_left_is_carried_out() -> None:
    hub = make_hub(announced=["disconnected"])
    open_connection(hub, 1)
    open_connection(hub, 2, groups=["a"])
    first = question_of(hub.receive(1, event(None), now=0))
    hub.receive(1, JoinGroup("a"), now=0)
    hub.receive(1, SendToGroup(group="a", payload=text("bye")), now=0)
    hub.receive(1, event(None, "last"), now=0)
    assert hub.transport_ended(1, code=1000, now=0) == []
    *deliveries, second = hub.answer_event(first.token, EventHandled(), now=0)
    assert deliveries == [Deliver(DataMessage(payload=text("bye"), group="a"), [(2, None)])]
    assert question_of([second]).event == "last"
    assert list(hub.registry.groups["a"]) == ["c-2"]
    ended = hub.answer_event(question_of([second]).token, EventHandled(text("too late")), now=0)
    assert ended == [Notify("disconnected", "c-1", None, "json.webpubsub.azure.v1", "")]


@pytest.mark.parametrize("how", ["closed", "lost"])
def test_nothing_more_is_done_for_a_connection_that_was_closed_or_lost(how: str) -> None:
    hub = make_hub(announced=["disconnected"])
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, event(2), now=0)
    effects = hub.close_connection("c-1", reason="away") if how == "closed" else hub.forget_session("c-1")
    assert not any(isinstance(effect, Notify) for effect in effects)
    (notice,) = hub.answer_event(question.token, EventHandled(), now=0)
    assert isinstance(notice, Notify)


def test_a_failed_event_can_drop_the_client() -> None:
    hub = make_hub(drop_failed_events=True)
    open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(1), now=0))
    hub.receive(1, event(2), now=0)
    assert hub.answer_event(question.token, FAILED, now=0) == [
        Send(1, DisconnectedMessage("it broke")),
        Close(1, 1011, "it broke"),
    ]
    assert hub.registry.connections == {}


def test_an_answer_counts_once() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    hub.answer_event(question.token, EventHandled(), now=0)
    assert hub.answer_event(question.token, EventHandled(text("again")), now=0) == []


@pytest.mark.parametrize("answer", [FAILED, EventHandled(text("done"))])
def test_an_answer_for_a_connection_that_is_gone_is_dropped(answer: EventFailed | EventHandled) -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, event(), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, answer, now=0) == []


def test_the_answer_of_an_event_finds_the_session_on_its_new_transport() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    hub.recover(2, "c-1", token, now=1)
    assert hub.answer_event(question.token, EventHandled(), now=0) == [Send(2, Ack(5, True))]


def test_a_reply_waits_for_the_session_and_its_ack_does_not() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, EventHandled(text("done")), now=0) == []
    assert hub.recover(2, "c-1", token, now=1)[1:] == [Deliver(DataMessage(payload=text("done")), [(2, 1)])]
    assert error_name(hub.receive(2, event(5), now=0)) == "Duplicate"


def test_a_failure_while_the_transport_is_lost_lets_the_event_be_repeated() -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    hub.transport_ended(1, code=None, now=0)
    assert hub.answer_event(question.token, FAILED, now=0) == []
    hub.recover(2, "c-1", token, now=1)
    question_of(hub.receive(2, event(5), now=0))


def test_a_reply_that_finds_no_room_ends_the_session_and_there_is_no_ack() -> None:
    hub = make_hub(HubLimits(unacknowledged_bytes=2))
    open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, event(5), now=0))
    assert not any(
        isinstance(effect, Send) for effect in hub.answer_event(question.token, EventHandled(text("long")), now=0)
    )
    assert hub.registry.connections == {}


# Invocations


def test_an_invocation_gets_its_result() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke("i-7"), now=0))
    assert question.invocation_id == "i-7"
    response = InvokeResponse(invocation_id="i-7", success=True, payload=text("12"), metadata={"a": "b"})
    assert hub.answer_event(question.token, EventHandled(text("12"), {"a": "b"}), now=0) == [Send(1, response)]


def test_an_invocation_that_fails_gets_the_error() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke(), now=0))
    response = InvokeResponse(invocation_id="i-1", success=False, error=FAILED.error)
    assert hub.answer_event(question.token, FAILED, now=0) == [Send(1, response)]


@pytest.mark.parametrize("pending", ["i-1", "i-2"])
def test_an_invocation_with_a_pending_id_is_a_bad_request(pending: str) -> None:
    hub = make_hub()
    open_connection(hub, 1)
    hub.receive(1, invoke("i-1"), now=0)
    hub.receive(1, invoke("i-2"), now=0)
    assert refused_invocation(hub.receive(1, invoke(pending), now=0)) == (pending, "BadRequest")


def test_an_invocation_with_a_bad_name_is_a_bad_request() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert refused_invocation(hub.receive(1, invoke("i-1", "not an event"), now=0)) == ("i-1", "BadRequest")


def refused_invocation(effects: list[Effect]) -> tuple[str, str]:
    (effect,) = effects
    assert isinstance(effect, Send)
    assert isinstance(effect.message, InvokeResponse)
    assert effect.message.error is not None
    return effect.message.invocation_id, effect.message.error.name


def test_a_cancelled_invocation_is_withdrawn_and_the_next_requesthas_its_turn() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke(), now=0))
    hub.receive(1, JoinGroup("a", 1), now=0)
    assert hub.receive(1, CancelInvocation("i-1"), now=0) == [Withdraw(question.token), Send(1, Ack(1, True))]
    assert hub.answer_event(question.token, EventHandled(), now=0) == []
    question_of(hub.receive(1, invoke(), now=0))


def test_a_cancelled_invocation_that_waits_is_never_asked_about() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    running = question_of(hub.receive(1, invoke("i-1"), now=0))
    hub.receive(1, invoke("i-2"), now=0)
    hub.receive(1, invoke("i-3"), now=0)
    assert hub.receive(1, CancelInvocation("i-2"), now=0) == []
    _, following = hub.answer_event(running.token, EventHandled(), now=0)
    assert question_of([following]).invocation_id == "i-3"


def test_cancelling_what_does_not_run_does_nothing() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    assert hub.receive(1, CancelInvocation("i-1"), now=0) == []


@pytest.mark.parametrize("taken_over", [False, True])
def test_an_invocation_does_not_outlive_its_transport(taken_over: bool) -> None:
    hub = make_hub()
    token = open_connection(hub, 1, reliable=True)
    question = question_of(hub.receive(1, invoke("i-1"), now=0))
    hub.receive(1, invoke("i-2"), now=0)
    hub.receive(1, JoinGroup("a"), now=0)
    if taken_over:
        assert hub.recover(2, "c-1", token, now=1)[:2] == [Abort(1), Withdraw(question.token)]
    else:
        assert hub.transport_ended(1, code=None, now=0) == [Withdraw(question.token)]
        hub.recover(2, "c-1", token, now=1)
    assert list(hub.registry.groups) == ["a"]
    assert hub.answer_event(question.token, EventHandled(), now=0) == []
    question_of(hub.receive(2, invoke("i-2"), now=0))


def test_an_invocation_of_a_client_that_was_closed_gets_no_response() -> None:
    hub = make_hub()
    open_connection(hub, 1)
    question = question_of(hub.receive(1, invoke(), now=0))
    hub.close_connection("c-1")
    assert hub.answer_event(question.token, EventHandled(), now=0) == []
