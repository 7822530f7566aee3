"""Owns distributed tracing: one server span per request, continued from the caller's traceparent (W3C).

Off, and not even imported, without an OTLP endpoint. Spans carry ids and outcomes, never texts.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime import __version__

_UNTRACED = frozenset({"/health", "/ready", "/metrics"})


class Tracing:
    """The tracer of one process; ``close`` sends what is pending. Middleware is ``add_middleware(TraceRequests, tracing=…)``."""

    def __init__(self, endpoint: str, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        url = endpoint.rstrip("/")
        exporter = OTLPSpanExporter(url if url.endswith("/v1/traces") else f"{url}/v1/traces")
        self.provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.version": __version__})
        )
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("runtime")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def from_endpoint(cls, endpoint: str | None, service: str) -> Tracing | None:
        """Tracing to ``endpoint`` (OTLP over HTTP), or None without one."""
        return cls(endpoint, service) if endpoint else None

    def request_span(self, scope: Scope) -> Any:
        """A context manager: the current span of the request in ``scope``."""
        from opentelemetry.trace import SpanKind

        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        context = self._propagator.extract(headers)
        return self._tracer.start_as_current_span(
            f"{scope['method']} {scope['path']}", context=context, kind=SpanKind.SERVER, record_exception=False
        )

    def close(self) -> None:
        """Send pending spans and stop; blocks for a few seconds where the endpoint is away."""
        self.provider.shutdown()


class TraceRequests:
    """ASGI middleware: a span for each request but health checks and scrapes."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        with self._tracing.request_span(scope) as span:
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("url.path", scope["path"])
            span.set_attribute("request.id", scope.get("state", {}).get("request_id", ""))

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, send_and_note)
