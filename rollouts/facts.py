"""Facts: what judge() must know of a rollout beside the verdicts of its gates.

Law: all of it follows from the ledger, in event time; what has not been seen is counted as not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from paritygate.gates.completeness import BROKEN_RATIO, Joined, joined
from paritygate.rollouts.ledger import Ledger
from paritygate.schemas.report import RouterGroup

#: So many windows in a row must have the hole: one may be a broker's hiccup.
BROKEN_WINDOWS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What judge() must know beside the verdicts. All times are event time in ms.

    ``in_stage_ms``: time in the stage. ``stage_pairs``: paired requests of the stage.
    ``candidate_answered``: it has answered at least once since the rollout began. ``candidate_silent_ms``:
    how long the baseline has answered while the candidate did not, 0 when it does; ``baseline_silent_ms``:
    the reverse. ``no_data_ms``: how long no arm has answered. ``stage_live``: requests of the stage whose users
    got the candidate's answer. ``lag_ms``: how far the slowest partition is behind; None while one is unknown.
    ``stage_known``: everything that the stage's users asked, joined or not; ``stage_unjoined``: what of it was
    not joined though the baseline answered. ``broken_windows``: of how many of the newest windows, one after
    the other, less than :data:`~paritygate.gates.completeness.BROKEN_RATIO` was joined. ``counted_ms``: how much
    of the stage's time its counts cover. ``routers``: the live routers, by what they really do; empty where none
    has spoken, None where they are not asked. ``cooling_ms``: what is left of the plan's pause after a rollback of
    its service.
    """

    in_stage_ms: int
    stage_pairs: int
    candidate_answered: bool
    candidate_silent_ms: int = 0
    baseline_silent_ms: int = 0
    no_data_ms: int = 0
    stage_live: int = 0
    lag_ms: int | None = None
    stage_known: int = 0
    stage_unjoined: int = 0
    broken_windows: int = 0
    counted_ms: int = 0
    routers: tuple[RouterGroup, ...] | None = ()
    cooling_ms: int = 0


def facts_of(ledger: Ledger) -> Facts:
    """What the evidence says beside the gates' measures; ``cooling_ms`` is for the fold, which knows the others."""
    at_ms = ledger.at_ms or 0
    first = at_ms if ledger.first_start_ms is None else ledger.first_start_ms
    candidate = first if ledger.candidate_until_ms is None else ledger.candidate_until_ms
    baseline = first if ledger.baseline_until_ms is None else ledger.baseline_until_ms
    stage = joined(ledger.stage)
    stage_from = first if ledger.stage_from_ms is None else ledger.stage_from_ms
    common = stage_from if ledger.common_ms is None else ledger.common_ms
    return Facts(
        in_stage_ms=at_ms - stage_from,
        stage_pairs=stage.pairs,
        candidate_answered=ledger.candidate_until_ms is not None,
        candidate_silent_ms=max(0, baseline - candidate),
        baseline_silent_ms=max(0, candidate - baseline),
        no_data_ms=max(0, at_ms - max(candidate, baseline)),
        stage_live=ledger.stage.count("live_candidate"),
        lag_ms=ledger.lag_ms,
        stage_known=stage.total,
        stage_unjoined=stage.unjoined,
        broken_windows=_broken_windows(ledger) if _broken(stage) else 0,
        counted_ms=max(0, common - stage_from),
        routers=ledger.routers,
    )


def _broken(windows: Joined) -> bool:
    return windows.total - windows.unjoined < BROKEN_RATIO * windows.total


def _broken_windows(ledger: Ledger) -> int:
    """How many of the newest windows have a hole, one after the other; those without a request say nothing."""
    with_requests = (found for window in ledger.newest_windows() if (found := joined(window)).total)
    return sum(1 for _ in islice(takewhile(_broken, with_requests), BROKEN_WINDOWS))
