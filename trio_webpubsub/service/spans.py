"""Spans for OpenTelemetry (the extra ``otel``).

A call is a span, named as its method, and each try of it is a span within, named by the HTTP method. Attributes are
named as in OpenTelemetry's conventions for HTTP clients and for messaging. No token, query or header stands in a span,
nor does the traceback of an error, which may quote what a credential said.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import propagate, trace

from .._shell.version import VERSION
from ..protocol.operations import Operation
from ..protocol.urls import Address
from .errors import ServiceError
from .tracing import NOBODY, Try


class Spans:
    """Watches the calls of one service client."""

    def __init__(self, address: str) -> None:
        self._tracer = trace.get_tracer("trio_webpubsub.service", VERSION)
        self._address = address
        place = Address.parse(address)
        self._server: dict[str, str | int] = {"server.address": place.host, "server.port": place.port}

    def call(self, operation: Operation, /) -> AbstractContextManager[None]:
        if _nobody_watches():
            return NOBODY.call(operation)
        attributes = dict(self._server)
        sends = operation.path.endswith("/:send")
        if sends:
            attributes |= {
                "messaging.system": "azure_webpubsub",
                "messaging.operation.name": operation.name,
                "messaging.operation.type": "send",
                "messaging.destination.name": operation.path.removeprefix("/api/hubs/").removesuffix("/:send"),
                "messaging.message.body.size": len(operation.body),
            }
        kind = trace.SpanKind.PRODUCER if sends else trace.SpanKind.INTERNAL
        return _current(self._tracer.start_span(operation.name, kind=kind, attributes=attributes))

    def attempt(self, operation: Operation, tries: int, /) -> AbstractContextManager[Try]:
        return NOBODY.attempt(operation, tries) if _nobody_watches() else self._attempt(operation, tries)

    @contextmanager
    def _attempt(self, operation: Operation, tries: int) -> Generator[Try]:
        attributes = self._server | {
            "http.request.method": operation.method,
            "url.full": f"{self._address}{operation.path}",
        }
        if tries > 1:
            attributes["http.request.resend_count"] = tries - 1
        span = self._tracer.start_span(operation.method, kind=trace.SpanKind.CLIENT, attributes=attributes)
        with _current(span):
            yield _WatchedTry(span)


class _WatchedTry:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def headers(self) -> list[tuple[bytes, bytes]]:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in carrier.items()]

    def answered(self, status_code: int, /) -> None:
        self._span.set_attribute("http.response.status_code", status_code)


def _nobody_watches() -> bool:
    # OpenTelemetry's stand-in for a provider that is not set up (yet): its spans cost time and lead nowhere.
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def _current(span: trace.Span) -> Generator[None]:
    """Make a span the current one, and end it with the block."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except ServiceError as error:
            span.set_attribute("error.type", str(error.status_code or type(error).__qualname__))
            span.set_status(trace.StatusCode.ERROR, None if error.status_code else str(error))
            raise
        except Exception as error:  # a span tells every failure, and keeps none
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
