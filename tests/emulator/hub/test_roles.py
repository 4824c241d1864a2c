from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.hub.roles import GroupPattern, Permission, Roles


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("chat", ["chat"], ["chat1", "Chat", "cha", ""]),
        ("chat-*", ["chat-", "chat-1", "chat-room"], ["chat.1", "chat-1.2", "xchat-1"]),
        ("a.*", ["a.b", "a."], ["a.b.c", "b.a"]),
        ("a.**", ["a.b", "a.b.c", "a.", "a.\n"], ["b.a", "a"]),
        ("**.z", [".z", "a.z", "a.b.z", "z.z"], ["z", "a.zz"]),
        ("r.?1", ["r.a1", "r.11"], ["r.1", "r..1", "r.a.1"]),
        ("*a*", ["a", "bab", "aaa"], ["", "b", "a.b"]),
        ("***", ["", "a.b"], []),
        (r"all\*star", ["all*star"], ["allXstar", r"all\*star"]),
        (r"why\?", ["why?"], ["whyX"]),
        (r"back\\slash", [r"back\slash"], [r"back\\slash"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, fitting: list[str], others: list[str]) -> None:
    compiled = GroupPattern(pattern)
    assert [name for name in fitting + others if compiled.matches(name)] == fitting


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "1 to 1024 characters, not 0"),
        ("a" * 1025, "not 1025"),
        ("a\\", "stands before ''"),
        (r"\a", "stands before 'a'"),
        ("*a*a**a**", "at most 5 stars, not 6"),
    ],
)
def test_an_invalid_pattern_says_what_is_wrong(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GroupPattern(pattern)


def test_the_longest_pattern_and_five_stars_are_allowed() -> None:
    assert GroupPattern("a" * 1019 + "*" * 5).matches("a" * 1024)


def test_stars_that_could_meet_in_countless_ways_cost_no_more_than_others() -> None:
    assert not GroupPattern("*a*a*a*a*b").matches("a" * 1024)


Tokens = list[str]


def naive_match(tokens: Tokens, name: str) -> bool:
    r"""Try everything. Tokens are single characters, ``?``, ``*``, ``**``, and ``\`` before an escaped one."""
    if not tokens:
        return not name
    token, rest = tokens[0], tokens[1:]
    if token in ("*", "**"):
        ends = range(len(name) + 1)
        return any((token == "**" or "." not in name[:end]) and naive_match(rest, name[end:]) for end in ends)
    if not name:
        return False
    fits = name[0] != "." if token == "?" else name[0] == token[-1]
    return fits and naive_match(rest, name[1:])


@given(
    tokens=st.lists(
        st.sampled_from(["a", "b", ".", "?", "*", "**", r"\*", r"\?", r"\\"]), min_size=1, max_size=8
    ).filter(
        # Stars side by side would be read as other tokens, and five are the most.
        lambda tokens: (
            sum(token.count("*") for token in tokens if token[0] == "*") <= 5
            and not any(first[0] == second[0] == "*" for first, second in pairwise(tokens))
        )
    ),
    name=st.text("ab.*?\\", max_size=10),
)
def test_a_pattern_matches_what_a_naive_matcher_matches(tokens: Tokens, name: str) -> None:
    assert GroupPattern("".join(tokens)).matches(name) == naive_match(tokens, name)


NOTHING: set[tuple[str, str]] = set()


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("webpubsub.joinLeaveGroup", {("joinLeaveGroup", "room"), ("joinLeaveGroup", "hall")}),
        ("webpubsub.joinLeaveGroup.room", {("joinLeaveGroup", "room")}),
        ("webpubsub.joinLeaveGroups.r*", {("joinLeaveGroup", "room")}),
        ("webpubsub.sendToGroup", {("sendToGroup", "room"), ("sendToGroup", "hall")}),
        ("webpubsub.sendToGroup.hall", {("sendToGroup", "hall")}),
        ("webpubsub.sendToGroups.*", {("sendToGroup", "room"), ("sendToGroup", "hall")}),
        ("webpubsub.sendToGroup.*", NOTHING),
        ("webpubsub.sendToGroups", NOTHING),
        ("webpubsub.SendToGroup", NOTHING),
        ("webpubsub.setGroupState", NOTHING),
        ("sendToGroup", NOTHING),
        ("other.sendToGroup", NOTHING),
    ],
)
def test_a_role_allows_one_thing(role: str, allowed: set[tuple[Permission, str]]) -> None:
    roles = Roles([role], HubLimits())
    permissions: tuple[Permission, ...] = ("joinLeaveGroup", "sendToGroup")
    found: set[tuple[Permission, str]] = {
        (permission, group) for permission in permissions for group in ("room", "hall")
    }
    assert {(permission, group) for permission, group in found if roles.allow(permission, group)} == allowed
    assert roles.skipped == []


def test_a_group_with_dots_in_its_name_is_one_name() -> None:
    roles = Roles(["webpubsub.sendToGroup.a.b"], HubLimits())
    assert roles.allow("sendToGroup", "a.b")
    assert not roles.allow("sendToGroup", "a")


def test_an_invalid_pattern_is_skipped_and_the_others_count() -> None:
    roles = Roles(["webpubsub.sendToGroups.\\", "webpubsub.sendToGroups.a?"], HubLimits())
    assert roles.allow("sendToGroup", "ab")
    assert roles.skipped == ["webpubsub.sendToGroups.\\"]


def test_what_is_beyond_the_limits_of_one_permission_is_skipped() -> None:
    given = [
        "webpubsub.sendToGroup.a",
        "webpubsub.sendToGroup.b",
        "webpubsub.sendToGroups.c?",
        "webpubsub.sendToGroups.d?",
        "webpubsub.joinLeaveGroup.b",
        "webpubsub.joinLeaveGroups.d?",
    ]
    roles = Roles(given, HubLimits(role_groups=1, role_patterns=1))
    assert roles.skipped == ["webpubsub.sendToGroup.b", "webpubsub.sendToGroups.d?"]
    assert [roles.allow("sendToGroup", group) for group in ("a", "b", "c1", "d1")] == [True, False, True, False]
    assert [roles.allow("joinLeaveGroup", group) for group in ("b", "d1")] == [True, True]
