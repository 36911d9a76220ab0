"""What begins late: it is seen soon, and told since when, in words and in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from paritygate.comparators import confidence, labels, latency, numbers, scores
from paritygate.comparators.tally import Tally
from paritygate.gates.evidence import Evidence, Sums
from paritygate.gates.onsets import ALPHA, late_onset
from paritygate.gates.spec import parse_gates
from paritygate.gates.verdict import Verdict, VerdictKind
from tests.support.codes import codes_of

#: 13:05, 13:35 and 14:05 UTC.
STARTS_MS = tuple(1_700_053_500_000 + 1_800_000 * pane for pane in range(3))
Build = Callable[..., Tally]
Judge = Callable[..., Verdict]


def slower(seed: int, pairs: int, factor: float = 1.0) -> Tally:
    shared, ours, theirs = np.random.default_rng(seed).normal(0.0, 0.6, (3, pairs))
    base, candidate = (np.exp(3.0 + 0.84 * shared + 0.55 * own) for own in (ours, theirs))
    return Tally((), histograms=latency.pair_histograms(base, factor * candidate, latency.shifts(10.0)))


def scored(seed: int, pairs: int, mean: float = 0.0) -> Tally:
    deltas = np.random.default_rng(seed).normal(mean, 0.2, pairs)
    counts = np.bincount(scores.bucket(deltas), minlength=scores.BUCKETS)
    return Tally((), histograms={"scores.human_review_score": counts})


def labelled(pairs: int, moved: float) -> Tally:
    ours = ["late", "on_time"] * (pairs // 2)
    changed = int(moved * pairs)
    theirs = ["on_time", "on_time"] * changed + ours[2 * changed :]
    return Tally((), histograms=dict(labels.pair_histograms(codes_of(ours), codes_of(theirs))))


def sure(pairs: int, moved: float) -> Tally:
    ours = np.full(pairs, 0.8)
    theirs = np.where(np.arange(pairs) < moved * pairs, 0.2, ours)
    return Tally((), histograms=dict(confidence.pair_histograms(ours, theirs)))


def fallen_back(pairs: int, moved: float) -> Tally:
    (spec,) = parse_gates({"fallback_rate": {"maximum_delta": 0.02}})
    rule = spec.number_rule()
    assert rule is not None
    theirs = (np.arange(pairs) < moved * pairs).astype(np.float64)
    histograms, totals = numbers.pair_counts((rule,), np.zeros((pairs, 1)), theirs[:, None])
    return Tally((), histograms=dict(histograms), totals=dict(totals))


def failing(tally_of: Build, requests: int, errors: int, base: int = 0, live: int = 0) -> Tally:
    counts = {"requests": requests, "candidate_errors": errors, "candidate_only_errors": errors}
    counts |= {"baseline_errors": base, "baseline_only_errors": base, "live_candidate": live}
    return tally_of((), {(): counts | {"live_candidate_errors": errors if live else 0}})


def total(parts: Sequence[Tally]) -> Tally:
    whole = Tally(parts[0].dimensions)
    for part in parts:
        whole.add(part)
    return whole


def late(first: Judge, gate: str, parts: Sequence[Tally], **more: Any) -> tuple[Verdict, Verdict]:
    """The verdict without panes, and the one with panes of which the last holds the regression."""
    whole = total(parts)
    return first(gate, whole, parts[0]), first(gate, whole, parts[0], panes=parts, pane_starts_ms=STARTS_MS, **more)


def test_a_latency_regression_that_begins_late_is_found(first: Judge) -> None:
    """+30 % after 20,000 good pairs: all pairs together say nothing, the pairs since the onset fail the gate."""
    parts = (slower(1, 10_000), slower(2, 10_000), slower(3, 4_500, 1.3))
    blind, found = late(first, "latency_p95_ms: {maximum_regression_percent: 10}", parts)

    assert blind.kind is not VerdictKind.FAIL
    assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
    assert found.reason.startswith("since 14:05 UTC p95 is ")
    assert "on 4,500 pairs" in found.reason
    assert found.reason.endswith("on 24,500 pairs")
    numbers = found.numbers
    assert (numbers["onset_at_ms"], numbers["onset_total"]) == (STARTS_MS[2], 4_500)
    assert 1.0 < numbers["onset_ratio_low"] < numbers["onset_ratio"] < numbers["onset_ratio_high"]  # type: ignore[operator]
    assert numbers["ratio_low"] < 1.1  # type: ignore[operator]


def test_a_latency_limit_that_is_broken_late_is_found(first: Judge) -> None:
    """A p95 within 80 ms for 20,000 pairs and half above it since: failed with the numbers since then."""
    slow = Tally((), histograms=latency.pair_histograms(np.full(300, 20.0), np.linspace(60.0, 100.0, 300), []))
    fast = Tally((), histograms=latency.pair_histograms(np.full(10_000, 20.0), np.full(10_000, 20.0), []))
    blind, found = late(first, "latency_p95_ms: {maximum: 80}", (fast, fast, slow))

    assert blind.kind is not VerdictKind.FAIL
    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("since 14:05 UTC p95 is 97.")
    assert found.reason.endswith("; in all p95 is 20.0 ms on 20,300 pairs")
    assert found.numbers["onset_slow"] == 147


def test_both_arms_that_become_slow_together_are_the_environment(first: Judge) -> None:
    """Asked of the onset: a good past does not hide that the baseline broke the limit as well."""
    slow = Tally((), histograms=latency.pair_histograms(np.full(300, 95.0), np.full(300, 97.0), []))
    fast = Tally((), histograms=latency.pair_histograms(np.full(10_000, 20.0), np.full(10_000, 20.0), []))
    _, found = late(first, "latency_p95_ms: {maximum: 80}", (fast, fast, slow))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "environment")
    assert found.reason.startswith("since 14:05 UTC")


def test_a_score_that_falls_late_is_found(first: Judge) -> None:
    """-0.08 after 8,000 scored pairs without a difference."""
    parts = (scored(1, 4_000), scored(2, 4_000), scored(3, 900, -0.08))
    blind, found = late(first, "human_review_score: {minimum_delta: -0.02}", parts)

    assert blind.kind is not VerdictKind.FAIL
    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("since 14:05 UTC mean difference -0.0")
    assert "; in all mean difference " in found.reason
    assert found.numbers["onset_total"] == 900
    assert found.numbers["onset_low"] < found.numbers["onset_value"] < found.numbers["onset_high"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("gate", "parts", "words"),
    [
        ("label_shift: {maximum: 0.05}", (labelled, 4_000, 0.0, 700, 0.3), "the share of label bucket "),
        ("confidence_shift: {maximum: 0.1}", (sure, 10_000, 0.0, 1_000, 0.7), "confidence apart by "),
        ("fallback_rate: {maximum_delta: 0.02}", (fallen_back, 4_000, 0.0, 300, 0.3), "mean fallback_rate "),
    ],
)
def test_what_moves_late_is_found(first: Judge, gate: str, parts: Any, words: str) -> None:
    """Labels, confidence and numbers of the events: good for long, far off since the onset."""
    build, before, calm, since, moved = parts
    blind, found = late(first, gate, (build(before, calm), build(before, calm), build(since, moved)))

    assert blind.kind is not VerdictKind.FAIL
    assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
    assert found.reason.startswith(f"since 14:05 UTC {words}")
    assert f"; in all {words}" in found.reason
    numbers = found.numbers
    assert (numbers["onset_at_ms"], numbers["onset_total"]) == (STARTS_MS[2], since)
    assert numbers["onset_low"] < numbers["onset_value"] < numbers["onset_high"]  # type: ignore[operator]


@pytest.mark.parametrize("gate", ["error_rate: {maximum: 0.01}", "error_rate: {maximum_regression_percent: 50}"])
def test_a_rate_tells_since_when(tally_of: Build, first: Judge, gate: str) -> None:
    """Both rules give the count, the rate and its bounds since the onset, and then the totals."""
    parts = (failing(tally_of, 10_000, 5, 5), failing(tally_of, 10_000, 5, 5), failing(tally_of, 900, 31))
    blind, found = late(first, gate, parts)

    assert blind.kind is not VerdictKind.FAIL
    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("since 14:05 UTC 31 of 900 requests failed (3.4 %, surely ")
    assert "; in all 41 of 20,900 requests failed (0.2 %)" in found.reason
    numbers = found.numbers
    assert (numbers["onset_at_ms"], numbers["onset_bad"], numbers["onset_total"]) == (STARTS_MS[2], 31, 900)
    assert numbers["onset_low"] < numbers["onset_value"] < numbers["onset_high"]  # type: ignore[operator]


def test_a_rate_among_live_answers_tells_since_when(tally_of: Build, first: Judge) -> None:
    """Where the answers that users saw say most, the numbers are theirs."""
    parts = (*[failing(tally_of, 5_000, 0, live=5_000)] * 2, failing(tally_of, 5_000, 60, live=100))
    _, found = late(first, "error_rate: {maximum: 0.01}", parts, weight=5)

    assert found.reason.startswith("since 14:05 UTC 60 of 100 answers that users saw failed (60 %, surely ")
    assert found.numbers["onset_total"] == 100


def test_the_segment_is_that_of_the_onset(tally_of: Build, first: Judge) -> None:
    """Old failures of one segment do not take the blame for what another one does since the onset."""

    def cells(jfk: int, ewr: int) -> Tally:
        rows = {("JFK",): jfk, ("EWR",): ewr}
        named = {
            v: {"requests": 5_000, "candidate_errors": n, "candidate_only_errors": n, "baseline_only_errors": 18}
            for v, n in rows.items()
        }
        return tally_of(("origin",), named)

    parts = (cells(10, 45), cells(10, 45), cells(420, 0))
    _, found = late(first, "error_rate: {maximum: 0.02}", parts)

    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("since 14:05 UTC 420 of 10,000 requests failed")
    assert found.segment == "origin=JFK"


def test_what_is_bad_from_the_start_has_no_onset(tally_of: Build, first: Judge) -> None:
    """The rollout's own start is the first of equals; nothing is told of an onset."""
    bad = failing(tally_of, 1_000, 60)
    _, found = late(first, "error_rate: {maximum: 0.01}", (bad, bad, bad))

    assert found.kind is VerdictKind.FAIL
    assert not any(name.startswith("onset") for name in found.numbers)
    assert "since" not in found.reason


