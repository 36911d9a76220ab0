from __future__ import annotations

from paritygate.cli.lag import uncovered
from paritygate.schemas.report import SourceRange, WindowReport


def report(*applied: tuple[int, int]) -> WindowReport:
    return WindowReport(
        rollout_id="r1",
        partition=0,
        partitions=2,
        generation=1,
        revision=1,
        window_start_ms=0,
        window_end_ms=1000,
        watermark_ms=0,
        sources=tuple(SourceRange(topic="t", partition=p, first=0, next=n) for p, n in applied),
        dimensions=(),
        count_names=(),
        cells=(),
        histograms=(),
    )


ENDS = {("t", 0): 100, ("t", 1): 50}


def test_lag_is_what_no_report_covers() -> None:
    """The highest applied offset of each partition counts, in any order of reports."""
    assert uncovered(ENDS, [report((0, 90), (1, 10)), report((1, 40)), report((0, 80))]) == 20


def test_no_report_is_unknown_not_zero() -> None:
    """Without a report nothing is known; a partition that no report names is left out."""
    assert uncovered(ENDS, []) is None
    assert uncovered(ENDS, [report((0, 100))]) == 0


def test_positions_beyond_the_end_are_no_negative_lag() -> None:
    """Reports that came after the ends were asked for do not make others look better."""
    assert uncovered(ENDS, [report((0, 120), (1, 45))]) == 5
