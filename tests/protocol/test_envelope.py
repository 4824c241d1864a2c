from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.envelope import scan

NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (b"{}", {}),
        (b" \t\r\n{ \n} ", {}),
        (b'{"a":1}', {"a": b"1"}),
        (b'{ "a" : 1 , "b" : [ 1, 2 ] }', {"a": b"1", "b": b"[ 1, 2 ]"}),
        (b'{"a":"}","b":"\\"}","c":"\\\\"}', {"a": b'"}"', "b": b'"\\"}"', "c": b'"\\\\"'}),
        (b'{"a":{"b":[{}]},"c":[[]]}', {"a": b'{"b":[{}]}', "c": b"[[]]"}),
        (b'{"a":["]","}",{"[":"\\""}]}', {"a": b'["]","}",{"[":"\\""}]'}),
        (b'{"a":null,"a":2}', {"a": b"2"}),
        (b'{"\\u0061":1,"":2}', {"a": b"1", "": b"2"}),
        (b'{"a":"\\ud800","b":1e400}', {"a": b'"\\ud800"', "b": b"1e400"}),
        (b'{"\\ud800":1,"\xff":2,"a":3}', {"a": b"3"}),
        (b'{"a":"\xff"}', {"a": b'"\xff"'}),
        pytest.param(b'{"a":%b,"b":1}' % NESTED, {"a": NESTED, "b": b"1"}, id="nested"),
    ],
)
def test_fields_are_found(text: bytes, fields: dict[str, bytes]) -> None:
    assert scan(text) == fields


def test_what_stands_inside_a_value_is_not_judged() -> None:
    assert scan(b'{"a":[1,,:],"b":tru,"c":"\\x"}') == {"a": b"[1,,:]", "b": b"tru", "c": b'"\\x"'}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"x",
        b"[]",
        b'"a"',
        b"{",
        b"{,}",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":1',
        b'{"a":1 2}',
        b'{"a":1]',
        b'{"a":"',
        b'{"a":"\\"}',
        b'{"a":[}',
        b'{"a":["]}',
        b'{"a":[[]}',
        b"{a:1}",
        b'{"a":1}{}',
        b"{}x",
        b"\xef\xbb\xbf{}",
        pytest.param(b'{"a":%b}' % NESTED[:-1], id="nested"),
    ],
)
def test_what_is_not_one_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"after byte|follows the object"):
        scan(text)


def test_an_error_quotes_nothing() -> None:
    with pytest.raises(ValueError, match=r"^not a JSON object: something is wrong after byte 5$"):
        scan(b'{"a":"topse')
    with pytest.raises(ValueError, match=r"^something follows the object at byte 2$"):
        scan(b"{}secret")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=3),
    st.booleans(),
    st.sampled_from([None, 1, "\t"]),
)
def test_every_object_is_cut_where_the_standard_library_sees_its_fields(
    value: dict[str, Any], ascii_only: bool, indent: int | str | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass")
    assert {name: json.loads(raw.decode(errors="surrogatepass")) for name, raw in scan(text).items()} == value
