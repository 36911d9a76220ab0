"""Measuring: settled requests as flags, latencies and remarks, by array operations.

Law: a request is counted once, with all that is known of it, when it settles: as a pair, or by one arm alone
when grace has ended. A missing candidate is a candidate failure; a shed or baseline-less request is counted
for completeness only. Nothing here depends on which other requests are in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final

import numpy as np

from paritygate.comparators.answers import Answers, OutputChecks
from paritygate.comparators.pairing import BASELINE, CANDIDATE
from paritygate.comparators.rows import Rows
from paritygate.comparators.settings import LATENCY_RATIO
from paritygate.comparators.tally import COUNT_NAMES, INDEX
from paritygate.schemas.arrays import B1, F64, I8, I32, I64
from paritygate.schemas.prediction import ARMS, ROLES, STATUSES, Role, Status
from paritygate.schemas.texts import Texts

#: Longest ``detail`` of an example.
MAX_DETAIL_CHARS: Final = 80
#: A pair is clearly slower, or faster, where the candidate took more than so many times what it may take, or less
#: than that part of it.
CLEARLY: Final = 1.25
_OK: Final = STATUSES.index(Status.OK)
_SHED: Final = STATUSES.index(Status.SHED)
_TIMEOUT: Final = STATUSES.index(Status.TIMEOUT)
_PRIMARY: Final = ROLES.index(Role.PRIMARY)

EXAMPLE_MISSING: Final = "missing_candidate"
EXAMPLE_ERROR: Final = "candidate_only_error"
EXAMPLE_INVALID: Final = "candidate_invalid"
EXAMPLE_LABEL: Final = "label_change"


@dataclass(slots=True)
class Measured:
    """Settled requests.

    ``flags[k, i]``: request i counts under ``COUNT_NAMES[k]``. ``baseline_ms`` / ``candidate_ms``: latencies
    of the requests in ``timed`` (baseline answered); the candidate's is ``+inf`` where it failed.
    ``baseline_instance`` / ``candidate_instance``: places of the instances, 0 where unknown.
    ``baseline_confidence`` / ``candidate_confidence``: of the requests that both answered, NaN elsewhere.
    ``answered``: which requests both answered; there ``…_label`` and ``…_numbers`` are those of the arms.
    ``baseline_seen`` / ``candidate_seen``: whose answer by that arm a user saw.
    ``remarks``: by total to bump, the requests that bump it, each once. ``examples``: by kind, the detail of
    each request that is one.
    """

    request_id: Texts
    event_at_ms: I64
    cell: I32
    flags: B1
    timed: B1
    baseline_ms: F64
    candidate_ms: F64
    baseline_instance: I8
    candidate_instance: I8
    baseline_confidence: F64
    candidate_confidence: F64
    answered: B1
    baseline_seen: B1
    candidate_seen: B1
    baseline_label: Texts
    candidate_label: Texts
    baseline_numbers: F64
    candidate_numbers: F64
    remarks: dict[str, I64] = field(default_factory=dict)
    examples: dict[str, dict[int, str]] = field(default_factory=dict)


def measure_pairs(
    baseline: Rows, candidate: Rows, checks: OutputChecks, latency_ratio: float = LATENCY_RATIO
) -> Measured:
    """Requests of which both arms' events came; time and segments are the baseline's.

    A request with a shed arm is no pair, but what its user saw counts all the same: an answer that failed for a
    user must be seen whatever became of the mirror. ``latency_ratio``: what the candidate's latency may be,
    in times of the baseline's.
    """
    measured = _blank(baseline)
    measured.candidate_instance = candidate["instance"]
    statuses = [np.ascontiguousarray(rows.status) for rows in (baseline, candidate)]
    shed = (statuses[BASELINE] == _SHED) | (statuses[CANDIDATE] == _SHED)
    asked = ~shed
    good, bad = (asked & (statuses[BASELINE] == _OK)), (asked & (statuses[BASELINE] != _OK))
    fine, failed = (asked & (statuses[CANDIDATE] == _OK)), (asked & (statuses[CANDIDATE] != _OK))
    flag = _Flags(measured.flags)
    flag["shed"] = shed
    flag["requests"] = flag["pairs"] = asked
    flag["baseline_errors"], flag["candidate_errors"] = bad, failed
    flag["candidate_only_errors"], flag["baseline_only_errors"] = good & failed, bad & fine
    flag["timeouts_counted"] = asked
    late, theirs_late = (asked & (status == _TIMEOUT) for status in reversed(statuses))
    flag["candidate_timeouts"], flag["baseline_timeouts"] = late, theirs_late
    flag["candidate_only_timeouts"], flag["baseline_only_timeouts"] = late & ~theirs_late, theirs_late & ~late
    ours = checks.read(baseline.output, good)
    baseline_invalid = _check(measured, BASELINE, ours, good)
    live = (candidate.role == _PRIMARY) & (statuses[CANDIDATE] != _SHED)
    live_fine = live & (statuses[CANDIDATE] == _OK)
    theirs = checks.read(candidate.output, fine | live_fine)
    candidate_invalid = _check(measured, CANDIDATE, theirs, fine | live_fine)
    flag["candidate_only_invalid"] = good & fine & candidate_invalid & ~baseline_invalid
    flag["baseline_only_invalid"] = good & fine & baseline_invalid & ~candidate_invalid
    flag["labels_compared"] = compared = asked & baseline.label.there & candidate.label.there
    flag["label_changes"] = changed = compared & ~baseline.label.equal(candidate.label)
    flag["output_changes"] = _compare(measured, checks.changes(ours, theirs, np.flatnonzero(good & fine)))
    flag["live_candidate"], flag["live_candidate_errors"] = live, live & ~live_fine
    flag["live_candidate_timeouts"] = live & (statuses[CANDIDATE] == _TIMEOUT)
    flag["live_candidate_checked"], flag["live_candidate_invalid"] = live_fine, live_fine & candidate_invalid
    live = (baseline.role == _PRIMARY) & (statuses[BASELINE] != _SHED)
    flag["live_baseline"], flag["live_baseline_errors"] = live, live & (statuses[BASELINE] != _OK)
    allowed_ms = latency_ratio * baseline.latency_ms
    flag["slower"] = good & fine & (candidate.latency_ms > CLEARLY * allowed_ms)
    flag["faster"] = good & fine & (CLEARLY * candidate.latency_ms < allowed_ms)
    measured.timed = good
    measured.candidate_ms = np.where(fine, candidate.latency_ms, np.inf)
    measured.baseline_confidence = np.where(good & fine, baseline["confidence"], np.nan)
    measured.candidate_confidence = np.where(good & fine, candidate["confidence"], np.nan)
    measured.answered = good & fine
    measured.candidate_label, measured.candidate_numbers = candidate.label, candidate.numbers
    measured.candidate_seen, measured.baseline_seen = live_fine, live & (statuses[BASELINE] == _OK)
    ends = [status.value for status in STATUSES]
    measured.examples[EXAMPLE_ERROR] = {
        i: ends[statuses[CANDIDATE][i]] for i in np.flatnonzero(good & failed).tolist()
    }
    measured.examples[EXAMPLE_LABEL] = dict.fromkeys(np.flatnonzero(changed).tolist(), "label differs")
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
        invalid = _check(measured, CANDIDATE, checks.read(rows.output, fine), fine)
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
    _check(measured, BASELINE, checks.read(rows.output, good), good)
    live = asked & (rows.role != _PRIMARY)  # the baseline was the mirror, so the user waited for the candidate
    flag["live_candidate"] = flag["live_candidate_errors"] = flag["live_candidate_timeouts"] = live
    flag["live_baseline"] = asked & (rows.role == _PRIMARY)
    flag["live_baseline_errors"] = bad & (rows.role == _PRIMARY)
    measured.baseline_seen = good & (rows.role == _PRIMARY)
    measured.timed = good
    measured.candidate_ms = np.full(len(rows), np.inf)
    measured.candidate_instance = np.zeros(len(rows), np.int8)
    measured.examples[EXAMPLE_MISSING] = dict.fromkeys(np.flatnonzero(good).tolist(), "no answer came")
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
        request_id=rows.request_id, event_at_ms=rows.event_at_ms, cell=rows["cell"],
        flags=np.zeros((len(COUNT_NAMES), count), np.bool_), timed=np.zeros(count, np.bool_),
        baseline_ms=rows.latency_ms, candidate_ms=rows.latency_ms,
        baseline_instance=rows["instance"], candidate_instance=rows["instance"],
        baseline_confidence=np.full(count, np.nan), candidate_confidence=np.full(count, np.nan),
        answered=none[0], baseline_seen=none[1], candidate_seen=none[2],
        baseline_label=rows.label, candidate_label=rows.label,
        baseline_numbers=rows.numbers, candidate_numbers=rows.numbers,
    )  # fmt: skip


def _check(measured: Measured, arm: int, answers: Answers, answered: B1) -> B1:
    """Note the invalid outputs of one arm; which they are."""
    name = ARMS[arm].value
    invalid = np.zeros(len(answered), np.bool_)
    by_rule: dict[str, list[int]] = {}
    for i, failed in answers.failed.items():
        for rule in failed:
            by_rule.setdefault(rule, []).append(i)
    for rule, rows in by_rule.items():
        measured.remarks[f"invalid.{name}.{rule}"] = places = np.array(rows, np.int64)
        invalid[places] = True
    if arm == CANDIDATE:
        measured.examples[EXAMPLE_INVALID] = {
            i: ", ".join(failed)[:MAX_DETAIL_CHARS] for i, failed in answers.failed.items()
        }
    measured.flags[INDEX[f"{name}_checked"]] = answered
    measured.flags[INDEX[f"{name}_invalid"]] = invalid
    return invalid


def _compare(measured: Measured, changes: Mapping[str, I64]) -> B1:
    """Note the kinds of change between the outputs of both arms; which requests have one."""
    differ = np.zeros(len(measured.event_at_ms), np.bool_)
    for kind, rows in changes.items():
        measured.remarks[f"change.{kind}"] = rows
        differ[rows] = True
    return differ


def examples_of(measured: Measured, rows: I64, limit: int) -> Iterator[tuple[str, str, str, int]]:
    """The smallest ``limit`` examples of some rows by (kind, request id): kind, request id, detail, row."""
    ids = measured.request_id
    inside = np.zeros(len(ids), np.bool_)
    inside[rows] = True
    for kind, details in sorted(measured.examples.items()):
        named = np.fromiter(details, np.int64, len(details))
        few = ids.smallest(named[inside[named]], limit)
        found = nsmallest(
            limit, ((text, details[i], i) for text, i in zip(ids.take(few).decoded(), few.tolist(), strict=True))
        )
        yield from ((kind, *example) for example in found)
        limit -= len(found)
