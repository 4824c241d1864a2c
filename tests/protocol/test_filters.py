from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from trio_webpubsub.protocol.filters import check_filter, odata


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("template", "values", "written"),
    [
        ("userId eq {}", ["ann"], "userId eq 'ann'"),
        ("userId eq {}", ["o'neil' or true or userId eq '"], "userId eq 'o''neil'' or true or userId eq '''"),
        ("userId eq {} and {} in groups", ["ann", "room-7"], "userId eq 'ann' and 'room-7' in groups"),
        ("length(groups) ge {}", [3], "length(groups) ge 3"),
        ("length(groups) ge {}", [Level.HIGH], "length(groups) ge 3"),
        ("{} eq {}", [True, None], "true eq null"),
        ("userId in {}", [["ann", "bo"]], "userId in ('ann','bo')"),
        ("{} in {}", [-1, (1, 2)], "-1 in (1,2)"),
        ("userId eq 'it''s' or userId eq {}", ["{}"], "userId eq 'it''s' or userId eq '{}'"),
        ("userId eq '{'", [], "userId eq '{'"),
    ],
)
def test_values_become_literals(template: str, values: list[object], written: str) -> None:
    assert odata(template, *values) == written


REFUSED: list[tuple[Any, list[Any], type[Exception], str]] = [
    ("userId eq {}", [], ValueError, "1 places for values, and there are 0"),
    ("true", [1], ValueError, "0 places for values, and there are 1"),
    ("userId eq '{}'", ["ann"], ValueError, "within quotes"),
    ("userId eq '", [], ValueError, "not closed"),
    ("{} eq 'a", [1], ValueError, "not closed"),
    ("userId in {}", [[]], ValueError, "empty"),
    ("userId in {}", [[["a"]]], TypeError, "single values"),
    ("1 eq {}", [2**63], ValueError, "64 bits"),
    ("1 eq {}", [1.5], TypeError, "no literal for float"),
    ("userId eq {}", [b"ann"], TypeError, "no literal for bytes"),
    ("userId eq {}", ["\ud800"], ValueError, "lone surrogate"),
    ("{}", [object()], TypeError, "no literal for object"),
    (" ", [], ValueError, "empty"),
    (7, [], TypeError, "a filter template is a str"),
]


@pytest.mark.parametrize(("template", "values", "error", "why"), REFUSED)
def test_what_cannot_be_written_is_refused(
    template: str, values: list[object], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        odata(template, *values)


def test_a_filter_is_text_that_says_something() -> None:
    assert check_filter("x") == "x"
    with pytest.raises(ValueError, match="cannot be empty"):
        check_filter("\n")
