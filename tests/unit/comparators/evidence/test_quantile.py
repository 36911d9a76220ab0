"""The e-process about a ratio of latency quantiles."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import Claim
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.quantile import AtEdge, QuantileRatioEvidence, quantile_ratio
from paritygate.comparators.latency import BUCKETS, NEVER, Counts, pair_histograms, shifts

laws = settings(derandomize=True, max_examples=15, deadline=None)
CLAIMS: tuple[Claim, Claim] = ("above", "below")


def judge(test: QuantileRatioEvidence, counts: dict[str, Counts]) -> AtEdge:
    return test.paired(
        counts[f"exceed.{test.shift}.up"],
        counts[f"exceed.{test.shift}.down"],
        counts["latency.baseline"],
        counts["latency.candidate"],
    )


def everywhere(test: QuantileRatioEvidence, p: float, claim: Claim, counts: dict[str, Counts]) -> float:
    """The definition, at every edge without any shortcut."""
    up, down = (np.cumsum(counts[f"exceed.{test.shift}.{way}"]) for way in ("up", "down"))
    base, candidate = (np.cumsum(counts[f"latency.{arm}"][::-1])[::-1] for arm in ("baseline", "candidate"))
    candidate = candidate[np.clip(np.arange(BUCKETS) + test.shift, 0, NEVER)]
    total = int(counts["latency.baseline"].sum())
    other: Claim = "below" if claim == "above" else "above"
    terms = [
        paired(0.0, claim).log_e(up, down, total),
        bernoulli(1 - p, claim).log_e(candidate, total),
        bernoulli(1 - p, other).log_e(base, total),
    ]
    mean = np.logaddexp.reduce(terms) - math.log(3)
    return float(mean[0 if claim == "above" else 1 :].min())


def lognormal(seed: int, total: int, ratio: float, failing: float = 0.0) -> dict[str, Counts]:
    random = np.random.default_rng(seed)
    shared, ours, theirs = random.normal(size=(3, total)) * 0.6
    base = np.exp(3 + 0.84 * shared + 0.55 * ours)
    candidate = ratio * np.exp(3 + 0.84 * shared + 0.55 * theirs)
    candidate[random.random(total) < failing] = np.inf
    return pair_histograms(base, candidate, shifts(10.0))


@laws
@given(st.integers(0, 99), st.integers(0, 400), st.sampled_from([0.8, 1.0, 1.1, 1.4]), st.sampled_from([0.5, 0.95]))
def test_the_search_finds_the_least_over_all_edges(seed: int, total: int, ratio: float, p: float) -> None:
    """Looking closely at a few blocks gives what looking at all 3970 edges gives, exactly."""
    counts = lognormal(seed, total, ratio, failing=0.02)
    for claim in CLAIMS:
        test = quantile_ratio(p, 10.0, claim)

        assert judge(test, counts).log_e == pytest.approx(everywhere(test, p, claim, counts), abs=1e-12)


@pytest.mark.parametrize("claim", CLAIMS)
def test_mean_is_at_most_one_in_the_null(claim: Claim) -> None:
    """Exact enumeration of paired two-point laws whose medians have exactly the limit's ratio: E[E_n] <= 1."""
    ratio = 1.0 + 10.0 / 100.0
    base, candidate = (10.0, 30.0), (10.0 * ratio, 30.0 * ratio)
    # P(baseline = 30) = P(candidate = 30 R) = 1/2: every x in (10, 30] is a median of the baseline.
    chances = {(0, 0): 0.35, (1, 1): 0.35, (0, 1): 0.15, (1, 0): 0.15}
    test = quantile_ratio(0.5, 10.0, claim)
    for total in (1, 2, 4):
        mean = 0.0
        for sample in product(chances, repeat=total):
            found = pair_histograms(
                np.array([base[b] for b, _ in sample]), np.array([candidate[c] for _, c in sample]), [test.shift]
            )
            mean += math.prod(chances[pair] for pair in sample) * math.exp(judge(test, found).log_e)

        assert mean <= 1.0 + 1e-9


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_unit_does_not_matter(claim: Claim) -> None:
    """The same latencies times 2^10 give the same number: only buckets move."""
    random = np.random.default_rng(5)
    base = np.exp(random.normal(1, 0.6, 400))
    candidate = base * np.exp(random.normal(0.2, 0.2, 400))
    test = quantile_ratio(0.95, 10.0, claim)
    there, back = (
        judge(test, pair_histograms(base * unit, candidate * unit, [test.shift])).log_e for unit in (1.0, 1024.0)
    )

    assert there == pytest.approx(back, abs=1e-12)


