"""Backtest: what another policy would have decided on the windows of a rollout that is past.

Law: the whole machine runs, with ladder, floors, holds and the operators' own commands where they were given;
only the policy is another one. The policy of the record gives the record, byte for byte. What did not happen is
not invented: after the recorded rollback the candidate had no user, and where the policy stands at another
weight than the record did, the live counts are still those of the record. Both are said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.rollouts.counted import notes, require_counted
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.replay import chained, named, schedule
from paritygate.rollouts.state import ABANDONED
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.report import WindowReport

#: What a policy does not bring along: whose rollout it was.
_IDENTITY: Final = ("rollout", "service", "baseline", "candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtested:
    """What the policy would have decided, beside what was decided.

    ``identical``: both are the same bytes. ``began_ms``: start of the first window taken; None without any.
    ``decided``, ``recorded_decided``: the decision that ended each, a rollback or all of the traffic; None where
    it is open. ``false_alarms``: rollbacks that no command caused, where both arms are the same; else None.
    ``failed_gates``: gates that ever said fail. ``unknowable``: what the record cannot say, a sentence each.
    ``refused``: commands that the record obeyed and this policy's rollout would have refused, as (offset, why).
    """

    decisions: tuple[GateDecision, ...]
    recorded: tuple[GateDecision, ...]
    identical: bool
    began_ms: int | None
    decided: GateDecision | None
    recorded_decided: GateDecision | None
    false_alarms: int | None
    failed_gates: tuple[str, ...]
    unknowable: tuple[str, ...]
    refused: tuple[tuple[int, str], ...]

    def took_ms(self, decision: GateDecision | None) -> int | None:
        """Event time from the first window to a decision."""
        return None if decision is None or self.began_ms is None else decision.at_ms - self.began_ms


class Backtest:
    """Give it the policy and the record, then every report from ``windows_first`` up to ``windows_end``.

    ``recorded``: all of ``audit.v1``; ``commands``: all of ``rollouts.v1`` with offsets. ``since_ms``: take only
    windows that start then or later. ``same``: both arms ran the same version, so every rollback is a false alarm.
    ``doubted``: offsets of commands that count only where a recorded decision names them.

    :raises ConfigError: no start command of the rollout is known, or the windows cannot answer the policy.
    """

    def __init__(
        self,
        policy: RolloutPlan,
        rollout: str,
        recorded: Iterable[GateDecision],
        commands: Iterable[tuple[int, Command]],
        *,
        since_ms: int | None = None,
        same: bool = False,
        doubted: Collection[int] = (),
    ) -> None:
        decisions = chained(recorded)
        self._mine = [d for d in decisions if d.rollout_id == rollout]
        self._rollout, self._since_ms = rollout, since_ms
        given = sorted(commands, key=lambda c: c[0])
        begin = self._mine[0].commands_next - 1 if self._mine else -1
        start = dict(given).get(begin)
        if start is None or start.plan is None:
            raise ConfigError(
                f"rollout {rollout!r}: its start command is not in rollouts.v1, so its plan is not known"
            )
        self.counted = RolloutPlan.from_plain(start.plan)
        own = {name: getattr(self.counted, name) for name in _IDENTITY}
        self.policy = policy.model_copy(update=own) if any(getattr(policy, n) != own[n] for n in own) else policy
        self.policy = RolloutPlan.from_plain(self.policy.to_plain())
        require_counted(self.counted, self.policy)
        self._same = same or self.counted.baseline == self.counted.candidate
        places = schedule(decisions)
        self._unheard = set(doubted) - named(decisions)
        accepted = {d.commands_next - 1 for d in decisions if d.sequence == 0 and d.rollout_id != rollout}
        plain = self.policy.to_plain()
        self._commands = deque(
            (
                places[offset],
                offset,
                command.model_copy(update={"plan": plain}) if offset == begin else command,
                offset in accepted,
            )
            for offset, command in given
            if offset in places
        )
        self.windows_first = self._mine[0].windows_next
        last = self._mine[-1]
        end = max(d.windows_next for d in decisions)
        #: After the recorded rollback the candidate answered no user any more: nothing is to be learnt there.
        self.windows_end = last.windows_next if last.action is Action.ROLLBACK else end
        # Routers obeyed the decisions of the record; of another policy's they say nothing.
        self._heard = since_ms is None and self.policy.digest() == self.counted.digest()
        self._spoke = False
        before_ms = _rolled_back_before(self._mine[0], decisions, dict(given), self.counted.service)
        self._fold = Fold(
            rolled_back_at_ms={} if before_ms is None else {self.counted.service: before_ms},
            heed_routers=self._heard,
        )
        self._made: list[GateDecision] = []
        self._began_ms: int | None = None
        self._gone = 0

    def apply_report(self, offset: int, report: WindowReport | None) -> None:
        """The record at ``offset`` of ``windows.v1``; None where it is no report that can be read."""
        if not self.windows_first <= offset < self.windows_end:
            return
        self._until(offset)
        self._gone += offset - max(self._fold.windows_next, self.windows_first)
        late = report is not None and self._since_ms is not None and report.window_start_ms < self._since_ms
        if report is None or report.rollout_id != self._rollout or late:
            self._fold.skip_report(offset)
            return
        self._spoke |= bool(report.routers)
        if self._began_ms is None or report.window_start_ms < self._began_ms:
            self._began_ms = report.window_start_ms
        self._fold.skip_report(offset - 1)
        self._made += self._fold.apply_report(offset, report)

    def finish(self) -> Backtested:
        """The log has no more: what came of it."""
        self._until(self.windows_end)
        self._gone += max(0, self.windows_end - max(self._fold.windows_next, self.windows_first))
        same = [d.to_bytes() for d in self._made] == [d.to_bytes() for d in self._mine]
        decided, recorded = _ending(self._made), _ending(self._mine)
        obeyed = named(self._mine)
        alarms = sum(d.action is Action.ROLLBACK and bool(d.verdicts) for d in self._made)
        return Backtested(
            decisions=tuple(self._made),
            recorded=tuple(self._mine),
            identical=same,
            began_ms=self._began_ms,
            decided=decided,
            recorded_decided=recorded,
            false_alarms=alarms if self._same else None,
            failed_gates=tuple(
                dict.fromkeys(v.gate for d in self._made for v in d.verdicts if v.required and v.verdict == "fail")
            ),
            unknowable=self._unknowable(decided),
            refused=tuple(r for r in self._fold.take_rejected() if r[0] in obeyed),
        )

    def _until(self, windows_next: int) -> None:
        """Apply the commands that were given before the report at ``windows_next``."""
        while self._commands and self._commands[0][0] <= windows_next:
            place, offset, command, accepted = self._commands.popleft()
            if command.rollout_id != self._rollout:
                self._fold.skip_command(offset)
                service = (command.plan or {}).get("service")
                if accepted and command.kind is CommandKind.START and service == self.counted.service:
                    self._fold.forget(self._rollout)
                continue
            if place > self._fold.windows_next:
                self._gone += max(0, place - max(self._fold.windows_next, self.windows_first))
                self._fold.skip_report(place - 1)
            if offset in self._unheard:
                self._fold.skip_command(offset)
            else:
                self._made += self._fold.apply_command(offset, command)

    def _unknowable(self, decided: GateDecision | None) -> tuple[str, ...]:
        found = list(notes(self.counted, self.policy))
        if self._gone:
            found.append(f"{self._gone:,} records of windows.v1 in its time are gone (retention or compaction)")
        if self._spoke and not self._heard and self.policy.acknowledgements != "ignored":
            found.append("routers obeyed the record's decisions, so no acknowledgement is waited for here")
        if self._since_ms is not None:
            found.append("what lies before --since was not taken, so the ladder begins there")
        apart = _first_apart(self._made, self._mine)
        if apart is not None:
            ours, theirs, whose = apart
            found.append(
                f"from {whose} on this policy gives {ours} % where the record gave {theirs} %: pairs are as good "
                f"there, but exposed users, live errors, sample_ratio and not_exposed are those of {theirs} %"
            )
        last = self._mine[-1]
        if last.action is Action.ROLLBACK and (decided is None or decided.action is not Action.ROLLBACK):
            found.append(
                f"the record was rolled back at decision {last.sequence} ({last.reason_code}): the candidate had "
                "no live traffic afterwards, so what this policy would have decided then cannot be known"
            )
        return tuple(found)


def _rolled_back_before(
    start: GateDecision, decisions: Sequence[GateDecision], commands: Mapping[int, Command], service: str
) -> int | None:
    """Event time of the last rollback of a service before a rollout began; None where there was none."""
    began = start.windows_next, start.commands_next
    services: dict[str, str | None] = {}
    at_ms = None
    for d in sorted(decisions, key=lambda d: (d.windows_next, d.commands_next)):
        if (d.windows_next, d.commands_next) >= began:
            break
        if d.sequence == 0:
            said = commands.get(d.commands_next - 1)
            services[d.rollout_id] = (said.plan or {}).get("service") if said else None
        # As the fold has it: not what was given up, and not what ended before any report.
        back = d.action is Action.ROLLBACK and d.reason_code != ABANDONED and d.sources
        if back and services.get(d.rollout_id) == service:
            at_ms = d.at_ms
    return at_ms


def _ending(decisions: Sequence[GateDecision]) -> GateDecision | None:
    """The decision that ended a rollout: a rollback for good, else the promotion to all of the traffic."""
    for decision in decisions:
        if decision.action is Action.ROLLBACK:
            return decision
    return next((d for d in decisions if d.action is Action.PROMOTE and d.weight == 100), None)


def _first_apart(ours: Sequence[GateDecision], theirs: Sequence[GateDecision]) -> tuple[int, int, str] | None:
    """Where the weights first differ: ours, theirs, and by which decision; a rollback of ours ends the question."""
    weights = [0, 0]
    steps = sorted(
        [(d.windows_next, d.commands_next, who, d) for who, log in enumerate((ours, theirs)) for d in log],
        key=lambda s: s[:3],
    )
    for i, (windows_next, commands_next, who, decision) in enumerate(steps):
        weights[who] = decision.weight
        if who == 0 and decision.action is Action.ROLLBACK:
            return None
        following = steps[i + 1][:2] if i + 1 < len(steps) else None
        if following != (windows_next, commands_next) and weights[0] != weights[1]:
            whose = "the record's" if who else "its"
            return weights[0], weights[1], f"{whose} decision {decision.sequence}"
    return None
