"""Power: what a proof takes, against simulations and the published table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.gates.latency_power import relative_latency
from paritygate.gates.passage import walk
from paritygate.gates.power import (
    Need,
    Sample,
    live_needed,
    needed,
    per_second,
    provable_limit,
    share_events,
)
from paritygate.gates.spec import GateSpec, parse_gates
from paritygate.gates.truth import Truth, assumptions, parse_assumptions
from paritygate.schemas.errors import ConfigError

TRUTH = Truth()


def gate(name: str, **entry: Any) -> GateSpec:
    return parse_gates({name: entry})[0]


def both(need: Need) -> tuple[float, float]:
    assert need.p50 is not None
    assert need.p90 is not None
    return need.p50, need.p90


ERRORS = gate("error_rate", maximum=0.01)
SCHEMA = gate("schema_validation_pass_rate", minimum=0.995)
P95 = gate("latency_p95_ms", maximum_regression_percent=10)
REVIEW = gate("human_review_score", minimum_delta=-0.02)

#: statistics.md section 7, "Minutes to prove one stage, 90 % power": share -> minutes at 50, 200, 1000 rps.
RELATIVE = {
    (0.01, 1.5): (1308, 327, 65),
    (0.01, 2.0): (351, 88, 18),
    (0.01, 3.0): (106, 26, 5),
    (0.05, 1.5): (277, 69, 14),
    (0.05, 2.0): (75, 19, 4),
    (0.05, 3.0): (23, 6, 1),
    (0.25, 1.5): (76, 19, 4),
    (0.25, 2.0): (22, 5, 1),
    (0.25, 3.0): (7, 2, 0),
    (0.50, 1.5): (62, 16, 3),
    (0.50, 2.0): (19, 5, 1),
    (0.50, 3.0): (7, 2, 0),
}
ABSOLUTE = {
    0.01: ((84, 21, 4), (107, 27, 5)),
    0.05: ((17, 4, 1), (21, 5, 1)),
    0.25: ((3, 1, 0), (4, 1, 0)),
    0.50: ((2, 0, 0), (2, 1, 0)),
}


@pytest.mark.parametrize(("cell", "minutes"), RELATIVE.items())
def test_shares_take_the_minutes_of_the_table(cell: tuple[float, float], minutes: tuple[int, int, int]) -> None:
    """Relative limits from live traffic at base rate 0.3 %: the published minutes, to the minute."""
    part, ratio = cell
    events = share_events(ratio, part, 1.0, 0.05)

    assert events is not None
    requests = events.quantile(0.9) / 0.003
    assert tuple(round(requests / rps / 60.0) for rps in (50, 200, 1000)) == minutes


@pytest.mark.parametrize(("part", "minutes"), ABSOLUTE.items())
def test_absolute_limits_take_the_minutes_of_the_table(part: float, minutes: tuple[tuple[int, ...], ...]) -> None:
    """0.3 % against 1 % and 0.1 % against 0.5 %, on the candidate's answers alone, by the walk."""
    for (limit, rate), expected in zip(((0.01, 0.003), (0.005, 0.001)), minutes, strict=True):
        gains = bernoulli(limit, "below").wealth(np.array([1, 0]), np.array([1, 1]))
        law = walk(gains, np.array([rate, 1.0 - rate]), 0.05)
        assert law is not None
        found = tuple(round(law.quantile(0.9) / part / rps / 60.0) for rps in (50, 200, 1000))
        assert found == expected


def test_the_law_of_the_counts_is_what_is_reported() -> None:
    """The walk is up to 2.7 times too long at p50 where few events decide; what is reported is not.

    660 / 2,720 and 690 / 2,060: simulated with BernoulliEvidence, 400 runs, looked at every 10 requests.
    """
    assert both(needed(SCHEMA, TRUTH, 0.05)) == pytest.approx((660, 2720), rel=0.02)
    p50, p90 = both(needed(ERRORS, TRUTH, 0.05))
    assert 690 <= p50 <= 960  # the chance of a proof by the count 690 is just below 1/2
    assert p90 == pytest.approx(2060, rel=0.10)


#: statistics.md section 3, paired deltas against the limit -0.02: true mean, sd, p50, p90.
@pytest.mark.parametrize(
    ("delta", "sd", "p50", "p90"), [(0.0, 0.22, 991, 2213), (0.0, 0.11, 393, 644), (0.02, 0.22, 269, 512)]
)
def test_reviews_take_what_was_simulated(delta: float, sd: float, p50: int, p90: int) -> None:
    """p50 within 20 % and p90 within 25 % of the simulated numbers of scored pairs."""
    need = needed(REVIEW, replace(TRUTH, score_delta=delta, score_delta_sd=sd), 0.05)

    assert need.sample is Sample.SCORED_PAIRS
    assert need.p50 == pytest.approx(p50, rel=0.20)
    assert need.p90 == pytest.approx(p90, rel=0.25)


#: Simulated with QuantileRatioEvidence on lognormal pairs, 100 runs a case, seed 1 (statistics.md section 2
#: has 4,600 pairs for the first and 1,100 / 1,800 for the second): limit, ratio, sigma, rho, failed, p50, p90.
LATENCIES = [
    ("latency_p95_ms", 10, 1.0, 0.6, 0.7, 0.0, 4032, 7325),
    ("latency_p95_ms", 10, 0.9, 0.6, 0.7, 0.0, 1000, 1740),
    ("latency_p95_ms", 25, 1.0, 0.6, 0.7, 0.003, 989, 1566),
    ("latency_p95_ms", 10, 1.0, 0.6, 0.7, 0.003, 6336, 10_411),
    ("latency_p99_ms", 25, 1.0, 0.6, 0.7, 0.001, 4242, 6929),
    ("latency_p50_ms", 10, 1.0, 0.6, 0.7, 0.0, 1078, 1784),
    ("latency_p95_ms", 20, 1.0, 0.3, 0.5, 0.003, 540, 782),
    ("latency_p95_ms", 50, 1.0, 1.0, 0.3, 0.003, 1081, 1587),
]


@pytest.mark.parametrize("case", LATENCIES)
def test_latency_takes_what_was_simulated(case: tuple[Any, ...]) -> None:
    """p50 and p90 within 20 % of simulated pairs; a candidate that fails more takes longer."""
    measure, limit, ratio, sigma, rho, failed, p50, p90 = case
    truth = replace(TRUTH, latency_ratio=ratio, latency_sigma=sigma, latency_correlation=rho, error_rate=failed)
    law = relative_latency(measure, float(limit), truth, 0.05)

    assert law is not None
    assert law.quantile(0.5) == pytest.approx(p50, rel=0.20)
    assert law.quantile(0.9) == pytest.approx(p90, rel=0.20)


#: Simulated with PairedRatioEvidence, 300 runs a case, looked at every 200 pairs, seed 5: limit in percent,
#: share that fails together, p50, p90; base rate 0.3 % in both arms.
@pytest.mark.parametrize(
    ("limit", "together", "p50", "p90"),
    [(50, 0.0, 33_200, 74_320), (100, 0.0, 12_200, 25_860), (200, 0.0, 4850, 10_910), (50, 0.5, 18_200, 38_220)],
)
def test_regressions_take_what_was_simulated(limit: int, together: float, p50: int, p90: int) -> None:
    """Paired failures: p50 within 20 %, p90 within 10 %; failures that both arms share cost nothing."""
    spec = gate("error_rate", maximum_regression_percent=limit)
    need = needed(spec, replace(TRUTH, failed_together_ratio=together), 0.05)

    assert need.p50 == pytest.approx(p50, rel=0.20)
    assert need.p90 == pytest.approx(p90, rel=0.10)


def test_rare_events_need_running_time_and_nothing_else() -> None:
    """3.13 limits of clean hours (statistics.md section 4); without a rate to exclude nothing is needed."""
    clean = needed(gate("gpu_oom_events", maximum=0, max_rate_to_exclude_per_hour=0.5), TRUTH, 0.05)

    assert clean.sample is Sample.HOURS
    assert both(clean) == pytest.approx((6.26, 6.26), abs=0.01)
    assert both(needed(gate("gpu_oom_events", maximum=0), TRUTH, 0.05)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("spec", "assumed"),
    [
        (ERRORS, {"error_rate": 0.01}),
        (SCHEMA, {"invalid_rate": 0.006}),
        (gate("error_rate", maximum_regression_percent=50), {"error_ratio": 1.5}),
        (P95, {"latency_ratio": 1.1}),
        (P95, {"error_rate": 0.06}),
        (gate("latency_p95_ms", maximum=250), {"latency_to_limit_ratio": 1.0}),
        (gate("latency_p99_ms", maximum_regression_percent=10), {"error_rate": 0.02}),
        (REVIEW, {"score_delta": -0.02}),
        (gate("human_review_score", minimum_delta=0.0), {}),
        (gate("label_change_rate", maximum=0.01), {}),
    ],
)
def test_what_does_not_keep_its_limit_is_never_proven(spec: GateSpec, assumed: dict[str, float]) -> None:
    """At the limit, or beyond it, no number of pairs is enough."""
    need = needed(spec, replace(TRUTH, **assumed), 0.05)

    assert not need.provable
    assert (need.p50, need.p90) == (None, None)


GATES = [
    ERRORS,
    SCHEMA,
    P95,
    REVIEW,
    gate("error_rate", maximum_regression_percent=50),
    gate("latency_p99_ms", maximum=90),
]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.sampled_from(GATES), st.floats(0.001, 0.1), st.floats(1.2, 3.0))
def test_more_certainty_takes_longer(spec: GateSpec, alpha: float, factor: float) -> None:
    """Less chance of error never needs fewer observations, and p90 is never below p50."""
    lenient, strict = needed(spec, TRUTH, alpha), needed(spec, TRUTH, alpha / factor)

    assert both(lenient)[0] <= both(lenient)[1]
    assert both(lenient)[0] <= both(strict)[0]
    assert both(lenient)[1] <= both(strict)[1]


def test_a_gates_own_alpha_and_floor_come_first() -> None:
    """alpha_promote of the gate beats the plan's; minimum_samples is in the need."""
    own = gate("error_rate", maximum=0.01, alpha_promote=0.01)

    assert needed(own, TRUTH, 0.05) == needed(ERRORS, TRUTH, 0.01)
    assert both(needed(gate("error_rate", maximum=0.01, minimum_samples=50_000), TRUTH, 0.05)) == (50_000, 50_000)


def test_pairs_come_at_the_full_rate_and_live_answers_at_their_weight() -> None:
    """Mirroring makes evidence independent of the weight; without it 1 % of the traffic takes 100 times as long."""
    assert per_second(Sample.PAIRS, TRUTH, 200.0) == 200.0
    assert per_second(Sample.PAIRS, replace(TRUTH, mirror_ratio=0.5), 200.0) == 100.0
    assert per_second(Sample.SCORED_PAIRS, replace(TRUTH, scored_ratio=0.02), 200.0) == pytest.approx(4.0)
    assert per_second(Sample.HOURS, replace(TRUTH, instances=8), 200.0) * 3600 == pytest.approx(8.0)
    pairs, live = needed(ERRORS, TRUTH, 0.05), live_needed(ERRORS, TRUTH, 1, 0.05)
    assert live is not None
    assert both(live) == pytest.approx([100.0 * n for n in both(pairs)])


def test_a_regression_without_mirroring_is_the_table_again() -> None:
    """live_needed of +50 % at 1 % of the traffic: 1,308 minutes at 50 requests/s; none in the shadow."""
    spec = gate("error_rate", maximum_regression_percent=50)
    live = live_needed(spec, TRUTH, 1, 0.05)

    assert live is not None
    assert round(both(live)[1] / 50.0 / 60.0) == 1308
    assert live_needed(spec, TRUTH, 0, 0.05) is None
    assert live_needed(P95, TRUTH, 1, 0.05) is None
    assert live_needed(spec, replace(TRUTH, error_rate=0.0), 1, 0.05) == Need(
        sample=Sample.PAIRS, p50=None, p90=None
    )


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        (ERRORS, 500.0),
        (SCHEMA, 900.0),
        (P95, 2000.0),
        (gate("error_rate", maximum_regression_percent=50), 20_000.0),
        (REVIEW, 300.0),
        (gate("human_review_score", minimum_delta=0.01), 1500.0),
    ],
)
def test_the_limit_that_is_advised_can_be_proven(spec: GateSpec, most: float) -> None:
    """It is looser than the gate's, it fits, and a parser takes it."""
    limit = provable_limit(spec, TRUTH, 0.05, most)

    assert limit is not None
    assert (limit > spec.limit) is (spec.rule.value.startswith("max"))
    again = gate(spec.name, **{spec.rule.value: limit})
    assert both(needed(again, TRUTH, 0.05))[1] <= most
    assert limit == float(f"{limit:.6g}")


def test_no_limit_is_advised_where_none_helps() -> None:
    """Too little traffic for any limit, floors beyond it, events, and limits in ms."""
    assert provable_limit(ERRORS, TRUTH, 0.05, 2.0) is None
    assert provable_limit(replace(ERRORS, minimum_samples=900), TRUTH, 0.05, 800.0) is None
    assert provable_limit(gate("pod_restarts", maximum=0), TRUTH, 0.05, 100.0) is None
    assert provable_limit(gate("latency_p95_ms", maximum=90), TRUTH, 0.05, 100.0) is None


def test_every_assumption_is_in_the_table_and_can_be_changed() -> None:
    """Names, values and meanings; text becomes numbers."""
    rows = assumptions(parse_assumptions({"error_rate": "0.002", "latency_sigma": "0.4"}))

    assert {r.name: r.value for r in rows}["error_rate"] == 0.002
    assert {r.name: r.value for r in rows}["latency_sigma"] == 0.4
    assert {r.name: r.value for r in rows}["score_delta_sd"] == 0.22
    assert all(r.meaning for r in rows)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("eror_rate", "0.1", "did you mean error_rate?"),
        ("colour", "0.1", "known: error_rate, "),
        ("error_rate", "many", "must be a number, not 'many'"),
        ("error_rate", "2", "lies in 0..0.5, not 2"),
        ("error_rate", "nan", "lies in 0..0.5"),
        ("latency_sigma", "0", "lies in 0.01..5"),
    ],
)
def test_assumptions_that_make_no_sense_are_refused(name: str, text: str, says: str) -> None:
    """The message names the assumption and what it may be."""
    with pytest.raises(ConfigError, match=says):
        parse_assumptions({name: text})


def test_the_smallest_segment_decides_the_time() -> None:
    """In a segment with 5 % of the requests the proof takes about 20 times the pairs; other gates do not ask."""
    for spec, factor in ((ERRORS, 20.0), (SCHEMA, 20.0)):
        alone, inside = both(needed(spec, TRUTH, 0.05)), both(needed(spec, TRUTH, 0.05, 0.05))
        assert inside[0] == pytest.approx(factor * alone[0], rel=0.15)
        assert inside[1] == pytest.approx(factor * alone[1], rel=0.15)
    assert needed(ERRORS, TRUTH, 0.05, 1.0) == needed(ERRORS, TRUTH, 0.05)
    assert needed(P95, TRUTH, 0.05, 0.05) == needed(P95, TRUTH, 0.05)
    assert needed(gate("error_rate", maximum=0.002), TRUTH, 0.05, 0.2).p90 is None


def test_a_change_rate_is_proven_against_its_segment_limit() -> None:
    """It is three times as wide, so all requests together decide the time."""
    spec = gate("label_change_rate", maximum=0.05)

    assert needed(spec, TRUTH, 0.05, 0.2).p90 == needed(spec, TRUTH, 0.05).p90
    narrow = gate("label_change_rate", maximum=0.05, segment_maximum=0.05)
    assert both(needed(narrow, TRUTH, 0.05, 0.2))[1] == pytest.approx(
        5 * both(needed(spec, TRUTH, 0.05))[1], rel=0.1
    )
