"""Where the worker's seconds go: one clock that is read at the end of each stage.

Law: the stages add up to the time since the first one, so nothing is hidden in between.
"""

from __future__ import annotations

from collections.abc import Callable

#: What the join's task does, in the order of a round. ``fetch`` is mostly waiting for the broker.
STAGES = ("fetch", "decode", "probe", "aggregate", "publish", "checkpoint", "other")


class Stages:
    """Seconds by stage. ``clock_s`` is monotonic."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._since_s = clock_s()
        self.took_s = dict.fromkeys(STAGES, 0.0)

    def lap(self, stage: str) -> None:
        """What has passed since the last lap was spent in this stage."""
        now_s = self._clock_s()
        self.took_s[stage] += now_s - self._since_s
        self._since_s = now_s

    def skip(self) -> None:
        """What has passed since the last lap was spent outside of the join."""
        self._since_s = self._clock_s()
