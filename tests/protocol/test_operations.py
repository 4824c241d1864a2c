from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol import operations
from trio_webpubsub.protocol.errors import MessageTooLarge
from trio_webpubsub.protocol.names import MAX_MESSAGE_SIZE
from trio_webpubsub.protocol.operations import (
    Operation,
    send_to_all,
    send_to_connection,
    send_to_group,
    send_to_user,
)
from trio_webpubsub.protocol.rest_answers import read_error
from trio_webpubsub.protocol.rest_messages import encode_message


def test_send_to_all() -> None:
    operation = send_to_all("chat", "hi")
    assert operation == Operation(
        name="send_to_all",
        method="POST",
        path="/api/hubs/chat/:send",
        headers=(("content-type", "text/plain"),),
        body=b"hi",
        repeatable=False,
    )
    assert operation.target() == "/api/hubs/chat/:send?api-version=2024-12-01"


def test_every_option_is_in_the_query() -> None:
    operation = send_to_all("chat", "", excluded=["a b", "c&d"], filter="userId eq 'ann'", message_ttl_seconds=0)
    assert operation.target("2021-10-01") == (
        "/api/hubs/chat/:send?excluded=a%20b&excluded=c%26d&filter=userId%20eq%20%27ann%27"
        "&messageTtlSeconds=0&api-version=2021-10-01"
    )


def test_send_to_group() -> None:
    operation = send_to_group(
        "a,b", "tenant/7 é+%", "", excluded=iter(["c"]), filter="x", message_ttl_seconds=300, content_type="text/plain"
    )
    assert operation.path == "/api/hubs/a%2Cb/groups/tenant%2F7%20%C3%A9%2B%25/:send"
    assert operation.query == (("excluded", "c"), ("filter", "x"), ("messageTtlSeconds", "300"))


def test_send_to_user() -> None:
    operation = send_to_user("chat", "a%2Fb", b"\0", filter="x", message_ttl_seconds=1)
    assert operation.path == "/api/hubs/chat/users/a%252Fb/:send"
    assert operation.query == (("filter", "x"), ("messageTtlSeconds", "1"))
    assert operation.headers == (("content-type", "application/octet-stream"),)


def test_send_to_connection() -> None:
    operation = send_to_connection("chat", "c:1", None, message_ttl_seconds=1)
    assert operation.path == "/api/hubs/chat/connections/c%3A1/:send"
    assert operation.query == (("messageTtlSeconds", "1"),)
    assert (operation.headers, operation.body) == ((("content-type", "application/json"),), b"null")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1))
