"""Rounds: where the decider looks follows from the log, and each look sees what one after any report would see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paritygate.rollouts.fold as folding
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.replay import replay
from paritygate.rollouts.rounds import Round
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import command, essence, report

PARTITIONS = 3
START = command("start")


class Always(Round):
    """The rule that rounds took the place of: a look after every report that is worth one."""

    def is_due(self, report: WindowReport, *, news: bool) -> bool:
        return news


def told(window: int, partition: int, partitions: int = PARTITIONS, errors: int = 0) -> WindowReport:
    return report(window, partition, partitions=partitions, live=10, errors=errors)


def early(window: int, partition: int) -> WindowReport:
    whole = told(window, partition)
    ran = {"reports.candidate": 1, "ooms.candidate": 1}
    return replace(whole, cells=(), totals=ran, watermark_ms=whole.window_start_ms)


def looks(reports: Sequence[WindowReport]) -> list[int]:
    """Positions at which a look is taken where every report is worth one."""
    rounds = Round()
    return [i for i, r in enumerate(reports) if rounds.is_due(r, news=True)]


@st.composite
def in_step(draw: st.DrawFn, last: int = 8) -> list[list[tuple[int, int]]]:
    """Window by window the order in which the partitions report it, with how many answers failed."""
    errors = draw(st.lists(st.sampled_from([0, 0, 0, 1, 6]), min_size=PARTITIONS, max_size=PARTITIONS))
    order = st.permutations(list(enumerate(errors)))
    return [draw(order) for _ in range(draw(st.integers(1, last)))]


@st.composite
def interleaved(draw: st.DrawFn) -> list[WindowReport]:
    """Partitions that report their windows in order, each at its own pace; some stop, some never begin."""
    paces = draw(st.lists(st.integers(0, PARTITIONS - 1), max_size=40))
    reached = [0] * PARTITIONS
    reports = []
    for p in paces:
        reports.append(told(reached[p], p, errors=draw(st.sampled_from([0, 0, 0, 2]))))
        reached[p] += 1
    return reports


def decided(reports: Sequence[WindowReport], fold: Fold | None = None) -> list[GateDecision]:
    fold = fold or Fold(hold_every_ms=1000)
    made = fold.apply_command(0, START)
    for offset, r in enumerate(reports):
        made += fold.apply_report(offset, r)
    return made


@given(st.integers(1, 9), st.integers(1, 6), st.randoms(use_true_random=False))
def test_in_step_there_is_one_look_a_window(partitions: int, last: int, random: Random) -> None:
    """However many partitions there are, in whatever order they report it: at the last of them."""
    reports = []
    for window in range(last):
        order = list(range(partitions))
        random.shuffle(order)
        reports += [told(window, p, partitions) for p in order]

    assert looks(reports) == [(w + 1) * partitions - 1 for w in range(last)]


@given(interleaved())
def test_every_report_is_looked_at_by_the_next_one_of_its_partition(reports: list[WindowReport]) -> None:
    """So a partition that lags or is dead delays a look by one window of the others at most."""
    seen = looks(reports)
    for i, r in enumerate(reports):
        following = [j for j in range(i + 1, len(reports)) if reports[j].partition == r.partition]
        if following:
            assert any(i <= look <= following[0] for look in seen)


def test_where_only_one_partition_speaks_each_of_its_reports_is_looked_at() -> None:
    """From its second on: with the first, the others may only be slow."""
    assert looks([told(w, 0) for w in range(6)]) == [1, 2, 3, 4, 5]


@given(in_step(), st.integers(0, PARTITIONS - 1))
def test_a_partition_that_missed_a_window_makes_no_look_late(order: list[list[tuple[int, int]]], late: int) -> None:
    """Its first report ends the round of the window before; from then on each window has its look at its end."""
    windows = [[told(w, p) for p, _ in ranks if (w, p) != (0, late)] for w, ranks in enumerate(order)]
    seen, end = looks([r for reports in windows for r in reports]), 0
    for w, reports in enumerate(windows):
        end += len(reports)
        assert w == 0 or end - 1 in seen
    assert len(seen) <= len(windows) + 1


def test_an_early_report_is_looked_at_at_once_and_is_in_no_round() -> None:
    """The round around it ends where it would have ended."""
    plain = [told(w, p) for w in range(3) for p in range(PARTITIONS)]
    grave = [*plain[:4], early(1, 1), *plain[4:]]

    assert looks(plain) == [2, 5, 8]
    assert looks(grave) == [2, 4, 6, 9]


def test_a_round_without_news_needs_no_look() -> None:
    """What is worth a look waits for the end of its round, whichever report brought it."""
    rounds = Round()
    news = [False, False, False, True, False, False, False]
    due = [rounds.is_due(told(i // PARTITIONS, i % PARTITIONS), news=n) for i, n in enumerate(news)]

    assert due == [False] * 5 + [True, False]


@settings(max_examples=25, deadline=None)
@given(interleaved())
def test_a_look_sees_what_a_look_after_every_report_would_see_there(reports: list[WindowReport]) -> None:
    """Two folds at the same place of the same log, each with its rule: the same bytes."""
    rounds, always = Fold(hold_every_ms=1000), Fold(hold_every_ms=1000)
    with pytest.MonkeyPatch.context() as patch:
        rounds.apply_command(0, START)
        patch.setattr(folding, "Round", Always)
        always.apply_command(0, START)
    seen = set(looks(reports))
    for offset, r in enumerate(reports):
        ours, theirs = rounds.draft_report(offset, r), always.draft_report(offset, r)
        assert ours is None or offset in seen
        if ours is not None:
            assert theirs is not None
            assert ours.to_bytes() == theirs.to_bytes()
            rounds.commit(ours)
            always.commit(ours)


@settings(max_examples=25, deadline=None)
@given(in_step())
def test_the_order_of_partitions_within_a_window_changes_no_decision(order: list[list[tuple[int, int]]]) -> None:
    """After each whole window the same is decided as where they report in the order of their numbers."""
    drawn = decided([told(w, p, errors=e) for w, ranks in enumerate(order) for p, e in ranks])
    sorted_ = decided([told(w, p, errors=e) for w, ranks in enumerate(order) for p, e in sorted(ranks)])

    assert essence(drawn) == essence(sorted_)
    assert [d.windows_next for d in drawn] == [d.windows_next for d in sorted_]


@settings(max_examples=25, deadline=None)
@given(interleaved())
def test_a_replay_looks_at_the_same_places(reports: list[WindowReport]) -> None:
    """An auditor who has the two logs derives the same bytes."""
    again = replay(decided(reports, Fold()), [(0, START)], list(enumerate(reports)))

    assert again.identical, again.first_difference
