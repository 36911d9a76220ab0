"""Measuring: settled requests as flags, latencies and remarks, by array operations.

Law: a request is counted once, with all that is known of it, when it settles: as a pair, or by one arm alone
when grace has ended. A missing candidate is a candidate failure; a shed or baseline-less request is counted
for completeness only. Nothing here depends on which other requests are in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators.diff import DiffRules, diff, read_output
from paritygate.comparators.pairing import BASELINE, CANDIDATE
from paritygate.comparators.rows import B1, F64, I32, I64, Objects, Rows
from paritygate.comparators.tally import COUNT_NAMES, INDEX
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.schemas.prediction import ARMS, ROLES, STATUSES, Role, Status

#: Longest ``detail`` of an example.
MAX_DETAIL_CHARS: Final = 80
_OK: Final = STATUSES.index(Status.OK)
_SHED: Final = STATUSES.index(Status.SHED)
_TIMEOUT: Final = STATUSES.index(Status.TIMEOUT)
_PRIMARY: Final = ROLES.index(Role.PRIMARY)
_CACHED_DIFFS: Final = 2_048
_CACHED_CHARS: Final = 2_048

EXAMPLE_MISSING: Final = "missing_candidate"
EXAMPLE_ERROR: Final = "candidate_only_error"
EXAMPLE_INVALID: Final = "candidate_invalid"
EXAMPLE_LABEL: Final = "label_change"


class OutputChecks:
    """What is asked of single outputs: validity, and the kinds of change between two."""

    def __init__(self, output_rules: OutputRules, diff_rules: DiffRules) -> None:
        self._validator = OutputValidator(output_rules)
        self._rules = diff_rules
        self._remembered = lru_cache(_CACHED_DIFFS)(self._compare)

    def failed_rules(self, output: str) -> tuple[str, ...]:
        """Names of the rules that an output fails."""
        return self._validator.check(output)

    def changes(self, baseline: str, candidate: str) -> tuple[str, ...]:
        """Kinds of change between two outputs, each once, sorted."""
        if len(baseline) + len(candidate) <= _CACHED_CHARS:
            return self._remembered(baseline, candidate)
        return self._compare(baseline, candidate)

    def _compare(self, baseline: str, candidate: str) -> tuple[str, ...]:
        found = diff(read_output(baseline), read_output(candidate), self._rules)
        return tuple(sorted({change.kind.value for change in found}))


@dataclass(slots=True)
class Measured:
    """Settled requests.

    ``flags[k, i]``: request i counts under ``COUNT_NAMES[k]``. ``baseline_ms`` / ``candidate_ms``: latencies
    of the requests in ``timed`` (baseline answered); the candidate's is ``+inf`` where it failed.
    ``baseline_confidence`` / ``candidate_confidence``: of the requests that both answered, NaN elsewhere.
    ``answered``: which requests both answered; there ``…_label`` and ``…_numbers`` are those of the arms.
    ``baseline_seen`` / ``candidate_seen``: whose answer by that arm a user saw.
    ``remarks``: (request, total to bump). ``examples``: (kind, requests, details).
    """

    request_id: Objects
    event_at_ms: I64
    cell: I32
    flags: B1
    timed: B1
    baseline_ms: F64
    candidate_ms: F64
    baseline_confidence: F64
    candidate_confidence: F64
    answered: B1
    baseline_seen: B1
    candidate_seen: B1
    baseline_label: Objects
    candidate_label: Objects
    baseline_numbers: Objects
    candidate_numbers: Objects
    remarks: list[tuple[int, str]] = field(default_factory=list)
    examples: list[tuple[str, int, str]] = field(default_factory=list)


def measure_pairs(baseline: Rows, candidate: Rows, checks: OutputChecks) -> Measured:
    """Requests of which both arms' events came; time and segments are the baseline's.

    A request with a shed arm is no pair, but what its user saw counts all the same: an answer that failed for a
    user must be seen whatever became of the mirror.
    """
    measured = _blank(baseline)
    shed = (baseline.status == _SHED) | (candidate.status == _SHED)
    asked = ~shed
    good, bad = (asked & (baseline.status == _OK)), (asked & (baseline.status != _OK))
    fine, failed = (asked & (candidate.status == _OK)), (asked & (candidate.status != _OK))
    flag = _Flags(measured.flags)
    flag["shed"] = shed
    flag["requests"] = flag["pairs"] = asked
    flag["baseline_errors"], flag["candidate_errors"] = bad, failed
    flag["candidate_only_errors"], flag["baseline_only_errors"] = good & failed, bad & fine
    flag["timeouts_counted"] = asked
    late, theirs_late = (asked & (rows.status == _TIMEOUT) for rows in (candidate, baseline))
    flag["candidate_timeouts"], flag["baseline_timeouts"] = late, theirs_late
    flag["candidate_only_timeouts"], flag["baseline_only_timeouts"] = late & ~theirs_late, theirs_late & ~late
    baseline_invalid = _check(measured, BASELINE, baseline.output, good, checks)
    live = (candidate.role == _PRIMARY) & (candidate.status != _SHED)
    live_fine = live & (candidate.status == _OK)
    candidate_invalid = _check(measured, CANDIDATE, candidate.output, fine | live_fine, checks)
    flag["candidate_only_invalid"] = good & fine & candidate_invalid & ~baseline_invalid
    flag["baseline_only_invalid"] = good & fine & baseline_invalid & ~candidate_invalid
    flag["labels_compared"] = compared = asked & _present(baseline.label) & _present(candidate.label)
    flag["label_changes"] = changed = compared & (baseline.label != candidate.label).astype(np.bool_)
    flag["output_changes"] = _compare(measured, baseline.output, candidate.output, good & fine, checks)
    flag["live_candidate"], flag["live_candidate_errors"] = live, live & ~live_fine
    flag["live_candidate_timeouts"] = live & (candidate.status == _TIMEOUT)
    flag["live_candidate_checked"], flag["live_candidate_invalid"] = live_fine, live_fine & candidate_invalid
    live = (baseline.role == _PRIMARY) & (baseline.status != _SHED)
    flag["live_baseline"], flag["live_baseline_errors"] = live, live & (baseline.status != _OK)
    measured.timed = good
    measured.candidate_ms = np.where(fine, candidate.latency_ms, np.inf)
    measured.baseline_confidence = np.where(good & fine, baseline.confidence, np.nan)
    measured.candidate_confidence = np.where(good & fine, candidate.confidence, np.nan)
    measured.answered = good & fine
    measured.candidate_label, measured.candidate_numbers = candidate.label, candidate.numbers
    measured.candidate_seen, measured.baseline_seen = live_fine, live & (baseline.status == _OK)
    for i in np.flatnonzero(good & failed).tolist():
        measured.examples.append((EXAMPLE_ERROR, i, STATUSES[candidate.status[i]].value))
    measured.examples.extend((EXAMPLE_LABEL, i, "label differs") for i in np.flatnonzero(changed).tolist())
    return measured


def measure_alone(arm: int, rows: Rows, checks: OutputChecks) -> Measured:
    """Requests of which only one arm's event came before grace ended."""
    measured = _blank(rows)
    shed = rows.status == _SHED
    asked = ~shed
    flag = _Flags(measured.flags)
    flag["shed"] = shed
    if arm == CANDIDATE:
        flag["missing_baseline"] = asked
        live = asked & (rows.role == _PRIMARY)
        fine = live & (rows.status == _OK)
        invalid = _check(measured, CANDIDATE, rows.output, fine, checks)
        flag["live_candidate"], flag["live_candidate_errors"] = live, live & ~fine
        flag["live_candidate_timeouts"] = live & (rows.status == _TIMEOUT)
        flag["live_candidate_checked"], flag["live_candidate_invalid"] = fine, invalid
        measured.candidate_seen = fine
        return measured
    good, bad = (asked & (rows.status == _OK)), (asked & (rows.status != _OK))
    flag["requests"] = flag["missing_candidate"] = flag["candidate_errors"] = asked
    flag["baseline_errors"], flag["candidate_only_errors"] = bad, good
    theirs_late = asked & (rows.status == _TIMEOUT)
    flag["timeouts_counted"] = flag["candidate_timeouts"] = asked
    flag["baseline_timeouts"], flag["candidate_only_timeouts"] = theirs_late, asked & ~theirs_late
    _check(measured, BASELINE, rows.output, good, checks)
    live = asked & (rows.role != _PRIMARY)  # the baseline was the mirror, so the user waited for the candidate
    flag["live_candidate"] = flag["live_candidate_errors"] = flag["live_candidate_timeouts"] = live
    flag["live_baseline"] = asked & (rows.role == _PRIMARY)
    flag["live_baseline_errors"] = bad & (rows.role == _PRIMARY)
    measured.baseline_seen = good & (rows.role == _PRIMARY)
    measured.timed = good
    measured.candidate_ms = np.full(len(rows), np.inf)
    measured.examples.extend((EXAMPLE_MISSING, i, "no answer came") for i in np.flatnonzero(good).tolist())
    return measured


