"""Outcome: when each simulated rollout was rolled back and when it was promoted, and the rates of that.

Law: a rollback or promotion counts at whichever look it comes; a rollout that is still held when the
simulation ends is neither. Delays count pairs up to the look at which the rollback came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: "It never came": a look later than any.
NEVER: Final = np.iinfo(np.int64).max

#: Rates 0..1 and delays in pairs, by the names of the result file; None where the case has none.
Rates = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per rollout: pairs seen at its first rollback and at its first promotion, ``NEVER`` where none came."""

    rollback: I64
    promote: I64


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Outcomes of several chunks of rollouts."""
    return Outcome(np.concatenate([p.rollback for p in parts]), np.concatenate([p.promote for p in parts]))


def outcome(failed: Mask, passed: Mask, pairs: I64) -> Outcome:
    """From what the gate said at every look, ``[runs, looks]``, and the ``pairs`` seen at each look."""
    return Outcome(first(failed, pairs), first(passed, pairs))


def first(said: Mask, pairs: I64) -> I64:
    """Pairs at the first look with ``said``, per run."""
    found: I64 = np.where(said.any(axis=1), pairs[np.argmax(said, axis=1)], NEVER)
    return found


def rates(found: Outcome, *, within: bool, beyond: bool) -> Rates:
    """The rates that mean something: ``within`` the limit a rollback is false, ``beyond`` it a promotion is.

    Exactly at the limit both are. A promotion that comes after a rollback does not count.
    """
    wrong = found.promote < np.minimum(found.rollback, NEVER)
    sick = beyond and not within
    return {
        "false_rollback": float((found.rollback < NEVER).mean()) if within else None,
        "false_promote": float(wrong.mean()) if beyond else None,
        "delay_pairs_p50": _quantile(found.rollback, 0.5) if sick else None,
        "delay_pairs_p90": _quantile(found.rollback, 0.9) if sick else None,
    }


def _quantile(delay: I64, p: float) -> int | None:
    """The smallest delay that at least ``p`` of the rollouts keep; None where fewer were rolled back at all."""
    found = int(np.sort(delay)[int(np.ceil(p * len(delay))) - 1])
    return found if found < NEVER else None
