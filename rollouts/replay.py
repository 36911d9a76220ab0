"""Replay: fold the logs again with every command where it was applied, and compare with the record.

Law: the recorded decisions pin the interleaving of the two logs. A decision with ``commands_next == c + 1``
that a command caused says that command ``c`` was applied when ``windows_next`` reports had been; a command
without a decision was refused, and any place between the decisions around it gives the same bytes, because
nothing that a refusal depends on changes without a decision. So every auditor, and every decider that starts
again, arrives at the recorded bytes, or can say where not.

Where commands are signed, one is believed if its signature is, or if a recorded decision names it: the decider of
that time believed it, whatever keys are at hand today. Any other is passed over, as a refused one is.

What is recorded stands: where the logs no longer give it (windows past their retention, another version of
the gates), :class:`Refold` keeps the recorded decision, goes on from it, and names the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from paritygate.rollouts.fold import Fold
from paritygate.rollouts.state import (
    ABANDONED,
    APPROVED,
    FORCE_REFUSED,
    FORCED,
    OPERATOR_ROLLBACK,
    PAUSED,
    RESUMED,
    STARTED,
    ChainError,
)
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import WindowReport

#: Reason codes that only a command causes.
COMMANDED: Final = frozenset(
    {STARTED, PAUSED, RESUMED, APPROVED, FORCED, FORCE_REFUSED, OPERATOR_ROLLBACK, ABANDONED}
)

_END: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which the record and the logs part.

    ``recorded`` is None where the logs give a decision that the record lacks; ``derived`` is None where the
    record holds one that the logs do not give. ``note``: a sentence that stands for both, where neither counts.
    """

    rollout_id: str
    recorded: GateDecision | None
    derived: GateDecision | None
    note: str = ""

    @property
    def sequence(self) -> int | None:
        """Number of the decision that differs; None where only ``note`` tells."""
        decision = self.recorded or self.derived
        return None if decision is None else decision.sequence

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """By name of a field: what is recorded, and what the logs give; empty where one of the two is missing."""
        if self.recorded is None or self.derived is None:
            return {}
        theirs, ours = self.recorded.model_dump(mode="json"), self.derived.model_dump(mode="json")
        return {name: (theirs[name], ours[name]) for name in ours if ours[name] != theirs[name]}

    def __str__(self) -> str:
        if self.note:
            return self.note
        if self.recorded is None:
            return f"{_name(self.derived)} follows from the logs, but is not recorded"
        if self.derived is None:
            return f"{_name(self.recorded)} is recorded, but does not follow from the logs"
        return f"{_name(self.recorded)} is recorded with another {', '.join(self.fields)}"


def chained(decisions: Iterable[GateDecision]) -> list[GateDecision]:
    """The decisions that count, in log order: per rollout, the first that continues the chain each time.

    Repetitions after a crash and what a second decider wrote for a moment are left out.
    """
    heads: dict[str, tuple[int, str]] = {}
    kept = []
    for decision in decisions:
        sequence, head = heads.get(decision.rollout_id, (-1, ""))
        if decision.sequence == sequence + 1 and decision.previous == head:
            heads[decision.rollout_id] = (decision.sequence, decision.digest())
            kept.append(decision)
    return kept


def named(decisions: Iterable[GateDecision]) -> set[int]:
    """Offsets of the commands that decisions name: those that caused one. ``decisions``: those that count."""
    return {d.commands_next - 1 for d in decisions if d.reason_code in COMMANDED}


def schedule(decisions: Iterable[GateDecision]) -> dict[int, int]:
    """Command offset -> the windows position at which it is to be applied: after the reports before it.

    Holds every offset below the newest recorded ``commands_next``, refused commands included; a command
    that is not in it was never recorded and is applied at the present position. ``decisions``: as recorded,
    in any order. Positions rise with the offsets.
    """
    places: dict[int, int] = {}
    commands_next = windows_next = 0
    for decision in sorted(decisions, key=_position):
        while commands_next < decision.commands_next:
            caused = decision.reason_code in COMMANDED and commands_next == decision.commands_next - 1
            places[commands_next] = decision.windows_next if caused else windows_next
            commands_next += 1
        windows_next = max(windows_next, decision.windows_next)
    return places


