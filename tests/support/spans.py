"""Spans that end in memory, as a process with a tracer provider of its own would send them somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@lru_cache(maxsize=1)
def _exporter() -> InMemorySpanExporter:
    """The provider of a process can be set once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@contextmanager
def collected() -> Iterator[list[ReadableSpan]]:
    """The spans that ended in the block, once it has ended."""
    exporter, found = _exporter(), list[ReadableSpan]()
    exporter.clear()
    yield found
    found += exporter.get_finished_spans()
