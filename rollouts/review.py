"""Review: what is to be said of one rollout after it (or while it runs), from its records and nothing else.

Law: the same decisions, commands and window reports give an equal review. It holds what the last decision rests
on, no later evidence, and names the offsets and digests from which everything can be derived again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from paritygate.gates.assess import SegmentFinding, assess_gates
from paritygate.gates.reasons import duration
from paritygate.rollouts.histories import GateHistory, histories
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.questions import questions
from paritygate.rollouts.regression import Sample, Samples
from paritygate.rollouts.replay import COMMANDED
from paritygate.rollouts.sides import SideRow, sides
from paritygate.rollouts.state import ABANDONED, PAUSED, STILL_PAUSED
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision, SourceOffsets
from paritygate.schemas.report import WindowReport

_NO_DOUBTS: Final[Mapping[int, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the timeline: a decision, or several holds in a row for the same reason.

    ``holds``: how many decisions it stands for; ``until_sequence`` and ``reason`` are those of the last of them.
    """

    sequence: int
    until_sequence: int
    decision_id: str
    at_ms: int
    action: str
    from_stage: str
    stage: str
    weight: int
    reason_code: str
    reason: str
    holds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Time in one stage. ``exposed`` users' requests got the candidate's answer in it; ``left``: how it ended.

    ``from_ms`` is None for a stage that was never reached.
    """

    stage: str
    weight: int
    from_ms: int | None = None
    until_ms: int | None = None
    exposed: int = 0
    pairs: int = 0
    left: str = "never reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody said. ``came_of_it``: the decision that it caused, or that there is none.

    ``believed``: no decision and no key speaks against its being said by ``actor``.
    """

    offset: int
    kind: str
    actor: str
    reason: str
    issued_at_ms: int
    came_of_it: str
    believed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where all of it stands: offsets are half-open, digests are SHA-256 in hex."""

    decisions: tuple[int, int]
    head: str
    decision_id: str
    policy_digest: str
    evidence_digest: str
    windows_next: int
    commands_next: int
    sources: tuple[SourceOffsets, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Everything that the report shows; see the parts for units.

    ``outcome``: ``rolled back``, ``abandoned``, ``promoted``, ``paused`` or ``running``; ``headline``: what
    became of it and why, in a sentence. ``samples``: every example that windows kept, for the bundle.
    """

    rollout: str
    service: str
    owner: str
    rollback_condition: str
    impact: str
    baseline_version: str
    candidate_version: str
    outcome: str
    headline: str
    exposed: int
    steps: tuple[Step, ...]
    stays: tuple[Stay, ...]
    sides: tuple[SideRow, ...]
    gates: tuple[GateHistory, ...]
    worst_segment: str | None
    findings: tuple[SegmentFinding, ...]
    deeds: tuple[Deed, ...]
    questions: tuple[str, ...]
    origin: Origin
    samples: tuple[Sample, ...]


def review(
    plan: RolloutPlan,
    decisions: Sequence[GateDecision],
    commands: Iterable[tuple[int, Command]],
    reports: Iterable[tuple[int, WindowReport]],
    *,
    unread: int = 0,
    doubted: Mapping[int, str] = _NO_DOUBTS,
) -> Review:
    """Review a rollout.

    ``decisions``: those of the rollout that count (``replay.chained``), oldest first, at least the first one.
    ``commands`` and ``reports``: (offset, record) in log order; others' records are passed over. ``unread``: how
    many records of the control topics could not be read. ``doubted``: offsets of commands that no key speaks for,
    and why.
    """
    ledger, samples = new_ledger(plan), Samples()
    for offset, report in reports:
        if report.rollout_id == plan.rollout and offset < decisions[-1].windows_next:
            ledger.take(report)
            samples.take(report)
    return review_of(plan, decisions, commands, ledger, samples, unread=unread, doubted=doubted)


def new_ledger(plan: RolloutPlan) -> Ledger:
    """An empty ledger for the reports of this plan's rollout."""
    join = plan.join
    return Ledger(plan.segments, join.window_ms, settle_ms=join.grace_ms + join.retain_ms)


def review_of(
    plan: RolloutPlan,
    decisions: Sequence[GateDecision],
    commands: Iterable[tuple[int, Command]],
    ledger: Ledger,
    samples: Samples,
    *,
    unread: int = 0,
    doubted: Mapping[int, str] = _NO_DOUBTS,
) -> Review:
    """As :func:`review`, from a ledger that holds the reports already, those after the last decision included."""
    last = decisions[-1]
    whole = ledger.whole
    assessment = assess_gates(
        plan.gates,
        ledger.evidence(plan.stage(last.from_stage)),
        alpha_rollback=plan.alpha_rollback,
        alpha_promote=plan.alpha_promote,
        minimum_segment_share=plan.minimum_segment_share,
        prove_segments_above_ratio=plan.prove_segments_above_ratio,
    )
    findings = assessment.segment_findings
    outcome, final = outcome_of(decisions)
    history = histories(plan.gates, decisions)
    deeds = deeds_of(plan.rollout, decisions, commands, doubted)
    worst = next((d.worst_segment for d in reversed(decisions) if d.worst_segment), None)
    stays = _stays(plan, decisions, ledger.first_start_ms)
    return Review(
        rollout=plan.rollout,
        service=plan.service,
        owner=plan.owner,
        rollback_condition=plan.rollback_condition.strip(),
        impact=plan.impact,
        baseline_version=plan.baseline.version,
        candidate_version=plan.candidate.version,
        outcome=outcome,
        headline=_headline(outcome, final, stays),
        exposed=last.exposed_requests,
        steps=steps_of(decisions),
        stays=stays,
        sides=sides(whole, plan.gates),
        gates=history,
        worst_segment=worst,
        findings=findings,
        deeds=deeds,
        questions=questions(
            plan, outcome=outcome, final=final, gates=history, findings=findings, totals=whole.totals,
            deeds=[(d.kind, d.actor, d.reason) for d in deeds if d.believed], exposed=last.exposed_requests,
            ignored=dict(ledger.ignored), unread=unread,
        ),
        origin=Origin(
            decisions=(decisions[0].sequence, last.sequence + 1),
            head=last.digest(),
            decision_id=last.decision_id,
            policy_digest=last.policy_digest,
            evidence_digest=last.evidence_digest,
            windows_next=last.windows_next,
            commands_next=last.commands_next,
            sources=last.sources,
        ),
        samples=samples.all(),
    )  # fmt: skip


