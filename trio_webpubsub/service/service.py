"""The service client: one method for each operation of the REST API, gathered from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from ..protocol import operations
from .calls import CallOptions
from .client_tokens import ClientTokens
from .connections import Connections
from .exchange import Answer
from .groups import Groups
from .messages import Messages
from .permissions import Permissions


class Service(Messages, Connections, Groups, Permissions, ClientTokens):
    """The REST API of one hub; see `open_service`.

    One client serves a whole application, any number of tasks at once. Every call raises `ServiceError` when it fails,
    of these kinds among others: `ServiceUnreachable` (nothing was sent), `OutcomeUnknown` (no answer came),
    `InvalidRequest`, `AuthenticationFailed`, `TargetNotFound`, `Throttled`; and ``ValueError`` or ``TypeError``, with
    nothing sent, for arguments that the service would not take. After the block of `open_service` new calls, and new
    tries of running ones, raise ``trio.ClosedResourceError``.

    Every call also takes ``headers``, which are added to its request, and ``log_payloads=True``, which logs what it
    sends and gets at DEBUG under ``trio_webpubsub.service``, without the token.

    Names become one segment of the request's path each and are percent-encoded once, as the official clients do it:
    the group ``a/b`` travels as ``a%2Fb``. The service reads groups and connection ids so; of *user ids* its present
    versions do not decode ``%2F`` and ``%25``, so that methods which name such a user find nobody. A filter does:
    ``send_to_all(message, filter=odata("userId eq {}", user_id))``.

    Back-pressure: as many calls run at once as there may be connections; more wait for their turn.
    """

    def __repr__(self) -> str:
        return f"<Service of hub {self._hub!r} at {self.endpoint}>"

    @property
    def hub(self) -> str:
        """The hub that all calls are about."""
        return self._hub

    @property
    def endpoint(self) -> str:
        """Where the service is: ``https://host[:port]``."""
        return self._requests.endpoint

    async def health(self, **call: Unpack[CallOptions]) -> None:
        """Ask whether the service is well; returns if it is.

        Raises:
            ServiceError: it is not, or cannot be reached.

        Cancellation: nothing happened.
        """
        await self._call(operations.health(), call)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        content: str | bytes = b"",
        **call: Unpack[CallOptions],
    ) -> Answer:
        """Make a request that has no method here, such as one of a preview of the API.

        It is signed, and raises like the others. It is tried again only where nothing was done, unless ``method`` is
        one that may be repeated: GET, HEAD, PUT or DELETE.

        Args:
            method: The HTTP method.
            path: Percent-encoded, such as ``/api/hubs/chat/:send``.
            params: The query, as pairs where a name is there more than once; ``api-version`` is that of the service
                client unless it is given here.
            content: The body, a ``str`` as UTF-8; ``headers`` may say of what type it is.
            **call: See `Service`.

        Returns:
            Status, headers and body, of a status from 200 to 299.

        Raises:
            ServiceError: it failed; see `Service` for the kinds.
            ValueError: method or path cannot be used; nothing was sent.

        Cancellation: it may have happened or not.
        """
        return await self._call(operations.any_request(method, path, params, content), call)
