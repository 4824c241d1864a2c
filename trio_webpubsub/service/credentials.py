"""How requests show who sends them: an access key that signs, or tokens that Entra ID gives.

A credential is asked for the token of each try of each request, and told when the service did not accept one.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import trio

from .._shell.clock import wall_time
from ..protocol import tokens
from ..protocol.arguments import check_callable
from ..protocol.claims import expires_at
from ..protocol.names import check_access_key, check_text
from .errors import AuthenticationFailed

DEFAULT_SCOPE = "https://webpubsub.azure.com/.default"

_KEY_TOKENS_KEPT = 1_000
_SPARE = 60.0
"""Seconds before its end after which a key's token is not shown any more: requests take time, and clocks differ."""
_REFRESH_BEFORE = 300.0
"""The same for tokens of Entra ID, which take long to get."""
_REFRESH_AGAIN = 30.0
"""Seconds to wait after a refresh that failed, while the old token is still good."""
_MAX_THREADS = 4
"""How many threads wait for a credential at most, which matters when it hangs: threads cannot be cancelled."""
_UNTOLD_LIFETIME = 60.0
"""Seconds for which a token is used that does not say how long it is good."""


@runtime_checkable
class KeyCredential(Protocol):
    """Holds an access key that may change while the program runs, as ``azure.core.credentials.AzureKeyCredential``.

    Any object with a ``key`` is one, such as one of a class of yours. A key that never changes is passed as a ``str``.
    """

    @property
    def key(self) -> str:
        """The key, read each time something is signed."""
        ...


@runtime_checkable
class AccessToken(Protocol):
    """A token and its end, as ``azure.core.credentials.AccessToken``: any object that has these two."""

    @property
    def token(self) -> str:
        """What is shown to the service."""
        ...

    @property
    def expires_on(self) -> int:
        """Until when it is good, in seconds since 1970."""
        ...


@runtime_checkable
class TokenCredential(Protocol):
    """Any synchronous credential of ``azure-identity``, such as ``DefaultAzureCredential()``."""

    def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
        """Give a token; called in a worker thread."""
        ...


TokenSource: TypeAlias = Callable[[], Awaitable[AccessToken | str]]
"""An async callable that gives a token: an `AccessToken`, or a ``str`` whose end is read from it."""

Credential: TypeAlias = str | KeyCredential | TokenCredential | TokenSource
"""An access key (a ``str``, or a `KeyCredential` that holds one), a `TokenCredential`, which those of
``azure-identity`` are, or an async callable that gives a token: an `AccessToken`, or a ``str`` whose end is read from
it."""


class _NotAsyncError(TypeError):
    """Our own complaint, told from whatever a credential raises."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The service did not accept a token (401)."""

    token: str = field(repr=False)
    url: str
    challenge: str
    """Its ``WWW-Authenticate``."""


class SignedRequests:
    """Signs requests with an access key, and keeps the tokens, since signing costs more than sending."""

    def __init__(self, key: str | KeyCredential, user: str | None) -> None:
        self._key = key
        self._user = user
        self._kept: dict[tuple[str, str], tuple[str, float]] = {}  # by key and URL, the oldest first; until when used

    @property
    def key(self) -> str:
        """The key as it is now.

        Raises:
            AuthenticationFailed: there is none, or it has white space around it.
        """
        key = self._key if isinstance(self._key, str) else self._key.key
        if not key:
            raise AuthenticationFailed("the credential holds no access key at present")
        try:
            return check_access_key(key)
        except ValueError as error:
            raise AuthenticationFailed(f"the credential's key cannot be used: {error}") from None

    async def token(self, url: str, /) -> str:
        """Give the token for a request to ``url``.

        Cancellation: there is nothing to cancel.
        """
        now, place = wall_time(), (self.key, url)
        token, until = self._kept.get(place, ("", -math.inf))
        if now >= until:
            token = tokens.request_token(place[0], url=url, now=now, user=self._user)
            self._kept.pop(place, None)
            if len(self._kept) >= _KEY_TOKENS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = token, now + tokens.REQUEST_LIFETIME - _SPARE
        return token

    async def other_token(self, refusal: Refusal) -> str | None:
        """Give another token after a refusal: of another key, or one that is good for longer.

        The old one may have been at its end by the service's clock. It is not used again.

        Cancellation: there is nothing to cancel.
        """
        self._kept.pop((self.key, refusal.url), None)
        token = await self.token(refusal.url)
        return None if token == refusal.token else token