def outcome_of(decisions: Sequence[GateDecision]) -> tuple[str, GateDecision]:
    """What became of it (see :class:`Review`), and the decision that says why."""
    last = decisions[-1]
    if last.action is Action.ROLLBACK:
        return ("abandoned" if last.reason_code == ABANDONED else "rolled back"), last
    if last.weight == 100:
        return "promoted", next(d for d in decisions if d.weight == 100)
    return ("paused" if last.reason_code in {PAUSED, STILL_PAUSED} else "running"), last


def _headline(outcome: str, final: GateDecision, stays: Sequence[Stay]) -> str:
    begun = next((s.from_ms for s in stays if s.from_ms is not None), final.at_ms)
    after = duration(max(0, final.at_ms - begun))
    where = {
        "abandoned": f"Abandoned at {final.from_stage}",
        "rolled back": f"Rolled back from {final.from_stage}",
        "promoted": "Promoted to all of the traffic",
        "paused": f"Paused at {final.stage}",
    }.get(outcome, f"Still running, at {final.stage}")
    return f"{where} after {after}: {final.reason}"


def steps_of(decisions: Sequence[GateDecision]) -> tuple[Step, ...]:
    """The timeline of these decisions, oldest first."""
    rows: list[list[GateDecision]] = []
    for d in decisions:
        before = rows[-1][-1] if rows else None
        alike = before is not None and d.action is Action.HOLD and before.action is Action.HOLD
        if before is not None and alike and d.reason_code == before.reason_code:
            rows[-1].append(d)
        else:
            rows.append([d])
    return tuple(
        Step(
            sequence=row[0].sequence, until_sequence=row[-1].sequence, decision_id=row[0].decision_id,
            at_ms=row[0].at_ms, action=row[0].action.value, from_stage=row[0].from_stage, stage=row[0].stage,
            weight=row[0].weight, reason_code=row[0].reason_code, reason=row[-1].reason, holds=len(row),
        )
        for row in rows
    )  # fmt: skip


def _stays(plan: RolloutPlan, decisions: Sequence[GateDecision], first_ms: int | None) -> tuple[Stay, ...]:
    """One row a stage of the ladder; a rollback is in none, it ends the stage that it came from."""
    moves = [decisions[0], *(d for d in decisions if d.action is not Action.HOLD)]
    found: dict[str, Stay] = {}
    for begin, end in zip(moves, [*moves[1:], None], strict=True):
        if begin.action is Action.ROLLBACK:
            continue
        until = end or decisions[-1]
        # The first decision carries the operator's clock; the stage's time is that of its evidence.
        from_ms = first_ms if begin is decisions[0] and first_ms is not None else begin.at_ms
        found[begin.stage] = Stay(
            stage=begin.stage, weight=begin.weight, from_ms=from_ms, until_ms=max(from_ms, until.at_ms),
            exposed=until.exposed_requests - begin.exposed_requests,
            pairs=until.counts.get("pairs", 0) - begin.counts.get("pairs", 0),
            left="still there" if end is None else "rolled back" if end.action is Action.ROLLBACK else "promoted",
        )  # fmt: skip
    return tuple(found.get(s.name, Stay(stage=s.name, weight=s.weight)) for s in plan.ladder.stages)


def deeds_of(
    rollout: str,
    decisions: Sequence[GateDecision],
    commands: Iterable[tuple[int, Command]],
    doubted: Mapping[int, str] = _NO_DOUBTS,
) -> tuple[Deed, ...]:
    """What people said of a rollout, in log order. ``decisions``: its own, at least the first one.

    ``doubted``: offsets of commands that no key speaks for, and why; what no decision names of them, nobody said.
    """
    caused = {d.commands_next - 1: d for d in decisions if d.reason_code in COMMANDED}
    read_until = decisions[-1].commands_next
    rows = []
    for offset, command in commands:
        if command.rollout_id != rollout:
            continue
        decision = caused.get(offset)
        came = f"decision {decision.sequence}" if decision is not None else "no decision: refused"
        believed = decision is not None or offset not in doubted
        if not believed:
            came = f"no decision: {doubted[offset]}"
        rows.append(
            Deed(
                offset=offset, kind=command.kind.value, actor=command.actor, reason=command.reason,
                issued_at_ms=command.issued_at_ms,
                came_of_it=came if decision is not None or offset < read_until else "not read yet",
                believed=believed,
            )
        )  # fmt: skip
    return tuple(rows)
