"""Pairs: one request with both answers, and where they differ, as blocks of a page."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from paritygate.dashboard.document import Block, Code, Facts, Table
from paritygate.gates.reasons import UNKNOWN
from paritygate.rollouts.regression import Answer, Pair


def pair_blocks(pair: Pair) -> Iterator[Block]:
    """The request, both answers, and each change between them."""
    sample = pair.sample
    yield Facts(
        (
            ("request", Code(sample.request_id)),
            ("failure", f"{sample.kind}: {sample.detail}" if sample.detail else sample.kind),
            ("segments", ", ".join(f"{d}={v}" for d, v in sample.segments.items()) or UNKNOWN),
            ("stable answered", _answer(pair.baseline)),
            ("candidate answered", _answer(pair.candidate)),
            *((("trace", Code(pair.trace_id)),) if pair.trace_id else ()),
        )
    )
    if pair.differences:
        yield Table(
            ("where", "change", "stable", "candidate"),
            tuple(
                (Code(d.path or "/"), d.kind, Code(_json(d.baseline)), Code(_json(d.candidate)))
                for d in pair.differences
            ),
        )


def _answer(answer: Answer | None) -> str:
    if answer is None:
        return "not found in the prediction topics"
    parts = [answer.status, f"{answer.latency_ms:g} ms", f"as {answer.role}"]
    parts += [f"label {answer.label}"] if answer.label is not None else []
    parts += [f"error {answer.error_type}"] if answer.error_type else []
    parts += [f"breaks {', '.join(answer.failed_rules)}"] if answer.failed_rules else []
    return ", ".join(parts)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
