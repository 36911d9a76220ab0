"""Label shift: gates on how far the candidate has moved the share of any one label.

Law: judged on pairs alone, a fail by the mixture over onsets and a pass by the stage. The answers that users saw
are compared too, as far as that can honestly be done without pairs: it tells that labels depend on the arm, not by
how much, so it is shown beside the verdict and decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from paritygate.comparators import labels
from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.labels import TESTS, log_e_moved, log_e_stayed, log_e_unlike
from paritygate.comparators.evidence.mixture import more_needed
from paritygate.comparators.tally import Counts, Tally
from paritygate.gates.evidence import Alphas, Evidence, Sums, reached
from paritygate.gates.onsets import ALPHA, late_onset
from paritygate.gates.reasons import about, between, many, number, percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

Numbers = dict[str, float | int | None]
_MISSING: Final = "no label"


class LabelCounts:
    """Histograms of labels of one tally; zeros where it holds none."""

    def __init__(self, tally: Tally) -> None:
        self._histograms = tally.histograms
        self.up, self.down = self.named("up"), self.named("down")
        self.pairs = int(self.named("candidate").sum())

    def named(self, name: str) -> Counts:
        """A dense array of the tally."""
        found = self._histograms.get(f"{labels.FAMILY}.{name}")
        return np.zeros(labels.BUCKETS, np.int64) if found is None else found

    @property
    def contradicts(self) -> bool:
        """Whether the counts of changes do not belong to the labels."""
        return bool((self.up - self.down != self.named("candidate") - self.named("baseline")).any())


@dataclass(frozen=True, slots=True)
class _Largest:
    """The bucket whose share has changed most, with bounds that hold for all buckets at once."""

    bucket: int
    shift: float
    low: float
    high: float

    @classmethod
    def of(cls, counts: LabelCounts, alpha: float = ALPHA) -> _Largest:
        moved = counts.up - counts.down
        bucket = int(np.argmax(np.abs(moved)))
        more, less = int(counts.up[bucket]), int(counts.down[bucket])
        low, high = interval.rate_difference(more, less, counts.pairs, alpha * 2.0 / TESTS)
        if moved[bucket] < 0:
            low, high = -high, -low
        return cls(bucket, float(moved[bucket]) / counts.pairs, max(low, 0.0), high)

    @property
    def words(self) -> str:
        """``the share of label bucket 17 moved by +3.1 % (surely 2 % to 4.2 %)``."""
        place = _MISSING if self.bucket == labels.NONE else f"label bucket {self.bucket}"
        sign = "-" if self.shift < 0 else "+"
        bounds = between(self.low, self.high)
        return f"the share of {place} moved by {sign}{percent(abs(self.shift))} (size surely {bounds})"


def assess_label_shift(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a ``maximum`` on the largest change of a label's share."""
    evidence = sums.evidence
    whole, stage = LabelCounts(evidence.whole), LabelCounts(evidence.stage)
    numbers: Numbers = {"limit": spec.limit, "total": stage.pairs, "whole_total": whole.pairs}
    seen = _live(evidence, numbers, alphas)

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    if whole.contradicts or stage.contradicts:
        return say(VerdictKind.ERROR, "source_broken", "the counts of changed labels do not belong to the labels")
    if not whole.pairs:
        return say(VerdictKind.INCONCLUSIVE, "no_data", f"no pair with a label has come yet{seen}")
    up, down, candidate = (
        sums.histogram_since(f"{labels.FAMILY}.{name}", labels.BUCKETS) for name in ("up", "down", "candidate")
    )
    since = log_e_moved(up, down, candidate.sum(axis=1), spec.limit)
    log_e_bad = sums.over_starts(since)
    failed = reached(log_e_bad, alphas.rollback)
    numbers["log_e_bad"] = number(log_e_bad)
    if not failed and not stage.pairs:
        reason = f"no pair of stage {evidence.stage_name} has a label yet{seen}"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    shown = whole if failed else stage
    largest = _Largest.of(shown)
    numbers |= {
        "value": number(abs(largest.shift)),
        "low": number(largest.low),
        "high": number(largest.high),
        "bucket": largest.bucket,
        "candidate_without": int(shown.named("candidate")[labels.NONE]),
    }
    words = f"{largest.words} on {many(shown.pairs, 'pair')}"
    if failed:
        onset, tail = late_onset(sums, since), ""
        if onset is not None:
            later = LabelCounts(sums.from_start(onset.start).evidence.whole)
            found = _Largest.of(later, onset.alpha)
            numbers |= onset.numbers(later.pairs, abs(found.shift), found.low, found.high)
            words, tail = f"{onset.since} {found.words} on {many(later.pairs, 'pair')}", f"; in all {words}"
        allowed = f"more than the {percent(spec.limit)} allowed"
        return say(VerdictKind.FAIL, "breached", f"{words}: {allowed}{tail}{seen}")
    log_e_ok, wealth = log_e_stayed(stage.up, stage.down, stage.pairs, spec.limit)
    numbers["log_e_ok"] = number(log_e_ok)
    short = max(spec.minimum_samples - stage.pairs, 0)
    if reached(log_e_ok, alphas.promote) and not short:
        reason = f"{words}: every share proven to have moved by less than {percent(spec.limit)}{seen}"
        return say(VerdictKind.PASS, "proven", reason)
    needed = more_needed(wealth, stage.pairs, log_e_ok, math.log(1.0 / alphas.promote))
    if needed is None:
        reason = f"{words}: as things stand less than {percent(spec.limit)} cannot be proven{seen}"
    else:
        numbers["more_needed"] = amount = max(needed, short)
        bound = f"less than {percent(spec.limit)} of every label"
        reason = f"{words}; {about(amount)} are needed to prove {bound}{seen}"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _live(evidence: Evidence, numbers: Numbers, alphas: Alphas) -> str:
    """What the labels that users saw in this stage say, for the end of the sentence; nothing where they agree.

    In one stage only: over stages the weight changes, and with it which arm a label of that hour met.
    """
    counts = LabelCounts(evidence.stage)
    candidate, baseline = (counts.named(f"live_{arm}") for arm in ("candidate", "baseline"))
    if not 0 < evidence.weight < 100 or not candidate.any() or not baseline.any():
        return ""
    log_e = log_e_unlike(candidate, baseline, evidence.weight / 100.0)
    numbers |= {"log_e_live": number(log_e), "live_total": int(candidate.sum() + baseline.sum())}
    if not reached(log_e, alphas.rollback):
        return ""
    return "; the labels that users saw depend on the version (only shown: it says nothing of the size)"
