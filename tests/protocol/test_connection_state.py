from __future__ import annotations

import base64
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import json_values, texts
from trio_webpubsub.protocol.connection_state import ConnectionState, StoredState

OF_JS = base64.b64encode(b'{"counter":1,"tags":["a"]}').decode()
"""As the official JavaScript library writes it."""


def decoded(raw: str | None) -> Any:
    assert raw is not None
    return json.loads(base64.b64decode(raw))


def test_the_object_in_the_text_is_read_as_a_mapping() -> None:
    state = StoredState(OF_JS)
    assert state == {"counter": 1, "tags": ["a"]}
    assert (len(state), list(state), state["counter"], state.raw) == (2, ["counter", "tags"], 1, OF_JS)
    assert repr(state) == "<StoredState of 2>"
    assert not isinstance(state, MutableMapping)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "not base64!",
        "A",
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b'{"a":' * 100_000).decode(),
    ],
)
def test_a_text_without_an_object_is_an_empty_state(raw: str | None) -> None:
    assert StoredState(raw) == {}
    assert StoredState(raw).raw == raw


def test_both_alphabets_of_base64_are_read_with_or_without_padding() -> None:
    text = base64.urlsafe_b64encode('{"a":"ü?>>>??"}'.encode()).decode()
    assert "_" in text or "-" in text
    assert StoredState(text.rstrip("=")) == {"a": "ü?>>>??"}


def test_nothing_is_stored_where_nothing_changed() -> None:
    for raw in (None, "", "any text", OF_JS):
        state = ConnectionState(raw)
        assert state.change() is None
        assert dict(state) is not None
        assert state.change() is None
        assert state.raw == raw


def test_a_value_that_is_set_to_what_it_was_is_no_change() -> None:
    state = ConnectionState(OF_JS)
    state["counter"] = 1
    assert state.change() is None


def test_one_changed_value_is_stored_with_the_others() -> None:
    state = ConnectionState(OF_JS)
    state["counter"] += 1
    assert decoded(state.change()) == {"counter": 2, "tags": ["a"]}
    assert decoded(state.raw) == {"counter": 2, "tags": ["a"]}
    del state["tags"]
    assert decoded(state.change()) == {"counter": 2}


def test_a_change_within_a_value_is_stored() -> None:
    state = ConnectionState(OF_JS)
    state["tags"].append("b")
    assert decoded(state.change()) == {"counter": 1, "tags": ["a", "b"]}


def test_the_text_can_be_set_as_it_is() -> None:
    state = ConnectionState(OF_JS)
    state["counter"] = 2
    state.raw = "my own text"
    assert (state.raw, state.change()) == ("my own text", "my own text")
    assert state == {}
    state.raw = ""
    assert state.change() == ""
    state.raw = OF_JS
    state["counter"] = 3
    assert decoded(state.change()) == {"counter": 3, "tags": ["a"]}


@pytest.mark.parametrize("text", ["é", "a\r\nb", " a", "a ", "x" * 16_385])
def test_a_text_that_no_header_holds_is_refused(text: str) -> None:
    state = ConnectionState()
    with pytest.raises(ValueError, match="the state of a connection"):
        state.raw = text
    assert state.raw is None


def test_only_text_is_a_text_and_a_name() -> None:
    state: Any = ConnectionState()
    with pytest.raises(TypeError, match="the state of a connection is a str, not bytes"):
        state.raw = b""
    with pytest.raises(TypeError, match="a name in the state of a connection is a str, not int"):
        state[1] = "x"
    state["x"] = object()
    with pytest.raises(TypeError, match="has no form in JSON"):
        state.change()


def test_a_state_that_is_too_large_is_refused() -> None:
    state = ConnectionState()
    state["text"] = "x" * 12_300
    with pytest.raises(ValueError, match="the limit is 16,384"):
        state.change()


@given(st.dictionaries(texts, json_values, max_size=5))
def test_what_is_stored_is_read_again(values: dict[str, Any]) -> None:
    state = ConnectionState("")
    state.update(values)
    change = state.change()
    assert (change is None) == (not values)
    if change is not None:
        assert StoredState(change) == json.loads(json.dumps(values))