class Refold:
    """A fold that first repeats what is recorded and then goes on.

    Give it the recorded decisions and the commands read so far, then every report from ``windows_first`` on
    in log order; it applies the commands where they belong and returns only decisions that are not recorded
    yet. ``differences``: one for each recorded decision that the logs no longer give, and for each that they give
    and the record lacks; each reads as a sentence.

    ``skip_settled``: do not derive again what belongs to rollouts that are over; their recorded decisions are
    taken as they stand. A decider that starts needs no more; an auditor does. ``only``: the same for all rollouts
    but these. ``doubted``: offsets of commands that count only where a recorded decision names them.
    """

    def __init__(
        self,
        recorded: Iterable[GateDecision],
        commands: Iterable[tuple[int, Command]] = (),
        *,
        fold: Fold | None = None,
        skip_settled: bool = False,
        only: Collection[str] | None = None,
        doubted: Collection[int] = (),
    ) -> None:
        self.fold = fold or Fold()
        self._doubted = set(doubted)
        self.differences: list[Difference] = []
        self.derived: list[GateDecision] = []
        # Positions rise with every record applied, so they give the order of derivation even where two
        # deciders wrote for a moment.
        decisions = sorted(chained(recorded), key=_position)
        self._recorded = deque(decisions)
        self._places = schedule(decisions)
        self._windows_end = max((d.windows_next for d in decisions), default=0)
        self._commands = deque(sorted(commands, key=lambda c: c[0]))
        self._settled = _settled(decisions, dict(self._commands)) if skip_settled else frozenset()
        if only is not None:
            self._settled |= {d.rollout_id for d in decisions} - set(only)
        starts = [d.windows_next for d in decisions if d.sequence == 0 and d.rollout_id not in self._settled]
        #: Where to begin to read ``windows.v1``: before it stands nothing that an open rollout needs.
        partly = skip_settled or only is not None
        self.windows_first = min(starts, default=self._windows_end) if partly else 0

    @property
    def caught_up(self) -> bool:
        """Everything recorded is repeated: what is applied from now on is new."""
        return not self._recorded and self.fold.windows_next >= self._windows_end

    def apply_report(self, offset: int, report: WindowReport) -> list[GateDecision]:
        """Apply the report at ``offset`` and the commands that stand around it; the new decisions."""
        new = self._until(offset)
        draft = self.fold.draft_report(offset, report)
        expected = self._recorded[0] if self._recorded else None
        if expected is None or expected.reason_code in COMMANDED or expected.windows_next != offset + 1:
            expected = None
        new += self._settle(draft, expected, recorded_region=offset < self._windows_end)
        return new + self._until(offset + 1)

    def apply_command(self, offset: int, command: Command, *, doubted: bool = False) -> list[GateDecision]:
        """Apply a command that was read later than the others: at once when caught up, else in its turn."""
        if doubted:
            self._doubted.add(offset)
        self._commands.append((offset, command))
        return self._until(self.fold.windows_next) if self.caught_up else []

    def skip_report(self, offset: int) -> list[GateDecision]:
        """The record at ``offset`` is no report: pass over it."""
        new = self._until(offset)
        self.fold.skip_report(offset)
        return new + self._until(offset + 1)

    def catch_up(self) -> list[GateDecision]:
        """The windows log has no more: take the rest of the record as it stands, then apply waiting commands.

        If the record goes beyond the end of the log, that log was cut or made anew: reports at the positions
        that are recorded already are not folded again, but commands, a rollback above all, still work.
        """
        new = self._until(_END)
        self.fold.skip_report(self._windows_end - 1)
        return new

    def _until(self, windows_next: int) -> list[GateDecision]:
        """Everything that comes before the report at ``windows_next``."""
        new: list[GateDecision] = []
        while True:
            head = self._recorded[0] if self._recorded else None
            gone = head is not None and head.reason_code not in COMMANDED and head.windows_next <= windows_next
            limit = head.windows_next - 1 if head is not None and gone else windows_next
            if self._commands and self._place(self._commands[0][0]) <= limit:
                new += self._command(*self._commands.popleft())
            elif head is not None and (gone or self._orphaned(head, windows_next)):
                # Its record is not in the logs any more.
                self._settle(None, head, recorded_region=True)
            else:
                return new

    def _place(self, offset: int) -> int:
        return self._places.get(offset, self._windows_end)

    def _orphaned(self, head: GateDecision, windows_next: int) -> bool:
        """A command caused it, and that command is not among those we were given."""
        if head.reason_code not in COMMANDED or head.windows_next > windows_next:
            return False
        return not self._commands or self._commands[0][0] >= head.commands_next

    def _command(self, offset: int, command: Command) -> list[GateDecision]:
        place = self._place(offset)
        if place <= self._windows_end and offset in self._places and place > self.fold.windows_next:
            # Reports before this place were not given to us: stand where the record stood.
            self.fold.skip_report(place - 1)
        expected = self._recorded[0] if self._recorded else None
        if expected is None or expected.reason_code not in COMMANDED or expected.commands_next != offset + 1:
            expected = None
        unheard = expected is None and offset in self._doubted
        if unheard or (command.rollout_id in self._settled and command.kind is not CommandKind.START):
            self.fold.skip_command(offset)
            draft = None
        else:
            draft = self.fold.draft_command(offset, command)
        return self._settle(draft, expected, recorded_region=offset in self._places)

    def _settle(
        self, draft: GateDecision | None, expected: GateDecision | None, *, recorded_region: bool
    ) -> list[GateDecision]:
        """Commit what stands: the recorded decision, or beyond the record the derived one."""
        if draft is not None and recorded_region:
            self.derived.append(draft)
        if expected is None:
            if draft is None:
                return []
            if recorded_region:
                self.differences.append(Difference(draft.rollout_id, None, draft))
                return []
            self.fold.commit(draft)
            return [draft]
        self._recorded.popleft()
        if expected.rollout_id not in self._settled:
            self._compare(draft, expected)
        try:
            self.fold.commit(expected)
        except ChainError as e:
            self.differences.append(Difference(expected.rollout_id, expected, draft, str(e)))
        if expected.rollout_id in self._settled:
            self.fold.forget(expected.rollout_id)
        return []

    def _compare(self, draft: GateDecision | None, expected: GateDecision) -> None:
        if draft is None or draft.to_bytes() != expected.to_bytes():
            self.differences.append(Difference(expected.rollout_id, expected, draft))


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """``identical``: every recorded decision follows from the logs, byte for byte, and no other one does.

    ``first_difference``: one sentence, None when identical. ``decisions``: as derived.
    """

    identical: bool
    first_difference: str | None
    decisions: tuple[GateDecision, ...]


