"""Flat: windows, decisions and commands as rows of flat tables. Pure: records in, plain rows out.

Law: a row says where it comes from (topic offset, rollout), so that every number can be traced. Every version of a
window is there, as it lies in the log; whoever sums takes the newest one. What is unknown is null, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from paritygate.comparators.tally import COUNT_NAMES

if TYPE_CHECKING:
    from paritygate.rollouts.audit import Link
    from paritygate.schemas.command import Command
    from paritygate.schemas.report import WindowReport

Row = dict[str, Any]

_KEY: Final = {
    "windows_offset": "int64", "rollout_id": "string", "partition": "int64", "window_start_ms": "int64",
    "generation": "int64", "revision": "int64",
}  # fmt: skip
#: Column types by table: int64, double, bool, string, and maps of text to one of them.
TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "windows": {**_KEY, "window_end_ms": "int64", "watermark_ms": "int64", "partitions": "int64"},
    "cells": {**_KEY, "segment": "string", "segments": "map string", **dict.fromkeys(COUNT_NAMES, "int64")},
    "totals": {**_KEY, "name": "string", "count": "int64"},
    "histograms": {**_KEY, "name": "string", "bucket": "int64", "count": "int64"},
    "decisions": {
        "audit_offset": "int64", "place": "string", "decision_id": "string", "digest": "string",
        "rollout_id": "string", "sequence": "int64", "previous": "string", "action": "string", "stage": "string",
        "weight": "int64", "from_stage": "string", "reason_code": "string", "reason": "string", "at_ms": "int64",
        "baseline_version": "string", "candidate_version": "string", "policy_digest": "string",
        "evidence_digest": "string", "worst_segment": "string", "exposed_requests": "int64",
        "windows_next": "int64", "commands_next": "int64", "counts": "map int64",
    },
    "verdicts": {
        "audit_offset": "int64", "rollout_id": "string", "sequence": "int64", "at_ms": "int64", "stage": "string",
        "gate": "string", "required": "bool", "segment": "string", "verdict": "string", "reason": "string",
        "value": "double", "low": "double", "high": "double", "limit": "double", "numbers": "map double",
    },
    "commands": {
        "commands_offset": "int64", "rollout_id": "string", "kind": "string", "actor": "string", "reason": "string",
        "issued_at_ms": "int64", "plan": "string",
    },
}  # fmt: skip


def window_rows(offset: int, report: WindowReport) -> Iterator[tuple[str, Row]]:
    """(table, row) of one report: itself, its cells, its totals, its histograms."""
    key: Row = {
        "windows_offset": offset, "rollout_id": report.rollout_id, "partition": report.partition,
        "window_start_ms": report.window_start_ms, "generation": report.generation, "revision": report.revision,
    }  # fmt: skip
    ends = {"window_end_ms": report.window_end_ms, "watermark_ms": report.watermark_ms}
    yield "windows", {**key, **ends, "partitions": report.partitions}
    for cell in report.cells:
        segments = dict(zip(report.dimensions, cell.values, strict=True))
        name = " & ".join(f"{dimension}={value}" for dimension, value in segments.items()) or "all"
        counts = dict(zip(report.count_names, cell.counts, strict=True))
        known = {n: counts.get(n) for n in COUNT_NAMES}
        yield "cells", {**key, "segment": name, "segments": list(segments.items()), **known}
    for total, count in report.totals.items():
        yield "totals", {**key, "name": total, "count": count}
    for histogram in report.histograms:
        for bucket, count in zip(histogram.index, histogram.counts, strict=True):
            yield "histograms", {**key, "name": histogram.name, "bucket": bucket, "count": count}


def decision_rows(link: Link) -> Iterator[tuple[str, Row]]:
    """(table, row) of one record of the audit: itself and its verdicts."""
    d = link.decision
    plain = d.model_dump(mode="json")
    head: Row = {"audit_offset": link.offset, "place": link.place.value, "decision_id": d.decision_id}
    head |= {"digest": d.digest(), "counts": list(d.counts.items())}
    yield "decisions", {**{name: plain.get(name) for name in TABLES["decisions"]}, **head}
    for v in d.verdicts:
        numbers = {name: None if n is None else float(n) for name, n in v.numbers.items()}
        named = {
            name: next((numbers[n] for n in (name, f"ratio_{name}") if numbers.get(n) is not None), None)
            for name in ("low", "high")
        }
        value = next((numbers[n] for n in ("value", "ratio") if numbers.get(n) is not None), None)
        yield "verdicts", {
            "audit_offset": link.offset, "rollout_id": d.rollout_id, "sequence": d.sequence, "at_ms": d.at_ms,
            "stage": d.from_stage, "gate": v.gate, "required": v.required, "segment": v.segment,
            "verdict": v.verdict, "reason": v.reason, "value": value, **named, "limit": numbers.get("limit"),
            "numbers": list(numbers.items()),
        }  # fmt: skip


def command_rows(commands: Iterable[tuple[int, Command]]) -> Iterator[tuple[str, Row]]:
    """(table, row) of every command; the plan is canonical JSON."""
    for offset, c in commands:
        plan = None if c.plan is None else orjson.dumps(c.plan, option=orjson.OPT_SORT_KEYS).decode()
        yield "commands", {
            "commands_offset": offset, "rollout_id": c.rollout_id, "kind": c.kind.value, "actor": c.actor,
            "reason": c.reason, "issued_at_ms": c.issued_at_ms, "plan": plan,
        }  # fmt: skip
