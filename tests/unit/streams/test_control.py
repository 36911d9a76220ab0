from __future__ import annotations

from types import SimpleNamespace

from paritygate.rollouts.fold import Fold
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.signature import COMMAND, Signer, TrustedKeys
from paritygate.schemas.topics import AUDIT, ROLLOUTS
from paritygate.streams.control import RolloutRegistry
from tests.unit.rollouts.conftest import command
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC


def test_nobody_waits_for_a_start_that_no_key_has_signed() -> None:
    """With keys: only a signed start may still be accepted; one that a decision names was, signed or not."""
    keys, signer = TrustedKeys(PUBLIC, "pub"), Signer(PRIVATE, "key")
    kafka = KafkaSettings(bootstrap="b:1")
    registry = RolloutRegistry(kafka, retire_after_s=1, clock_ms=lambda: 0, command_keys=keys)

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
