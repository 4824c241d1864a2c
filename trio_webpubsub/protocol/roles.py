"""Roles: what a client may do with groups, as it stands in its token.

Source: "Supported claims" and "Wildcard group roles" of the service's documentation; what they leave open is modelled
on the official emulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias, get_args

from .names import check_group, check_text

Permission: TypeAlias = Literal["joinLeaveGroup", "sendToGroup"]
"""What a connection may be allowed to do with a group: join and leave it, or send to it."""

StatePermission: TypeAlias = Literal["setGroupState", "getGroupState"]
"""The same for states in groups (a preview of the service): to set its own, and to get those of all."""

MAX_PATTERN_LENGTH = 1_024
"""Characters."""
MAX_STARS = 5
"""Stars in one pattern; ``**`` counts as two."""

ROLE_PREFIX = "webpubsub."
PATTERN_ROLE_NAMES = ("joinLeaveGroups", "sendToGroups")
ROLE_NAMES = frozenset({*get_args(Permission), *get_args(StatePermission), *PATTERN_ROLE_NAMES})
_BY_LOWER_CASE = {name.lower(): name for name in ROLE_NAMES}


class Role:
    """Writes the names of roles, for tokens.

    Without a role, a client can receive what is sent to it and send events.
    """

    @staticmethod
    def join_leave_group(group: str | None = None) -> str:
        """The role to join and leave a group; without ``group`` every group.

        Raises:
            ValueError: no group can be called that.
        """
        return _role("joinLeaveGroup", group)

    @staticmethod
    def send_to_group(group: str | None = None) -> str:
        """The role to send to a group; without ``group`` to every group.

        Raises:
            ValueError: no group can be called that.
        """
        return _role("sendToGroup", group)

    @staticmethod
    def join_leave_groups(pattern: str) -> str:
        r"""The role to join and leave the groups that a pattern fits.

        Args:
            pattern: ``?`` stands for one character and ``*`` for any number, both without dots; ``**`` for anything;
                a backslash takes the meaning from ``?``, ``*`` and itself.

        Raises:
            ValueError: the service would not take the pattern.
        """
        return _pattern_role("joinLeaveGroups", pattern)

    @staticmethod
    def send_to_groups(pattern: str) -> str:
        """The role to send to the groups that a pattern fits; see `join_leave_groups`.

        Raises:
            ValueError: the service would not take the pattern.
        """
        return _pattern_role("sendToGroups", pattern)

    @staticmethod
    def set_group_state() -> str:
        """The role to set a state in groups (a preview of the service)."""
        return f"{ROLE_PREFIX}setGroupState"

    @staticmethod
    def get_group_state() -> str:
        """The role to get the states in groups (a preview of the service)."""
        return f"{ROLE_PREFIX}getGroupState"


def check_role(role: str) -> str:
    """Give ``role`` back if a token may name it.

    The service passes over roles that it does not know, and is given new ones whose names are one letter away from
    others, so only what can never be one is refused: one of today's without its ``webpubsub.``, in another case, or
    without the group that its name announces.

    Raises:
        ValueError: it is empty, written in another way than the role that is meant, or names groups by a pattern that
            the service would not take.
        TypeError: it is not a ``str``.
    """
    if not check_text(role, "role"):
        raise ValueError("a role cannot be empty")
    start = len(ROLE_PREFIX) if role.lower().startswith(ROLE_PREFIX) else 0
    name, dot, groups = role[start:].partition(".")
    known = _BY_LOWER_CASE.get(name.lower())
    if known is None:
        return role
    if role != (right := f"{ROLE_PREFIX}{known}{dot}{groups}"):
        raise ValueError(f"the service would pass over the role {role[:300]!r}: it is written {right[:300]!r}")
    if not groups and (dot or known in PATTERN_ROLE_NAMES):
        raise ValueError(f"the role {role!r} names no group")
    if known in PATTERN_ROLE_NAMES:
        GroupPattern(groups)
    return role


def _role(name: str, group: str | None) -> str:
    return f"{ROLE_PREFIX}{name}" if group is None else f"{ROLE_PREFIX}{name}.{check_group(group)}"


def _pattern_role(name: str, pattern: str) -> str:
    GroupPattern(check_text(pattern, "pattern"))
    return f"{ROLE_PREFIX}{name}.{pattern}"


class GroupPattern:
    r"""A wildcard pattern over group names: ``?``, ``*`` (neither matches a dot), ``**`` (matches everything), ``\``.

    Matching takes time in proportion to the name's length, whatever the pattern. It follows all the ways through the
    pattern at once: bit ``i`` of a number says that the pattern's first ``i`` single characters have been matched. A
    star takes no place of its own; it is a loop, the permission to stay at a place while characters pass.
    """

    def __init__(self, pattern: str) -> None:
        r"""Read a pattern.

        Raises:
            ValueError: it is empty or over 1,024 characters, has more than five stars (``**`` counts as two), or a
                ``\`` that stands before something else than ``\``, ``*`` or ``?``.
        """
        if not 0 < len(pattern) <= MAX_PATTERN_LENGTH:
            raise ValueError(f"a pattern has 1 to {MAX_PATTERN_LENGTH} characters, not {len(pattern)}")
        self._literals: dict[str, int] = {}
        self._any_but_dot = 0
        self._stay_on_all = 0
        self._stay_but_on_dot = 0
        place = 1
        stars = 0
        characters = iter(pattern)
        previous_star = False
        for character in characters:
            if character == "*":
                stars += 1
                if previous_star:
                    self._stay_on_all |= place
                else:
                    self._stay_but_on_dot |= place
                previous_star = not previous_star
                continue
            previous_star = False
            if character == "?":
                self._any_but_dot |= place
            else:
                literal = _unescape(characters) if character == "\\" else character
                self._literals[literal] = self._literals.get(literal, 0) | place
            place <<= 1
        if stars > MAX_STARS:
            raise ValueError(f"a pattern has at most {MAX_STARS} stars, not {stars}")
        self._end = place

    def matches(self, name: str) -> bool:
        """Tell whether the whole of ``name`` fits the pattern; upper and lower case differ."""
        places = 1
        for character in name:
            step = self._literals.get(character, 0)
            stay = self._stay_on_all
            if character != ".":
                step |= self._any_but_dot
                stay |= self._stay_but_on_dot
            places = (places & step) << 1 | places & stay
        return bool(places & self._end)


def _unescape(rest: Iterator[str]) -> str:
    character = next(rest, "")
    if character not in ("\\", "*", "?"):
        raise ValueError(f"\\ stands before {character!r}; it may stand before \\, * and ? only")
    return character
