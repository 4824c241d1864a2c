"""Tokens of Entra ID: is it the managed identity of the Web PubSub resource that sends this event?

PyJWT checks signatures; its own checks of time are off, since all parts of a program share one clock here.

Source: the documentation's "Managed identities for Azure Web PubSub", and of the Microsoft identity platform "Access
tokens" (issuers, claims) and "Signing key rollover".
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

import httpx
import jwt
import msgspec
import trio
from jwt.algorithms import has_crypto

from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp
from .._shell.http import ConnectorTransport
from ..protocol.arguments import check_callable, check_type
from ..protocol.claims import MAX_TOKEN_SIZE
from ..protocol.cloudevents import check_texts
from ..protocol.errors import InvalidToken
from ..protocol.names import check_text
from ..protocol.tokens import CLOCK_SKEW

_AUTHORITY = "https://login.microsoftonline.com"
_KEYS_KEPT = 24 * 3600.0
"""Seconds after which the keys are got again."""
_KEYS_ASKED_AGAIN = 300.0
"""Seconds for which a key that is not known is not looked for again: tokens of strangers have such keys, too. And
seconds for which old keys are used without another try, after one that failed."""
_KEYS_TIMEOUT = 10.0
_MAX_KEYS_SIZE = 1024 * 1024

_jws = jwt.PyJWS()


class EntraVerifier:
    """Verifies tokens of Entra ID, under trio: ``WebhookApp(..., authenticate=EntraVerifier(...))``.

    A token is good if the tenant signed it, if it is for ``audience``, neither expired nor from the future (five
    minutes apart at most), and belongs to one of ``callers``. It takes the extra ``entra``.
    """

    def __init__(
        self,
        *,
        tenant_id: str,
        audience: str | Collection[str],
        callers: Collection[str],
        keys: Mapping[str, Any] | None = None,
        authority: str = _AUTHORITY,
        connector: Connector = connect_tcp,
    ) -> None:
        """Make a verifier.

        Args:
            tenant_id: The directory of the resource, a GUID.
            audience: For what the event handler's tokens are asked for: the client id of an application, or its URI.
            callers: The object ids or client ids of the managed identities that may send events. Whoever else is in the
                tenant can get a token for the same audience.
            keys: The tenant's public keys as a JSON Web Key Set, where they are not to be fetched.
            authority: Where keys are fetched and who issues tokens, ``https://login.microsoftonline.com``; other clouds
                have others.
            connector: Makes the connection to get the keys.

        Raises:
            ValueError: Something is empty, the tenant's id is not one, or the keys are no key set.
            TypeError: One ``str`` where several ids are expected.
            ImportError: The extra is not installed.
        """
        if not has_crypto:
            raise ImportError("tokens of Entra ID need the extra 'entra': pip install 'trio-webpubsub[entra]'")
        if not re.fullmatch(r"[0-9A-Za-z.-]+", check_text(tenant_id, "tenant_id")):
            raise ValueError("tenant_id is the GUID of a directory")
        self._audiences = frozenset(check_texts([audience] if isinstance(audience, str) else audience, "audience"))
        self._callers = frozenset(each.lower() for each in check_texts(callers, "callers"))
        if not (self._audiences and self._callers):
            raise ValueError("audience and callers name at least one each")
        if keys is not None:
            check_type("keys", keys, Mapping, "a mapping, as a JSON Web Key Set is")
        check_callable("connector", connector, "host", "port", "ssl_context")
        authority = check_text(authority, "authority").rstrip("/")
        if not authority.startswith("https://"):
            raise ValueError("authority is a URL, https://login.microsoftonline.com or that of another cloud")
        self._issuers = {f"https://sts.windows.net/{tenant_id}/", f"{authority}/{tenant_id}/v2.0"}
        self._url = f"{authority}/{tenant_id}/discovery/v2.0/keys"
        self._connector = connector
        self._given = keys is not None
        self._keys: Mapping[str, jwt.PyJWK] = {}
        if keys is not None:
            try:
                self._keys = _read_keys(msgspec.convert(keys, _KeySet))
            except msgspec.ValidationError as error:
                raise ValueError(f"keys is no JSON Web Key Set: {error}") from None
        self._fetched_at = -math.inf
        self._not_before = -math.inf
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<EntraVerifier for {', '.join(sorted(self._audiences))}>"

    async def __call__(self, token: str) -> bool:
        """Check a token.

        Raises:
            InvalidToken: It is not good; the text says why and never holds the token.
            httpx.HTTPError: The keys cannot be had.
            trio.TooSlowError: The keys did not come within 10 seconds.

        Cancellation: Nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        claims = _checked_claims(token, await self._key(_key_id(token)))
        now = wall_time()
        if not _number(claims, "exp") > now - CLOCK_SKEW:
            raise InvalidToken("the token has expired")
        if not _number(claims, "nbf", 0) <= now + CLOCK_SKEW:
            raise InvalidToken("the token is not valid yet")
        if claims.get("iss") not in self._issuers:
            raise InvalidToken("the token is of another tenant")
        if not self._audiences.intersection(_texts(claims, "aud")):
            raise InvalidToken("the token is for another audience")
        callers = {each.lower() for name in ("oid", "appid", "azp") for each in _texts(claims, name)}
        if not self._callers & callers:
            raise InvalidToken("the token belongs to somebody who may not send events")
        return True

    async def _key(self, key_id: str) -> jwt.PyJWK:
        key = self._keys.get(key_id)
        # While one fetches, only those wait who have nothing yet: tokens of strangers must not hold up the service's.
        if self._is_due(key) and not (key is not None and self._lock.locked()):
            async with self._lock:  # all who wait find what the first one got
                key = self._keys.get(key_id)
                if self._is_due(key):
                    key = await self._fetched(key_id, key)
        if key is None:
            raise InvalidToken("the token is signed with a key that the tenant does not have")
        return key

    def _is_due(self, key: jwt.PyJWK | None) -> bool:
        now = wall_time()
        if self._given or (key is not None and now < self._not_before):
            return False
        return now - self._fetched_at > (_KEYS_ASKED_AGAIN if key is None else _KEYS_KEPT)

    async def _fetched(self, key_id: str, key: jwt.PyJWK | None) -> jwt.PyJWK | None:
        try:
            self._keys = await self._fetch()
        except (httpx.HTTPError, trio.TooSlowError):
            self._not_before = wall_time() + _KEYS_ASKED_AGAIN
            if key is None:
                raise
            return key
        self._fetched_at = wall_time()
        return self._keys.get(key_id)

    async def _fetch(self) -> Mapping[str, jwt.PyJWK]:
        content = bytearray()
        with trio.fail_after(_KEYS_TIMEOUT):
            async with aclosing(ConnectorTransport(self._connector)) as transport:
                response = await transport.handle_async_request(httpx.Request("GET", self._url))
                async with aclosing(response):
                    async for piece in cast("httpx.AsyncByteStream", response.stream):
                        content += piece
                        if len(content) > _MAX_KEYS_SIZE:
                            raise httpx.DecodingError("the tenant's keys are larger than 1 MiB")
        if response.status_code != 200:
            raise httpx.DecodingError(f"the tenant's keys were answered with {response.status_code}")
        try:
            return _read_keys(msgspec.json.decode(content, type=_KeySet))
        except (ValueError, RecursionError):
            raise httpx.DecodingError("the tenant's keys are not a JSON Web Key Set") from None


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _read_keys(key_set: _KeySet) -> dict[str, jwt.PyJWK]:
    """Read the keys that check signatures with RS256; whatever else is in the set is passed over."""
    found: dict[str, jwt.PyJWK] = {}
    for key in key_set.keys:
        key_id = key.get("kid")
        if isinstance(key_id, str) and key.get("kty") == "RSA" and key.get("use", "sig") == "sig":
            with suppress(jwt.PyJWTError):
                found[key_id] = jwt.PyJWK(key, algorithm="RS256")
    return found


