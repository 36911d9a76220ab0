"""Rounds: after which reports the decider looks at the gates.

Law: it follows from the reports of one rollout, in the order of the log, and from nothing else, so whoever folds
the log again looks at the same places. Every report is looked at no later than at the next one of its partition:
while all partitions report in step there is one look a window, not one a window and partition, and one that
lags or is dead keeps nobody from looking.
"""

from __future__ import annotations

from paritygate.schemas.report import WindowReport


class Round:
    """The reports since the newest look: a round ends when every partition has reported, or one a second time.

    That second report is looked at with the others, because one record causes one decision at most; it opens
    the next round, so that where only one partition speaks each of its reports is looked at. So does a report of a
    newer window than all others of its round: else a partition that missed the first window would end every round
    with the first report of the next window, and all looks would be late.
    """

    def __init__(self) -> None:
        self._heard: set[int] = set()
        self._newest_ms = -1
        self._news = False

    def is_due(self, report: WindowReport, *, news: bool) -> bool:
        """Whether to look now that ``report`` is in the evidence. ``news``: it is worth a look.

        An early report is looked at at once. It ends no round and belongs to none: its partition has yet to
        report that window.
        """
        if report.is_early:
            return news
        self._news |= news
        again, newer = report.partition in self._heard, report.window_start_ms > self._newest_ms >= 0
        heard = self._heard | {report.partition}
        whole = len(heard) >= report.partitions
        opens = again or (whole and newer)
        self._heard = {report.partition} if opens else set() if whole else heard
        self._newest_ms = max(self._newest_ms, report.window_start_ms) if self._heard else -1
        if not (whole or again):
            return False
        due, self._news = self._news, False
        return due
