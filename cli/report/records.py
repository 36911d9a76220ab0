"""Records: what a review is made of, read from the topics.

Law: reading disturbs nobody (no group, no commits). Payloads are read only for the examples that are shown, from
shortly before their window; one that is past its retention is a pair without answers, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paritygate.cli.follow import unknown_rollout
from paritygate.cli.kafka import Record, end_offsets, offsets_at, read
from paritygate.cli.logs import read_control
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.regression import Pair, Sample, Showing
from paritygate.rollouts.replay import chained
from paritygate.rollouts.review import Review, review
from paritygate.schemas.codec import decode_prediction, decode_report
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import ConfigError, PlanError, PoisonError
from paritygate.schemas.prediction import Arm, PredictionEvent
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, ROLLOUTS, WINDOWS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.report import WindowReport

#: Clocks of producers and brokers may differ so much; payloads are looked for from so long before their window.
CLOCKS_MS = 60_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A review with the plan that it is of."""

    plan: RolloutPlan
    review: Review


def recorded(settings: KafkaSettings, rollout_id: str) -> Recorded:
    """Read and review one rollout.

    :raises ConfigError: it is unknown, or the plan that it was started with cannot be read.
    """
    control = read_control(settings)
    decisions = chained(d for _, d in control.recorded if d.rollout_id == rollout_id)
    if not decisions:
        raise unknown_rollout(rollout_id, sorted(control.rollouts))
    said, unread = control.said, len(control.unread)
    plan = _plan(rollout_id, decisions[0], said.commands)
    windows = _reports(settings, rollout_id, decisions[0].windows_next, decisions[-1].windows_next)
    found = review(plan, decisions, said.commands, windows, unread=unread + said.unread, doubted=said.doubted)
    return Recorded(plan, found)


def _plan(rollout_id: str, first: GateDecision, commands: Sequence[tuple[int, Command]]) -> RolloutPlan:
    for offset, command in commands:
        started = offset == first.commands_next - 1 and command.kind is CommandKind.START
        if started and command.rollout_id == rollout_id and command.plan is not None:
            try:
                return RolloutPlan.from_plain(command.plan)
            except PlanError as e:
                raise ConfigError(f"rollout {rollout_id}: this version cannot read its plan: {e}") from None
    raise ConfigError(f"rollout {rollout_id}: its start command is not in {ROLLOUTS.name} any more")


def _reports(
    settings: KafkaSettings, rollout_id: str, first: int, following: int
) -> Iterator[tuple[int, WindowReport]]:
    """The window reports of a rollout at the offsets [first, following)."""
    if first >= following:
        return
    prefix = f"{rollout_id}|".encode()
    for record in read(settings, settings.topic(WINDOWS.name), start={0: first}):
        if record.offset >= following:
            return
        if (record.key or b"").startswith(prefix):
            try:
                yield record.offset, decode_report(record.value)
            except PoisonError:
                continue


def pairs(
    settings: KafkaSettings, samples: Sequence[Sample], showing: Showing, rollout_id: str
) -> tuple[Pair, ...]:
    """The two answers to each sampled request, in the order of ``samples``."""
    if not samples:
        return ()
    since_ms = min(s.window_start_ms for s in samples) - CLOCKS_MS
    wanted = {s.request_id.encode(): s.partition for s in samples}
    found: dict[tuple[str, Arm], PredictionEvent] = {}
    for topic in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW):
        name = settings.topic(topic.name)
        for record in _sought(settings, name, wanted, since_ms):
            try:
                event = decode_prediction(record.value)
            except PoisonError:
                continue
            if event.rollout_id == rollout_id:
                # The first one counts, as in the join.
                found.setdefault((event.request_id, event.arm), event)
    return tuple(
        showing.pair(s, found.get((s.request_id, Arm.BASELINE)), found.get((s.request_id, Arm.CANDIDATE)))
        for s in samples
    )


def _sought(settings: KafkaSettings, topic: str, wanted: dict[bytes, int], since_ms: int) -> Iterator[Record]:
    """Records of ``topic`` with these keys, in the partitions that hold them, from ``since_ms`` on."""
    ends = end_offsets(settings, topic)
    start = offsets_at(settings, topic, since_ms)
    # Partitions without a sample begin at their end: nothing of them is fetched.
    held = set(wanted.values())
    begin = {p: start.get(p, ends[p]) if p in held else ends[p] for p in ends}
    for record in read(settings, topic, start=begin):
        if record.key in wanted:
            yield record
