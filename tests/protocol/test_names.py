from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_webpubsub.protocol.names import (
    check_access_key,
    check_connection_id,
    check_count,
    check_event,
    check_group,
    check_hub,
    check_text,
    check_user_id,
)


@pytest.mark.parametrize("name", ["c", "Chat", "a1_`,.[]", "h" * 128])
def test_a_hub_may_be_called(name: str) -> None:
    assert check_hub(name) == name


@pytest.mark.parametrize("name", ["", "1a", "_a", "a b", "a/b", "a-b", "é", "a\n", "h" * 129])
def test_a_hub_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a hub name: allowed is a letter"):
        check_hub(name)


@pytest.mark.parametrize("name", ["g", " g ", "a/b%", "..", "é\U0001f600", "\tx", "g" * 1024])
def test_a_group_may_be_called(name: str) -> None:
    assert check_group(name) == name


@pytest.mark.parametrize("name", ["", " ", "\t\u3000", "a\nb", "a\n", "g" * 1025])
def test_a_group_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a group name: allowed is 1 to 1,024"):
        check_group(name)


@pytest.mark.parametrize("name", ["e", "order.placed", "A-b_9", "e" * 128])
def test_an_event_may_be_called(name: str) -> None:
    assert check_event(name) == name


@pytest.mark.parametrize("name", ["", "9a", ".a", "a b", "a\n", "\u212a", "e" * 129])
def test_an_event_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be an event name: allowed is a letter"):
        check_event(name)


def test_a_user_id_is_anything_visible() -> None:
    assert check_user_id("tenant/ann o'neil") == "tenant/ann o'neil"


@pytest.mark.parametrize("user_id", ["", " \n"])
def test_a_user_id_is_not_blank(user_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be a user id"):
        check_user_id(user_id)


def test_a_connection_id_is_opaque() -> None:
    assert check_connection_id(" ") == " "


def test_a_connection_id_is_not_empty() -> None:
    with pytest.raises(ValueError, match="connection id cannot be empty"):
        check_connection_id("")


@pytest.mark.parametrize("check", [check_hub, check_group, check_event, check_user_id, check_connection_id])
@pytest.mark.parametrize("value", [None, b"chat", 7])
def test_names_are_str(check: Callable[[object], str], value: object) -> None:
    with pytest.raises(TypeError, match=f"is a str, not {type(value).__name__}"):
        check(value)


@pytest.mark.parametrize("check", [check_group, check_user_id, check_connection_id])
def test_names_can_be_encoded(check: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        check("a\ud800")


def test_text_gives_itself_back() -> None:
    assert check_text("é", "thing") == "é"


def test_an_error_shows_the_beginning_of_a_long_name() -> None:
    with pytest.raises(ValueError, match="cannot be a hub name") as caught:
        check_hub("-" * 100_000)
    assert len(str(caught.value)) < 300


def test_a_count_is_a_whole_number_within_its_limits() -> None:
    assert check_count("retries", 0) == 0
    assert check_count("ttl", 300, 300) == 300
    for value in (1.5, "3", None, True):
        with pytest.raises(TypeError, match="retries is a whole number"):
            check_count("retries", value)
    with pytest.raises(ValueError, match="retries is -1; it must be 0 or more"):
        check_count("retries", -1)
    with pytest.raises(ValueError, match="ttl is 301; it must be 0 to 300"):
        check_count("ttl", 301, 300)


def test_a_key_is_taken_as_it_stands() -> None:
    assert check_access_key("a key/with+all=sorts") == "a key/with+all=sorts"


@pytest.mark.parametrize(
    "key", ["", "canary\n", "canary\r\n", " canary", "canary\t", "Endpoint=https://h;AccessKey=canary"]
)
def test_what_is_no_access_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="an access key") as caught:
        check_access_key(key)
    assert "canary" not in str(caught.value)
