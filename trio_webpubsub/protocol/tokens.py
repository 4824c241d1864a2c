"""Tokens: the JSON Web Tokens that clients and callers of the REST API show to the service.

PyJWT signs and checks signatures (in constant time). Its own checks of time are off, since they ask a clock: here
``now`` is passed in. No error and no text of this module holds a token, a key or anything that stood in a token.

Sources: the official service SDKs for what is signed; the official emulator for how audiences are compared and for five
minutes of clock skew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import jwt
from jwt.algorithms import HMACAlgorithm

from .arguments import check_number, check_several, check_type
from .claims import CLOCK_SKEW, MAX_TOKEN_SIZE, read_claims, read_seconds
from .errors import InvalidToken
from .names import check_group, check_user_id
from .roles import check_role

REQUEST_LIFETIME = 300.0
"""Seconds for which a token for REST calls is good."""


class _StrictJson(json.JSONEncoder):
    """Refuses NaN and Infinity, which are no JSON."""

    def __init__(self, **options: Any) -> None:
        options["allow_nan"] = False
        super().__init__(**options)


class _Hmac(HMACAlgorithm):
    """Takes keys as they are: PyJWT would warn of short ones, and whoever uses this library knows nothing of PyJWT."""

    def check_key_length(self, key: bytes) -> None:
        """Have no opinion."""


_jws = jwt.PyJWS(algorithms=[])
_jws.register_algorithm("HS256", _Hmac(HMACAlgorithm.SHA256))
_NAME_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
_RESERVED_HEADERS = frozenset({"alg", "typ", "b64", "crit"})
_RESERVED_CLAIMS = frozenset({"aud", "exp", "iat", "nbf", "sub", "role", "webpubsub.group"})


def client_access_token(
    key: str,
    *,
    audience: str,
    now: float,
    lifetime: float,
    user_id: str | None = None,
    roles: Iterable[str] = (),
    groups: Iterable[str] = (),
    claims: Mapping[str, Any] | None = None,
    headers: Mapping[str, Any] | None = None,
) -> str:
    """Sign the token with which a WebSocket client connects.

    Args:
        key: The access key.
        audience: See `urls.client_audience`.
        now: Seconds since 1970.
        lifetime: Seconds for which one can connect with it; an open connection outlives it.
        user_id: Whom the client is; ``None`` for an anonymous one.
        roles: What it may do, such as ``webpubsub.joinLeaveGroup``.
        groups: What it is a member of from the beginning.
        claims: More claims, which the service shows to the connect event handler.
        headers: More headers of the token.

    Raises:
        ValueError: a name that the service does not allow, an empty role, a lifetime that is not positive, a claim
            that has an argument of its own, or something for which JSON has no form.
        TypeError: a ``str`` where several are expected, or a claim that JSON cannot carry.
    """
    if math.isinf(check_number("lifetime", lifetime)):
        raise ValueError("lifetime is infinite, and no token is good for ever")
    for name, extra in (("claims", claims), ("headers of the token", headers)):
        if extra is not None:
            check_type(name, extra, Mapping, "a mapping")
    content = dict(claims or {})
    if taken := _RESERVED_CLAIMS & content.keys():
        raise ValueError(f"these claims are not for extra claims: {', '.join(sorted(taken))}")
    content |= {"aud": audience, "iat": int(now), "exp": math.ceil(now + lifetime)}
    if user_id is not None:
        content["sub"] = check_user_id(user_id)
    if all_roles := check_several("roles", roles):
        content["role"] = [check_role(role) for role in all_roles]
    if all_groups := check_several("groups", groups):
        content["webpubsub.group"] = [check_group(group) for group in all_groups]
    if headers and (taken := _RESERVED_HEADERS & headers.keys()):
        raise ValueError(f"these headers of a token are not for extra headers: {', '.join(sorted(taken))}")
    try:
        return _sign(content, key, dict(headers or {}))
    except (jwt.InvalidTokenError, ValueError) as error:
        raise ValueError(f"the token cannot be made: {error}") from None
    except TypeError as error:
        raise TypeError(f"the token cannot be made, since JSON has no form for all of its claims: {error}") from None


def request_token(
    key: str, *, url: str, now: float, lifetime: float = REQUEST_LIFETIME, user: str | None = None
) -> str:
    """Sign the token of one REST request.

    Args:
        key: The access key.
        url: The request's URL as it goes over the wire, query included.
        now: Seconds since 1970.
        lifetime: Seconds for which it is good.
        user: Who is asking, for the service's logs.
    """
    content: dict[str, Any] = {"aud": url, "exp": math.ceil(now + lifetime)}
    if user is not None:
        content[_NAME_CLAIM] = user
    return _sign(content, key)


def _sign(content: Mapping[str, Any], key: str, headers: dict[str, Any] | None = None) -> str:
    payload = json.dumps(content, separators=(",", ":"), cls=_StrictJson).encode()
    return _jws.encode(payload, key, algorithm="HS256", headers=headers, json_encoder=_StrictJson)


def check_lifetime(lifetime: object) -> timedelta:
    """Give ``lifetime`` back if a token can be good for that long.

    Raises:
        ValueError: it is not positive.
        TypeError: it is not a ``timedelta``.
    """
    if not isinstance(lifetime, timedelta):
        raise TypeError(
            f"the lifetime of a token is a timedelta, not {type(lifetime).__name__}: timedelta(minutes=5), say"
        )
    if lifetime <= timedelta(0):
        raise ValueError("the lifetime of a token must be positive")
    return lifetime


def verify_token(
    token: str, *, keys: Sequence[str], audiences: Collection[str], now: float, leeway: float = CLOCK_SKEW
) -> dict[str, Any]:
    """Check a token as the service does, and give its claims.

    Args:
        token: What the other side showed.
        keys: The access keys, any of which may have signed it.
        audiences: The audiences that are right here. Case does not matter, and the token's may be percent-encoded.
        now: Seconds since 1970.
        leeway: Seconds by which the signer's clock may differ.

    Raises:
        InvalidToken: with the reason.
    """
    if len(token) > MAX_TOKEN_SIZE:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_SIZE:,} characters")
    claims = read_claims(_signed_payload(token, keys))
    if claims is None:
        raise InvalidToken("the token's claims are not a JSON object")
    expiry = read_seconds(claims.get("exp"))
    if expiry is None:
        raise InvalidToken("the token does not say when it expires (exp)")
    if expiry <= now - leeway:
        raise InvalidToken("the token has expired")
    if "nbf" in claims:
        not_before = read_seconds(claims["nbf"])
        if not_before is None:
            raise InvalidToken("the token's nbf is not a time")
        if not_before > now + leeway:
            raise InvalidToken("the token is not valid yet (nbf)")
    right = {audience.lower() for audience in audiences}
    if not any(form in right for audience in _audiences(claims) for form in (audience, unquote(audience).lower())):
        raise InvalidToken(f"the token's audience (aud) is not right here; expected: {', '.join(audiences)}")
    return claims


def _signed_payload(token: str, keys: Sequence[str]) -> bytes:
    reason = "there is no key to check the token with"
    for key in keys:
        try:
            payload: bytes = _jws.decode(token, key, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            reason = "the token's signature does not fit the key"  # another key may fit
        except jwt.InvalidAlgorithmError:
            reason = "the token is not signed with HS256"
        except (jwt.InvalidTokenError, UnicodeError):  # the latter of lone surrogates
            reason = "this is not a readable token"
        else:
            return payload
    # Raised out here, so that PyJWT's errors, which may quote the token, are no part of it.
    raise InvalidToken(reason)


def _audiences(claims: dict[str, Any]) -> list[str]:
    match claims.get("aud"):
        case str() as one:
            return [one.lower()]
        case [*several]:
            return [one.lower() for one in several if isinstance(one, str)]
        case _:
            return []
