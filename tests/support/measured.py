"""Window reports with more in them: latencies, scores and numbers of the events, as the join counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.latency import bucket
from paritygate.comparators.numbers import pair_counts
from paritygate.gates.spec import parse_gates
from paritygate.schemas.report import Histogram, WindowReport
from tests.support.story import Entry
from tests.unit.rollouts.conftest import PARTITIONS, command, report

#: Values of pairs: the baseline's and the candidate's.
Pairs = tuple[Sequence[float], Sequence[float]]
#: Gates of a service that answers with a language model over documents.
LLM_GATES: Mapping[str, Any] = {
    "error_rate": {"maximum": 0.1},
    "schema_validation_pass_rate": {"minimum": 0.9},
    "latency_p95_ms": {"maximum": 4000},
    "prompt_tokens": {"maximum_regression_percent": 10, "cap": 4096},
    "completion_tokens": {"maximum_regression_percent": 10, "cap": 4096},
    "citation_rate": {"minimum_delta": -0.05},
    "abstention_rate": {"maximum_delta": 0.05},
    "fallback_rate": {"maximum_delta": 0.02},
    "human_review_score": {"minimum_delta": -0.1},
    "gpu_oom_events": {"maximum": 0},
}


def timed(told: WindowReport, baseline_ms: float, candidate_ms: float) -> WindowReport:
    """The same report with a latency of each arm for all of its pairs."""
    pairs = sum(cell.counts[1] for cell in told.cells)
    made = [
        Histogram(name=f"latency.{arm}", index=(int(bucket(np.array([ms]))[0]),), counts=(pairs,))
        for arm, ms in (("baseline", baseline_ms), ("candidate", candidate_ms))
    ]
    return replace(told, histograms=tuple(made))


def with_numbers(told: WindowReport, gates: Mapping[str, Any], values: Mapping[str, Pairs]) -> WindowReport:
    """The same report with what the join counts of numbers of the events, of these (baseline's, candidate's)."""
    rules = {s.measure: rule for s in parse_gates(gates) if (rule := s.number_rule()) is not None}
    histograms, totals = list(told.histograms), dict(told.totals)
    for measure, arms in values.items():
        columns = (np.array([(n,) for n in numbers], np.float64) for numbers in arms)
        counts, sums = pair_counts((rules[measure],), *columns)
        totals |= {name: count for name, count in sums.items() if count}
        for name, dense in counts.items():
            index = np.flatnonzero(dense)
            histograms.append(
                Histogram(name=name, index=tuple(index.tolist()), counts=tuple(dense[index].tolist()))
            )
    return replace(told, histograms=tuple(histograms), totals=totals)


def with_scores(told: WindowReport, measure: str, deltas: Sequence[float]) -> WindowReport:
    """The same report with scored pairs: the candidate's score less the baseline's."""
    dense = np.bincount(scores.bucket(np.array(deltas)), minlength=scores.BUCKETS)
    index = np.flatnonzero(dense)
    made = Histogram(name=f"scores.{measure}", index=tuple(index.tolist()), counts=tuple(dense[index].tolist()))
    return replace(told, histograms=(*told.histograms, made))


def llm_story(rollout: str, last: int) -> list[Entry]:
    """A rollout of a language model: longer answers, fewer citations, reviewed, on instances that report."""
    random = np.random.default_rng(7)
    made: list[Entry] = [command("start", rollout, service="assistant", promotion_gates=dict(LLM_GATES))]
    for window in range(last):
        for partition in range(PARTITIONS):
            shared = 900 * np.exp(0.2 * random.normal(size=60))
            longer = shared * (1.02 + 0.1 * random.random(60))
            told = timed(
                report(
                    window, partition, rollout=rollout, errors=int(random.random() < 0.3),
                    totals={
                        "running_ms.baseline": 4000, "running_ms.candidate": 4000,
                        "memory_bytes.baseline": 10 << 30, "memory_reports.baseline": 4,
                        "memory_bytes.candidate": 9 << 30, "memory_reports.candidate": 3,
                    },
                ),
                1200 + 30 * random.random(), 1300 + 90 * random.random(),
            )  # fmt: skip
            rates = [(random.random((2, 60)) < p).astype(float).tolist() for p in (0.8, 0.06, 0.01)]
            values: dict[str, Pairs] = {
                "prompt_tokens": (shared.tolist(), shared.tolist()),
                "completion_tokens": ((shared / 3).tolist(), (longer / 3).tolist()),
            }
            for name, (base, candidate) in zip(
                ("citation_rate", "abstention_rate", "fallback_rate"), rates, strict=True
            ):
                values[name] = (base, candidate)
            told = with_numbers(told, LLM_GATES, values)
            made.append(with_scores(told, "human_review_score", (0.1 * random.normal(size=6)).tolist()))
    return made
