"""Rollout: the one page that is enough to understand a rollout, from the decision down to its sources.

Law: everything shown stands in the records or in the review of them; what is not known is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paritygate.dashboard import paths
from paritygate.dashboard.blocks import mark_html, when_html
from paritygate.dashboard.board import Entry
from paritygate.dashboard.document import Bar, Block, Cell, Code, Facts, Gates, Link, Mark, Paragraph, Table, When
from paritygate.dashboard.elements import Html, element
from paritygate.dashboard.freshness import Look, behind, complaints, sources
from paritygate.dashboard.overview import freshness, ladder
from paritygate.dashboard.parts import Part, notices, part
from paritygate.dashboard.segments import Ranked, ranking
from paritygate.dashboard.sides import sides_table
from paritygate.dashboard.trends import trend_parts
from paritygate.gates.reasons import duration, instant, many, percent
from paritygate.rollouts.explanation import explain
from paritygate.rollouts.histories import histories
from paritygate.rollouts.review import Review, Stay, Step, deeds_of, review_of, steps_of
from paritygate.rollouts.sides import SideRow
from paritygate.rollouts.view import where
from paritygate.schemas.decision import GateDecision

#: Rows on the page itself; the rest is a page away.
WORST: Final = 12
STEPS: Final = 30
#: Counts of a decision that say what became of the requests, and what they mean.
_BINS: Final = {
    "pairs": "paired: both arms were heard",
    "missing_candidate": "the candidate's answer never came: a failure",
    "missing_baseline": "the baseline's answer never came",
    "shed": "an arm was not asked",
    "duplicate": "events seen before",
    "conflict": "the same request and arm with another content",
    "late": "events that came after their window had closed",
    "foreign": "events of a rollout that nobody started",
    "poison": "events that could not be read",
}
_RANKED: Final = (
    "segment", "requests", "failed, stable", "failed, candidate", "invalid", "other label", "slower : faster",
    "gates say",
)  # fmt: skip
_NO_EVIDENCE: Final = Paragraph("The windows of this rollout are being read, or are past their retention.")


def reviewed(entry: Entry) -> Review | None:
    """The review of a rollout as far as its evidence was read; None without it."""
    if entry.plan is None or entry.ledger is None or not entry.decisions:
        return None
    return review_of(
        entry.plan, entry.decisions, entry.commands, entry.ledger, entry.samples, doubted=entry.doubted
    )


def rollout_parts(entry: Entry, review: Review | None, look: Look) -> tuple[Part, ...]:
    """The parts of a rollout's page; it has at least one decision. ``review``: of the same entry."""
    d = entry.decisions[-1]
    plan_path = paths.api(entry.rollout_id)
    return (
        notices(complaints(entry, look)),
        Part("title", element("h1", entry.rollout_id, " ", mark_html(Mark(entry.outcome)), id="title")),
        _now(entry, d),
        part("rungs", "Ladder", ladder(entry), *_stays(review)),
        part("sides", "Stable and candidate side by side", *_sides(review)),
        *trend_parts(entry),
        part("gates", "Gates", *_gates(entry)),
        _worst(entry, review),
        part("requests", "Pairs, orphans, completeness", *_requests(d)),
        part("history", "Decision history", *_history(entry)),
        part("routers", "Routers, and what they applied", *_routers(entry, look.now_ms)),
        part("plan", "Owner and rollback condition", _plan(entry, d), link=("The same as JSON", plan_path)),
        part("people", "Who did what", *_people(entry)),
        freshness(sources(look)),
    )


def _now(entry: Entry, d: GateDecision) -> Part:
    live = f"{d.weight} % of live traffic goes to the candidate" if d.weight else "No user sees the candidate"
    waits = explain(d, entry.decisions[-2:], entry.plan).waits if entry.active else ()
    said = element("p", mark_html(Mark(d.action.value)), f" {where(d)}", class_="headline")
    exposed = f"{live}; {many(d.exposed_requests, 'request')} of users got its answer so far."
    lines = [said, element("p", exposed)]
    if waits:
        lines += [element("h3", "It waits for"), element("ul", *(element("li", wait) for wait in waits))]
    stamp = element(
        "p", "Decision ", element("a", str(d.sequence), href=paths.decision(entry.rollout_id, d.sequence)),
        f", event time {instant(d.at_ms)}, written ", when_html(entry.decided_at_ms), class_="quiet",
    )  # fmt: skip
    return part("now", "The decision now", *lines, stamp)


def _stays(review: Review | None) -> Iterator[Block]:
    if review is None:
        return
    longest = max((_ms(stay) for stay in review.stays), default=0)
    yield Table(
        ("stage", "weight", "time", "users exposed", "pairs", "end"),
        tuple(_stay(stay, longest) for stay in review.stays),
        (1, 3, 4),
    )


def _stay(stay: Stay, longest: int) -> tuple[Cell, ...]:
    if stay.from_ms is None:
        return stay.stage, f"{stay.weight} %", "", "", "", Mark(stay.left)
    spent = Bar(_ms(stay) / max(longest, 1), duration(_ms(stay)))
    return stay.stage, f"{stay.weight} %", spent, f"{stay.exposed:,}", f"{stay.pairs:,}", Mark(stay.left)


def _ms(stay: Stay) -> int:
    return 0 if stay.from_ms is None or stay.until_ms is None else stay.until_ms - stay.from_ms


def _sides(review: Review | None) -> Iterator[Block]:
    yield _NO_EVIDENCE if review is None else sides_table(review.sides, review.gates)


