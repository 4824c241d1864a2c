"""The service's REST API: messages from the application to its clients, and the URLs with which clients connect."""

from ..protocol.filters import odata
from ..protocol.operations import API_VERSION
from ..protocol.rest_answers import GroupMember, MemberPage
from ..protocol.rest_messages import ContentType
from ..protocol.roles import Permission, Role
from ..protocol.urls import ClientProtocol
from .calls import CallOptions
from .client_tokens import ClientAccess
from .credentials import AccessToken, Credential, KeyCredential, TokenCredential
from .errors import (
    AuthenticationFailed,
    InvalidRequest,
    OutcomeUnknown,
    ServiceError,
    ServiceUnreachable,
    TargetNotFound,
    Throttled,
)
from .exchange import Answer
from .opening import open_service
from .pages import GroupMembers
from .service import Service

__all__ = [
    "API_VERSION",
    "AccessToken",
    "Answer",
    "AuthenticationFailed",
    "CallOptions",
    "ClientAccess",
    "ClientProtocol",
    "ContentType",
    "Credential",
    "GroupMember",
    "GroupMembers",
    "InvalidRequest",
    "KeyCredential",
    "MemberPage",
    "OutcomeUnknown",
    "Permission",
    "Role",
    "Service",
    "ServiceError",
    "ServiceUnreachable",
    "TargetNotFound",
    "Throttled",
    "TokenCredential",
    "odata",
    "open_service",
]
