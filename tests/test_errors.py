"""Errors carry what a program may want to know, wherever they are taken."""

from __future__ import annotations

import copy
import pickle

import pytest
import trio

from trio_webpubsub import (
    AckTimeout,
    ClientStopped,
    ConnectFailed,
    DeliveryUnknown,
    GroupLost,
    InternalError,
    InvalidPayload,
    InvocationFailed,
    InvocationTimeout,
    MessageTooLarge,
    SendFailed,
    SubscriptionOverflow,
    WebPubSubError,
)

ERRORS = [
    ConnectFailed("refused", status=401),
    ClientStopped("gave up"),
    SendFailed(7, "Forbidden", "no role"),
    AckTimeout(7),
    DeliveryUnknown(7),
    InvocationFailed("Bad", "worse"),
    InvocationTimeout("Timeout", "late"),
    MessageTooLarge(2, 1),
    SubscriptionOverflow(3),
    GroupLost("g", SendFailed(7, "Forbidden", "no role")),
    InternalError("a defect"),
    InvalidPayload("not JSON"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_taken_to_another_process(error: WebPubSubError) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert repr(vars(again)) == repr(vars(error))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_all_are_one_tree(error: WebPubSubError) -> None:
    assert isinstance(error, WebPubSubError)
    assert isinstance(error, trio.TooSlowError) == ("Timeout" in type(error).__name__)