class RequestedTokens:
    """Gets tokens from Entra ID: kept until shortly before their end, and got by one caller for all who wait.

    Who holds the lock gets the token; the others find it when they come in. One who is cancelled lets the next in.
    """

    def __init__(self, source: TokenCredential | TokenSource, scope: str) -> None:
        self._source = source
        self._scope = scope
        self._lock = trio.Lock()
        self._threads = trio.CapacityLimiter(_MAX_THREADS)  # not trio's own, whose threads are everybody's
        self._token: _Token | None = None
        self._claims: str | None = None
        self._not_before = -math.inf

    async def token(self, _: str, /) -> str:
        """Give a token, which is the same for all requests.

        Raises:
            AuthenticationFailed: there is none to be had.

        Cancellation: the next caller that waits gets the token instead.
        """
        if (kept := self._fresh()) is not None:
            return kept
        if self._lock.locked() and self._token is not None and wall_time() < self._token.expires_on - _SPARE:
            return self._token.text  # somebody is getting the next one
        async with self._lock:
            if (kept := self._fresh()) is not None:
                return kept
            try:
                self._token = await self._get()
            except AuthenticationFailed:
                if self._token is None or wall_time() >= self._token.expires_on:
                    raise
                self._not_before = wall_time() + _REFRESH_AGAIN
            return self._token.text

    async def other_token(self, refusal: Refusal) -> str | None:
        """Give another token after a refusal, if there is one, which is to fit the challenge; the old one is forgotten.

        Raises:
            AuthenticationFailed: there is none to be had.

        Cancellation: as `token`.
        """
        if self._token is not None and self._token.text == refusal.token:
            self._token = None
            self._claims = _challenged_claims(refusal.challenge)
        token = await self.token(refusal.url)
        return None if token == refusal.token else token

    def _fresh(self) -> str | None:
        now = wall_time()
        if self._token is None or (now >= self._token.refresh_on and now >= self._not_before):
            return None
        return self._token.text

    async def _get(self) -> _Token:
        try:
            got = await self._ask()
        except _NotAsyncError as error:
            raise TypeError(str(error)) from None
        except Exception as error:  # a credential's own errors are of any kind, and here they all mean the same
            raise AuthenticationFailed(f"the credential gave no token: {type(error).__name__}") from error
        self._claims = None
        return _read_token(got, wall_time())

    async def _ask(self) -> object:
        source = self._source
        if not isinstance(source, TokenCredential):
            awaitable = source()
            if not inspect.isawaitable(awaitable):
                raise _NotAsyncError(f"a credential that is called has to be async; it gave {type(awaitable).__name__}")
            return await awaitable
        options: dict[str, Any] = {} if self._claims is None else {"claims": self._claims}
        if (get_token_info := getattr(source, "get_token_info", None)) is not None:  # it knows when to refresh

            def ask() -> object:
                return get_token_info(self._scope, options=options)
        else:

            def ask() -> object:
                return source.get_token(self._scope, **options)

        # A thread cannot be cancelled, but nobody has to wait for one that is not needed any more.
        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._threads)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    expires_on: float
    refresh_on: float


def _read_token(got: object, now: float) -> _Token:
    """Read what a credential gave, which may be anything."""
    text: object = got
    expires_on: object = None
    refresh_on: object = None
    if isinstance(got, str):
        expires_on = expires_at(got) or now + _UNTOLD_LIFETIME + _REFRESH_BEFORE
    else:
        text, expires_on = getattr(got, "token", None), getattr(got, "expires_on", None)
        refresh_on = getattr(got, "refresh_on", None)
    if not isinstance(text, str) or not re.fullmatch(r"[\x21-\x7e]+", text) or not _is_time(expires_on):
        raise AuthenticationFailed("the credential gave something that is no token")
    latest = expires_on - _REFRESH_BEFORE
    return _Token(text, expires_on, min(latest, refresh_on) if _is_time(refresh_on) else latest)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_credential(credential: Credential, *, scope: str, user: str | None) -> SignedRequests | RequestedTokens:
    """Find out what a credential is.

    Raises:
        TypeError: it is nothing that works here; for credentials of ``azure.identity.aio``, which need asyncio, the
            text names the class that does.
        ValueError: it is an access key that is empty or has white space around it, or there is a ``user`` that it
            cannot name.
    """
    if user is not None and not check_text(user, "user"):
        raise ValueError("user is empty")
    if inspect.iscoroutine(credential):
        check_callable("credential", credential)
    if isinstance(credential, type):
        if credential.__module__ == __name__:  # a protocol, of which there are no instances
            raise TypeError(
                f"{credential.__name__} only describes a credential: pass an object that has what it says, of another"
                " class, or an access key as a str"
            )
        raise TypeError(f"credential is the class {credential.__name__}; pass an instance of it")
    if isinstance(credential, str):
        return SignedRequests(check_access_key(credential), user)
    _check_is_synchronous(credential)
    if not isinstance(credential, TokenCredential) and isinstance(credential, KeyCredential):
        return SignedRequests(credential, user)
    if user is not None:
        raise ValueError("user stands in tokens that an access key signs; others name who asks themselves")
    if isinstance(credential, TokenCredential):
        return RequestedTokens(credential, scope)
    if callable(credential):
        check_callable("credential", credential)
        return RequestedTokens(credential, scope)
    raise TypeError(
        "credential is an access key, an object with a .key, a synchronous azure-identity credential,"
        f" or an async callable, not {type(credential).__name__}"
    )


def _check_is_synchronous(credential: object) -> None:
    for kind in type(credential).__mro__:
        package, aio, _ = f"{kind.__module__}.".partition(".aio.")
        if aio and package.startswith("azure."):
            raise TypeError(
                f"{kind.__name__} is an asyncio credential, which cannot run under trio:"
                f" use the synchronous one, {package}.{kind.__name__}; it runs in a worker thread"
            )
    if inspect.iscoroutinefunction(getattr(credential, "get_token", None)):
        raise TypeError(
            f"the get_token of {type(credential).__name__} is async: if it runs under trio, pass an async callable that"
            " calls it; of asyncio's credentials pass the synchronous ones instead"
        )


def _challenged_claims(challenge: str) -> str | None:
    """Read the claims that a 401 asks for (continuous access evaluation), from its ``WWW-Authenticate``."""
    if "insufficient_claims" not in challenge:
        return None
    found = re.search(r'claims="([A-Za-z0-9+/_=-]+)"', challenge)
    if found is None:
        return None
    encoded = found[1].replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
