"""Every Prometheus series of ours once: name, kind, labels, room, meaning. Code and docs read this table.

Law: a metric that is not declared here does not exist. Each kind is an enum of its own, so that mypy refuses
both an undeclared name and a counter used as a gauge. A family never holds more than ``max_series`` label
sets: what comes after is counted in ``paritygate_series_dropped_total`` and dropped, so that a client with
a million segment values cannot take the process down. (100,000 series cost 0.7 s of GIL a scrape.)

``paritygate_`` names tell about our own processes, ``rollout_`` names are measures of the models. Names
follow Prometheus: base units, ``_total`` for counters, ratios 0..1. Of segments only the worst are here, as
gauges; quantiles per segment are in the topics and on the page, for histograms would cost too many series.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum, unique
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Bounds in seconds: dense around the few milliseconds of a local model, up to a slow remote one.
LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Bounds in seconds of our own steps (applying a decision, reading a batch).
STEP_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
MAX_SERIES = 500


class Metric(StrEnum):
    """One declared series family; the value is its Prometheus name."""

    labels: tuple[str, ...]
    room: str
    about: str
    buckets: tuple[float, ...]

    __hash__ = str.__hash__  # Enum's own is Python code, 1 us on a request's path

    def __new__(  # noqa: D102  (the members are the documentation)
        cls, name: str, labels: tuple[str, ...], room: str, about: str, buckets: tuple[float, ...] = ()
    ) -> Self:
        self = str.__new__(cls, name)
        self._value_ = name
        self.labels, self.room, self.about, self.buckets = labels, room, about, buckets
        return self

    @property
    def kind(self) -> str:
        """``counter``, ``gauge`` or ``histogram``."""
        return type(self).__name__.lower()

    @property
    def unit(self) -> str:
        """Unit from the name's suffix; ``""`` for a plain number."""
        stem = self.value.removesuffix("_total").removesuffix("_timestamp_seconds")
        if self.value.endswith("_timestamp_seconds"):
            return "epoch seconds"
        return next((u for u in ("seconds", "bytes", "ratio") if stem.endswith(f"_{u}")), "")


