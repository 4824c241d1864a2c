from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.claims import CLOCK_SKEW, MAX_TOKEN_SIZE, expires_at
from trio_webpubsub.protocol.errors import InvalidToken
from trio_webpubsub.protocol.tokens import (
    client_access_token,
    request_token,
    verify_token,
)

KEY = "canary-primary-access-key-of-forty-characters-0123456789"
SECOND = "canary-secondary-access-key-of-forty-characters-01234567"
HUB = "https://h/client/hubs/chat"
NOW = 1_800_000_000.0


def signed(payload: bytes, header: Mapping[str, Any] | None = None, key: str = KEY) -> str:
    """A token as a forger writes it, without help that would refuse."""
    head = json.dumps({"alg": "HS256", "typ": "JWT", **(header or {})}).encode()
    text = f"{encoded(head)}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.digest(key.encode(), text.encode(), hashlib.sha256))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_claims(**claims: Any) -> str:
    return signed(json.dumps({"aud": HUB, "exp": NOW + 60} | claims).encode())


def verify(token: str, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"keys": [KEY], "audiences": [HUB], "now": NOW}
    return verify_token(token, **(arguments | changes))


def test_a_client_token_says_everything() -> None:
    token = client_access_token(
        KEY,
        audience=HUB,
        now=NOW + 0.7,
        lifetime=60,
        user_id="ann",
        roles=["webpubsub.sendToGroup", "r2"],
        groups=iter(["lobby"]),
        claims={"tenant": 7},
    )
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "aud": HUB,
        "iat": NOW,
        "exp": NOW + 61,
        "sub": "ann",
        "role": ["webpubsub.sendToGroup", "r2"],
        "webpubsub.group": ["lobby"],
        "tenant": 7,
    }
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_an_anonymous_client_token_says_no_more_than_it_must() -> None:
    token = client_access_token(KEY, audience=HUB, now=NOW, lifetime=60)
    assert verify(token) == {"aud": HUB, "iat": NOW, "exp": NOW + 60}


