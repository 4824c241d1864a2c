"""Filters: expressions that choose connections by user, id and groups, written without quoting accidents.

Source: "OData filter syntax" in the service's documentation.
"""

from __future__ import annotations

from typing import Any

from .names import check_text

_INT64 = 2**63


def odata(template: str, *values: object) -> str:
    """Write a filter with values in it.

    Example: ``odata("userId eq {} and {} in groups", user_id, "room-7")``; whatever the user is called, the filter
    means what it says.

    Args:
        template: An expression in the service's OData syntax, with ``{}`` for each value.
        values: ``str``, ``int``, ``bool`` and ``None`` become literals; a list or tuple of them becomes what stands
            behind ``in``, such as ``('a','b')``.

    Raises:
        ValueError: There are more or fewer values than ``{}``, a ``{}`` stands within quotes, quotes are not closed, a
            list is empty, an integer has more than 64 bits, or a text holds a lone surrogate.
        TypeError: A value is of another type, for which filters have no literal.
    """
    parts = check_text(template, "filter template").split("{}")
    if len(parts) - 1 != len(values):
        raise ValueError(f"the template has {len(parts) - 1} places for values, and there are {len(values)} values")
    written = parts[0]
    quotes = parts[0].count("'")
    for value, part in zip(values, parts[1:], strict=True):
        if quotes % 2:
            raise ValueError("a {} stands within quotes, which are written for it")
        written += _literal(value) + part
        quotes += part.count("'")
    if quotes % 2:
        raise ValueError("the template has a quote that is not closed")
    return check_filter(written)


def check_filter(expression: str) -> str:
    """Give ``expression`` back if it can be sent; whether it means something is for the service to say.

    Raises:
        ValueError: it is empty, or holds a lone surrogate.
        TypeError: it is not a ``str``.
    """
    if not check_text(expression, "filter").strip():
        raise ValueError("a filter cannot be empty; leave it out to reach all")
    return expression


def _literal(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            if not -_INT64 <= value < _INT64:
                raise ValueError("an integer in a filter has at most 64 bits")
            return str(int(value))  # an enum's own text may be its name
        case str():
            return "'" + check_text(value, "value in a filter").replace("'", "''") + "'"
        case [*values]:
            if not values:
                raise ValueError("a list in a filter cannot be empty")
            if any(isinstance(each, list | tuple) for each in values):
                raise TypeError("a list in a filter holds single values")
            return f"({','.join(map(_literal, values))})"
        case _:
            raise TypeError(f"a filter has no literal for {type(value).__name__}")
