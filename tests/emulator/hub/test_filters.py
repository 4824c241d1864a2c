from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.emulator.hub.filters import MAX_CLAUSES, MAX_DEPTH, InvalidFilter, compile_filter
from trio_webpubsub.protocol.filters import odata


@dataclass
class Someone:
    id: str = "c-1"
    user_id: str | None = "Ann"
    groups: dict[str, None] = field(default_factory=lambda: {"lobby": None, "room-7": None})
    subprotocol: str | None = "json.webpubsub.azure.v1"


ANONYMOUS = Someone(user_id=None, groups={}, subprotocol=None)


@pytest.mark.parametrize(
    ("expression", "ann", "anonymous"),
    [
        ("true", True, True),
        ("not true", False, False),
        ("userId eq 'Ann'", True, False),
        ("userId eq 'ann'", False, False),
        ("USERID EQ 'Ann' AND NOT FALSE", True, False),
        ("userId ne 'Ann'", False, True),
        ("userId eq null", False, True),
        ("null eq null", True, True),
        ("connectionId eq 'c-1'", True, True),
        ("protocol eq 'json.webpubsub.azure.v1'", True, False),
        ("userId in ('Bob','Ann')", True, False),
        ("userId in (null)", False, True),
        ("null in ('Bob', null)", True, True),
        ("3 in (1,+3,-5)", True, True),
        ("'lobby' in groups", True, False),
        ("userId in groups", False, False),
        ("length(groups) ge 2", True, False),
        ("length(groups) gt 2", False, False),
        ("length(groups) lt 2", False, True),
        ("length(userId) le 3", True, False),
        ("length(userId) eq null", False, True),
        ("1 gt null", False, False),
        ("tolower(userId) eq 'ann'", True, False),
        ("toupper(userId) eq 'ANN'", True, False),
        ("trim(' x ') eq 'x'", True, True),
        ("trim(null) eq null", True, True),
        ("contains(userId,'nn')", True, False),
        ("startswith(userId, 'A')", True, False),
        ("endswith(userId,'A')", False, False),
        ("indexof(userId,'n') eq 1", True, False),
        ("indexof(userId,'z') eq -1", True, True),
        ("concat(userId,'x') eq 'x'", False, True),
        ("concat('a','b') eq 'ab'", True, True),
        ("substring(userId,1) eq 'nn'", True, False),
        ("substring(userId,1,1) eq 'n'", True, False),
        ("substring(userId,4) eq null", True, True),
        ("substring(userId,1,3) eq null", True, True),
        ("substring(userId,-1) eq null", True, True),
        ("substring(userId,length(null)) eq null", True, True),
        ("'it''s' eq 'it''s'", True, True),
        ("userId eq 'Ann' or userId eq null", True, True),
        ("false and false or true", True, True),
        ("false and (false or true)", False, False),
        ("not (length(userId) gt 5)", True, True),
        ("not not true", True, True),
        ("(1) eq ((1))", True, True),
        (" \t\r\n( userId\teq 'Ann' )\n", True, False),
        ("(userId eq 'Ann') eq true", True, False),
    ],
)
def test_what_a_filter_means(expression: str, ann: bool, anonymous: bool) -> None:
    fits = compile_filter(expression)
    assert (fits(Someone()), fits(ANONYMOUS)) == (ann, anonymous)