@pytest.mark.parametrize("lifetime", [0, -1, math.nan, math.inf])
def test_a_lifetime_is_positive(lifetime: float) -> None:
    with pytest.raises(ValueError, match="lifetime is"):
        client_access_token(KEY, audience=HUB, now=NOW, lifetime=lifetime)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"user_id": " "}, ValueError, "user id"),
        ({"user_id": 7}, TypeError, "a user id is a str"),
        ({"groups": [""]}, ValueError, "group name"),
        ({"groups": "lobby"}, TypeError, "groups takes several"),
        ({"roles": "webpubsub.sendToGroup"}, TypeError, "roles takes several"),
        ({"roles": ["a", ""]}, ValueError, "role cannot be empty"),
        ({"roles": [None]}, TypeError, "a role is a str"),
        ({"roles": ["webpubsub.sendToGroups."]}, ValueError, "names no group"),
        ({"claims": {"a": math.nan}}, ValueError, "JSON"),
        ({"headers": {"kid": 7}}, ValueError, "the token cannot be made"),
        ({"claims": {"sub": "eve", "role": "x"}}, ValueError, "not for extra claims: role, sub"),
        ({"claims": {"x": object()}}, TypeError, "not JSON serializable"),
    ],
)
def test_a_client_token_refuses(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        client_access_token(KEY, audience=HUB, now=NOW, lifetime=60, **options)


def test_a_request_token_is_for_its_url() -> None:
    url = "https://h/api/hubs/chat/:send?api-version=2024-12-01"
    token = request_token(KEY, url=url, now=NOW, lifetime=60)
    assert verify(token, audiences=[url]) == {"aud": url, "exp": NOW + 60}
    with pytest.raises(InvalidToken, match="audience"):
        verify(token)


def test_any_of_several_keys_may_have_signed() -> None:
    token = request_token(SECOND, url=HUB, now=NOW)
    assert verify(token, keys=[KEY, SECOND])["aud"] == HUB


@pytest.mark.parametrize("exp", [NOW - CLOCK_SKEW, -1, NOW - 1e9])
def test_a_token_expires(exp: float) -> None:
    with pytest.raises(InvalidToken, match="has expired"):
        verify(with_claims(exp=exp))


def test_clocks_may_differ() -> None:
    token = with_claims(exp=NOW - 299, nbf=NOW + 300)
    assert verify(token)["exp"] == NOW - 299
    with pytest.raises(InvalidToken, match="has expired"):
        verify(token, leeway=299)


@pytest.mark.parametrize("exp", [None, "soon", str(NOW), True, [NOW], 1e300])
def test_an_expiry_is_a_time(exp: object) -> None:
    with pytest.raises(InvalidToken, match="does not say when it expires"):
        verify(with_claims(exp=exp))


def test_an_expiry_is_required() -> None:
    with pytest.raises(InvalidToken, match="does not say when it expires"):
        verify(signed(json.dumps({"aud": HUB}).encode()))


def test_a_token_may_be_for_later() -> None:
    with pytest.raises(InvalidToken, match="not valid yet"):
        verify(with_claims(nbf=NOW + CLOCK_SKEW + 1))


@pytest.mark.parametrize("nbf", [None, "soon", False])
def test_not_before_is_a_time(nbf: object) -> None:
    with pytest.raises(InvalidToken, match="nbf is not a time"):
        verify(with_claims(nbf=nbf))


@pytest.mark.parametrize(
    "audience",
    [HUB, HUB.upper(), "https%3A%2F%2Fh%2Fclient%2Fhubs%2FCHAT", ["other", HUB], [None, HUB]],
)
def test_audiences_that_are_right(audience: object) -> None:
    assert verify(with_claims(aud=audience))["aud"] == audience


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        7,
        [],
        [7],
        {"a": HUB},
        [[HUB]],
        HUB[:-1],
        f"{HUB}/",
        f"{HUB}2",
        "http://h/client/hubs/chat",
        "wss://h/client/hubs/chat",
    ],
)
def test_audiences_that_are_wrong(audience: object) -> None:
    with pytest.raises(InvalidToken, match=f"audience .* expected: {HUB}"):
        verify(with_claims(aud=audience))


def test_an_audience_is_required() -> None:
    with pytest.raises(InvalidToken, match="audience"):
        verify(signed(json.dumps({"exp": NOW + 60}).encode()))


def test_only_what_was_signed_is_decoded_to_compare() -> None:
    # "a%2Fb" and "a/b" are different places: what is expected is not decoded.
    with pytest.raises(InvalidToken, match="audience"):
        verify(with_claims(aud="https://h/a/b"), audiences=["https://h/a%2Fb"])


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not a readable token"),
        ("a.b", "not a readable token"),
        ("a.b.c.d", "not a readable token"),
        ("é.é.é", "not a readable token"),
        ("\ud800.a.a", "not a readable token"),
        (f"{encoded(b'[')}.e30.e30", "not a readable token"),
        (f"{encoded(b'[' * 5000)}.e30.e30", "not a readable token"),
        (f"{encoded(b'7')}.e30.e30", "not a readable token"),
        (signed(b"{}", {"crit": ["exp"], "exp": 1}), "not a readable token"),
        (signed(b"{}", {"kid": 7}), "not a readable token"),
        (signed(b"{}", {"alg": "none"}), "not signed with HS256"),
        (signed(b"{}", {"alg": "HS512"}), "not signed with HS256"),
        (signed(b"{}", {"alg": None}), "not signed with HS256"),
        (signed(b"{}", key=SECOND), "signature does not fit"),
        (signed(b"{}")[:-3] + "AAA", "signature does not fit"),
        (signed(b"[]"), "not a JSON object"),
        (signed(b"{"), "not a JSON object"),
        (signed(b'"\xff"'), "not a JSON object"),
        (signed(b'{"x":"\xff"}'), "not a JSON object"),
        (signed(b'{"x":' + b"[" * 5000), "not a JSON object"),
        (signed(b'{"exp":1e400}'), "not a JSON object"),
        ("a" * (MAX_TOKEN_SIZE + 1), "longer than 8,192 characters"),
    ],
)
def test_tokens_that_are_none(token: str, why: str) -> None:
    with pytest.raises(InvalidToken, match=why) as caught:
        verify(token)
    assert caught.value.__context__ is None


