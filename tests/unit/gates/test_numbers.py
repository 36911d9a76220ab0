"""Gates on numbers that events carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.numbers import PARTS, NumberRule, pair_counts, split
from paritygate.comparators.tally import Tally
from paritygate.gates.spec import GateSpec, parse_gates
from paritygate.gates.verdict import Verdict, VerdictKind

First = Callable[..., Verdict]
TOKENS = "completion_tokens: {maximum_regression_percent: 10, cap: 4096}"
CITED = "citation_rate: {minimum_delta: -0.05}"
ABSTAINS = "abstention_rate: {maximum_delta: 0.05}"


def _rule(gate: str, gates_of: Callable[[str], tuple[GateSpec, ...]]) -> NumberRule:
    rule = gates_of(gate)[0].number_rule()
    assert rule is not None
    return rule


def _counted(rule: NumberRule, baseline: list[Any], candidate: list[Any]) -> Tally:
    ours, theirs = (np.array(values, np.float64)[:, None] for values in (baseline, candidate))
    histograms, totals = pair_counts((rule,), ours, theirs)
    return Tally((), histograms=dict(histograms), totals={k: v for k, v in totals.items() if v})


@pytest.fixture
def tokens(gates_of: Callable[[str], tuple[GateSpec, ...]]) -> Callable[..., Tally]:
    """tokens(pairs, factor, sigma): lognormal pairs around 200 tokens."""

    def build(pairs: int, factor: float, sigma: float = 0.5, seed: int = 3) -> Tally:
        random = np.random.default_rng(seed)
        shared, ours, theirs = random.normal(size=(3, pairs)) * sigma
        base, candidate = 200.0 * np.exp(0.9 * shared + 0.44 * ours), 200.0 * np.exp(0.9 * shared + 0.44 * theirs)
        return _counted(_rule(TOKENS, gates_of), base.tolist(), (factor * candidate).tolist())

    return build


@pytest.fixture
def rates(gates_of: Callable[[str], tuple[GateSpec, ...]]) -> Callable[..., Tally]:
    """rates(gate, pairs, delta): 1 or 0 per answer, half of them 1, moved by ``delta``; ``without``: not given."""

    def build(gate: str, pairs: int, delta: float, without: int = 0) -> Tally:
        base = [float(i % 2) for i in range(pairs)]
        moved = round(abs(delta) * pairs)
        candidate: list[float | None] = list(base)
        for i in range(moved):
            candidate[2 * i + (1 if delta < 0 else 0)] = 0.0 if delta < 0 else 1.0
        return _counted(_rule(gate, gates_of), [*base, *[1.0] * without], [*candidate, *[None] * without])

    return build


@pytest.mark.parametrize(
    ("factor", "kind"), [(1.0, VerdictKind.PASS), (1.1, VerdictKind.INCONCLUSIVE), (1.35, VerdictKind.FAIL)]
)
def test_a_mean_regression(first: First, tokens: Callable[..., Tally], factor: float, kind: VerdictKind) -> None:
    """Equal means are proven, far larger ones fail, and the limit itself never ends."""
    found = first(TOKENS, tokens(20_000, factor))

    assert found.kind is kind
    assert "each value held to at most 4,096" in found.reason
    assert found.numbers["value"] == pytest.approx(100.0 * (factor - 1.0), abs=1.5)


@pytest.mark.parametrize(
    ("gate", "delta", "kind"),
    [
        (CITED, 0.0, VerdictKind.PASS), (CITED, -0.05, VerdictKind.INCONCLUSIVE), (CITED, -0.15, VerdictKind.FAIL),
        (CITED, 0.3, VerdictKind.PASS), (ABSTAINS, 0.0, VerdictKind.PASS),
        (ABSTAINS, 0.05, VerdictKind.INCONCLUSIVE), (ABSTAINS, 0.15, VerdictKind.FAIL),
        (ABSTAINS, -0.3, VerdictKind.PASS),
    ],
)  # fmt: skip
def test_a_difference_of_rates(
    first: First, rates: Callable[..., Tally], gate: str, delta: float, kind: VerdictKind
) -> None:
    """Each rule looks into its own direction only."""
    found = first(gate, rates(gate, 4000, delta))

    assert found.kind is kind
    assert found.numbers["value"] == pytest.approx(delta, abs=1e-6)


def test_a_number_that_the_candidate_does_not_give_never_proves(first: First, rates: Callable[..., Tally]) -> None:
    """It counts as the worst against a pass, and as nothing for a fail."""
    found = first(CITED, rates(CITED, 4000, 0.0, without=600))

    assert (found.kind, found.numbers["without_candidate"]) == (VerdictKind.INCONCLUSIVE, 600)
    assert "600 pairs without the candidate's" in found.reason
    silent = first(CITED, rates(CITED, 0, 0.0, without=600))
    assert silent.reason_code == "no_data"


def test_a_few_missing_numbers_only_cost_time(first: First, rates: Callable[..., Tally]) -> None:
    """1 % of them leave a pass within reach."""
    assert first(CITED, rates(CITED, 4000, 0.0, without=40)).kind is VerdictKind.PASS


def test_no_number_is_no_data(first: First, tokens: Callable[..., Tally]) -> None:
    """In the rollout or in the stage."""
    assert first(TOKENS, Tally(())).reason_code == "no_data"
    assert first(TOKENS, tokens(4000, 1.0), Tally(())).reason_code == "no_data"


def test_a_pass_rests_on_the_stage_and_a_fail_on_the_rollout(first: First, tokens: Callable[..., Tally]) -> None:
    """A good stage does not wash off what the rollout has shown."""
    assert first(TOKENS, tokens(20_000, 1.4), tokens(8000, 1.0)).kind is VerdictKind.FAIL
    assert first(TOKENS, tokens(20_000, 1.0), tokens(50, 1.0)).kind is VerdictKind.INCONCLUSIVE


def test_the_order_of_merging_is_of_no_matter(first: First, tokens: Callable[..., Tally]) -> None:
    """The verdict of a sum is that of the whole."""
    parts = [tokens(900, 1.0, seed=1), tokens(700, 1.3, seed=2), tokens(300, 0.9, seed=4)]
    ab, ba = Tally(()), Tally(())
    for part in parts:
        ab.add(part)
    for part in reversed(parts):
        ba.add(part)

    assert first(TOKENS, ab) == first(TOKENS, ba)


def test_it_says_how_many_more_it_needs(first: First, rates: Callable[..., Tally]) -> None:
    """With as many again, and the same differences, it is a pass."""
    found = first(CITED, rates(CITED, 60, 0.0))
    more = found.numbers["more_needed"]

    assert more is not None
    assert first(CITED, rates(CITED, 60 + 2 * int(more), 0.0)).kind is VerdictKind.PASS


def test_half_a_pair_is_an_error(first: First, rates: Callable[..., Tally]) -> None:
    """Units that make up no whole pairs come from no join of ours."""
    broken = rates(CITED, 400, 0.0)
    name = next(iter(broken.histograms))
    broken.histograms[name] = broken.histograms[name].copy()
    broken.histograms[name][7] += PARTS // 2

    assert first(CITED, broken).kind is VerdictKind.ERROR


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_heavy_tails_break_no_promise(sigma: float) -> None:
    """Exactly at the limit of the capped means, looked at all the time: each side errs in at most 1 of 20."""
    rule = parse_gates({"completion_tokens": {"maximum_regression_percent": 10, "cap": 1.0}})[0].number_rule()
    assert rule is not None
    random = np.random.default_rng(11)
    runs, looks, window = 120, 60, 50
    false = {"above": 0, "below": 0}
    for _ in range(runs):
        shared, ours, theirs = random.normal(size=(3, looks * window)) * sigma
        base = np.minimum(0.05 * np.exp(0.8 * shared + 0.6 * ours), 1.0)
        other = np.minimum(0.05 * np.exp(0.8 * shared + 0.6 * theirs), 1.0)
        # Thinned so that the candidate's capped mean is exactly 1.1 times the baseline's.
        base = base * (random.random(len(base)) < 1.0 / 1.1)
        places = (2.0 * (other - 1.1 * base) + 0.1) / 2.1
        counts = np.cumsum([split(part) for part in places.reshape(looks, window)], axis=0) / PARTS
        for claim in ("above", "below"):
            log_e = mean(rule.on_buckets(0.0), claim).log_e(counts)
            false[claim] += bool((log_e >= np.log(20.0)).any())

    assert max(false.values()) <= runs * (0.05 + 3 * np.sqrt(0.05 * 0.95 / runs))
