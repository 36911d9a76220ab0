"""Large segments are proven by themselves before a gate on a rate passes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import comb

import numpy as np
import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Evidence, assess_gates
from paritygate.gates.segment_proof import SegmentCounts, log_e_ok
from paritygate.gates.spec import GateSpec, parse_gates
from paritygate.gates.verdict import Verdict, VerdictKind

Build = Callable[..., Tally]
ERRORS = "error_rate: {maximum: 0.01}"


def gate(**entry: object) -> GateSpec:
    return parse_gates({"error_rate": entry})[0]


def counts(requests: int, worse: int = 0, better: int = 0, both: int = 0) -> dict[str, int]:
    return {
        "requests": requests, "pairs": requests, "candidate_errors": worse + both, "baseline_errors": better + both,
        "candidate_only_errors": worse, "baseline_only_errors": better,
    }  # fmt: skip


@pytest.fixture
def judged(tally_of: Build, gates_of: Callable[[str], tuple[GateSpec, ...]]) -> Callable[..., Verdict]:
    """judged(cells, gates, ratio): the first verdict on cells of one dimension."""

    def judge(cells: dict[str, dict[str, int]], gates: str = ERRORS, ratio: float = 0.2) -> Verdict:
        whole = tally_of(("tier",), {(tier,): named for tier, named in cells.items()})
        evidence = Evidence(whole=whole, stage=whole, stage_name="shadow", weight=0)
        return assess_gates(gates_of(gates), evidence, prove_segments_above_ratio=ratio).verdicts[0]

    return judge


def test_a_large_segment_that_is_not_proven_holds(judged: Callable[..., Verdict]) -> None:
    """All requests are proven below 1 %, a quarter of them is at 1.2 %: the gate waits and names it."""
    found = judged({"big": counts(3000, 3, 3), "sick": counts(1000, 12, 4)})

    assert (found.kind, found.reason_code, found.segment) == (
        VerdictKind.INCONCLUSIVE,
        "segment_unproven",
        "tier=sick",
    )
    assert found.reason.endswith(
        "proven at most 1 %, but 12 of 1,000 requests failed in tier=sick;"
        " at this rate at most 1 % cannot be proven there"
    )
    assert (found.numbers["segment_bad"], found.numbers["segment_total"]) == (12, 1000)
    assert found.numbers["more_needed"] is None


def test_small_segments_are_not_asked(judged: Callable[..., Verdict]) -> None:
    """The same segment below the declared ratio holds nothing; at it, it does."""
    cells = {"big": counts(3000, 3, 3), "sick": counts(1000, 12, 11)}

    assert judged(cells, ratio=0.26).kind is VerdictKind.PASS
    assert judged(cells, ratio=0.25).kind is VerdictKind.INCONCLUSIVE


def test_what_is_still_needed_is_enough(judged: Callable[..., Verdict]) -> None:
    """The number in the reason counts requests of all segments, and with about so many more the gate passes."""
    found = judged({"big": counts(900), "other": counts(300)})
    assert found.reason_code == "segment_unproven"
    more = found.numbers["more_needed"]
    assert isinstance(more, int)
    assert "more in all are needed to prove at most 1 % there" in found.reason

    grown = 1200 + more * 11 // 10
    assert judged({"big": counts(grown * 3 // 4), "other": counts(grown // 4 + 1)}).kind is VerdictKind.PASS
    assert 50 < more < 400


def test_the_slowest_segment_is_named(judged: Callable[..., Verdict]) -> None:
    """Of two that are not proven, the one that needs more."""
    found = judged({"a": counts(600), "b": counts(300), "c": counts(300, 1)})

    assert found.segment == "tier=c"


def test_where_the_baseline_is_above_the_limit_the_candidate_must_be_no_worse(
    judged: Callable[..., Verdict],
) -> None:
    """Airport X fails 3 % in both arms: no candidate could prove 1 % there, and this one is not worse."""
    cells = {"fine": counts(90000, 40, 40), "x": counts(3500, 5, 8, 100)}

    assert judged(cells, ratio=0.03).kind is VerdictKind.PASS
    # Four percent over the baseline's three is not: it breaks the limit, and the excess does.
    worse = judged({"fine": counts(90000, 40, 40), "x": counts(3500, 45, 8, 100)}, ratio=0.03)
    assert worse.kind is VerdictKind.FAIL


def test_a_baseline_that_is_only_perhaps_above_the_limit_is_no_excuse(judged: Callable[..., Verdict]) -> None:
    """Without proof that the baseline is above the limit, the limit itself is to be proven."""
    found = judged({"fine": counts(9000, 4, 4), "x": counts(3000, 12, 12, 22)})

    assert (found.reason_code, found.segment) == ("segment_unproven", "tier=x")


def test_change_rates_are_proven_against_their_segment_limit(judged: Callable[..., Verdict]) -> None:
    """5 % in all, 12 % in a segment that may have 15 % (three times the limit): proven; that may have 12 %: not."""
    cells = {
        "a": {"requests": 9000, "pairs": 9000, "output_changes": 90},
        "b": {"requests": 3000, "pairs": 3000, "output_changes": 360},
    }

    assert judged(cells, "output_change_rate: {maximum: 0.05}").kind is VerdictKind.PASS
    strict = judged(cells, "output_change_rate: {maximum: 0.05, segment_maximum: 0.12}")
    assert (strict.reason_code, strict.segment) == ("segment_unproven", "tier=b")
    assert "at most 12 %" in strict.reason


def test_a_regression_is_proven_in_large_segments(judged: Callable[..., Verdict]) -> None:
    """The ratio in all is proven, the one in a quarter of the requests is not."""
    found = judged(
        {"a": counts(30000, 200, 300, 300), "b": counts(10000, 9, 9, 1)},
        "error_rate: {maximum_regression_percent: 50}",
    )

    assert (found.reason_code, found.segment) == ("segment_unproven", "tier=b")
    assert "at most 50 % more than the baseline" in found.reason


@pytest.mark.parametrize(
    ("worse", "better", "both"),
    [(0.3, 0.0, 0.0), (0.3, 0.3, 0.0), (0.2, 0.2, 0.1), (0.35, 0.0, 0.3), (0.45, 0.05, 0.3), (0.3, 0.0, 0.5)],
)
def test_the_proof_is_an_e_value_on_its_whole_null(worse: float, better: float, both: float) -> None:
    """Exact enumeration at a limit of 0.3: the candidate breaks it, and the baseline keeps it or the excess is 0.3
    or more. The mean of E is at most 1 for every number of pairs up to 10."""
    spec = gate(maximum=0.3)
    for pairs in range(1, 11):
        mean = 0.0
        for w, b, x in product(range(pairs + 1), repeat=3):
            none = pairs - w - b - x
            if none < 0:
                continue
            ways = comb(pairs, w) * comb(pairs - w, b) * comb(pairs - w - b, x)
            chance = ways * worse**w * better**b * both**x * (1.0 - worse - better - both) ** none
            one = [np.array([n]) for n in (w + x, pairs, w, b, pairs, b + x, pairs)]
            mean += chance * float(np.exp(log_e_ok(spec, SegmentCounts(*one))[0]))

        assert mean <= 1.0 + 1e-9


def test_a_segment_at_the_limit_is_rarely_called_proven() -> None:
    """600 runs, 40 looks: a segment exactly at 1 % is called proven in less than 5 % (three sigma: 7.7 %)."""
    random, spec = np.random.default_rng(8), gate(maximum=0.01)
    bad = np.cumsum(random.binomial(50, 0.01, (600, 40)), axis=1)
    base = np.cumsum(random.binomial(50, 0.01, (600, 40)), axis=1)
    total = np.broadcast_to(np.arange(50, 2001, 50), bad.shape)
    found = log_e_ok(spec, SegmentCounts(bad, total, bad, base, total, base, total))

    assert (found >= np.log(20.0)).any(axis=1).mean() < 0.077
