"""Signing in: access keys that change, credentials of Entra ID, and async callables."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import jwt
import pytest
import trio
from trio.testing import MockClock

from tests.http_server import Server, reply
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.protocol.tokens import request_token, verify_token
from trio_webpubsub.service import AuthenticationFailed, Service, open_service

ENDPOINT = "http://localhost:8080"


class Peer(Server):
    """Accepts the tokens that it is told to, and keeps all that it saw."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, self.give_answer)
        self.tokens: list[str] = []
        self.refused: set[str] = set()
        self.challenge = ""

    async def give_answer(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        headers = {name: value.decode() for name, value in request.headers}
        token = headers[b"authorization"].removeprefix("Bearer ")
        self.tokens.append(token)
        if token in self.refused:
            answer = reply(connection, b"", ("www-authenticate", self.challenge or "Bearer"), status=401)
        else:
            answer = reply(connection, b"", status=202)
        await stream.send_all(answer)


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


@asynccontextmanager
async def service_of(peer: Peer, credential: Any, **options: Any) -> AsyncGenerator[Service]:
    with trio.fail_after(100_000):
        async with open_service(ENDPOINT, "chat", credential=credential, connector=peer, **options) as service:
            yield service


@dataclass
class Token:
    """As ``azure.core.credentials.AccessToken``."""

    token: str
    expires_on: int


@dataclass
class Identity:
    """A synchronous credential as those of ``azure-identity``: it gives numbered tokens, good for an hour."""

    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    threads: set[int] = field(default_factory=set[int])
    lifetime: int = 3600
    error: Exception | None = None
    now: float = 0.0
    gate: threading.Event | None = None

    def get_token(self, *scopes: str, **options: Any) -> Token:
        self.asked.append({"scopes": scopes, **options})
        self.threads.add(threading.get_ident())
        if self.gate is not None:
            self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return Token(f"token-{len(self.asked)}", int(self.now + self.lifetime))


def identity(**options: Any) -> Identity:
    return Identity(now=wall_time(), **options)


# Access keys


class Key:
    """As ``azure.core.credentials.AzureKeyCredential``."""

    def __init__(self, key: str) -> None:
        self.key = key


async def test_a_key_may_change_while_the_program_runs(autojump_clock: MockClock, peer: Peer) -> None:
    key = Key("first-first-first-first-first-first-first")
    async with service_of(peer, key) as service:
        await service.send_to_all("hi")
        key.key = "second-second-second-second-second-second"
        await service.send_to_all("hi")
        assert (await service.client_access()).token
    url = f"{ENDPOINT}/api/hubs/chat/:send?api-version=2024-12-01"
    for token, name in zip(peer.tokens, ("first-", "second-"), strict=True):
        assert verify_token(token, keys=[(name * 7)[:41]], audiences=[url], now=wall_time())


async def test_a_key_that_changes_while_a_call_is_refused_is_tried(autojump_clock: MockClock, peer: Peer) -> None:
    key = Key("old-" * 10)

    class Refused(set[str]):
        def __contains__(self, token: object) -> bool:
            key.key = "new-" * 10
            return super().__contains__(token)

    async with service_of(peer, key) as service:
        url = f"{ENDPOINT}/api/hubs/chat/:send?api-version=2024-12-01"
        peer.refused = Refused([request_token("old-" * 10, url=url, now=wall_time())])
        await service.send_to_all("hi")
    assert len(peer.tokens) == 2
    assert verify_token(peer.tokens[1], keys=["new-" * 10], audiences=[url], now=wall_time())


async def test_a_refused_key_is_tried_again_only_when_it_has_changed(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, Key("key-key-key-key-key-key-key-key-key-key")) as service:
        await service.send_to_all("hi")
        peer.refused.add(peer.tokens[0])
        with pytest.raises(AuthenticationFailed):
            await service.send_to_all("hi")
    assert len(peer.tokens) == 2


async def test_a_refused_token_of_a_key_is_signed_anew(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, "key-" * 10) as service:
        await service.send_to_all("hi")
        peer.refused.add(peer.tokens[0])  # the service's clock may be ahead
        await trio.sleep(60)
        await service.send_to_all("hi")
    first, second, third = peer.tokens
    assert first == second != third


async def test_a_key_that_is_missing_is_told(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, Key("")) as service:
        with pytest.raises(AuthenticationFailed, match="holds no access key"):
            await service.send_to_all("hi")


async def test_a_key_with_a_line_end_is_told(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, Key("a-key-from-a-file\n")) as service:
        with pytest.raises(AuthenticationFailed, match="white space around it") as caught:
            await service.send_to_all("hi")
    assert "a-key-from-a-file" not in str(caught.value)
    assert peer.tokens == []


async def test_the_user_stands_in_the_token(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, "key-key-key-key-key-key-key-key-key-key", user="job 7") as service:
        await service.send_to_all("hi")
    claims = jwt.decode(peer.tokens[0], options={"verify_signature": False})
    assert claims["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"] == "job 7"


# Credentials of Entra ID


async def test_a_token_is_got_in_a_thread_and_kept_until_shortly_before_its_end(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity()
    async with service_of(peer, credential, scope="https://scope/.default") as service:
        for _ in range(3):
            await service.send_to_all("hi")
    assert peer.tokens == ["token-1"] * 3
    assert credential.asked[0] == {"scopes": ("https://scope/.default",)}
    assert threading.get_ident() not in credential.threads


async def test_in_its_last_five_minutes_a_token_is_replaced(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(lifetime=299)
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
        await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-2"]


async def test_one_caller_gets_the_token_for_all_who_wait(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(gate=threading.Event())
    async with service_of(peer, credential) as service, trio.open_nursery() as callers:
        for _ in range(5):
            callers.start_soon(service.send_to_all, "hi")
        await trio.testing.wait_all_tasks_blocked()
        assert credential.gate is not None
        credential.gate.set()
    assert len(credential.asked) == 1
    assert peer.tokens == ["token-1"] * 5


async def test_a_cancelled_caller_leaves_at_once_and_the_next_gets_the_token(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(gate=threading.Event())
    async with service_of(peer, credential) as service, trio.open_nursery() as callers:
        first = trio.CancelScope()

        @callers.start_soon
        async def leader() -> None:
            with first:
                await service.send_to_all("hi")

        await trio.testing.wait_all_tasks_blocked()
        callers.start_soon(service.send_to_all, "hi")
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert first.cancelled_caught
        assert credential.gate is not None
        credential.gate.set()
    assert len(peer.tokens) == 1


async def test_while_one_call_gets_the_next_token_the_others_use_the_old_one(
    autojump_clock: MockClock, peer: Peer
) -> None:
    asked = 0

    async def token() -> Token:
        nonlocal asked
        asked += 1
        await trio.sleep(0 if asked == 1 else 20)
        return Token(f"token-{asked}", int(wall_time()) + 1000)

    async with service_of(peer, token) as service:
        await service.send_to_all("hi")
        await trio.sleep(800)
        async with trio.open_nursery() as callers:
            for _ in range(3):
                callers.start_soon(service.send_to_all, "hi")
            await trio.sleep(1)
            assert peer.tokens == ["token-1"] * 3
    assert trio.current_time() == 820
    assert peer.tokens == ["token-1"] * 3 + ["token-2"]
    assert asked == 2


async def test_a_failed_refresh_does_not_matter_while_the_token_is_good(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(lifetime=200)
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
        credential.error = RuntimeError("canary-secret")
        await service.send_to_all("hi")
        await service.send_to_all("hi")  # not asked again at once
    assert peer.tokens == ["token-1"] * 3
    assert len(credential.asked) == 2


async def test_a_credential_that_fails_is_told_without_what_it_said(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(error=RuntimeError("canary-secret"))
    async with service_of(peer, credential) as service:
        with pytest.raises(AuthenticationFailed, match="the credential gave no token: RuntimeError") as failed:
            await service.send_to_all("hi")
    assert "canary" not in str(failed.value)
    assert failed.value.__cause__ is credential.error
    assert peer.tokens == []


async def test_a_refused_token_is_replaced_once(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity()
    peer.refused = {"token-1", "token-3", "token-4"}
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
        peer.refused.add("token-2")
        with pytest.raises(AuthenticationFailed) as failed:
            await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-2", "token-2", "token-3"]
    assert failed.value.status_code == 401


@pytest.mark.parametrize(
    ("challenge", "options"),
    [
        ("claims", {"claims": '{"access_token":{}}'}),
        ("none", {}),
        ("garbage", {}),
        ("nothing", {}),
    ],
)
async def test_a_claims_challenge_is_answered(nursery: trio.Nursery, challenge: str, options: dict[str, str]) -> None:
    peer, credential = Peer(nursery), identity()
    peer.refused = {"token-1"}
    encoded = base64.urlsafe_b64encode(b'{"access_token":{}}').decode().rstrip("=")
    if challenge != "none":
        text = {"claims": encoded, "garbage": "____x", "nothing": ""}[challenge]
        peer.challenge = f'Bearer realm="", error="insufficient_claims", claims="{text}"'
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-2"]
    assert {name: value for name, value in credential.asked[1].items() if name != "scopes"} == options


@dataclass
class TokenInfo(Token):
    refresh_on: int | None = None


class NewIdentity(Identity):
    """A credential with the newer of the two methods."""

    def get_token_info(self, *scopes: str, options: dict[str, Any] | None = None) -> TokenInfo:
        token = self.get_token(*scopes, **(options or {}))
        return TokenInfo(token.token, token.expires_on, refresh_on=int(self.now))


async def test_a_credential_may_say_when_to_refresh(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), NewIdentity(now=wall_time())
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
        await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-2"]


async def test_a_challenge_counts_for_one_token(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(lifetime=100)
    peer.refused = {"token-1"}
    peer.challenge = 'Bearer error="insufficient_claims", claims="e30="'
    async with service_of(peer, credential) as service:
        for _ in range(2):
            await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-2", "token-3"]
    assert [asked.get("claims") for asked in credential.asked] == [None, "{}", None]


async def test_many_refusals_at_once_get_one_token(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity()
    async with service_of(peer, credential) as service:
        await service.send_to_all("hi")
        peer.refused = {"token-1"}
        async with trio.open_nursery() as callers:
            for _ in range(20):
                callers.start_soon(service.send_to_all, "hi")
    assert len(credential.asked) == 2
    assert peer.tokens[-1] == "token-2"


async def test_a_refused_token_that_is_given_again_is_not_tried_again(autojump_clock: MockClock, peer: Peer) -> None:
    async def token() -> str:
        return "same"

    peer.refused = {"same"}
    async with service_of(peer, token) as service:
        with pytest.raises(AuthenticationFailed):
            await service.send_to_all("hi")
    assert peer.tokens == ["same"]


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        b"token",
        object(),
        Token("", 2_000_000_000),
        Token("two words", 2_000_000_000),
        Token("token", None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Token("token", "tomorrow"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Token("token", float("nan")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Token(b"token", 2_000_000_000),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
@pytest.mark.parametrize("kind", ["synchronous", "callable"])
async def test_garbage_from_a_credential_is_not_sent(nursery: trio.Nursery, given: object, kind: str) -> None:
    class Garbage:
        def get_token(self, *scopes: str, **options: Any) -> object:
            return given

    async def garbage() -> object:
        return given

    peer = Peer(nursery)
    async with service_of(peer, Garbage() if kind == "synchronous" else garbage) as service:
        with pytest.raises(AuthenticationFailed, match="something that is no token"):
            await service.send_to_all("hi")
    assert peer.tokens == []


async def test_a_credential_that_hangs_takes_few_threads(nursery: trio.Nursery) -> None:
    peer, credential = Peer(nursery), identity(gate=threading.Event())
    async with service_of(peer, credential) as service:
        for _ in range(10):
            with trio.move_on_after(0.02) as scope:
                await service.send_to_all("hi")
            assert scope.cancelled_caught
        assert len(credential.asked) <= 4
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert credential.gate is not None
        credential.gate.set()
        await service.send_to_all("hi")
    assert len(peer.tokens) == 1


async def test_the_wait_for_a_credential_is_not_part_of_a_tries_time(autojump_clock: MockClock, peer: Peer) -> None:
    async def token() -> str:
        await trio.sleep(100)
        return "token"

    async with service_of(peer, token) as service:
        await service.send_to_all("hi")
    assert trio.current_time() == 100


# Async callables


async def test_an_async_callable_gives_tokens_whose_end_is_read(autojump_clock: MockClock, peer: Peer) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return jwt.encode({"exp": int(wall_time()) + 3600, "n": asked}, "x" * 40, algorithm="HS256")

    async with service_of(peer, token) as service:
        await service.send_to_all("hi")
        await trio.sleep(3200)
        await service.send_to_all("hi")
        await trio.sleep(200)
        await service.send_to_all("hi")
    assert asked == 2
    assert peer.tokens[0] == peer.tokens[1] != peer.tokens[2]


async def test_a_token_that_tells_no_end_is_kept_for_a_minute(autojump_clock: MockClock, peer: Peer) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return f"opaque-{asked}"

    async with service_of(peer, token) as service:
        for seconds in (0, 50, 20):
            await trio.sleep(seconds)
            await service.send_to_all("hi")
    assert peer.tokens == ["opaque-1", "opaque-1", "opaque-2"]


async def test_an_async_callable_may_give_a_token_with_its_end(autojump_clock: MockClock, peer: Peer) -> None:
    asked: list[str] = []

    async def token(scope: str) -> Token:
        asked.append(scope)
        return Token(f"token-{len(asked)}", int(wall_time()) + 1000)

    async with service_of(peer, functools.partial(token, "scope")) as service:
        for seconds in (0, 600, 200):
            await trio.sleep(seconds)
            await service.send_to_all("hi")
    assert peer.tokens == ["token-1", "token-1", "token-2"]
    assert asked == ["scope", "scope"]


async def test_a_cancelled_call_passes_an_async_callable_on(autojump_clock: MockClock, peer: Peer) -> None:
    started: list[float] = []

    async def token() -> str:
        started.append(trio.current_time())
        await trio.sleep(10)
        return "token"

    async with service_of(peer, token) as service, trio.open_nursery() as callers:

        @callers.start_soon
        async def leader() -> None:
            with trio.move_on_after(5):
                await service.send_to_all("left")

        await trio.sleep(1)
        callers.start_soon(service.send_to_all, "first")
        callers.start_soon(service.send_to_all, "second")
    assert started == [0, 5]
    assert {body for _, _, body in peer.requests} == {b"first", b"second"}


async def test_an_async_callable_that_fails(autojump_clock: MockClock, peer: Peer) -> None:
    async def token() -> str:
        raise TimeoutError("canary")

    async with service_of(peer, token) as service:
        with pytest.raises(AuthenticationFailed, match="the credential gave no token: TimeoutError") as failed:
            await service.send_to_all("hi")
    assert "canary" not in str(failed.value)
    assert failed.value.status_code is None


@pytest.mark.parametrize("given", ["", "two words", "line\r\nbreak: canary"])
async def test_what_is_no_token_is_not_sent(autojump_clock: MockClock, peer: Peer, given: str) -> None:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        return given

    async with service_of(peer, token) as service:
        with pytest.raises(AuthenticationFailed, match="something that is no token") as failed:
            await service.send_to_all("hi")
    assert "canary" not in str(failed.value)
    assert peer.tokens == []


# What is no credential


class AsyncioIdentity:
    """As those of ``azure.identity.aio``."""

    async def get_token(self, *scopes: str, **options: Any) -> Token:
        raise AssertionError


AsyncioIdentity.__module__ = "azure.identity.aio._credentials.default"


class MyIdentity(AsyncioIdentity):
    """Made from one of asyncio's."""


class MyAsyncIdentity:
    async def get_token(self, *scopes: str, **options: Any) -> Token:
        raise AssertionError


@pytest.mark.parametrize(
    ("credential", "error", "why"),
    [
        (AsyncioIdentity(), TypeError, r"use the synchronous one, azure\.identity\.AsyncioIdentity"),
        (MyIdentity(), TypeError, r"use the synchronous one, azure\.identity\.AsyncioIdentity"),
        (MyAsyncIdentity(), TypeError, "pass an async callable that calls it"),
        (b"key", TypeError, "not bytes"),
        ({"key": "k"}, TypeError, "not dict"),
        (Identity, TypeError, "the class Identity; pass an instance"),
        (7, TypeError, "not int"),
        ("", ValueError, "an access key is empty"),
        ("a-key-from-a-file\n", ValueError, "white space around it"),
    ],
)
async def test_what_is_no_credential_is_refused(credential: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        async with open_service(ENDPOINT, "chat", credential=credential):
            pass


async def test_only_a_key_signs_for_a_user() -> None:
    with pytest.raises(ValueError, match="user stands in tokens that an access key signs"):
        async with open_service(ENDPOINT, "chat", credential=Identity(), user="job 7"):
            pass


async def test_a_callable_has_to_be_async(autojump_clock: MockClock, peer: Peer) -> None:
    async with service_of(peer, lambda: "canary-token") as service:
        with pytest.raises(TypeError, match="has to be async; it gave str"):
            await service.send_to_all("hi")


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("ftp://localhost", "the endpoint alone, https"),
        ("Endpoint=https://localhost;AccessKey=canary;", "the endpoint alone, https"),
        ("https://localhost/path", "no path or query"),
        ("http://example.com", "not https"),
        ("localhost", "the endpoint alone, https"),
        ("https://", "no usable host"),
        ("https://user:canary@localhost", "user name or password"),
        ("https://localhost:0", "port"),
    ],
)
async def test_an_endpoint_that_cannot_be_used(endpoint: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        async with open_service(endpoint, "chat", credential=Identity()):
            pass
