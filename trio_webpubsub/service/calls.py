"""What the parts of `Service` have in common."""

from __future__ import annotations

from typing import TypedDict

from .._shell.headers import Headers
from ..protocol.arguments import check_flags, check_type
from ..protocol.operations import Operation
from .exchange import Answer
from .requests import Requests


class CallOptions(TypedDict, total=False):
    """What every call takes besides its own arguments."""

    headers: Headers
    """Added to the request."""
    log_payloads: bool
    """Log this call's headers and bodies (their first 4 KiB) at DEBUG; the token is left out."""


_OPTIONS = CallOptions.__annotations__.keys()


class Calls:
    """A hub, and the way to it; each part of `Service` adds the calls about one subject."""

    def __init__(self, hub: str, requests: Requests) -> None:
        """Made by `open_service`."""
        check_type("requests", requests, Requests, "what open_service makes: async with open_service(...) as service")
        self._hub = hub
        self._requests = requests

    def _check(self, options: CallOptions) -> None:
        """Refuse arguments that no call has, as Python does where they are listed one by one, and calls too late.

        Raises:
            TypeError: an option is unknown, or no flag.
            trio.ClosedResourceError: the block of `open_service` was left.
        """
        if unknown := options.keys() - _OPTIONS:
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
        if "log_payloads" in options:
            check_flags(log_payloads=options["log_payloads"])
        self._requests.check_open()

    async def _call(self, operation: Operation, options: CallOptions) -> Answer:
        self._check(options)
        return await self._requests.call(operation, **options)

    async def _ask(self, operation: Operation, options: CallOptions) -> bool:
        return (await self._call(operation, options)).status_code != 404
