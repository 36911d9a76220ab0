"""A ledger holds the sum of the newest reports, whatever came before them and in whatever order."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.tally import INDEX, Tally
from paritygate.rollouts import ledger as room
from paritygate.rollouts import minutes
from paritygate.rollouts.ledger import Ledger, Taken
from paritygate.schemas.report import Cell, Histogram, WindowReport
from tests.unit.rollouts.conftest import ORIGIN_MS, WINDOW_MS, plan, report, windows

STAGE = plan().stage("5")


def ledger(retain: int = 64) -> Ledger:
    return Ledger(("origin",), WINDOW_MS, retain=retain)


def filled(reports: list[WindowReport], retain: int = 64) -> Ledger:
    book = ledger(retain)
    for r in reports:
        book.take(r)
    return book


def test_a_report_replaces_the_older_one_of_its_window_and_partition() -> None:
    """The higher (generation, revision) stands alone; repeating or lowering it changes nothing."""
    book = filled([report(0, requests=10), report(0, requests=25, revision=1)])
    digest = book.digest()

    assert book.whole.count("pairs") == 25
    assert book.take(report(0, requests=25, revision=1)) is None
    assert book.take(report(0, requests=99, revision=0)) is None
    assert book.take(report(0, requests=99, generation=0, revision=9)) is None
    assert book.digest() == digest
    assert book.ignored["old"] == 3


def test_a_new_owner_replaces_whatever_the_old_one_reported() -> None:
    """A higher generation wins with a lower revision and fewer requests."""
    book = filled([report(0, requests=25, revision=7), report(0, requests=20, generation=2)])

    assert book.whole.count("pairs") == 20


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_the_content_does_not_depend_on_order_or_repetition(data: st.DataObject) -> None:
    """Any order with any repetitions gives the sums of the newest report of each window and partition."""
    reports = data.draw(
        st.lists(
            st.builds(
                report, st.integers(0, 30), st.integers(0, 1), requests=st.integers(0, 9),
                errors=st.integers(0, 3), live=st.integers(0, 4), generation=st.integers(1, 2),
                revision=st.integers(0, 3),
            ),
            max_size=25,
        )
    )  # fmt: skip
    unique = {(r.window_start_ms, r.partition, r.generation, r.revision): r for r in reports}
    reports = list(unique.values())
    shuffled = data.draw(st.permutations(reports))
    a, b = filled(reports), filled([*shuffled, *reports])
    newest = {
        (r.window_start_ms, r.partition): r for r in sorted(reports, key=lambda r: (r.generation, r.revision))
    }
    expected = Tally(("origin",))
    for r in newest.values():
        expected.add(Tally.from_report(r, BUCKET_COUNTS))

    assert a.whole == expected
    assert a.digest() == b.digest()
    assert [p.to_parts() for p in a.evidence(STAGE).panes] == [p.to_parts() for p in b.evidence(STAGE).panes]
    rows = [e.evidence(STAGE).live_batches for e in (a, b)]
    assert rows[0] is not None
    assert rows[1] is not None
    assert np.array_equal(rows[0], rows[1])


def test_panes_are_few_and_lose_nothing() -> None:
    """Any number of windows fits into 24 panes whose sum is the whole."""
    book = filled(windows(0, 200))
    panes = book.evidence(STAGE).panes
    total = Tally(("origin",))
    for pane in panes:
        total.add(pane)

    assert 2 <= len(panes) <= room.MAX_PANES
    assert total == book.whole


def test_panes_know_when_they_begin() -> None:
    """Event time, one pane after the other, and the first no later than the rollout's first window."""
    book = filled(windows(0, 200))
    book.enter_stage(ORIGIN_MS + 60 * WINDOW_MS)
    evidence = book.evidence(STAGE)
    starts = evidence.pane_starts_ms
    widths = set(np.diff(starts).tolist())

    assert len(starts) == len(evidence.panes)
    assert len(widths) == 1
    assert starts[0] <= ORIGIN_MS < starts[0] + widths.pop()
    assert evidence.pane_counts is not None
    assert evidence.pane_counts.tolist() == [pane.overall().tolist() for pane in evidence.panes]
    assert evidence.stage_from_ms == ORIGIN_MS + 60 * WINDOW_MS


