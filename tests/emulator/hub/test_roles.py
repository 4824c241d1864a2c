from __future__ import annotations

import pytest

from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.hub.roles import Roles, TooManyRules
from trio_webpubsub.protocol.roles import Permission

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


@pytest.mark.parametrize("role", ["sendToGruop", "SendToGroup", "sendToGroups", "ofTheFuture.room", ""])
def test_a_name_that_no_role_has_is_skipped(role: str) -> None:
    roles = Roles([f"webpubsub.{role}"], HubLimits())
    assert not roles.allow("sendToGroup", "room")
    assert roles.skipped == [f"webpubsub.{role}"]


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


def test_what_was_granted_and_revoked_counts_before_roles() -> None:
    roles = Roles(["webpubsub.sendToGroups.a*"], HubLimits())
    roles.revoke("sendToGroup", "ab")
    roles.grant("sendToGroup", "b")
    roles.grant("joinLeaveGroup", "ab")
    assert [roles.allow("sendToGroup", group) for group in ("a", "ab", "b", "c")] == [True, False, True, False]
    roles.grant("sendToGroup", "ab")
    roles.revoke("sendToGroup", "b")
    assert [roles.allow("sendToGroup", group) for group in ("a", "ab", "b", "c")] == [True, True, False, False]
    assert roles.allow("joinLeaveGroup", "ab")


def test_revoking_from_a_connection_that_may_reach_every_group() -> None:
    roles = Roles(["webpubsub.joinLeaveGroup"], HubLimits())
    roles.revoke("joinLeaveGroup", "a")
    assert [roles.allow("joinLeaveGroup", group) for group in ("a", "b")] == [False, True]


def test_rules_for_single_groups_are_bounded_and_those_that_say_nothing_new_are_not_kept() -> None:
    roles = Roles([], HubLimits(role_groups=1))
    roles.revoke("sendToGroup", "nothing new")
    roles.grant("sendToGroup", "a")
    roles.grant("sendToGroup", "a")
    with pytest.raises(TooManyRules, match="at most 1 rules"):
        roles.grant("sendToGroup", "b")
    assert not roles.allow("sendToGroup", "b")
