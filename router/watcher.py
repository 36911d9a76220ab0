"""DecisionWatcher: follows the control topic and answers, for each request, which arm serves it.

Laws:

* :meth:`DecisionWatcher.choose` never raises, never blocks and does no I/O: it reads one attribute.
* Without Kafka a router starts on its last known good decision (``boot_lkg``), or else on weight 0
  (``boot_default``), and goes on with what it has when Kafka goes away (``control_lost``).
* Where a decision's lease ends before a newer decision has come, the weight is 0 (``unsupervised``). That is looked
  at in :meth:`DecisionWatcher.choose` itself, so it holds although the thread that follows hangs.
* A person's kill switch (``killed``) and an open breaker (``breaker``) put the weight to 0 here and nowhere else;
  nothing that comes from Kafka undoes the first.
* Every decision that takes effect is kept on disk and acknowledged on ``router.acks.v1``; neither can stop it.

It reads partition 0 without a consumer group: every router reads every decision, and none waits for a
rebalance. Make one watcher per process, after any fork.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum, unique
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from paritygate.router.acknowledge import Acknowledger
from paritygate.router.breaker import Breaker
from paritygate.router.catch_up import CatchUp
from paritygate.router.chooser import choose
from paritygate.router.kill_switch import KillSwitch
from paritygate.router.last_known_good import LastKnownGood
from paritygate.router.lease import lease_end_s
from paritygate.router.state import Result, RoutingState
from paritygate.router.stops import Stop, Stops
from paritygate.schemas.ack import APPLIED, LEFT
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import ConfigError, DecodeError
from paritygate.schemas.metrics import Counter, Gauge, Histogram, Metrics
from paritygate.schemas.prediction import Arm, PredictionEvent, Status
from paritygate.schemas.signature import DECISION, TrustedKeys
from paritygate.schemas.topics import DECISIONS
from paritygate.schemas.tracing import span

_POLL_S = 0.1
_FIRST_LOOK_S = 0.5
_CONSUMER = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    # A decision is wanted at once, also after a lost connection or where the topic is made later.
    "fetch.wait.max.ms": 50,
    "fetch.error.backoff.ms": 100,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 5000,
    "statistics.interval.ms": 1000,  # tells whether a broker is connected
}

T = TypeVar("T")


@unique
class Source(StrEnum):
    """What the weight in force rests on; the reason codes of ``reliability.md`` section 4."""

    BOOT_DEFAULT = "boot_default"
    BOOT_LKG = "boot_lkg"
    FOLLOWING = "following"
    CONTROL_LOST = "control_lost"
    UNSUPERVISED = "unsupervised"
    KILLED = "killed"
    BREAKER = "breaker"


#: Decisions of this rollout that change nothing though somebody meant them to; all of them are of another decider,
#: or of an earlier one that does not know yet that it is cut off.
_IGNORED = {Result.STALE, Result.FORKED, Result.ABSORBED}
_STOPPED = {Stop.KILLED: Source.KILLED, Stop.LAPSED: Source.UNSUPERVISED, Stop.BREAKER: Source.BREAKER}


class DecisionWatcher:
    """Obeys the decisions of one rollout in the background.

    ``router_id`` names this process in its acknowledgements. ``state_dir`` holds the last known good
    decision; it must be this router's own. ``on_change(state)`` is called in the watcher's thread after a
    decision took effect, its lease ended, or the kill switch or the breaker moved; what it raises is counted and
    swallowed. ``trusted_keys``: whose decisions are obeyed; None obeys what stands in the topic, signed or not.
    ``breaker``: when to stop sending users to a candidate that fails; it knows what :meth:`saw` is told.
    ``environ``: where the kill switch is looked for beside its file.

    :raises ConfigError: the client library refuses the settings. A broker that is away raises nothing.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        rollout_id: str,
        router_id: str,
        state_dir: Path | str,
        on_change: Callable[[RoutingState], None] | None = None,
        *,
        metrics: Metrics | None = None,
        trusted_keys: TrustedKeys | None = None,
        breaker: Breaker | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._trusted = trusted_keys
        self._rollout_id, self._router_id = rollout_id, router_id
        self._on_change = on_change
        self._metrics = metrics or Metrics()
        self._lkg = LastKnownGood(Path(state_dir), rollout_id)
        loaded = self._lkg.load()
        #: What an operator should look at; empty when all is well.
        self.warning = loaded.warning
        boot = RoutingState(rollout_id=rollout_id)
        self._boot = Source.BOOT_LKG if loaded.decision else Source.BOOT_DEFAULT
        self._follow = CatchUp(boot.obey(loaded.decision) if loaded.decision else boot, loaded.decision)
        self._stops = Stops(
            KillSwitch(Path(state_dir), environ), breaker or Breaker(), _lease_end_s(loaded.decision)
        )
        self._said: Stop | None = None
        self._said_why = ""
        self._connected = False
        self._ready, self._stop = threading.Event(), threading.Event()
        try:
            self._consumer = Consumer(
                settings.confluent(
                    **_CONSUMER,
                    **{"group.id": f"paritygate.router.{router_id}", "stats_cb": self._on_stats},
                )
            )
            self._acks = Acknowledger(settings, rollout_id, router_id)
        except (KafkaException, ValueError) as e:
            raise ConfigError(f"the Kafka client refuses the settings: {e}") from None
        self._topic = settings.topic(DECISIONS.name)
        self._thread = threading.Thread(target=self._run, name=f"paritygate-router-{rollout_id}", daemon=True)
        self._export()
        self._thread.start()

    @property
    def state(self) -> RoutingState:
        """The state in force; a value that never changes, safe to read from any thread."""
        state, stopped = self._follow.state, self._stopped
        if stopped is None:
            return state
        return replace(
            state,
            weight=0,
            killed=stopped is Stop.KILLED,
            lapsed=stopped is Stop.LAPSED,
            tripped=stopped is Stop.BREAKER,
        )

    @property
    def weight(self) -> int:
        """Whole percent of live traffic that the candidate gets."""
        return 0 if self._stopped else self._follow.state.weight

    @property
    def source(self) -> Source:
        """What the weight rests on."""
        if (stopped := self._stopped) is not None:
            return _STOPPED[stopped]
        if not self._follow.ready:
            return self._boot
        return Source.FOLLOWING if self._connected else Source.CONTROL_LOST

    def choose(self, key: str) -> Arm:
        """The arm that answers the request with this key; the same key keeps its arm while the weight stands.

        Takes about 3 microseconds. Never raises.
        """
        arm = choose(key, self.weight, self._rollout_id)
        self._metrics.inc(Counter.ROUTED, rollout=self._rollout_id, arm=arm.value)
        return arm

    def saw(self, event: PredictionEvent) -> None:
        """Tell the breaker how an answer ended; for ``on_event`` of a shadow router. Never raises, never blocks.

        Answers of the baseline, and requests that the candidate was not asked, say nothing.
        """
        if event.arm is Arm.CANDIDATE and event.status is not Status.SHED:
            self._stops.breaker.saw(failed=event.status is not Status.OK)

    def kill(self, reason: str = "") -> None:
        """Send nothing to the candidate any more, here and after a restart, until a person calls :meth:`revive`.

        The same as a file ``KILL`` in ``state_dir`` with the reason in it. In force when it returns; it blocks for
        the sync of that file and never raises. What is wrong with the file stands in :attr:`warning`.
        """
        if problem := self._stops.switch.pull(reason):
            self.warning = problem
            self._error("kill_write")

    def revive(self) -> None:
        """Take :meth:`kill` back: the decisions count again. What the environment says stays.

        :raises OSError: the file cannot be removed; the switch stays on.
        """
        self._stops.switch.release()

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until the control topic was read to its end; False when ``timeout_s`` passed before."""
        return self._ready.wait(timeout_s)

    def close(self) -> None:
        """Stop following, and say that nobody need wait for this router any more.

        :meth:`choose` goes on answering with the last weight, under the same lease.
        """
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()

    @property
    def _stopped(self) -> Stop | None:
        return self._stops.now(self._follow.state.weight)

    def _look_around(self) -> None:
        """Say once what stopped or let go; that it did needs no saying to be obeyed."""
        self._stops.switch.look()
        if self._stopped is not self._said:
            self._tell()
        if self._follow.ready and self._acks.due:
            self._acknowledge()

    def _change(self, coming: GateDecision | None, take: Callable[[], T]) -> T:
        """Let ``coming`` come into force, if it does: never its weight under the lease of the one before."""
        before_s, coming_s = self._stops.lease_end_s, _lease_end_s(coming)
        self._stops.lease_end_s = min(before_s, coming_s)
        taken = take()
        self._stops.lease_end_s = coming_s if self._follow.decision is coming else before_s
        return taken

    def _run(self) -> None:
        try:
            # A consumer that knows the leader starts to fetch 0.5 s earlier; without a broker it finds it later.
            with suppress(KafkaException):
                self._consumer.list_topics(self._topic, timeout=_FIRST_LOOK_S)
            self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
            while not self._stop.is_set():
                try:
                    message = self._consumer.poll(_POLL_S)
                    self._acks.poll()
                    if message is not None:
                        self._take(message)
                    self._look_around()
                except Exception:  # the thread must outlive whatever one record or one callback does
                    self._error("unexpected")
        finally:
            self._consumer.close()
            self._acknowledge(LEFT)
            self._acks.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._reach_end()
            else:
                self._error("broker")
            return
        data = message.value()
        if data is None:
            return
        raw = data if isinstance(data, bytes) else data.encode()
        if self._trusted is not None and (why := self._trusted.refusal(DECISION, raw, _headers(message))):
            self.warning = f"{DECISIONS.name} offset {message.offset()} is refused: {why}"
            self._error("signature")
            self._refuse(message, raw, why)
            return
        try:
            decision = GateDecision.from_bytes(raw)
        except DecodeError:
            self._error("undecodable")
            self._refuse(message, raw, "this version cannot read it")
            return
        before, live = self.state, self._follow.ready
        ours = decision.rollout_id == self._rollout_id
        read = partial(self._follow.read, decision)
        result = self._change(decision, read) if ours else read()
        if live and result is not Result.OTHER_ROLLOUT:
            self._metrics.inc(Counter.ROUTER_DECISIONS, rollout=self._rollout_id, result=result.value)
            if result in _IGNORED:
                self._acks.refuse(message.offset() or 0, f"decision {decision.sequence} is {result.value}")
        if self.state.digest != before.digest:
            about: dict[str, str | int] = {
                "paritygate.rollout": self._rollout_id,
                "paritygate.sequence": decision.sequence,
            }
            with span("paritygate.apply", about, _headers(message)):
                self._take_effect()
            if live:
                age_s = time.time() - message.timestamp()[1] / 1000
                self._metrics.observe(Histogram.ROUTER_APPLY, max(0.0, age_s), rollout=self._rollout_id)

    def _refuse(self, message: Message, raw: bytes, why: str) -> None:
        """Have it told, if it claims to be about this rollout: others are for other routers to tell."""
        try:
            claimed = GateDecision.from_bytes(raw).rollout_id
        except DecodeError:
            key = message.key() or b""
            claimed = (key if isinstance(key, str) else key.decode("utf-8", "replace")).partition("|")[0]
        if claimed == self._rollout_id:
            self._acks.refuse(message.offset() or 0, why)

    def _reach_end(self) -> None:
        if self._follow.ready:
            return
        before = self.state
        self._connected = True
        self._change(self._follow.newest, self._follow.reach_end)
        if self._follow.behind:
            self.warning = (
                f"{DECISIONS.name} ends before decision {self.state.sequence}, which this router had obeyed: "
                "was the topic re-created? The weight is frozen until a newer decision comes"
            )
        if self.state.digest != before.digest:
            self._take_effect()
        elif self._follow.decision is not None or self._said is not None:
            self._acknowledge()
        self._export()
        self._ready.set()

    def _take_effect(self) -> None:
        # The new state is in force already: the slow parts come after, and each may fail alone.
        decision = self._follow.decision
        assert decision is not None
        self._tell()
        try:
            self._lkg.save(decision)
        except OSError as e:
            self.warning = f"{self._lkg.path}: cannot be written: {e.strerror or type(e).__name__}"
            self._error("lkg_write")

    def _tell(self) -> None:
        """What is in force now: to the metrics, the service, and ``router.acks.v1``."""
        self._said = self._stopped
        why = self._stops.why(self._said, self._follow.decision)
        if why or self.warning == self._said_why:
            self.warning = why
        self._said_why = why
        self._export()
        if self._on_change is not None:
            try:
                self._on_change(self.state)
            except Exception:
                self._error("callback")
        self._acknowledge()

    def _acknowledge(self, state: str = "") -> None:
        decision = self._follow.decision
        sequence = -1 if decision is None else decision.sequence
        if not self._acks.say(sequence, self.weight, state or self._stopped or APPLIED):
            self._error("ack")

    def _on_stats(self, text: str) -> None:
        brokers: dict[str, Any] = orjson.loads(text).get("brokers", {})
        before = self._connected
        self._connected = any(b.get("state") == "UP" and b.get("nodeid", -1) >= 0 for b in brokers.values())
        self._export()
        if self._connected and not before and self._said is not None:
            # What was said while nobody could hear it is lost; that a router is stopped must be seen.
            self._acknowledge()

    def _export(self) -> None:
        labels = {"rollout": self._rollout_id, "router": self._router_id}
        state = self.state
        self._metrics.set(Gauge.ROUTER_WEIGHT, state.weight / 100, **labels)
        self._metrics.set(Gauge.ROUTER_SEQUENCE, state.sequence, **labels)
        self._metrics.set(Gauge.ROUTER_FOLLOWING, int(self.source is Source.FOLLOWING), **labels)
        self._metrics.set(Gauge.ROUTER_LAPSED, int(state.lapsed), **labels)
        self._metrics.set(Gauge.ROUTER_KILLED, int(state.killed), **labels)
        self._metrics.set(Gauge.ROUTER_BREAKER, int(state.tripped), **labels)

    def _error(self, kind: str) -> None:
        self._metrics.inc(Counter.ROUTER_ERRORS, rollout=self._rollout_id, kind=kind)


def _headers(message: Message) -> list[tuple[str, object]]:
    """Headers in order; where a name stands twice the last one counts."""
    found = message.headers() or []
    return list(found.items() if isinstance(found, dict) else found)


def _lease_end_s(decision: GateDecision | None) -> float:
    """Until when a decision that is learnt of now may be obeyed, on the monotonic clock."""
    return lease_end_s(decision, wall_ms=time.time_ns() // 1_000_000, monotonic_s=time.monotonic())
