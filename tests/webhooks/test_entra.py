"""Tokens of a managed identity, on the virtual clock, and with keys that come over a connection in memory."""

from __future__ import annotations

import json
import logging
from typing import Any

import h11
import httpx
import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.http_server import Server, reply
from tests.webhooks.service import USER_EVENT, send
from trio_webpubsub._shell.clock import wall_time
from trio_webpubsub.webhooks import EntraVerifier, InvalidToken, WebhookApp

TENANT = "11111111-2222-3333-4444-555555555555"
CALLER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
AUDIENCE = "api://handlers"
URL = f"/{TENANT}/discovery/v2.0/keys".encode()

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}


KEYS = {"keys": [public(PRIVATE, "k1")]}


def token(key: rsa.RSAPrivateKey | str = PRIVATE, *, kid: Any = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    now = int(wall_time())
    content: dict[str, Any] = {
        "iss": f"https://sts.windows.net/{TENANT}/",
        "aud": AUDIENCE,
        "exp": now + 3600,
        "nbf": now,
        "oid": CALLER.upper(),
        **claims,
    }
    content = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def verifier(**options: Any) -> EntraVerifier:
    everything: dict[str, Any] = {"tenant_id": TENANT, "audience": AUDIENCE, "callers": [CALLER], **options}
    return EntraVerifier(**everything)


async def test_a_good_token() -> None:
    verify = verifier(keys=KEYS)
    assert await verify(token())
    assert await verify(token(iss=f"https://login.microsoftonline.com/{TENANT}/v2.0", aud=["x", AUDIENCE]))
    assert await verify(token(oid="somebody", appid=CALLER))
    assert await verify(token(oid=None, azp=CALLER, nbf=None))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "has expired"),
        ({"exp": None}, "has expired"),
        ({"exp": float("nan")}, "are not a JSON object"),
        ({"nbf": 10**12}, "is not valid yet"),
        ({"nbf": [1]}, "is not valid yet"),
        ({"iss": "https://sts.windows.net/other/"}, "of another tenant"),
        ({"iss": None}, "of another tenant"),
        ({"aud": "api://other"}, "for another audience"),
        ({"aud": None}, "for another audience"),
        ({"oid": "somebody"}, "belongs to somebody"),
        ({"oid": 3}, "belongs to somebody"),
    ],
)
async def test_a_token_that_says_something_else(claims: dict[str, Any], reason: str) -> None:
    content: dict[str, Any] = {"iss": f"https://sts.windows.net/{TENANT}/", "aud": AUDIENCE, "oid": CALLER}
    content |= {"exp": int(wall_time()) + 3600} | claims
    signed = jwt.PyJWS().encode(json.dumps(content).encode(), PRIVATE, algorithm="RS256", headers={"kid": "k1"})
    with pytest.raises(InvalidToken, match=reason):
        await verifier(keys=KEYS)(signed)


async def test_a_token_expires_on_the_clock_of_the_program(autojump_clock: MockClock) -> None:
    verify, good = verifier(keys=KEYS), token()
    await trio.sleep(3600 + 299)
    assert await verify(good)
    await trio.sleep(2)
    with pytest.raises(InvalidToken, match="expired"):
        await verify(good)


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "x" * 9000, "é.é.é"])
async def test_what_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        await verifier(keys=KEYS)(text)
    assert not text or text not in str(caught.value)


async def test_a_token_that_somebody_else_signed() -> None:
    verify = verifier(keys=KEYS)
    with pytest.raises(InvalidToken, match="not signed with the tenant's key"):
        await verify(token(OTHER))
    with pytest.raises(InvalidToken, match="not signed with the tenant's key"):
        await verify(token("s" * 32, algorithm="HS256"))
    with pytest.raises(InvalidToken, match="a key that the tenant does not have"):
        await verify(token(OTHER, kid="k2"))
    with pytest.raises(InvalidToken, match="not a readable token"):
        await verify(token(kid=None))


