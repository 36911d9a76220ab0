"""Breaker: a candidate that this router sees fail gets no users from it, before any gate has ruled.

Laws:

* It opens when :attr:`Breaker.failures` of the newest :attr:`Breaker.of` answers of the candidate failed, whether
  users or the mirror asked.
* It closes when the candidate, which is still asked as the shadow, has answered :attr:`Breaker.of` requests in a
  row, and ``least_open_s`` is over. Who mirrors nothing learns nothing: there it stays open.
* Its end is local and no rollback; the failures it rests on are in the evidence, where the gates judge them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from paritygate.schemas.errors import ConfigError


class Breaker:
    """The breaker of one router and rollout; safe to use from any thread.

    ``at_100``: also acts where the candidate has all of the traffic. Only for those who keep the baseline running
    then: with nothing to go back to, no answer would be left.

    :raises ConfigError: not 1 <= ``failures`` <= ``of``, or a negative time.
    """

    def __init__(
        self,
        *,
        failures: int = 10,
        of: int = 20,
        least_open_s: float = 30.0,
        at_100: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= failures <= of or least_open_s < 0:
            raise ConfigError("a breaker needs 1 <= failures <= of, and least_open_s must not be negative")
        self.failures, self.of, self.least_open_s, self.at_100 = failures, of, least_open_s, at_100
        #: Whether the candidate is to get no users.
        self.open = False
        self._clock = clock
        self._newest: deque[bool] = deque(maxlen=of)
        self._opened_s = 0.0
        self._good = 0
        self._lock = threading.Lock()

    def acts_at(self, weight: int) -> bool:
        """Whether it may take away ``weight`` percent of the traffic."""
        return self.open and (weight < 100 or self.at_100)

    def saw(self, *, failed: bool) -> None:
        """One answer of the candidate, or its failure. Takes about a microsecond; blocks for no more."""
        with self._lock:
            if self.open:
                self._mend(failed)
                return
            self._newest.append(failed)
            if failed and sum(self._newest) >= self.failures:
                self.open, self._opened_s, self._good = True, self._clock(), 0
                self._newest.clear()

    def _mend(self, failed: bool) -> None:
        self._good = 0 if failed else self._good + 1
        if self._good >= self.of and self._clock() - self._opened_s >= self.least_open_s:
            self.open = False
