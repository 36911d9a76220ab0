"""Reviews: the review of each rollout, made once a state, and the evidence of old ones read when asked for.

Law: a review is never older than the board that it is shown with; making one is left out where nothing changed.
"""

from __future__ import annotations

from threading import Thread

from paritygate.dashboard.board import Entry
from paritygate.dashboard.follow import Follower
from paritygate.dashboard.lookup import evidence
from paritygate.dashboard.rollout import reviewed
from paritygate.rollouts.review import Review
from paritygate.schemas.errors import ParityGateError

#: Rollouts whose newest review is kept.
KEPT = 32


class Reviews:
    """Call it with the board's lock held."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._made: dict[str, tuple[object, int, Review | None]] = {}
        self._asked: set[tuple[str, str]] = set()

    def of(self, entry: Entry) -> Review | None:
        """The review; None while the evidence is not there. That of a rollout which is over is then read."""
        known = self._made.get(entry.rollout_id)
        if known is not None and known[0] is entry and known[1] == entry.version:
            return known[2]
        self._look_up(entry)
        review = reviewed(entry)
        self._made.pop(entry.rollout_id, None)
        self._made[entry.rollout_id] = (entry, entry.version, review)
        while len(self._made) > KEPT:
            del self._made[next(iter(self._made))]
        return review

    def _look_up(self, entry: Entry) -> None:
        board, wanted = self._follower.board, (entry.rollout_id, entry.head)
        if entry.ledger is not None or entry.plan is None or not board.complete or wanted in self._asked:
            return
        self._asked.add(wanted)
        plan, first, following = entry.plan, entry.decisions[0].windows_next, entry.decisions[-1].windows_next

        def read() -> None:
            try:
                board.looked_up(entry.rollout_id, *evidence(self._follower.settings, plan, first, following))
            except ParityGateError:
                pass  # the page says that the broker is away; the next look asks again
            finally:
                self._asked.discard(wanted)
            self._follower.told()

        Thread(target=read, name="dashboard-lookup", daemon=True).start()
