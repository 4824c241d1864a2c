"""What `except*` makes groups of is shown as it was."""

from __future__ import annotations

import pytest

from trio_webpubsub._shell.groups import ungrouped


@pytest.mark.parametrize("error", [ValueError("one"), ExceptionGroup("of a nursery", [ValueError("one")])])
def test_an_error_is_what_it_was_before_it_was_caught_in_a_group(error: Exception) -> None:
    try:
        raise error
    except* ValueError as group:
        caught = ungrouped(group)
    assert repr(caught) == repr(error)