@pytest.mark.parametrize(
    ("expression", "part", "why"),
    [
        # Texts that are known of the service
        ("invalid filter", "invalid filter", "Syntax error at position 14 in 'invalid filter'."),
        ("not length(userId) gt 5", "not length(userId)", "Type 'null', expect 'bool'."),
        ("( not 'a' )", "not 'a'", "Type 'string', expect 'bool'."),
        ("userId lt 1", "userId lt 1", "Type 'string', expect 'int'."),
        ("invalid(ab,c)", "invalid(ab,c)", "Token 'invalid(ab,c)' is not supported."),
        ("ab eq 1", "ab eq 1", "Token 'ab' is not supported."),
        # Others of their kinds
        ("", "", "Expression expected at position 0 in ''."),
        ("userId eq", "userId eq", "Expression expected at position 9 in 'userId eq'."),
        ("and true", "and true", "Expression expected at position 0 in 'and true'."),
        ("true true or", "true true or", "Syntax error at position 9 in 'true true or'."),
        ("1 in 2", "1 in 2", "'(' expected at position 5 in '1 in 2'."),
        ("1 in (2", "1 in (2", "')' or ',' expected at position 7 in '1 in (2'."),
        ("(true", "(true", "')' or operator expected at position 5 in '(true'."),
        ("length 1", "length 1", "'(' expected at position 7 in 'length 1'."),
        ("1 + 1 eq 2", "1 + 1 eq 2", "Syntax error: character '+' is not valid at position 2 in '1 + 1 eq 2'."),
        ("a eq 'a", "a eq 'a", "There is an unterminated string literal at position 7 in 'a eq 'a'."),
        ("userId", "userId", "Type 'string', expect 'bool'."),
        ("groups", "groups", "Type 'collection', expect 'bool'."),
        ("length(connectionId)", "length(connectionId)", "Type 'int', expect 'bool'."),
        ("(tolower(userId))", "(tolower(userId))", "Type 'null', expect 'bool'."),
        ("true and 1", "true and 1", "Type 'int', expect 'bool'."),
        ("false or (1 or true)", "1 or true", "Type 'int', expect 'bool'."),
        ("1 gt groups", "1 gt groups", "Type 'collection', expect 'int'."),
        ("tolower(1) eq 'a'", "tolower(1)", "Type 'int', expect 'string'."),
        ("substring('a','b') eq 'a'", "substring('a','b')", "Type 'string', expect 'int'."),
        ("length(1) eq 1", "length(1)", "Invalid token 'length(1)'."),
        ("contains('a') eq 1", "contains('a')", "Invalid token 'contains('a')'."),
        ("contains() eq 1", "contains()", "Invalid token 'contains()'."),
        ("age", "age", "Token 'age' is not supported."),
        ("not age", "not age", "Token 'age' is not supported."),
        ("age and true", "age and true", "Token 'age' is not supported."),
        ("age gt 3", "age gt 3", "Token 'age' is not supported."),
        ("age in groups", "age in groups", "Token 'age' is not supported."),
        ("1 in (age)", "1 in (age)", "Token 'age' is not supported."),
        ("tolower(age) eq 'a'", "tolower(age)", "Token 'age' is not supported."),
        ("123456789012345678901 eq 1", "123456789012345678901", "The integer has more than 64 bits."),
    ],
)
def test_an_expression_without_meaning_says_where_and_why(expression: str, part: str, why: str) -> None:
    with pytest.raises(InvalidFilter) as invalid:
        compile_filter(expression)
    assert str(invalid.value) == f"Invalid syntax for '{part}': {why} (Parameter 'filter')"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("true or " * MAX_CLAUSES + "true", f"It has more than {MAX_CLAUSES} clauses."),
        ("(" * (MAX_DEPTH + 1), "Recursion depth exceeded allowed limit."),
        ("not " * (MAX_DEPTH + 1), "Recursion depth exceeded allowed limit."),
        ("'" + "a" * 20_000 + "'", "It is longer than 16,384 characters."),
    ],
)
def test_an_expression_has_limits(expression: str, why: str) -> None:
    with pytest.raises(InvalidFilter) as invalid:
        compile_filter(expression)
    assert why in str(invalid.value)
    assert len(str(invalid.value)) < 3_000


@pytest.mark.parametrize("expression", ["1 eq 'a'", "true eq 1", "groups eq 'a'", "1 in ('a')", "1 in groups"])
def test_values_of_different_types_differ(expression: str) -> None:
    assert not compile_filter(expression)(Someone())
    assert compile_filter(f"not ({expression})")(Someone())
    assert compile_filter(expression.replace(" eq ", " ne "))(Someone()) == (" eq " in expression)


def test_the_deepest_and_the_longest_expressions_are_understood() -> None:
    assert compile_filter("(" * MAX_DEPTH + "true" + ")" * MAX_DEPTH)(ANONYMOUS)
    assert compile_filter("false or " * (MAX_CLAUSES - 1) + "true")(ANONYMOUS)


@given(st.text())
def test_any_user_id_can_be_asked_for(user_id: str) -> None:
    expression = odata("userId eq {} and {} in groups", user_id, "lobby")
    assert compile_filter(expression)(Someone(user_id=user_id))


@given(st.text(alphabet="userIdgroupsnotandorinleqg'(), 1\t-"))
def test_any_text_means_something_or_is_refused(expression: str) -> None:
    with suppress(InvalidFilter):
        assert compile_filter(expression)(ANONYMOUS) in (True, False)
