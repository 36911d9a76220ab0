"""Dropout: are the requests that could not be compared lost by chance, or more in one segment than in others?

Law: it is never bad evidence against the candidate and can only hold. What remains after a loss that depends
on the segment is no sample of what was sent: its rates may be right nowhere. A candidate's missing answer is a
failure and is judged as one, so only what has no verdict counts here: no baseline answer, or shed. A loss that
leaves 99 % of a segment is borne there as it is borne everywhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.dependence import log_e_dependence
from paritygate.gates.completeness import LEAST_RATIO
from paritygate.gates.evidence import Sums, reached
from paritygate.gates.reasons import number, percent, some
from paritygate.gates.verdict import Verdict, VerdictKind

NAME: Final = "informative_dropout"
_LOST: Final = ("missing_baseline", "shed")


def assess_dropout(sums: Sums, alpha: float) -> Verdict | None:
    """Whether the stage lost more of some segment, with at most chance ``alpha`` of saying so falsely.

    None where nothing speaks for it. The weighted mean over all segments must reach 1 / ``alpha``, with the
    weights of :mod:`~paritygate.gates.segments`. The null is one rate of loss for every request of the stage, so
    an outage of some seconds that struck a passing mix of segments counts as dependence too, and rightly: that
    mix is missing.
    """
    table = sums.stage_segments
    every_lost = sum(sums.in_stage(name) for name in _LOST)
    if not len(table) or not every_lost:
        return None
    lost = np.sum([table.count(name) for name in _LOST], axis=0)
    sent = table.count("requests") + lost
    every_sent = sums.in_stage("requests") + every_lost
    log_e = log_e_dependence(lost, sent, every_lost, every_sent)
    hurt = (lost > (1.0 - LEAST_RATIO) * sent) & (lost * every_sent > every_lost * sent)
    # Less evidence is always allowed: what is not hurt says nothing.
    log_e = np.where(hurt, log_e, np.minimum(log_e, 0.0))
    together = table.with_all(0.0, log_e)
    if not reached(together, alpha):
        return None
    first = int(np.argmax(np.round(log_e, 6)))
    rest_lost, rest = every_lost - int(lost[first]), every_sent - int(sent[first])
    reason = (
        f"{some(int(lost[first]), int(sent[first]), 'request')} of {table.name(first)} could not be compared"
        f" ({percent(lost[first] / sent[first])}), elsewhere {percent(rest_lost / rest)}:"
        " what is left is no fair sample"
    )
    return Verdict(
        gate=NAME,
        kind=VerdictKind.INCONCLUSIVE,
        reason=reason,
        reason_code=NAME,
        segment=table.name(first),
        numbers={
            "value": number(lost[first] / sent[first]),
            "elsewhere": number(rest_lost / rest),
            "lost": int(lost[first]),
            "total": int(sent[first]),
            "log_e_bad": number(together),
        },
    )