def test_live_batches_are_few_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond the bound are merged with their neighbours; sums stay, also over partitions."""
    monkeypatch.setattr(room, "MAX_LIVE_BATCHES", 16)
    book = filled(windows(0, 100, live=6, errors=1), retain=4)
    rows = book.evidence(STAGE).live_batches

    assert rows is not None
    assert len(rows) <= 16 + 4
    assert rows.sum(axis=0).tolist() == [100 * 2 * 6, 100 * 2 * 54, 100 * 2, 0]


def test_windows_without_a_live_error_are_no_batch() -> None:
    """The share test looks at bad events only."""
    rows = filled(windows(0, 5, live=6)).evidence(STAGE).live_batches

    assert rows is not None
    assert rows.shape == (0, 4)


def test_a_new_stage_counts_from_its_start() -> None:
    """Windows before it are in the whole alone, those that start at it or later in both, once they are common."""
    book = filled(windows(0, 4))
    book.enter_stage(ORIGIN_MS + 3 * WINDOW_MS)

    assert book.stage.count("pairs") == 120
    book.take(report(2, requests=70, revision=1))
    book.take(report(5, requests=7))
    assert book.stage.count("pairs") == 120
    book.take(report(5, 1, requests=0))
    assert book.stage.count("pairs") == 127
    assert book.whole.count("pairs") == 8 * 60 + 10 + 7


def test_time_is_where_every_partition_has_come() -> None:
    """The frontier is the slowest watermark and unknown until all have reported; at_ms is the fastest.

    Either one that passes the end of a window is a reason to look; a partition that stands still stops nothing.
    """
    book = ledger()

    assert book.take(report(4, 0)) == Taken(closed=True, harm=False)
    assert (book.frontier_ms, book.at_ms, book.lag_ms) == (None, ORIGIN_MS + 5 * WINDOW_MS, None)
    assert book.take(report(0, 1)) == Taken(closed=True, harm=False)
    assert (book.frontier_ms, book.lag_ms) == (ORIGIN_MS + WINDOW_MS, 4 * WINDOW_MS)
    assert book.take(report(5, 0)) == Taken(closed=True, harm=False)
    assert book.take(report(4, 0, requests=70, revision=1)) == Taken(closed=False, harm=False)
    assert book.take(report(1, 1)) == Taken(closed=True, harm=False)


def test_new_harm_is_seen_at_once() -> None:
    """Failures, invalid outputs and memory exhaustion of the candidate; what was known is no news."""
    book = ledger()
    book.take(report(9))

    assert book.take(report(0, errors=2)) == Taken(closed=False, harm=True)
    assert book.take(report(0, errors=2, revision=1)) == Taken(closed=False, harm=False)
    assert book.take(report(0, errors=3, revision=2)) == Taken(closed=False, harm=True)
    assert book.take(report(1, invalid=1)) == Taken(closed=False, harm=True)
    assert book.take(report(2, totals={"ooms.candidate": 1})) == Taken(closed=False, harm=True)
    assert book.take(report(3, totals={"ooms.baseline": 1})) == Taken(closed=False, harm=False)


def test_memory_is_bounded_and_what_comes_too_late_is_counted() -> None:
    """Only the newest windows can be replaced; an older one is stale and changes nothing."""
    book = filled(windows(0, 50), retain=8)
    digest = book.digest()

    assert book.take(report(41, requests=99, revision=1)) is None
    assert book.digest() == digest
    assert book.ignored == {"stale": 1}
    assert book.take(report(42, requests=61, revision=1)) is not None


def test_a_partition_that_lags_loses_nothing() -> None:
    """While one partition is behind, windows stay open for it far beyond the usual number."""
    fast = [report(w, 0) for w in range(100)]
    slow = [report(w, 1) for w in range(100)]
    book = filled([*fast, *slow], retain=8)

    assert book.whole.count("pairs") == 2 * 100 * 60
    assert not book.ignored


def test_a_window_stays_open_while_a_partition_may_still_close_it() -> None:
    """A window is reported only grace after the watermark passed it; that is no reason to drop it."""
    ahead = [replace(report(w, 0), watermark_ms=ORIGIN_MS + (w + 6) * WINDOW_MS) for w in range(30)]
    behind = [replace(report(w, 1), watermark_ms=ORIGIN_MS + (w + 6) * WINDOW_MS) for w in range(3)]
    book = Ledger(("origin",), WINDOW_MS, settle_ms=5 * WINDOW_MS, retain=8)
    for r in (*ahead, *behind, report(3, 1)):
        book.take(r)

    assert book.whole.count("pairs") == (30 + 4) * 60
    assert not book.ignored


def test_a_partition_that_never_comes_back_does_not_fill_the_memory() -> None:
    """There is an end to the patience."""
    book = filled([report(w, 0) for w in range(8 * room.LAG_FACTOR + 50)], retain=8)

    assert book.take(report(0, 1)) is None
    assert book.ignored == {"stale": 1}


def test_a_report_of_another_shape_is_not_taken() -> None:
    """Foreign dimensions or histogram families cannot be added; they are counted, not guessed."""
    book = ledger()
    base = report(0)
    foreign = [
        replace(base, dimensions=("tenant",)),
        replace(base, histograms=(Histogram(name="weights.x", index=(0,), counts=(1,)),)),
        replace(base, histograms=(Histogram(name="latency.baseline", index=(10**6,), counts=(1,)),)),
        replace(base, histograms=(Histogram(name="latency.baseline", index=(1, 2), counts=(1, 2, 3)),)),
        replace(base, cells=(Cell(values=("EWR",), counts=(1, 2)),)),
    ]

    assert [book.take(r) for r in foreign] == [None] * 5
    assert book.ignored == {"foreign": 5}
    assert book.whole == Tally(("origin",))


def test_sources_are_merged_per_topic_partition() -> None:
    """[first, next) over all reports, in canonical order."""
    reports = windows(0, 3)
    random.Random(1).shuffle(reports)

    assert [(s.topic, s.partition, s.first, s.next) for s in filled(reports).sources()] == [
        ("predictions.primary.v1", 0, 0, 180),
        ("predictions.primary.v1", 1, 0, 180),
    ]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_the_stage_is_a_common_prefix_in_any_order(data: st.DataObject) -> None:
    """It holds the newest reports of the windows up to where the slowest partition has come, whatever the order."""
    made = data.draw(
        st.lists(
            st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)), max_size=30
        )
    )
    unique = {(w, p, v): report(w, p, requests=n, revision=v, partitions=4) for w, p, n, v in made}
    from_ms = ORIGIN_MS + data.draw(st.integers(0, 8)) * WINDOW_MS
    entered = data.draw(st.integers(0, len(unique)))
    book, seen = ledger(), data.draw(st.permutations(list(unique.values())))
    for i, r in enumerate(seen):
        if i == entered:
            book.enter_stage(from_ms)
        book.take(r)
        if data.draw(st.booleans()):
            book.evidence(STAGE)
    first_ms = book.stage_from_ms or 0

    reached = [max((r.window_end_ms for r in seen if r.partition == p), default=0) for p in range(4)]
    newest = {(r.window_start_ms, r.partition): r for r in sorted(seen, key=lambda r: r.revision)}
    expected = Tally(("origin",))
    for r in newest.values():
        if r.window_start_ms >= first_ms and r.window_end_ms <= min(reached):
            expected.add(Tally.from_report(r, BUCKET_COUNTS))
    assert book.stage == expected
    common = [w.count("pairs") for w in book.newest_windows()]
    assert sum(common) == expected.count("pairs")


def test_a_window_that_no_partition_may_complete_any_more_is_lost_to_the_stage() -> None:
    """The stage cannot prove anything by what only the fast partitions told; it knows that something is missing."""
    windows_seen = 8 * room.LAG_FACTOR + 50
    book = filled(
        [*windows(0, 3), *[report(w, 0) for w in range(3, windows_seen)], report(windows_seen, 1)], retain=8
    )
    kept = 8 * room.LAG_FACTOR

    assert book.whole.count("pairs") == (windows_seen + 4) * 60
    assert book.stage.count("pairs") == (6 + kept) * 60
    assert book.stage.totals["lost"] == (windows_seen - 3 - kept) * 60


def test_live_answers_count_for_the_share_when_routers_have_had_time() -> None:
    """Windows that begin within OBEY_MS and a window of the stage are of the stage, but not of its share."""
    wait = (room.OBEY_MS + WINDOW_MS) // WINDOW_MS
    book = ledger()
    book.enter_stage(ORIGIN_MS)
    for index in range(wait + 2):
        book.take(report(index, requests=10, live=4, partitions=1))
    evidence = book.evidence(STAGE)
    live = report(wait, requests=10, live=4)
    per_window = Tally.from_report(live, BUCKET_COUNTS)

    assert evidence.stage.count("live_candidate") == (wait + 2) * per_window.count("live_candidate")
    assert evidence.obeyed == (2 * per_window.count("live_candidate"), 2 * per_window.count("live_baseline"))

    book.enter_stage(ORIGIN_MS + (wait + 1) * WINDOW_MS)

    assert book.evidence(STAGE).obeyed == (0, 0)


MINUTE = minutes.MINUTE_MS // WINDOW_MS


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.data())
def test_minutes_do_not_depend_on_order_or_replaced_reports(data: st.DataObject) -> None:
    """Minutes and the opening hold the newest reports, whichever came first and however often."""
    newest = [report(w, p, requests=20 + w, errors=(w * 7) % 5) for w in range(0, 150, 10) for p in (0, 1)]
    replaced = [replace(r, revision=-1) for r in newest[::3]]
    told = data.draw(st.permutations([*newest, *replaced]))

    ours, plain = filled(told, retain=200).evidence(STAGE), filled(newest, retain=200).evidence(STAGE)

    assert ours.minutes is not None
    assert plain.minutes is not None
    assert ours.opening is not None
    assert plain.opening is not None
    assert np.array_equal(ours.minutes, plain.minutes)
    assert np.array_equal(ours.opening, plain.opening)


def test_a_minute_counts_when_it_is_over() -> None:
    """Closed minutes hold every count of theirs; the open one is in none, and the opening is sixty seconds long."""
    reports = windows(0, 3 * MINUTE, requests=10)
    book = filled(reports)
    evidence = book.evidence(STAGE)
    assert evidence.minutes is not None
    assert evidence.opening is not None

    end = reports[-1].window_end_ms // minutes.MINUTE_MS * minutes.MINUTE_MS
    closed = sum(10 for r in reports if r.window_end_ms <= end)
    assert int(evidence.minutes[:, INDEX["requests"]].sum()) == closed < book.whole.count("requests")
    opening = [r for r in reports if r.window_start_ms < reports[0].window_start_ms + minutes.MINUTE_MS]
    assert int(evidence.opening[INDEX["requests"]]) == 10 * len(opening)


def test_minutes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, neighbours are merged: longer minutes, the same counts, in any order."""
    monkeypatch.setattr(minutes, "MAX_MINUTES", 4)
    reports = [report(w, p, requests=5, errors=1) for w in range(0, 20 * MINUTE, 20) for p in (0, 1)]
    shuffled = random.Random(4).sample(reports, len(reports))
    one, other = (filled(r, retain=5000).evidence(STAGE).minutes for r in (reports, shuffled))

    assert one is not None
    assert other is not None
    assert len(one) <= 4
    assert np.array_equal(one, other)


