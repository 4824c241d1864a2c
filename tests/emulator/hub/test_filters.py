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
    ("expression", "why"),
    [
        ("", "'the end' at position 0: a value is expected"),
        ("userId eq", "'the end' at position 9: a value is expected"),
        ("and true", "'and' at position 0: a value is expected"),
        ("true true", "'true' at position 5: the expression goes on"),
        ("userId", "'userId' at position 0: it is of type string, expected is bool"),
        ("not length(userId) gt 5", "'length\\(userId\\)' at position 4: it is of type int, expected is bool"),
        ("1 eq 'a'", "''a'' at position 5: it is of type string, expected is int"),
        ("groups eq 'a'", "'groups eq 'a'' at position 0: it is of type collection"),
        ("'a' gt 'b'", "it is of type string, expected is int or null"),
        ("true and 1", "'1' at position 9: it is of type int, expected is bool"),
        ("1 or true", "at position 0: it is of type int, expected is bool"),
        ("1 in groups", "it is of type int, expected is string or null"),
        ("1 in ('a')", "''a'' at position 6: it is of type string, expected is int or null"),
        ("groups in ('a')", "it is of type collection"),
        ("1 in 2", "'2' at position 5: '\\(' is expected here"),
        ("1 in (2", "'the end' at position 7: '\\)' is expected here"),
        ("length 1", "'1' at position 7: '\\(' is expected here"),
        ("length(1) eq 1", "length is given \\(int\\), expected is \\(string\\) or \\(collection\\)"),
        ("contains('a') eq 1", "contains is given \\(string\\), expected is \\(string, string\\)"),
        ("any(groups)", "'any' at position 0: there is no such name"),
        ("age gt 3", "'age' at position 0: there is no such name"),
        ("1 + 1 eq 2", "'\\+ 1 eq 2' at position 2: this is no part of the language"),
        ("userId eq 'a", "''a' at position 10: this is no part of the language"),
        ("123456789012345678901 eq 1", "more than 64 bits"),
        ("true or " * MAX_CLAUSES + "true", f"more than {MAX_CLAUSES} clauses"),
        ("(" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels deep"),
        ("not " * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels deep"),
        ("'" + "a" * 20_000 + "'", "longer than 16,384 characters"),
    ],
)
def test_an_expression_without_meaning_says_where_and_why(expression: str, why: str) -> None:
    with pytest.raises(InvalidFilter, match=f"^Invalid syntax for .*{why}"):
        compile_filter(expression)


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
