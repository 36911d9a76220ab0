"""Fold windows and commands into decisions, and write them to the audit and control topics.

Law: the decisions are a function of the two logs. A decider that starts (first start, crash, rebalance) reads
the audit topic, folds both logs from their beginnings with each command at the place where the audit says it
was applied, and must arrive at the recorded bytes; only what comes after them is written. A decision goes to
``audit.v1`` first, then to ``decisions.v1``, so that no router obeys what no auditor can see.

The owner of partition 0 of ``rollouts.v1`` runs the only decider. Should two run for a moment (one was cut off
and does not know it yet), readers take the first of each sequence; so a decider reads back what stands in the
audit, and where another one was first it folds again from there.

Where keys are trusted, a command that none of them signed changes nothing, unless the audit says that it was obeyed
before; and a decision in the audit counts only if it is signed, or continued by one that is (``rollouts.vouched``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from paritygate.rollouts.cited import Cited
from paritygate.rollouts.replay import Refold, chained
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.report import Example
from paritygate.schemas.report_columns import decode_report
from paritygate.schemas.signature import DECISION, EVERYBODY, CommandLog, Signer, Trust
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, WINDOWS, Topic
from paritygate.schemas.tracing import Headers, Linked, span
from paritygate.streams.connect import start_consumer
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.outbox import Outbox, Outgoing
from paritygate.streams.recorded import AuditTrust, Chain, Recorded
from paritygate.streams.settings import WorkerSettings

log = logging.getLogger(__name__)

POLL_MS = 50
T = TypeVar("T")


class Decider:
    """Runs the fold while this worker owns the command topic."""

    def __init__(
        self,
        settings: WorkerSettings,
        outbox: Outbox,
        metrics: WorkerMetrics,
        signer: Signer | None = None,
        trust: Trust = EVERYBODY,
    ) -> None:
        kafka = settings.kafka
        self._signer = signer
        self._command_keys = trust.commands
        self._recorder = AuditTrust(trust.decisions, metrics)
        self._said = CommandLog(trust.commands)
        self._kafka = kafka
        self._outbox = outbox
        self._metrics = metrics
        self._windows = TopicPartition(kafka.topic(WINDOWS.name), 0)
        self._commands = TopicPartition(kafka.topic(ROLLOUTS.name), 0)
        self._audit = TopicPartition(kafka.topic(AUDIT.name), 0)
        self._positions: dict[TopicPartition, int] = {}
        self._differences = 0
        self._chain = Chain([])
        self._cited = Cited()
        self._told: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start deciding; does nothing when it runs already."""
        if self._task is None or self._task.done():
            self._differences = 0
            self._task = asyncio.create_task(self._run(), name="decide")

    async def stop(self) -> None:
        """Stop deciding. Nothing needs to be saved: the logs hold everything."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def failed(self) -> BaseException | None:
        """What ended the task, if something did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return None

    async def _run(self) -> None:
        consumer = await start_consumer(self._kafka, fetch_max_wait_ms=POLL_MS, max_partition_fetch_bytes=8 << 20)
        try:
            while True:
                read = await self._read(consumer, self._audit, self._recorder.take)
                audit = self._recorder.believed([entry for _, entry in read])
                recorded = [decision for decision, _ in audit]
                # What was refused before the newest decision was told by the decider that took it.
                settled = max((d.commands_next for d in recorded), default=0)
                self._told.update(range(settled))
                self._said = CommandLog(self._command_keys)
                commands = await self._read(consumer, self._commands, self._command)
                doubted = set(self._said.doubted)
                if self._said.signs:
                    # What no decision names may have been refused for a signature, by whatever keys there were.
                    doubted.update(offset for offset, _ in commands if offset < settled)
                log.info("the decider starts with %d recorded decisions", len(recorded))
                self._differences = 0
                self._chain = Chain(recorded)
                self._cited = Cited()
                await self._republish_newest(audit)
                await self._fold(consumer, Refold(recorded, commands, skip_settled=True, doubted=doubted))
        finally:
            await consumer.stop()

    async def _read(
        self, consumer: AIOKafkaConsumer, source: TopicPartition, decode: Callable[[Any], T]
    ) -> list[tuple[int, T]]:
        """Everything in a topic up to its present end; the position stays there."""
        consumer.assign([source])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([source]))[source]
        found: list[tuple[int, T]] = []
        while await consumer.position(source) < end:
            for batch in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in batch:
                    try:
                        found.append((record.offset, decode(record)))
                    except PoisonError as e:
                        self._refused(source, record.offset, str(e), why="undecodable")
        self._positions[source] = await consumer.position(source)
        return found

    def _command(self, record: Any) -> Command:
        """A record of ``rollouts.v1``, each of them once and in order.

        :raises PoisonError: it is no command.
        """
        doubt = self._said.take(record.offset, record.value or b"", record.headers)
        command = Command.from_bytes(record.value or b"")
        if doubt and record.offset not in self._told:
            self._refused(
                self._commands, record.offset, f"{command.kind} {command.rollout_id}: {doubt}", why="signature"
            )
        return command

    async def _republish_newest(self, audit: list[Recorded]) -> None:
        """A decider that died between the two writes left routers one decision behind; repeat the newest.

        Where the audit holds no trusted signature under it, as on the first start with keys, it is repeated there,
        too: it then speaks for the whole chain.
        """
        newest = {d.rollout_id: d for d in chained(d for d, _ in audit)}
        await self._outbox.send(self._outgoing(DECISIONS, d) for d in newest.values())
        await self._outbox.send(self._outgoing(AUDIT, d) for d in self._recorder.unsigned(newest, audit))

    def _outgoing(self, topic: Topic, decision: GateDecision, traced: Headers = ()) -> Outgoing:
        """A rollback has a key of its own in the compacted topic.

        An earlier decider that was cut off may still write an older decision after it; compaction would then
        keep that one, and a router that starts afresh would put the weight back up.
        """
        rolled_back = topic is DECISIONS and decision.action is Action.ROLLBACK
        key = f"{decision.rollout_id}|rollback" if rolled_back else decision.rollout_id
        name = self._kafka.topic(topic.name)
        value = decision.to_bytes()
        headers = self._signer.headers(DECISION, value) if self._signer is not None else ()
        return Outgoing(topic=name, partition=0, key=key.encode(), value=value, headers=(*headers, *traced))

    async def _fold(self, consumer: AIOKafkaConsumer, refold: Refold) -> None:
        """Decide until another decider is found to have been first."""
        sources = [self._windows, self._commands, self._audit]
        consumer.assign(sources)
        begin = await consumer.beginning_offsets([self._windows])
        end = (await consumer.end_offsets([self._windows]))[self._windows]
        consumer.seek(self._windows, max(refold.windows_first, begin[self._windows]))
        consumer.seek(self._commands, self._positions[self._commands])
        consumer.seek(self._audit, self._positions[self._audit])
        repeated = False
        while True:
            for source, batch in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in batch:
                    if source == self._audit and self._recorder.refuses(record):
                        continue
                    if source == self._audit:
                        if not self._chain.is_ours(record.value or b""):
                            log.warning("%s offset %d is not ours: folding again", record.topic, record.offset)
                            return
                    elif source == self._windows:
                        await self._write(self._apply_report(refold, record.offset, record.value))
                    else:
                        await self._write(self._apply_command(refold, record))
            if not repeated and await consumer.position(self._windows) >= end:
                await self._write(refold.catch_up())
                repeated = True
            self._report(refold)

    def _apply_report(self, refold: Refold, offset: int, value: bytes | None) -> list[GateDecision]:
        try:
            report = decode_report(value)
        except PoisonError as e:
            log.error("%s offset %d is no window report: %s", self._windows.topic, offset, e)
            return refold.skip_report(offset)
        self._cited.take(report)
        return refold.apply_report(offset, report)

    def _apply_command(self, refold: Refold, record: Any) -> list[GateDecision]:
        try:
            command = self._command(record)
        except PoisonError as e:
            self._refused(self._commands, record.offset, str(e), why="undecodable")
            return []
        return refold.apply_command(record.offset, command, doubted=record.offset in self._said.doubted)

    def _report(self, refold: Refold) -> None:
        for offset, reason in refold.fold.take_rejected():
            self._refused(self._commands, offset, reason)
        for difference in refold.differences[self._differences :]:
            log.error("%s; what is recorded stands", difference)
            self._metrics.diverged()
        self._differences = len(refold.differences)
        self._metrics.deciding(refold.fold)

    def _refused(self, source: TopicPartition, offset: int, reason: str, *, why: str = "refused") -> None:
        told = source == self._commands and offset in self._told
        log.log(
            logging.DEBUG if told else logging.WARNING, "%s offset %d is refused: %s", source.topic, offset, reason
        )
        if source == self._commands:
            self._told.add(offset)
            if not told:
                self._metrics.refused(why)

    async def _write(self, decisions: list[GateDecision]) -> None:
        for decision in decisions:
            rollout = decision.rollout_id
            self._chain.derived(decision)
            with span(
                "paritygate.decide", _described(decision), links=map(_linked, self._cited.of(rollout))
            ) as traced:
                for topic in (AUDIT, DECISIONS):
                    await self._outbox.send([self._outgoing(topic, decision, traced)])
            self._metrics.decided(decision)
            log.info(
                "%s #%d: %s at %s (%d %%): %s",
                rollout, decision.sequence, decision.action, decision.stage, decision.weight, decision.reason,
            )  # fmt: skip


def _described(decision: GateDecision) -> dict[str, str | int]:
    """Attributes of the span of a decision."""
    return {
        "paritygate.rollout": decision.rollout_id, "paritygate.sequence": decision.sequence,
        "paritygate.action": decision.action.value, "paritygate.stage": decision.stage,
        "paritygate.weight": decision.weight,
    }  # fmt: skip


def _linked(example: Example) -> Linked:
    """The trace of a request that a decision was made on, and what the request shows."""
    return example.trace_id, {"paritygate.request": example.request_id, "paritygate.example": example.kind}
