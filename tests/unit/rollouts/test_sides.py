"""Both arms beside each other: every number follows from counts, and knows the gate that judges it."""

from __future__ import annotations

import pytest

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.tally import Tally
from paritygate.gates.spec import parse_gates
from paritygate.rollouts.sides import SideRow, sides
from paritygate.schemas.report import WindowReport
from tests.support.measured import LLM_GATES, with_numbers, with_scores
from tests.unit.rollouts.conftest import report


def rows(told: WindowReport) -> dict[str, SideRow]:
    tally = Tally.from_report(told, BUCKET_COUNTS)
    return {row.name: row for row in sides(tally, parse_gates(LLM_GATES))}


def test_numbers_of_events_are_means_of_both_arms() -> None:
    """Tokens in tokens, rates in 0..1, over pairs that both arms gave; a plain difference has bounds around it."""
    found = rows(
        with_numbers(
            report(0), LLM_GATES,
            {
                "completion_tokens": ([100.0, 300.0], [110.0, 340.0]),
                "citation_rate": ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0]),
            },
        )
    )  # fmt: skip
    tokens, cited = found["completion tokens"], found["citation rate"]

    assert tokens.baseline == pytest.approx(200, abs=0.01)
    assert tokens.candidate == pytest.approx(225, abs=0.01)
    assert (tokens.unit, tokens.measure, tokens.low) == ("tokens", "completion_tokens", None)
    assert "less 1.1 times stable's" in tokens.note
    assert cited.difference == pytest.approx(-1 / 3, abs=1e-5)
    assert cited.low is not None
    assert cited.high is not None
    assert cited.low < -1 / 3 < cited.high
    assert "prompt tokens" not in found  # declared, and no event carried it


def test_scores_and_rates_name_their_measure() -> None:
    """What a gate can be declared on carries the gate's name for it, and what it cannot carries none."""
    found = rows(with_scores(report(0, errors=3), "human_review_score", [0.1, -0.2]))

    assert found["human review score"].measure == "human_review_score"
    assert found["human review score"].difference == pytest.approx(-0.05)
    assert found["error rate"].measure == "error_rate"
    assert found["invalid outputs"].measure == "schema_validation_pass_rate"
    assert found["failures that users met"].measure == ""


def test_without_gates_no_number_is_made_up() -> None:
    """A tally that holds no number, or is asked without gates, has no row of one."""
    told = with_numbers(report(0), LLM_GATES, {"citation_rate": ([1.0], [0.0])})

    assert "citation rate" in rows(told)
    assert not [r for r in sides(Tally.from_report(told, BUCKET_COUNTS)) if r.measure == "citation_rate"]


def test_memory_is_a_mean_of_the_reports_that_gave_it() -> None:
    """Of two arms with other numbers of reports; without a measurement nothing is known, and nothing is 0."""
    given = {"memory_bytes.baseline": 6 << 30, "memory_reports.baseline": 3}
    told = {"memory_bytes.candidate": 10 << 30, "memory_reports.candidate": 4, "reports.candidate": 9}
    both = rows(report(0, totals=given | told))["memory of an instance, mean"]
    alone = rows(report(0, totals=given))["memory of an instance, mean"]

    assert (both.baseline, both.candidate, both.unit) == (2 << 30, 2.5 * (1 << 30), "bytes")
    assert (both.difference, both.low, both.note) == (1 << 29, None, "3 and 4 reports")
    assert (alone.baseline, alone.candidate, alone.difference) == (2 << 30, None, None)
    assert rows(report(0))["memory of an instance, mean"].note == ""
