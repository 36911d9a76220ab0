"""Overview: the list of all rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paritygate.dashboard import paths
from paritygate.dashboard.blocks import block, mark_html, when_html
from paritygate.dashboard.board import Entry, known
from paritygate.dashboard.document import Link, Mark, Paragraph, Table, When
from paritygate.dashboard.elements import Html, element
from paritygate.dashboard.freshness import Look, Source, complaints, sources
from paritygate.dashboard.parts import Part, notices, part
from paritygate.rollouts import view
from paritygate.rollouts.view import RungState

_CLASSES = {
    RungState.CLIMBED: "done", RungState.HERE: "here", RungState.FELL: "fell", RungState.AHEAD: "ahead",
}  # fmt: skip
#: Rollouts that are over; of more, the newest.
MOST_OVER = 100


def overview(look: Look) -> tuple[Part, ...]:
    """The parts of the list."""
    entries = known(look.board.entries)
    active = [e for e in entries if e.active]
    over = [e for e in entries if not e.active]
    return (
        notices(complaints(None, look)),
        Part("title", element("h1", "Rollouts", id="title")),
        part("open", "Under way", *_cards(active)),
        part("over", "Over", *_over(over)),
        freshness(sources(look)),
    )


def _cards(entries: Sequence[Entry]) -> Iterator[Html]:
    if not entries:
        yield block(Paragraph("No rollout is under way. 'paritygate start rollout.yaml' begins one."))
        return
    yield element("div", *map(_card, entries), class_="cards")


def _card(entry: Entry) -> Html:
    d = entry.decisions[-1]
    live = f"{d.weight} % of live traffic" if d.weight else "no live traffic"
    facts = [f"{d.baseline_version} → {d.candidate_version}", f"{d.exposed_requests:,} users' requests exposed"]
    facts += [entry.plan.owner] if entry.plan is not None else []
    facts += [f"worst segment {d.worst_segment}"] if d.worst_segment else []
    return element(
        "article",
        element(
            "h3",
            element("a", entry.rollout_id, href=paths.rollout(entry.rollout_id)),
            " ",
            mark_html(Mark(entry.outcome)),
        ),
        ladder(entry),
        element("p", element("strong", f"{d.stage}, {live}. "), d.reason),
        element("p", " · ".join(facts), class_="quiet"),
        element("p", "decided ", when_html(entry.decided_at_ms), class_="quiet"),
        class_="card",
    )


def ladder(entry: Entry) -> Html:
    """The rungs: climbed, the one stood on, those to come; after a rollback the one that it fell from."""
    d = entry.decisions[-1]
    if entry.plan is None:
        return element("p", f"stage {d.stage}, its plan is not in the log of commands", class_="quiet")
    rungs = []
    for rung in view.rungs([(s.name, s.weight) for s in entry.plan.stages], d):
        current = {"aria_current": "step"} if rung.state in {RungState.HERE, RungState.FELL} else {}
        unseen = element("span", f", {rung.state}", class_="unseen")
        rungs.append(element("li", rung.label, unseen, class_=_CLASSES[rung.state], **current))
    return element("ol", *rungs, class_="ladder", aria_label="Ladder")


def _over(entries: Sequence[Entry]) -> Iterator[Table | Paragraph]:
    if not entries:
        yield Paragraph("None has ended yet.")
        return
    if len(entries) > MOST_OVER:
        yield Paragraph(f"The newest {MOST_OVER:,} of {len(entries):,}.")
    yield Table(
        ("rollout", "end", "why", "users exposed", "decided"),
        tuple(
            (
                Link(e.rollout_id, paths.rollout(e.rollout_id)),
                Mark(e.outcome),
                e.decisions[-1].reason,
                f"{e.decisions[-1].exposed_requests:,}",
                When(e.decided_at_ms),
            )
            for e in entries[:MOST_OVER]
        ),
        (3,),
    )


def freshness(rows: Sequence[Source]) -> Part:
    """How old each source is."""
    return part(
        "freshness",
        "Freshness of every source",
        Table(
            ("source", "holds", "state", "newest record", "note"),
            tuple((s.name, s.about, Mark(s.state), When(s.at_ms), s.note) for s in rows),
        ),
    )
