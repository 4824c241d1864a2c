from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import pytest

from tests.case_names import shown
from trio_webpubsub.protocol.arguments import (
    check_async,
    check_callable,
    check_choice,
    check_flags,
    check_number,
    check_numbers,
    check_several,
    check_status,
    check_type,
    checked_pairs,
)


@pytest.mark.parametrize("value", [1, 0.5, math.inf])
def test_a_number_above_zero_is_given_back(value: float) -> None:
    assert check_number("speed", value) == value


def test_zero_may_be_allowed() -> None:
    assert check_number("speed", 0, zero=True) == 0


@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan])
def test_a_number_out_of_range_is_told(value: float) -> None:
    with pytest.raises(ValueError, match=f"speed is {value}; it must be more than 0"):
        check_number("speed", value)


def test_below_zero_is_told_where_zero_is_allowed() -> None:
    with pytest.raises(ValueError, match="speed is -1; it must be 0 or more"):
        check_number("speed", -1, zero=True)


def test_a_number_beyond_all_others_is_told() -> None:
    with pytest.raises(ValueError, match=r"speed is too large a number; math\.inf stands for no limit"):
        check_number("speed", 10**400)


@pytest.mark.parametrize("value", [None, "1", True, b"1", [1]])
def test_what_is_no_number_is_told_by_its_type(value: object) -> None:
    with pytest.raises(TypeError, match=f"speed is a number, not '{type(value).__name__}'"):
        check_number("speed", value)


def test_who_wants_no_limit_is_told_how_to_say_that() -> None:
    with pytest.raises(TypeError, match=r"speed is a number, not 'NoneType'; math\.inf stands for no limit$"):
        check_number("speed", None)
    with pytest.raises(TypeError, match=r"latency is a number, not 'NoneType'$"):
        check_number("latency", None, zero=True)


def test_the_wrong_one_of_several_numbers_is_told() -> None:
    check_numbers(speed=1, weight=2.5)
    with pytest.raises(ValueError, match="weight is 0; it must be more than 0"):
        check_numbers(speed=1, weight=0)


def test_a_text_is_no_flag() -> None:
    check_flags(fast=True, safe=False)
    with pytest.raises(TypeError, match="safe is True or False, not 'str'"):
        check_flags(fast=True, safe="false")


def test_a_wrong_type_is_told_with_what_is_wanted() -> None:
    check_type("name", "x", str, "a str")
    with pytest.raises(TypeError, match="name is a str or None; this is 'bytes'"):
        check_type("name", b"x", (str, type(None)), "a str or None")


@pytest.mark.parametrize("value", ["c", None, 5, ["a"], b"a"])
def test_one_of_a_few_texts(value: object) -> None:
    check_choice("way", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"way is .*, which is none of 'a', 'b'"):
        check_choice("way", value, ("a", "b"))


def test_a_value_that_is_none_of_them_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"way is 'x{99}, which"):
        check_choice("way", "x" * 1000, ("a",))


def test_several_are_any_iterable() -> None:
    assert check_several("names", (name for name in "ab")) == ["a", "b"]


@pytest.mark.parametrize("value", ["ab", b"ab", None, 5])
def test_one_is_not_several(value: Any) -> None:
    with pytest.raises(TypeError, match=f"names takes several, so a list and not one {type(value).__name__}"):
        check_several("names", value)


@pytest.mark.parametrize("value", [{"a": "b"}, [("a", "b")], (["a", "b"],), {("a", "b")}, iter([("a", "b")])])
def test_pairs_come_in_many_forms(value: object) -> None:
    assert [tuple(pair) for pair in checked_pairs("params", value)] == [("a", "b")]


@pytest.mark.parametrize("value", [None, 5, "ab", b"ab"])
def test_what_holds_no_pairs_is_told(value: object) -> None:
    with pytest.raises(TypeError, match=f"params is a mapping, or a sequence of pairs, not '{type(value).__name__}'"):
        checked_pairs("params", value)


@pytest.mark.parametrize("value", [("a", "b"), ["ab"], [("a", "b", "c")], [5], [None]])
def test_what_is_no_pair_is_told(value: object) -> None:
    with pytest.raises(TypeError, match="something in it is no pair"):
        checked_pairs("params", value)


# Callables


async def one(value: object) -> None: ...


async def one_by_name(*, value: object) -> None: ...


async def none() -> None: ...


async def forever(value: object) -> Any:  # noqa: ASYNC900  # which is the mistake
    yield value


def generator(value: object) -> Iterator[object]:
    yield value


class Instance:
    async def __call__(self, value: object) -> None: ...


@pytest.mark.parametrize("function", [one, Instance(), partial(one), print, generator])
def test_what_can_be_called_so(function: Callable[..., Any]) -> None:
    check_callable("on_event", function, "event")


def test_what_has_no_signature_is_believed() -> None:
    check_callable("on_event", type, "event")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("one", "on_event is an async function, not 'str'"),
        (None, "on_event is an async function, not 'NoneType'"),
        (forever, "on_event is an async function, not an async generator"),
        (none, "on_event is called (event), which this one does not take: too many"),
        (one_by_name, "on_event is called (event), which this one does not take"),
        (Instance, "on_event is called (event), which this one does not take"),
    ],
    ids=shown,
)
def test_what_cannot_be_called_so(function: object, why: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_callable("on_event", function, "event")
    assert str(caught.value).startswith(why)


def test_what_wants_arguments_that_nobody_gives() -> None:
    with pytest.raises(TypeError, match=r"provider is called without arguments .*partial.*: missing a required"):
        check_callable("provider", one)


def test_a_coroutine_was_called_too_early() -> None:
    with pytest.raises(TypeError, match=r"on_event is an async function; .* called already"):
        check_callable("on_event", none(), "event")


def wrapper_of(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(value: object) -> Any:
        return function(value)

    return wrapper


MAY_BE_ASYNC: list[Callable[[object], Any]] = [
    *(one, Instance(), Instance().__call__, partial(one), wrapper_of(one)),
    lambda value: one([value]),
]


@pytest.mark.parametrize("function", MAY_BE_ASYNC, ids=range(len(MAY_BE_ASYNC)))
def test_what_may_well_be_async(function: Callable[..., Any]) -> None:
    check_async("on_event", function, "event")


class Plain:
    def method(self, value: object) -> None: ...


@pytest.mark.parametrize("function", [int, print, generator, Plain().method, wrapper_of(generator)])
def test_what_was_written_without_async_is_told(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"on_event is an async function, and {function.__name__} is not: write async"):
        check_async("on_event", function, "event")


def test_what_is_no_function_is_not_async_either() -> None:
    with pytest.raises(TypeError, match="on_event is an async function, not 'str'"):
        check_async("on_event", "one", "event")


def test_a_status_that_refuses() -> None:
    check_status(400, "it is refused")
    with pytest.raises(ValueError, match="it is refused with a status from 400 to 599, not 200"):
        check_status(200, "it is refused")
    for wrong in ("401", None, 401.0, True):
        with pytest.raises(TypeError, match="a status is a whole number"):
            check_status(wrong, "it is refused")
