"""What stands in the audit: whether it is to be believed, and whether it is what this decider derived."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paritygate.rollouts.replay import chained
from paritygate.rollouts.vouched import vouched
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.signature import DECISION, TrustedKeys
from paritygate.streams.metrics import WorkerMetrics

log = logging.getLogger(__name__)

#: A decision and the record of the audit that holds it; None where nobody asks for its signature.
Recorded = tuple[GateDecision, Any]


class Chain:
    """Whether the chains in the audit are those that this decider derived."""

    def __init__(self, recorded: Iterable[GateDecision]) -> None:
        self._heads = {d.rollout_id: (d.sequence, d.digest()) for d in chained(recorded)}
        self._ours: dict[tuple[str, int], GateDecision] = {}

    def derived(self, decision: GateDecision) -> None:
        """Call it before the decision is written."""
        self._ours[decision.rollout_id, decision.sequence] = decision

    def is_ours(self, value: bytes) -> bool:
        """The next record of the audit, in log order. Repetitions and forks, which nobody obeys, are no matter."""
        try:
            decision = GateDecision.from_bytes(value)
        except PoisonError:
            return True
        rollout, sequence = decision.rollout_id, decision.sequence
        before, head = self._heads.get(rollout, (-1, ""))
        if sequence != before + 1 or decision.previous != head:
            return True
        self._heads[rollout] = sequence, decision.digest()
        ours = self._ours.pop((rollout, sequence), None)
        return ours is not None and ours.digest() == decision.digest()


class AuditTrust:
    """Which records of the audit count. ``keys``: those of deciders; None: everybody's."""

    def __init__(self, keys: TrustedKeys | None, metrics: WorkerMetrics) -> None:
        self._keys = keys
        self._metrics = metrics
        self._told: set[int] = set()

    def take(self, record: Any) -> Recorded:
        """Read one record.

        :raises PoisonError: it is no decision.
        """
        return GateDecision.from_bytes(record.value or b""), None if self._keys is None else record

    def believed(self, audit: Sequence[Recorded]) -> list[Recorded]:
        """Of everything that stands there, in log order, what is signed or continued by what is."""
        if self._keys is None:
            return list(audit)
        counts = vouched([decision for decision, _ in audit], lambda place: not self._refusal(audit[place][1]))
        last = max((place for place, counted in enumerate(counts) if counted), default=-1)
        for place, (decision, record) in enumerate(audit):
            if not counts[place]:
                # What stands before the newest one that counts was told by the decider that wrote that.
                what = f"decision {decision.sequence} of {decision.rollout_id}"
                self._tell(record, f"{what}: {self._refusal(record)}", known=place < last)
        return [entry for entry, counted in zip(audit, counts, strict=True) if counted]

    def refuses(self, record: Any) -> bool:
        """Whether a record that is written now does not count; it is told then."""
        why = self._refusal(record)
        if why:
            self._tell(record, why)
        return bool(why)

    def unsigned(self, newest: Mapping[str, GateDecision], audit: Sequence[Recorded]) -> list[GateDecision]:
        """Of the newest decision of each rollout, those that no trusted key signed; none without keys."""
        if self._keys is None:
            return []
        signed = {
            decision.rollout_id
            for decision, record in audit
            if decision == newest.get(decision.rollout_id) and not self._refusal(record)
        }
        return [decision for rollout, decision in newest.items() if rollout not in signed]

    def _refusal(self, record: Any) -> str:
        return "" if self._keys is None else self._keys.refusal(DECISION, record.value or b"", record.headers)

    def _tell(self, record: Any, why: str, *, known: bool = False) -> None:
        if record.offset in self._told:
            return
        self._told.add(record.offset)
        level = logging.DEBUG if known else logging.WARNING
        log.log(level, "%s offset %d is refused: %s", record.topic, record.offset, why)
        if not known:
            self._metrics.disbelieved()
