from __future__ import annotations

from dataclasses import dataclass

import pytest

from trio_webpubsub.protocol.errors import InvalidPayload
from trio_webpubsub.protocol.messages import GroupMessage, ServerMessage


@dataclass
class Order:
    number: int


def test_data_comes_as_the_type_that_is_asked_for() -> None:
    assert ServerMessage(data={"number": 7}).decode_as(Order) == Order(7)


def test_data_of_another_shape_is_invalid() -> None:
    with pytest.raises(InvalidPayload, match="number"):
        GroupMessage(group="g", data={"number": "seven"}).decode_as(Order)


def test_what_could_not_be_decoded_is_invalid_whatever_is_asked_for() -> None:
    message = GroupMessage(group="g", data_error="not base64", raw=b"?")
    with pytest.raises(InvalidPayload, match="not base64"):
        message.decode_as(object)


def test_messages_do_not_change() -> None:
    message = ServerMessage(data=1)
    with pytest.raises(AttributeError):
        message.data = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # what is tried here
    assert message.data == 1
