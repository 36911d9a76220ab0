"""Batch model: what the stream should have counted, worked out the plain way from all events at once.

It shares no code with the join: one dict of requests, one loop, no columns, no time. It is what the join must
equal wherever nothing was late, evicted or beyond the segment bounds, and no clock was in the future.
A request whose other arm never came counts as missing. Of repeated events the first in the given order
stands; all others count as ``duplicate`` (see :func:`comparable`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paritygate.comparators import latency, scores
from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.diff import diff, read_output
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import INDEX, Counts, Tally, zero_counts
from paritygate.comparators.validation import OutputValidator
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report import WindowReport


class _Model:
    def __init__(self, settings: JoinSettings) -> None:
        self.settings = settings
        self.validator = OutputValidator(settings.output_rules)
        self.tallies: dict[int, Tally] = {}
        self.latencies: dict[int, list[tuple[float, float]]] = {}

    def at(self, event_at_ms: int) -> Tally:
        start = event_at_ms - event_at_ms % self.settings.window_ms
        return self.tallies.setdefault(start, Tally(self.settings.dimensions))

    def request(self, baseline: PredictionEvent | None, candidate: PredictionEvent | None) -> None:
        """Count one request by what is known of it when all has been read."""
        known = baseline or candidate
        assert known is not None
        tally, count = self.at(known.event_at_ms), self._cell(known)
        if self.settings.label_shares:
            self._labels(tally, baseline, candidate)
        if baseline is None or Status.SHED in (baseline.status, candidate and candidate.status):
            shed = Status.SHED in (baseline and baseline.status, candidate and candidate.status)
            yes = {"shed" if shed else "missing_baseline"} | self._seen_by_users(tally, baseline, candidate)
            for name in yes:
                count[INDEX[name]] += 1
            return
        yes = {"requests"}
        yes.add("pairs" if candidate else "missing_candidate")
        good = baseline.status is Status.OK
        fine = candidate is not None and candidate.status is Status.OK
        yes |= {n for n, is_so in (
            ("baseline_errors", not good), ("candidate_errors", not fine),
            ("candidate_only_errors", good and not fine), ("baseline_only_errors", fine and not good),
        ) if is_so}  # fmt: skip
        late = candidate is None or candidate.status is Status.TIMEOUT
        theirs_late = baseline.status is Status.TIMEOUT
        yes |= {n for n, is_so in (
            ("timeouts_counted", True), ("candidate_timeouts", late), ("baseline_timeouts", theirs_late),
            ("candidate_only_timeouts", late and not theirs_late),
            ("baseline_only_timeouts", theirs_late and not late),
        ) if is_so}  # fmt: skip
        ours = self._check(tally, "baseline", baseline, yes)
        theirs = self._check(tally, "candidate", candidate, yes) if candidate else ()
        if good and fine and bool(ours) != bool(theirs):
            yes.add("baseline_only_invalid" if ours else "candidate_only_invalid")
        if candidate is not None:
            self._compare(tally, baseline, candidate, yes)
        users_saw_candidate = candidate.role is Role.PRIMARY if candidate else baseline.role is Role.SHADOW
        if users_saw_candidate:
            yes |= {n.replace("candidate", "live_candidate") for n in yes if n in (
                "candidate_errors", "candidate_timeouts", "candidate_checked", "candidate_invalid",
            )} | {"live_candidate"}  # fmt: skip
        if baseline.role is Role.PRIMARY:
            yes |= {"live_baseline"} | (set() if good else {"live_baseline_errors"})
        for name in yes:
            count[INDEX[name]] += 1
        if good:
            start = baseline.event_at_ms - baseline.event_at_ms % self.settings.window_ms
            taken = candidate.latency_ms if candidate is not None and fine else np.inf
            self.latencies.setdefault(start, []).append((baseline.latency_ms, taken))
            allowed = self.settings.latency_ratio * baseline.latency_ms
            if np.isfinite(taken) and taken > 1.25 * allowed:
                count[INDEX["slower"]] += 1
            elif np.isfinite(taken) and 1.25 * taken < allowed:
                count[INDEX["faster"]] += 1

    def _seen_by_users(
        self, tally: Tally, baseline: PredictionEvent | None, candidate: PredictionEvent | None
    ) -> set[str]:
        """Of a request that is no pair: what its user saw counts all the same."""
        yes: set[str] = set()
        if candidate is not None and candidate.role is Role.PRIMARY and candidate.status is not Status.SHED:
            yes.add("live_candidate")
            if candidate.status is Status.OK:
                invalid = bool(self._check(tally, "candidate", candidate, yes))
                yes |= {"live_candidate_checked"} | ({"live_candidate_invalid"} if invalid else set())
            else:
                yes.add("live_candidate_errors")
                yes |= {"live_candidate_timeouts"} if candidate.status is Status.TIMEOUT else set()
        if baseline is not None and baseline.role is Role.PRIMARY and baseline.status is not Status.SHED:
            yes |= {"live_baseline"} | (set() if baseline.status is Status.OK else {"live_baseline_errors"})
        return yes

    def _cell(self, event: PredictionEvent) -> Counts:
        values = tuple(
            event.segments.get(d, event.endpoint if d == "endpoint" else "") for d in self.settings.dimensions
        )
        return self.at(event.event_at_ms).cells.setdefault(values, zero_counts())

    def _check(self, tally: Tally, arm: str, event: PredictionEvent, yes: set[str]) -> tuple[str, ...]:
        if event.status is not Status.OK:
            return ()
        failed = self.validator.check(event.output)
        yes |= {f"{arm}_checked"} | ({f"{arm}_invalid"} if failed else set())
        for rule in failed:
            tally.bump(f"invalid.{arm}.{rule}")
        return failed

    def _compare(self, tally: Tally, a: PredictionEvent, b: PredictionEvent, yes: set[str]) -> None:
        sure = (a.confidence, b.confidence)
        if a.status is b.status is Status.OK and sure != (None, None):
            for arm, value in zip(("baseline", "candidate"), sure, strict=True):
                counts = tally.histograms.setdefault(f"confidence.{arm}", np.zeros(21, np.int64))
                counts[20 if value is None else min(19, max(0, int(value * 20)))] += 1
        if a.status is b.status is Status.OK:
            self._numbers(tally, a.measures, b.measures)
        if a.label is not None and b.label is not None:
            yes |= {"labels_compared"} | ({"label_changes"} if a.label != b.label else set())
        if a.status is b.status is Status.OK and a.output != b.output:
            found = diff(read_output(a.output), read_output(b.output), self.settings.diff_rules)
            yes |= {"output_changes"} if found else set()
            for kind in {change.kind.value for change in found}:
                tally.bump(f"change.{kind}")

    def _labels(self, tally: Tally, a: PredictionEvent | None, b: PredictionEvent | None) -> None:
        def add(name: str, label: str | None) -> None:
            counts = tally.histograms.setdefault(f"labels.{name}", np.zeros(65, np.int64))
            counts[64 if label is None else zlib.crc32(label.encode()) % 64] += 1

        for event in (a, b):
            if event and event.role is Role.PRIMARY and event.status is Status.OK and event.label is not None:
                add(f"live_{event.arm.value}", event.label)
        if a and b and a.status is b.status is Status.OK and (a.label, b.label) != (None, None):
            add("baseline", a.label)
            add("candidate", b.label)
            if a.label != b.label:  # no two labels of a test share a bucket
                add("down", a.label)
                add("up", b.label)

    def _numbers(self, tally: Tally, a: Mapping[str, float], b: Mapping[str, float]) -> None:
        for rule in self.settings.numbers:
            ours, theirs = a.get(rule.measure), b.get(rule.measure)
            if ours is None or theirs is None:
                if ours is not theirs:
                    tally.bump(rule.total("without_baseline" if ours is None else "without_candidate"))
                continue
            ours, theirs = (min(max(v, 0.0), rule.cap) for v in (ours, theirs))
            for arm, value in (("baseline", ours), ("candidate", theirs)):
                tally.bump(rule.total(f"sum_{arm}"), round(value / rule.cap * 1e6))
            place = (theirs - rule.slope * ours) / rule.cap  # from -slope to 1, in 2000 buckets of 1000 units
            units = round((place + rule.slope) / (1.0 + rule.slope) * 2e6)
            counts = tally.histograms.setdefault(rule.name, np.zeros(scores.BUCKETS, np.int64))
            counts[units // 1000] += 1000 - units % 1000
            if units % 1000:
                counts[units // 1000 + 1] += units % 1000

    def outcome(self, outcome: Outcome) -> None:
        tally = self.at(outcome.event_at_ms)
        if outcome.baseline is None or outcome.candidate is None:
            tally.bump("outcome_single")
            return
        tally.bump("outcome_paired")
        counts = tally.histograms.setdefault(f"scores.{outcome.measure}", np.zeros(scores.BUCKETS, np.int64))
        counts[round((outcome.candidate - outcome.baseline) * scores.STEPS) + scores.STEPS] += 1

    def platform(self, event: PlatformEvent) -> None:
        tally, arm = self.at(event.event_at_ms), event.arm.value
        for name, value in (
            ("reports", 1), ("running_ms", event.running_ms), ("ooms", event.gpu_ooms),
            ("restarts", event.restarts), ("dropped", event.dropped_events),
        ):  # fmt: skip
            if value:
                tally.bump(f"{name}.{arm}", min(value, 1 << 40))
        if event.memory_bytes and event.memory_bytes <= 1 << 45:
            tally.bump(f"memory_bytes.{arm}", event.memory_bytes)
            tally.bump(f"memory_reports.{arm}")


def recompute(
    events: Iterable[PredictionEvent],
    outcomes: Iterable[Outcome],
    platform: Iterable[PlatformEvent],
    settings: JoinSettings,
) -> dict[int, Tally]:
    """The tally of each window with content, by its start, from all records of one rollout or many."""
    model = _Model(settings)
    requests: dict[str, dict[Arm, PredictionEvent]] = {}
    for event in events:
        if event.rollout_id != settings.rollout_id:
            continue
        arms = requests.setdefault(event.request_id, {})
        if event.arm in arms:
            model.at(event.event_at_ms).bump("duplicate")
            continue
        arms[event.arm] = event
        if event.arm is Arm.CANDIDATE and event.role is Role.PRIMARY and event.status is not Status.SHED:
            model.at(event.event_at_ms).bump("exposed")
    for arms in requests.values():
        model.request(arms.get(Arm.BASELINE), arms.get(Arm.CANDIDATE))
    for start, pairs in model.latencies.items():
        ours, theirs = np.array(pairs, np.float64).T
        model.tallies[start].histograms.update(latency.pair_histograms(ours, theirs, settings.latency_shifts))
    scored: set[tuple[str, str]] = set()
    for outcome in (o for o in outcomes if o.rollout_id == settings.rollout_id):
        if (outcome.request_id, outcome.measure) in scored:
            model.at(outcome.event_at_ms).bump("outcome_duplicate")
            continue
        scored.add((outcome.request_id, outcome.measure))
        model.outcome(outcome)
    for report in (p for p in platform if p.rollout_id == settings.rollout_id):
        model.platform(report)
    return {start: comparable(tally) for start, tally in model.tallies.items()}


def comparable(tally: Tally) -> Tally:
    """The tally without what depends on the order of arrival: a repeat is a ``conflict`` only while the event
    that it contradicts still waits, so both are one here. Empty parts are dropped."""
    totals: dict[str, Any] = dict(tally.totals)
    totals["duplicate"] = totals.get("duplicate", 0) + totals.pop("conflict", 0)
    for unread in ("poison", "lost"):  # no event of the batch: which request it was cannot be known
        totals.pop(unread, None)
    clean = Tally(tally.dimensions)
    clean.add(Tally(tally.dimensions, tally.cells, tally.histograms, {k: v for k, v in totals.items() if v}))
    return clean


def final_reports(reports: Iterable[WindowReport]) -> dict[tuple[int, int], WindowReport]:
    """The report that stands for each (partition, window start): the highest (generation, revision)."""
    standing: dict[tuple[int, int], WindowReport] = {}
    for report in reports:
        key = (report.partition, report.window_start_ms)
        held = standing.get(key)
        if held is None or (held.generation, held.revision) < (report.generation, report.revision):
            standing[key] = report
    return standing


def streamed(reports: Sequence[WindowReport]) -> dict[int, Tally]:
    """Reports of one rollout as :func:`recompute` gives them: summed over partitions, empty windows left out."""
    found: dict[int, Tally] = {}
    for report in final_reports(reports).values():
        tally = found.setdefault(report.window_start_ms, Tally(report.dimensions))
        tally.add(comparable(Tally.from_report(report, BUCKET_COUNTS)))
    return {start: t for start, t in found.items() if t.cells or t.histograms or t.totals}


def difference(streamed: Mapping[int, Tally], expected: Mapping[int, Tally]) -> str:
    """What differs between two results, for a person; empty where nothing does."""
    lines = []
    for start in sorted(streamed.keys() | expected.keys()):
        got, want = streamed.get(start), expected.get(start)
        if got == want:
            continue
        lines.append(f"window {start}:")
        if got is None or want is None:
            lines.append(f"  only in the {'batch' if got is None else 'stream'}")
            continue
        left = Tally(got.dimensions)
        left.add(got)
        left.add(want, -1)
        lines.append(f"  totals {left.totals}")
        for values, counts in left.cells.items():
            lines.append(f"  cell {values} { ({n: int(counts[i]) for n, i in INDEX.items() if counts[i]}) }")
        lines.extend(f"  histogram {n}: {int(np.abs(h).sum())} counts" for n, h in left.histograms.items())
    return "\n".join(lines)
