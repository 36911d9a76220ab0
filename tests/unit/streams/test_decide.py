from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import DECISION, TrustedKeys
from paritygate.schemas.topics import AUDIT, DECISIONS
from paritygate.streams.app import read_signer
from paritygate.streams.decide import Chain, Decider
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.settings import WorkerSettings
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC


def decision(sequence: int, before: GateDecision | None = None, reason: str = "so") -> GateDecision:
    return GateDecision(
        rollout_id="r", sequence=sequence, previous=before.digest() if before else "", action=Action.HOLD,
        stage="shadow", weight=0, from_stage="shadow", reason_code="test", reason=reason, at_ms=1,
        baseline_version="1", candidate_version="2", policy_digest="p", evidence_digest="e",
    )  # fmt: skip


ZERO = decision(0)
ONE = decision(1, ZERO)


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


class Sent:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def send(self, records: Any) -> list[int]:
        self.records += list(records)
        return []


@pytest.mark.parametrize("signs", [False, True])
async def test_decisions_are_signed_where_a_key_is_set(tmp_path: Path, signs: bool) -> None:
    """In the audit and for routers; the bytes of the value are the same with a key and without."""
    (tmp_path / "decider.key").write_bytes(PRIVATE)
    key = str(tmp_path / "decider.key") if signs else ""
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), signing_key=key)
    sent = Sent()
    decider = Decider(settings, sent, WorkerMetrics(), read_signer(settings))  # type: ignore[arg-type]
    await decider._write([ZERO])

    assert [r.topic for r in sent.records] == [AUDIT.name, DECISIONS.name]
    for record in sent.records:
        assert record.value == ZERO.to_bytes()
        refusal = TrustedKeys(PUBLIC, "pub").refusal(DECISION, record.value, record.headers)
        assert refusal == ("" if signs else "it is not signed")


def test_a_key_that_is_not_there_ends_the_worker_at_its_start(tmp_path: Path) -> None:
    """It must not go on unsigned: routers would obey nothing it says."""
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), signing_key=str(tmp_path / "no.key"))

    with pytest.raises(ConfigError, match=r"PARITYGATE_WORKER_SIGNING_KEY .*no\.key cannot be read"):
        read_signer(settings)
