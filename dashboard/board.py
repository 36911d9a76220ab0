"""Board: everything that is shown, folded from the records of the control topics as they come.

Law: reads no clock and asks nobody; the same records in the same order give the same board. What does not decode is
counted. Memory is bounded: of a long rollout's holds only a part is kept, evidence only of rollouts that were open
while this board looked on, and of the few that were looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from threading import RLock
from typing import Final

from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.regression import Samples
from paritygate.rollouts.review import new_ledger, outcome_of
from paritygate.rollouts.trend import Trend
from paritygate.rollouts.vouched import Vouching
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.codec import decode_report
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PlanError, PoisonError
from paritygate.schemas.signature import DECISION, EVERYBODY, CommandLog, Headers, Trust
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, ROUTER_ACKS, WINDOWS

#: Most decisions of one rollout; of more, every second hold that repeats the one before it is let go.
MAX_DECISIONS: Final = 4000
#: Rollouts that are over and whose evidence was looked up.
MAX_LOOKED_UP: Final = 8
#: The topics of a board. Windows come last: where to begin to read them stands in the others.
CONTROL: Final = (ROLLOUTS.name, AUDIT.name, DECISIONS.name, ROUTER_ACKS.name)
TOPICS: Final = (*CONTROL, WINDOWS.name)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a router last said, and when the broker heard it."""

    ack: RouterAck
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Entry:
    """One rollout.

    ``decisions``: those that count, oldest first. ``plan``: None where its start command is not there or cannot be
    read. ``in_force``: the newest decision of the topic that routers obey. ``ledger``, ``trend``: None as long as
    its windows were not read. ``decided_at_ms``, ``reported_at_ms``: broker's time of the newest decision and
    window report. ``doubted``: offsets of commands that no trusted key speaks for, and why. ``version`` rises with
    every change.
    """

    rollout_id: str
    plan: RolloutPlan | None = None
    decisions: list[GateDecision] = field(default_factory=list)
    commands: list[tuple[int, Command]] = field(default_factory=list)
    doubted: dict[int, str] = field(default_factory=dict)
    in_force: GateDecision | None = None
    routers: dict[str, Applied] = field(default_factory=dict)
    ledger: Ledger | None = None
    samples: Samples = field(default_factory=Samples)
    trend: Trend | None = None
    looked_up: bool = False
    head: str = ""
    decided_at_ms: int | None = None
    reported_at_ms: int | None = None
    version: int = 0

    @property
    def newest(self) -> GateDecision | None:
        """The newest decision that counts."""
        return self.decisions[-1] if self.decisions else None

    @property
    def outcome(self) -> str:
        """``running``, ``paused``, ``promoted``, ``rolled back`` or ``abandoned``; empty before the first one."""
        return outcome_of(self.decisions)[0] if self.decisions else ""

    @property
    def active(self) -> bool:
        """Still climbing."""
        return self.outcome in {"running", "paused"}


