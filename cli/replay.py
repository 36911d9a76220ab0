"""``paritygate replay``: derive the decisions of one rollout again, and show each beside the record.

Law: the same derivation as ``audit verify``, decision by decision. With ``--from-raw`` the windows are counted
again from the raw topics first, held against the recorded ones, and put in the place of the newest version of each;
older versions, and the places at which reports came, are those of the record. Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.options import Bootstrap, Json, RolloutId

if TYPE_CHECKING:
    from paritygate.cli.logs import Control
    from paritygate.comparators.recount import Recounted
    from paritygate.rollouts.audit import Audit, Finding
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.decision import GateDecision


def replay(
    rollout: RolloutId,
    *,
    from_raw: Annotated[
        bool, typer.Option("--from-raw", help="Count the windows again from the raw prediction topics first.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Derive every decision of a rollout again from windows.v1 and rollouts.v1; 1 where one differs."""
    from paritygate.cli.logs import audit_settings, read_control  # noqa: PLC0415

    settings = audit_settings(bootstrap)
    control = read_control(settings)
    control.require(rollout)
    recounted = recount_all(settings, control, rollout) if from_raw else []
    audit, finding = derive(settings, control, rollout, recounted)
    rows = compared(audit, rollout)
    holds = all(r.holds for r in recounted) and (finding.holds or any(r.gone for r in recounted))
    if as_json:
        decisions = [{**_head(d), "replay": said} for d, said in rows]
        print_json({"holds": holds, "windows": [_plain(r) for r in recounted], "decisions": decisions})
    else:
        from paritygate.cli.audit import lines_of  # noqa: PLC0415

        table = new_table("#", "action", "stage", "reason", "replay")
        for d, said in rows:
            table.add_row(str(d.sequence), d.action.value, d.stage, d.reason_code, said)
        console().print(table)
        for line in [*(line for r in recounted for line in recount_lines(r)), *lines_of(finding)]:
            print_line(line)
    if not holds:
        raise typer.Exit(1)


def derive(
    settings: KafkaSettings, control: Control, rollout: str, recounted: list[Recounted]
) -> tuple[Audit, Finding]:
    """Fold the recorded reports again, those that were recounted with their recounted content."""
    from paritygate.cli.logs import read_windows  # noqa: PLC0415
    from paritygate.comparators.recount import with_content  # noqa: PLC0415
    from paritygate.rollouts.audit import Audit  # noqa: PLC0415

    contents = {key: content for r in recounted for key, content in r.contents.items()}
    audit = Audit(
        control.recorded,
        control.commands,
        commands_lost=control.said.lost,
        only={rollout},
        doubted=control.said.unheard,
    )
    for offset, report in read_windows(settings, audit.windows_first, audit.windows_end):
        mine = report is not None and report.rollout_id == rollout
        if mine and report is not None and (report.partition, report.window_start_ms) in contents:
            version, tally = contents[report.partition, report.window_start_ms]
            if (report.generation, report.revision) == version:
                audit.apply_report(offset, with_content(report, tally))
                continue
        audit.apply_report(offset, report)
    (finding,) = audit.finish()
    return audit, finding


def recount_all(settings: KafkaSettings, control: Control, rollout: str) -> list[Recounted]:
    """Every partition of the rollout counted again from the raw topics.

    :raises ConfigError: the plan is not known, or a raw topic is not there.
    """
    import dataclasses  # noqa: PLC0415
    import os  # noqa: PLC0415

    from paritygate.cli.explain import plan_of  # noqa: PLC0415
    from paritygate.cli.kafka import require_topics  # noqa: PLC0415
    from paritygate.cli.logs import read_windows  # noqa: PLC0415
    from paritygate.cli.raw import RawPartition  # noqa: PLC0415
    from paritygate.cli.tail import confluent_ids  # noqa: PLC0415
    from paritygate.comparators.recount import recount  # noqa: PLC0415
    from paritygate.schemas.errors import ConfigError  # noqa: PLC0415
    from paritygate.schemas.report import WindowReport  # noqa: PLC0415
    from paritygate.schemas.topics import BULK  # noqa: PLC0415

    require_topics(settings, *(t.name for t in BULK))
    first = next(d for _, d in control.recorded if d.rollout_id == rollout)
    plan = plan_of(control.commands, rollout, first.policy_digest)
    if plan is None:
        raise ConfigError(f"rollout {rollout!r}: its start command is not in rollouts.v1, so its plan is not known")
    reports: dict[int, list[WindowReport]] = {}
    for _, report in read_windows(settings, first.windows_next):
        if report is not None and report.rollout_id == rollout:
            reports.setdefault(report.partition, []).append(report)
    ids = confluent_ids((), os.environ)
    found = []
    for partition in sorted(reports):
        raw = RawPartition(settings, partition, ids)
        counted = recount(plan.join_settings(), partition, reports[partition], raw.feed)
        found.append(dataclasses.replace(counted, gone=raw.gone()))
    return found


def recount_lines(found: Recounted) -> list[str]:
    """What came of one partition, for people. Pure."""
    head = f"partition {found.partition}: {found.identical} of {found.windows} windows are the same, count by count"
    if found.edge:
        head += f"; {found.edge} at the beginning hold requests from before the worker knew of the rollout"
    gone = [f"  {what}; what differs below may be that" for what in found.gone]
    return [head, *gone, *(f"  {difference}" for difference in found.differences)]


def _plain(found: Recounted) -> dict[str, Any]:
    return {
        "partition": found.partition, "windows": found.windows, "identical": found.identical, "edge": found.edge,
        "differences": list(found.differences), "gone": list(found.gone),
    }  # fmt: skip


def compared(audit: Audit, rollout: str) -> list[tuple[GateDecision, str]]:
    """Every decision of the chain with what the logs say of it. Call it after ``finish``."""
    differ = {d.sequence: d for d in audit.differences if d.rollout_id == rollout and d.recorded is not None}
    rows = []
    for decision in audit.chain(rollout):
        difference = differ.get(decision.sequence)
        if difference is None:
            said = "identical"
        elif gone := audit.gone(decision):
            said = f"cannot be known: {', '.join(gone)} are gone"
        else:
            said = f"another {', '.join(difference.fields)}" if difference.fields else "does not follow"
        rows.append((decision, said))
    return rows


def _head(decision: GateDecision) -> dict[str, Any]:
    whole = decision.model_dump(mode="json")
    return {k: whole[k] for k in ("sequence", "action", "stage", "weight", "reason_code", "windows_next")}
