"""What calls to the service raise: one kind for each thing that a program may want to do about it."""

from __future__ import annotations

from ..protocol.errors import WebPubSubError


class ServiceError(WebPubSubError):
    """A call to the service's REST API failed."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        error_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        reason = " ".join(str(part) for part in (status_code, error_code) if part is not None)
        text = f"{reason}: {message}" if reason else message
        super().__init__(f"{text} (request {request_id})" if request_id else text)
        self.message = message
        """What the service said, or what went wrong before it could."""
        self.status_code = status_code
        """The HTTP status; ``None`` when no answer came."""
        self.error_code = error_code
        """The service's name for the failure, such as ``Error.BadRequest``, where it gave one."""
        self.request_id = request_id
        """The ``x-ms-client-request-id`` that was sent, for questions to the service's support."""
        self.retry_after = retry_after
        """Seconds after which the service says that it may be asked again, if it said so."""
        self.tries: int = 1
        """How often the request was tried."""


class InvalidRequest(ServiceError):
    """The service does not accept the request as it is (400, 413, 415)."""


class AuthenticationFailed(ServiceError):
    """The service does not accept who is asking (401, 403): a wrong key, a wrong clock, a missing role."""


class TargetNotFound(ServiceError):
    """What the request is about does not exist (404)."""


class Throttled(ServiceError):
    """The service has had enough requests for now (429)."""


class ServiceUnreachable(ServiceError):
    """No connection came about in time; nothing was sent."""


class OutcomeUnknown(ServiceError):
    """The request was sent, at least in part, and no whole answer came. It may have been carried out or not."""
