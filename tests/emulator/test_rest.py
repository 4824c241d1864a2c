"""The emulator's REST API, over hubs that note what is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace

import pytest
import trio.testing

from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub._shell.randomness import system_bytes
from trio_webpubsub.emulator.directory import Directory
from trio_webpubsub.emulator.hub import ConnectAccepted, ConnectRequest, Deliver, Effect, Hub, Hubs
from trio_webpubsub.emulator.hub.limits import HubLimits
from trio_webpubsub.emulator.rest import RestApi
from trio_webpubsub.emulator.rest_requests import Refusal
from trio_webpubsub.listener import Request, Response
from trio_webpubsub.protocol.operations import send_to_all, send_to_connection, send_to_group, send_to_user
from trio_webpubsub.protocol.tokens import request_token
from trio_webpubsub.protocol.wire import DataMessage

KEY = "primary-access-key-primary-access-key-primary-access-key"
SECOND = "secondary-access-key-secondary-access-key-secondary-key"
NOW = 1_800_000_000.0
ALL = "/api/hubs/chat/:send"


class Place:
    """Hubs with three connections in ``chat``, their API, and what it delivered: group, text and connections."""

    def __init__(self) -> None:
        self.hubs = Hubs(HubLimits())
        self.delivered: list[tuple[str | None, str, bytes, list[int]]] = []
        self.directory = Directory(system_bytes)
        self.rest = RestApi(
            self.hubs, self.perform, keys=[KEY, SECOND], endpoint="http://localhost:8080", directory=self.directory
        )
        for transport, connection_id, user_id, groups in (
            (1, "c-1", "ann", ["lobby", "a/b"]),
            (2, "c-2", "ann", ["lobby"]),
            (3, "c/3", "tenant%2Fbob", []),
        ):
            hub = self.hubs.hub("chat")
            hub.connect(
                transport,
                ConnectRequest(
                    subprotocols=["json.webpubsub.azure.v1"],
                    connection_id=connection_id,
                    user_id=user_id,
                    groups=groups,
                ),
            )
            hub.answer_connect(transport, ConnectAccepted())
            hub.transport_opened(transport)

    def perform(self, hub: Hub, effects: Iterable[Effect]) -> None:
        assert hub is self.hubs.hub("chat")
        for effect in effects:
            assert isinstance(effect, Deliver)
            message = effect.message
            assert isinstance(message, DataMessage)
            transports = sorted(transport for transport, _ in effect.recipients)
            self.delivered.append((message.group, message.payload.data_type, message.payload.body, transports))

    def send(self, target: str, body: bytes = b"hi", *, content_type: str | None = "text/plain") -> Response:
        return self.rest.answer(signed(target, body, content_type=content_type), now=NOW)


@pytest.fixture
def place() -> Place:
    return Place()


def signed(
    target: str,
    body: bytes = b"hi",
    *,
    content_type: str | None = "text/plain",
    audience: str | None = None,
    key: str = KEY,
    method: str = "POST",
) -> Request:
    path, _, query = target.partition("?")
    token = request_token(key, url=audience or f"http://localhost:8080{target}", now=NOW)
    headers = {"host": "localhost:8080", "content-length": str(len(body)), "authorization": f"Bearer {token}"}
    if content_type is not None:
        headers["content-type"] = content_type
    return Request(method=method, path=path, query=query, headers=headers, body=body)


def error_of(response: Response) -> dict[str, str]:
    content: dict[str, str] = json.loads(response.body)
    return content


def test_send_to_all(place: Place) -> None:
    assert place.send(send_to_all("chat", "").target()).status == 202
    assert place.delivered == [(None, "text", b"hi", [1, 2, 3])]


def test_send_to_all_but_some(place: Place) -> None:
    assert place.send(send_to_all("chat", "", excluded=["c-1", "c/3", "c-9"]).target()).status == 202
    assert place.delivered == [(None, "text", b"hi", [2])]


def test_excluded_ids_are_not_split(place: Place) -> None:
    place.send(f"{ALL}?excluded=c-1,c-2")
    assert place.delivered == [(None, "text", b"hi", [1, 2, 3])]


@pytest.mark.parametrize(("group", "reached"), [("lobby", [1, 2]), ("a/b", [1])])
def test_send_to_group(place: Place, group: str, reached: list[int]) -> None:
    assert place.send(send_to_group("chat", group, "").target()).status == 202
    assert place.delivered == [(group, "text", b"hi", reached)]


def test_send_to_group_but_some(place: Place) -> None:
    place.send(send_to_group("chat", "lobby", "", excluded=["c-1"]).target())
    assert place.delivered == [("lobby", "text", b"hi", [2])]


def test_send_to_user(place: Place) -> None:
    assert place.send(send_to_user("chat", "ann", "").target()).status == 202
    assert place.delivered == [(None, "text", b"hi", [1, 2])]


@pytest.mark.parametrize(
    ("segment", "reached"),
    [("tenant%2Fbob", [3]), ("tenant%252Fbob", [3]), ("tenant%252fbob", []), ("a%6En", [1, 2]), ("tenant%2fbob", [])],
)
def test_a_slash_in_a_user_id_stays_encoded(place: Place, segment: str, reached: list[int]) -> None:
    assert place.send(f"/api/hubs/chat/users/{segment}/:send").status == 202
    assert [transports for _, _, _, transports in place.delivered if transports] == ([reached] if reached else [])


def test_send_to_connection(place: Place) -> None:
    assert place.send(send_to_connection("chat", "c/3", "").target()).status == 202
    assert place.delivered == [(None, "text", b"hi", [3])]


@pytest.mark.parametrize("target", ["groups/nobody", "users/nobody", "connections/nobody"])
def test_whom_nobody_knows_is_no_error(place: Place, target: str) -> None:
    assert place.send(f"/api/hubs/chat/{target}/:send").status == 202
    assert [transports for _, _, _, transports in place.delivered if transports] == []


def test_hubs_are_told_apart_without_case(place: Place) -> None:
    place.send("/api/hubs/CHAT/:send")
    assert place.delivered == [(None, "text", b"hi", [1, 2, 3])]


@pytest.mark.parametrize(
    ("content_type", "body", "data_type", "delivered"),
    [
        ("text/plain", "é".encode(), "text", "é".encode()),
        ("Text/Plain; charset=UTF-8", b"", "text", b""),
        ("text/plain;charset=iso-8859-1", b"\xe9", "text", "é".encode()),
        ('text/plain; format=flowed; charset="utf-16"', "é".encode("utf-16"), "text", "é".encode()),
        ("application/json", b'{"a":  1}', "json", b'{"a":  1}'),
        ("application/json", b"[1e999, " + b"9" * 5000 + b"]", "json", b"[1e999, " + b"9" * 5000 + b"]"),
        ("application/json; charset=utf-16", '"é"'.encode("utf-16"), "json", '"é"'.encode()),
        ("application/octet-stream", b"\xff\0", "binary", b"\xff\0"),
        (None, b"\xff", "binary", b"\xff"),
    ],
)
def test_the_content_type_decides(
    place: Place, content_type: str | None, body: bytes, data_type: str, delivered: bytes
) -> None:
    assert place.send(ALL, body, content_type=content_type).status == 202
    assert place.delivered == [(None, data_type, delivered, [1, 2, 3])]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/x-protobuf", b"", 415),
        ("text/html", b"", 415),
        ("", b"", 415),
        ("text/plain; charset=klingon", b"", 415),
        ("text/plain; charset=unicode_escape", b"", 415),
        ("text/plain", b"\xff", 400),
        ("text/plain; charset=us-ascii", "é".encode(), 400),
        ("application/json", b"", 400),
        ("application/json", b"{", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b"\xff", 400),
        ("application/json", b"[NaN]", 400),
    ],
)
def test_messages_that_are_not_taken(place: Place, content_type: str, body: bytes, status: int) -> None:
    response = place.send(ALL, body, content_type=content_type)
    assert response.status == status
    assert error_of(response)["message"]
    assert place.delivered == []


@pytest.mark.parametrize(("size", "status"), [(1024 * 1024, 202), (1024 * 1024 + 1, 400)])
def test_how_large_a_message_may_be(place: Place, size: int, status: int) -> None:
    assert place.send(ALL, bytes(size), content_type=None).status == status


def test_a_message_says_how_long_it_is(place: Place) -> None:
    request = signed(ALL)
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    response = place.rest.answer(replace(request, headers=headers), now=NOW)
    assert (response.status, error_of(response)["code"]) == (400, "Error.BadRequest")
    assert "Content-Length" in error_of(response)["message"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "api-version=2024-12-01",
        "API-Version=2021-10-01",
        "messageTtlSeconds=0",
        "messagettlseconds=300",
        "filter=",
        "unknown=1",
    ],
)
def test_parameters_that_are_taken(place: Place, query: str) -> None:
    assert place.send(f"{ALL}?{query}").status == 202
    assert len(place.delivered) == 1


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (f"{ALL}?api-version=", "api-version is none of"),
        (f"{ALL}?api-version=2030-01-01", "api-version is none of"),
        (f"{ALL}?api-version=2024-12-01&Api-Version=2024-12-01", "more than once"),
        (f"{ALL}?messageTtlSeconds=301", "0 to 300"),
        (f"{ALL}?messageTtlSeconds=-1", "0 to 300"),
        (f"{ALL}?messageTtlSeconds=1.5", "0 to 300"),
        (f"{ALL}?messageTtlSeconds=", "0 to 300"),
        (f"{ALL}?messageTtlSeconds={'9' * 5000}", "0 to 300"),
        (f"{ALL}?messageTtlSeconds=1&messageTtlSeconds=1", "more than once"),
        ("/api/hubs/1chat/:send", "hub name"),
        ("/api/hubs/a%2Fb/:send", "hub name"),
        ("/api/hubs/%FF/:send", "percent-encoded UTF-8"),
        ("/api/hubs/chat/groups/%20/:send", "group name"),
        ("/api/hubs/chat/groups/%FF/:send", "percent-encoded UTF-8"),
        ("/api/hubs/chat/users/%20/:send", "user id"),
        ("/api/hubs/chat/users/%2F%FF/:send", "percent-encoded UTF-8"),
        ("/api/hubs/chat/connections/%FF/:send", "percent-encoded UTF-8"),
    ],
)
def test_requests_that_are_bad(place: Place, target: str, why: str) -> None:
    response = place.send(target)
    assert response.status == 400
    assert dict(response.headers) == {"content-type": "application/json", "x-ms-error-code": "Error.BadRequest"}
    assert error_of(response)["code"] == "Error.BadRequest"
    assert why in error_of(response)["message"]
    assert place.delivered == []


def test_a_filter_chooses(place: Place) -> None:
    assert place.send(f"{ALL}?filter=userId%20eq%20%27ann%27%20and%20not(connectionId%20eq%20%27c-1%27)").status == 202
    assert place.delivered == [(None, "text", b"hi", [2])]


def test_a_bad_filter_is_told_as_the_official_clients_expect(place: Place) -> None:
    response = place.send(f"{ALL}?filter=userId%20eq")
    assert response.status == 400
    assert dict(response.headers)["content-type"].startswith("text/plain")
    message = error_of(response)["message"]
    assert message == (
        "Invalid syntax for 'userId eq': Expression expected at position 9 in 'userId eq'. (Parameter 'filter')"
    )


def test_a_connection_has_no_filter(place: Place) -> None:
    assert place.send("/api/hubs/chat/connections/c-1/:send?filter=x").status == 202


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", ALL),
        ("PUT", ALL),
        ("POST", "/"),
        ("POST", "/api/hubs/chat"),
        ("POST", "/api/hubs/chat/:openConnections"),
        ("POST", "/api/hubs/chat/rooms/a/:send"),
        ("POST", "/api/hubs/chat/groups//:send"),
        ("POST", "/api/hubs/chat/connections//:send"),
        ("POST", "/api/hubs/chat/groups/a/b/:send"),
        ("POST", "/api/hubs//:send"),
        ("POST", "/api/hubs/chat/:send//"),
        ("GET", "/api/health"),
        ("GET", "/api/hubs/chat/users/ann"),
        ("PATCH", "/api/hubs/chat/connections/c-1"),
    ],
)
def test_operations_that_do_not_exist(place: Place, method: str, target: str) -> None:
    assert place.rest.answer(signed(target, method=method), now=NOW).status == 404
    assert place.delivered == []


def test_health_needs_no_token(place: Place) -> None:
    request = Request(method="HEAD", path="/api/health", query="api-version=2024-12-01")
    assert place.rest.answer(request, now=NOW) == Response(status=200)


QUERY = "?api-version=2024-12-01&excluded=a%20B"


@pytest.mark.parametrize(
    "audience",
    [
        f"http://localhost:8080{ALL}{QUERY}",
        f"http://localhost:8080{ALL}?api-version=2024-12-01&excluded=a B",
        f"http://localhost:8080{ALL}?api-version=2024-12-01&excluded=%61%20%42",
        f"http://localhost:8080{ALL}",
        f"HTTP://LOCALHOST:8080{ALL.upper()}",
        f"https://localhost:8080{ALL}",
        f"http://proxy.example{ALL}",
    ],
)
def test_audiences_that_are_right(place: Place, audience: str) -> None:
    request = signed(ALL + QUERY, audience=audience)
    request = replace(request, headers={**request.headers, "host": "proxy.example"})
    assert place.rest.answer(request, now=NOW).status == 202


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost:8080/api/hubs/other/:send",
        "http://localhost:8080/api/hubs/chat",
        "http://other:8080/api/hubs/chat/:send",
        f"http://localhost:8080{ALL}?api-version=2021-10-01",
        "http://localhost:8080/client/hubs/chat",
    ],
)
def test_audiences_that_are_wrong(place: Place, audience: str) -> None:
    assert place.rest.answer(signed(ALL + QUERY, audience=audience), now=NOW).status == 401
    assert place.delivered == []


def test_both_keys_open(place: Place) -> None:
    assert place.rest.answer(signed(ALL, key=SECOND), now=NOW).status == 202
    assert place.rest.answer(signed(ALL, key=KEY[::-1]), now=NOW).status == 401


@pytest.mark.parametrize(("later", "status"), [(599, 202), (600, 401)])
def test_clocks_may_differ_by_five_minutes(place: Place, later: float, status: int) -> None:
    assert place.rest.answer(signed(ALL), now=NOW + later).status == status


def test_a_request_that_comes_again_is_judged_anew(place: Place) -> None:
    request = signed(ALL)
    for later, status in (0, 202), (599, 202), (600, 401), (0, 202):
        assert place.rest.answer(request, now=NOW + later).status == status
    elsewhere = replace(request, path="/api/hubs/other/:send")
    assert place.rest.answer(elsewhere, now=NOW).status == 401
    another = replace(request, headers={**request.headers, "authorization": "Bearer x"})
    assert place.rest.answer(another, now=NOW).status == 401


def test_few_signatures_are_remembered(place: Place) -> None:
    for number in range(510):
        assert place.send(f"/api/hubs/chat/groups/g{number}/:send").status == 202
    assert len(place.rest._signed) == 500
    assert place.send("/api/hubs/chat/groups/g0/:send").status == 202


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic eHg6eHg=", "Bearer x.y.z", "bearer  {token}"])
def test_who_is_not_known_gets_nothing(
    place: Place, caplog: pytest.LogCaptureFixture, authorization: str | None
) -> None:
    caplog.set_level(logging.DEBUG)
    request = signed(ALL)
    headers = dict(request.headers)
    token = headers.pop("authorization").removeprefix("Bearer ")
    if authorization is not None:
        headers["authorization"] = authorization.format(token=token)
    response = place.rest.answer(replace(request, headers=headers), now=NOW)
    good = authorization is not None and "{token}" in authorization
    assert (response.status, response.body) == (202 if good else 401, b"")
    assert (len(place.delivered) == 1) == good
    assert isinstance(response, Refusal) == (not good)
    assert token not in caplog.text + (response.reason if isinstance(response, Refusal) else "")


async def test_the_time_is_that_of_the_run(autojump_clock: trio.testing.MockClock, place: Place) -> None:
    token = request_token(KEY, url=f"http://h{ALL}", now=wall_time())
    headers = {"host": "h", "content-length": "2", "authorization": f"Bearer {token}"}
    request = Request(method="POST", path=ALL, headers=headers, body=b"hi")
    assert (await place.rest.handle(request)).status == 202
    await trio.sleep(1000)
    assert (await place.rest.handle(request)).status == 401
