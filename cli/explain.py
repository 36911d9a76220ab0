"""``paritygate explain``: why one past decision was made, with its numbers, from the record alone.

Law: everything shown stands in the decision, in the plan it was made under, or in the decisions before it; no
gate is asked again. A record that nobody obeys is shown as such, with exit code 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics
from paritygate.cli.options import Bootstrap, Json, RolloutId
from paritygate.cli.render import instant, number
from paritygate.schemas.errors import ConfigError, PlanError
from paritygate.schemas.topics import AUDIT, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paritygate.rollouts.audit import Link
    from paritygate.rollouts.explanation import Explanation
    from paritygate.rollouts.plan import RolloutPlan
    from paritygate.schemas.command import Command
    from paritygate.schemas.decision import VerdictRecord

#: Numbers of a verdict in the order in which they are read; the rest follows as it stands.
_VALUE = ("value", "ratio", "observed", "estimate")
_LOW = ("low", "ratio_low")
_HIGH = ("high", "ratio_high")


def explain(
    rollout: RolloutId,
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[SEQUENCE|DECISION_ID]", help="Which decision; without it the newest.", show_default=False
        ),
    ] = None,
    *,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Say why one past decision was made: the rule, every gate with its numbers, positions, what it waited for."""
    from paritygate.cli.logs import read_control  # noqa: PLC0415
    from paritygate.rollouts.audit import Place, links  # noqa: PLC0415
    from paritygate.rollouts.explanation import explain as explanation_of  # noqa: PLC0415

    settings = kafka_settings(bootstrap)
    require_topics(settings, AUDIT.name, ROLLOUTS.name)
    control = read_control(settings)
    control.require(rollout)
    mine = [link for link in links(control.recorded) if link.decision.rollout_id == rollout]
    link = chosen(mine, rollout, which)
    chain = [each.decision for each in mine if each.place is Place.CHAINED]
    plan = plan_of(control.commands, rollout, link.decision.policy_digest)
    found = explanation_of(link.decision, chain, plan)
    if as_json:
        print_json({"audit_offset": link.offset, "place": link.place.value, **found.to_plain()})
    else:
        for line in lines_of(found, plan):
            print_line(line)
    if link.place in (Place.FORKED, Place.BROKEN):
        note(f"this record is {link.place.value}: nobody obeys it ('paritygate audit verify {rollout}')")
        raise typer.Exit(1)


def chosen(links: Sequence[Link], rollout: str, which: str | None) -> Link:
    """The record that is meant: by sequence, by (the beginning of) its id, or the newest that counts. Pure.

    :raises ConfigError: there is none.
    """
    from paritygate.rollouts.audit import Place  # noqa: PLC0415

    chain = [link for link in links if link.place is Place.CHAINED]
    if which is None and chain:
        return chain[-1]
    text = which or ""
    found = [link for link in chain if text.isdigit() and link.decision.sequence == int(text)]
    if not found and len(text) >= 4:
        found = [link for link in links if link.decision.decision_id.startswith(text)]
    if not found:
        last = chain[-1].decision.sequence if chain else "none"
        raise ConfigError(f"rollout {rollout!r} has no decision {text!r}; the newest is {last}")
    return found[0]


def plan_of(commands: Iterable[tuple[int, Command]], rollout: str, digest: str) -> RolloutPlan | None:
    """The plan of the start command that the decisions name by its digest; None where it is not there. Pure."""
    from paritygate.rollouts.plan import RolloutPlan  # noqa: PLC0415

    for _, command in commands:
        if command.rollout_id == rollout and command.plan is not None:
            try:
                plan = RolloutPlan.from_plain(command.plan)
            except PlanError:
                continue
            if plan.digest() == digest:
                return plan
    return None


def lines_of(found: Explanation, plan: RolloutPlan | None) -> list[str]:
    """The explanation for people. Pure."""
    d = found.decision
    live = f"{d.weight} % of live traffic" if d.weight else "no live traffic"
    lines = [
        f"{d.rollout_id} #{d.sequence} ({d.decision_id}): {d.action.value} at {d.stage}, {live}",
        f"  {d.reason}",
        f"  event time {instant(d.at_ms)}, {d.baseline_version} -> {d.candidate_version}, judged in {d.from_stage}"
        + ("" if found.in_stage_ms is None else f" after {found.in_stage_ms / 1000:,.1f} s"),
        "",
        "rule",
        *_rule(found),
    ]
    lines += ["", "plan"] + [f"  {key}: {value}" for key, value in found.plan_lines.items()]
    lines += [f"  digest {d.policy_digest}" + ("" if plan else " (its start command is not in rollouts.v1)")]
    lines += ["", "gates"] + [line for v in d.verdicts for line in _verdict(v)]
    lines += [] if d.verdicts else ["  none was asked"]
    worst = d.worst_segment
    lines += ["", "segments", f"  worst: {worst}" if worst else "  none stands out"]
    lines += ["", "counts"] + [f"  {name} {count:,}" for name, count in d.counts.items() if count]
    lines += [f"  exposed_requests {d.exposed_requests:,}"]
    lines += ["", "follows from"]
    lines += [f"  windows.v1 before offset {d.windows_next}", f"  rollouts.v1 before offset {d.commands_next}"]
    lines += [
        f"  {s.topic}[{s.partition}] offsets {s.first} to {s.next - 1}" for s in d.sources if s.next > s.first
    ]
    lines += [f"  evidence digest {d.evidence_digest}"]
    lines += ["", "decision before", *_before(found)]
    if found.waits:
        lines += ["", "waits for"] + [f"  {wait}" for wait in found.waits]
    return lines


def _rule(found: Explanation) -> list[str]:
    if found.rule is not None:
        return [f"  rule {found.rule.number} of judge(): {found.rule.when}"]
    if not found.decision.verdicts:
        return [f"  a command: {found.decision.reason_code}, rollouts.v1 offset {found.decision.commands_next - 1}"]
    return [f"  none that this version knows: {found.decision.reason_code}"]


def _verdict(verdict: VerdictRecord) -> list[str]:
    v, numbers = verdict, dict(verdict.numbers)
    shown = []
    value, low, high = (_take(numbers, names) for names in (_VALUE, _LOW, _HIGH))
    if value is not None:
        shown.append(f"value {number(value)}")
    if low is not None or high is not None:
        shown.append(f"interval {number(low)} to {number(high)}")
    if "limit" in numbers:
        shown.append(f"limit {number(numbers.pop('limit'))}")
    shown += [f"{name} {number(n)}" for name, n in numbers.items() if n is not None]
    kind = "" if v.required else " (advisory)"
    segment = "" if v.segment == "all" else f" in {v.segment}"
    return [f"  {v.gate}{kind}: {v.verdict}{segment}: {v.reason}"] + ([f"    {', '.join(shown)}"] if shown else [])


def _take(numbers: dict[str, float | int | None], names: tuple[str, ...]) -> float | int | None:
    """The first of the numbers that is there, taken out."""
    return next((numbers.pop(name) for name in names if numbers.get(name) is not None), None)


def _before(found: Explanation) -> list[str]:
    before = found.before
    if before is None:
        return ["  none: it is the first"]
    return [
        f"  #{before.sequence} {before.action.value} at {before.stage} ({before.reason_code}), "
        f"{instant(before.at_ms)}: {before.reason}"
    ]
