from __future__ import annotations

import array
import dataclasses
import datetime as dt
import decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.payloads import check_metadata, check_state, payload_of
from trio_webpubsub.protocol.wire import Payload


@dataclasses.dataclass
class Order:
    id: int
    price: float | None = None


class Opaque:
    pass


cycle: list[Any] = []
cycle.append(cycle)


@pytest.mark.parametrize(
    ("data", "data_type", "payload"),
    [
        ("héllo", None, Payload("text", "héllo".encode())),
        ("", None, Payload("text", b"")),
        (b"\x00\xff", None, Payload("binary", b"\x00\xff")),
        (bytearray(b"ab"), None, Payload("binary", b"ab")),
        (memoryview(b"abcdef")[::2], None, Payload("binary", b"ace")),
        (memoryview(array.array("h", [1])).cast("B"), None, Payload("binary", array.array("h", [1]).tobytes())),
        (None, None, Payload("json", b"null")),
        (True, None, Payload("json", b"true")),
        (2**70, None, Payload("json", b"1180591620717411303424")),
        ({"a": [1, 2.5, "null"]}, None, Payload("json", b'{"a":[1,2.5,"null"]}')),
        ([None, {"a": None, "b": (1.5, None)}], None, Payload("json", b'[null,{"a":null,"b":[1.5,null]}]')),
        (Order(7), None, Payload("json", b'{"id":7,"price":null}')),
        (dt.date(2026, 11, 5), None, Payload("json", b'"2026-11-05"')),
        (decimal.Decimal("NaN"), None, Payload("json", b'"NaN"')),
        (msgspec.Raw(b"[null]"), None, Payload("json", b"[null]")),
        ("a", "text", Payload("text", b"a")),
        ("a", "json", Payload("json", b'"a"')),
        ("null", "json", Payload("json", b'"null"')),
        (b"a", "binary", Payload("binary", b"a")),
        (b"a", "protobuf", Payload("protobuf", b"a")),
        (bytearray(b"a"), "protobuf", Payload("protobuf", b"a")),
    ],
)
def test_what_travels(data: Any, data_type: str | None, payload: Payload) -> None:
    made = payload_of(data, data_type)
    assert made == payload
    assert type(made.body) is bytes


@pytest.mark.parametrize(
    ("data", "data_type", "error", "text"),
    [
        (b"a", "text", TypeError, "text is sent from a str, not from bytes"),
        (7, "text", TypeError, "text is sent from a str, not from int; data_type='json' would take it"),
        (b"a", "json", TypeError, "JSON has no form for bytes; data_type='binary' would take it"),
        (memoryview(b"a"), "json", TypeError, "JSON has no form for memoryview"),
        ("a", "binary", TypeError, "binary is sent from bytes, not from str"),
        ([1], "protobuf", TypeError, "protobuf is sent from bytes, not from list"),
        ("a", "Text", ValueError, "data_type is 'Text', which is none of 'json', 'text', 'binary', 'protobuf'"),
        ("a", "", ValueError, "data_type is ''"),
        ("ab\ud800", None, ValueError, "lone surrogate at index 2"),
        ("\udfff", "json", ValueError, r"a string in the data \(str\) holds a lone surrogate"),
        ({"a": ["\ud800"]}, None, ValueError, r"a string in the data \(dict\) holds a lone surrogate"),
        (Opaque(), None, TypeError, r"the data \(Opaque\) has no form in JSON: .*Opaque"),
        ([Opaque()], None, TypeError, r"the data \(list\) has no form in JSON: .*Opaque"),
        ({(1, 2): 3}, None, TypeError, r"the data \(dict\) has no form in JSON"),
        (cycle, None, ValueError, r"the data \(list\) is nested too deeply for JSON, or holds itself"),
        ([10**5000], None, ValueError, r"the data \(list\) has no form in JSON: .*digits"),
        (float("nan"), None, ValueError, r"the data \(float\) holds NaN or Infinity"),
        (float("inf"), None, ValueError, "NaN or Infinity"),
        ({"a": [{"b": (1, float("-inf"))}]}, None, ValueError, "NaN or Infinity"),
        (Order(1, float("nan")), None, ValueError, r"the data \(Order\) holds NaN or Infinity"),
        ([msgspec.Raw(b"null"), float("nan")], None, ValueError, "NaN or Infinity"),
    ],
)
def test_what_cannot_travel(data: Any, data_type: str | None, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        payload_of(data, data_type)
    assert type(caught.value) is error


@given(st.text(st.characters(codec="utf-8")))
def test_text_arrives_as_it_was(text: str) -> None:
    assert str(payload_of(text).body, "utf-8") == text


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": ""},
        {"x-Trace_1!": "any ASCII, \x00 included"},
        {"k" * 256: "v" * 1024},
        {f"{number:04}": "v" * 1020 for number in range(8)},
    ],
)
def test_metadata_may_be(metadata: dict[str, str]) -> None:
    check_metadata(metadata)


@pytest.mark.parametrize(
    ("metadata", "error", "text"),
    [
        ({"": "v"}, ValueError, "a metadata key is 1 to 256 letters"),
        ({"k" * 257: "v"}, ValueError, "a metadata key is"),
        ({"a b": "v"}, ValueError, "a metadata key is"),
        ({"a": "\ud800"}, ValueError, "the metadata value holds a lone surrogate"),
        ({"é": "v"}, ValueError, r"not '\\xe9'"),
        ({"a\n": "v"}, ValueError, "a metadata key is"),
        ({"a": "é"}, ValueError, "the metadata value of 'a' is not ASCII"),
        ({"a": "v" * 1025}, ValueError, "the metadata value of 'a' is not ASCII text of at most 1,024 characters"),
        ({f"{number:04}": "v" * 1021 for number in range(8)}, ValueError, "has 8,200 characters, the limit is 8,192"),
        ({"a": 1}, TypeError, "a metadata value is a str, not int"),
        ({1: "a"}, TypeError, "a metadata key is a str, not int"),
    ],
)
def test_metadata_may_not_be(metadata: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_metadata(metadata)


def test_a_state_is_strings_by_strings() -> None:
    state = {"status": "typing"}
    checked = check_state(state)
    assert checked == state
    assert checked is not state


@pytest.mark.parametrize("state", [None, "typing", ["typing"], {"a": 1}, {1: "a"}, {"a": None}])
def test_what_is_no_state(state: object) -> None:
    with pytest.raises(TypeError, match="state"):
        check_state(state)


def test_a_state_is_unicode() -> None:
    with pytest.raises(ValueError, match="the state value holds a lone surrogate"):
        check_state({"a": "\ud800"})
