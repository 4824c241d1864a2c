from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
import pytest

from trio_webpubsub.emulator.handshake import Admission, Handshake, HandshakeRefused, Recovery
from trio_webpubsub.protocol.json_codec import JSON, RELIABLE_JSON
from trio_webpubsub.protocol.protobuf_codec import PROTOBUF
from trio_webpubsub.protocol.tokens import client_access_token

KEY = "k" * 40
NOW = 1_700_000_000.0
HOST = "127.0.0.1:8080"
AUDIENCE = f"http://{HOST}/client/hubs/chat"


def token(*, audience: str = AUDIENCE, key: str = KEY, now: float = NOW, **fields: Any) -> str:
    return client_access_token(key, audience=audience, now=now, lifetime=60, **fields)


def handshake(
    path: str = "/client/hubs/chat",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (RELIABLE_JSON.subprotocol,),
) -> Handshake:
    return Handshake(path, query, headers or {}, subprotocols)


def admit(request: Handshake) -> Admission:
    return request.admit(keys=[KEY], endpoint_host=HOST, now=NOW)


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
    signed = token(user_id="ann", roles=["webpubsub.sendToGroup"], groups=["a", "b"])
    assert admit(handshake(query=f"access_token={signed}")) == Admission(
        codec=RELIABLE_JSON,
        subprotocol=RELIABLE_JSON.subprotocol,
        user_id="ann",
        roles=["webpubsub.sendToGroup"],
        groups=["a", "b"],
    )


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


@pytest.mark.parametrize("subprotocols", [[], ["other"]])
def test_a_client_without_a_subprotocol_is_told_what_is_served(subprotocols: list[str]) -> None:
    status, text = refusal(handshake(query=f"access_token={token()}", subprotocols=subprotocols))
    assert status == 400
    assert JSON.subprotocol in text


def test_the_first_subprotocol_that_is_served_counts_in_the_clients_spelling() -> None:
    offered = ["other", "JSON.webpubsub.azure.v1", RELIABLE_JSON.subprotocol]
    admission = admit(handshake(query=f"access_token={token()}", subprotocols=offered))
    assert (admission.codec, admission.subprotocol) == (JSON, "JSON.webpubsub.azure.v1")


def test_a_recovery_needs_no_token() -> None:
    assert handshake(query="awps_connection_id=c-1&awps_reconnection_token=t").recovery == Recovery("c-1", "t")


@pytest.mark.parametrize("query", ["", "awps_connection_id=c-1", "awps_reconnection_token=t", "awps_connection_id="])
def test_half_a_recovery_is_an_ordinary_connection(query: str) -> None:
    assert handshake(query=query).recovery is None


def test_the_reconnection_token_stands_in_no_repr() -> None:
    assert "secret" not in repr(Recovery("c-1", "secret"))


def test_protobuf_without_its_extra_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_webpubsub.protocol.protobuf_codec", None)
    name = "Protobuf.webpubsub.azure.v1"
    status, text = refusal(handshake(query=f"access_token={token()}", subprotocols=[name]))
    assert status == 400
    assert text.startswith(f"{name} is not served here: ")


def test_protobuf() -> None:
    admission = admit(handshake(query=f"access_token={token()}", subprotocols=["Protobuf.webpubsub.azure.v1"]))
    assert (admission.codec, admission.subprotocol) == (PROTOBUF, "Protobuf.webpubsub.azure.v1")
