"""Dropout: are the requests that could not be compared lost by chance, or more in one segment than in others?

Law: it is never bad evidence against the candidate and can only hold. What remains after a loss that depends
on the segment is no sample of what was sent: its rates may be right nowhere. A candidate's missing answer is a
failure and is judged as one, so only what has no verdict counts here: no baseline answer, or shed. A loss that
leaves 99 % of a segment is borne there as it is borne everywhere, unless it could hide a breach: where loss depends
on the segment at all, and an absolute limit would be broken if everything lost had been bad (:func:`worst_case`),
the gate itself does not pass.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.dependence import log_e_dependence
from paritygate.gates.columns import COLUMNS
from paritygate.gates.completeness import LEAST_RATIO
from paritygate.gates.evidence import Sums, reached
from paritygate.gates.findings import bad_limit
from paritygate.gates.measures import Rule
from paritygate.gates.reasons import number, percent, some
from paritygate.gates.spec import GateSpec
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


def _depends(sums: Sums, alpha: float) -> bool:
    """Whether loss depends on the segment at all, however little of it there is."""
    table, every_lost = sums.stage_segments, sum(sums.in_stage(name) for name in _LOST)
    if not len(table) or not every_lost:
        return False
    lost = np.sum([table.count(name) for name in _LOST], axis=0)
    log_e = log_e_dependence(
        lost, table.count("requests") + lost, every_lost, sums.in_stage("requests") + every_lost
    )
    return reached(table.with_all(0.0, log_e), alpha)


def worst_case_rate(spec: GateSpec, sums: Sums) -> float | None:
    """The candidate's bad share of the stage if everything lost had been bad; None for other rates and rules."""
    columns = COLUMNS[spec.measure]
    if columns.paired is None or spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        return None
    lost, total = sum(sums.in_stage(name) for name in _LOST), sums.in_stage(columns.total)
    return (sums.in_stage(columns.bad) + lost) / (total + lost) if total + lost else None


def worst_case(spec: GateSpec, sums: Sums, alpha: float) -> str | None:
    """Why the loss may hide a breach of an absolute limit; None where it cannot, or is not informative."""
    rate = worst_case_rate(spec, sums)
    if rate is None or rate <= bad_limit(spec) or not _depends(sums, alpha):
        return None
    lost = sum(sums.in_stage(name) for name in _LOST)
    missing = "what could not be compared is lost in one segment more than in others"
    return f"{missing}, and with the {lost:,} lost it could be {percent(rate)}, over {percent(bad_limit(spec))}"
