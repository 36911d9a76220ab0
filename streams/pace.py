"""When to wait: for the topic that is behind, and for producers that have not found the broker again; when not.

Law: of two topics at most one waits for the other. Silence means "nothing was sent" only while producers reach
the broker. A position that stands still while its log grows is no waiting but a fault. Pure: the time comes as
an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

#: A catching-up source may run this much event time ahead of its sibling before it is paused.
MAX_SKEW_MS = 10_000
#: Producers pause longer after each failed attempt, up to 10 s: so late may they find the broker again.
MAX_RECONNECT_MS = 12_000
#: Two answers of a healthy broker are seldom further apart, also where much is applied in between.
USUAL_MS = 3_000


def too_far_ahead(name: str, newest_ms: Mapping[str, int | None], at_end: Collection[str]) -> bool:
    """Whether the topic ``name`` is more than ``MAX_SKEW_MS`` of event time ahead of another one.

    ``newest_ms``: newest event time per topic. A topic at its log end (``at_end``) has nothing to catch up,
    and one that was never read holds nobody back.
    """
    mine = newest_ms.get(name)
    return mine is not None and any(
        other is not None and mine - other > MAX_SKEW_MS and topic not in at_end
        for topic, other in newest_ms.items()
        if topic != name
    )


class Absence:
    """How long partitions could not be read, and when their log ends can be trusted again.

    A log end means "nothing was sent" only while producers reach the broker. After an outage they come back
    one by one, each after a pause that is no longer than it was away; until then a topic without news is
    taken to be behind, or all that waited in the producers would come too late. A request need not have met it:
    while a write waits for the broker nobody asks it anything.
    """

    def __init__(self) -> None:
        self._since_ms: dict[int, int] = {}
        self._heard_ms: dict[int, int] = {}
        self._over_at_ms: dict[int, int] = {}

    def begin(self, partition: int, now_ms: int) -> None:
        """It is to be read. Where it was read before, nothing is known of the time since then."""
        self._heard_ms.setdefault(partition, now_ms)

    def note(self, now_ms: int, asked: Collection[tuple[str, int]], answered: Collection[tuple[str, int]]) -> None:
        """One request was answered in part or whole; both name ``(topic, partition)``."""
        absent = {partition for topic, partition in asked if (topic, partition) not in answered}
        for partition in {partition for _, partition in asked}:
            heard_ms = self._heard_ms.setdefault(partition, now_ms)
            if partition in absent or now_ms - heard_ms > USUAL_MS:
                self._since_ms.setdefault(partition, heard_ms)
            if partition in absent:
                continue
            self._heard_ms[partition] = now_ms
            if (since_ms := self._since_ms.pop(partition, None)) is not None:
                away_ms = now_ms - since_ms
                self._over_at_ms[partition] = now_ms + min(MAX_RECONNECT_MS, 2 * away_ms)

    def is_over(self, partition: int, now_ms: int) -> bool:
        """Whether silence of this partition means again that nothing was sent."""
        return partition not in self._since_ms and now_ms >= self._over_at_ms.get(partition, now_ms)


class Contest:
    """Whether another process plays our part: two with one instance id throw each other out for ever.

    The broker gives a static member that comes back its partitions without a new generation. Once or twice
    that is a restart of a broker; again and again it is a twin.
    """

    TIMES = 4
    WITHIN_MS = 60_000

    def __init__(self) -> None:
        self._taken: list[tuple[int, int]] = []

    def is_on(self, generation: int, now_ms: int) -> bool:
        """One assignment was received; whether it was one too many of the same generation."""
        self._taken = [(g, ms) for g, ms in self._taken if g == generation and now_ms - ms < self.WITHIN_MS]
        self._taken.append((generation, now_ms))
        return len(self._taken) >= self.TIMES


class Progress:
    """Which positions stand still although there is more to read."""

    def __init__(self) -> None:
        self._stood: dict[tuple[str, int], tuple[int, int]] = {}

    def note(self, place: tuple[str, int], position: int, log_end: int, now_ms: int) -> None:
        """One answer was applied; ``position`` is where the next request of this (topic, partition) begins."""
        before, _ = self._stood.get(place, (-1, now_ms))
        if position >= log_end:
            self._stood.pop(place, None)
        elif position != before:
            self._stood[place] = position, now_ms

    def known(self) -> set[tuple[str, int]]:
        """Places that stand before the end of their log."""
        return set(self._stood)

    def forget(self, places: Iterable[tuple[str, int]]) -> None:
        """Places that were not asked for or did not answer: nothing is known of their logs."""
        for place in places:
            self._stood.pop(place, None)

    def stuck(self, now_ms: int, after_ms: float) -> tuple[str, int, int, int] | None:
        """Topic, partition, position and milliseconds of what has stood still for longer than ``after_ms``."""
        for (topic, partition), (position, since_ms) in self._stood.items():
            if now_ms - since_ms > after_ms:
                return topic, partition, position, now_ms - since_ms
        return None
