"""What connections may do with groups."""

from __future__ import annotations

from typing import Unpack

from ..protocol import operations
from ..protocol.roles import Permission
from .calls import CallOptions, Calls


class Permissions(Calls):
    """The part of `Service` about permissions."""

    async def grant_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> None:
        """Allow a connection to join and leave a group, or to send to it, from now on.

        Args:
            permission: ``"joinLeaveGroup"`` or ``"sendToGroup"``.
            connection_id: Whose.
            target_name: The group. ``None`` means every group; the specification leaves open whether that works.
            **call: See `Service`.

        Raises:
            TargetNotFound: there is no such connection.
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.grant_permission(self._hub, permission, connection_id, target_name=target_name)
        await self._call(operation, call)

    async def revoke_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> None:
        """Forbid it again. A membership stays.

        Arguments are those of `grant_permission`.

        Raises:
            ServiceError: it was not done; see `Service` for the kinds.

        Cancellation: it may have happened or not.
        """
        operation = operations.revoke_permission(self._hub, permission, connection_id, target_name=target_name)
        await self._call(operation, call)

    async def has_permission(
        self, permission: Permission, connection_id: str, *, target_name: str | None, **call: Unpack[CallOptions]
    ) -> bool:
        """Tell whether a connection may join and leave a group, or send to it.

        Arguments are those of `grant_permission`.

        Raises:
            ServiceError: the service did not say; only its 404 counts as no.

        Cancellation: nothing happened.
        """
        operation = operations.has_permission(self._hub, permission, connection_id, target_name=target_name)
        return await self._ask(operation, call)
