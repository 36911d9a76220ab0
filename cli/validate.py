"""``paritygate validate``: is this rollout.yaml usable, and what exactly does it say?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paritygate.cli.console import print_json, print_line
from paritygate.cli.options import Json
from paritygate.schemas.errors import PlanError

if TYPE_CHECKING:
    from paritygate.rollouts.plan import RolloutPlan

#: A plan is a few kilobytes; a file beyond this is not one, and YAML of this size can take minutes.
MAX_PLAN_BYTES = 1 << 20


def read_plan(path: Path) -> RolloutPlan:
    """The plan in a file.

    :raises PlanError: the file cannot be read, or is no usable plan (``file:line:column path: what``).
    """
    from paritygate.rollouts.plan import RolloutPlan  # noqa: PLC0415

    return RolloutPlan.from_yaml(read_text(path), file=str(path))


def read_to_begin(path: Path) -> RolloutPlan:
    """The plan in a file, to be started: the default policy holds.

    :raises PlanError: as :func:`read_plan`, or it makes a mistake that the policy forbids.
    """
    from paritygate.rollouts.mistakes import require_policy  # noqa: PLC0415
    from paritygate.rollouts.yaml_source import read_yaml  # noqa: PLC0415

    plan = read_plan(path)
    require_policy(plan, read_yaml(read_text(path), file=str(path)))
    return plan


def read_text(path: Path) -> str:
    """The text of a plan's file.

    :raises PlanError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PLAN_BYTES + 1)
        if len(data) > MAX_PLAN_BYTES:
            raise PlanError(f"larger than {MAX_PLAN_BYTES >> 10} KiB", file=str(path))
        return data.decode()
    except OSError as e:
        raise PlanError(f"cannot be read: {e.strerror or type(e).__name__}", file=str(path)) from None
    except UnicodeDecodeError as e:
        raise PlanError(f"is not UTF-8 text (byte {e.start})", file=str(path)) from None


def validate(
    plan_file: Annotated[Path, typer.Argument(metavar="ROLLOUT.YAML", help="The plan.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Check a rollout.yaml and print its digest; with --json the whole plan, defaults filled in."""
    from paritygate.rollouts.more_time import sentence  # noqa: PLC0415

    plan = read_to_begin(plan_file)
    if as_json:
        print_json({"rollout_id": plan.rollout, "digest": plan.digest(), "plan": plan.to_plain()})
        return
    stages = " → ".join(s.name if s.weight == 0 else f"{s.name} ({s.weight} %)" for s in plan.stages)
    print_line(f"{plan_file}: rollout {plan.rollout} of {plan.service} is valid")
    print_line(f"digest {plan.digest()}")
    print_line(f"stages {stages}")
    if longer := sentence(plan.ladder.stages, plan.spend_more_time_when):
        print_line(f"longer {longer}")
    print_line(f"gates  {', '.join(g.name for g in plan.gates)}")