class _Flags:
    """Rows of the flag matrix by name."""

    def __init__(self, flags: B1) -> None:
        self._flags = flags

    def __setitem__(self, name: str, mask: B1) -> None:
        self._flags[INDEX[name]] = mask


def _blank(rows: Rows) -> Measured:
    """Nothing measured yet; what belongs to an arm is that of ``rows`` until it is said otherwise."""
    count = len(rows)
    none = np.zeros((3, count), np.bool_)
    return Measured(
        request_id=rows.request_id, event_at_ms=rows.event_at_ms, cell=rows.cell,
        flags=np.zeros((len(COUNT_NAMES), count), np.bool_), timed=np.zeros(count, np.bool_),
        baseline_ms=rows.latency_ms, candidate_ms=rows.latency_ms,
        baseline_confidence=np.full(count, np.nan), candidate_confidence=np.full(count, np.nan),
        answered=none[0], baseline_seen=none[1], candidate_seen=none[2],
        baseline_label=rows.label, candidate_label=rows.label,
        baseline_numbers=rows.numbers, candidate_numbers=rows.numbers,
    )  # fmt: skip


def _check(measured: Measured, arm: int, outputs: Objects, answered: B1, checks: OutputChecks) -> B1:
    """Validate the outputs of one arm; which of them are invalid."""
    name = ARMS[arm].value
    invalid = np.zeros(len(outputs), np.bool_)
    failed_rules = checks.failed_rules
    rows = np.flatnonzero(answered)
    for i, output in zip(rows.tolist(), outputs[rows].tolist(), strict=True):
        failed = failed_rules(output)
        if failed:
            invalid[i] = True
            measured.remarks.extend((i, f"invalid.{name}.{rule}") for rule in failed)
            if arm == CANDIDATE:
                measured.examples.append((EXAMPLE_INVALID, i, ", ".join(failed)[:MAX_DETAIL_CHARS]))
    measured.flags[INDEX[f"{name}_checked"]] = answered
    measured.flags[INDEX[f"{name}_invalid"]] = invalid
    return invalid


def _compare(measured: Measured, ours: Objects, theirs: Objects, both: B1, checks: OutputChecks) -> B1:
    """Compare the outputs of both arms; which of them differ beyond tolerance."""
    differ = np.zeros(len(ours), np.bool_)
    rows = np.flatnonzero(both & (ours != theirs).astype(np.bool_))
    for i, a, b in zip(rows.tolist(), ours[rows].tolist(), theirs[rows].tolist(), strict=True):
        kinds = checks.changes(a, b)
        if kinds:
            differ[i] = True
            measured.remarks.extend((i, f"change.{kind}") for kind in kinds)
    return differ


def _present(labels: Objects) -> B1:
    return np.fromiter((label is not None for label in labels.tolist()), np.bool_, len(labels))


def examples_of(measured: Measured, rows: Sequence[int], limit: int) -> Iterator[tuple[str, str, str, int]]:
    """The smallest ``limit`` examples of some rows by (kind, request id): kind, request id, detail, row."""
    wanted = set(rows)
    found = ((k, measured.request_id[i], d, i) for k, i, d in measured.examples if i in wanted)
    yield from sorted(found)[:limit]
