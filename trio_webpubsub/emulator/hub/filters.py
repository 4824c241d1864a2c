"""The filter language: which connections an expression such as ``userId eq 'ann' and 'lobby' in groups`` means.

An expression is read once, into functions of a connection, each of a known type. What is wrong with it is found then,
whatever connections there are. The grammar, the weakest binding first::

    or    := and { "or" and }
    and   := cmp { "and" cmp }
    cmp   := unary [ ("eq" | "ne" | "gt" | "ge" | "lt" | "le") unary | "in" list ]
    unary := "not" unary | primary
    list  := "groups" | "(" primary { "," primary } ")"
    primary := literal | name | function "(" or { "," or } ")" | "(" or ")"

Source: "OData filter syntax" in the service's documentation; what becomes of nulls, and ``protocol``, are modelled on
the official emulator. Words count in any case.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

MAX_LENGTH = 16_384
"""Characters of an expression."""
MAX_CLAUSES = 100
"""Operands of ``and`` and ``or`` in one expression."""
MAX_DEPTH = 100
"""Levels of parentheses, functions and ``not``."""

_Type: TypeAlias = Literal["string", "int", "bool", "null", "collection"]


class Filterable(Protocol):
    """What a filter can ask about."""

    @property
    def id(self) -> str:
        """``connectionId``."""
        ...

    @property
    def user_id(self) -> str | None:
        """``userId``."""
        ...

    @property
    def groups(self) -> Mapping[str, object]:
        """``groups``."""
        ...

    @property
    def subprotocol(self) -> str | None:
        """``protocol``."""
        ...


class InvalidFilter(ValueError):
    """An expression that means nothing; the text says where and why."""

    def __init__(self, part: str, position: int, reason: str) -> None:
        shown = part if len(part) <= 60 else f"{part[:60]}..."
        super().__init__(f"Invalid syntax for '{shown}' at position {position}: {reason}")


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of an expression: where it stands, what type it has, and its value for a connection."""

    start: int
    type: _Type
    value: Callable[[Filterable], Any]


def compile_filter(expression: str) -> Callable[[Filterable], bool]:
    """Read an expression.

    Raises:
        InvalidFilter: it means nothing, or is too long or too deep.
    """
    if len(expression) > MAX_LENGTH:
        raise InvalidFilter(expression, 0, f"it is longer than {MAX_LENGTH:,} characters")
    return _Parser(expression).parse().value


_SPACE = re.compile(r"\s*")
_TOKEN = re.compile(r"(?P<text>'(?:[^']|'')*')|(?P<int>[+-]?[0-9]+)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[(),])")

_NAMES: dict[str, tuple[_Type, Callable[[Filterable], Any]]] = {
    "userid": ("string", lambda connection: connection.user_id),
    "connectionid": ("string", lambda connection: connection.id),
    "groups": ("collection", lambda connection: connection.groups),
    "protocol": ("string", lambda connection: connection.subprotocol),
    "true": ("bool", lambda _: True),
    "false": ("bool", lambda _: False),
    "null": ("null", lambda _: None),
}

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_RESERVED = frozenset({"and", "or", "not", "in", "eq", "ne", *_ORDER})


def _substring(text: str | None, start: int | None, length: int | None = None) -> str | None:
    if text is None or start is None or not 0 <= start <= len(text):
        return None
    if length is None:
        return text[start:]
    return text[start : start + length] if 0 <= length <= len(text) - start else None


def _length(value: str | Mapping[str, object] | None) -> int | None:
    return None if value is None else len(value)


def _concat(first: str | None, second: str | None) -> str:
    return (first or "") + (second or "")


def _of_text(function: Callable[[str], Any]) -> Callable[[str | None], Any]:
    return lambda text: None if text is None else function(text)


def _of_texts(function: Callable[[str, str], Any], otherwise: object) -> Callable[[str | None, str | None], Any]:
    return lambda first, second: otherwise if first is None or second is None else function(first, second)


