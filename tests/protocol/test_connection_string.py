from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.connection_string import ConnectionString

KEY = "c2VjcmV0LWNhbmFyeS1rZXktb2YtYS1yZXNvdXJjZQ=="


def test_the_usual_form() -> None:
    read = ConnectionString.parse(f"Endpoint=https://Foo.webpubsub.azure.com;AccessKey={KEY};Version=1.0;")
    assert read == ConnectionString("https://foo.webpubsub.azure.com", KEY)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("Endpoint=http://localhost:8080;AccessKey=k", "http://localhost:8080"),
        ("accesskey=k;ENDPOINT=HTTPS://H/", "https://h"),
        (" Endpoint = https://h ;\n AccessKey = k ;; ", "https://h"),
        ("Endpoint=https://h:443;AccessKey=k", "https://h"),
        ("Endpoint=http://h:443;AccessKey=k", "http://h:443"),
        ("Endpoint=http://h;AccessKey=k;Port=8080", "http://h:8080"),
        ("Endpoint=http://h:1/;Port=8080;AccessKey=k", "http://h:8080"),
        ("Endpoint=https://h;AccessKey=k;Port=443", "https://h"),
        ("Endpoint=http://[::1]:8080;AccessKey=k;Other=x=y", "http://[::1]:8080"),
    ],
)
def test_what_is_understood(text: str, endpoint: str) -> None:
    assert ConnectionString.parse(text) == ConnectionString(endpoint, "k")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no Endpoint"),
        (" ; ;", "has no Endpoint"),
        (KEY, "has no Endpoint"),
        (f"AccessKey={KEY}", "has no Endpoint"),
        (f' "Endpoint=https://h;AccessKey={KEY};"', "stands in quotes"),
        (f"'Endpoint=https://h;AccessKey={KEY}'", "stands in quotes"),
        (f"Endpoint= ;AccessKey={KEY}", "has no Endpoint"),
        ("Endpoint=https://h", "has no AccessKey"),
        ("Endpoint=https://h;AccessKey=", "has no AccessKey"),
        ("Endpoint=https://h;AccessKey;", "part 2 of the connection string is not of the form Key=Value"),
        (f"Endpoint=https://h;AccessKey={KEY};accesskey={KEY}", "part 3 of the connection string repeats a key"),
        (f"Endpoint={KEY};AccessKey=https://h", "Endpoint of the connection string: this is not a URL"),
        (f"Endpoint=h;AccessKey={KEY}", "Endpoint of the connection string: this is not a URL"),
        (f"Endpoint=wss://h;AccessKey={KEY}", "must start with https:// or http://"),
        (f"Endpoint=https://;AccessKey={KEY}", "no usable host"),
        (f"Endpoint=https://u:{KEY}@h;AccessKey={KEY}", "must not hold a user name"),
        (f"Endpoint=https://h/path;AccessKey={KEY}", "no path or query"),
        (f"Endpoint=https://h?x={KEY};AccessKey={KEY}", "no path or query"),
        (f"Endpoint=https://h#x;AccessKey={KEY}", "fragment"),
        (f"Endpoint=https://h:0;AccessKey={KEY}", "port is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port=", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port=0", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port=65536", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port=8e1", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port=²", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY};Port={'9' * 5000}", "Port of the connection string is not a number"),
        (f"Endpoint=https://h;AccessKey={KEY}\ud800", "lone surrogate"),
    ],
)
def test_what_is_wrong_is_named_and_no_value_shown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        ConnectionString.parse(text)
    assert KEY[:8] not in str(caught.value)


def test_a_connection_string_is_a_str() -> None:
    wrong: Any = None
    with pytest.raises(TypeError, match="a connection string is a str, not NoneType"):
        ConnectionString.parse(wrong)


def test_the_key_is_not_shown() -> None:
    read = ConnectionString("https://h", KEY)
    assert f"{read} {read!r}" == "ConnectionString(endpoint='https://h') ConnectionString(endpoint='https://h')"


@given(st.lists(st.sampled_from(["Endpoint", "AccessKey", "Port", "=", ";", "http://", "h", ":", "1", " ", "\ud800"])))
def test_anything_is_read_or_a_value_error(pieces: list[str]) -> None:
    try:
        read = ConnectionString.parse("".join(pieces))
    except ValueError:
        return
    assert read.access_key