@unique
class Counter(Metric):
    """Series that only rise."""

    SERIES_DROPPED = (
        "paritygate_series_dropped_total", ("metric",), "all", "label sets refused by the cardinality cap",
    )  # fmt: skip
    PUBLISHED = ("paritygate_publisher_events_total", (), "producers", "events offered to the publisher")
    DELIVERED = ("paritygate_publisher_delivered_total", (), "producers", "events acknowledged by the broker")
    DROPPED = (
        "paritygate_publisher_dropped_total", ("reason",), "producers",
        "events lost before the broker had them: evidence that will be missing",
    )  # fmt: skip
    OUTPUT_STUBBED = (
        "paritygate_publisher_output_stubbed_total", (), "producers", "outputs over the size limit, sent as a stub",
    )  # fmt: skip
    MIRRORED = (
        "paritygate_shadow_requests_total", ("rollout", "arm", "status"), "producers",
        "mirrored calls and how they ended; shed = not asked",
    )  # fmt: skip
    ROUTED = (
        "paritygate_router_requests_total", ("rollout", "arm"), "router", "requests by the arm that was chosen",
    )  # fmt: skip
    ROUTER_DECISIONS = (
        "paritygate_router_decisions_total", ("rollout", "result"), "router",
        "decisions read: applied, or ignored and why (stale, forked, absorbed, …)",
    )  # fmt: skip
    ROUTER_ERRORS = (
        "paritygate_router_errors_total", ("rollout", "kind"), "router",
        "what went wrong in the background: undecodable, signature, broker, lkg_write, kill_write, callback, ack",
    )  # fmt: skip
    CONSUMED = ("paritygate_worker_events_total", ("topic",), "streams", "events read and decoded")
    DEAD_LETTERS = (
        "paritygate_worker_dead_letters_total", ("topic", "kind"), "streams",
        "records that nothing reads, sent to the dead letter topic",
    )  # fmt: skip
    LOST = (
        "paritygate_worker_lost_total", ("topic",), "streams",
        "records that the broker deleted before they were read",
    )  # fmt: skip
    PAIRED_EVENTS = ("paritygate_worker_paired_events_total", (), "streams", "events that found their other arm")
    MISSING_CANDIDATE = (
        "paritygate_worker_missing_candidate_total", (), "streams",
        "requests that the candidate had not answered when grace ended",
    )  # fmt: skip
    MISSING_BASELINE = (
        "paritygate_worker_missing_baseline_total", (), "streams",
        "requests that the baseline had not answered when grace ended",
    )  # fmt: skip
    DUPLICATES = ("paritygate_worker_duplicates_total", (), "streams", "events seen before")
    CONFLICTS = ("paritygate_worker_conflicts_total", (), "streams", "same request id and arm, other content")
    LATE = ("paritygate_worker_late_total", (), "streams", "events that came after their window had closed")
    SHED = ("paritygate_worker_shed_total", (), "streams", "events of requests whose other arm was not asked")
    FOREIGN = ("paritygate_worker_foreign_total", (), "streams", "events of a rollout id that no command named")
    FORGOTTEN = (
        "paritygate_worker_forgotten_total", (), "streams",
        "settled ids forgotten before dedupe_ms was over, for want of room (max_seen)",
    )  # fmt: skip
    EVICTED = ("paritygate_worker_evicted_total", (), "streams", "pending requests given up for want of room")
    STAGE_SECONDS = (
        "paritygate_worker_stage_seconds_total", ("stage",), "streams",
        "time of the join's task by stage: fetch (mostly waiting), decode, probe, aggregate, publish, checkpoint",
    )  # fmt: skip
    OFFSETS = ("paritygate_worker_offsets_total", ("topic",), "streams", "offsets counted, each in exactly one bin")
    REPORTS = ("paritygate_worker_reports_total", (), "streams", "window reports acknowledged")
    REBALANCES = ("paritygate_worker_rebalances_total", (), "streams", "partition assignments received")
    DIVERGED = (
        "paritygate_worker_diverged_total", (), "streams", "recorded decisions that the logs do not give again",
    )  # fmt: skip
    REFUSED = (
        "paritygate_worker_commands_refused_total", ("why",), "streams",
        "commands that change nothing: refused (late, or not fitting where the rollout stands), undecodable, "
        "signature (none of the keys that are trusted for commands)",
    )  # fmt: skip
    DISBELIEVED = (
        "paritygate_worker_decisions_refused_total", (), "streams",
        "decisions in the audit that no trusted key has signed",
    )  # fmt: skip
    PAGES = ("paritygate_dashboard_pages_total", (), "dashboard", "pages made")
    NOTIFICATIONS = (
        "paritygate_notifications_total", ("target", "result"), "cli",
        "messages to people: taken, failed (a try), given_up",
    )  # fmt: skip
    DECISIONS = ("rollout_decisions_total", ("rollout", "action"), "streams", "decisions written")


