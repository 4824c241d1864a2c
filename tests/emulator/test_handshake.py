from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from trio_webpubsub.emulator.handshake import Admission, Handshake, HandshakeRefused, Publishing, Recovery
from trio_webpubsub.protocol.tokens import client_access_token

KEY = "k" * 40
OTHER_KEY = "o" * 40
NOW = 1_700_000_000.0
HOST = "127.0.0.1:8080"
AUDIENCE = f"http://{HOST}/client/hubs/chat"


def token(*, audience: str = AUDIENCE, key: str = KEY, now: float = NOW, **fields: Any) -> str:
    return client_access_token(key, audience=audience, now=now, lifetime=60, **fields)


def handshake(path: str = "/client/hubs/chat", query: str = "", headers: Mapping[str, str] | None = None) -> Handshake:
    return Handshake(path, query, headers or {})


def admit(request: Handshake) -> Admission:
    return request.admit(keys=[KEY, OTHER_KEY], endpoint_host=HOST, now=NOW)


def refusal(request: Handshake) -> tuple[int, str]:
    with pytest.raises(HandshakeRefused) as caught:
        admit(request)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/client/hubs/chat", ""),
        ("/client/hubs/Chat/", ""),
        ("/CLIENT/HUBS/c%68at", ""),
        ("/client/", "hub=chat"),
        ("/client", "HUB=Chat&x=y"),
    ],
)
def test_both_forms_of_the_url_name_a_hub(path: str, query: str) -> None:
    assert handshake(path, query).hub.lower() == "chat"


@pytest.mark.parametrize("path", ["/", "/client/hubs/a/b", "/clients/hubs/a", "/client/hubs/", "/api/hubs/a", ""])
def test_another_path_is_not_found(path: str) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        handshake(path)
    assert caught.value.status == 404


@pytest.mark.parametrize(("path", "query"), [("/client", ""), ("/client/hubs/1x", ""), ("/client/", "hub=a%20b")])
def test_no_hub_or_a_bad_name_is_a_bad_request(path: str, query: str) -> None:
    with pytest.raises(HandshakeRefused, match="names no hub") as caught:
        handshake(path, query)
    assert caught.value.status == 400


def test_a_token_in_the_query_says_who_the_client_is() -> None:
    signed = token(user_id="ann", roles=["webpubsub.sendToGroup"], groups=["a", "b"], claims={"x": 1})
    admission = admit(handshake(query=f"access_token={signed}"))
    assert admission.user_id == "ann"
    assert admission.roles == ["webpubsub.sendToGroup"]
    assert admission.groups == ["a", "b"]
    assert (admission.claims["x"], admission.claims["aud"]) == (1, AUDIENCE)


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
def test_a_token_may_stand_in_the_header(kind: str) -> None:
    admission = admit(handshake(headers={"authorization": f"{kind} {token()}"}))
    assert (admission.user_id, admission.roles, admission.groups) == (None, [], [])


def test_the_query_wins_over_the_header() -> None:
    headers = {"authorization": f"Bearer {token(user_id='header')}"}
    assert admit(handshake(query=f"access_token={token(user_id='query')}", headers=headers)).user_id == "query"


@pytest.mark.parametrize(
    "audience",
    [
        f"https://{HOST}/client/hubs/chat",
        f"HTTP://{HOST}/client/hubs/CHAT",
        "https://proxy.example/client/hubs/chat",
    ],
)
def test_the_audience_may_have_either_scheme_and_the_host_of_the_request(audience: str) -> None:
    admit(handshake(query=f"access_token={token(audience=audience)}", headers={"host": "proxy.example"}))


@pytest.mark.parametrize("hub", ["a[b]", "a%5Bb%5D"])
def test_the_hub_may_be_encoded_in_the_audience(hub: str) -> None:
    signed = token(audience=f"http://{HOST}/client/hubs/{hub}")
    admit(handshake("/client/hubs/a%5Bb%5D", f"access_token={signed}"))


def raw_token(**claims: Any) -> str:
    """A well signed token with any claims, also those that no proper tool would write."""
    return jwt.encode({"aud": AUDIENCE, "exp": NOW + 60, **claims}, KEY, algorithm="HS256")


def test_single_claims_need_no_list() -> None:
    signed = raw_token(sub="ann", role="r", **{"webpubsub.group": "g"})
    admission = admit(handshake(query=f"access_token={signed}"))
    assert (admission.user_id, admission.roles, admission.groups) == ("ann", ["r"], ["g"])