def test_without_times_the_words_are_without_them(tally_of: Build, first: Judge) -> None:
    """Evidence that holds panes and not their starts."""
    parts = [failing(tally_of, 10_000, 0), failing(tally_of, 900, 31)]
    found = first("error_rate: {maximum: 0.01}", total(parts), parts[0], panes=parts)

    assert found.reason.startswith("since the onset 31 of 900")
    assert found.numbers["onset_at_ms"] is None


def test_intervals_since_all_onsets_hold_together() -> None:
    """The alphas of all onsets sum to at most that of one interval, so choosing the loudest costs nothing."""
    panes = tuple(slower(seed, 10) for seed in range(24))
    sums = Sums(Evidence(whole=total(panes), stage=panes[23], panes=panes, stage_name="5", weight=5))
    spent = 0.0
    for start in range(1, 25):
        log_e = np.zeros(25)
        log_e[start] = 50.0
        onset = late_onset(sums, log_e)
        assert onset is not None
        assert onset.start == start
        spent += onset.alpha

    assert 0.1 * ALPHA < spent < ALPHA
    assert late_onset(sums, np.zeros(25)) is None
    assert sums.over_starts(np.zeros(25)) <= 0.0


def test_histograms_since_each_start_are_suffix_sums() -> None:
    """Row for row what the panes from there on hold."""
    panes = tuple(slower(seed, 50) for seed in range(6))
    sums = Sums(Evidence(whole=total(panes), stage=panes[5], panes=panes, stage_name="5", weight=5))
    found = sums.histogram_since("latency.candidate", latency.BUCKETS)

    assert found[0].sum() == 300
    for start in range(2, 7):
        assert found[start].tolist() == total(panes[start - 1 :]).histograms["latency.candidate"].tolist()
        assert sums.from_start(start).evidence.whole == total(panes[start - 1 :])
