"""Spoiled bytes for everything that reads bytes without a connection."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.corpus import DIRECTORY, kept
from tests.fuzz.mutations import ROUNDS, spoiled
from tests.fuzz.targets import TARGETS, Target

WITH_IO = {"http", "websocket", "webhooks", "http-answers", "websocket-answers"}
"""What is kept for the tests with connections."""

EACH = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@EACH
def test_what_is_spoiled(target: Target) -> None:
    """Half of it is spoiled twice."""
    random, read, inputs = Random(0), target.reader(), target.inputs()
    for number in range(ROUNDS):
        data = spoiled(random.choice(inputs), random)
        target.outcome(read, spoiled(data, random) if number % 2 else data)


@EACH
def test_what_is_kept(target: Target) -> None:
    read = target.reader()
    for data in kept(target.name):
        target.outcome(read, data)


def test_there_is_a_corpus_of_every_target() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == {target.name for target in TARGETS} | WITH_IO
