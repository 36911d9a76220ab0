"""Regression: the few request pairs that show what went wrong, and how they are told without private values.

Law: the choice depends on the set of examples, not on their order. Redacted values keep type and length only; what
the plan itself declares (labels, names of rules) is no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from paritygate.comparators.diff import DiffRules, diff, read_output
from paritygate.comparators.validation import OutputValidator
from paritygate.schemas.prediction import PredictionEvent, Status
from paritygate.schemas.report import WindowReport

#: Examples kept per kind and combination of segment values.
EACH: Final = 3
#: Longest key of an object that counts as a name; a longer one may be data.
MAX_KEY_CHARS: Final = 64
#: Deepest level of a shape.
MAX_DEPTH: Final = 40
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request pair that shows a failure of ``kind``; the payload lies in ``partition`` of the raw topics.

    ``trace_id``: the request's, empty where its window does not tell it.
    """

    request_id: str
    kind: str
    detail: str
    segments: Mapping[str, str]
    partition: int
    window_start_ms: int
    trace_id: str = ""

    @property
    def shows(self) -> frozenset[tuple[str, str]]:
        """What it is an example of: its failure, and that failure in each of its segments."""
        own = {(self.kind, self.detail), *((self.kind, f"{d}={v}") for d, v in self.segments.items())}
        return frozenset(own)


class Samples:
    """Examples of many window reports: the smallest ids of each kind and segment, so order means nothing."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, tuple[str, ...]], dict[str, Sample]] = {}

    def take(self, report: WindowReport) -> None:
        """Keep what the examples of one report add."""
        for e in report.examples:
            group = self._found.setdefault((e.kind, e.values), {})
            sample = group.setdefault(
                e.request_id,
                Sample(
                    request_id=e.request_id, kind=e.kind, detail=e.detail, partition=report.partition,
                    segments=dict(zip(report.dimensions, e.values, strict=False)),
                    window_start_ms=report.window_start_ms, trace_id=e.trace_id,
                ),
            )  # fmt: skip
            if sample.trace_id < e.trace_id:
                group[e.request_id] = replace(sample, trace_id=e.trace_id)
            if len(group) > EACH:
                del group[max(group)]

    def all(self) -> tuple[Sample, ...]:
        """Every kept example, by kind and request id."""
        found = [sample for group in self._found.values() for sample in group.values()]
        return tuple(sorted(found, key=_order))


def cover(samples: Iterable[Sample], limit: int) -> tuple[Sample, ...]:
    """At most ``limit`` examples that show every kind of failure in every segment value, as few as greed finds.

    Each step takes the one that shows most of what is not shown yet; ties go to the smaller kind and request id.
    """
    left = sorted(samples, key=_order)
    unseen = {shown for sample in left for shown in sample.shows}
    chosen: list[Sample] = []
    while left and unseen and len(chosen) < limit:
        best = max(left, key=lambda s: len(s.shows & unseen))  # the first of equals
        if not best.shows & unseen:
            break
        unseen -= best.shows
        chosen.append(best)
        left.remove(best)
    return tuple(chosen)


def _order(sample: Sample) -> tuple[str, str, str, list[tuple[str, str]]]:
    return sample.kind, sample.request_id, sample.detail, sorted(sample.segments.items())


def redacted(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The shape of a JSON value: types and lengths in place of what it says; null stays null."""
    if isinstance(value, dict | list) and not depth:
        return "<nested deeper>"
    if isinstance(value, dict):
        return {_name(key): redacted(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item, depth - 1) for item in value]
    if isinstance(value, str):
        return f"<text of {len(value)}>"
    if value is None:
        return None
    return "<bool>" if isinstance(value, bool) else "<number>"


def _name(key: str) -> str:
    plain = len(key) <= MAX_KEY_CHARS and key.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()
    return key if plain and not key.isdigit() else f"<key of {len(key)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One arm's answer as a bundle holds it. ``output``: JSON value, its shape only where values are not shown.

    ``failed_rules``: of the plan's output rules, judged on the real output. ``label``: None where there is none or
    where it is not shown.
    """

    status: str
    role: str
    model_version: str
    latency_ms: float
    error_type: str
    label: str | None
    failed_rules: tuple[str, ...]
    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One change between the two outputs; ``path`` is a JSON Pointer, the values are as shown."""

    path: str
    kind: str
    baseline: Any
    candidate: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One sample with the two answers, None where no event of that arm was found.

    ``trace_id``: the trace of the request, as its events name it, or its window where they are gone; empty where
    none does.
    """

    sample: Sample
    baseline: Answer | None
    candidate: Answer | None
    differences: tuple[Difference, ...] = ()
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How pairs are told. ``labels``: those that the plan declares; ``show_values``: tell payloads as they are."""

    validator: OutputValidator
    rules: DiffRules
    labels: frozenset[str]
    show_values: bool = False

    def pair(self, sample: Sample, baseline: PredictionEvent | None, candidate: PredictionEvent | None) -> Pair:
        """The two answers to one request."""
        found: tuple[Difference, ...] = ()
        if baseline is not None and candidate is not None and baseline.output and candidate.output:
            found = self._differences(read_output(baseline.output), read_output(candidate.output))
        traces = [event.trace_id for event in (baseline, candidate) if event is not None and event.trace_id]
        return Pair(
            sample=sample, baseline=self._answer(baseline), candidate=self._answer(candidate), differences=found,
            trace_id=traces[0] if traces else sample.trace_id,
        )  # fmt: skip

    def _answer(self, event: PredictionEvent | None) -> Answer | None:
        if event is None:
            return None
        asked = event.status is Status.OK
        shown = self.show_values or event.label in self.labels
        return Answer(
            status=event.status.value, role=event.role.value, model_version=event.model_version,
            latency_ms=round(event.latency_ms, 3), error_type=event.error_type,
            label=event.label if shown else None,
            failed_rules=self.validator.check(event.output) if asked else (),
            output=self._shown(read_output(event.output)) if event.output else None,
        )  # fmt: skip

    def _shown(self, value: Any) -> Any:
        declared = isinstance(value, str) and value in self.labels
        return value if self.show_values or declared else redacted(value)

    def _differences(self, ours: Any, theirs: Any) -> tuple[Difference, ...]:
        return tuple(
            Difference(
                path=c.path if self.show_values else "/".join(map(_part, c.path.split("/"))), kind=c.kind.value,
                baseline=self._at(ours, c.path), candidate=self._at(theirs, c.path),
            )
            for c in diff(ours, theirs, self.rules)
        )  # fmt: skip

    def _at(self, value: Any, pointer: str) -> Any:
        for part in pointer.split("/")[1:]:
            value = _step(value, part.replace("~1", "/").replace("~0", "~"))
            if value is _ABSENT:
                return "<absent>"
        return self._shown(value)


def _part(part: str) -> str:
    return part if not part or part.isdigit() else _name(part)


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    return _ABSENT
