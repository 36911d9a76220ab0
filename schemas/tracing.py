"""Tracing: one trace from a user's request to both answers, and one from a decision to the routers that obey it.

``opentelemetry-api`` is all that is needed here (the extra ``trace``); what spans become is the business of the
process, which sets up a provider of its own. W3C trace context: https://www.w3.org/TR/trace-context/

Law: without the package, without a provider or outside of any span all of this is nothing and costs next to
nothing; and whatever a provider does, an answer and a decision go their way.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

log = logging.getLogger(__name__)

#: Headers of the W3C trace context on a decision record.
TRACE_HEADERS: Final = ("traceparent", "tracestate")
_TRACER: Final = "paritygate"

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")

Headers = tuple[tuple[str, bytes], ...]
#: A trace id, and what to say of it.
Linked = tuple[str, Mapping[str, str]]


@lru_cache(maxsize=1)
def _api() -> tuple[ModuleType, ModuleType] | None:
    """``opentelemetry.trace`` and ``opentelemetry.propagate``, None where they are not installed."""
    try:
        from opentelemetry import propagate, trace  # noqa: PLC0415  (a package that need not be there)
    except ImportError:
        return None
    return trace, propagate


def current_trace_id() -> str:
    """The trace in which the caller runs, as 32 hex digits; empty outside of any."""
    api = _api()
    if api is None:
        return ""
    try:
        context = api[0].get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""
    except Exception:
        log.debug("the trace of the caller cannot be told", exc_info=True)
        return ""


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, str | int],
    parent: Iterable[tuple[str, object]] = (),
    links: Iterable[Linked] = (),
) -> Iterator[Headers]:
    """Run the block in a span; gives the headers that carry its context on, none where nobody traces.

    ``parent``: headers of the record that the block works on; without a context in them the caller's span is the
    parent. ``links``: other traces that it has to do with, each with what to say of it; what is no trace id of the
    W3C is left out. What the block raises goes through.
    """
    with ExitStack() as stack:
        yield _entered(stack, name, attributes, parent, links)


def _entered(
    stack: ExitStack,
    name: str,
    attributes: Mapping[str, str | int],
    parent: Iterable[tuple[str, object]],
    links: Iterable[Linked],
) -> Headers:
    api = _api()
    if api is None:
        return ()
    trace, propagate = api
    carrier = {n: v.decode("ascii", "replace") for n, v in parent if n in TRACE_HEADERS and isinstance(v, bytes)}
    try:
        context = propagate.extract(carrier) if carrier else None
        tracer = trace.get_tracer(_TRACER)
        linked = [link for trace_id, said in links if (link := _link(trace, trace_id, said)) is not None]
        stack.enter_context(
            tracer.start_as_current_span(name, context=context, attributes=dict(attributes), links=linked)
        )
        found: dict[str, str] = {}
        propagate.inject(found)
    except Exception:
        log.debug("no span %s", name, exc_info=True)
        return ()
    return tuple((n, found[n].encode("ascii")) for n in TRACE_HEADERS if n in found)


def _link(trace: ModuleType, trace_id: str, said: Mapping[str, str]) -> Any:
    """A link to a trace of which no span is known, None where the id is none.

    Without a span id a link is invalid, and exporters drop it or what it is part of; so it has the last digits of
    the trace id, which is no span's.
    """
    if _TRACE_ID.fullmatch(trace_id) is None or not int(trace_id, 16):
        return None
    span_id = int(trace_id[16:], 16) or 1
    return trace.Link(trace.SpanContext(int(trace_id, 16), span_id, is_remote=True), attributes=dict(said))
