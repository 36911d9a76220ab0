"""Evidence: the tallies a judgement rests on, and the sums over them that several gates share.

Law: whatever may roll back rests on everything since the rollout began, whatever may promote on the current
stage alone. Sums are taken once per judgement, over cells in sorted order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence.mixture import log_mixture, start_log_weights
from paritygate.comparators.instances import InstanceMinutes
from paritygate.comparators.tally import INDEX, Counts, Tally
from paritygate.gates.segments import SegmentTable

F64 = npt.NDArray[np.float64]

#: Log weights of the starts of an e-process: half for the start of the rollout, a quarter for pane starts,
#: and 1/32 for the start of each stage (a ladder has eight at most; the part of past stages is given up).
#: Panes that are never cut anew make this a mixture with fixed weights. Where old panes are merged to make
#: room, starts are given up and their weight is used again: each doubling adds at most 1/8 to the sum.
WHOLE_LOG_WEIGHT: Final = math.log(1 / 2)
STAGE_LOG_WEIGHT: Final = math.log(1 / 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one rollout at one moment; closed windows only.

    ``whole``: since the rollout began. ``stage``: since the current stage began. ``panes``: coarse parts of
    ``whole``, oldest first, whose starts an onset may have; may be empty. ``pane_starts_ms``,
    ``stage_from_ms``: event time at which they begin, where known. ``pane_counts``: what each pane holds over all
    cells, ``[panes, COUNT_NAMES]``, where it has been added up already. ``live_batches``: rows
    (live_candidate, live_baseline, bad_candidate, bad_baseline) of the windows with a live error, in window
    order. ``minutes``: counts of each minute that has closed in event time, ``[minutes, COUNT_NAMES]``, oldest
    first. ``opening``: counts of the first minute of the rollout. ``instances``: the closed minutes by instance;
    None where the join does not count them. ``weight``: whole percent of live traffic to the candidate.
    ``obeyed``: live answers (candidate, baseline) of the stage's windows that begin when routers have had time to
    obey it.
    """

    whole: Tally
    stage: Tally
    panes: tuple[Tally, ...] = ()
    pane_starts_ms: tuple[int, ...] = ()
    pane_counts: Counts | None = None
    stage_from_ms: int | None = None
    live_batches: npt.NDArray[np.int64] | None = None
    minutes: Counts | None = None
    opening: Counts | None = None
    instances: InstanceMinutes | None = None
    stage_name: str
    weight: int
    obeyed: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Alphas:
    """Chances of error of one gate: of a false rollback over the whole rollout, of a false pass per stage."""

    rollback: float
    promote: float


class Sums:
    """Counts of an :class:`Evidence`, each computed at most once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._histograms: dict[str, Counts] = {}

    @property
    def whole(self) -> Counts:
        """Counts over all cells since the rollout began."""
        return self.segments.total

    @property
    def stage(self) -> Counts:
        """Counts over all cells since the stage began."""
        return self.stage_segments.total

    def in_whole(self, name: str) -> int:
        """A count since the rollout began."""
        return int(self.whole[INDEX[name]])

    def in_stage(self, name: str) -> int:
        """A count since the stage began."""
        return int(self.stage[INDEX[name]])

    @cached_property
    def starts(self) -> Counts:
        """Counts since each possible onset: row 0 the rollout's start, row 1 the stage's, then the panes'."""
        panes = self.evidence.pane_counts
        if panes is None:
            panes = np.array([pane.overall() for pane in self.evidence.panes], np.int64).reshape(
                -1, len(self.whole)
            )
        later = self.whole - np.cumsum(panes[:-1], axis=0)
        return np.vstack([self.whole, self.stage, later])

    @cached_property
    def _start_log_weights(self) -> F64:
        later = start_log_weights(len(self.starts) - 2) - math.log(2.0)
        return np.concatenate([[WHOLE_LOG_WEIGHT, STAGE_LOG_WEIGHT], later])

    def since(self, name: str) -> Counts:
        """One count since each possible onset."""
        column: Counts = self.starts[:, INDEX[name]]
        return column

    def histogram_since(self, name: str, buckets: int) -> Counts:
        """One histogram since each possible onset, ``[starts, buckets]``."""
        found = self._histograms.get(name)
        if found is None:
            evidence, nothing = self.evidence, np.zeros(buckets, np.int64)
            tallies = (evidence.whole, evidence.stage, *evidence.panes[:-1])
            found = np.array([tally.histograms.get(name, nothing) for tally in tallies])
            # Row by row: a running sum down the columns of a long array takes several times as long.
            rest = found[0]
            for row in found[2:]:
                rest = np.subtract(rest, row, out=row)
            self._histograms[name] = found
        return found

    def from_start(self, start: int) -> Sums:
        """The sums of what came since a row of :attr:`starts`."""
        evidence = self.evidence
        if start < 2:
            tally = evidence.stage if start else evidence.whole
        else:
            tally = Tally(evidence.whole.dimensions)
            for pane in evidence.panes[start - 1 :]:
                tally.add(pane)
        return Sums(replace(evidence, whole=tally, panes=(), pane_counts=None))

    def start_at_ms(self, start: int) -> int | None:
        """When a row of :attr:`starts` other than the first begins, in event time; None where it is not known."""
        if start == 1:
            return self.evidence.stage_from_ms
        known = self.evidence.pane_starts_ms
        return known[start - 1] if start - 1 < len(known) else None

    def start_log_weight(self, start: int) -> float:
        """log of the part of the mixture that an onset has."""
        return float(self._start_log_weights[start])

    def over_starts(self, log_e: F64) -> float:
        """log E of the mixture over onsets, from log E of each row of :attr:`starts`."""
        return float(log_mixture(self._start_log_weights, log_e))

    def loudest_start(self, log_e: F64) -> int:
        """The onset (a row of :attr:`starts`) that says most in :meth:`over_starts`; the earliest of equals."""
        return int(np.argmax(np.round(log_e + self._start_log_weights, 6)))

    def by_minute(self, name: str) -> Counts:
        """One count of each closed minute, oldest first."""
        minutes = self.evidence.minutes
        return np.zeros(0, np.int64) if minutes is None else minutes[:, INDEX[name]]

    def in_opening(self, name: str) -> int:
        """A count of the first minute of the rollout."""
        opening = self.evidence.opening
        return 0 if opening is None else int(opening[INDEX[name]])

    @cached_property
    def segments(self) -> SegmentTable:
        """Counts of every segment since the rollout began."""
        return SegmentTable(self.evidence.whole)

    @cached_property
    def stage_segments(self) -> SegmentTable:
        """Counts of every segment since the stage began."""
        return SegmentTable(self.evidence.stage)


def floored(log_e: F64, bad: Counts, least: int) -> F64:
    """Evidence that rests on fewer than ``least`` bad events counts as no evidence; that can only delay."""
    return np.where(bad >= least, log_e, np.minimum(log_e, 0.0))


def reached(log_e: float, alpha: float) -> bool:
    """Whether E >= 1 / alpha. Both sides are rounded, so that the last bits of a sum decide nothing."""
    return round(log_e, 6) >= round(math.log(1.0 / alpha), 6)
