"""What a rollout should be asked, and what answers it."""

from __future__ import annotations

import pytest

from paritygate.gates.measures import MEASURES
from paritygate.gates.questions import QUESTIONS, markdown_table


def test_every_question_is_answered_by_what_there_is() -> None:
    """A row names measures of the table, or tells in words what answers it, missing data included."""
    for question in QUESTIONS:
        assert set(question.measures) <= set(MEASURES), question.asked
        assert bool(question.measures) != bool(question.method and question.unit and question.missing)


@pytest.mark.parametrize(
    "metric",
    ["request volume", "p50 and p95 latency", "timeout rate", "error rate", "resource usage", "output validation",
     "review score", "prompt tokens", "completion tokens", "citation rate", "abstention rate", "fallback model"],
)  # fmt: skip
def test_no_metric_of_the_dashboard_is_left_out(metric: str) -> None:
    """Each has its row, even where the answer is that nothing judges it."""
    assert any(metric in question.asked for question in QUESTIONS)


def test_every_measure_answers_a_question() -> None:
    """No measure of the table without a use; further quantiles of latency need none."""
    used = {name for question in QUESTIONS for name in question.measures}

    assert set(MEASURES) - used == {"latency_p90_ms", "latency_p99_ms"}


def test_the_table_has_nine_cells_a_row() -> None:
    """A pipe in a text would break the page."""
    assert {row.count("|") for row in markdown_table().splitlines()} == {10}
