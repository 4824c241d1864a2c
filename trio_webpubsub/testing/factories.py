"""What the fixtures `webpubsub_client` and `webpubsub_service` give, as types."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ..client.client import Client
from ..service import Service

HUB = "chat"
"""The hub of clients and services, unless a test says otherwise."""


class OpenClient(Protocol):
    """How a test gets clients."""

    def __call__(
        self, user_id: str = "client", *, hub: str = HUB, **options: Any
    ) -> AbstractAsyncContextManager[Client]:
        """Give a client of the emulator: ``async with webpubsub_client("ann") as ann``.

        Args:
            user_id: who it is, and the name of its way through the network.
            hub: where it connects to.
            options: those of `trio_webpubsub.open_client`.
        """
        ...


class OpenService(Protocol):
    """How a test gets service clients."""

    def __call__(self, *, hub: str = HUB, **options: Any) -> AbstractAsyncContextManager[Service]:
        """Give a service client of the emulator, whose way through the network has the name ``"service"``.

        Args:
            hub: what it is for.
            options: those of `trio_webpubsub.service.open_service`.
        """
        ...