def test_a_signature_holds_nothing_else() -> None:
    token = with_claims()
    with pytest.raises(InvalidToken, match="not a readable token"):
        verify(f"{token[:-4]}!!!!{token[-4:]}")


def test_a_token_of_the_greatest_size_is_looked_at() -> None:
    filler = "x" * (MAX_TOKEN_SIZE * 3 // 4 - 150)
    token = with_claims(x=filler)
    assert MAX_TOKEN_SIZE - 100 < len(token) <= MAX_TOKEN_SIZE
    assert verify(token)["x"] == filler


def test_headers_that_point_elsewhere_are_ignored() -> None:
    elsewhere = {"jku": "https://evil/keys", "x5u": "file:///etc/passwd", "kid": "../../key", "jwk": {"k": "AA"}}
    payload = json.dumps({"aud": HUB, "exp": NOW + 60}).encode()
    assert verify(signed(payload, elsewhere))["aud"] == HUB
    with pytest.raises(InvalidToken, match="signature"):
        verify(signed(payload, elsewhere, key="\0" * 32))


def test_without_keys_nothing_is_accepted() -> None:
    with pytest.raises(InvalidToken, match="no key"):
        verify(with_claims(), keys=[])


@pytest.mark.parametrize(
    "token",
    [
        with_claims(exp=1, x="canary"),
        with_claims(aud="canary"),
        signed(b"{}", {"canary": 1}, key=SECOND),
        signed(b"{}", {"alg": "canary"}),
        signed(b"{}", {"crit": ["canary"], "canary": 1}),
        "canary.canary.canary",
    ],
)
def test_no_reason_shows_the_token_or_the_key(token: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        verify(token)
    assert "canary" not in f"{caught.value!r} {caught.value.args} {caught.value.__cause__} {caught.value.__context__}"


@pytest.mark.parametrize(("exp", "read"), [(NOW, NOW), (NOW + 0.5, NOW + 0.5), (True, None), ("7", None), (None, None)])
def test_expires_at_reads_without_checking(exp: object, read: float | None) -> None:
    assert expires_at(signed(json.dumps({"exp": exp}).encode(), key=SECOND)) == read


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "..",
        "a.a.a",
        "é.é.é",
        "\ud800.\ud800.\ud800",
        "a.b",
        "e30.e30.e30",
        f"e30.{encoded(b'[]')}.",
        "a" * 9000,
    ],
)
def test_expires_at_reads_nothing_from_nonsense(token: str) -> None:
    assert expires_at(token) is None


@given(st.text() | st.binary().map(signed))
def test_nonsense_is_an_invalid_token(token: str) -> None:
    with pytest.raises(InvalidToken):
        verify(token)
    expires_at(token)


def test_more_headers_and_who_asks() -> None:
    token = client_access_token(KEY, audience="https://x", now=NOW, lifetime=60, headers={"kid": "7"})
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "7"}
    with pytest.raises(ValueError, match="not for extra headers: alg"):
        client_access_token(KEY, audience="https://x", now=NOW, lifetime=60, headers={"alg": "none"})
    claims = jwt.decode(request_token(KEY, url="https://x", now=NOW, user="ann"), options={"verify_signature": False})
    assert claims["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"] == "ann"


def test_short_keys_sign_and_verify_without_a_warning() -> None:
    token = client_access_token("short", audience=HUB, now=NOW, lifetime=60)
    assert verify_token(token, keys=["short"], audiences=[HUB], now=NOW)["aud"] == HUB
    assert request_token("short", url=HUB, now=NOW).count(".") == 2
