"""The rows of the join benchmark: which engine joins which traffic, how much of it and how often.

Law: every row of a kind of traffic reads the same records. A slow peer gets the first of them, as many as bring it
to its steady part; its counts are held against exactly these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joining import live, ours
from joining.figures import Run, growth_percent, stages_us, summary
from joining.limits import limits
from joining.peers import CannotRunError, Peers
from joining.stage import Stage
from joining.traffic import Traffic

Say = Callable[[str], None]
#: The segment combinations of the linear rows, beside the 64 of all others.
COMBINATIONS = (10, 1_000, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Pairs of each row, and runs of each engine.

    ``runs``: of the plain Avro rows of ours and of Kafka Streams; the others run ``slow_runs`` times, memory and
    latency once.
    """

    plain: int = 10_000_000
    kafka_streams: int = 1_000_000
    quixstreams: int = 200_000
    faust_tables: int = 30_000
    json: int = 400_000
    outputs: int = 1_000_000
    short: int = 2_000_000
    memory: int = 10_000_000
    runs: int = 5
    slow_runs: int = 3
    partitions: int = 4
    memory_partitions: int = 8
    live_seconds: int = 30
    live_per_s: int = 20_000

    def scaled(self, by: float) -> Sizes:
        """With fewer or more pairs in every row."""
        names = ("plain", "kafka_streams", "quixstreams", "faust_tables", "json", "outputs", "short", "memory")
        return replace(self, **{name: max(2_000, int(getattr(self, name) * by)) for name in names})


FULL = Sizes()
QUICK = Sizes(
    plain=30_000, kafka_streams=10_000, quixstreams=4_000, faust_tables=3_000, json=10_000, outputs=10_000,
    short=10_000, memory=30_000, runs=1, slow_runs=1, live_seconds=8, live_per_s=500,
)  # fmt: skip