async def test_other_keys_of_a_set_are_passed_over() -> None:
    keys = [{"kid": "k1", "kty": "EC"}, {"kty": "RSA"}, {"kid": "k3", "kty": "RSA"}, public(PRIVATE, "k4")]
    verify = verifier(keys={"keys": [*keys, {**public(PRIVATE, "k5"), "use": "enc"}]})
    assert await verify(token(kid="k4"))
    for key_id in ("k1", "k3", "k5"):
        with pytest.raises(InvalidToken, match="does not have"):
            await verify(token(kid=key_id))


class Tenant:
    """Gives out keys, and counts how often."""

    def __init__(self) -> None:
        self.body = json.dumps(KEYS).encode()
        self.status = 200
        self.asked = 0

    async def __call__(
        self, server: Server, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request
    ) -> None:
        assert request.target == URL
        self.asked += 1
        await stream.send_all(reply(connection, self.body, status=self.status))


async def test_keys_are_fetched_once_and_again_when_there_is_a_new_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tenant = Tenant()
    server = Server(nursery, tenant)
    verify = verifier(connector=server)
    async with trio.open_nursery() as several:
        for _ in range(5):
            several.start_soon(verify, token())
    assert tenant.asked == 1
    assert server.connects == [("login.microsoftonline.com", 443, True)]
    for _ in range(3):  # a key of a stranger is not looked for each time
        with pytest.raises(InvalidToken, match="does not have"):
            await verify(token(OTHER, kid="k2"))
    assert tenant.asked == 1
    tenant.body = json.dumps({"keys": [public(OTHER, "k2")]}).encode()
    await trio.sleep(301)
    assert await verify(token(OTHER, kid="k2"))
    assert tenant.asked == 2


async def test_keys_that_cannot_be_had_are_an_error_until_they_can(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tenant = Tenant()
    verify = verifier(connector=Server(nursery, tenant))
    good = tenant.body
    for status, body in ((500, b""), (200, b"{}"), (200, b"x"), (200, b" " * 1_100_000)):
        tenant.status, tenant.body = status, body
        with pytest.raises(httpx.HTTPError):
            await verify(token())
    tenant.status, tenant.body = 200, good
    assert await verify(token())
    await trio.sleep(25 * 3600)
    tenant.status = 500
    for _ in range(3):  # the keys of yesterday are better than none, and not every token asks for new ones
        assert await verify(token())
    assert tenant.asked == 6
    await trio.sleep(301)
    tenant.status = 200
    assert await verify(token())
    assert tenant.asked == 7


@pytest.mark.parametrize("hours", [1, 25])
async def test_who_has_a_key_does_not_wait_for_others_that_are_fetched(
    nursery: trio.Nursery, autojump_clock: MockClock, hours: int
) -> None:
    tenant = Tenant()
    server = Server(nursery, tenant)
    verify = verifier(connector=server)
    assert await verify(token())
    await trio.sleep(hours * 3600)

    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    server.answer = hang
    async with trio.open_nursery() as strangers:
        strangers.start_soon(verify, token(OTHER, kid="k2"))
        await wait_all_tasks_blocked()
        before = trio.current_time()
        assert await verify(token())
        assert trio.current_time() == before
        strangers.cancel_scope.cancel()


async def test_an_app_asks_the_verifier(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = WebhookApp("chat", authenticate=verifier(keys=KEYS))
    good, bad = token(), token(OTHER)
    assert (await send(app, USER_EVENT, token=good)).status_code == 204
    assert (await send(app, USER_EVENT, token=bad)).status_code == 401
    assert "the token is not signed with the tenant's key" in caplog.text
    assert bad not in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"tenant_id": "a/b"}, {"tenant_id": ""}, {"audience": []}, {"callers": []}, {"callers": [""]}, {"keys": {"k": 1}}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tenant_id|audience|callers|Object"):
        verifier(**options)


def test_callers_are_several() -> None:
    with pytest.raises(TypeError, match="callers takes several"):
        verifier(callers=CALLER)


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_webpubsub.webhooks.entra_keys.has_crypto", False)
    with pytest.raises(ImportError, match="the extra entra"):
        verifier(keys=KEYS)


def test_a_verifier_shows_its_audience() -> None:
    assert repr(verifier(keys=KEYS)) == "<EntraVerifier for api://handlers>"
