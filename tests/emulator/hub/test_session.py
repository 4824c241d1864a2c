from __future__ import annotations

import pytest

from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.hub.session import ReconnectionTokens, ReplayBuffer
from trio_webpubsub.protocol.wire import DataMessage, Payload


def message(size: int = 1) -> DataMessage:
    return DataMessage(payload=Payload("binary", bytes(size)))


def test_sequence_ids_count_up_from_one_whatever_is_acknowledged() -> None:
    buffer = ReplayBuffer(HubLimits())
    assert [buffer.append(message(), now=0), buffer.append(message(), now=0)] == [1, 2]
    buffer.acknowledge(2)
    assert buffer.append(message(), now=0) == 3


def test_an_acknowledgement_counts_for_all_before_it() -> None:
    buffer = ReplayBuffer(HubLimits())
    for _ in range(4):
        buffer.append(message(), now=0)
    buffer.acknowledge(3)
    buffer.acknowledge(1)
    assert [number for number, _ in buffer.replay(0)] == [4]


def test_an_acknowledgement_of_what_was_never_sent_takes_everything() -> None:
    buffer = ReplayBuffer(HubLimits())
    buffer.append(message(), now=0)
    buffer.acknowledge(2**64)
    assert list(buffer.replay(0)) == []


def test_what_has_expired_is_not_sent_again() -> None:
    buffer = ReplayBuffer(HubLimits())
    buffer.append(message(), now=0, expires=5)
    buffer.append(message(), now=0)
    buffer.append(message(), now=0, expires=7)
    assert [[number for number, _ in buffer.replay(now)] for now in (4.9, 5, 7)] == [[1, 2, 3], [2, 3], [2]]


def test_one_message_too_many_finds_no_room() -> None:
    buffer = ReplayBuffer(HubLimits(unacknowledged_messages=2))
    assert [buffer.append(message(), now=0) for _ in range(3)] == [1, 2, None]
    buffer.acknowledge(1)
    assert buffer.append(message(), now=0) == 3


def test_expired_messages_make_room() -> None:
    buffer = ReplayBuffer(HubLimits(unacknowledged_messages=2, unacknowledged_bytes=10))
    assert [buffer.append(message(4), now=0, expires=5), buffer.append(message(6), now=0)] == [1, 2]
    assert buffer.append(message(4), now=4.9) is None
    assert buffer.append(message(4), now=5) == 3
    assert [number for number, _ in buffer.replay(5)] == [2, 3]


def test_one_byte_too_many_finds_no_room() -> None:
    buffer = ReplayBuffer(HubLimits(unacknowledged_bytes=10))
    assert [buffer.append(message(6), now=0), buffer.append(message(4), now=0), buffer.append(message(1), now=0)] == [
        1,
        2,
        None,
    ]
    buffer.acknowledge(1)
    assert buffer.append(message(6), now=0) == 3
    assert buffer.append(message(1), now=0) is None


def test_every_token_that_was_given_is_accepted() -> None:
    tokens = ReconnectionTokens(b"secret")
    given = [tokens.issue(), tokens.issue()]
    assert given[0] != given[1]
    assert all(tokens.accept(token) for token in given)


@pytest.mark.parametrize("token", ["", ".", "1", "1.", "1.00", "x.y", "é.é", "\ud800.1", "1" * 10_000])
def test_another_token_is_refused(token: str) -> None:
    assert not ReconnectionTokens(b"secret").accept(token)


def test_the_token_of_another_session_is_refused() -> None:
    assert not ReconnectionTokens(b"other").accept(ReconnectionTokens(b"secret").issue())
