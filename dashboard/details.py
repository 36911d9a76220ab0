"""Details: the pages below a rollout: all segments, one segment, one request pair, one decision explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from paritygate.dashboard import paths
from paritygate.dashboard.blocks import mark_html
from paritygate.dashboard.board import Entry
from paritygate.dashboard.document import Cell, Code, Facts, Items, Link, Mark, Paragraph, Table
from paritygate.dashboard.elements import element
from paritygate.dashboard.pairs import pair_blocks
from paritygate.dashboard.parts import Part, notices, part
from paritygate.dashboard.rollout import heading, ranking_table, segment_sides
from paritygate.dashboard.segments import MOST, ranking, samples_in, within
from paritygate.dashboard.sides import sides_table
from paritygate.dashboard.words import measured
from paritygate.gates.reasons import UNKNOWN, instant, many, number
from paritygate.rollouts.explanation import explain
from paritygate.rollouts.regression import Pair
from paritygate.rollouts.review import Review
from paritygate.rollouts.sides import sides
from paritygate.rollouts.view import GateLine, lines_of, rows
from paritygate.rollouts.view import where as where_of
from paritygate.schemas.decision import GateDecision

#: Examples of one segment that its page lists.
EXAMPLES: Final = 40


def segments_parts(entry: Entry, review: Review) -> tuple[Part, ...]:
    """Every segment, the worst first."""
    assert entry.ledger is not None
    rows, total = ranking(entry.ledger.whole, review.findings)
    told = [Paragraph(f"{many(total, 'segment')}, the worst first; marked are those that the gates flag.")]
    told += [Paragraph(f"The last {total - MOST:,} are left out.")] if total > MOST else []
    title = part("segments", "Where is it worse", *told, ranking_table(entry.rollout_id, rows))
    return notices(()), Part("title", heading(f"Segments of {entry.rollout_id}")), title


def segment_parts(entry: Entry, review: Review, where: Mapping[str, str]) -> tuple[Part, ...]:
    """One segment: both arms side by side, what the gates say, examples.

    :raises KeyError: a dimension that the plan does not name, or values that no request had.
    """
    assert entry.ledger is not None
    tally = within(entry.ledger.whole, where)
    if not tally.cells:
        raise KeyError(next(iter(where), ""))
    name = " & ".join(f"{d}={v}" for d, v in sorted(where.items()))
    found = [f.words for f in review.findings if f.segment == name]
    samples = samples_in(review.samples, where)
    rows = tuple(
        (
            Link(s.request_id, paths.example(entry.rollout_id, s.request_id)),
            s.kind,
            s.detail,
            Code(s.trace_id) if s.trace_id else UNKNOWN,
        )
        for s in samples[:EXAMPLES]
    )
    examples = (
        Table(("request", "failure", "detail", "trace"), rows)
        if rows
        else Paragraph("The windows kept none of it.")
    )
    return (
        notices(()),
        Part("title", heading(name)),
        part(
            "finding", "What the gates say", Items(tuple(found)) if found else Paragraph("It does not stand out.")
        ),
        part("sides", "Stable and candidate side by side", sides_table(segment_sides(sides(tally)))),
        part("examples", "Examples", examples),
    )


def example_parts(pair: Pair, *, show_values: bool) -> tuple[Part, ...]:
    """One request pair and where its answers differ."""
    told = "as they were" if show_values else "redacted: types and lengths stand for values"
    blocks = list(pair_blocks(pair))
    return (
        notices(()),
        Part("title", heading(f"Request {pair.sample.request_id}")),
        part("pair", "Both answers", Paragraph(f"Payloads are {told}."), *blocks),
    )


def decision_parts(entry: Entry, sequence: int) -> tuple[Part, ...]:
    """Why one decision was made.

    :raises KeyError: there is none of that number here.
    """
    place = next((i for i, d in enumerate(entry.decisions) if d.sequence == sequence), None)
    if place is None:
        raise KeyError(sequence)
    d = entry.decisions[place]
    lines = lines_of(None if entry.plan is None else entry.plan.to_plain())
    found = explain(d, entry.decisions[: place + 1], entry.plan)
    if found.rule is not None:
        rule = f"Rule {found.rule.number} of judge(): {found.rule.when}."
    elif d.verdicts:
        rule = f"None that this version knows: {d.reason_code}."
    else:
        rule = f"A command: {d.reason_code}, rollouts.v1 offset {d.commands_next - 1}."
    facts: tuple[tuple[str, Cell], ...] = (
        ("event time", instant(d.at_ms)),
        ("judged in", d.from_stage),
        ("id", Code(d.decision_id)),
        ("digest of the one before", Code(d.previous or UNKNOWN)),
        ("digest of the evidence", Code(d.evidence_digest)),
        ("windows.v1", f"records before offset {d.windows_next:,}"),
        ("rollouts.v1", f"records before offset {d.commands_next:,}"),
    )
    read_keys = tuple((Code(key), str(value)) for key, value in found.plan_lines.items())
    read = Table(("line", "value"), read_keys) if read_keys else Paragraph("None.")
    return (
        notices(()),
        Part("title", heading(f"Decision {d.sequence} of {entry.rollout_id}")),
        part(
            "what",
            "What was decided",
            element("p", mark_html(Mark(d.action.value)), f" {where_of(d)}", class_="headline"),
            Paragraph(rule),
        ),
        part("verdicts", "What the gates said", _verdicts(d, lines)),
        part("numbers", "Numbers behind it", _numbers(d)),
        part("waits", "It waited for", Items(found.waits) if found.waits else Paragraph("Nothing.")),
        part("lines", "Lines of the plan that the rule read", read),
        part("origin", "What it follows from", Facts(facts), link=_neighbour(entry, place)),
    )  # fmt: skip


def _neighbour(entry: Entry, place: int) -> tuple[str, str] | None:
    if not place:
        return None
    before = entry.decisions[place - 1].sequence
    return f"The decision before: {before}", paths.decision(entry.rollout_id, before)


def _verdicts(d: GateDecision, lines: Mapping[str, GateLine]) -> Table | Paragraph:
    if not d.verdicts:
        return Paragraph("None was asked.")
    return Table(
        ("gate", "verdict", "line", "value", "segment", "why"),
        tuple(
            (
                row.line.gate if row.required else f"{row.line.gate} (advisory)",
                Mark(row.verdict),
                row.line.declared,
                measured(row.value, row.low, row.high, row.line.unit),
                row.segment,
                row.reason,
            )
            for row in rows(d, lines)
        ),
    )


def _numbers(d: GateDecision) -> Table | Paragraph:
    """Everything that the verdicts recorded, for those who compute it again."""
    told = tuple((v.gate, ", ".join(_number(name, n) for name, n in v.numbers.items())) for v in d.verdicts)
    return Table(("gate", "numbers"), told) if told else Paragraph("None.")


def _number(name: str, value: float | None) -> str:
    return f"{name} {UNKNOWN if number(value) is None else f'{value:,.6g}'}"
