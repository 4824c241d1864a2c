from __future__ import annotations

import copy
import pickle

from trio_webpubsub.protocol.errors import MessageTooLarge, ProtocolViolation


def test_a_message_too_large_tells_both_sizes() -> None:
    error = MessageTooLarge(2_000_000, 1_048_576)
    assert (error.size, error.limit) == (2_000_000, 1_048_576)
    assert str(error) == "the message would have 2,000,000 bytes, the limit is 1,048,576"


def test_a_violation_tells_the_close_code() -> None:
    error = ProtocolViolation(1007, "not UTF-8")
    assert (error.code, error.reason) == (1007, "not UTF-8")
    assert str(error) == "not UTF-8 (close code 1007)"


def test_an_error_can_be_copied() -> None:
    error = MessageTooLarge(2, 1)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(again), again.size, again.limit) == (str(error), 2, 1)
