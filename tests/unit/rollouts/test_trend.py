"""A trend is the sum of the changes, by panes that stay few; it never invents a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.latency import BUCKETS, NEVER, bucket, edges
from paritygate.comparators.tally import Tally
from paritygate.rollouts import trend
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.trend import Trend
from paritygate.schemas.report import WindowReport
from tests.support.measured import timed
from tests.unit.rollouts.conftest import ORIGIN_MS, WINDOW_MS, report


def of(reports: list[WindowReport]) -> Trend:
    """As the board fills one: by what the ledger says has changed."""
    ledger, made = Ledger(("origin",), WINDOW_MS), Trend(WINDOW_MS)
    for told in reports:
        taken = ledger.take(told)
        if taken is not None:
            made.add(told.window_start_ms, taken.change)
    return made


@given(st.permutations([(w, p, r) for w in range(4) for p in range(2) for r in range(2)]))
def test_order_and_replaced_reports_change_nothing(order: list[tuple[int, int, int]]) -> None:
    """Whatever comes first or twice, the panes are those of the newest reports."""
    newest = of([timed(report(w, p, errors=w), 10, 20 + w) for w in range(4) for p in range(2)])
    told = of([timed(report(w, p, errors=w if r else 9, revision=r), 10, 20 + w * r) for w, p, r in order])

    assert told.points() == newest.points()


def test_a_pane_tells_rates_by_the_second_and_shares() -> None:
    """60 requests in each of two partitions of one second, 6 of the candidate's failed in one, 3 users asked it."""
    (point,) = of([timed(report(0, 0, errors=6, live=3), 10, 30), timed(report(0, 1), 10, 30)]).points()

    assert (point.at_ms, point.compared_per_s) == (ORIGIN_MS, 120.0)
    assert (point.baseline_live_per_s, point.candidate_live_per_s) == (117.0, 3.0)
    assert (point.baseline_error_ratio, point.candidate_error_ratio) == (0.0, 0.05)
    assert point.baseline_timeout_ratio is None  # nobody counted timeouts
    assert point.baseline_p95_ms == pytest.approx(10, rel=0.023)
    assert point.candidate_p50_ms == pytest.approx(30, rel=0.023)


def test_a_window_without_requests_is_no_measurement() -> None:
    """A hole between two windows is a pane with a volume of 0 and without any share or latency."""
    first, hole, last = of([report(0), report(2)]).points()

    assert (first.compared_per_s, hole.compared_per_s, last.compared_per_s) == (60.0, 0.0, 60.0)
    assert (hole.candidate_error_ratio, hole.candidate_p95_ms) == (None, None)


def test_answers_that_never_came_are_no_latency() -> None:
    """A quantile among the failed is infinite, never a large number."""
    (point,) = of([timed(report(0), 10, math.inf)]).points()

    assert point.candidate_p95_ms == math.inf
    assert point.baseline_p95_ms == pytest.approx(10, rel=0.023)


@given(st.floats(1e-4, 1e8))
def test_a_latency_is_told_to_what_it_says(ms: float) -> None:
    """The bucket that is told lies within 4.4 % of the true one, from 1 µs to 35 minutes."""
    (point,) = of([timed(report(0), ms, ms)]).points()

    place = int(bucket(np.array([ms]))[0])
    if place == NEVER:
        assert point.baseline_p50_ms == math.inf
    elif place:
        assert point.baseline_p50_ms is not None
        assert abs(math.log(point.baseline_p50_ms / edges()[place])) < math.log(1.044)


@pytest.mark.parametrize("windows", [1, 240, 241, 5000])
def test_panes_are_few_and_lose_nothing(windows: int) -> None:
    """However long it runs, 240 panes at most hold every request, aligned to the epoch."""
    made = of([report(w) for w in range(windows)])
    points = made.points()

    assert len(points) <= trend.MAX_PANES
    assert sum(p.compared_per_s for p in points) * made.pane_ms / 1000 == pytest.approx(60 * windows)
    assert {p.at_ms % made.pane_ms for p in points} == {0}


def test_a_long_silence_is_bounded_too() -> None:
    """Two windows a year apart are no more panes than two beside each other may be."""
    made = Trend(WINDOW_MS)
    for start in (ORIGIN_MS, ORIGIN_MS + 365 * 86_400_000):
        made.add(start, Tally.from_report(report(0), BUCKET_COUNTS))

    assert len(made.points()) <= trend.MAX_PANES


def test_what_is_not_whole_is_left_out() -> None:
    """Panes that end after the time that is asked for are not told; of the rest the newest."""
    made = of([report(w) for w in range(10)])

    assert [p.at_ms - ORIGIN_MS for p in made.points(ORIGIN_MS + 5500, 2)] == [3000, 4000]
    assert made.points(ORIGIN_MS) == ()
    assert len(edges()) == BUCKETS
