"""Columns: which counts of a tally make up each rate that a gate can be declared on.

Law: a rate is bad over total, both from the same requests; one that has no such column has None, and what
needs it is not tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of counts (``comparators.tally.COUNT_NAMES``), and the words for them.

    ``live``: (bad, total) among answers that users saw. ``paired``: pairs in which (only the candidate, only
    the baseline) was bad. ``baseline``: (bad, total) of the baseline. ``within``: the measure of which all of the
    bad ones are bad ones too, so that whoever watches that one watches this one.
    """

    bad: str
    total: str
    noun: str
    verb: str
    live: tuple[str, str] | None = None
    paired: tuple[str, str] | None = None
    baseline: tuple[str, str] | None = None
    within: str | None = None


COLUMNS: Final[dict[str, Columns]] = {
    "error_rate": Columns(
        bad="candidate_errors",
        total="requests",
        noun="request",
        verb="failed",
        live=("live_candidate_errors", "live_candidate"),
        paired=("candidate_only_errors", "baseline_only_errors"),
        baseline=("baseline_errors", "requests"),
    ),
    "timeout_rate": Columns(
        bad="candidate_timeouts",
        total="timeouts_counted",
        noun="request",
        verb="timed out",
        live=("live_candidate_timeouts", "live_candidate"),
        paired=("candidate_only_timeouts", "baseline_only_timeouts"),
        baseline=("baseline_timeouts", "timeouts_counted"),
        within="error_rate",
    ),
    "schema_validation_pass_rate": Columns(
        bad="candidate_invalid",
        total="candidate_checked",
        noun="output",
        verb="broke the output rules",
        live=("live_candidate_invalid", "live_candidate_checked"),
        paired=("candidate_only_invalid", "baseline_only_invalid"),
        baseline=("baseline_invalid", "baseline_checked"),
    ),
    "label_change_rate": Columns(
        bad="label_changes", total="labels_compared", noun="labelled pair", verb="changed their label"
    ),
    "output_change_rate": Columns(bad="output_changes", total="pairs", noun="pair", verb="changed their output"),
}
#: The name under which :data:`LATENCY` stands in findings.
LATENCY_PARITY: Final = "latency_parity"
#: Pairs that both arms answered, one of them clearly slower than it may be (``comparators.measuring.CLEARLY``).
#: No gate is declared on it: the rate says nothing, only which arm has more of them.
LATENCY: Final = Columns(
    bad="slower",
    total="pairs",
    noun="pair",
    verb="were clearly slower",
    paired=("slower", "faster"),
    baseline=("faster", "pairs"),
)


def columns_of(measure: str) -> Columns:
    """Columns of a measure, or of the latency check."""
    return LATENCY if measure == LATENCY_PARITY else COLUMNS[measure]
