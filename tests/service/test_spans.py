"""What OpenTelemetry sees of calls, and that they do without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import MockClock

from tests.service.peer import CONNECTION_STRING, Peer, said, service_of
from trio_webpubsub.service import AuthenticationFailed, InvalidRequest, OutcomeUnknown, ServiceError, open_service

SERVER = {"server.address": "resource.example", "server.port": 443}


@pytest.fixture(scope="session")
def session_exporter() -> InMemorySpanExporter:
    """OpenTelemetry lets itself be set up once only."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(session_exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """Keeps the spans of a test."""
    session_exporter.clear()
    yield session_exporter
    session_exporter.clear()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def own_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


async def test_a_send_is_a_span_of_messaging_with_one_of_http_within(
    autojump_clock: MockClock, peer: Peer, exporter: InMemorySpanExporter
) -> None:
    async with service_of(peer) as service:
        with trace.get_tracer("test").start_as_current_span("of the user"):
            await service.send_to_group("lobby", "hi", filter="userId eq 'canary'")
    http, send, outer = exporter.get_finished_spans()
    assert (send.name, send.kind, parent(send)) == ("send_to_group", SpanKind.PRODUCER, own_id(outer))
    assert attributes(send) == SERVER | {
        "messaging.system": "azure_webpubsub",
        "messaging.operation.name": "send_to_group",
        "messaging.operation.type": "send",
        "messaging.destination.name": "chat/groups/lobby",
        "messaging.message.body.size": 2,
    }
    assert (http.name, http.kind, parent(http)) == ("POST", SpanKind.CLIENT, own_id(send))
    assert attributes(http) == SERVER | {
        "http.request.method": "POST",
        "url.full": "https://resource.example/api/hubs/chat/groups/lobby/:send",
        "http.response.status_code": 202,
    }
    assert {span.status.status_code for span in (http, send)} == {StatusCode.UNSET}
    assert peer.heads[0]["traceparent"].split("-")[2] == f"{own_id(http):016x}"


async def test_every_try_is_a_span_and_failed_ones_say_so(
    autojump_clock: MockClock, peer: Peer, exporter: InMemorySpanExporter
) -> None:
    peer.answers = [said(503), None, said(400, b'{"message": "canary"}')]
    async with service_of(peer, retries=1) as service:
        with pytest.raises(ServiceError):
            await service.user_exists("ann")
        with pytest.raises(InvalidRequest):
            await service.close_all_connections()
    first, second, call, refused, _ = exporter.get_finished_spans()
    assert (call.name, call.kind) == ("user_exists", SpanKind.INTERNAL)
    assert parent(first) == parent(second) == own_id(call)
    assert "http.request.resend_count" not in attributes(first)
    assert attributes(second)["http.request.resend_count"] == 1
    errors = [attributes(span)["error.type"] for span in (first, second, call, refused)]
    assert errors == ["503", OutcomeUnknown.__name__, OutcomeUnknown.__name__, "400"]
    assert {span.status.status_code for span in (first, second, call, refused)} == {StatusCode.ERROR}
    assert [event for span in exporter.get_finished_spans() for event in span.events] == []


async def test_no_is_not_a_failure(autojump_clock: MockClock, peer: Peer, exporter: InMemorySpanExporter) -> None:
    peer.answers = [said(404)]
    async with service_of(peer) as service:
        assert not await service.user_exists("ann")
    http, _ = exporter.get_finished_spans()
    assert attributes(http)["http.response.status_code"] == 404
    assert http.status.status_code is StatusCode.UNSET


async def test_a_cancelled_call_ends_its_spans(
    autojump_clock: MockClock, nursery: trio.Nursery, exporter: InMemorySpanExporter
) -> None:
    async def hang(*_: object) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with service_of(hang) as service:
        with trio.move_on_after(1):
            await service.send_to_all("hi")
    assert [span.name for span in exporter.get_finished_spans()] == ["POST", "send_to_all"]


async def test_no_secret_stands_in_a_span(peer: Peer, exporter: InMemorySpanExporter) -> None:
    async def no_token() -> str:
        raise RuntimeError("canary")

    async with open_service("https://resource.example", "chat", credential=no_token, connector=peer) as service:
        with pytest.raises(AuthenticationFailed):
            await service.send_to_all("hi", headers={"x-secret": "canary"})
    async with service_of(peer) as service:
        await service.send_to_all("hi", headers={"x-secret": "canary"})
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    told = "".join(span.to_json() for span in spans)
    assert "canary" not in told
    assert "eyJ" not in told


async def test_a_mistake_of_the_caller_in_an_answer_is_a_failure_too(
    autojump_clock: MockClock, peer: Peer, exporter: InMemorySpanExporter
) -> None:
    async def broken(*_: object) -> trio.abc.Stream:
        raise LookupError("a defect of a connector")

    async with service_of(broken) as service:
        with pytest.raises(LookupError):
            await service.send_to_all("hi")
    assert [attributes(span)["error.type"] for span in exporter.get_finished_spans()] == ["LookupError"] * 2


async def test_without_opentelemetry_calls_do_the_same(
    autojump_clock: MockClock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "trio_webpubsub.service.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    peer.answers = [said(404)]
    async with open_service(CONNECTION_STRING, "chat", connector=peer) as service:
        assert not await service.user_exists("ann")
        await service.send_to_all("hi")
    assert "traceparent" not in peer.heads[0]
