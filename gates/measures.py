"""Measures: the table of everything that a gate can be declared on. The reference page is written from it.

Law: a measure that is not in this table is an outcome measure (a KPI in 0..1 from ``outcomes.v1``), and the
only rule for those is ``minimum_delta``; or, where the gate says so, a number that the events themselves carry.
Missing data never makes a gate pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final


@unique
class Rule(StrEnum):
    """How a limit is meant. One gate has exactly one."""

    MAXIMUM = "maximum"  # the candidate's own value, at most
    MINIMUM = "minimum"  # the candidate's own value, at least
    MAXIMUM_REGRESSION_PERCENT = "maximum_regression_percent"  # candidate over baseline, at most +x %
    MINIMUM_DELTA = "minimum_delta"  # candidate minus baseline, at least
    MAXIMUM_DELTA = "maximum_delta"  # candidate minus baseline, at most


@unique
class Kind(StrEnum):
    """Which evidence belongs to a measure."""

    RATE = "rate"
    LATENCY = "latency"
    OUTCOME = "outcome"
    EVENTS = "events"
    DRIFT = "drift"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row. ``minimum_samples``: observations in the stage before a pass, unless the gate says otherwise.

    ``higher_is_better`` is the measure's own direction; ``paired``: whether the same requests' two answers
    are compared. ``without_data``: what a gate on it says when nothing was measured.
    """

    name: str
    kind: Kind
    unit: str
    summary: str
    rules: tuple[Rule, ...]
    higher_is_better: bool = False
    paired: bool = True
    minimum_samples: int = 100
    without_data: str = "inconclusive (no_data): holds"


#: Latency quantiles by measure name.
QUANTILES: Final[dict[str, float]] = {
    "latency_p50_ms": 0.50,
    "latency_p90_ms": 0.90,
    "latency_p95_ms": 0.95,
    "latency_p99_ms": 0.99,
}
#: The measure that makes the join count labels by what they are.
LABEL_SHIFT: Final = "label_shift"
#: What a gate's ``source`` may be: numbers that events carry in ``measures``.
EVENTS_SOURCE: Final = "events"
_DELTA_RULES: Final = (Rule.MINIMUM_DELTA, Rule.MAXIMUM_DELTA)
_LATENCY_RULES: Final = (Rule.MAXIMUM_REGRESSION_PERCENT, Rule.MAXIMUM)

_NUMBER_WITHOUT: Final = "inconclusive (no_data): holds; of one arm only: no harm, and the worst for a pass"

_ROWS: Final[tuple[Measure, ...]] = (
    Measure(
        name="error_rate",
        kind=Kind.RATE,
        unit="ratio",
        summary="Requests the candidate did not answer: status error, timeout, or no answer within grace.",
        rules=(Rule.MAXIMUM, Rule.MAXIMUM_REGRESSION_PERCENT),
    ),
    Measure(
        name="timeout_rate",
        kind=Kind.RATE,
        unit="ratio",
        summary="Requests the candidate did not answer in time: status timeout, or no answer within grace.",
        rules=(Rule.MAXIMUM, Rule.MAXIMUM_REGRESSION_PERCENT),
    ),
    Measure(
        name="schema_validation_pass_rate",
        kind=Kind.RATE,
        unit="ratio",
        summary="Candidate outputs that keep every output rule, among those checked (status ok).",
        rules=(Rule.MINIMUM,),
        higher_is_better=True,
    ),
    Measure(
        name="label_change_rate",
        kind=Kind.RATE,
        unit="ratio",
        summary="Pairs whose two labels differ, overall and in any segment, among those where both gave one.",
        rules=(Rule.MAXIMUM,),
    ),
    Measure(
        name="output_change_rate",
        kind=Kind.RATE,
        unit="ratio",
        summary="Pairs whose outputs differ beyond tolerance, overall and in any segment.",
        rules=(Rule.MAXIMUM,),
    ),
    *(
        Measure(
            name=name,
            kind=Kind.LATENCY,
            unit="ms",
            summary=f"{p:.0%} of answers take at most this long; a candidate that failed took forever.",
            rules=_LATENCY_RULES,
            minimum_samples=200,
        )
        for name, p in QUANTILES.items()
    ),
    Measure(
        name="human_review_score",
        kind=Kind.OUTCOME,
        unit="score 0..1",
        summary="Mean paired difference of the reviewers' scores (likewise any other outcome measure).",
        rules=(Rule.MINIMUM_DELTA,),
        higher_is_better=True,
        minimum_samples=50,
    ),
    Measure(
        name="confidence_shift",
        kind=Kind.DRIFT,
        unit="ratio",
        summary=(
            "Largest difference, at any of 20 steps of confidence, of the two arms' shares of answers at most that"
            " sure; a confidence that only one arm gave is a difference."
        ),
        rules=(Rule.MAXIMUM,),
        minimum_samples=1000,
    ),
    Measure(
        name=LABEL_SHIFT,
        kind=Kind.DRIFT,
        unit="ratio",
        summary=(
            "Largest change of any label's share of the pairs, up or down (labels in 64 buckets of a hash); a label"
            " that only one arm gave is a change."
        ),
        rules=(Rule.MAXIMUM,),
        minimum_samples=500,
    ),
    *(
        Measure(
            name=f"{side}_tokens",
            kind=Kind.NUMBER,
            unit="tokens",
            summary=f"Mean {side} tokens of an answer, each answer's held to at most `cap`.",
            rules=(Rule.MAXIMUM_REGRESSION_PERCENT,),
            without_data=_NUMBER_WITHOUT,
        )
        for side in ("prompt", "completion")
    ),
    *(
        Measure(
            name=name,
            kind=Kind.NUMBER,
            unit="0..1",
            summary=summary,
            rules=_DELTA_RULES,
            higher_is_better=higher,
            without_data=_NUMBER_WITHOUT,
        )
        for name, higher, summary in (
            ("citation_rate", True, "Mean share of an answer that is cited (or 1 where it cites, else 0)."),
            ("abstention_rate", False, "Share of answers that abstain (each 1 or 0)."),
            ("fallback_rate", False, "Share of answers that a fallback model gave (each 1 or 0)."),
        )
    ),
    Measure(
        name="gpu_oom_events",
        kind=Kind.EVENTS,
        unit="events",
        summary="GPU out-of-memory events of the candidate since the rollout began.",
        rules=(Rule.MAXIMUM,),
        paired=False,
        minimum_samples=0,
        without_data="inconclusive (no_data): no report or no running time proves nothing",
    ),
    Measure(
        name="pod_restarts",
        kind=Kind.EVENTS,
        unit="events",
        summary="Restarts of the candidate's instances since the rollout began.",
        rules=(Rule.MAXIMUM,),
        paired=False,
        minimum_samples=0,
        without_data="inconclusive (no_data): no report or no running time proves nothing",
    ),
)
MEASURES: Final[dict[str, Measure]] = {row.name: row for row in _ROWS}


