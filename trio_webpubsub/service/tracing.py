"""Spans for OpenTelemetry, where its API is installed (the extra ``otel``); nothing otherwise.

Names of attributes are those of OpenTelemetry's conventions for HTTP clients and for messaging.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec

import httpx

from ..protocol.operations import Operation
from ..protocol.urls import Address


class Span:
    """One try of a request, as whoever watches sees it: here nobody does."""

    def inject(self, headers: httpx.Headers) -> None:
        """Tell the service which span this is."""

    def answered(self, status_code: int | None) -> None:
        """Note the status of the answer, ``None`` if none came."""


_NOBODY_WATCHES = Span()
_INSTALLED = find_spec("opentelemetry") is not None


def traced(operation: Operation, endpoint: str, tries: int) -> AbstractContextManager[Span]:
    """Give the span of one try; an exception that leaves the block makes it a failed one."""
    if not _INSTALLED:
        return nullcontext(_NOBODY_WATCHES)
    return _traced(operation, endpoint, tries)


@contextmanager
def _traced(operation: Operation, endpoint: str, tries: int) -> Generator[Span]:
    from opentelemetry import propagate, trace

    class Traced(Span):
        def inject(self, headers: httpx.Headers) -> None:
            propagate.inject(headers)

        def answered(self, status_code: int | None) -> None:
            if status_code is not None:
                span.set_attribute("http.response.status_code", status_code)

    address = Address.parse(endpoint)
    attributes: dict[str, str | int] = {
        "http.request.method": operation.method,
        "server.address": address.host,
        "server.port": address.port,
        "url.full": f"{endpoint}{operation.path}",
    }
    if tries > 1:
        attributes["http.request.resend_count"] = tries - 1
    sends = operation.path.endswith("/:send")
    if sends:
        attributes |= {
            "messaging.system": "azure_webpubsub",
            "messaging.operation.name": operation.name,
            "messaging.operation.type": "send",
            "messaging.destination.name": operation.path.removeprefix("/api/hubs/").removesuffix("/:send"),
            "messaging.message.body.size": len(operation.body),
        }
    tracer = trace.get_tracer("trio_webpubsub.service")
    kind = trace.SpanKind.PRODUCER if sends else trace.SpanKind.CLIENT
    with tracer.start_as_current_span(operation.name, kind=kind, attributes=attributes) as span:
        try:
            yield Traced()
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise
