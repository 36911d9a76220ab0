"""assess_gates(): all gates together, the checks that always run, and determinism."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind

SEED = """
latency_p95_ms: {maximum_regression_percent: 10}
error_rate: {maximum: 0.01}
schema_validation_pass_rate: {minimum: 0.995}
human_review_score: {minimum_delta: -0.02}
gpu_oom_events: {maximum: 0}
label_change_rate: {maximum: 0.2}
"""
Build = Callable[..., Tally]
Assess = Callable[..., Assessment]


def verdict(found: Assessment, gate: str) -> Verdict:
    return next(v for v in found.verdicts if v.gate == gate)


@pytest.mark.parametrize("faults", [{"same": True}, {"slower": 0.9}], ids=["A/A", "healthy"])
def test_a_good_candidate_passes_every_gate(traffic: Build, assess: Assess, faults: dict[str, object]) -> None:
    """5000 pairs of a good candidate, and of the baseline against itself: proven, nothing flagged."""
    found = assess(SEED, traffic(21, 5000, **faults))

    assert found.overall is VerdictKind.PASS
    assert [v.gate for v in found.verdicts] == [
        "latency_p95_ms",
        "error_rate",
        "schema_validation_pass_rate",
        "human_review_score",
        "gpu_oom_events",
        "label_change_rate",
        "join_completeness",
    ]
    assert found.worst_segment is None
    assert found.segment_findings == ()


def test_nothing_at_all_holds(assess: Assess) -> None:
    """Before the first window every gate says no data."""
    found = assess(SEED, Tally(()))

    assert found.overall is VerdictKind.INCONCLUSIVE
    assert {v.reason_code for v in found.verdicts} == {"no_data"}


def test_the_same_content_gives_the_same_bytes(traffic: Build, assess: Assess) -> None:
    """Adding windows in another order, in cells of another order, changes no verdict, word or number."""
    parts = [traffic(seed, 300, segment_errors=0.2, invalid=(0.0, 0.01), weight=5) for seed in range(6)]
    one, other = Tally(parts[0].dimensions), Tally(parts[0].dimensions)
    for part in parts:
        one.add(part)
    for part in reversed(parts):
        other.add(part)
    live = [(15, 285, 1, 0), (14, 286, 0, 1)]

    def bytes_of(whole: Tally, panes: list[Tally]) -> str:
        found = assess(SEED, whole, parts[5], panes=panes, live=live, weight=5)
        return json.dumps([[v.gate, v.kind, v.reason, dict(v.numbers)] for v in found.verdicts], allow_nan=False)

    assert bytes_of(one, parts) == bytes_of(other, parts)


def test_an_advisory_gate_never_decides(traffic: Build, assess: Assess) -> None:
    """It is judged and shown, and the overall verdict does not know it."""
    gates = "error_rate: {maximum: 0.01}\nlatency_p95_ms: {maximum_regression_percent: 10, advisory: true}"
    found = assess(gates, traffic(22, 4500, slower=1.4))

    assert verdict(found, "latency_p95_ms").kind is VerdictKind.FAIL
    assert not verdict(found, "latency_p95_ms").required
    assert found.overall is VerdictKind.PASS


def test_a_segment_that_no_gate_watches_still_holds(traffic: Build, assess: Assess) -> None:
    """Without an error gate a failing segment is no fail, but it blocks the promotion by name."""
    found = assess("gpu_oom_events: {maximum: 0}", traffic(23, 1500, segment_errors=0.6))

    parity = verdict(found, "segment_parity")
    assert (parity.kind, parity.reason_code) == (VerdictKind.INCONCLUSIVE, "segment_flagged")
    assert found.overall is VerdictKind.INCONCLUSIVE
    assert found.worst_segment == "carrier_tier=regional & origin=JFK"


def test_lost_requests_hold(tally_of: Build, assess: Assess) -> None:
    """Completeness is asked without being declared: 2 % shed blocks, and says what was lost."""
    counts = {"requests": 980, "pairs": 980, "shed": 20}
    found = verdict(assess("error_rate: {maximum: 0.01}", tally_of((), {(): counts})), "join_completeness")

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "incomplete")
    assert found.reason == "980 of 1,000 requests have both answers (98 %), 99 % must: 20 shed"


def test_a_gates_own_alpha_comes_first(tally_of: Build, assess: Assess) -> None:
    """A stricter promotion needs more requests: 328 at 0.05, not at 0.001."""
    clean = tally_of((), {(): {"requests": 328, "pairs": 328}})

    assert assess("error_rate: {maximum: 0.01}", clean).verdicts[0].kind is VerdictKind.PASS
    strict = assess("error_rate: {maximum: 0.01, alpha_promote: 0.001}", clean).verdicts[0]
    assert strict.kind is VerdictKind.INCONCLUSIVE


def test_every_number_fits_a_record(traffic: Build, assess: Assess) -> None:
    """Numbers of failing, passing and empty gates are finite or None, so that a decision can hold them."""
    for faults in (
        {"errors": (0.0, 0.9)},
        {"same": True},
        {"segment_changes": 1.0, "live_errors": 1.0, "weight": 50},
    ):
        for v in assess(SEED, traffic(24, 400, **faults)).verdicts:
            json.dumps(dict(v.numbers), allow_nan=False)
            assert all(x is None or isinstance(x, int | float) for x in v.numbers.values())
            assert v.reason
            assert "\n" not in v.reason


def test_a_good_candidate_is_rarely_blamed(traffic: Build, assess: Assess) -> None:
    """Seeded: 25 rollouts just inside the limits, looked at 12 times each: at most two end in a fail."""
    gates = "error_rate: {maximum: 0.01}\nschema_validation_pass_rate: {minimum: 0.99}"
    blamed = 0
    for run in range(25):
        whole, panes = Tally(("origin", "carrier_tier", "weather", "endpoint")), []
        for look in range(12):
            panes.append(traffic(1000 * run + look, 120, errors=(0.009, 0.009), invalid=(0.009, 0.009), weight=5))
            whole.add(panes[-1])
            if assess(gates, whole, panes=panes, weight=5).overall is VerdictKind.FAIL:
                blamed += 1
                break

    assert blamed <= 2
