"""``paritygate plan``: before a rollout begins, will it ever end, and is its plan a wise one?

Law: nothing is contacted and nothing is written. Exit code 1: the plan waits for something that does not
come, or contradicts itself; 2: it cannot be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.options import Json
from paritygate.cli.validate import read_plan, read_text
from paritygate.schemas.errors import ConfigError

if TYPE_CHECKING:
    from paritygate.gates.truth import Truth
    from paritygate.rollouts.forecast import GateForecast, StageForecast
    from paritygate.rollouts.plan import RolloutPlan

plan_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Weigh a rollout.yaml before the rollout begins."
)

PlanFile = Annotated[Path, typer.Argument(metavar="ROLLOUT.YAML", help="The plan.", show_default=False)]
Assume = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="NAME=NUMBER",
        help="Assume another truth, e.g. error_rate=0.002; repeat it for more.",
    ),
]


@plan_app.command()
def power(
    plan_file: PlanFile,
    rps: Annotated[float, typer.Option("--rps", min=0.001, help="Requests per second of the whole service.")],
    assume: Assume = None,
    as_json: Json = False,
) -> None:
    """Say how long each stage needs, which gates cannot be decided in it, and what to change.

    Exit code 1 when a required gate cannot be decided in its stage.
    """
    from paritygate.rollouts.forecast import forecast  # noqa: PLC0415

    plan, truth, rate = read_plan(plan_file), _truth(assume), _rate(rps)
    stages = forecast(plan, rate, truth)
    if as_json:
        print_json(_as_json(plan, rate, truth, stages))
    else:
        _show(plan, rate, truth, stages)
    if any(s.undecidable or s.floor_too_late for s in stages):
        raise typer.Exit(1)


@plan_app.command()
def lint(
    plan_file: PlanFile,
    rps: Annotated[
        float | None,
        typer.Option("--rps", min=0.001, help="Requests per second; without it nothing is said about time."),
    ] = None,
    assume: Assume = None,
    as_json: Json = False,
) -> None:
    """Refuse common mistakes, contradictions and the undecidable (exit code 1); warn of what is unwise."""
    from paritygate.rollouts.lint import lint as look  # noqa: PLC0415
    from paritygate.rollouts.yaml_source import read_yaml  # noqa: PLC0415

    plan, truth = read_plan(plan_file), _truth(assume)
    source = read_yaml(read_text(plan_file), file=str(plan_file))
    found = look(plan, source, None if rps is None else _rate(rps), truth)
    refused = sum(f.refused for f in found)
    if as_json:
        rows = [
            {
                "path": ".".join(map(str, f.path)),
                "mistake": f.mistake,
                "refused": f.refused,
                "what": f.what,
                "line": f.line(source),
            }
            for f in found
        ]
        print_json({"rollout_id": plan.rollout, "refused": refused, "findings": rows})
    else:
        for finding in found:
            print_line(finding.line(source))
        print_line(f"{plan_file}: {refused} refused, {len(found) - refused} warned of")
    if refused:
        raise typer.Exit(1)


def _rate(rps: float) -> float:
    if not math.isfinite(rps):
        raise ConfigError(f"--rps must be a finite number, not {rps}")
    return rps


def _truth(assume: list[str] | None) -> Truth:
    """The assumed truth with the overrides of ``--assume``.

    :raises ConfigError: an override is not NAME=NUMBER, or makes no sense.
    """
    from paritygate.gates.truth import parse_assumptions  # noqa: PLC0415

    texts: dict[str, str] = {}
    for text in assume or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--assume takes NAME=NUMBER, e.g. error_rate=0.002, not {text!r}")
        texts[name.strip()] = value.strip()
    return parse_assumptions(texts)


def _show(plan: RolloutPlan, rate: float, truth: Truth, stages: tuple[StageForecast, ...]) -> None:
    from paritygate.gates.truth import assumptions  # noqa: PLC0415
    from paritygate.rollouts.forecast import shown  # noqa: PLC0415
    from paritygate.rollouts.more_time import sentence  # noqa: PLC0415

    print_line(f"rollout {plan.rollout} at {rate:g} requests/s, each answered by both versions")
    if longer := sentence(plan.ladder.stages, plan.spend_more_time_when):
        print_line(longer)
    table = new_table("stage", "gate", "needs p50", "p90", "time p50", "p90", "without mirroring", "verdict")
    for stage in stages:
        name = _stage_name(stage)
        for gate in stage.gates:
            table.add_row(name, *_cells(gate))
            name = ""
        floors = f"at least {shown(stage.stage.minimum_ms)} and {stage.stage.minimum_pairs:,} pairs"
        floors += f", at most {shown(stage.stage.maximum_ms)}" if stage.stage.maximum_ms else ""
        verdict = "minimum_pairs does not come within maximum_seconds" if stage.floor_too_late else ""
        table.add_row("", f"= stage ({floors})", "", "", shown(stage.p50_ms), shown(stage.p90_ms), "", verdict)
    console().print(table)
    for stage in stages:
        for gate in stage.gates:
            if gate.advice:
                print_line(f"stage {stage.stage.name}, {gate.gate}: {gate.advice}")
    slow = shown(_sum(s.p90_ms for s in stages))
    print_line(f"all stages: {shown(_sum(s.p50_ms for s in stages))}, or {slow} where every one is slow (p90)")
    told = ", ".join(f"{a.name}={a.value:g}" for a in assumptions(truth))
    print_line(f"assumed of a healthy candidate (change with --assume): {told}")


def _cells(gate: GateForecast) -> tuple[str, ...]:
    from paritygate.rollouts.forecast import shown  # noqa: PLC0415

    need = gate.need
    return (
        gate.gate + ("" if gate.required else " (advisory)"),
        "never" if need.p50 is None else f"{_count(need.p50)} {need.sample}",
        "never" if need.p90 is None else _count(need.p90),
        shown(gate.p50_ms),
        shown(gate.p90_ms),
        "" if gate.live_p90_ms is None else f"p90 {shown(gate.live_p90_ms)}",
        gate.decidable.value,
    )


def _count(value: float) -> str:
    """An estimate's worth of digits: whole numbers, hours with one decimal."""
    return f"{value:,.1f}" if 0.0 < value < 100.0 and value != int(value) else f"{math.ceil(value):,}"


