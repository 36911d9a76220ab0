from __future__ import annotations

from types import SimpleNamespace

from paritygate.rollouts.fold import Fold
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.signature import COMMAND, DECISION, Signer, Trust, TrustedKeys
from paritygate.schemas.topics import AUDIT, ROLLOUTS
from paritygate.streams.control import RolloutRegistry
from tests.unit.rollouts.conftest import command
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC


def test_nobody_waits_for_a_start_that_no_key_has_signed() -> None:
    """With keys: only a signed start may still be accepted; one that a decision names was, signed or not."""
    keys, signer = TrustedKeys(PUBLIC, "pub"), Signer(PRIVATE, "key")
    kafka = KafkaSettings(bootstrap="b:1")
    registry = RolloutRegistry(kafka, retire_after_s=1, clock_ms=lambda: 0, trust=Trust(commands=keys))

    def take(topic: str, offset: int, value: bytes, *, signed: bool = False) -> None:
        headers = signer.headers(COMMAND, value) if signed else []
        registry._take(SimpleNamespace(topic=topic, offset=offset, value=value, headers=headers))

    forged, asked, before = (command("start", r, service=r) for r in ("x1", "r2", "r1"))
    take(ROLLOUTS.name, 0, before.to_bytes())
    take(ROLLOUTS.name, 1, forged.to_bytes())
    take(ROLLOUTS.name, 2, asked.to_bytes(), signed=True)
    assert registry._undecided() == {"r2"}
    (started,) = Fold().apply_command(0, before)
    take(AUDIT.name, 0, started.to_bytes())
    registry._adopt()

    assert set(registry.plans) == {"r1"}
    assert registry._undecided() == {"r2"}


def test_a_forged_record_neither_starts_nor_ends_a_rollout() -> None:
    """With keys of deciders: what is unsigned counts from before the first signature, or where one continues it."""
    trust, signer = Trust(decisions=TrustedKeys(PUBLIC, "pub")), Signer(PRIVATE, "key")
    registry = RolloutRegistry(KafkaSettings(bootstrap="b:1"), retire_after_s=0, clock_ms=lambda: 0, trust=trust)
    starts = [command("start", r, service=r) for r in ("r1", "r2", "r3", "x1")]
    fold = Fold()
    old, new, bounced, forged = (d for n, start in enumerate(starts) for d in fold.apply_command(n, start))
    (end,) = fold.apply_command(4, command("rollback", "r1"))
    (paused,) = fold.apply_command(5, command("pause", "r3"))

    def take(decision: GateDecision, *, signed: bool = False) -> None:
        value = decision.to_bytes()
        headers = signer.headers(DECISION, value) if signed else []
        registry._take(SimpleNamespace(topic=AUDIT.name, offset=0, value=value, headers=headers))
        registry._adopt()

    for n, start in enumerate(starts):
        registry._take(SimpleNamespace(topic=ROLLOUTS.name, offset=n, value=start.to_bytes(), headers=[]))
    take(old)
    take(new, signed=True)
    take(bounced)
    take(forged)
    take(end)
    assert set(registry.plans) == set(registry.live()) == {"r1", "r2"}
    take(paused, signed=True)
    take(end, signed=True)

    assert set(registry.plans) == {"r1", "r2", "r3"}
    assert set(registry.live()) == {"r2", "r3"}