@pytest.mark.parametrize(
    "claims",
    [
        {"role": 7},
        {"role": ["r", 7]},
        {"sub": {"a": "b"}},
        {"sub": ["ann", "bob"]},
        {"webpubsub.group": True},
        {"webpubsub.group": ["lobby", " "]},
    ],
)
def test_a_claim_of_the_wrong_form_is_a_bad_request(claims: dict[str, Any]) -> None:
    assert refusal(handshake(query=f"access_token={raw_token(**claims)}"))[0] == 400


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        ("", "no access token"),
        ("nonsense", "not a readable token"),
        (token(key="x" * 40), "signature"),
        (token(now=NOW - 1000), "expired"),
        (token(audience=f"http://{HOST}/client/hubs/other"), "audience"),
        (token(audience="http://elsewhere/client/hubs/chat"), "audience"),
    ],
)
def test_a_bad_token_is_unauthorised_and_not_shown(signed: str, reason: str) -> None:
    status, text = refusal(handshake(query=f"access_token={signed}"))
    assert status == 401
    assert reason in text
    assert not signed or signed not in text


def test_no_token_at_all_is_unauthorised() -> None:
    assert refusal(handshake(headers={"authorization": "Basic eA=="}))[0] == 401


def test_either_key_may_have_signed_the_token() -> None:
    assert admit(handshake(query=f"access_token={token(key=OTHER_KEY, user_id='ann')}")).user_id == "ann"


def test_where_clients_may_be_anonymous_none_needs_a_token() -> None:
    assert handshake().admit(keys=[KEY], endpoint_host=HOST, now=NOW, anonymous=True) == Admission()


def test_a_token_counts_where_none_is_needed() -> None:
    request = handshake(query=f"access_token={token(user_id='ann')}")
    assert request.admit(keys=[KEY], endpoint_host=HOST, now=NOW, anonymous=True).user_id == "ann"
    with pytest.raises(HandshakeRefused) as caught:
        request.admit(keys=[OTHER_KEY], endpoint_host=HOST, now=NOW, anonymous=True)
    assert caught.value.status == 401


def test_claims_stand_in_no_repr() -> None:
    assert "secret" not in repr(admit(handshake(query=f"access_token={token(claims={'x': 'secret'})}")))


# What simple clients ask for


@pytest.mark.parametrize("query", ["", "webpubsub_mode=", "webpubsub_mode=SENDEVENT&group=lobby", "group=lobby"])
def test_a_simple_client_sends_events_unless_it_asks_for_more(query: str) -> None:
    assert handshake(query=query).publishing is None


@pytest.mark.parametrize(
    ("query", "publishing"),
    [
        ("webpubsub_mode=sendToGroup&group=lobby", Publishing("lobby", no_echo=False)),
        ("WebPubSub_Mode=SENDTOGROUP&Group=Lobby&noEcho=False", Publishing("Lobby", no_echo=False)),
        ("webpubsub_mode=sendToGroup&group=a%20b&noecho=TRUE", Publishing("a b", no_echo=True)),
        ("webpubsub_mode=x&webpubsub_mode=sendToGroup&group=a&group=b", Publishing("b", no_echo=False)),
    ],
)
def test_a_simple_client_may_send_to_one_group(query: str, publishing: Publishing) -> None:
    assert handshake(query=query).publishing == publishing


@pytest.mark.parametrize(
    "query",
    [
        "webpubsub_mode=publish",
        "webpubsub_mode=sendToGroup",
        "webpubsub_mode=sendToGroup&group=%20",
        "webpubsub_mode=sendToGroup&group=lobby&noEcho=1",
        "noEcho=yes",
    ],
)
def test_bad_parameters_of_a_simple_client_are_a_bad_request(query: str) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        handshake(query=query)
    assert caught.value.status == 400


def test_a_recovery_needs_no_token() -> None:
    assert handshake(query="awps_connection_id=c-1&awps_reconnection_token=t").recovery == Recovery("c-1", "t")


@pytest.mark.parametrize("query", ["", "awps_reconnection_token=t", "awps_reconnection_token=t&awps_connection_id="])
def test_without_a_connection_id_it_is_an_ordinary_connection(query: str) -> None:
    assert handshake(query=query).recovery is None


def test_the_reconnection_token_stands_in_no_repr() -> None:
    assert "secret" not in repr(Recovery("c-1", "secret"))
