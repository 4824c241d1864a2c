from __future__ import annotations

from trio_webpubsub.emulator.hub.ack_memory import AckMemory


def test_an_id_is_new_once() -> None:
    memory = AckMemory(10)
    assert memory.remember(7)
    assert not memory.remember(7)


def test_the_oldest_id_is_forgotten_when_there_are_too_many() -> None:
    memory = AckMemory(2)
    for ack_id in (1, 2, 3):
        memory.remember(ack_id)
    assert not memory.remember(3)
    assert not memory.remember(2)
    assert memory.remember(1)


def test_a_forgotten_id_may_be_used_again() -> None:
    memory = AckMemory(10)
    memory.remember(7)
    memory.forget(7)
    assert memory.remember(7)


def test_forgetting_an_id_that_is_not_known_does_nothing() -> None:
    AckMemory(10).forget(7)
