from __future__ import annotations

import hmac

import pytest

from tests.protocol.event_requests import KEY, SIGNATURE
from trio_webpubsub.protocol.cloudevents import (
    check_texts,
    data_from,
    is_signed,
    media_type,
    metadata_headers,
    prefixed,
    signatures,
)
from trio_webpubsub.protocol.errors import InvalidPayload

OTHER_KEY = "7aab239577fd4f24bc919802fb629f5f"
OTHER_ID = "0f9c97a2f0bf4706afe87a14e0797b11"
OTHER_SIGNATURE = "sha256=7767effcb3946f3e1de039df4b986ef02c110b1469d02c0a06f41b3b727ab561"


@pytest.mark.parametrize(
    ("key", "connection_id", "signature"), [(KEY, "conn-1", SIGNATURE), (OTHER_KEY, OTHER_ID, OTHER_SIGNATURE)]
)
def test_the_vectors_of_the_signature(key: str, connection_id: str, signature: str) -> None:
    assert signatures([key], connection_id) == signature
    assert is_signed(signature, [key], connection_id)


def test_both_keys_sign_the_primary_one_first() -> None:
    primary, secondary = signatures([KEY, "other"], "conn-1").split(",")
    assert primary == SIGNATURE
    assert secondary == signatures(["other"], "conn-1")


@pytest.mark.parametrize(
    "value",
    [
        SIGNATURE.upper(),
        f"{SIGNATURE},sha256=00",
        f"sha256=00, {SIGNATURE}",  # so read two header lines
        f" {SIGNATURE} , ",
        f"sha1=ab,{SIGNATURE}",
    ],
)
def test_a_signature_in_any_of_its_forms_is_good(value: str) -> None:
    assert is_signed(value, ["wrong", KEY], "conn-1")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256=",
        SIGNATURE.removeprefix("sha256="),
        SIGNATURE[:-1],
        f"{SIGNATURE}0",
        SIGNATURE.replace("sha256", "sha1"),
        OTHER_SIGNATURE,
        "sha256=é",
        ",".join(["sha256=00"] * 16 + [SIGNATURE]),
    ],
)
def test_anything_else_is_no_signature(value: str) -> None:
    assert not is_signed(value, [KEY], "conn-1")


def test_every_signature_is_compared_in_constant_time_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    compare = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert is_signed(f"sha256=größe,sha256=00,{SIGNATURE},sha256=01", [KEY, OTHER_KEY], "conn-1")
    assert len(compared) == 8  # all of them, though the third is good
    assert all(isinstance(side, bytes) for pair in compared for side in pair)


def test_a_signature_is_good_for_its_connection_and_its_key_only() -> None:
    assert not is_signed(SIGNATURE, [KEY], "conn-2")
    assert not is_signed(SIGNATURE, [OTHER_KEY], "conn-1")
    assert not is_signed(SIGNATURE, [], "conn-1")


def test_the_media_type_is_what_stands_before_the_parameters() -> None:
    assert media_type("Text/PLAIN ; charset=UTF-8") == "text/plain"
    assert media_type("") == ""


@pytest.mark.parametrize(
    ("body", "data_type", "content_type", "data"),
    [
        ("é".encode(), "text", "text/plain", "é"),
        ("é".encode(), "text", "text/plain; a=b; Charset=UTF-8", "é"),
        ("é".encode("latin-1"), "text", 'text/plain; charset="ISO-8859-1"', "é"),
        ("é€".encode("cp1252"), "text", "text/plain; charset=windows-1252", "é€"),
        ("é".encode("utf-16"), "text", "text/plain; charset=utf-16", "é"),
        ('["é"]'.encode("utf-16le"), "json", "application/json; charset=utf-16le", ["é"]),
        (b'{"a": 1}', "json", "application/json; charset=us-ascii", {"a": 1}),
        (b"null", "json", "application/json", None),
        (b"", "json", "application/json", None),
        (b"", "text", "text/plain", ""),
        (b"\xff\x00", "binary", "application/octet-stream; charset=utf-8", b"\xff\x00"),
        (b"\xff", "protobuf", "application/x-protobuf", b"\xff"),
    ],
)
def test_data_is_what_the_content_type_says(body: bytes, data_type: str, content_type: str, data: object) -> None:
    assert data_from(body, data_type, content_type) == data


@pytest.mark.parametrize(
    ("body", "data_type", "content_type"),
    [
        (b"\xff", "text", "text/plain"),
        (b"\xff", "text", "text/plain; charset=ascii"),
        (b"x", "text", "text/plain; charset=unicode_escape"),
        (b"x", "json", "application/json"),
        (b"[" * 100_000, "json", "application/json"),
        (b'"\\ud800"', "json", "application/json"),
    ],
)
def test_data_that_is_something_else_is_told(body: bytes, data_type: str, content_type: str) -> None:
    with pytest.raises(InvalidPayload, match=f"^the {data_type} payload"):
        data_from(body, data_type, content_type)


def test_metadata_travels_in_headers_with_lower_case_names() -> None:
    lines = metadata_headers({"TraceId": "a b, c", "n": ""})
    assert lines == [("x-webpubsub-metadata-traceid", "a b, c"), ("x-webpubsub-metadata-n", "")]
    assert prefixed(lines, "x-webpubsub-metadata-") == {"traceid": "a b, c", "n": ""}


@pytest.mark.parametrize("value", ["a\r\nx: y", " a", "a ", "é", "a\x7f"])
def test_metadata_that_no_header_holds_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="metadata value"):
        metadata_headers({"key": value})


def test_the_last_header_of_a_name_counts_and_a_bare_prefix_does_not() -> None:
    assert prefixed([("p-a", "1"), ("p-", "2"), ("q-a", "3"), ("p-a", "4")], "p-") == {"a": "4"}


def test_several_texts() -> None:
    assert check_texts(["a", "b"], "keys") == ("a", "b")
    with pytest.raises(TypeError, match="keys takes several"):
        check_texts("a", "keys")
    with pytest.raises(TypeError, match="keys takes a list of str"):
        check_texts(["a", 1], "keys")
    with pytest.raises(ValueError, match="an empty text is not one of keys"):
        check_texts(["a", ""], "keys")
