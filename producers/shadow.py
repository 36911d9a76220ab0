"""ShadowRouter: one arm answers the request at once, the other is asked in the background.

Laws:

* Nothing that the shadow call does reaches the request: not its errors, not its timeouts, not its overload.
* Every request is mirrored at every stage and in both directions: while the candidate answers, the baseline
  is the shadow. So pairs go on after the shadow stage. A request whose other arm is not asked says so with
  an event of status ``shed``.
* Both arms are measured alike. Latency is service time (:mod:`paritygate.producers.call`), and which arm
  goes first into the executor is drawn at random per request: the second call finds warmer caches, and the
  event loop wakes up and works while it runs, so a fixed order would favour one arm. The price is that every
  other request waits for the shadow's service time before its own; a service that cannot pay it sets
  ``shadow_first_ratio=0`` (the primary always goes first) and gives up that symmetry. What is left is that
  the loop has more to do after a primary's answer than after a shadow's: identical models of 0.5 ms showed
  a shadow 0.5 % slower than the primary at the median.

The shared executor has one worker: models of one process compete for one interpreter anyhow, and side by
side they would slow each other in ways that depend on traffic. A shadow arm that hangs in it is left behind
with its thread after its timeout; after ``hangs_to_open`` such timeouts in a row the arm is not asked as
shadow for ``breaker_ms`` (events of status ``shed``), so that it cannot hold up the requests.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol

from paritygate.producers.answer import AnswerFields
from paritygate.producers.breaker import Breaker
from paritygate.producers.call import ArmModel, Call, CallResult, Timer
from paritygate.producers.clock import now_ms
from paritygate.producers.exchange import Exchange, Pair
from paritygate.producers.executor import ServingThread
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.tracing import current_trace_id

log = logging.getLogger(__name__)

NOT_MIRRORED, OVERLOAD, BREAKER_OPEN = "not_mirrored", "overload", "breaker_open"


class Publishes(Protocol):
    """What the router uses of :class:`~paritygate.producers.publisher.PredictionPublisher`."""

    def publish(self, event: PredictionEvent) -> bool:
        """Take one event without blocking or raising."""


#: Gives what the caller answers instead, from the request and the primary's error (a TimeoutError too).
Fallback = Callable[[Any, BaseException], Any]


class ShadowRouter:
    """Asks both arms, answers with one, publishes both.

    ``choose``: request key to arm, e.g. the sticky chooser of ``paritygate.router``; if it raises, the
    baseline answers. ``mirror_ratio``: share of requests whose other arm is asked. ``shadow_timeout_ms``,
    ``primary_timeout_ms``: service time allowed, counted from the start of the call; a call that is still
    queued after that time is given up as ``shed``. ``max_concurrent_shadows`` bounds running and queued
    shadow calls; above it the shadow is shed. ``timer``: seconds, read in the thread that serves;
    ``time.perf_counter`` (wall clock) is right for models that wait for something,
    ``time.thread_time`` (processor time) for purely computing ones on a machine shared with other work.
    ``on_pair``: called in the loop when both arms have ended. ``on_event``: called with each event once it
    is handed over (the metrics' hook). ``on_error``: called with arm, role and the exception of each failed
    call, e.g. to count out-of-memory errors. Hooks must be quick; what they raise
    is logged.

    :raises ConfigError: a ratio outside 0..1, or a bound below its least value.
    """

    def __init__(
        self,
        *,
        rollout_id: str,
        baseline: ArmModel,
        candidate: ArmModel,
        publisher: Publishes,
        choose: Callable[[str], Arm],
        instance_id: str = "",
        mirror_ratio: float = 1.0,
        shadow_first_ratio: float = 0.5,
        shadow_timeout_ms: float = 1000,
        primary_timeout_ms: float | None = None,
        max_concurrent_shadows: int = 64,
        hangs_to_open: int = 3,
        breaker_ms: float = 5000,
        executor: Executor | None = None,
        fields: AnswerFields | None = None,
        on_pair: Callable[[Pair], None] | None = None,
        on_event: Callable[[PredictionEvent], None] | None = None,
        on_error: Callable[[Arm, Role, BaseException], None] | None = None,
        clock: Callable[[], int] = now_ms,
        timer: Timer = time.perf_counter,
        seed: int | None = None,
    ) -> None:
        for name, ratio in (("mirror_ratio", mirror_ratio), ("shadow_first_ratio", shadow_first_ratio)):
            if not 0.0 <= ratio <= 1.0:
                raise ConfigError(f"{name} is {ratio}, not in 0..1")
        if max_concurrent_shadows < 0 or shadow_timeout_ms <= 0 or (primary_timeout_ms or 1) <= 0:
            raise ConfigError("max_concurrent_shadows must be >= 0 and timeouts must be > 0")
        self.rollout_id, self.instance_id = rollout_id, instance_id
        self._models = {Arm.BASELINE: baseline, Arm.CANDIDATE: candidate}
        self._publisher, self._choose = publisher, choose
        self._mirror_ratio, self._shadow_first_ratio = mirror_ratio, shadow_first_ratio
        self._timeouts_ms = {Role.PRIMARY: primary_timeout_ms, Role.SHADOW: shadow_timeout_ms}
        self._max_shadows = max_concurrent_shadows
        self._breakers = {arm: Breaker(hangs_to_open, breaker_ms / 1000) for arm in Arm}
        self._own = ServingThread() if executor is None else None
        self._executor: Executor = self._own if self._own is not None else executor  # type: ignore[assignment]
        self._fields = fields or AnswerFields()
        self._on_pair, self._on_event, self._on_error = on_pair, on_event, on_error
        self._clock, self._timer = clock, timer
        self._random = random.Random(seed)  # noqa: S311  (fairness, not secrecy)
        self._running: set[asyncio.Future[CallResult]] = set()
        self.hook_errors = 0

    async def predict(
        self,
        request: Any,
        *,
        request_id: str = "",
        key: str | None = None,
        endpoint: str = "",
        segments: Mapping[str, str] | None = None,
        trace_id: str = "",
        fallback: Fallback | None = None,
    ) -> Any:
        """The primary arm's answer, as its function gave it.

        ``key`` is what ``choose`` sees (a user or tenant id makes the choice sticky for it); without it the
        request id. An empty ``request_id`` is replaced by a random one; an empty ``trace_id`` by that of the
        caller's span, where OpenTelemetry has one: both arms' events name it, and both models run in its context.
        If the primary fails, its error is published and raised, or ``fallback(request, error)`` is returned.

        :raises TimeoutError: the primary did not answer within ``primary_timeout_ms``.
        """
        request_id = request_id or uuid.uuid4().hex
        arm = self._primary(request_id if key is None else key)
        exchange = Exchange(
            rollout_id=self.rollout_id,
            request_id=request_id,
            primary=arm,
            event_at_ms=self._clock(),
            endpoint=endpoint,
            segments=dict(segments) if segments else {},
            trace_id=trace_id or current_trace_id(),
            instance_id=self.instance_id,
        )
        loop = asyncio.get_running_loop()
        if self._random.random() < self._shadow_first_ratio:
            self._shadow(loop, exchange, request)
            primary = self._ask(loop, arm, Role.PRIMARY, request)
        else:
            primary = self._ask(loop, arm, Role.PRIMARY, request)
            self._shadow(loop, exchange, request)
        try:
            result = await primary.done
        except asyncio.CancelledError:  # the caller went away
            self._ended(exchange, arm, primary.cancel())
            raise
        self._ended(exchange, arm, result)
        if result.status is Status.OK:
            return result.answer
        error = result.error or TimeoutError(
            f"the {arm} ({self._models[arm].version}) gave no answer within {self._timeouts_ms[Role.PRIMARY]:g} ms"
            if self._timeouts_ms[Role.PRIMARY] is not None
            else f"the {arm} was not asked: {result.error_type}"
        )
        if fallback is not None:
            return fallback(request, error)
        raise error

    @property
    def running_shadows(self) -> int:
        """Shadow calls queued or running."""
        return len(self._running)

    async def drain(self, timeout_s: float = 5.0) -> int:
        """Wait for the shadow calls; gives how many still run after ``timeout_s`` seconds."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)
            await asyncio.sleep(0)  # their done callbacks publish
        return len(self._running)

    async def aclose(self, timeout_s: float = 5.0) -> int:
        """Drain, then end the router's own thread; a given executor is left to its owner."""
        left = await self.drain(timeout_s)
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)
        return left

    def _primary(self, key: str) -> Arm:
        try:
            return Arm(self._choose(key))
        except Exception:
            self._hook_failed("choose")
            return Arm.BASELINE

    def _ask(self, loop: asyncio.AbstractEventLoop, arm: Arm, role: Role, request: Any) -> Call:
        call = Call(loop, self._timer, self._own.abandon if self._own is not None else None)
        call.start(self._models[arm], request, role, self._executor, self._timeouts_ms[role])
        return call

    def _shadow(self, loop: asyncio.AbstractEventLoop, exchange: Exchange, request: Any) -> None:
        arm = Arm.CANDIDATE if exchange.primary is Arm.BASELINE else Arm.BASELINE
        why_not = ""
        if self._mirror_ratio < 1.0 and self._random.random() >= self._mirror_ratio:
            why_not = NOT_MIRRORED
        elif len(self._running) >= self._max_shadows:
            why_not = OVERLOAD
        elif not self._breakers[arm].allows(loop.time()):
            why_not = BREAKER_OPEN
        if why_not:
            self._ended(exchange, arm, CallResult(status=Status.SHED, error_type=why_not))
            return
        call = self._ask(loop, arm, Role.SHADOW, request)
        self._running.add(call.done)
        call.done.add_done_callback(partial(self._shadow_ended, exchange, arm))

    def _shadow_ended(self, exchange: Exchange, arm: Arm, done: asyncio.Future[CallResult]) -> None:
        self._running.discard(done)
        if not done.cancelled():
            result = done.result()
            if result.status is not Status.SHED:
                self._breakers[arm].saw(result.status is Status.TIMEOUT, done.get_loop().time())
            self._ended(exchange, arm, result)

    def _ended(self, exchange: Exchange, arm: Arm, result: CallResult) -> None:
        exchange.results[arm] = result
        event = exchange.event(arm, self._models[arm].version, result, self._fields)
        self._publisher.publish(event)
        if self._on_event is not None:
            self._call_hook(self._on_event, event)
        if result.error is not None and self._on_error is not None:
            self._call_hook(self._on_error, arm, event.role, result.error)
        if self._on_pair is not None and (pair := exchange.pair()) is not None:
            self._call_hook(self._on_pair, pair)

    def _call_hook(self, hook: Callable[..., None], *args: object) -> None:
        try:
            hook(*args)
        except Exception:
            self._hook_failed(getattr(hook, "__name__", repr(hook)))

    def _hook_failed(self, name: str) -> None:
        self.hook_errors += 1
        # One line per hook error would drown the log of a busy service.
        if self.hook_errors == 1:
            log.exception("%s failed; further errors of hooks are only counted", name)
