"""Doctor's reading of what the workers left beside their positions. Pure.

Law: the bins of a partition add up to the offsets it has counted, and the offsets it names are those that were
committed; what was never left is skipped, not taken for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from paritygate.cli.finding import Check, Result
from paritygate.schemas.standing import Standing

#: A worker writes its standing at each checkpoint, every second by default.
OLD_AFTER_S = 30.0
_NOTHING = "no worker has committed a position yet"
_MEND = "look at the workers' logs; 'paritygate worker' starts one"


def join_check(standings: Mapping[int, Standing], now_ms: int) -> Check:
    """Watermark, waiting requests, what is left to read again, seconds by stage."""
    if not standings:
        return Check("join", Result.SKIP, _NOTHING)
    newest_s = (now_ms - max(s.written_at_ms for s in standings.values())) / 1000
    oldest_s = (now_ms - min(s.written_at_ms for s in standings.values())) / 1000
    marks = [s.watermark_ms for s in standings.values() if s.watermark_ms is not None]
    parts = [
        f"{len(standings)} partition(s) told {max(0.0, newest_s):.0f} s ago",
        f"the slowest watermark is {max(0.0, (now_ms - min(marks)) / 1000):.0f} s old" if marks else "no watermark",
        f"{sum(s.pending for s in standings.values()):,} events wait for their other arm",
    ]
    left = sum(s.replay_left for s in standings.values())
    if left:
        parts.append(f"{left:,} offsets to read again after a restart")
    parts += [f"{name}: {text}" for name, text in _stages(standings).items()]
    detail = "; ".join(parts)
    if oldest_s > OLD_AFTER_S:
        stale = [p for p, s in standings.items() if (now_ms - s.written_at_ms) / 1000 > OLD_AFTER_S]
        where = ", ".join(map(str, sorted(stale)))
        return Check(
            "join", Result.WARN, f"partition(s) {where} told nothing for {oldest_s:.0f} s; {detail}", _MEND
        )
    return Check("join", Result.OK, detail)


def bin_check(standings: Mapping[int, Standing], positions: Mapping[tuple[str, int], int]) -> Check:
    """Do the bins add up to the offsets read, and are these the offsets committed?"""
    if not standings:
        return Check("bins", Result.SKIP, _NOTHING)
    wrong = [f"partition {p} by {s.unaccounted:+,}" for p, s in sorted(standings.items()) if s.unaccounted]
    other = [
        f"{topic}-{p} at {positions[topic, p]:,}, told {after:,}"
        for p, s in sorted(standings.items())
        for topic, (_, after) in s.ranges.items()
        if positions.get((topic, p), after) != after
    ]
    bins: Counter[str] = Counter()
    for standing in standings.values():
        bins.update(standing.bins)
    offsets = sum(s.offsets for s in standings.values())
    detail = f"{offsets:,} offsets counted = {bins.total():,} in bins: " + (
        ", ".join(f"{name} {count:,}" for name, count in bins.most_common()) or "none yet"
    )
    if wrong:
        why = f"records are in no bin, or in two ({', '.join(wrong)})"
        return Check("bins", Result.FAIL, f"{why}; {detail}", "a fault of the join: keep the topics and report it")
    if other:
        why = f"somebody else moved the group's positions ({', '.join(other)})"
        return Check("bins", Result.WARN, f"{why}; {detail}", "no count depends on them; the worker commits anew")
    return Check("bins", Result.OK, detail)


def _stages(standings: Mapping[int, Standing]) -> dict[str, str]:
    """Shares of each worker's seconds."""
    found: dict[str, str] = {}
    for standing in standings.values():
        total_s = sum(standing.stages.values())
        if total_s > 0:
            shares = (f"{name} {took_s / total_s:.0%}" for name, took_s in standing.stages.items() if took_s > 0)
            found[standing.worker] = ", ".join(shares)
    return found