def replay(
    decisions: Sequence[GateDecision],
    commands: Iterable[tuple[int, Command]],
    reports: Iterable[tuple[int, WindowReport]],
    *,
    doubted: Collection[int] = (),
) -> ReplayResult:
    """Derive the recorded decisions again from the logs. ``doubted``: as for :class:`Refold`.

    ``commands`` and ``reports`` are (offset, record) in log order, from the beginning; what lies behind the
    last recorded decision is not looked at, because the decider may not have come so far.
    """
    windows_end = max((d.windows_next for d in decisions), default=0)
    commands_end = max((d.commands_next for d in decisions), default=0)
    refold = Refold(decisions, [c for c in commands if c[0] < commands_end], doubted=doubted)
    for offset, report in reports:
        if offset < windows_end:
            refold.apply_report(offset, report)
    refold.catch_up()
    first = str(refold.differences[0]) if refold.differences else None
    return ReplayResult(first is None, first, tuple(refold.derived))


def _settled(decisions: Sequence[GateDecision], commands: dict[int, Command]) -> frozenset[str]:
    """Rollouts that are over: rolled back, or promoted and followed by another one of their service."""
    last = {d.rollout_id: d for d in decisions}
    # Of the start that was accepted: others may name the same rollout, and were refused.
    starts = {d.rollout_id: commands.get(d.commands_next - 1) for d in decisions if d.sequence == 0}
    service = {r: (start.plan or {}).get("service") if start else None for r, start in starts.items()}
    started = list(starts)
    over = set()
    for i, rollout in enumerate(started):
        followed = any(service.get(later) == service.get(rollout) for later in started[i + 1 :])
        if last[rollout].action is Action.ROLLBACK or followed:
            over.add(rollout)
    return frozenset(over)


def _position(decision: GateDecision) -> tuple[int, int]:
    return decision.windows_next, decision.commands_next


def _name(decision: GateDecision | None) -> str:
    if decision is None:
        return "no decision"
    return f"rollout {decision.rollout_id}: decision {decision.sequence} ({decision.reason_code})"
