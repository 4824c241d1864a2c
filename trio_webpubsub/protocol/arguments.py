"""Checks at the door: what cannot be is named there, before anything is opened, sent or kept.

Each check raises ``TypeError`` for a value of the wrong type and ``ValueError`` for one that makes no sense; the text
names the argument. Texts and whole numbers are checked in `names`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

T = TypeVar("T")


def check_number(name: str, value: object, *, zero: bool = False) -> float:
    """Give ``value`` back if it is a number above 0, or not below with ``zero``; ``math.inf`` is one.

    Raises:
        ValueError: it is another number.
        TypeError: it is no number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        unlimited = "; math.inf stands for no limit" if value is None and not zero else ""
        raise TypeError(f"{name} is a number, not {kind_of(value)}{unlimited}")
    if not (value >= 0 if zero else value > 0):
        raise ValueError(f"{name} is {value}; it must be {'0 or more' if zero else 'more than 0'}")
    try:
        float(value)
    except OverflowError:  # a whole number that cannot be added to a time
        raise ValueError(f"{name} is too large a number; math.inf stands for no limit") from None
    return value


def check_numbers(**numbers: object) -> None:
    """Refuse what is no number above 0, as `check_number` does.

    Raises:
        ValueError, TypeError: one is none.
    """
    for name, value in numbers.items():
        check_number(name, value)


def check_flags(**flags: object) -> None:
    """Refuse what is no ``bool``: the text ``"false"`` would count as true.

    Raises:
        TypeError: one is none.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is True or False, not {kind_of(value)}")


def check_type(name: str, value: object, type_: type[Any] | tuple[type[Any], ...], wanted: str) -> None:
    """Refuse a value that is not of a type; ``wanted`` says what it should be.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, type_):
        raise TypeError(f"{name} is {wanted}; this is {kind_of(value)}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a value that is none of a few texts.

    Raises:
        ValueError: it is none of them, whatever its type.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r:.100}, which is none of {', '.join(map(repr, choices))}")


def check_several(name: str, values: Iterable[T]) -> list[T]:
    """Give what may be any iterable as a list.

    Raises:
        TypeError: it is none, or a single ``str``, whose letters nobody means.
    """
    if isinstance(values, str | bytes) or not _is_iterable(values):
        raise TypeError(f"{name} takes several, so a list and not one {type(values).__name__}")
    return list(values)


def checked_pairs(name: str, values: Any) -> list[tuple[Any, Any]]:
    """Give the items of a mapping, or of what holds pairs; what stands in them is not looked at.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(values, str | bytes) or not _is_iterable(values):
        raise TypeError(f"{name} is a mapping, or a sequence of pairs, not {kind_of(values)}")
    pairs: list[Any] = list(_items(values))
    if not all(isinstance(pair, tuple | list) and len(cast("list[Any]", pair)) == 2 for pair in pairs):
        raise TypeError(f"{name} is a mapping, or a sequence of pairs; something in it is no pair")
    return pairs


def check_callable(name: str, function: object, *arguments: str) -> None:
    """Refuse what cannot be called and awaited: whether it really is async shows only when it is called.

    Args:
        name: What it is called in the error.
        function: What somebody passed.
        arguments: What it will be called with.

    Raises:
        TypeError: it is no callable, takes other arguments, or is an async generator.
    """
    if inspect.iscoroutine(function):
        function.close()  # nobody will await it
        raise TypeError(f"{name} is an async function; this is one that was called already: leave the () away")
    if not callable(function) or inspect.isasyncgenfunction(function):
        what = "an async generator, which yields" if callable(function) else kind_of(function)
        raise TypeError(f"{name} is an async function, not {what}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        given = f"({', '.join(arguments)})" if arguments else "without arguments (functools.partial binds some)"
        raise TypeError(f"{name} is called {given}, which this one does not take: {error}") from None


def check_async(name: str, function: object, *arguments: str) -> None:
    """Refuse what `check_callable` does, and functions written without ``async``: for what is first called much later.

    What may well pass an awaitable on is believed: a ``lambda``, a ``functools.partial``, an instance, and what wraps
    an async function.

    Raises:
        TypeError: as `check_callable`, or it was written without ``async``.
    """
    check_callable(name, function, *arguments)
    written = inspect.unwrap(cast("Callable[..., object]", function))
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(written)
    if isinstance(written, type) or (inspect.isroutine(written) and not is_async and written.__name__ != "<lambda>"):
        raise TypeError(f"{name} is an async function, and {written.__name__} is not: write async def")


def check_status(status: object, what_it_does: str) -> None:
    """Refuse what is no HTTP status that refuses something.

    Raises:
        ValueError: it is below 400 or above 599.
        TypeError: it is no whole number.
    """
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"a status is a whole number from 400 to 599, not {kind_of(status)}")
    if not 400 <= status <= 599:
        raise ValueError(f"{what_it_does} with a status from 400 to 599, not {status}")


def _items(values: Any) -> Any:
    return values.items() if hasattr(values, "items") else values


def _is_iterable(value: object) -> bool:
    return isinstance(value, Iterable)


def kind_of(value: object) -> str:
    """Name the type of a value, which itself may be a secret."""
    return repr(type(value).__name__)
