"""What a connection may do: roles, literal and with wildcards.

Source: "Supported claims" and "Wildcard group roles" of the service's documentation; what they leave open is modelled
on the official emulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from .limits import HubLimits

Permission: TypeAlias = Literal["joinLeaveGroup", "sendToGroup"]
"""What a role may allow, spelled as in the role."""

_MAX_PATTERN_LENGTH = 1_024
_MAX_STARS = 5
_PREFIX = "webpubsub."


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
        if not 0 < len(pattern) <= _MAX_PATTERN_LENGTH:
            raise ValueError(f"a pattern has 1 to {_MAX_PATTERN_LENGTH} characters, not {len(pattern)}")
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
        if stars > _MAX_STARS:
            raise ValueError(f"a pattern has at most {_MAX_STARS} stars, not {stars}")
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


class _Scope:
    """The groups with which one thing may be done."""

    def __init__(self) -> None:
        self.every_group = False
        self.groups: set[str] = set()
        self.patterns: list[GroupPattern] = []

    def __contains__(self, group: str) -> bool:
        return self.every_group or group in self.groups or any(pattern.matches(group) for pattern in self.patterns)


class Roles:
    """What the roles of one connection allow. Roles of other kinds are passed over."""

    def __init__(self, roles: Iterable[str], limits: HubLimits) -> None:
        """Sort the roles out.

        What is wrong or too much is left out and stands in ``skipped``; the connection opens nevertheless.
        """
        self.skipped: list[str] = []
        """Roles that do not count: invalid patterns, and those beyond the limits."""
        self._scopes: dict[str, _Scope] = {"joinLeaveGroup": _Scope(), "sendToGroup": _Scope()}
        for role in roles:
            if role.startswith(_PREFIX) and not self._add(role.removeprefix(_PREFIX), limits):
                self.skipped.append(role)

    def _add(self, role: str, limits: HubLimits) -> bool:
        permission, dot, target = role.partition(".")
        if scope := self._scopes.get(permission):
            if not dot:
                scope.every_group = True
            elif len(scope.groups) < limits.role_groups:
                scope.groups.add(target)
            else:
                return False
        elif dot and (scope := self._scopes.get(permission.removesuffix("s"))):
            if len(scope.patterns) >= limits.role_patterns:
                return False
            try:
                scope.patterns.append(GroupPattern(target))
            except ValueError:
                return False
        return True

    def allow(self, permission: Permission, group: str) -> bool:
        """Tell whether the connection may do this with this group."""
        return group in self._scopes[permission]
