"""Questions: everything a rollout should be asked, and what answers it here; for the reference page.

Law: a row names a measure of ``gates.measures``, and takes unit, direction, floor and method from there; or it
names a check that always runs. A question that nothing judges says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from paritygate.gates.measures import MEASURES, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``measures``: names of measures; none where a check or nobody answers, which ``method`` then tells."""

    asked: str
    measures: tuple[str, ...] = ()
    method: str = ""
    unit: str = ""
    missing: str = ""


#: How each kind is judged, in a few words.
_METHODS: Final[dict[Kind, str]] = {
    Kind.RATE: "e-process on bad among all; against the baseline on the same requests",
    Kind.LATENCY: "paired e-process at every edge of a histogram",
    Kind.OUTCOME: "e-process on the mean paired difference",
    Kind.EVENTS: "count, and a Poisson e-process on running time",
    Kind.DRIFT: "size of the change, with time-uniform bounds",
    Kind.NUMBER: "e-process on the mean paired difference, values held to a cap",
}
_CHECK: Final = "a check that always runs: it holds, and never fails"

QUESTIONS: Final[tuple[Question, ...]] = (
    Question(asked="p95 latency does not regress by more than 10 %", measures=("latency_p95_ms",)),
    Question(asked="error rate below a threshold", measures=("error_rate",)),
    Question(asked="outputs keep their schema", measures=("schema_validation_pass_rate",)),
    Question(asked="business KPI or review score not worse", measures=("human_review_score",)),
    Question(asked="no spike of GPU OOMs or pod restarts", measures=("gpu_oom_events", "pod_restarts")),
    Question(
        asked="request volume",
        method=f"`sample_ratio` and `join_completeness`: {_CHECK}",
        unit="requests",
        missing="no request: holds, and a live canary is rolled back after `no_data_seconds`",
    ),
    Question(asked="p50 and p95 latency", measures=("latency_p50_ms", "latency_p95_ms")),
    Question(asked="timeout rate", measures=("timeout_rate",)),
    Question(asked="error rate", measures=("error_rate",)),
    Question(asked="resource usage: memory exhausted, restarts", measures=("gpu_oom_events", "pod_restarts")),
    Question(
        asked="resource usage: cost, seconds of a GPU, of a processor",
        method="a number of events of any name with `source: events`: " + _METHODS[Kind.NUMBER],
        unit="its own",
        missing="as for `completion_tokens`",
    ),
    Question(
        asked="resource usage: memory",
        method="not judged: the mean of an arm's platform reports (`memory_bytes`) is shown, no gate reads it",
        unit="bytes",
        missing="shown as n/a, nothing rests on it",
    ),
    Question(asked="output validation failures", measures=("schema_validation_pass_rate",)),
    Question(asked="labels change subtly", measures=("label_change_rate", "label_shift")),
    Question(asked="fields missing, outputs changed", measures=("output_change_rate",)),
    Question(asked="confidence drifts", measures=("confidence_shift",)),
    Question(asked="prompt tokens", measures=("prompt_tokens",)),
    Question(asked="completion tokens", measures=("completion_tokens",)),
    Question(asked="citation rate", measures=("citation_rate",)),
    Question(asked="abstention rate", measures=("abstention_rate",)),
    Question(asked="fallback model use", measures=("fallback_rate",)),
)


def markdown_table() -> str:
    """One row per question, for the docs page."""
    rows = [
        "| asked | measure | rules | method | unit | better | on pairs | least data for a pass | missing data |",
        f"|{'---|' * 9}",
    ]
    for question in QUESTIONS:
        if not question.measures:
            cells = [question.asked, "", "", question.method, question.unit, "", "", "", question.missing]
            rows.append(f"| {' | '.join(cells)} |")
        for name in question.measures:
            measure = MEASURES[name]
            least = "running time" if measure.kind is Kind.EVENTS else f"{measure.minimum_samples:,} in the stage"
            rules = ", ".join(f"`{rule}`" for rule in measure.rules)
            better, paired = "higher" if measure.higher_is_better else "lower", "yes" if measure.paired else "no"
            cells = [
                question.asked,
                f"`{name}`",
                rules,
                _METHODS[measure.kind],
                measure.unit,
                better,
                paired,
                least,
            ]
            rows.append(f"| {' | '.join([*cells, measure.without_data])} |")
    return "\n".join(rows) + "\n"