_FUNCTIONS: dict[str, tuple[_Type, list[tuple[_Type, ...]], Callable[..., Any]]] = {
    # Type of the result, types of the arguments, and what it does.
    "tolower": ("string", [("string",)], _of_text(str.lower)),
    "toupper": ("string", [("string",)], _of_text(str.upper)),
    "trim": ("string", [("string",)], _of_text(str.strip)),
    "length": ("int", [("string",), ("collection",)], _length),
    "contains": ("bool", [("string", "string")], _of_texts(lambda text, part: part in text, otherwise=False)),
    "startswith": ("bool", [("string", "string")], _of_texts(str.startswith, otherwise=False)),
    "endswith": ("bool", [("string", "string")], _of_texts(str.endswith, otherwise=False)),
    "indexof": ("int", [("string", "string")], _of_texts(str.find, otherwise=-1)),
    "concat": ("string", [("string", "string")], _concat),
    "substring": ("string", [("string", "int"), ("string", "int", "int")], _substring),
}


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._end = 0  # of the last token that was taken
        self._depth = 0
        self._clauses = 0
        self._position = 0  # of the next token
        self._kind = ""
        self._token = ""
        self._take()

    def parse(self) -> _Node:
        node = self._or()
        if self._kind:
            raise self._wrong("the expression goes on where it should end")
        return self._expect(node, "bool")

    # Tokens

    def _take(self) -> str:
        """Take the next token and look at the one behind it."""
        taken = self._token
        self._end = self._position + len(taken)
        space = _SPACE.match(self._expression, self._end)
        self._position = self._end if space is None else space.end()
        if self._position == len(self._expression):
            self._kind = self._token = ""
            return taken
        match = _TOKEN.match(self._expression, self._position)
        if match is None:
            self._token = self._expression[self._position : self._position + 20]
            raise self._wrong("this is no part of the language")
        self._kind = match.lastgroup or ""
        self._token = match[0]
        return taken

    def _is(self, *words: str) -> bool:
        return self._token.lower() in words and self._kind in ("word", "mark")

    def _require(self, mark: str) -> None:
        if not self._is(mark):
            raise self._wrong(f"'{mark}' is expected here")
        self._take()

    def _wrong(self, reason: str) -> InvalidFilter:
        return InvalidFilter(self._token or "the end", self._position, reason)

    def _expect(self, node: _Node, *types: _Type) -> _Node:
        if node.type not in types:
            part = self._expression[node.start : self._end]
            raise InvalidFilter(part, node.start, f"it is of type {node.type}, expected is {' or '.join(types)}")
        return node

    # The grammar

    def _or(self) -> _Node:
        node = self._and()
        while self._is("or"):
            self._take()
            node = self._both(node, self._and(), lambda first, second: first or second)
        return node

    def _and(self) -> _Node:
        node = self._cmp()
        while self._is("and"):
            self._take()
            node = self._both(node, self._cmp(), lambda first, second: first and second)
        return node

    def _both(self, left: _Node, right: _Node, combine: Callable[[bool, bool], bool]) -> _Node:
        self._clauses += 1
        if self._clauses >= MAX_CLAUSES:
            raise self._wrong(f"there are more than {MAX_CLAUSES} clauses")
        self._expect(left, "bool")
        self._expect(right, "bool")
        first, second = left.value, right.value
        return _Node(left.start, "bool", lambda connection: combine(first(connection), second(connection)))

    def _cmp(self) -> _Node:
        left = self._unary()
        word = self._token.lower() if self._kind == "word" else ""
        if word == "in":
            self._take()
            return self._in(left)
        if word in ("eq", "ne"):
            self._take()
            return self._equal(left, self._unary(), wanted=word == "eq")
        if word in _ORDER:
            self._take()
            return self._ordered(left, self._unary(), _ORDER[word])
        return left

    def _equal(self, left: _Node, right: _Node, *, wanted: bool) -> _Node:
        self._expect(left, "string", "int", "bool", "null")
        self._expect(right, "string", "int", "bool", "null")
        if left.type != right.type and "null" not in (left.type, right.type):
            self._expect(right, left.type)
        first, second = left.value, right.value
        return _Node(left.start, "bool", lambda connection: (first(connection) == second(connection)) is wanted)

    def _ordered(self, left: _Node, right: _Node, compare: Callable[[Any, Any], bool]) -> _Node:
        self._expect(left, "int", "null")
        self._expect(right, "int", "null")
        first, second = left.value, right.value

        def value(connection: Filterable) -> bool:
            one, other = first(connection), second(connection)
            return one is not None and other is not None and compare(one, other)

        return _Node(left.start, "bool", value)

    def _in(self, left: _Node) -> _Node:
        value = left.value
        if self._is("groups"):
            self._take()
            self._expect(left, "string", "null")
            return _Node(left.start, "bool", lambda connection: value(connection) in connection.groups)
        self._expect(left, "string", "int", "bool", "null")
        self._require("(")
        members = [self._member(left)]
        while self._is(","):
            self._take()
            members.append(self._member(left))
        self._require(")")
        return _Node(
            left.start,
            "bool",
            lambda connection: value(connection) in [each(connection) for each in members],
        )

    def _member(self, left: _Node) -> Callable[[Filterable], Any]:
        node = self._primary()
        if left.type != "null":
            self._expect(node, left.type, "null")
        return node.value

    def _unary(self) -> _Node:
        if not self._is("not"):
            return self._primary()
        start = self._position
        self._take()
        value = self._expect(self._deeper(self._unary), "bool").value
        return _Node(start, "bool", lambda connection: not value(connection))

    def _primary(self) -> _Node:
        start = self._position
        match self._kind:
            case "text":
                text = self._take()[1:-1].replace("''", "'")
                return _Node(start, "string", lambda _: text)
            case "int":
                if len(self._token) > 20:
                    raise self._wrong("the integer has more than 64 bits")
                number = int(self._take())
                return _Node(start, "int", lambda _: number)
            case "mark" if self._is("("):
                self._take()
                node = self._deeper(self._or)
                self._require(")")
                return _Node(start, node.type, node.value)
            case "word" if not self._is(*_RESERVED):
                return self._named(start)
            case _:
                pass
        raise self._wrong("a value is expected here")

    def _named(self, start: int) -> _Node:
        word = self._token.lower()
        if word in _NAMES:
            self._take()
            kind, value = _NAMES[word]
            return _Node(start, kind, value)
        if word not in _FUNCTIONS:
            raise self._wrong("there is no such name")
        self._take()
        self._require("(")
        arguments = [self._deeper(self._or)]
        while self._is(","):
            self._take()
            arguments.append(self._deeper(self._or))
        self._require(")")
        kind, signatures, function = _FUNCTIONS[word]
        self._check(word, start, arguments, signatures)
        values = [argument.value for argument in arguments]
        return _Node(start, kind, lambda connection: function(*[value(connection) for value in values]))

    def _check(self, word: str, start: int, arguments: list[_Node], signatures: list[tuple[_Type, ...]]) -> None:
        found = [argument.type for argument in arguments]
        for signature in signatures:
            if len(signature) == len(found) and all(
                given in (wanted, "null") for given, wanted in zip(found, signature, strict=True)
            ):
                return
        wanted = " or ".join(f"({', '.join(signature)})" for signature in signatures)
        part = self._expression[start : self._end]
        raise InvalidFilter(part, start, f"{word} is given ({', '.join(found)}), expected is {wanted}")

    def _deeper(self, parse: Callable[[], _Node]) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"it is nested more than {MAX_DEPTH} levels deep")
        node = parse()
        self._depth -= 1
        return node
