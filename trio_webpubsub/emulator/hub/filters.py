"""The filter language: which connections an expression such as ``userId eq 'ann' and 'lobby' in groups`` means.

An expression is read once, into functions of a connection, each of a known type. What is wrong with it is found then,
whatever connections there are. The grammar, the weakest binding first::

    or    := and { "or" and }
    and   := cmp { "and" cmp }
    cmp   := unary [ ("eq" | "ne" | "gt" | "ge" | "lt" | "le") unary | "in" list ]
    unary := "not" unary | primary
    list  := "groups" | "(" primary { "," primary } ")"
    primary := literal | name | function "(" or { "," or } ")" | "(" or ")"

Source: "OData filter syntax" in the service's documentation, also for the texts of errors; what becomes of nulls, and
``protocol``, are modelled on the official emulator. Words count in any case.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

MAX_LENGTH = 16_384
"""Characters of an expression."""
MAX_CLAUSES = 100
"""Operands of ``and`` and ``or`` in one expression."""
MAX_DEPTH = 100
"""Levels of parentheses, functions and ``not``."""

_Type: TypeAlias = Literal["string", "int", "bool", "null", "collection", "unsupported"]

_SHOWN = 1_000
"""Characters of an expression that stand in an error."""


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

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"Invalid syntax for '{_shown(part)}': {reason} (Parameter 'filter')")


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of an expression: where it stands, what type it has, and its value for a connection."""

    start: int
    type: _Type
    value: Callable[[Filterable], Any]
    is_call: bool = False

    @property
    def told_type(self) -> str:
        """What errors call its type: the service tries functions on nobody's connection, where some are null."""
        return "null" if self.is_call and self.value(_NOBODY) is None else self.type


@dataclass(frozen=True, slots=True)
class _Nobody:
    id: str = ""
    user_id: str | None = None
    groups: Mapping[str, object] = field(default_factory=dict[str, object])
    subprotocol: str | None = None


_NOBODY = _Nobody()