def measure_named(name: str, source: str | None = None) -> Measure:
    """The row of a measure; a name outside the table is an outcome measure, or a number if ``source`` is events."""
    known = MEASURES.get(name)
    if known is not None:
        return known
    if source == EVENTS_SOURCE:
        return Measure(
            name=name,
            kind=Kind.NUMBER,
            unit="its own",
            summary="Mean of a number that events carry.",
            rules=(Rule.MAXIMUM_REGRESSION_PERCENT, *_DELTA_RULES),
            without_data=_NUMBER_WITHOUT,
        )
    return Measure(
        name=name,
        kind=Kind.OUTCOME,
        unit="score 0..1",
        summary="Mean paired difference of an outcome measure.",
        rules=(Rule.MINIMUM_DELTA,),
        higher_is_better=True,
        minimum_samples=50,
    )


#: How each kind of measure is judged, for the reference page; the laws stand in ``comparators.evidence``.
METHODS: Final[dict[Kind, str]] = {
    Kind.RATE: (
        "`maximum` and `minimum`: e-process on bad among all (truncated beta-binomial), over all requests and over"
        " the answers that users saw. `maximum_regression_percent`: paired e-process on the requests that only one"
        " arm failed, and the candidate's share of the live failures. A segment must break the limit and be worse"
        " than the baseline there; for change rates, break its own limit."
    ),
    Kind.LATENCY: (
        "`maximum_regression_percent`: paired e-process at every edge of a logarithmic histogram, the least counts."
        " `maximum`: e-process on the share of answers slower than the limit."
    ),
    Kind.OUTCOME: "e-process on the mean paired difference, betting on a fixed grid; scores are rounded to 1/1000.",
    Kind.EVENTS: (
        "one event too many fails at once. A pass needs running time, and with `max_rate_to_exclude_per_hour`"
        " a Poisson e-process that excludes that rate."
    ),
    Kind.NUMBER: (
        "e-process on the mean paired difference, betting on a fixed grid: candidate minus baseline for deltas,"
        " candidate minus (1 + limit) times baseline for `maximum_regression_percent`. Values are held to 0..`cap`"
        " (0..1 for deltas), and the difference is rounded to a millionth of its span, either way."
    ),
    Kind.DRIFT: (
        "`confidence_shift`: Kolmogorov-Smirnov distance with the time-uniform Dvoretzky-Kiefer-Wolfowitz radius of"
        " each arm; a limit of 0.1 takes 3,000 to 5,000 pairs to prove where nothing has moved. `label_shift`:"
        " paired e-process with a margin per bucket and direction; their mean for a fail, the least for a pass."
    ),
}


def markdown_tables() -> str:
    """The measures, their meaning, and how each kind is judged, for the docs page."""
    rows = ["| measure | unit | better | on pairs | rules | minimum_samples | without data |", f"|{'---|' * 7}"]
    rows += (
        f"| `{m.name}` | {m.unit} | {'higher' if m.higher_is_better else 'lower'} | {'yes' if m.paired else 'no'} "
        f"| {', '.join(f'`{rule}`' for rule in m.rules)} | {m.minimum_samples} | {m.without_data} |"
        for m in _ROWS
    )
    rows += ["", "| measure | meaning |", "|---|---|"]
    rows += (f"| `{m.name}` | {m.summary} |" for m in _ROWS)
    rows += ["", "| kind | measures | method |", "|---|---|---|"]
    for kind, method in METHODS.items():
        names = ", ".join(f"`{m.name}`" for m in _ROWS if m.kind is kind)
        rows.append(f"| {kind} | {names} | {method} |")
    return "\n".join(rows) + "\n"
