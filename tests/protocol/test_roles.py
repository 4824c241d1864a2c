from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.roles import GroupPattern, Role, check_role


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


def test_roles_are_written_as_the_service_names_them() -> None:
    assert Role.join_leave_group() == "webpubsub.joinLeaveGroup"
    assert Role.join_leave_group("a.b") == "webpubsub.joinLeaveGroup.a.b"
    assert Role.send_to_group() == "webpubsub.sendToGroup"
    assert Role.send_to_group("lobby") == "webpubsub.sendToGroup.lobby"
    assert Role.join_leave_groups("chat.*") == "webpubsub.joinLeaveGroups.chat.*"
    assert Role.send_to_groups("chat.**") == "webpubsub.sendToGroups.chat.**"
    assert Role.set_group_state() == "webpubsub.setGroupState"
    assert Role.get_group_state() == "webpubsub.getGroupState"


@pytest.mark.parametrize(
    "role",
    [
        "webpubsub.sendToGroup",
        "webpubsub.sendToGroups.a*",
        "webpubsub.joinLeaveGroups.**",
        "webpubsub.setGroupState",
        "webpubsub.setGroupState.lobby",
        "webpubsub.joinGroups",
        "of.the.future",
        "x",
    ],
)
def test_a_role_may_be_written_by_hand(role: str) -> None:
    assert check_role(role) == role


@pytest.mark.parametrize(
    ("role", "error"),
    [
        ("", ValueError),
        ("joinLeaveGroup", ValueError),
        ("sendToGroup.g", ValueError),
        ("webpubsub.SendToGroup", ValueError),
        ("WebPubSub.sendToGroup.g", ValueError),
        ("webpubsub.sendToGroup.", ValueError),
        ("webpubsub.sendToGroups", ValueError),
        ("webpubsub.sendToGroups.", ValueError),
        ("webpubsub.joinLeaveGroups.******", ValueError),
        (7, TypeError),
    ],
)
def test_what_no_role_can_be_is_refused(role: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_role(role)


def test_how_a_role_is_written_is_told() -> None:
    with pytest.raises(ValueError, match=r"'SENDTOGROUP\.Lobby': it is written 'webpubsub\.sendToGroup\.Lobby'$"):
        check_role("SENDTOGROUP.Lobby")


def test_roles_that_the_service_would_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="group name"):
        Role.send_to_group("")
    with pytest.raises(ValueError, match="stars"):
        Role.send_to_groups("******")
