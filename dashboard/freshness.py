"""Freshness: how old each source of a page is, and what of it is stale. Pure: the time is an argument.

Law: what is shown and not fresh is said to be stale, in words, with since when; a source that never spoke is not
fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from paritygate.dashboard.board import Board, Entry
from paritygate.dashboard.follow import Reading
from paritygate.schemas.ack import LEFT
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, ROUTER_ACKS, WINDOWS

#: A broker is asked every two seconds.
BROKER_MS: Final = 8_000
#: A decider repeats its hold after 15 s of event time, and a window is reported each second of it by default.
DECIDER_MS: Final = 60_000
WINDOWS_MS: Final = 30_000
#: Routers apply a decision within a second; after this one is behind.
ROUTER_MS: Final = 10_000
_ASK: Final = "Is the worker there, and traffic?"
_ABOUT: Final = {
    ROLLOUTS.name: "plans and commands",
    AUDIT.name: "decisions, all of them",
    DECISIONS.name: "the decision that routers obey",
    ROUTER_ACKS.name: "what routers applied",
    WINDOWS.name: "evidence by window",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source. ``at_ms``: when it spoke last. ``state``: fresh, quiet (empty), behind, stale or away."""

    name: str
    about: str
    at_ms: int | None
    state: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is looked at, and when: the board, how it is read, and the present time."""

    board: Board
    reading: Reading
    bootstrap: str
    now_ms: int


def is_away(reading: Reading, now_ms: int) -> bool:
    """Whether the broker has not answered for so long that nothing here is certain."""
    return reading.heard_at_ms is None or now_ms - reading.heard_at_ms > BROKER_MS


def sources(look: Look) -> tuple[Source, ...]:
    """The broker and the topics."""
    board, reading = look.board, look.reading
    away = is_away(reading, look.now_ms)
    rows = [
        Source(
            name="Kafka",
            about=look.bootstrap,
            at_ms=reading.heard_at_ms,
            state="away" if away else "fresh",
            note=reading.trouble,
        )
    ]
    for topic, about in _ABOUT.items():
        behind = max(0, reading.ends.get(topic, 0) - reading.positions.get(topic, 0))
        unread = board.unread[topic]
        state = "fresh" if topic in board.newest_at_ms else "quiet"
        notes = [f"{behind:,} records to read"] if behind else []
        notes += [f"{unread:,} could not be read"] if unread else []
        rows.append(
            Source(
                name=topic, about=about, at_ms=board.newest_at_ms.get(topic),
                state="stale" if away else "behind" if behind else state,
                note=", ".join(notes),
            )
        )  # fmt: skip
    return tuple(rows)


def complaints(entry: Entry | None, look: Look) -> tuple[str, ...]:
    """What a reader must know before believing the page, a sentence each; empty when all is fresh."""
    return tuple(_complaints(entry, look))


def _complaints(entry: Entry | None, look: Look) -> Iterator[str]:
    reading, now_ms = look.reading, look.now_ms
    if is_away(reading, now_ms):
        yield f"Everything here is stale: {reading.trouble or 'Kafka does not answer'}."
        return
    if reading.trouble:
        yield f"Reading is in trouble: {reading.trouble}."
    if not look.board.complete:
        yield "The topics are still being read; what is shown is not the newest yet."
    elif reading.behind > 100:
        yield f"{reading.behind:,} records are still to be read; what is shown is not the newest yet."
    if entry is not None:
        yield from _of_rollout(entry, now_ms)


def _of_rollout(entry: Entry, now_ms: int) -> Iterator[str]:
    newest = entry.newest
    if entry.active and entry.decided_at_ms is not None and now_ms - entry.decided_at_ms > DECIDER_MS:
        yield f"The decision is stale: the decider has said nothing for over a minute. {_ASK}"
    if entry.active and entry.ledger is not None:
        last = entry.reported_at_ms
        if last is None and entry.decided_at_ms is not None and now_ms - entry.decided_at_ms <= WINDOWS_MS:
            return
        if last is None or now_ms - last > WINDOWS_MS:
            yield f"The numbers are stale: no window was reported for over 30 seconds. {_ASK}"
    control = entry.in_force
    apart = newest is not None and control is not None and control.sequence != newest.sequence
    if apart and newest is not None and control is not None and now_ms - (entry.decided_at_ms or 0) > ROUTER_MS:
        told = f"Routers are told decision {control.sequence}, the audit's newest is {newest.sequence}"
        yield f"{told}: ask paritygate doctor."


def behind(entry: Entry, now_ms: int) -> list[str]:
    """Routers whose weight is another than the decision's, though they had time to obey."""
    decision = entry.in_force or entry.newest
    if decision is None or entry.decided_at_ms is None:
        return []
    return sorted(
        name
        for name, applied in entry.routers.items()
        if applied.ack.state != LEFT
        and applied.ack.weight != decision.weight
        and now_ms - _moved_at_ms(entry) > ROUTER_MS
    )


def _moved_at_ms(entry: Entry) -> int:
    """About when the weight in force was decided, by the broker's clock: event time tells how long ago."""
    newest = entry.decisions[-1]
    first = newest
    for decision in reversed(entry.decisions):
        if decision.weight != newest.weight:
            break
        first = decision
    return (entry.decided_at_ms or 0) - max(0, newest.at_ms - first.at_ms)