def test_any_name_is_one_segment_and_encoded_once(name: str) -> None:
    if not name.strip() or name in (".", ".."):
        return
    path = urlsplit(f"http://h{send_to_group('chat', name, '').target()}").path
    assert [unquote(segment) for segment in path.split("/")] == ["", "api", "hubs", "chat", "groups", name, ":send"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_filter_is_encoded_once(expression: str) -> None:
    if not expression.strip():
        return
    query = urlsplit(f"http://h{send_to_all('chat', '', filter=expression).target()}").query
    assert parse_qsl(query) == [("filter", expression), ("api-version", "2024-12-01")]


@pytest.mark.parametrize("name", [".", ".."])
@pytest.mark.parametrize("send", [send_to_group, send_to_user, send_to_connection])
def test_a_message_cannot_climb_to_another_address(send: Callable[..., Operation], name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in the path"):
        send("chat", name, "")


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda: send_to_all("", ""), ValueError, "hub name"),
        (lambda: send_to_group("chat", " ", ""), ValueError, "group name"),
        (lambda: send_to_user("chat", "", ""), ValueError, "user id"),
        (lambda: send_to_connection("chat", "", ""), ValueError, "connection id"),
        (lambda: send_to_all("chat", "", excluded="c-1"), TypeError, "excluded takes several"),
        (lambda: send_to_all("chat", "", excluded=["a", ""]), ValueError, "connection id"),
        (lambda: send_to_all("chat", "", filter=" "), ValueError, "filter cannot be empty"),
        (lambda: send_to_all("chat", "", message_ttl_seconds=-1), ValueError, "0 to 300"),
        (lambda: send_to_all("chat", "", message_ttl_seconds=301), ValueError, "0 to 300"),
    ],
)
def test_what_cannot_be_sent(call: Callable[[], Operation], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        call()


@pytest.mark.parametrize(
    ("option", "value"), [("message_ttl_seconds", True), ("message_ttl_seconds", 1.0), ("filter", 7)]
)
def test_options_have_types(option: str, value: object) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        send_to_all("chat", "", **options)


@dataclass
class Order:
    number: int


@pytest.mark.parametrize(
    ("message", "sent_as", "body"),
    [
        ("é", "text/plain", "é".encode()),
        ("", "text/plain", b""),
        (b"\xff", "application/octet-stream", b"\xff"),
        (bytearray(b"ab"), "application/octet-stream", b"ab"),
        (memoryview(b"abcd")[::2], "application/octet-stream", b"ac"),
        ({"a": [1, None]}, "application/json", b'{"a":[1,null]}'),
        ((1.5, True), "application/json", b"[1.5,true]"),
        (None, "application/json", b"null"),
        (Order(7), "application/json", b'{"number":7}'),
    ],
)
def test_the_type_of_a_message_decides_how_it_is_sent(message: object, sent_as: str, body: bytes) -> None:
    assert encode_message(message) == (sent_as, body)


@pytest.mark.parametrize(
    ("message", "content_type", "body"),
    [
        ("é", "application/json", '"é"'.encode()),
        (b'{"a":1}', "application/json", b'{"a":1}'),
        (b"abc", "text/plain", b"abc"),
        (7, "application/json", b"7"),
        ("é", "text/plain; charset=utf-8", "é".encode()),
        (b"\xe9", "text/plain; charset=iso-8859-1", b"\xe9"),
    ],
)
def test_a_content_type_can_be_chosen(message: object, content_type: Any, body: bytes) -> None:
    assert encode_message(message, content_type) == (content_type, body)


def test_a_message_has_a_limit() -> None:
    assert len(encode_message(bytes(MAX_MESSAGE_SIZE))[1]) == MAX_MESSAGE_SIZE
    for message in (bytes(MAX_MESSAGE_SIZE + 1), "é" * (MAX_MESSAGE_SIZE // 2 + 1), ["x" * MAX_MESSAGE_SIZE]):
        with pytest.raises(MessageTooLarge, match="the limit is 1,048,576"):
            encode_message(message)


@pytest.mark.parametrize(
    ("message", "content_type", "error", "why"),
    [
        ("a", "application/octet-stream", TypeError, "str cannot be sent as application/octet-stream"),
        ({}, "text/plain", TypeError, "dict cannot be sent as text/plain"),
        ("é", "text/plain; charset=latin-1", ValueError, "encoded as UTF-8"),
        ("a", "text/plain; charset", ValueError, "one of text/plain"),
        ({}, "text/html", ValueError, "one of text/plain, application/json, application/octet-stream"),
        ("a\ud800", None, ValueError, "lone surrogate"),
        ("a\ud800", "application/json", ValueError, "lone surrogate"),
        ({"a": "\ud800"}, None, ValueError, "lone surrogate"),
        (object(), None, TypeError, "no form in JSON"),
        (math.nan, None, ValueError, "NaN"),
        ({"a": (None, [1, {"b": math.inf}])}, None, ValueError, "NaN"),
    ],
)
def test_messages_that_cannot_be_sent(message: object, content_type: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        encode_message(message, content_type)


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "message"),
    [
        (400, {}, b'{"code":"Error.BadRequest","message":"no hub"}', "Error.BadRequest", "no hub"),
        (404, {"x-ms-error-code": "Warning.Group.NotExisted"}, b"", "Warning.Group.NotExisted", "Not Found"),
        (400, {"x-ms-error-code": "A"}, b'{"code":"B","message":"m"}', "A", "m"),
        (404, {}, b"Connection id  not\r\n found", None, "Connection id not found"),
        (400, {}, b'{"code":7,"message":"m"}', None, "m"),
        (400, {}, b'{"code":"","message":["m"]}', None, '{"code":"","message":["m"]}'),
        (400, {}, b"[1]", None, "[1]"),
        (502, {}, b"\xff\xfe", None, "\ufffd\ufffd"),
        (500, {}, b"[" * 100_000, None, "[" * 500),
        (401, {}, b"", None, "Unauthorized"),
        (299, {}, b"", None, "an unknown status"),
    ],
)
def test_how_an_error_reads(status: int, headers: dict[str, str], body: bytes, code: str | None, message: str) -> None:
    assert read_error(status, headers, body) == (code, message)


@given(st.binary())
def test_any_error_reads_as_something(body: bytes) -> None:
    assert read_error(500, {}, body)[1]


@pytest.mark.parametrize(
    ("operation", "method", "target"),
    [
        (operations.health(), "HEAD", "/api/health?"),
        (operations.connection_exists("chat", "c/1"), "HEAD", "/api/hubs/chat/connections/c%2F1?"),
        (operations.group_exists("chat", "a b"), "HEAD", "/api/hubs/chat/groups/a%20b?"),
        (operations.user_exists("chat", "ann"), "HEAD", "/api/hubs/chat/users/ann?"),
        (operations.close_connection("chat", "c"), "DELETE", "/api/hubs/chat/connections/c?"),
        (
            operations.close_connection("chat", "c", reason="a&b"),
            "DELETE",
            "/api/hubs/chat/connections/c?reason=a%26b&",
        ),
        (
            operations.close_all_connections("chat", excluded=["c", "d"], reason="r"),
            "POST",
            "/api/hubs/chat/:closeConnections?excluded=c&excluded=d&reason=r&",
        ),
        (operations.close_group_connections("chat", "g"), "POST", "/api/hubs/chat/groups/g/:closeConnections?"),
        (
            operations.close_user_connections("chat", "u", excluded=["c"]),
            "POST",
            "/api/hubs/chat/users/u/:closeConnections?excluded=c&",
        ),
        (operations.list_connections("chat", "g"), "GET", "/api/hubs/chat/groups/g/connections?"),
        (
            operations.list_connections("chat", "g", limit=9, page_size=2),
            "GET",
            "/api/hubs/chat/groups/g/connections?maxpagesize=2&top=9&",
        ),
        (operations.add_connection_to_group("chat", "g", "c"), "PUT", "/api/hubs/chat/groups/g/connections/c?"),
        (operations.remove_connection_from_group("chat", "g", "c"), "DELETE", "/api/hubs/chat/groups/g/connections/c?"),
        (operations.remove_connection_from_all_groups("chat", "c"), "DELETE", "/api/hubs/chat/connections/c/groups?"),
        (operations.add_user_to_group("chat", "g", "u"), "PUT", "/api/hubs/chat/users/u/groups/g?"),
        (operations.remove_user_from_group("chat", "g", "u"), "DELETE", "/api/hubs/chat/users/u/groups/g?"),
        (operations.remove_user_from_all_groups("chat", "u"), "DELETE", "/api/hubs/chat/users/u/groups?"),
        (
            operations.grant_permission("chat", "sendToGroup", "c", target_name="g/1"),
            "PUT",
            "/api/hubs/chat/permissions/sendToGroup/connections/c?targetName=g%2F1&",
        ),
        (
            operations.revoke_permission("chat", "joinLeaveGroup", "c", target_name=None),
            "DELETE",
            "/api/hubs/chat/permissions/joinLeaveGroup/connections/c?",
        ),
        (
            operations.has_permission("chat", "sendToGroup", "c", target_name="g"),
            "HEAD",
            "/api/hubs/chat/permissions/sendToGroup/connections/c?targetName=g&",
        ),
        (operations.generate_client_token("chat"), "POST", "/api/hubs/chat/:generateToken?minutesToExpire=60&"),
        (
            operations.generate_client_token(
                "chat",
                user_id="ann",
                roles=["r", "s"],
                groups=["g"],
                lifetime=timedelta(seconds=61),
                client_protocol="mqtt",
            ),
            "POST",
            "/api/hubs/chat/:generateToken?userId=ann&role=r&role=s&group=g&minutesToExpire=2&clientType=MQTT&",
        ),
        (operations.any_request("get", "/api/x", {"a": "b c"}, b""), "GET", "/api/x?a=b%20c&"),
        (
            operations.next_page(operations.list_connections("chat", "g", limit=9), "top=7&API-Version=x&t=a%2Bb%3D"),
            "GET",
            "/api/hubs/chat/groups/g/connections?top=7&t=a%2Bb%3D&",
        ),
    ],
)
def test_every_other_operation(operation: Operation, method: str, target: str) -> None:
    assert operation.method == method
    assert operation.target() == f"{target}api-version=2024-12-01"
    assert operation.body == b""
    assert operation.repeatable


def test_changes_to_many_connections() -> None:
    operation = operations.add_connections_to_groups("chat", ["a", "b"], filter="userId eq 'ann'")
    assert (operation.method, operation.path) == ("POST", "/api/hubs/chat/:addToGroups")
    assert operation.headers == (("content-type", "application/json"),)
    assert operation.body == b"""{"groups":["a","b"],"filter":"userId eq 'ann'"}"""
    operation = operations.remove_connections_from_groups("chat", iter(["a"]))
    assert (operation.path, operation.body) == ("/api/hubs/chat/:removeFromGroups", b'{"groups":["a"]}')


def test_metadata_travels_in_headers() -> None:
    operation = send_to_group("chat", "g", "hi", metadata={"Trace": "7"})
    assert operation.headers == (("content-type", "text/plain"), ("x-webpubsub-metadata-Trace", "7"))
    for metadata in ({"a b": "c"}, {"a": "b\r\nc: d"}, {"a": "b, c"}, {"a": " b"}, {"a": "b "}, {"a": "\x7f"}):
        with pytest.raises(ValueError, match="metadata"):
            send_to_all("chat", "hi", metadata=metadata)


def test_a_version_among_the_parameters_counts() -> None:
    assert operations.any_request("GET", "/x", {"api-version": "1"}, b"").target() == "/x?api-version=1"
    assert not operations.any_request("POST", "/x", {}, b"y").repeatable


def test_a_request_may_repeat_parameters_and_hold_text() -> None:
    operation = operations.any_request("PUT", "/x", [("a", "1"), ("a", "2"), ("API-Version", "3")], "é")
    assert (operation.target(), operation.body) == ("/x?a=1&a=2&API-Version=3", "é".encode())


def test_only_questions_have_no_for_an_answer() -> None:
    asked = {
        operations.connection_exists("chat", "c"),
        operations.group_exists("chat", "g"),
        operations.user_exists("chat", "u"),
        operations.has_permission("chat", "sendToGroup", "c", target_name="g"),
    }
    assert all(operation.asks for operation in asked)
    assert not operations.health().asks
    assert not operations.add_user_to_group("chat", "g", "u").asks


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: operations.list_connections("chat", "g", limit=0), ValueError, "limit is a number from 1"),
    (
        lambda: operations.list_connections("chat", "g", page_size=201),
        ValueError,
        "page_size is a number from 1 to 200",
    ),
    (lambda: operations.list_connections("chat", "g", page_size=cast("int", "2")), TypeError, "page_size is an int"),
    (lambda: operations.next_page(operations.health(), "a b"), ValueError, "no continuation token"),
    (lambda: operations.next_page(operations.health(), ""), ValueError, "no continuation token"),
    (lambda: operations.next_page(operations.health(), "a#b"), ValueError, "no continuation token"),
    (lambda: operations.add_connections_to_groups("chat", []), ValueError, "no groups"),
    (lambda: operations.add_connections_to_groups("chat", "abc"), TypeError, "groups takes several"),
    (lambda: operations.add_connections_to_groups("chat", ["a"], filter=" "), ValueError, "filter cannot be empty"),
    (
        lambda: operations.has_permission("chat", cast("Any", "fly"), "c", target_name="g"),
        ValueError,
        "permission is 'fly', which is none of",
    ),
    (lambda: operations.has_permission("chat", "sendToGroup", "c", target_name=""), ValueError, "group name"),
    (lambda: operations.any_request("POST", "/x", {}, cast("Any", {})), TypeError, "content is a str or bytes-like"),
    (lambda: operations.generate_client_token("chat", lifetime=timedelta(0)), ValueError, "must be positive"),
    (lambda: operations.generate_client_token("chat", lifetime=cast("timedelta", 60)), TypeError, "timedelta, not int"),
    (lambda: operations.generate_client_token("chat", roles=[""]), ValueError, "role cannot be empty"),
    (lambda: operations.generate_client_token("chat", groups="abc"), TypeError, "groups takes several"),
    (lambda: operations.close_connection("chat", "c", reason="\ud800"), ValueError, "lone surrogate"),
    (lambda: operations.any_request("G T", "/x", {}, b""), ValueError, "a method is a word"),
    (lambda: operations.any_request("GET", "/x?y", {}, b""), ValueError, "a path starts with a slash"),
    (lambda: operations.any_request("GET", "/a/../x", {}, b""), ValueError, "a path starts with a slash"),
]


@pytest.mark.parametrize(("call", "error", "why"), WRONG)
def test_what_no_operation_takes(call: Callable[[], object], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        call()
