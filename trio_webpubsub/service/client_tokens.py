"""What clients need to connect: a URL with a token in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Unpack

import trio

from .._shell.clock import wall_time
from ..protocol import operations, tokens
from ..protocol.claims import expires_at
from ..protocol.rest_answers import read_token
from ..protocol.urls import ClientProtocol, client_audience, client_base_url
from .calls import CallOptions, Calls
from .credentials import SignedRequests
from .errors import ServiceError


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """What a client needs to connect. Its ``repr`` does not show the token."""

    base_url: str
    """``wss://...``, without the token."""
    token: str = field(repr=False)
    expires_at: float | None
    """Until when one can connect with it, in seconds since 1970; ``None`` if it does not say."""

    @property
    def url(self) -> str:
        """Both in one, for ``open_client``. It is a secret."""
        return f"{self.base_url}?access_token={self.token}"


class ClientTokens(Calls):
    """The part of `Service` that lets clients in."""

    async def client_access_url(
        self,
        *,
        user_id: str | None = None,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        lifetime: timedelta = timedelta(hours=1),
        claims: Mapping[str, Any] | None = None,
        token_headers: Mapping[str, Any] | None = None,
        client_protocol: ClientProtocol = "default",
        **call: Unpack[CallOptions],
    ) -> str:
        """Make the URL with which a client connects to the hub. It holds a token, so it is a secret.

        With an access key it is made here; with a credential of Entra ID the service is asked for the token.

        Args:
            user_id: Whom the client is; ``None`` for an anonymous one.
            roles: What it may do, see `Role`; without roles it can only receive, and send events.
            groups: What it is a member of from the beginning.
            lifetime: How long one can connect with it; an open connection outlives it. The service makes tokens for
                whole minutes, rounded up here.
            claims: More claims, which the connect event handler gets to see. Only with an access key.
            token_headers: More headers of the token. Only with an access key.
            client_protocol: ``"default"``, ``"mqtt"`` or ``"socketio"``.
            **call: See `Service`.

        Raises:
            ServiceError: the service did not make the token.
            ValueError: a name that the service does not allow, a lifetime that is not positive, or claims or headers
                where the service makes the token.
            TypeError: a ``str`` where several are expected.

        Cancellation: nothing happened that matters.
        """
        access = await self.client_access(
            user_id=user_id,
            roles=roles,
            groups=groups,
            lifetime=lifetime,
            claims=claims,
            token_headers=token_headers,
            client_protocol=client_protocol,
            **call,
        )
        return access.url

    async def client_access(
        self,
        *,
        user_id: str | None = None,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        lifetime: timedelta = timedelta(hours=1),
        claims: Mapping[str, Any] | None = None,
        token_headers: Mapping[str, Any] | None = None,
        client_protocol: ClientProtocol = "default",
        **call: Unpack[CallOptions],
    ) -> ClientAccess:
        """Make the same in its parts: address, token, and when the token expires.

        Arguments and errors are those of `client_access_url`.

        Cancellation: nothing happened that matters.
        """
        self._check(call)
        audience = client_audience(self._requests.endpoint, self._hub, client_protocol)
        base_url = client_base_url(self._requests.endpoint, self._hub, client_protocol)
        credential = self._requests.credential
        if isinstance(credential, SignedRequests):
            await trio.lowlevel.checkpoint()
            token = tokens.client_access_token(
                credential.key,
                audience=audience,
                now=wall_time(),
                lifetime=tokens.check_lifetime(lifetime) / timedelta(seconds=1),
                user_id=user_id,
                roles=roles,
                groups=groups,
                claims=claims,
                headers=token_headers,
            )
        else:
            if claims or token_headers:
                raise ValueError("claims and token_headers need an access key: the service makes the token here")
            operation = operations.generate_client_token(
                self._hub,
                user_id=user_id,
                roles=roles,
                groups=groups,
                lifetime=lifetime,
                client_protocol=client_protocol,
            )
            answer = await self._call(operation, call)
            try:
                token = read_token(answer.body)
            except ValueError as error:
                raise ServiceError(str(error), status_code=answer.status_code, request_id=answer.request_id) from None
        return ClientAccess(base_url, token, expires_at(token))