def _key_id(token: str) -> str:
    if len(token) > MAX_TOKEN_SIZE:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_SIZE:,} characters")
    key_id: object = None
    with suppress(jwt.InvalidTokenError, UnicodeError, RecursionError):
        key_id = jwt.get_unverified_header(token).get("kid")
    if not isinstance(key_id, str):
        raise InvalidToken("this is not a readable token of Entra ID")
    return key_id


def _checked_claims(token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
    payload: bytes | None = None
    with suppress(jwt.InvalidTokenError, ValueError):
        payload = _jws.decode(token, key, algorithms=["RS256"])
    # Raised out here, so that PyJWT's errors, which may quote the token, are no part of it.
    if payload is None:
        raise InvalidToken("the token is not signed with the tenant's key")
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(payload, type=dict[str, Any])
    raise InvalidToken("the token's claims are not a JSON object")


def _texts(claims: Mapping[str, Any], name: str) -> list[str]:
    match claims.get(name):
        case str(text):
            return [text]
        case [*texts]:
            return [text for text in texts if isinstance(text, str)]
        case _:
            return []


def _number(claims: Mapping[str, Any], name: str, default: float = math.nan) -> float:
    value = claims.get(name, default)
    return math.nan if isinstance(value, bool) or not isinstance(value, int | float) else value