def _gates(entry: Entry) -> Iterator[Block]:
    found = histories(() if entry.plan is None else entry.plan.gates, entry.decisions)
    yield Gates(found) if found else Paragraph("No gate has spoken yet.")


def _worst(entry: Entry, review: Review | None) -> Part:
    title = "Where is it worse"
    if review is None or entry.ledger is None:
        return part("worst", title, _NO_EVIDENCE)
    rows, total = ranking(entry.ledger.whole, review.findings, WORST)
    if not rows:
        return part("worst", title, Paragraph("No segment has had a request, or the plan names no dimension."))
    more = (f"All {total:,} segments", paths.rollout(entry.rollout_id, "segments")) if total > len(rows) else None
    return part("worst", title, ranking_table(entry.rollout_id, rows), link=more)


def ranking_table(rollout_id: str, rows: Sequence[Ranked]) -> Table:
    """Segments, the worst first, each a link to its own page."""
    return Table(
        _RANKED,
        tuple(
            (
                Link(r.name, paths.segment(rollout_id, r.where)),
                f"{r.requests:,}",
                _share(r.baseline_errors, r.requests),
                _share(r.candidate_errors, r.requests),
                f"{r.candidate_invalid:,}",
                _share(r.label_changes, r.labels_compared),
                f"{r.slower:,} : {r.faster:,}",
                Mark("worse", r.finding) if r.finding else "",
            )
            for r in rows
        ),
        (1, 2, 3, 4, 5, 6),
    )  # fmt: skip


def _share(part_of: int, whole: int) -> str:
    return f"{percent(part_of / whole)} ({part_of:,})" if whole else "n/a"


def _requests(d: GateDecision) -> Iterator[Block]:
    counts = d.counts
    if not counts:
        yield Paragraph("No request was counted yet.")
        return
    answered = counts.get("pairs", 0)
    total = answered + sum(counts.get(name, 0) for name in ("missing_candidate", "missing_baseline", "shed"))
    if total:
        yield Paragraph(
            f"{percent(answered / total)} of {many(total, 'request')} have both answers; 99 % are needed."
        )
    rows = tuple((name, f"{counts[name]:,}", about) for name, about in _BINS.items() if name in counts)
    yield Table(("bin", "count", "meaning"), rows, (1,))


def _history(entry: Entry) -> Iterator[Block]:
    steps = steps_of(entry.decisions)
    shown = steps[::-1][:STEPS]
    if len(steps) > len(shown):
        verb = f"paritygate tail audit.v1 --rollout {entry.rollout_id}"
        yield Paragraph(f"The newest {len(shown):,} of {len(steps):,} steps; all of them: {verb}.")
    yield Table(
        ("decision", "event time", "action", "stage", "weight", "why"),
        tuple(_step(entry.rollout_id, s) for s in shown),
        (4,),
        (0, 1, 2),
    )


def _step(rollout_id: str, s: Step) -> tuple[Cell, ...]:
    name = str(s.sequence) if s.sequence == s.until_sequence else f"{s.sequence} to {s.until_sequence}"
    stage = s.stage if s.stage == s.from_stage else f"{s.from_stage} → {s.stage}"
    link = Link(f"explain {name}", paths.decision(rollout_id, s.until_sequence))
    return link, instant(s.at_ms), Mark(s.action), stage, f"{s.weight} %", s.reason


def _routers(entry: Entry, now_ms: int) -> Iterator[Block]:
    if not entry.routers:
        yield Paragraph("No router has reported.")
        return
    late = set(behind(entry, now_ms))
    refuses = any(applied.ack.refused for applied in entry.routers.values())
    yield Table(
        ("router", "decision", "weight", "state", "said", *(("refused",) if refuses else ())),
        tuple(
            (
                name,
                str(applied.ack.sequence),
                f"{applied.ack.weight} %",
                Mark("behind", "or gone")
                if name in late and applied.ack.state == "applied"
                else Mark(applied.ack.state),
                When(applied.at_ms),
                *((str(applied.ack.refused or "nothing"),) if refuses else ()),
            )
            for name, applied in sorted(entry.routers.items())
        ),
        (1, 2),
    )


def _plan(entry: Entry, d: GateDecision) -> Facts:
    plan = entry.plan
    rows: list[tuple[str, Cell]] = []
    if plan is not None:
        rows += [("owner", plan.owner), ("rollback condition", plan.rollback_condition.strip())]
        rows += [("service", plan.service), ("impact", plan.impact)]
    rows += [("stable version", Code(d.baseline_version)), ("candidate version", Code(d.candidate_version))]
    return Facts((*rows, ("digest of the plan", Code(d.policy_digest))))


def _people(entry: Entry) -> Iterator[Block]:
    deeds = deeds_of(entry.rollout_id, entry.decisions, entry.commands, entry.doubted)
    if not deeds:
        yield Paragraph("Nobody has said anything.")
        return
    yield Table(
        ("what", "who", "why", "their clock", "came of it"),
        tuple(
            (deed.kind, deed.actor, deed.reason or "no reason given", instant(deed.issued_at_ms), deed.came_of_it)
            for deed in deeds
        ),
        whole=(0, 3),
    )


def segment_sides(rows: Sequence[SideRow]) -> tuple[SideRow, ...]:
    """Without what is only counted for all requests together."""
    return tuple(r for r in rows if not (r.baseline is None and r.candidate is None and r.difference is None))


def heading(text: str) -> Html:
    """The title of a page below a rollout's."""
    return element("h1", text, id="title")
