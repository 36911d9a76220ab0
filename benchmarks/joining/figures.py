"""What a run of an engine gives, and the figure that is taken from it.

Law: one definition of the rate for every engine. An engine's progress is what came out of it: when, and how many
pairs by then. The rate is that of the steady part, from the first moment at which ``FROM`` of the pairs are out
to the first at which ``TO`` of them are: neither the start of a process nor the last window's wait is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

FROM = 0.15
TO = 0.95

Progress = Sequence[tuple[int, int]]


@dataclass(slots=True)
class Run:
    """One run. ``progress``: (UTC epoch milliseconds, pairs that were out by then), rising.

    ``rss_mib``: the peaks of its processes together; ``rss_over_time``: what they held at the same instants.
    ``cpu_s``: processor seconds of its processes from start to end. ``wrong``: how its counts differ from what was
    in the topics; empty where they do not. ``stages_s``: seconds of a worker's join by stage.
    """

    pairs: int
    progress: list[tuple[int, int]] = field(default_factory=list)
    rss_mib: float = 0.0
    rss_over_time: list[tuple[int, float]] = field(default_factory=list)
    cpu_s: float = 0.0
    wrong: str = ""
    stages_s: dict[str, float] = field(default_factory=dict)

    @property
    def pairs_per_s(self) -> float:
        """The rate of the steady part."""
        return steady_rate(self.progress, self.pairs)


def steady_rate(progress: Progress, total: int) -> float:
    """Pairs a second of the steady part; 0 where too little came out to tell."""
    begin = next(((ms, n) for ms, n in progress if n >= FROM * total), None)
    end = next(((ms, n) for ms, n in progress if n >= TO * total), None)
    if begin is None or end is None or end[0] <= begin[0]:
        return 0.0
    return (end[1] - begin[1]) * 1000 / (end[0] - begin[0])


def growth_percent(run: Run) -> float | None:
    """How far the memory at the end is from that after a fifth of the pairs, in percent; None: too short."""
    begin = next((ms for ms, n in run.progress if n >= run.pairs / 5), None)
    end = next((ms for ms, n in run.progress if n >= TO * run.pairs), None)
    if begin is None or end is None:
        return None
    early = [mib for ms, mib in run.rss_over_time if begin <= ms < begin + (end - begin) / 4]
    late = [mib for ms, mib in run.rss_over_time if end - (end - begin) / 4 <= ms <= end]
    return 100 * (median(late) / median(early) - 1) if early and late else None


def stages_us(run: Run) -> dict[str, float]:
    """Microseconds a pair by stage."""
    return {name: round(seconds / run.pairs * 1e6, 3) for name, seconds in run.stages_s.items()}


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """An engine's entry in the result file."""
    rates = sorted(run.pairs_per_s for run in runs)
    return {
        "pairs_per_s": {"median": round(median(rates)), "min": round(rates[0]), "max": round(rates[-1])},
        "rss_mib": round(max(run.rss_mib for run in runs)),
        "pairs_per_cpu_s": round(median(run.pairs / run.cpu_s for run in runs))
        if all(r.cpu_s for r in runs)
        else None,
        "pairs": runs[0].pairs,
        "runs": len(runs),
        "correct": not any(run.wrong for run in runs),
    }
