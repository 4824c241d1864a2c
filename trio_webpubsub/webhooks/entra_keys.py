"""The keys with which a tenant of Entra ID signs, fetched and kept, and what they signed.

PyJWT checks signatures; its own checks of time are off, since all parts of a program share one clock here.

Source: of the documentation of the Microsoft identity platform "Signing key rollover".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

import httpx
import jwt
import msgspec
import trio
from jwt.algorithms import has_crypto

from .._shell.clock import wall_time
from .._shell.connector import Connector
from .._shell.http import ConnectorTransport
from ..protocol.claims import MAX_TOKEN_SIZE
from ..protocol.errors import InvalidToken

_KEYS_KEPT = 24 * 3600.0
"""Seconds after which the keys are got again."""
_KEYS_ASKED_AGAIN = 300.0
"""Seconds for which a key that is not known is not looked for again: tokens of strangers have such keys, too. And
seconds for which old keys are used without another try, after one that failed."""
_KEYS_TIMEOUT = 10.0
_MAX_KEYS_SIZE = 1024 * 1024

_jws = jwt.PyJWS()


class TenantKeys:
    """The keys of one tenant.

    Args:
        url: Where they are fetched.
        given: A JSON Web Key Set, where they are not to be fetched.
        connector: Makes the connection to fetch them.

    Raises:
        ValueError: What is given is no key set.
        ImportError: The extra ``entra`` is not installed.
    """

    def __init__(self, url: str, given: Mapping[str, Any] | None, connector: Connector) -> None:
        if not has_crypto:
            raise ImportError("tokens of Entra ID need the extra entra: python -m pip install 'trio-webpubsub[entra]'")
        self._url = url
        self._connector = connector
        self._given = given is not None
        self._keys: Mapping[str, jwt.PyJWK] = {}
        if given is not None:
            try:
                self._keys = _read_keys(msgspec.convert(given, _KeySet))
            except msgspec.ValidationError as error:
                raise ValueError(f"keys is no JSON Web Key Set: {error}") from None
        self._fetched_at = -math.inf
        self._not_before = -math.inf
        self._lock = trio.Lock()

    async def signed_claims(self, token: str) -> Mapping[str, Any]:
        """Give what a token says, if the tenant signed it; keys are fetched where they are needed.

        Raises:
            InvalidToken: It did not, or the token cannot be read.
            httpx.HTTPError: The keys cannot be had.
            trio.TooSlowError: The keys did not come within 10 seconds.

        Cancellation: Nothing is lost.
        """
        return _checked_claims(token, await self._key(_key_id(token)))

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
    with suppress(jwt.InvalidTokenError, UnicodeError):
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
