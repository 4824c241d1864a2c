from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.backoff import full_jitter


def test_the_limits_double_up_to_the_cap() -> None:
    assert list(islice(full_jitter(lambda: 0.5), 9)) == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]
    assert list(islice(full_jitter(lambda: 0.5, base=2, cap=6), 4)) == [1, 2, 3, 3]


def test_a_cap_below_the_base_counts_from_the_first_delay() -> None:
    assert list(islice(full_jitter(lambda: 0.5, base=4, cap=2), 2)) == [1, 1]


def test_randomness_is_asked_for_each_delay() -> None:
    assert list(islice(full_jitter(iter([0.0, 0.25, 0.75]).__next__), 3)) == [0, 0.25, 1.5]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_no_delay_exceeds_the_cap(numbers: list[float]) -> None:
    delays = list(islice(full_jitter(iter(numbers).__next__), len(numbers)))
    assert all(0 <= delay <= min(30, 0.5 * 2**turn) for turn, delay in enumerate(delays))