@unique
class Gauge(Metric):
    """Series that rise and fall."""

    QUEUE = ("paritygate_publisher_queue_events", (), "producers", "events waiting for the broker")
    MIRRORS_IN_FLIGHT = (
        "paritygate_shadow_in_flight_requests", ("rollout",), "producers", "mirrored calls under way",
    )  # fmt: skip
    MEMORY = (
        "rollout_memory_bytes", ("rollout", "arm"), "producers",
        "resident memory of this process, as in its newest platform report of an arm",
    )  # fmt: skip
    ROUTER_WEIGHT = (
        "paritygate_router_weight_ratio", ("rollout", "router"), "router", "share of the candidate in force",
    )  # fmt: skip
    ROUTER_SEQUENCE = (
        "paritygate_router_sequence", ("rollout", "router"), "router", "decision in force; -1 before the first",
    )  # fmt: skip
    ROUTER_FOLLOWING = (
        "paritygate_router_following", ("rollout", "router"), "router",
        "1 while the router has read the control topic to its end, 0 on last known good or default",
    )  # fmt: skip
    ROUTER_LAPSED = (
        "paritygate_router_lapsed", ("rollout", "router"), "router",
        "1 while the lease of the decision in force is over: the candidate gets no traffic",
    )  # fmt: skip
    ROUTER_KILLED = (
        "paritygate_router_killed", ("rollout", "router"), "router",
        "1 while a person's kill switch is on at this router: the candidate gets no traffic from it",
    )  # fmt: skip
    ROUTER_BREAKER = (
        "paritygate_router_breaker_open", ("rollout", "router"), "router",
        "1 while this router sees the candidate fail and sends no users to it",
    )  # fmt: skip
    LAG = ("paritygate_worker_lag_events", ("topic", "partition"), "streams", "events not yet read")
    WATERMARK = (
        "paritygate_worker_watermark_timestamp_seconds", ("partition",), "streams",
        "event time up to which all is believed seen",
    )  # fmt: skip
    OWNED = ("paritygate_worker_owned_partitions", (), "streams", "join partitions of this worker")
    PENDING = ("paritygate_worker_pending_requests", ("partition",), "streams", "requests awaiting their other arm")
    REPLAY = (
        "paritygate_worker_replay_left_events", ("partition",), "streams",
        "offsets still to be read again after a takeover; no window is published before",
    )  # fmt: skip
    UNACCOUNTED = (
        "paritygate_worker_unaccounted_records", ("partition",), "streams",
        "offsets counted less records in bins: 0, or the join has a fault",
    )  # fmt: skip
    SNAPSHOT = ("paritygate_worker_snapshot_bytes", (), "streams", "size of the last checkpoint")
    DECIDER_POSITION = (
        "paritygate_worker_decider_position", (), "streams", "next window report that the decider will fold",
    )  # fmt: skip
    DASHBOARD_VIEWERS = ("paritygate_dashboard_viewers", (), "dashboard", "open streams of changes")
    DASHBOARD_BEHIND = ("paritygate_dashboard_behind_records", (), "dashboard", "records that are not read yet")
    DASHBOARD_UP = ("paritygate_dashboard_broker_up", (), "dashboard", "1 while the broker answers")
    SEGMENTS = (
        "rollout_segments",
        ("rollout",),
        "dashboard",
        "segments of an open rollout that have had a request",
    )
    SEGMENT_REQUESTS = (
        "rollout_segment_requests", ("rollout", "segment"), "dashboard",
        "requests compared in one of the worst 50 segments since the rollout began",
    )  # fmt: skip
    SEGMENT_ERRORS = (
        "rollout_segment_error_ratio", ("rollout", "segment", "arm"), "dashboard",
        "share of them that an arm failed",
    )  # fmt: skip
    SEGMENT_FLAGGED = (
        "rollout_segment_flagged", ("rollout", "segment"), "dashboard", "1 while a gate flags the segment, else 0",
    )  # fmt: skip
    WEIGHT = ("rollout_weight_ratio", ("rollout",), "streams", "share of the candidate as decided")
    SEQUENCE = ("rollout_sequence", ("rollout",), "streams", "number of the newest decision")
    EXPOSED = ("rollout_exposed_requests", ("rollout",), "streams", "candidate answers that users saw so far")
    GATE_FAILED = (
        "rollout_gate_failed", ("rollout", "gate"), "streams",
        "1 the gate failed, 0 it passed or is undecided; the numbers are in the decision",
    )  # fmt: skip


