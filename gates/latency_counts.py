"""Latency counts: the histograms of one judgement, and the words and numbers that gates on latency share.

Law: at every edge the paired counts belong to the two histograms, or there is something to complain of.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from paritygate.comparators.latency import BUCKETS, NEVER, quantile_ms
from paritygate.comparators.tally import Tally
from paritygate.gates.evidence import Sums
from paritygate.gates.measures import QUANTILES
from paritygate.gates.onsets import Onset
from paritygate.gates.reasons import about, milliseconds, number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

I64 = npt.NDArray[np.int64]
Numbers = dict[str, float | int | None]


class LatencyCounts:
    """Histograms and difference arrays of one tally; zeros where it holds none."""

    def __init__(self, tally: Tally) -> None:
        self._histograms = tally.histograms
        self.baseline, self.candidate = self.named("latency.baseline"), self.named("latency.candidate")
        self.pairs = int(self.candidate.sum())

    def named(self, name: str) -> I64:
        """A dense array of the tally."""
        found = self._histograms.get(name)
        return np.zeros(BUCKETS, np.int64) if found is None else found

    def exceed(self, shift: int) -> tuple[I64, I64]:
        """Difference arrays (up, down) at a bucket shift."""
        return self.named(f"exceed.{shift}.up"), self.named(f"exceed.{shift}.down")

    def contradiction(self, shift: int) -> str | None:
        """What is wrong with the arrays at a shift: at every edge, up - down is candidate - baseline."""
        if int(self.baseline.sum()) != self.pairs:
            return "the two latency histograms hold different numbers of pairs"
        up, down = (np.cumsum(part) for part in self.exceed(shift))
        place = np.clip(np.arange(BUCKETS) + shift, 0, NEVER)
        reaching = np.cumsum(self.candidate[::-1])[::-1][place] - np.cumsum(self.baseline[::-1])[::-1]
        if (up - down != reaching).any():
            return f"the paired counts exceed.{shift} do not belong to the latency histograms"
        return None


def counts_since(sums: Sums, start: int) -> LatencyCounts:
    """The two histograms since an onset."""
    names = ("latency.baseline", "latency.candidate")
    return LatencyCounts(Tally((), histograms={n: sums.histogram_since(n, BUCKETS)[start] for n in names}))


def onset_quantiles(onset: Onset, counts: LatencyCounts, p: float) -> Numbers:
    """What is stored of the pairs since an onset."""
    numbers: Numbers = {"onset_at_ms": onset.at_ms, "onset_total": counts.pairs}
    for arm, histogram in (("baseline", counts.baseline), ("candidate", counts.candidate)):
        numbers[f"onset_{arm}_p{100 * p:.0f}_ms"] = number(quantile_ms(histogram, p))
    return numbers


def quantiles(spec: GateSpec, counts: LatencyCounts, whole: LatencyCounts) -> Numbers:
    """What is stored of the pairs that a verdict shows."""
    shown = sorted({0.50, 0.95, QUANTILES[spec.measure]})
    numbers: Numbers = {
        "limit": spec.limit,
        "total": counts.pairs,
        "whole_total": whole.pairs,
        "unanswered": int(counts.candidate[NEVER]),
    }
    for arm, histogram in (("baseline", counts.baseline), ("candidate", counts.candidate)):
        numbers |= {f"{arm}_p{100 * p:.0f}_ms": number(quantile_ms(histogram, p)) for p in shown}
    return numbers


def stand(spec: GateSpec, numbers: Numbers, *, pairs: int, needed: int | None, words: str, bound: str) -> Verdict:
    """The stage's verdict: proven where nothing more is ``needed`` and the floor is met."""
    if needed is None:
        reason = f"{words}: as things stand {bound} cannot be proven"
        return say(spec, VerdictKind.INCONCLUSIVE, "more_data", reason, numbers)
    needed = max(needed, spec.minimum_samples - pairs)
    if needed <= 0:
        return say(spec, VerdictKind.PASS, "proven", f"{words}: proven {bound}", numbers)
    reason = f"{words}; {about(needed)} pairs are needed to prove {bound}"
    return say(spec, VerdictKind.INCONCLUSIVE, "more_data", reason, numbers | {"more_needed": needed})


def name(p: float) -> str:
    """``p95``."""
    return f"p{100 * p:.0f}"


def in_ms(value: float | None) -> str:
    """A quantile in words."""
    if value is None:
        return "unknown"
    return milliseconds(value) if math.isfinite(value) else "never (it failed too often)"


def say(spec: GateSpec, kind: VerdictKind, code: str, reason: str, numbers: Numbers) -> Verdict:
    """The verdict of a gate on latency."""
    return Verdict(
        gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
    )