def compile_filter(expression: str) -> Callable[[Filterable], bool]:
    """Read an expression.

    Raises:
        InvalidFilter: it means nothing, or is too long or too deep.
    """
    if len(expression) > MAX_LENGTH:
        raise InvalidFilter(expression, f"It is longer than {MAX_LENGTH:,} characters.")
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
            raise self._wrong(f"Syntax error at position {self._position + len(self._token)} in")
        self._check_supported(0, node)
        return self._expect(node, "bool", start=0)

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
            found = self._expression[self._position]
            if found == "'":
                raise self._wrong(f"There is an unterminated string literal at position {len(self._expression)} in")
            raise self._wrong(f"Syntax error: character '{found}' is not valid at position {self._position} in")
        self._kind = match.lastgroup or ""
        self._token = match[0]
        return taken

    def _is(self, *words: str) -> bool:
        return self._token.lower() in words and self._kind in ("word", "mark")

    def _require(self, mark: str, wanted: str = "") -> None:
        if not self._is(mark):
            raise self._wrong(f"'{mark}' {wanted}expected at position {self._position} in")
        self._take()

    def _wrong(self, where: str) -> InvalidFilter:
        """Say what is wrong with the form of the expression, at a position in it."""
        return InvalidFilter(self._expression, f"{where} '{_shown(self._expression)}'.")

    # Types. What is wrong with them is told of the operation that begins at ``start`` and has just been read.

    def _expect(self, node: _Node, *types: _Type, start: int) -> _Node:
        if node.type not in types:
            raise InvalidFilter(self._read_since(start), f"Type '{node.told_type}', expect '{types[0]}'.")
        return node

    def _check_supported(self, start: int, *nodes: _Node) -> None:
        for node in nodes:
            if node.type == "unsupported":
                token = node.value(_NOBODY)
                raise InvalidFilter(self._read_since(start), f"Token '{token}' is not supported.")

    def _read_since(self, start: int) -> str:
        return self._expression[start : self._end].strip()

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
            raise InvalidFilter(self._expression, f"It has more than {MAX_CLAUSES} clauses.")
        self._check_supported(left.start, left, right)
        self._expect(left, "bool", start=left.start)
        self._expect(right, "bool", start=left.start)
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
        """Values of different types can be compared as well, and differ."""
        self._check_supported(left.start, left, right)
        first, second = left.value, right.value
        same = left.type == right.type or "null" in (left.type, right.type)
        return _Node(
            left.start, "bool", lambda connection: (same and first(connection) == second(connection)) is wanted
        )

    def _ordered(self, left: _Node, right: _Node, compare: Callable[[Any, Any], bool]) -> _Node:
        self._check_supported(left.start, left, right)
        self._expect(left, "int", "null", start=left.start)
        self._expect(right, "int", "null", start=left.start)
        first, second = left.value, right.value

        def value(connection: Filterable) -> bool:
            one, other = first(connection), second(connection)
            return one is not None and other is not None and compare(one, other)

        return _Node(left.start, "bool", value)

    def _in(self, left: _Node) -> _Node:
        value = left.value
        if self._is("groups"):
            self._take()
            self._check_supported(left.start, left)
            if left.type not in ("string", "null"):
                return _Node(left.start, "bool", lambda _: False)
            return _Node(left.start, "bool", lambda connection: value(connection) in connection.groups)
        self._require("(")
        members = [self._primary()]
        while self._is(","):
            self._take()
            members.append(self._primary())
        self._require(")", "or ',' ")
        self._check_supported(left.start, left, *members)
        alike = [member.value for member in members if "null" in (left.type, member.type) or member.type == left.type]
        return _Node(
            left.start,
            "bool",
            lambda connection: value(connection) in [each(connection) for each in alike],
        )

    def _unary(self) -> _Node:
        if not self._is("not"):
            return self._primary()
        start = self._position
        self._take()
        node = self._deeper(self._unary)
        if node.type == "unsupported":
            return node
        value = self._expect(node, "bool", start=start).value
        return _Node(start, "bool", lambda connection: not value(connection))

    def _primary(self) -> _Node:
        start = self._position
        match self._kind:
            case "text":
                text = self._take()[1:-1].replace("''", "'")
                return _Node(start, "string", lambda _: text)
            case "int":
                if len(self._token) > 20:
                    raise InvalidFilter(self._token, "The integer has more than 64 bits.")
                number = int(self._take())
                return _Node(start, "int", lambda _: number)
            case "mark" if self._is("("):
                self._take()
                node = self._deeper(self._or)
                self._require(")", "or operator ")
                return _Node(start, node.type, node.value, node.is_call)
            case "word" if not self._is(*_RESERVED):
                return self._named(start)
            case _:
                pass
        raise self._wrong(f"Expression expected at position {self._position} in")

    def _named(self, start: int) -> _Node:
        word = self._token.lower()
        if word in _NAMES:
            self._take()
            kind, value = _NAMES[word]
            return _Node(start, kind, value)
        name = self._take()
        if word not in _FUNCTIONS and not self._is("("):
            return _Node(start, "unsupported", lambda _: name)
        self._require("(")
        arguments: list[_Node] = []
        if not self._is(")"):
            arguments.append(self._deeper(self._or))
            while self._is(","):
                self._take()
                arguments.append(self._deeper(self._or))
        self._require(")", "or ',' ")
        if word not in _FUNCTIONS:
            called = self._read_since(start)
            raise InvalidFilter(called, f"Token '{called}' is not supported.")
        self._check_supported(start, *arguments)
        kind, signatures, function = _FUNCTIONS[word]
        self._check(start, arguments, signatures)
        values = [argument.value for argument in arguments]
        return _Node(start, kind, lambda connection: function(*[value(connection) for value in values]), is_call=True)

    def _check(self, start: int, arguments: list[_Node], signatures: list[tuple[_Type, ...]]) -> None:
        fitting = [signature for signature in signatures if len(signature) == len(arguments)]
        if len(fitting) == 1:
            for argument, wanted in zip(arguments, fitting[0], strict=True):
                self._expect(argument, wanted, "null", start=start)
        elif not any(arguments[0].type in (*signature, "null") for signature in fitting):
            called = self._read_since(start)
            raise InvalidFilter(called, f"Invalid token '{called}'.")

    def _deeper(self, parse: Callable[[], _Node]) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidFilter(self._expression, "Recursion depth exceeded allowed limit.")
        node = parse()
        self._depth -= 1
        return node


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