def test_slower_answers_never_speak_for_the_candidate() -> None:
    """Making one candidate answer slower cannot lower E_bad or raise E_ok."""
    random = np.random.default_rng(8)
    base, candidate = np.exp(random.normal(3, 0.6, (2, 300)))
    slower = candidate.copy()
    slower[np.argsort(candidate)[-12:]] *= 3.0
    slower[7] = np.inf
    for claim, sign in (("above", 1), ("below", -1)):
        test = quantile_ratio(0.95, 10.0, claim)
        before, after = (judge(test, pair_histograms(base, c, [test.shift])).log_e for c in (candidate, slower))

        assert sign * (after - before) >= -1e-12


def test_it_decides_with_the_published_number_of_pairs() -> None:
    """statistics.md section 2: +30 % is found by 2200 pairs in nine of ten cases, +0 % proven by 10,000."""
    assert judge(quantile_ratio(0.95, 10.0, "above"), lognormal(2, 2200, 1.3)).log_e >= math.log(20)
    assert judge(quantile_ratio(0.95, 10.0, "below"), lognormal(2, 10_000, 1.0)).log_e >= math.log(20)
    assert judge(quantile_ratio(0.95, 10.0, "above"), lognormal(2, 10_000, 1.0)).log_e < 0.0
    assert judge(quantile_ratio(0.95, 10.0, "below"), lognormal(2, 2200, 1.3)).log_e < 0.0


def test_failed_answers_cannot_hide() -> None:
    """10 % failed answers move the p95 beyond every limit, however fast the others are."""
    counts = lognormal(4, 1500, 0.7, failing=0.10)

    assert judge(quantile_ratio(0.95, 10.0, "above"), counts).log_e >= math.log(20)
    assert judge(quantile_ratio(0.95, 10.0, "below"), counts).log_e < 0.0


def test_separate_answers_are_compared_by_share() -> None:
    """The unpaired form finds a doubled p95 and proves an equal one, at its larger price."""
    random = np.random.default_rng(9)
    base = np.exp(random.normal(3, 0.6, 9000))
    for ratio, claim in ((2.0, "above"), (0.8, "below")):
        other = ratio * np.exp(random.normal(3, 0.6, 9000))
        counts = pair_histograms(base, other, [])
        found = quantile_ratio(0.95, 10.0, claim).unpaired(
            counts["latency.baseline"], counts["latency.candidate"], 0.5
        )

        assert found.log_e >= math.log(20)


def test_more_pairs_needed_shrinks_with_evidence() -> None:
    """The estimate is a number where the comparison grows, and unknown where it does not."""
    test = quantile_ratio(0.95, 10.0, "below")
    for ratio, known in ((0.9, True), (1.4, False)):
        counts = lognormal(6, 800, ratio)
        found = judge(test, counts)
        up, down = counts[f"exceed.{test.shift}.up"], counts[f"exceed.{test.shift}.down"]

        assert (test.more_needed(up, down, 800, found, math.log(20)) is not None) is known


def test_nothing_is_no_evidence() -> None:
    """Empty histograms give E = 1."""
    empty = np.zeros(BUCKETS, np.int64)
    for claim in CLAIMS:
        assert quantile_ratio(0.95, 10.0, claim).paired(empty, empty, empty, empty).log_e == pytest.approx(0.0)


@pytest.mark.parametrize("claim", CLAIMS)
def test_many_rows_are_what_each_is_alone(claim: Claim) -> None:
    """The values and edges of rows judged together, empty ones among them, are those of each by itself."""
    test = quantile_ratio(0.95, 10.0, claim)
    sets = [lognormal(seed, 40 * seed, 0.8 + 0.1 * seed, failing=0.02 * (seed % 3)) for seed in range(1, 9)]
    sets.append({name: np.zeros_like(counts) for name, counts in sets[0].items()})
    names = (f"exceed.{test.shift}.up", f"exceed.{test.shift}.down", "latency.baseline", "latency.candidate")
    log_e, edge = test.paired_rows(*(np.array([counts[name] for counts in sets]) for name in names))

    for row, counts in enumerate(sets[:-1]):
        assert AtEdge(float(log_e[row]), int(edge[row])) == judge(test, counts)
        assert log_e[row] == pytest.approx(everywhere(test, 0.95, claim, counts), abs=1e-9)
    assert log_e[-1] == pytest.approx(0.0, abs=1e-12)
