"""Traces, metrics and logs.

One job is one trace: the context travels in each message's headers, and the scheduler keeps
the submission's in the job's record for the messages that only time causes.  Traces go to
OTLP when its usual variables (``OTEL_EXPORTER_OTLP_ENDPOINT`` …) are set; otherwise they are
off and nothing is recorded.  Metrics are read at ``/metrics``.  Logs are JSON lines.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from structlog.typing import FilteringBoundLogger

#: Fields of a message that name what a log line, a span or a metric is about.
SUBJECTS_OF_INTEREST: Final = ("job_id", "stage", "unit", "attempt")
TRACEPARENT: Final = "traceparent"


class Telemetry:
    """A service's tracer and metrics."""

    def __init__(self, service: str, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer: trace.Tracer = (
            provider.get_tracer("stembus") if provider else trace.NoOpTracer()
        )
        self._propagator = TraceContextTextMapPropagator()
        self.registry = CollectorRegistry()
        self._service = service
        self._messages = Counter(
            "stembus_messages",
            "Messages handled, by type and outcome",
            ["type", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "stembus_message_seconds",
            "Time from taking a message to having said what follows",
            ["type"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
            registry=self.registry,
        )

    @contextmanager
    def received(self, message: object, headers: Mapping[str, str]) -> Iterator[None]:
        """Everything within is the handling of ``message``: a span, a metric, fields in the log."""
        kind = type(message).__name__
        about = {
            name: str(value)
            for name in SUBJECTS_OF_INTEREST
            if (value := getattr(message, name, None)) is not None
        }
        started = perf_counter()
        outcome = "failed"
        try:
            with structlog.contextvars.bound_contextvars(**about), self.span(kind, headers, about):
                yield
            outcome = "handled"
        finally:
            self._messages.labels(kind, outcome).inc()
            self._seconds.labels(kind).observe(perf_counter() - started)

    @contextmanager
    def span(
        self, name: str, headers: Mapping[str, str], about: Mapping[str, str]
    ) -> Iterator[None]:
        """Trace what happens within as ``name``, as a child of what ``headers`` carry."""
        if self._provider is None:
            yield
            return
        context = self._propagator.extract(headers)
        attributes = {f"stembus.{key}": value for key, value in about.items()}
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes):
            yield

    def headers(self) -> dict[str, str]:
        """The current span's context, to send along with a message."""
        carrier: dict[str, str] = {}
        if self._provider is not None:
            self._propagator.inject(carrier)
        return carrier

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when somebody looks."""
        Gauge(f"stembus_{name}", text, registry=self.registry).set_function(read)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def close(self) -> None:
        """Send what has not been sent yet."""
        if self._provider is not None:
            self._provider.shutdown()


def tracer_provider(service: str, environ: Mapping[str, str]) -> TracerProvider | None:
    """An exporter to where the OTLP variables point, or None where they are not set."""
    if not any(
        environ.get(name)
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):
        return None
    # Imported only when used: the exporter costs 100 ms of every service's start.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": f"stembus-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def json_log(service: str, level: str) -> FilteringBoundLogger:
    """A logger that writes one JSON object a line on standard error.

    Libraries' own records (warnings and worse) come out in the same form.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer(serializer=_json)
    number = getattr(logging, level.upper(), logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        service=service,
    )
    return logger


def _json(value: Any, **_: object) -> str:  # noqa: ANN401 - whatever a caller logs
    return msgspec.json.encode(value, enc_hook=str).decode()
