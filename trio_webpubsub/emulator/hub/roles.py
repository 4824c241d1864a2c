"""What one connection may do: its roles, and what servers granted and revoked meanwhile.

Source: reference pages of roles and permissions; how rules are weighed against each other is modelled on the official
emulator: a rule for the very group counts first, then the youngest pattern that fits, then what holds for every group.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from ...protocol.roles import ROLE_PREFIX, GroupPattern, Permission, StatePermission
from .limits import HubLimits


class TooManyRules(Exception):
    """A connection has as many rules for single groups as it may have."""


class _Scope:
    """The groups with which one thing may be done."""

    def __init__(self) -> None:
        self.every_group = False
        self.groups: dict[str, bool] = {}  # what was said of single groups
        self.patterns: list[GroupPattern] = []

    def __contains__(self, group: str) -> bool:
        said = self.groups.get(group)
        return self.implied(group) if said is None else said

    def implied(self, group: str) -> bool:
        """What holds for a group of which nothing was said."""
        return self.every_group or any(pattern.matches(group) for pattern in self.patterns)


class Roles:
    """What one connection is allowed. Roles of other kinds are passed over."""

    def __init__(self, roles: Iterable[str], limits: HubLimits) -> None:
        """Sort the roles of a token out.

        What is wrong or too much is left out and stands in ``skipped``; the connection opens nevertheless.
        """
        self.skipped: list[str] = []
        """Roles that do not count: of names that no role has, invalid patterns, and those beyond the limits."""
        self._limit = limits.role_groups
        self._scopes: dict[str, _Scope] = {
            permission: _Scope() for permission in (*get_args(Permission), *get_args(StatePermission))
        }
        for role in roles:
            if role.startswith(ROLE_PREFIX) and not self._add(role.removeprefix(ROLE_PREFIX), limits):
                self.skipped.append(role)

    def _add(self, role: str, limits: HubLimits) -> bool:
        permission, dot, target = role.partition(".")
        if scope := self._scopes.get(permission):
            if not dot:
                scope.every_group = True
            elif len(scope.groups) < limits.role_groups:
                scope.groups[target] = True
            else:
                return False
        elif dot and (scope := self._scopes.get(permission.removesuffix("s"))):
            if len(scope.patterns) >= limits.role_patterns:
                return False
            try:
                scope.patterns.append(GroupPattern(target))
            except ValueError:
                return False
        else:
            return False
        return True

    def allow(self, permission: Permission | StatePermission, group: str) -> bool:
        """Tell whether the connection may do this with this group."""
        return group in self._scopes[permission]

    def grant(self, permission: Permission, group: str) -> None:
        """Allow it.

        Raises:
            TooManyRules: nothing changed.
        """
        self._say(permission, group, allowed=True)

    def revoke(self, permission: Permission, group: str) -> None:
        """Forbid it. A membership stays.

        Raises:
            TooManyRules: nothing changed.
        """
        self._say(permission, group, allowed=False)

    def _say(self, permission: Permission, group: str, *, allowed: bool) -> None:
        scope = self._scopes[permission]
        if scope.implied(group) == allowed:
            scope.groups.pop(group, None)
        elif group in scope.groups or len(scope.groups) < self._limit:
            scope.groups[group] = allowed
        else:
            raise TooManyRules(f"a connection has at most {self._limit:,} rules for single groups")
