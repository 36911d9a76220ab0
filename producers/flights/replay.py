"""Replay of the flights: requests at a steady rate now, the truth about each of them later.

Law: the replay is open-loop. Requests leave when they are due, not when the service is ready for them; if
``concurrency`` of them are open, the next one waits and the delay is counted (``late_requests``), so that an
overloaded run can be told from a slow one. Request ids follow from run id, seed and number alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from paritygate.producers.call import CallResult
from paritygate.producers.exchange import Pair
from paritygate.producers.flights.data import Flight
from paritygate.producers.outcomes import OutcomeReporter, brier_score
from paritygate.schemas.errors import ConfigError

#: A request that leaves later than this after its due time counts as late.
_LATE_S = 0.05


@dataclass(frozen=True, slots=True)
class FlightRequest:
    """A flight on its way through the service."""

    request_id: str
    flight: Flight


def request_id(run_id: str, seed: int, number: int) -> str:
    """A UUID (version 8, RFC 9562) that run, seed and number give."""
    bits = int.from_bytes(hashlib.blake2b(f"{run_id}\n{seed}\n{number}".encode(), digest_size=16).digest())
    bits = bits & ~(0xF << 76) | (8 << 76)
    bits = bits & ~(0x3 << 62) | (2 << 62)
    return str(uuid.UUID(int=bits))


class FlightTraffic:
    """The requests of one run.

    ``rate_per_s`` may be changed while the run goes on. ``concurrency`` bounds the open requests of
    :meth:`drive`. ``steady``: seconds that never jump.

    :raises ConfigError: a rate or concurrency that is not positive.
    """

    def __init__(
        self,
        flights: Iterable[Flight],
        *,
        run_id: str,
        rate_per_s: float,
        concurrency: int = 32,
        seed: int = 0,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate_per_s <= 0 or concurrency < 1:
            raise ConfigError("the rate must be > 0 requests/s and the concurrency >= 1")
        self._flights, self._run_id, self._seed, self._steady = flights, run_id, seed, steady
        self.rate_per_s, self._concurrency = rate_per_s, concurrency
        self.sent_requests = self.failed_requests = self.late_requests = 0
        self._stopped = False

    def stop(self) -> None:
        """End the traffic: no further request leaves."""
        self._stopped = True

    async def requests(self) -> AsyncIterator[FlightRequest]:
        """The requests, each when it is due."""
        due_s = self._steady()
        for number, flight in enumerate(self._flights):
            ahead_s = due_s - self._steady()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            elif ahead_s < -_LATE_S:
                self.late_requests += 1
                due_s = self._steady()  # no burst to catch up: the rate is a promise to the service
            if self._stopped:
                return
            due_s += 1.0 / self.rate_per_s
            self.sent_requests += 1
            yield FlightRequest(request_id(self._run_id, self._seed, number), flight)

    async def drive(self, handle: Callable[[FlightRequest], Awaitable[object]]) -> None:
        """Send every request to ``handle``, ``concurrency`` of them at a time at most; waits for the last.

        What ``handle`` raises is a failed request (counted): the clients of a demo go on.
        """
        free = asyncio.Semaphore(self._concurrency)
        open_requests: set[asyncio.Task[None]] = set()

        async def one(request: FlightRequest) -> None:
            try:
                await handle(request)
            except Exception:
                self.failed_requests += 1
            finally:
                free.release()

        async for request in self.requests():
            await free.acquire()
            task = asyncio.create_task(one(request))
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
        while open_requests:
            await asyncio.wait(set(open_requests))


class OutcomeFeed:
    """Publishes the score of each answered flight once its truth is known, ``delay_s`` after the answer.

    Score: 1 - Brier of the probability that the arm gave. An arm that did not answer is not scored; a flight
    that never arrived gets no outcome. Give :meth:`on_pair` to the router and :meth:`expect` each request.
    """

    def __init__(
        self,
        reporter: OutcomeReporter,
        *,
        delay_s: float = 1.5,
        max_waiting: int = 200_000,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter, self._delay_s, self._max_waiting, self._steady = reporter, delay_s, max_waiting, steady
        self._truth: dict[str, bool] = {}
        self._waiting: deque[tuple[float, Pair, bool]] = deque()
        self.published = self.forgotten = 0

    def expect(self, request: FlightRequest) -> None:
        """Remember the truth about a request that is about to be answered."""
        if request.flight.late is None:
            return
        if len(self._truth) >= self._max_waiting:
            self._truth.pop(next(iter(self._truth)))
            self.forgotten += 1
        self._truth[request.request_id] = request.flight.late

    def on_pair(self, pair: Pair) -> None:
        """Both arms have ended: their score is due after the delay."""
        late = self._truth.pop(pair.request_id, None)
        if late is not None:
            self._waiting.append((self._steady() + self._delay_s, pair, late))

    def publish_due(self, *, all_of_them: bool = False) -> int:
        """Publish what is due now; gives how many."""
        now_s, count = self._steady(), 0
        while self._waiting and (all_of_them or self._waiting[0][0] <= now_s):
            _, pair, late = self._waiting.popleft()
            baseline, candidate = _score(pair.baseline, late), _score(pair.candidate, late)
            if baseline is not None or candidate is not None:
                self._reporter.report(
                    pair.request_id, baseline=baseline, candidate=candidate, segments=pair.segments
                )
                count += 1
        self.published += count
        return count

    async def run(self, interval_s: float = 0.05) -> None:
        """Publish what is due every ``interval_s`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            self.publish_due()


def _score(result: CallResult, late: bool) -> float | None:
    probability = result.answer.get("probability_late") if isinstance(result.answer, dict) else None
    return None if probability is None else round(brier_score(probability, late), 6)