def _stage_name(stage: StageForecast) -> str:
    weight = stage.stage.weight
    return stage.stage.name if not weight else f"{stage.stage.name} ({weight} %)"


def _sum(times: Iterable[int | None]) -> int | None:
    listed = list(times)
    known = [t for t in listed if t is not None]
    return sum(known) if len(known) == len(listed) else None


def _as_json(plan: RolloutPlan, rate: float, truth: Truth, stages: tuple[StageForecast, ...]) -> dict[str, Any]:
    from paritygate.gates.truth import assumptions  # noqa: PLC0415

    written = {stage.name: stage.minimum_ms for stage in plan.written_stages}
    return {
        "rollout_id": plan.rollout,
        "spend_more_time_when": list(plan.spend_more_time_when),
        "requests_per_second": rate,
        "assumed": {a.name: a.value for a in assumptions(truth)},
        "decidable": not any(s.undecidable or s.floor_too_late for s in stages),
        "stages": [
            {
                "stage": s.stage.name,
                "weight": s.stage.weight,
                "minimum_ms": s.stage.minimum_ms,
                "written_minimum_ms": written[s.stage.name],
                "minimum_pairs": s.stage.minimum_pairs,
                "maximum_ms": s.stage.maximum_ms,
                "floor_ms": s.floor_ms,
                "p50_ms": s.p50_ms,
                "p90_ms": s.p90_ms,
                "gates": [_gate_json(g) for g in s.gates],
            }
            for s in stages
        ],
    }


def _gate_json(gate: GateForecast) -> dict[str, Any]:
    return {
        "gate": gate.gate,
        "required": gate.required,
        "sample": gate.need.sample.value,
        "needed_p50": gate.need.p50,
        "needed_p90": gate.need.p90,
        "p50_ms": gate.p50_ms,
        "p90_ms": gate.p90_ms,
        "live_only_p90_ms": gate.live_p90_ms,
        "verdict": gate.decidable.value,
        "change": gate.advice,
    }