@unique
class Histogram(Metric):
    """Distributions with fixed bounds."""

    LATENCY = (
        "rollout_latency_seconds", ("rollout", "arm"), "producers",
        "service time of an arm as the router saw it", LATENCY_BUCKETS,
    )  # fmt: skip
    ROUTER_APPLY = (
        "paritygate_router_apply_seconds", ("rollout",), "router",
        "from the broker's append of a decision to its being in force", STEP_BUCKETS,
    )  # fmt: skip
    BATCH = (
        "paritygate_worker_batch_seconds", (), "streams", "decoding, joining and counting one fetched batch",
        STEP_BUCKETS,
    )  # fmt: skip
    CHECKPOINT = (
        "paritygate_worker_checkpoint_seconds", (), "streams", "writing the snapshots of all owned partitions",
        STEP_BUCKETS,
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (*Counter, *Gauge, *Histogram)


def markdown_table() -> str:
    """The table of all metrics for the docs page, one row each, ordered by room and name."""
    rows = ["| metric | kind | unit | labels | room | meaning |", "|---|---|---|---|---|---|"]
    rows += (
        f"| `{m}` | {m.kind} | {m.unit} | {', '.join(f'`{n}`' for n in m.labels)} | {m.room} | {m.about} |"
        for m in sorted(METRICS, key=lambda m: (m.room, m.value))
    )
    return "\n".join(rows) + "\n"


class Metrics:
    """Prometheus objects of the table, made on first use in one registry.

    ``registry=None`` makes a registry of its own, so that two publishers in one process do not clash.
    Thread-safe. Wrong label names raise :class:`ValueError` (a mistake in code, found by any test); a full
    family never raises.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, max_series: int = MAX_SERIES) -> None:
        self._registry = registry
        self._max_series = max_series
        self._families: dict[Metric, Any] = {}
        self._series: dict[Metric, dict[tuple[str, ...], Any]] = {}
        self._totals: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._lock = Lock()

    @property
    def registry(self) -> CollectorRegistry:
        """The registry to expose (``prometheus_client.start_http_server(port, registry=…)``)."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry  # noqa: PLC0415  (only processes that export pay)

            self._registry = CollectorRegistry()
        return self._registry

    def begin(self, room: str) -> None:
        """Show the counters of a room that have no labels at 0: a rate that begins at 5 never saw the five."""
        for metric in Counter:
            if metric.room == room and not metric.labels:
                self.inc(metric, 0)

    def inc(self, metric: Counter, by: float = 1, /, **labels: str) -> None:
        """Add ``by`` (>= 0) to a counter."""
        if (child := self._child(metric, labels)) is not None:
            child.inc(by)

    def raise_to(self, metric: Counter, total: float, /, **labels: str) -> None:
        """Bring a counter up to a total that is counted elsewhere, 0 too; a lower one than before is ignored."""
        key = (metric, self._key(metric, labels))
        with self._lock:
            by = total - self._totals.get(key, 0)
            self._totals[key] = max(total, self._totals.get(key, 0))
        if by >= 0:
            self.inc(metric, by, **labels)

    def set(self, metric: Gauge, value: float, /, **labels: str) -> None:
        """Put a gauge to ``value``."""
        if (child := self._child(metric, labels)) is not None:
            child.set(value)

    def observe(
        self, metric: Histogram, value: float, exemplar: dict[str, str] | None = None, /, **labels: str
    ) -> None:
        """Add one observation, in the histogram's unit. ``exemplar``: what it is an example of, e.g. a trace."""
        if (child := self._child(metric, labels)) is not None:
            child.observe(value, exemplar)

    def remove(self, metric: Gauge, /, **labels: str) -> None:
        """Forget one series of a gauge, so that its place is free (a segment that is no longer the worst)."""
        key = self._key(metric, labels)
        with self._lock:
            if self._series.get(metric, {}).pop(key, None) is not None and metric.labels:
                self._families[metric].remove(*key)

    def values(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Every sample as (name, labels, value), as a scrape would see it."""
        for family in self.registry.collect():
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    @staticmethod
    def _key(metric: Metric, labels: dict[str, str]) -> tuple[str, ...]:
        try:
            key = tuple([labels[n] for n in metric.labels])
        except KeyError:
            key = ()
        if len(key) != len(labels) or len(key) != len(metric.labels):
            raise ValueError(f"{metric} has labels {metric.labels}, not {tuple(labels)}")
        return key

    def _child(self, metric: Metric, labels: dict[str, str]) -> Any:
        key = self._key(metric, labels)
        series = self._series.get(metric)
        child = series.get(key) if series is not None else None
        return child if child is not None else self._new_child(metric, key)

    def _new_child(self, metric: Metric, key: tuple[str, ...]) -> Any:
        with self._lock:
            series = self._series.setdefault(metric, {})
            if key in series:
                return series[key]
            full = len(series) >= self._max_series
            if not full:
                family = self._family(metric)
                series[key] = family.labels(*key) if metric.labels else family
        if full:
            if metric is not Counter.SERIES_DROPPED:
                self.inc(Counter.SERIES_DROPPED, metric=metric.value)
            return None
        return series[key]

    def _family(self, metric: Metric) -> Any:
        if metric not in self._families:
            import prometheus_client  # noqa: PLC0415

            make = getattr(prometheus_client, type(metric).__name__)
            extra = {"buckets": metric.buckets} if metric.buckets else {}
            self._families[metric] = make(
                metric.value, metric.about, metric.labels, registry=self.registry, **extra
            )
        return self._families[metric]
