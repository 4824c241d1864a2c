"""What users do with messages."""

from __future__ import annotations

import msgspec
import pytest

from trio_webpubsub.protocol.errors import InvalidPayload
from trio_webpubsub.protocol.messages import Gap, GroupMessage, InvokeResult, ServerMessage


class Order(msgspec.Struct):
    sku: str
    count: int = 1


def test_data_as_a_typed_value() -> None:
    message = GroupMessage(group="g", data={"sku": "x", "count": 2})
    assert message.decode_as(Order) == Order("x", 2)


def test_data_that_does_not_fit() -> None:
    with pytest.raises(InvalidPayload, match="sku"):
        ServerMessage(data={}).decode_as(Order)


def test_data_that_was_never_decoded() -> None:
    with pytest.raises(InvalidPayload, match="too deep"):
        ServerMessage(data_error="too deep", raw=b"[[").decode_as(Order)


def test_an_answer_as_a_typed_value() -> None:
    assert InvokeResult(data={"sku": "x"}, data_type="json").decode_as(Order) == Order("x")
    with pytest.raises(InvalidPayload, match="sku"):
        InvokeResult(data={}).decode_as(Order)


def test_gaps_add_up() -> None:
    assert Gap(unreadable=1, overflowed=2) + Gap(session_lost=True, overflowed=3) == Gap(
        session_lost=True, unreadable=1, overflowed=5
    )
