import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trio_webpubsub.emulator import open_emulator
from trio_webpubsub.service import open_service

exporter = InMemorySpanExporter()  # in production that of your collector
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


async def main() -> None:
    async with open_emulator() as emulator, open_service(emulator.connection_string, "chat") as service:
        with trace.get_tracer("shop").start_as_current_span("order"):
            await service.send_to_group("kitchen", {"dish": "soup"})


trio.run(main)
for span in exporter.get_finished_spans():  # the inner ones end first
    print(span.kind.name, span.name, dict(span.attributes or {}).get("http.response.status_code", "-"))
