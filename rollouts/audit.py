"""Audit: whether the record holds together, and whether the logs still give it.

Law: two questions, answered apart. The *chain* needs nothing but ``audit.v1``: every decision names the digest
of one that lies before it, so that nothing can be changed or taken out unnoticed. The *derivation* needs
``windows.v1`` and ``rollouts.v1`` as the decider read them; what they no longer hold (retention, compaction)
cannot be known, and that is said, never taken for a difference and never for a match.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from paritygate.rollouts.replay import Difference, Refold
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport


@unique
class Place(StrEnum):
    """What a record of the audit is to the chain of its rollout."""

    CHAINED = "chained"  # continues the chain: routers obey it
    REPEATED = "repeated"  # the same bytes once more, after a crash
    FORKED = "forked"  # of a second decider: another one was first, nobody obeys it
    BROKEN = "broken"  # names a decision that is not there: something was changed or taken out


@dataclass(frozen=True, slots=True)
class Link:
    """One record of ``audit.v1``: where it lies, what it says, what it is to the chain."""

    offset: int
    decision: GateDecision
    place: Place


def links(recorded: Iterable[tuple[int, GateDecision]]) -> list[Link]:
    """Every record with its place in the chain of its rollout. ``recorded``: (offset, decision) in log order."""
    heads: dict[str, tuple[int, str]] = {}
    there: dict[str, set[tuple[int, str]]] = {}
    found = []
    for offset, decision in recorded:
        known = there.setdefault(decision.rollout_id, {(-1, "")})
        sequence, head = heads.get(decision.rollout_id, (-1, ""))
        mine = (decision.sequence, decision.digest())
        if (decision.sequence - 1, decision.previous) == (sequence, head):
            place, heads[decision.rollout_id] = Place.CHAINED, mine
        elif mine in known:
            place = Place.REPEATED
        elif (decision.sequence - 1, decision.previous) in known:
            place = Place.FORKED
        else:
            place = Place.BROKEN
        known.add(mine)
        found.append(Link(offset, decision, place))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an audit says of one rollout.

    ``decisions``: those of the chain. ``rederived``: how many of them the logs give, byte for byte.
    ``unknowable``: how many rest on records that are gone, so that nothing can be said of them; ``gone`` names
    those records. ``broken``: the first record of the audit that names a decision which is not there.
    ``difference``: the first place at which the record and the logs part.
    """

    rollout_id: str
    decisions: int
    repeated: int
    forked: int
    rederived: int
    unknowable: int
    gone: tuple[str, ...]
    broken: Link | None
    difference: Difference | None

    @property
    def holds(self) -> bool:
        """The chain is whole, and nothing that can be known speaks against the record."""
        return self.broken is None and self.difference is None


class Audit:
    """Give it the record and the commands, then every report from ``windows_first`` up to ``windows_end``.

    ``recorded``: (offset, decision) of all of ``audit.v1``, in log order. ``commands``: (offset, command) of all
    of ``rollouts.v1``. ``commands_lost``: offsets of that topic that hold nothing any more. ``only``: derive
    these rollouts alone. ``doubted``: offsets of commands that count only where a recorded decision names them.
    Offsets of reports that are passed over count as gone.
    """

    def __init__(
        self,
        recorded: Iterable[tuple[int, GateDecision]],
        commands: Iterable[tuple[int, Command]],
        *,
        commands_lost: Sequence[range] = (),
        only: Collection[str] | None = None,
        doubted: Collection[int] = (),
    ) -> None:
        self.links = links(recorded)
        decisions = [link.decision for link in self.links if link.place is Place.CHAINED]
        self._only = None if only is None else frozenset(only)
        self._chains: dict[str, list[GateDecision]] = {}
        for decision in decisions:
            self._chains.setdefault(decision.rollout_id, []).append(decision)
        commands_end = max((d.commands_next for d in decisions), default=0)
        self.windows_end = max((d.windows_next for d in decisions), default=0)
        given = [c for c in commands if c[0] < commands_end]
        self._refold = Refold(decisions, given, only=self._only, doubted=doubted)
        self.windows_first = self._refold.windows_first
        self._next = self.windows_first
        self._windows_lost: list[range] = []
        self._commands_lost = tuple(commands_lost)

    def apply_report(self, offset: int, report: WindowReport | None) -> None:
        """The record at ``offset`` of ``windows.v1``; None where it is no report that can be read."""
        if not self._next <= offset < self.windows_end:
            return
        self._note_lost(offset)
        self._next = offset + 1
        if report is None:
            self._refold.skip_report(offset)
        else:
            self._refold.apply_report(offset, report)

    def finish(self) -> list[Finding]:
        """The log has no more: what is found of each rollout, in the order in which they first decided."""
        self._note_lost(self.windows_end)
        self._refold.catch_up()
        rollouts = dict.fromkeys(link.decision.rollout_id for link in self.links)
        return [self._finding(r) for r in rollouts if self._only is None or r in self._only]

    @property
    def differences(self) -> list[Difference]:
        """Where the record and the logs part, whether or not that can be known; see :meth:`finish`."""
        return self._refold.differences

    def chain(self, rollout: str) -> list[GateDecision]:
        """The decisions of a rollout that count, in order."""
        return list(self._chains.get(rollout, ()))

    def gone(self, decision: GateDecision) -> tuple[str, ...]:
        """The records that are gone and that the decision may rest on, in words."""
        chain = self._chains[decision.rollout_id]
        words = [
            f"{_offsets(lost)} of {topic}"
            for topic, ranges, first, end in (
                ("rollouts.v1", self._commands_lost, chain[0].commands_next - 1, decision.commands_next),
                ("windows.v1", self._windows_lost, chain[0].windows_next, decision.windows_next),
            )
            for lost in ranges
            if lost.start < end and lost.stop > first
        ]
        return tuple(words)

    def _note_lost(self, offset: int) -> None:
        if offset > self._next:
            self._windows_lost.append(range(self._next, offset))

    def _finding(self, rollout: str) -> Finding:
        mine = [link for link in self.links if link.decision.rollout_id == rollout]
        chain = self._chains.get(rollout, [])
        places = [link.place for link in mine]
        differ = [d for d in self.differences if d.rollout_id == rollout]
        known = [d for d in differ if not self._is_unknowable(d)]
        unknown = {d.sequence for d in differ if d.recorded is not None and self._is_unknowable(d)}
        wrong = {d.sequence for d in differ if d.recorded is not None}
        gone = [words for d in chain if d.sequence in unknown for words in self.gone(d)]
        return Finding(
            rollout_id=rollout,
            decisions=len(chain),
            repeated=places.count(Place.REPEATED),
            forked=places.count(Place.FORKED),
            rederived=len(chain) - len(wrong),
            unknowable=len(unknown),
            gone=tuple(dict.fromkeys(gone)),
            broken=next((link for link in mine if link.place is Place.BROKEN), None),
            difference=known[0] if known else None,
        )

    def _is_unknowable(self, difference: Difference) -> bool:
        decision = difference.recorded or difference.derived
        return decision is not None and bool(self.gone(decision))


def _offsets(lost: range) -> str:
    return f"offset {lost.start}" if len(lost) == 1 else f"offsets {lost.start} to {lost.stop - 1}"
