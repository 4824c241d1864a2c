"""Tokens of Entra ID: is it the managed identity of the Web PubSub resource that sends this event?

What they say is checked here, their signatures in `entra_keys`.

Source: the documentation's "Managed identities for Azure Web PubSub", and of the Microsoft identity platform "Access
tokens" (issuers, claims).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import trio

from .._shell.clock import wall_time
from .._shell.connector import Connector, connect_tcp
from ..protocol.arguments import check_callable, check_type
from ..protocol.claims import CLOCK_SKEW
from ..protocol.cloudevents import check_texts
from ..protocol.errors import InvalidToken
from ..protocol.names import check_text

_AUTHORITY = "https://login.microsoftonline.com"


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
        from .entra_keys import TenantKeys  # loads httpx and cryptography, which only those need who come here

        self._keys = TenantKeys(f"{authority}/{tenant_id}/discovery/v2.0/keys", keys, connector)

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
        claims = await self._keys.signed_claims(token)
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
