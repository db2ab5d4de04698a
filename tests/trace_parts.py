"""A collector of traces: what takes OTLP over HTTP, and tells the spans that it got."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cometd_servers import LOOPBACK


@dataclass(frozen=True)
class Span:
    """A span, as a collector gets it."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    seconds: float
    failed: bool


class Collector:
    """A collector that takes OTLP over HTTP, and a GWS that passes everything on."""

    def __init__(self) -> None:
        self.url = ""
        self.raw = b""
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def __getitem__(self, name: str) -> Span:
        """Return the one span of a name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span

    async def take(self, request: web.Request) -> web.Response:
        """Take spans; or answer as GWS does."""
        if request.path != "/v1/traces":
            return web.json_response({"statusCode": 0, "facebooksessions": []})
        self.raw += (body := await request.read())
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                each.value.string_value for each in part.resource.attributes if each.key == "service.name"
            }
            self.spans += [_read(span) for scope in part.scope_spans for span in scope.spans]
        return web.Response()


def _read(span: Any) -> Span:
    values = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    parent = span.parent_span_id.hex()
    return Span(span.name, span.trace_id.hex(), span.span_id.hex(), parent, values, seconds, span.status.code == 2)


@asynccontextmanager
async def collecting() -> AsyncGenerator[Collector]:
    """Serve a collector."""
    collector = Collector()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", collector.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    collector.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
