"""``paritygate audit``: is the record whole, and do the logs still give it?

Law: a reader needs no trust in the worker: the chain of hashes and every decision are made again here, from the
topics alone. What cannot be known any more is said as such.
"""

from __future__ import annotations

from enum import StrEnum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paritygate.cli.console import print_json, print_line
from paritygate.cli.options import Bootstrap, Json
from paritygate.cli.said import COMMAND_KEYS, DECISION_KEYS
from paritygate.schemas.signature import Signed, Trust
from paritygate.schemas.topics import AUDIT, ROLLOUTS

if TYPE_CHECKING:
    from paritygate.cli.logs import Control
    from paritygate.rollouts.audit import Finding


@unique
class To(StrEnum):
    """Formats of an export."""

    PARQUET = "parquet"


audit_app = typer.Typer(no_args_is_help=True, help="Check the record of decisions against the logs, or export it.")


@audit_app.command("verify")
def verify(
    rollout: Annotated[
        str | None, typer.Argument(metavar="[ROLLOUT]", help="Only this one.", show_default=False)
    ] = None,
    *,
    decision_keys: Annotated[
        str, typer.Option(metavar="FILE", envvar=DECISION_KEYS, help="Public keys of the deciders.")
    ] = "",
    command_keys: Annotated[
        str, typer.Option(metavar="FILE", envvar=COMMAND_KEYS, help="Public keys of the operators.")
    ] = "",
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Check the hash chain of every rollout and derive every decision again, byte for byte; 1 where one differs.

    With keys, check the signatures, too; 1 where one of a decision is bad, or a decision is neither signed nor
    continued by one that is.
    """
    from paritygate.cli import said  # noqa: PLC0415
    from paritygate.cli.logs import read_record, read_windows  # noqa: PLC0415
    from paritygate.rollouts.audit import Audit  # noqa: PLC0415

    keys = Trust(said.command_keys(command_keys), said.decision_keys(decision_keys))
    settings, control = read_record(bootstrap, rollout, keys)
    only = None if rollout is None else {rollout}
    audit = Audit(
        control.recorded, control.commands, commands_lost=control.said.lost, only=only, doubted=control.said.unheard
    )
    for offset, report in read_windows(settings, audit.windows_first, audit.windows_end):
        audit.apply_report(offset, report)
    findings = audit.finish()
    holds = all(f.holds for f in findings) and not control.unread and are_signed(control, keys)
    if as_json:
        rollouts = [plain_finding(f) for f in findings]
        signatures = plain_signatures(control, keys)
        print_json(
            {"holds": holds, "unreadable_offsets": control.unread, "signatures": signatures, "rollouts": rollouts}
        )
    else:
        for line in [*(line for f in findings for line in lines_of(f)), *signature_lines(control, keys)]:
            print_line(line)
        if not findings:
            print_line("no rollout has a decision yet")
    if not holds:
        raise typer.Exit(1)


def lines_of(finding: Finding) -> list[str]:
    """What an audit says of one rollout, for people. Pure."""
    f = finding
    words = [f"{f.decisions} decision{'' if f.decisions == 1 else 's'}"]
    words.append("chain whole" if f.broken is None else "chain BROKEN")
    words.append(f"re-derived {f.rederived} of {f.decisions}")
    words += [f"{f.repeated} repeated after a crash"] if f.repeated else []
    words += [f"{f.forked} of a second decider, which nobody obeys"] if f.forked else []
    lines = [f"{f.rollout_id}: {', '.join(words)}"]
    if f.broken is not None:
        before = f.broken.decision.sequence - 1
        lines.append(
            f"  audit.v1 offset {f.broken.offset}: decision {f.broken.decision.sequence} names a decision "
            f"{before} that is not there: one was changed or taken out"
        )
    if f.unknowable:
        lines.append(
            f"  {f.unknowable} cannot be known: they rest on {', '.join(f.gone)}, and those records are gone "
            "(retention or compaction)"
        )
    if f.difference is not None:
        lines.append(f"  first difference: {f.difference}")
        lines += [
            f"    {name}: recorded {recorded!r}, derived {derived!r}"
            for name, (recorded, derived) in f.difference.fields.items()
        ]
    return lines


def are_signed(control: Control, keys: Trust) -> bool:
    """Whether the record is signed as the keys of the deciders want it. Pure.

    What is unsigned and lies before the first signature is from the time before there were keys.
    """
    found = control.signatures
    if keys.decisions is None or not control.recorded:
        return True
    return not control.refused and not found[Signed.BAD] and found[Signed.SIGNED] > 0


def plain_signatures(control: Control, keys: Trust) -> dict[str, Any]:
    """How decisions and commands are signed; null for those whose keys are not given. Pure."""
    counted = ((control.signatures, keys.decisions), (control.said.log.found, keys.commands))
    decisions, commands = (
        {kind.value: found[kind] for kind in Signed} if key is not None else None for found, key in counted
    )
    return {
        "decisions": decisions, "commands": commands,
        "refused_decisions": [{"offset": offset, "why": why} for offset, why in control.refused],
        "doubted_commands": [
            {"offset": offset, "why": why, "obeyed": offset in control.obeyed}
            for offset, why in control.said.doubted.items()
        ],
    }  # fmt: skip


def signature_lines(control: Control, keys: Trust) -> list[str]:
    """The same for people; nothing without keys. Pure."""
    plain, lines = plain_signatures(control, keys), []
    for what in ("decisions", "commands"):
        if plain[what] is not None:
            counts = ", ".join(f"{count} {kind}" for kind, count in plain[what].items())
            lines.append(f"signatures of {what}: {counts}")
    lines += [f"  {AUDIT.name} offset {offset} is refused: {why}" for offset, why in control.refused]
    obeyed = {True: "a decision names it", False: "not obeyed"}
    return lines + [
        f"  {ROLLOUTS.name} offset {d['offset']} ({obeyed[d['obeyed']]}): {d['why']}"
        for d in plain["doubted_commands"]
    ]


def plain_finding(finding: Finding) -> dict[str, Any]:
    """The same as plain data. Pure."""
    f = finding
    difference = f.difference and {
        "sequence": f.difference.sequence,
        "what": str(f.difference),
        "fields": {k: {"recorded": a, "derived": b} for k, (a, b) in f.difference.fields.items()},
    }
    return {
        "rollout_id": f.rollout_id, "holds": f.holds, "decisions": f.decisions, "rederived": f.rederived,
        "unknowable": f.unknowable, "gone": list(f.gone), "repeated": f.repeated, "forked": f.forked,
        "broken_offset": None if f.broken is None else f.broken.offset, "difference": difference,
    }  # fmt: skip


@audit_app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.", show_default=False)],
    *,
    to: Annotated[To, typer.Option("--to", help="The format.")] = To.PARQUET,
    rollout: Annotated[str | None, typer.Option("--rollout", help="Only this one.")] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Write windows, cells, totals, histograms, decisions, verdicts and commands as flat tables for SQL."""
    from paritygate.cli.flat import TABLES, command_rows, decision_rows, window_rows  # noqa: PLC0415
    from paritygate.cli.logs import read_record, read_windows  # noqa: PLC0415
    from paritygate.cli.parquet import ParquetFolder  # noqa: PLC0415
    from paritygate.rollouts.audit import links  # noqa: PLC0415

    settings, control = read_record(bootstrap, rollout)
    with ParquetFolder(folder, TABLES) as files:
        for table, row in command_rows(control.commands):
            if rollout in (None, row["rollout_id"]):
                files.add(table, row)
        for link in links(control.recorded):
            if rollout in (None, link.decision.rollout_id):
                for table, row in decision_rows(link):
                    files.add(table, row)
        for offset, report in read_windows(settings):
            if report is not None and rollout in (None, report.rollout_id):
                for table, row in window_rows(offset, report):
                    files.add(table, row)
    if as_json:
        print_json({"format": to.value, "rows": files.written})
        return
    for table, count in files.written.items():
        print_line(f"{folder / f'{table}.{to.value}'}: {count:,} rows")
