"""The table of measures."""

from __future__ import annotations

import pytest

from paritygate.gates.columns import COLUMNS
from paritygate.gates.events import SOURCES
from paritygate.gates.measures import MEASURES, QUANTILES, Kind, Measure, Rule, measure_named
from paritygate.gates.spec import GateError, parse_gates

GOOD_LIMITS: dict[Kind, dict[Rule, float]] = {
    Kind.RATE: {Rule.MAXIMUM: 0.02, Rule.MINIMUM: 0.98, Rule.MAXIMUM_REGRESSION_PERCENT: 50},
    Kind.LATENCY: {Rule.MAXIMUM: 100, Rule.MAXIMUM_REGRESSION_PERCENT: 10},
    Kind.OUTCOME: {Rule.MINIMUM_DELTA: -0.01},
    Kind.EVENTS: {Rule.MAXIMUM: 0},
    Kind.DRIFT: {Rule.MAXIMUM: 0.1},
    Kind.NUMBER: {Rule.MAXIMUM_REGRESSION_PERCENT: 10, Rule.MINIMUM_DELTA: -0.02, Rule.MAXIMUM_DELTA: 0.02},
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_every_measure_takes_exactly_the_rules_of_its_row(measure: Measure) -> None:
    """The table that documents the rules is the one that admits them."""
    for rule in Rule:
        gates = {measure.name: {rule.value: GOOD_LIMITS[measure.kind].get(rule, 0.5)}}
        if measure.kind is Kind.NUMBER and rule is Rule.MAXIMUM_REGRESSION_PERCENT:
            gates[measure.name]["cap"] = 4096
        if rule in measure.rules:
            assert parse_gates(gates)[0].rule is rule
        else:
            with pytest.raises(GateError, match="takes"):
                parse_gates(gates)


def test_every_measure_has_its_evidence() -> None:
    """No row without the counts behind it, no counts without a row."""
    assert {m.name for m in MEASURES.values() if m.kind is Kind.RATE} == set(COLUMNS)
    assert {m.name for m in MEASURES.values() if m.kind is Kind.EVENTS} == set(SOURCES)
    assert {m.name for m in MEASURES.values() if m.kind is Kind.LATENCY} == set(QUANTILES)


def test_rows_can_be_printed() -> None:
    """The reference page is written from the rows: none has an empty field."""
    for measure in MEASURES.values():
        assert measure.unit
        assert measure.summary.endswith(".")
        assert measure.without_data.startswith("inconclusive")


def test_any_other_name_is_an_outcome_measure() -> None:
    """A KPI needs no declaration but its gate, and its higher values are better."""
    kpi = measure_named("clicked")

    assert (kpi.kind, kpi.rules, kpi.higher_is_better) == (Kind.OUTCOME, (Rule.MINIMUM_DELTA,), True)


def test_any_name_may_be_a_number_of_the_events() -> None:
    """If the gate says that it is one, it takes every rule on means; names of the table keep their meaning."""
    number = measure_named("gpu_seconds", "events")

    assert (number.kind, measure_named("gpu_seconds").kind) == (Kind.NUMBER, Kind.OUTCOME)
    assert number.rules == (Rule.MAXIMUM_REGRESSION_PERCENT, Rule.MINIMUM_DELTA, Rule.MAXIMUM_DELTA)
