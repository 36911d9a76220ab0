"""Failures that are told late must not make a proof: the stage takes windows whole, or not yet."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.tally import INDEX, Tally
from paritygate.rollouts.ledger import Ledger
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import WINDOW_MS, report

PARTITIONS = 4
WINDOWS = 40
REQUESTS = 6
LIMIT = 0.1
ALPHA = 0.05
#: A failure is a timeout: its answer comes so many windows after the others.
DELAY = 8
RUNS = 200


def told(random: np.random.Generator) -> Iterator[WindowReport]:
    """Reports as they come: in order within a partition, behind each of its failures ``DELAY`` windows late."""
    failed = random.binomial(REQUESTS, LIMIT, (WINDOWS, PARTITIONS))
    coming: list[tuple[int, int, int]] = []
    for p in range(PARTITIONS):
        ready = 0
        for w in range(WINDOWS):
            ready = max(ready, w + 1 + (DELAY if failed[w, p] else 0))
            heapq.heappush(coming, (ready, w, p))
    while coming:
        _, w, p = heapq.heappop(coming)
        yield report(w, p, requests=REQUESTS, errors=int(failed[w, p]), partitions=PARTITIONS)


def ever_proven(looks: list[tuple[int, int]]) -> bool:
    """Whether the evidence (failed, requests) of one of the looks is a proof."""
    failed, requests = np.array(looks, np.int64).T
    return bool((bernoulli(LIMIT, "below").log_e(failed, requests) >= math.log(1.0 / ALPHA)).any())


def look(tally: Tally) -> tuple[int, int]:
    counts = tally.overall()
    return int(counts[INDEX["candidate_errors"]]), int(counts[INDEX["requests"]])


def test_a_candidate_at_its_limit_is_not_proven_by_the_order_of_its_reports() -> None:
    """A look after every report: false proofs stay within alpha, while counting whatever came first does not."""
    random = np.random.default_rng(20_240_611)
    by_stage = by_arrival = 0
    for _ in range(RUNS):
        book = Ledger(("origin",), WINDOW_MS)
        stage: list[tuple[int, int]] = []
        arrival: list[tuple[int, int]] = []
        for r in told(random):
            book.take(r)
            stage.append(look(book.stage))
            arrival.append(look(book.whole))
        by_stage += ever_proven(stage)
        by_arrival += ever_proven(arrival)
        assert stage[-1] == arrival[-1]

    three_sigma = 3.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / RUNS)
    assert by_stage / RUNS <= ALPHA + three_sigma
    assert by_arrival / RUNS > ALPHA + three_sigma