class Rows:
    """Runs rows on one broker; ``result`` grows as they end."""

    def __init__(
        self, bootstrap: str, folder: Path, sizes: Sizes, *, only: Sequence[str], minutes: float, say: Say
    ) -> None:
        self._until_s = time.monotonic() + 60 * minutes
        self._bootstrap, self._folder, self._sizes, self._only, self._say = bootstrap, folder, sizes, only, say
        self._peers = Peers(folder / "peers")
        self._stages = 0
        kinds = ("engines", "linear", "limits_us_per_pair", "memory", "latency", "skipped")
        self.result: dict[str, Any] = {kind: {} for kind in kinds}

    def all(self) -> None:
        """Every row that was asked for."""
        self._plain()
        self._shorter()
        self._outputs()
        self._segments()
        self._memory()
        self._latency()

    # -- kinds of traffic --------------------------------------------------------------------------------------

    def _plain(self) -> None:
        names = ("paritygate_1_worker_avro", "paritygate_2_workers_avro")
        with self._stage(names, self._sizes.plain) as stage:
            if stage is None:
                return
            runs = self._engine(names[0], self._sizes.runs, lambda: self._ours(stage))
            if runs:
                self.result["linear"][f"pairs_{stage.truth.pairs}"] = _cost(runs)
            self._engine(names[1], self._sizes.runs, lambda: self._ours(stage, workers=2))

    def _shorter(self) -> None:
        sizes, peers = self._sizes, self._peers
        names = ("kafka_streams_avro", "kafka_streams_no_changelog", "linear", "limits")
        with self._stage(names, sizes.kafka_streams) as stage:
            if stage is not None:
                self._engine(names[0], sizes.runs, lambda: peers.kafka_streams(stage, changelog=True))
                self._engine(names[1], sizes.runs, lambda: peers.kafka_streams(stage, changelog=False))
                if self._wanted("linear"):
                    self._linear(f"pairs_{stage.truth.pairs}", stage)
                if self._wanted("limits"):
                    self.result["limits_us_per_pair"] = limits(stage)
                    self._say(f"limits: {self.result['limits_us_per_pair']}")
        with self._stage(["quixstreams"], sizes.quixstreams) as stage:
            if stage is not None:
                self._engine("quixstreams", sizes.slow_runs, lambda: peers.quixstreams(stage))
        with self._stage(["faust_tables"], sizes.faust_tables) as stage:
            if stage is not None:
                self._engine("faust_tables", sizes.slow_runs, lambda: peers.faust_tables(stage))
        with self._stage(["paritygate_1_worker_json"], sizes.json, form="json") as stage:
            if stage is not None:
                self._engine("paritygate_1_worker_json", sizes.slow_runs, lambda: self._ours(stage))

    def _outputs(self) -> None:
        names = ("paritygate_1_worker_avro_contract", "paritygate_1_worker_avro_json_schema")
        with self._stage(names, self._sizes.outputs, outputs=True) as stage:
            if stage is not None:
                times = self._sizes.slow_runs
                self._engine(names[0], times, lambda: self._ours(stage, rules=ours.CONTRACT))
                self._engine(names[1], times, lambda: self._ours(stage, rules=ours.JSON_SCHEMA))

    def _segments(self) -> None:
        if not self._wanted("linear"):
            return
        for combinations in COMBINATIONS:
            with self._stage(["linear"], self._sizes.short, combinations=combinations) as stage:
                if stage is not None:
                    self._linear(f"combinations_{combinations}", stage)

    def _memory(self) -> None:
        with self._stage(["memory"], self._sizes.memory, partitions=self._sizes.memory_partitions) as stage:
            if stage is None:
                return
            run = self._ours(stage)
            growth = growth_percent(run)
            self.result["memory"] = {
                "partitions": stage.partitions,
                "pairs": run.pairs,
                "peak_rss_mib": round(run.rss_mib),
                "growth_percent": None if growth is None else round(growth, 1),
                "pairs_per_s": round(run.pairs_per_s),
                **_correct([run]),
            }
            self._say(f"memory: {self.result['memory']}")

    def _latency(self) -> None:
        if not self._wanted("latency"):
            return
        sizes = self._sizes
        traffic = Traffic(pairs=sizes.live_per_s * sizes.live_seconds, start_ms=0, per_s=sizes.live_per_s)
        row = live.measure(self._bootstrap, "live", self._folder / "worker", traffic, sizes.partitions)
        self.result["latency"] = row
        self._say(f"latency: {row}")

    # -- one row -----------------------------------------------------------------------------------------------

    def _ours(self, stage: Stage, *, workers: int = 1, rules: str = ours.NO_CONTRACT) -> Run:
        return ours.run(stage, self._folder / "worker", workers=workers, rules=rules)

    def _engine(self, name: str, times: int, run: Callable[[], Run]) -> list[Run]:
        """Run an engine and keep its figures; nothing where it is not wanted or cannot run here."""
        if not self._wanted(name):
            return []
        runs: list[Run] = []
        try:
            while len(runs) < times and not (runs and self._time_is_over):
                runs.append(run())
                self._say(f"{name}: {runs[-1].pairs_per_s:,.0f} pairs/s, {runs[-1].rss_mib:,.0f} MiB")
        except CannotRunError as reason:
            self.result["skipped"][name] = str(reason)
            self._say(f"{name} is skipped: {reason}")
            return []
        self.result["engines"][name] = {**summary(runs), **_correct(runs)}
        if runs[0].stages_s:
            self.result["engines"][name]["stages_us_per_pair"] = stages_us(_middle(runs))
        return runs

    def _linear(self, name: str, stage: Stage) -> None:
        self.result["linear"][name] = _cost([self._ours(stage) for _ in range(self._sizes.slow_runs)])
        self._say(f"linear, {name}: {self.result['linear'][name]}")

    @property
    def _time_is_over(self) -> bool:
        return time.monotonic() > self._until_s

    def _wanted(self, name: str) -> bool:
        """Whether a row is to run; one for which no time is left is told as skipped."""
        if self._only and name not in self._only:
            return False
        if self._time_is_over:
            self.result["skipped"].setdefault(name, "no time was left for it")
            return False
        return True

    @contextmanager
    def _stage(
        self, names: Sequence[str], pairs: int, *, partitions: int = 0, **traffic: Any
    ) -> Iterator[Stage | None]:
        """Full topics while the block runs; None where none of the rows is wanted."""
        if not any(self._wanted(name) for name in names):
            yield None
            return
        self._stages += 1
        made = Traffic(pairs=pairs, start_ms=0, **traffic)
        # In the past, and as near to now as its span allows: what a worker meets that catches up.
        made = replace(made, start_ms=time.time_ns() // 1_000_000 - made.span_ms - 5_000)
        stage = Stage.fill(self._bootstrap, f"bench{self._stages}", partitions or self._sizes.partitions, made)
        self._say(f"{pairs:,} pairs appended in {stage.fed_s:.0f} s")
        try:
            yield stage
        finally:
            stage.drop()


def _middle(runs: Sequence[Run]) -> Run:
    """The run of the middle rate."""
    return sorted(runs, key=lambda run: run.pairs_per_s)[len(runs) // 2]


def _cost(runs: Sequence[Run]) -> dict[str, Any]:
    """What a pair costs in the middle run: by the wall clock in the steady part, by the processor in all of it."""
    run = _middle(runs)
    rate, growth = run.pairs_per_s, growth_percent(run)
    return {
        "pairs": run.pairs,
        "ns_per_pair": round(1e9 / rate) if rate else None,
        "cpu_ns_per_pair": round(1e9 * run.cpu_s / run.pairs),
        "rss_mib": round(run.rss_mib),
        "rss_growth_percent": None if growth is None else round(growth, 1),
        "runs": len(runs),
        **_correct(runs),
    }


def _correct(runs: Sequence[Run]) -> dict[str, Any]:
    wrong = [run.wrong for run in runs if run.wrong]
    return {"correct": False, "wrong": wrong[0]} if wrong else {"correct": True}