class Board:
    """All rollouts of a cluster. Thread-safe: hold ``lock`` while you read entries.

    ``trust``: whose commands and decisions count.
    """

    def __init__(self, trust: Trust = EVERYBODY) -> None:
        self._said = CommandLog(trust.commands)
        self._deciders, self._vouching = trust.decisions, Vouching()
        self.lock = RLock()
        self.entries: dict[str, Entry] = {}
        self.unread: Counter[str] = Counter()
        self.newest_at_ms: dict[str, int] = {}
        self.version = 0
        #: Whether the control topics were read to their ends once; from then on every new rollout is followed.
        self.complete = False
        #: Read ``windows.v1`` from here again: a rollout began whose windows may have come before its start.
        self.wanted_from: int | None = None

    def take(
        self,
        topic: str,
        offset: int,
        at_ms: int,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
    ) -> None:
        """Take one record of ``topic`` (its name in the topics table); ``at_ms`` is the broker's time of it."""
        with self.lock:
            self.newest_at_ms[topic] = max(at_ms, self.newest_at_ms.get(topic, at_ms))
            try:
                doubt = self._said.take(offset, value or b"", headers) if topic == ROLLOUTS.name else ""
                signed = self._is_signed(topic, value, headers)
                entry = self._take(topic, offset, at_ms, key, value, signed=signed)
            except PoisonError:
                self.unread[topic] += 1
                return
            if entry is not None:
                if doubt:
                    entry.doubted[offset] = doubt
                entry.version += 1
                self.version += 1

    def first_window(self) -> int | None:
        """Where to begin in ``windows.v1``: before it is nothing of an open rollout; None without one."""
        starts = [e.decisions[0].windows_next for e in self.entries.values() if e.active]
        return min(starts, default=None)

    def follow_open(self) -> None:
        """The control topics have been read: evidence of open rollouts is kept from here on."""
        with self.lock:
            self.complete = True
            for entry in self.entries.values():
                if entry.active and entry.plan is not None and entry.ledger is None:
                    entry.ledger, entry.trend = new_ledger(entry.plan), Trend(entry.plan.join.window_ms)

    def looked_up(self, rollout_id: str, ledger: Ledger, samples: Samples, trend: Trend) -> None:
        """Evidence of a rollout that is over was read again; that of the one looked up first may go."""
        with self.lock:
            entry = self.entries[rollout_id]
            entry.ledger, entry.samples, entry.trend, entry.looked_up = ledger, samples, trend, True
            entry.version += 1
            looked = [e for e in self.entries.values() if e.looked_up and e is not entry]
            for old in looked[: max(0, len(looked) + 1 - MAX_LOOKED_UP)]:
                old.ledger, old.samples, old.trend, old.looked_up = None, Samples(), None, False

    def _is_signed(self, topic: str, value: bytes | None, headers: Headers | None) -> bool:
        """Whether a decision is, as far as anybody asks."""
        if self._deciders is None or topic not in (AUDIT.name, DECISIONS.name):
            return True
        return not self._deciders.refusal(DECISION, value or b"", headers)

    def _take(
        self, topic: str, offset: int, at_ms: int, key: bytes | None, value: bytes | None, *, signed: bool
    ) -> Entry | None:
        data = value or b""
        if topic == AUDIT.name:
            found = self._vouching.take(GateDecision.from_bytes(data), signed=signed)
            changed = [entry for d in found if (entry := self._decided(d, at_ms)) is not None]
            return changed[-1] if changed else None
        if topic == DECISIONS.name:
            return self._in_force(GateDecision.from_bytes(data)) if data and signed else None
        if topic == ROLLOUTS.name:
            return self._commanded(offset, Command.from_bytes(data))
        if topic == ROUTER_ACKS.name:
            ack = RouterAck.from_bytes(data)
            entry = self._entry(ack.rollout_id)
            entry.routers[ack.router_id] = Applied(ack, at_ms)
            return entry
        return self._reported(at_ms, key, data)

    def _entry(self, rollout_id: str) -> Entry:
        return self.entries.setdefault(rollout_id, Entry(rollout_id=rollout_id))

    def _decided(self, decision: GateDecision, at_ms: int) -> Entry | None:
        entry = self._entry(decision.rollout_id)
        following = entry.decisions[-1].sequence + 1 if entry.decisions else 0
        if decision.sequence != following or decision.previous != entry.head:
            return None  # a repetition after a crash, or a second decider's
        entry.decisions.append(decision)
        entry.head, entry.decided_at_ms = decision.digest(), at_ms
        if len(entry.decisions) > MAX_DECISIONS:
            entry.decisions = _thinned(entry.decisions)
        if decision.sequence == 0:
            self._adopt(entry)
        return entry

    def _adopt(self, entry: Entry) -> None:
        """Find the plan of a rollout; one that begins while we look on is followed from its first window."""
        entry.plan = _plan(entry, entry.decisions[0])
        if self.complete and entry.active and entry.plan is not None and entry.ledger is None:
            entry.ledger, entry.trend = new_ledger(entry.plan), Trend(entry.plan.join.window_ms)
            first = entry.decisions[0].windows_next
            self.wanted_from = first if self.wanted_from is None else min(first, self.wanted_from)

    def _in_force(self, decision: GateDecision) -> Entry | None:
        """As routers do: the newest sequence, and a rollback for good."""
        entry = self._entry(decision.rollout_id)
        before = entry.in_force
        if before is not None:
            if before.action is Action.ROLLBACK:
                return None
            if decision.action is not Action.ROLLBACK and decision.sequence <= before.sequence:
                return None
        entry.in_force = decision
        return entry

    def _commanded(self, offset: int, command: Command) -> Entry:
        entry = self._entry(command.rollout_id)
        if not entry.commands or entry.commands[-1][0] < offset:
            entry.commands.append((offset, command))
        if entry.plan is None and entry.decisions:
            self._adopt(entry)
        return entry

    def _reported(self, at_ms: int, key: bytes | None, data: bytes) -> Entry | None:
        entry = self.entries.get((key or b"").partition(b"|")[0].decode("utf-8", "replace"))
        if entry is None or entry.ledger is None or entry.looked_up:
            return None
        report = decode_report(data)
        taken = entry.ledger.take(report) if report.rollout_id == entry.rollout_id else None
        if taken is None:
            return None
        entry.samples.take(report)
        if entry.trend is not None:
            entry.trend.add(report.window_start_ms, taken.change)
        entry.reported_at_ms = max(at_ms, entry.reported_at_ms or at_ms)
        return entry


def _plan(entry: Entry, first: GateDecision) -> RolloutPlan | None:
    """The plan of the start command that the first decision names by its digest."""
    for _, command in entry.commands:
        if command.kind is CommandKind.START and command.plan is not None:
            try:
                plan = RolloutPlan.from_plain(command.plan)
            except PlanError:
                continue
            if plan.digest() == first.policy_digest:
                return plan
    return None


def _thinned(decisions: list[GateDecision]) -> list[GateDecision]:
    """Without every second hold of the older half that only repeats the one before it."""
    half = len(decisions) // 2
    kept, skip = [decisions[0]], False
    for before, decision in pairwise(decisions[:half]):
        repeats = decision.action is Action.HOLD and decision.reason_code == before.reason_code
        skip = repeats and not skip
        if not skip:
            kept.append(decision)
    return kept + decisions[half:]


def known(entries: Mapping[str, Entry]) -> list[Entry]:
    """Entries that have a decision, open ones first, then the newest."""
    decided = [e for e in entries.values() if e.decisions]
    return sorted(decided, key=lambda e: (not e.active, -(e.decided_at_ms or 0), e.rollout_id))