def test_an_early_report_is_harm_but_nobody_has_come_to_its_window() -> None:
    """Its events count at once; the stage waits for the whole report, which takes its place."""
    book = filled([report(0, requests=10, partitions=1)])
    common, silent = book.common_ms, book.candidate_until_ms
    early = replace(
        report(1, revision=1, partitions=1), cells=(), histograms=(), watermark_ms=ORIGIN_MS + WINDOW_MS,
        totals={"ooms.candidate": 1},
    )  # fmt: skip
    taken = book.take(early)

    assert early.is_early
    assert taken is not None
    assert taken.harm
    assert (book.common_ms, book.candidate_until_ms) == (common, silent)
    assert book.whole.totals["ooms.candidate"] == 1
    assert "ooms.candidate" not in book.stage.totals

    restarted = book.take(replace(early, revision=2, totals={"ooms.candidate": 1, "restarts.candidate": 1}))
    assert restarted is not None
    assert restarted.harm
    book.take(replace(report(1, requests=7, revision=3, partitions=1), totals={"ooms.candidate": 2}))
    assert (book.whole.totals["ooms.candidate"], book.stage.count("pairs")) == (2, 17)
    assert book.common_ms == ORIGIN_MS + 2 * WINDOW_MS


def test_an_early_report_of_an_owner_before_never_replaces_a_whole_one() -> None:
    """However often that owner had reported: its memory exhaustion is counted once, and no request is lost."""
    whole = replace(report(1, requests=7, partitions=1), generation=2, totals={"ooms.candidate": 1})
    early = replace(
        whole, generation=1, revision=1 << 40, cells=(), histograms=(), watermark_ms=whole.window_start_ms
    )
    book = filled([report(0, requests=10, partitions=1), whole])

    assert early.is_early
    assert book.take(early) is None
    assert (book.whole.totals["ooms.candidate"], book.whole.count("pairs")) == (1, 17)


def test_settling_changes_nothing_that_is_shown() -> None:
    """Adding up between two looks gives what one look at the end gives."""
    book, other = Ledger(("origin",), WINDOW_MS), Ledger(("origin",), WINDOW_MS)
    for told in windows(0, 30, errors=1, live=3):
        book.take(told)
        book.settle()
        other.take(told)

    assert book.digest() == other.digest()
    assert book.common_ms == other.common_ms
