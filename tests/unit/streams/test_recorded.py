from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from paritygate.schemas.decision import GateDecision
from paritygate.schemas.signature import DECISION, Signer, TrustedKeys
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.recorded import AuditTrust, Chain
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC
from tests.unit.streams.test_decide import ONE, ZERO, decision


def test_own_decisions_are_ours() -> None:
    """What this decider derived, in order, and each repetition of it."""
    chain = Chain([ZERO])
    two = decision(2, ONE)
    chain.derived(ONE)
    chain.derived(two)
    assert [chain.is_ours(d.to_bytes()) for d in (ZERO, ONE, ONE, two, ONE)] == [True] * 5


def test_another_content_that_was_first_is_not_ours() -> None:
    """Every reader takes the first that continues the chain; what we derived for that place counts no more."""
    chain = Chain([ZERO])
    chain.derived(ONE)
    assert not chain.is_ours(decision(1, ZERO, "another").to_bytes())


def test_decision_that_we_have_not_derived_is_not_ours() -> None:
    """Another decider is ahead: fold again, with its decision in the record."""
    assert not Chain([ZERO]).is_ours(ONE.to_bytes())
    assert not Chain([]).is_ours(ZERO.to_bytes())


def test_forks_behind_ours_are_no_matter() -> None:
    """What nobody obeys is passed over: a second content of a place, a gap, another chain, junk."""
    chain = Chain([ZERO])
    chain.derived(ONE)
    assert chain.is_ours(ONE.to_bytes())
    late = decision(1, ZERO, "another")
    for value in (late.to_bytes(), decision(2, late).to_bytes(), decision(5, ONE).to_bytes(), b"junk", b""):
        assert chain.is_ours(value)


def record(offset: int, value: GateDecision, *, signed: bool = False) -> Any:
    headers = Signer(PRIVATE, "key").headers(DECISION, value.to_bytes()) if signed else []
    return SimpleNamespace(topic="audit.v1", offset=offset, value=value.to_bytes(), headers=headers)


def test_what_no_signature_speaks_for_is_no_part_of_the_record(caplog: pytest.LogCaptureFixture) -> None:
    """A forged decision that was first in the log does not count, and the genuine one does; it is told once, and by
    the decider that finds it at the end of the log."""
    forged, two = decision(1, ZERO, "by an intruder"), decision(2, ONE)
    records = [
        record(0, ZERO, signed=True),
        record(1, forged),
        record(2, ONE),
        record(3, two, signed=True),
        record(4, decision(3, two, "by an intruder")),
    ]
    metrics = WorkerMetrics()
    trust = AuditTrust(TrustedKeys(PUBLIC, "pub"), metrics)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            believed = trust.believed([trust.take(r) for r in records])
        assert trust.refuses(record(5, forged))
        assert not trust.refuses(record(6, decision(3, two), signed=True))

    assert [d for d, _ in believed] == [ZERO, ONE, two]
    assert [r.getMessage() for r in caplog.records] == [
        "audit.v1 offset 4 is refused: decision 3 of r: it is not signed",
        "audit.v1 offset 5 is refused: it is not signed",
    ]
    assert "paritygate_worker_decisions_refused_total 2.0" in generate_latest(metrics.registry).decode()
    everybody = AuditTrust(None, WorkerMetrics())
    assert len(everybody.believed([everybody.take(r) for r in records])) == len(records)
    assert not everybody.refuses(record(5, forged))
