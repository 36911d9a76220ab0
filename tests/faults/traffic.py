"""Traffic of the fault runs: seeded, with every trouble that a log can hold, laid down before a worker reads it.

Law: what becomes of each record follows from the log alone. A record is out of order by less than lateness and
grace together, or late by far; its time stands on it (``CreateTime``), so that no machine is too slow for it.
It shares no code with the product but the topics' names: records are written with fastavro and orjson.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import orjson
from fastavro import schemaless_writer

from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.registry import REGISTRY
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from tests.faults.older import older_schema
from tests.support.traffic import PLAN_YAML

#: Event time of a whole run, whatever the number of pairs.
SPAN_MS = 100_000
#: Usual delay of a record, and that of the one request in twenty whose two answers are slow: beyond the lateness
#: (1.5 s), so that windows which were reported change again, and below lateness and grace (4.5 s).
USUAL_MS, SLOW_MS = 1_000, 4_000
#: Repeats come up to so long after the first, most of them after their window was closed and reported.
REPEATED_MS = 8_000
LATE_MS = 45_000
AHEAD_MS = 3_600_000
#: Rollout of the records that only let time pass.
NOBODY = "nobody"
CONFLUENT_ID = 7
CANDIDATE_POD = 1
COMPRESSIONS = ("none", "lz4", "zstd", "gzip", "snappy")


class Sent(NamedTuple):
    """One record. ``partition`` is None where the key decides."""

    topic: str
    key: str
    value: bytes
    at_ms: int
    partition: int | None = None


def plan_of(rollout: str, exhaustions: int = 1_000) -> RolloutPlan:
    """A plan that holds in shadow; its windows stay updatable while repeats may come.

    ``exhaustions``: of the candidate's memory that may be; one more rolls back.
    """
    text = PLAN_YAML + f"  gpu_oom_events: {{{{maximum: {exhaustions}}}}}\n"
    text = text.format(rollout=rollout, grace_ms=3_000, dedupe_ms=10_000, max_future_ms=60_000)
    return RolloutPlan.from_yaml(text.replace("retain_ms: 2000", "retain_ms: 8000"))


@dataclass(frozen=True)
class FaultTraffic:
    """Records of ``pairs`` requests that begin at ``start_ms``; the same for the same seed."""

    rollout: str
    pairs: int
    start_ms: int
    seed: int
    partitions: int = 4
    repeats: float = 0.01

    @cached_property
    def _schemas(self) -> dict[str, Any]:
        return {
            "now": REGISTRY.by_version("PredictionEvent", 1), "old": older_schema(),
            "outcome": REGISTRY.newest("Outcome"), "platform": REGISTRY.newest("PlatformEvent"),
        }  # fmt: skip

    @property
    def end_ms(self) -> int:
        """Event time after every record but those that let time pass."""
        return self.start_ms + SPAN_MS + 10_000

    @property
    def exhaustions(self) -> int:
        """How often the candidate's memory is exhausted in :meth:`records`."""
        return sum(_is_exhausted(s) for s in self._reported())

    def _reported(self) -> range:
        return range(self.start_ms, self.start_ms + SPAN_MS, 1_000)

    def records(self) -> Iterator[Sent]:
        """All records in the order in which they are to lie in the log."""
        made = sorted(self._dues(), key=lambda due: due[0])
        for due_ms, number, what in made:
            yield from self._record(due_ms, number, what)

    def closing(self) -> Iterator[Sent]:
        """Records of nobody's rollout far behind the others: they close every window."""
        for topic in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW):
            for partition in range(self.partitions):
                event = self._event("closing", "baseline", "primary", self.end_ms + 60_000, random.Random(0))
                yield Sent(
                    topic.name, "closing", self._avro("now", {**event, "rollout_id": NOBODY}), self.end_ms + 60_000,
                    partition,
                )  # fmt: skip

    def exhausted(self, number: int, at_ms: int) -> Sent:
        """One more memory exhaustion of the candidate, the ``number``-th of its kind: it says as many restarts."""
        return self._platform(at_ms, CANDIDATE_POD, "candidate", gpu_ooms=1, restarts=number)

    def _at_ms(self, number: int) -> int:
        return self.start_ms + number * SPAN_MS // self.pairs

    def _dues(self) -> list[tuple[int, int, str]]:
        rng = np.random.default_rng(self.seed)
        n = self.pairs
        at = self.start_ms + np.arange(n) * SPAN_MS // n
        slow = rng.random(n) < 0.05
        luck = rng.random(n)
        found: list[tuple[int, int, str]] = []
        for arm, missing in (("b", luck < 0.005), ("c", (luck >= 0.005) & (luck < 0.013))):
            # Both answers of a slow request come after its window was closed and reported.
            delay = np.where(slow, rng.integers(2_000, SLOW_MS, n), rng.integers(0, USUAL_MS, n))
            due = at + delay
            again = rng.random(n) < self.repeats
            other = rng.random(n) < 0.3
            more = due + rng.integers(1, REPEATED_MS, n)
            found += [(int(due[i]), i, arm) for i in np.flatnonzero(~missing).tolist()]
            for i in np.flatnonzero(~missing & again).tolist():
                found.append((int(more[i]), i, arm + ("x" if other[i] else "")))
        for i in np.flatnonzero(rng.random(n) < 0.2).tolist():
            found.append((int(at[i]), i, "o"))
            if i % 20 == 0:
                found.append((int(at[i]) + 500, i, "o"))
        few = max(20, n // 1000)
        # Late ones can only lie where the log is older than they are.
        for kind, begin_ms, count in (("l", 70_000, few), ("p", 0, few // 2), ("n", 0, few // 4)):
            # Not at the very end: they are told in the window that is open when time next moves.
            dues = rng.integers(self.start_ms + begin_ms, self.start_ms + SPAN_MS - 15_000, count)
            found += [(int(due), k, kind) for k, due in enumerate(dues)]
        found += [(s, s, "r") for s in self._reported()]
        return found

    def _record(self, due_ms: int, number: int, what: str) -> Iterator[Sent]:
        if what[0] in "bc":
            yield self._prediction(due_ms, number, "baseline" if what[0] == "b" else "candidate", what[1:] == "x")
        elif what == "o":
            yield self._outcome(due_ms, number)
        elif what == "l":
            rng = random.Random(f"{self.seed}l{number}")
            arm = rng.choice(["baseline", "candidate"])
            role = "primary" if arm == "baseline" else "shadow"
            topic = PREDICTIONS_PRIMARY if arm == "baseline" else PREDICTIONS_SHADOW
            event = self._event(f"late-{number}", arm, role, due_ms - LATE_MS, rng)
            yield Sent(topic.name, event["request_id"], self._avro("now", event), due_ms)
        elif what == "p":
            topic = (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES, PLATFORM)[number % 4]
            yield Sent(topic.name, f"junk-{number}", (b"junk", b"{}", b"\xc3\x01junk")[number % 3], due_ms)
        elif what == "n":
            event = self._event(f"no-{number}", "baseline", "primary", due_ms, random.Random(number))
            value = self._avro("now", {**event, "rollout_id": NOBODY})
            yield Sent(PREDICTIONS_PRIMARY.name, event["request_id"], value, due_ms)
        else:
            for pod, arm in enumerate(("baseline", "candidate")):
                yield self._platform(due_ms, pod, arm)

    def _prediction(self, due_ms: int, number: int, arm: str, conflicting: bool) -> Sent:
        # One stream of luck for the request, one for the arm: a repeat must say the same.
        luck = random.Random(f"{self.seed}.{number}")
        live = luck.random() < 0.2
        shed = luck.random() < 0.005
        ahead = luck.random() < 0.001
        places = {"tier": luck.choice(["gold", "silver"]), "region": luck.choice(["eu", "us", "ap"])}
        rng = random.Random(f"{self.seed}.{number}.{arm}")
        role = "primary" if (arm == "candidate") is live else "shadow"
        at_ms = self._at_ms(number) + (AHEAD_MS if ahead else 0)
        event = self._event(f"{self.seed}-{number:07d}", arm, role, at_ms, rng)
        if luck.random() < 0.9:
            event["segments"] = places
        fate = rng.random()
        if shed and arm == "candidate":
            event |= {"status": "shed", "output": "", "label": None, "confidence": None}
        elif fate < 0.02:
            event |= {"status": rng.choice(["error", "timeout"]), "output": "", "label": None, "confidence": None}
        if conflicting:
            event["latency_ms"] += 1.0
        topic = PREDICTIONS_PRIMARY if role == "primary" else PREDICTIONS_SHADOW
        return Sent(topic.name, event["request_id"], self._framed(number, event), due_ms)

    def _event(self, request_id: str, arm: str, role: str, at_ms: int, rng: random.Random) -> dict[str, Any]:
        label, confidence = rng.choice(["yes", "no"]), round(rng.random(), 3)
        version = "1" if arm == "baseline" else "2"
        answer: dict[str, Any] = {"prediction": label, "confidence": confidence, "model_version": version}
        luck = rng.random()
        if luck < 0.02:
            answer["confidence"] = 7
        elif luck < 0.03:
            del answer["confidence"]
        output = "no answer" if 0.03 <= luck < 0.04 else orjson.dumps(answer).decode()
        return {
            "request_id": request_id, "rollout_id": self.rollout, "arm": arm, "role": role, "event_at_ms": at_ms,
            "latency_ms": rng.lognormvariate(1, 0.5), "status": "ok", "model_version": version, "label": label,
            "confidence": confidence if rng.random() < 0.95 else None, "output": output, "endpoint": "/score",
            "instance_id": "pod-0", "trace_id": "", "error_type": "", "segments": {}, "measures": {},
        }  # fmt: skip

    def _framed(self, number: int, event: dict[str, Any]) -> bytes:
        """Whole batches of one form, and forms mixed: which of them is a matter of the request's number."""
        form = (number // 512) % 5 if (number // 4096) % 2 else number % 5
        if form == 0:
            known = {f["name"] for f in self._schemas["now"].fields}
            return orjson.dumps({k: v for k, v in event.items() if k in known})
        if form == 1:
            return self._avro("old", event)
        if form == 2:
            return b"\x00" + CONFLUENT_ID.to_bytes(4, "big") + self._avro("now", event)[10:]
        return self._avro("now", event)

    def _avro(self, name: str, datum: dict[str, Any]) -> bytes:
        schema = self._schemas[name]
        out = BytesIO()
        out.write(schema.header)
        schemaless_writer(out, schema.parsed, datum)
        return out.getvalue()

    def _outcome(self, due_ms: int, number: int) -> Sent:
        rng = random.Random(f"{self.seed}.{number}.outcome")
        scores = [round(rng.random(), 3), round(rng.random(), 3)]
        datum = {
            "request_id": f"{self.seed}-{number:07d}", "rollout_id": self.rollout, "measure": "review",
            "event_at_ms": self._at_ms(number), "baseline": scores[0] if rng.random() < 0.9 else None,
            "candidate": scores[1], "segments": {},
        }  # fmt: skip
        return Sent(OUTCOMES.name, str(datum["request_id"]), self._avro("outcome", datum), due_ms)

    def _platform(self, due_ms: int, pod: int, arm: str, **said: int) -> Sent:
        datum = {
            "rollout_id": self.rollout, "arm": arm, "model_version": "1", "instance_id": f"pod-{pod}",
            "event_at_ms": due_ms, "running_ms": 1_000, "gpu_ooms": _is_exhausted(due_ms), "restarts": 0,
            "memory_bytes": due_ms // 1000 % 7 << 28, "dropped_events": due_ms // 1000 % 5 == 0,
        }  # fmt: skip
        datum |= {k: int(v) for k, v in datum.items() if isinstance(v, bool)} | said
        return Sent(PLATFORM.name, f"pod-{pod}", self._avro("platform", datum), due_ms)


def _is_exhausted(at_ms: int) -> bool:
    return at_ms // 1000 % 17 == 0
