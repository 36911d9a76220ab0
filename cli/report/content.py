"""Content: from a review to the sections of a report.

Law: everything that is shown is in the review or its pairs; nothing is computed here but shares of a bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paritygate.dashboard.document import (
    Bar,
    Block,
    Code,
    Commands,
    Document,
    Facts,
    Gates,
    Items,
    Mark,
    Paragraph,
    Section,
    Table,
)
from paritygate.dashboard.pairs import pair_blocks
from paritygate.dashboard.sides import sides_table
from paritygate.gates.reasons import duration, instant, many
from paritygate.rollouts.regression import Pair
from paritygate.rollouts.review import Review, Stay

#: Rows of the timeline; in a longer one the middle is left out, and said so.
MAX_STEPS = 80


def document(review: Review, pairs: Sequence[Pair], *, show_values: bool = False) -> Document:
    """The report of ``review``; ``pairs``: examples whose answers were read, in the order to show."""
    return Document(
        title=f"Rollout {review.rollout}",
        ending=Mark(review.outcome),
        headline=review.headline,
        sections=(
            Section("In short", (_short(review),)),
            Section("Open questions for the review", _questions(review)),
            Section("Time and users by stage", (_ladder(review),)),
            Section("Timeline", tuple(_timeline(review))),
            Section("Stable and candidate side by side", (sides_table(review.sides, review.gates),)),
            Section("Gates over time", (Gates(review.gates),) if review.gates else (Paragraph("No gate spoke."),)),
            Section("Worst segments", tuple(_segments(review))),
            Section("Examples", tuple(_examples(review, pairs, show_values=show_values))),
            Section("Who did what", (_deeds(review),)),
            Section("How to derive this again", tuple(_origin(review))),
        ),
    )


def _short(review: Review) -> Block:
    return Facts(
        (
            ("service", review.service),
            ("stable version", Code(review.baseline_version)),
            ("candidate version", Code(review.candidate_version)),
            ("owner", review.owner),
            ("rollback condition", review.rollback_condition),
            ("impact", review.impact),
            ("users' requests that the candidate answered", f"{review.exposed:,}"),
            ("worst segment", review.worst_segment or "none was flagged"),
        )
    )


def _questions(review: Review) -> tuple[Block, ...]:
    return (Items(review.questions),) if review.questions else (Paragraph("The record raises none."),)


def _ladder(review: Review) -> Block:
    longest = max((_ms(stay) for stay in review.stays), default=0)
    rows = tuple(
        (
            stay.stage,
            f"{stay.weight} %",
            "" if stay.from_ms is None else Bar(_ms(stay) / max(longest, 1), duration(_ms(stay))),
            "" if stay.from_ms is None else f"{stay.exposed:,}",
            "" if stay.from_ms is None else f"{stay.pairs:,}",
            Mark(stay.left),
        )
        for stay in review.stays
    )
    return Table(("stage", "weight", "time", "users exposed", "pairs", "end"), rows, (1, 3, 4))


def _ms(stay: Stay) -> int:
    return 0 if stay.from_ms is None or stay.until_ms is None else stay.until_ms - stay.from_ms


def _timeline(review: Review) -> Iterator[Block]:
    steps = review.steps
    if len(steps) > MAX_STEPS:
        half = MAX_STEPS // 2
        yield Paragraph(f"{len(steps) - 2 * half:,} of {len(steps):,} rows between are left out.")
        steps = (*steps[:half], *steps[-half:])
    yield Table(
        ("decision", "event time", "action", "stage", "weight", "why"),
        tuple(
            (
                str(s.sequence) if s.sequence == s.until_sequence else f"{s.sequence} to {s.until_sequence}",
                instant(s.at_ms),
                Mark(s.action),
                s.stage if s.stage == s.from_stage else f"{s.from_stage} → {s.stage}",
                f"{s.weight} %",
                s.reason,
            )
            for s in steps
        ),
        (4,),
        (0, 1, 2),
    )


def _segments(review: Review) -> Iterator[Block]:
    if not review.findings:
        yield Paragraph("No segment stands out.")
        return
    yield Table(
        ("segment", "measure", "what"),
        tuple((f.segment, f.measure, f.words.removeprefix(f"{f.segment}: ")) for f in review.findings),
    )


def _examples(review: Review, pairs: Sequence[Pair], *, show_values: bool) -> Iterator[Block]:
    if not review.samples:
        yield Paragraph("The windows kept no example of a failure.")
        return
    told = "as they were" if show_values else "redacted: types and lengths stand for values"
    yield Paragraph(f"{many(len(pairs), 'request')} of {len(review.samples):,} kept; payloads are {told}.")
    for pair in pairs:
        yield from pair_blocks(pair)


def _deeds(review: Review) -> Block:
    return Table(
        ("what", "who", "why", "their clock", "came of it"),
        tuple(
            (d.kind, d.actor, d.reason or "no reason given", instant(d.issued_at_ms), d.came_of_it)
            for d in review.deeds
        ),
        whole=(0, 3),
    )


def _origin(review: Review) -> Iterator[Block]:
    o = review.origin
    yield Facts(
        (
            ("decisions", f"{o.decisions[0]} to {o.decisions[1] - 1}"),
            ("last decision", Code(o.decision_id)),
            ("digest of the last decision", Code(o.head)),
            ("digest of its evidence", Code(o.evidence_digest)),
            ("digest of the plan", Code(o.policy_digest)),
            ("windows.v1", f"records before offset {o.windows_next:,}"),
            ("rollouts.v1", f"records before offset {o.commands_next:,}"),
        )
    )
    if o.sources:
        yield Table(
            ("topic", "partition", "from offset", "to before"),
            tuple(
                (Code(s.topic), str(s.partition), f"{s.first:,}", f"{s.next:,}")
                for s in o.sources
                if s.next > s.first
            ),
            (1, 2, 3),
        )
    yield Commands(
        (
            f"paritygate tail audit.v1 --rollout {review.rollout} --json",
            f"paritygate tail rollouts.v1 --rollout {review.rollout} --json",
            f"paritygate tail windows.v1 --rollout {review.rollout} --json",
        )
    )
