"""Windows: half-open spans, open, closed or gone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.segments import Vocabulary
from paritygate.comparators.tally import COUNT_NAMES, INDEX
from paritygate.comparators.windows import Window, Windows, groups
from paritygate.schemas.report import Example


def place(windows: Windows, *event_at_ms: int) -> list[int]:
    index: list[int] = windows.place(np.array(event_at_ms, np.int64)).tolist()
    return index


@pytest.mark.parametrize(
    ("horizon_ms", "event_at_ms", "index"),
    [
        (None, 999, 0),
        (None, 1_000, 1),
        (None, -1, -1),
        (3_000, 2_999, 2),  # closed, kept
        (3_999, 1_000, 1),  # end 2000 > 3999 - 2000: kept
        (4_000, 1_999, 4),  # gone: the oldest open window
        (4_000, 2_000, 2),
        (4_000, 9_000, 9),
    ],
)
def test_events_are_counted_in_their_window_or_the_oldest_open_one(
    horizon_ms: int | None, event_at_ms: int, index: int
) -> None:
    """Windows of one second kept for two: bounds belong to the window that they begin."""
    windows = Windows(1_000, 2_000)
    if horizon_ms is not None:
        windows.move(horizon_ms)

    assert place(windows, event_at_ms) == [index]


def test_a_window_is_closed_when_its_end_is_reached() -> None:
    """End at the horizon: closed. One millisecond before: open."""
    windows = Windows(1_000, 2_000)
    windows.at(2).bump("x", 1)
    windows.move(2_999)
    assert list(windows.changed_and_closed()) == []
    windows.move(3_000)

    assert [index for index, _ in windows.changed_and_closed()] == [2]


def test_a_settled_window_closes_before_the_horizon() -> None:
    """What nothing waits for closes early; where something waits again, it is held back, but stays closed."""
    windows = Windows(1_000, 2_000)
    windows.at(4)
    windows.move(3_000, 5_000)
    assert [index for index, _ in windows.changed_and_closed()] == [4]
    windows.move(3_000, 4_999)

    assert list(windows.changed_and_closed()) == []
    assert windows.oldest_open == 5


def test_the_horizon_closes_whatever_waits() -> None:
    """Grace has an end."""
    windows = Windows(1_000, 2_000)
    windows.at(2)
    windows.move(3_000, 100)

    assert [index for index, _ in windows.changed_and_closed()] == [2]


def test_a_horizon_that_steps_back_opens_nothing() -> None:
    """What is closed stays closed."""
    windows = Windows(1_000, 2_000)
    windows.move(9_000)
    windows.move(1_000)

    assert (windows.oldest_open, windows.oldest_kept) == (9, 7)


def test_only_reported_windows_are_forgotten() -> None:
    """Unreported content stays however old it is."""
    windows = Windows(1_000, 0)
    windows.at(1)
    windows.at(2).changed = False
    windows.move(100_000)

    assert list(windows.by_index) == [1]


def test_groups_are_every_row_once() -> None:
    """Distinct values, smallest first, with their rows."""
    assert [(v, r.tolist()) for v, r in groups(np.array([5, 3, 5, 3, 4], np.int64))] == [
        (3, [1, 3]), (4, [4]), (5, [0, 2]),
    ]  # fmt: skip
    assert [(v, r.tolist()) for v, r in groups(np.array([7, 7], np.int64))] == [(7, [0, 1])]
    assert list(groups(np.zeros(0, np.int64))) == []


def test_content_survives_the_snapshot() -> None:
    """Counts, histograms, totals, examples and the mark of change, sparse and back."""
    window = Window(changed=False)
    counts = np.zeros((3, len(COUNT_NAMES)), np.int64)
    counts[2, INDEX["pairs"]] = 2**40
    window.add_counts(counts)
    window.add_counts(counts[:1] + 1)
    negative = np.zeros(3970, np.int64)
    negative[[0, 3969]] = [-5, 7]
    window.add_histogram("exceed.-3.up", negative)
    window.add_histogram("exceed.-3.up", negative)
    window.bump("late", 3)
    window.bump("none", 0)
    window.examples = (Example(request_id="r", kind="k", detail="d", values=("a", "b"), trace_id="t"),)
    again = Window.from_plain(window.to_plain())
    vocabulary = Vocabulary((), 1, 2)
    vocabulary.load({"values": [], "cells": [[], [], []]})

    assert again.to_plain() == window.to_plain()
    assert again.totals == {"late": 3}
    older = {k: v for k, v in window.to_plain().items() if k != "traces"}
    assert [e.trace_id for e in Window.from_plain(older).examples] == [""]
    assert again.examples == window.examples
    assert int(again.histograms["exceed.-3.up"][0]) == -10
    assert int(again.counts[2, INDEX["pairs"]]) == 2**40
    assert int(again.counts[0].sum()) == len(COUNT_NAMES)


def test_counts_of_an_older_snapshot_are_found_by_name() -> None:
    """A snapshot whose counts stood in another order, or were fewer, is read right."""
    plain = Window().to_plain()
    plain["names"] = ["pairs", "gone_since", "requests"]
    plain["cells"] = np.array([1], "<i8").tobytes()
    plain["counts"] = np.array([4, 9, 5], "<i8").tobytes()
    counts = Window.from_plain(plain).counts

    assert counts.shape == (2, len(COUNT_NAMES))
    assert (int(counts[1, INDEX["pairs"]]), int(counts[1, INDEX["requests"]]), int(counts.sum())) == (4, 5, 9)


def test_plain_data_follow_what_is_added_after_they_were_made() -> None:
    """What a snapshot packed once is packed anew when a count or a bucket is added."""
    window = Window()
    counts = np.ones((1, len(COUNT_NAMES)), np.int64)
    buckets = np.zeros(BUCKET_COUNTS["confidence"], np.int64)
    changes: list[Callable[[], None]] = [
        lambda: window.add_counts(counts),
        lambda: window.add_histogram("confidence", buckets + 1),
        lambda: window.add_histogram("confidence", buckets + 2),
        lambda: window.bump("x", 1),
    ]
    for change in changes:
        before = window.to_plain()
        change()

        assert window.to_plain() != before
        assert Window.from_plain(window.to_plain()).to_plain() == window.to_plain()
