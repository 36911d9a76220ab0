"""The three logs as an auditor reads them: record, commands and windows, with what they no longer hold.

Law: an offset without a record is told, never passed over: ``windows.v1`` is kept for 30 days and a cluster may
compact what it likes, and whoever derives a decision again must know what was there. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paritygate.cli.console import note
from paritygate.cli.kafka import kafka_settings, read, require_topics
from paritygate.cli.said import Said, command_keys, decision_keys, read_said
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.signature import DECISION, Signed, Trust, TrustedKeys
from paritygate.schemas.topics import AUDIT, ROLLOUTS, WINDOWS

if TYPE_CHECKING:
    from paritygate.cli.kafka import Record
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.command import Command
    from paritygate.schemas.decision import GateDecision
    from paritygate.schemas.report import WindowReport


@dataclass(slots=True)
class Control:
    """What was decided and what was said, with offsets, in log order.

    ``unread``: offsets of ``audit.v1`` that hold no decision that can be read.
    ``said``: how the commands are signed, and what ``rollouts.v1`` does not hold any more.
    ``refused``: where keys of deciders are named, offset and why of the decisions that are not to be believed; they
    are not among the recorded ones. ``signatures``: decisions by how they are signed, where that was asked.
    """

    said: Said
    recorded: list[tuple[int, GateDecision]] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    signatures: Counter[Signed] = field(default_factory=Counter)

    @property
    def commands(self) -> list[tuple[int, Command]]:
        """Offset and command, whether or not it is to be believed."""
        return self.said.commands

    @property
    def obeyed(self) -> set[int]:
        """Offsets of the commands that a decision names."""
        from paritygate.rollouts.replay import chained, named  # noqa: PLC0415

        return named(chained(d for _, d in self.recorded))

    @property
    def rollouts(self) -> list[str]:
        """Ids of the rollouts that ever decided, in that order."""
        return list(dict.fromkeys(d.rollout_id for _, d in self.recorded))

    def require(self, rollout: str) -> None:
        """Refuse an id that nobody decided about.

        :raises ConfigError: names the nearest one.
        """
        from paritygate.cli.follow import unknown_rollout  # noqa: PLC0415

        if rollout not in self.rollouts:
            raise unknown_rollout(rollout, self.rollouts)


def audit_settings(bootstrap: str | None) -> KafkaSettings:
    """Settings of a cluster that has the topics which an audit reads.

    :raises ConfigError: no address, or a topic is missing.
    """
    settings = kafka_settings(bootstrap)
    require_topics(settings, AUDIT.name, ROLLOUTS.name, WINDOWS.name)
    return settings


def read_control(settings: KafkaSettings, keys: Trust | None = None, *, count: bool = False) -> Control:
    """All of ``audit.v1``, then all of ``rollouts.v1``: no decision is read whose command is not.

    ``keys``: whose word counts; otherwise those that the environment names. ``count``: look at the signature of
    every decision, not only at those that the record rests on.
    """
    keys = keys or Trust(command_keys(), decision_keys())
    record = _read_audit(settings, keys.decisions, count=count)
    return Control(read_said(settings, keys.commands), *record)


def _read_audit(
    settings: KafkaSettings, keys: TrustedKeys | None, *, count: bool
) -> tuple[list[tuple[int, GateDecision]], list[int], list[tuple[int, str]], Counter[Signed]]:
    from paritygate.rollouts.vouched import vouched  # noqa: PLC0415
    from paritygate.schemas.decision import GateDecision  # noqa: PLC0415

    found: list[tuple[Record, GateDecision]] = []
    unread = []
    for record in read(settings, settings.topic(AUDIT.name)):
        try:
            found.append((record, GateDecision.from_bytes(record.value or b"")))
        except PoisonError as e:
            unread.append(record.offset)
            note(f"{AUDIT.name} offset {record.offset}: {e}")
    recorded = [(record.offset, decision) for record, decision in found]
    if keys is None:
        return recorded, unread, [], Counter()
    checked = [keys.check(DECISION, r.value or b"", r.headers) for r, _ in found] if count else []

    def is_signed(place: int) -> bool:
        record = found[place][0]
        return not (checked[place][1] if checked else keys.refusal(DECISION, record.value or b"", record.headers))

    believed = vouched([d for _, d in recorded], is_signed)
    refused = [
        (r.offset, f"{d.rollout_id} #{d.sequence}: {keys.refusal(DECISION, r.value or b'', r.headers)}")
        for (r, d), counts in zip(found, believed, strict=True)
        if not counts
    ]
    kept = [entry for entry, counts in zip(recorded, believed, strict=True) if counts]
    return kept, unread, refused, Counter(signed for signed, _ in checked)


def read_record(
    bootstrap: str | None, rollout: str | None, keys: Trust | None = None
) -> tuple[KafkaSettings, Control]:
    """Where the record lies, and what was decided and said. ``keys``: given, every signature is looked at.

    :raises ConfigError: no address, a topic is missing, or nobody decided about ``rollout``.
    """
    settings = audit_settings(bootstrap)
    control = read_control(settings, keys, count=keys is not None)
    if rollout is not None:
        control.require(rollout)
    return settings, control


def read_windows(
    settings: KafkaSettings, first: int = 0, end: int | None = None
) -> Iterator[tuple[int, WindowReport | None]]:
    """(offset, report) of ``windows.v1`` in log order from ``first`` up to ``end``; None where none can be read."""
    from paritygate.cli.kafka import end_offsets  # noqa: PLC0415
    from paritygate.schemas.codec import decode_report  # noqa: PLC0415

    topic = settings.topic(WINDOWS.name)
    stop = end_offsets(settings, topic)[0]
    stop = stop if end is None else min(stop, end)
    if first >= stop:
        return
    for record in read(settings, topic, start={0: first}):
        if record.offset < stop:
            try:
                yield record.offset, decode_report(record.value)
            except PoisonError:
                yield record.offset, None  # the decider passed it over too
        if record.offset + 1 >= stop:
            return
