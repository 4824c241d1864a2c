"""The service's REST API: messages from the application to its clients, and the URLs with which clients connect."""

from .errors import (
    AuthenticationFailed,
    InvalidRequest,
    OutcomeUnknown,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
)
from .service import Service, open_service

__all__ = [
    "AuthenticationFailed",
    "InvalidRequest",
    "OutcomeUnknown",
    "Service",
    "ServiceError",
    "ServiceUnreachable",
    "TargetNotFound",
    "Throttled",
    "open_service",
]
