"""Run ``paritygate worker`` over full topics, as users run it, and read what it published.

Law: what counts is what lies in ``windows.v1``: when each report was written, and how many pairs are in it. Its
metrics only say when it has read all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from joining.figures import Run
from joining.stage import Stage
from joining.traffic import DIMENSIONS, bases
from joining.watching import Watch
from joining.workers import Workers
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.codec import decode_report
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import WINDOWS

#: Holds in shadow whatever happens; every kind of evidence that can be had from this traffic is formed.
PLAN_YAML = f"""
rollout: bench
service: bench
baseline: {{version: "1"}}
candidate: {{version: "2"}}
owner: benchmark
rollback_condition: none of its own; the benchmark ends it
segments: [{", ".join(DIMENSIONS)}]
stages:
  - {{name: shadow, weight: 0, minimum_seconds: 0, minimum_pairs: 1000000000}}
  - {{name: "50", weight: 50}}
  - {{name: "100", weight: 100}}
promotion_gates:
  error_rate: {{maximum: 0.05}}
  latency_p95_ms: {{maximum_regression_percent: 50}}
  label_change_rate: {{maximum: 0.1}}
"""
#: The fields of the answer that the service gives nothing for are not asked for.
NO_CONTRACT = "output: {required: []}\n"
CONTRACT = "diff: {ignore: [/model_version], absolute_tolerance: 0.05}\n"
JSON_SCHEMA = (
    CONTRACT
    + """
output:
  labels: [approve, decline]
  json_schema:
    type: object
    required: [prediction, confidence, model_version, reasons]
    additionalProperties: false
    properties:
      prediction: {enum: [approve, decline]}
      confidence: {type: number, minimum: 0, maximum: 1}
      model_version: {type: string, pattern: "^[0-9]+$"}
      reasons: {type: array, maxItems: 8, items: {type: string, maxLength: 64}}
"""
)
#: An idle worker lets the clock close what is open after a second.
_CLOSES_WITHIN_S = 120.0


def run(stage: Stage, folder: Path, *, workers: int = 1, rules: str = NO_CONTRACT) -> Run:
    """Join all that is in the topics; the counts are held against the truth."""
    stage.clear_outputs([RolloutPlan.from_yaml(PLAN_YAML + rules)])
    found = Run(pairs=stage.truth.pairs)
    with Workers(stage, folder, workers) as running:
        with Watch(running.processes) as watch:
            running.wait_paired(2 * stage.truth.pairs)
            watch.look()
            found.cpu_s, found.rss_mib = watch.cpu_s, watch.peak_mib
            found.rss_over_time, found.stages_s = list(watch.over_time), running.stages_s()
        reports = wait_closed(stage)
    found.progress = progress(reports)
    found.wrong = difference(reports, stage)
    return found


def wait_closed(stage: Stage) -> list[tuple[int, WindowReport]]:
    """All reports, once they hold all pairs; what is there after a while where they do not."""
    until = time.monotonic() + _CLOSES_WITHIN_S
    while True:
        time.sleep(1.5)
        reports = read_reports(stage)
        if (
            sum(count(r, "pairs") for r in newest(reports).values()) >= stage.truth.pairs
            or time.monotonic() > until
        ):
            return reports


def read_reports(stage: Stage) -> list[tuple[int, WindowReport]]:
    """All reports of the benchmark's rollout in ``windows.v1``, with the time at which each was written."""
    topic = stage.settings.topic(WINDOWS.name)
    consumer = Consumer(
        stage.settings.confluent(
            **{"group.id": "bench-reader", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
        )
    )
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[int, WindowReport]] = []
        got = 0
        while got < end:
            for message in consumer.consume(500, timeout=5):
                error = message.error()
                if error is not None:
                    raise RuntimeError(f"{topic} cannot be read: {error.str()}")
                found.append((message.timestamp()[1], decode_report(message.value())))
                got += 1
        return [(at_ms, report) for at_ms, report in found if report.rollout_id == stage.traffic.rollout]
    finally:
        consumer.close()


def count(report: WindowReport, name: str) -> int:
    """A count of a report, over all cells."""
    place = report.count_names.index(name)
    return sum(cell.counts[place] for cell in report.cells)


def newest(reports: Sequence[tuple[int, WindowReport]]) -> dict[tuple[int, int], WindowReport]:
    """The report that stands for each partition and window."""
    found: dict[tuple[int, int], WindowReport] = {}
    for _, report in reports:
        key = report.partition, report.window_start_ms
        before = found.get(key)
        if before is None or (report.generation, report.revision) > (before.generation, before.revision):
            found[key] = report
    return found


def progress(reports: Sequence[tuple[int, WindowReport]]) -> list[tuple[int, int]]:
    """How many pairs were out at the time of each report."""
    by_window: dict[tuple[int, int], int] = {}
    out: list[tuple[int, int]] = []
    total = 0
    for at_ms, report in reports:
        key = report.partition, report.window_start_ms
        pairs = count(report, "pairs")
        total += max(0, pairs - by_window.get(key, 0))
        by_window[key] = max(pairs, by_window.get(key, 0))
        out.append((at_ms, total))
    return out


def difference(reports: Sequence[tuple[int, WindowReport]], stage: Stage) -> str:
    """How the newest reports differ from the truth, in words; empty where they do not."""
    windows, truth = newest(reports).values(), stage.truth
    wrong = []
    for name, wanted in (
        ("pairs", truth.pairs), ("label_changes", truth.label_changes),
        ("candidate_errors", truth.candidate_errors), ("missing_candidate", 0), ("missing_baseline", 0),
    ):  # fmt: skip
        got = sum(count(report, name) for report in windows)
        if got != wanted:
            wrong.append(f"{name} {got:,}, not {wanted:,}")
    if not wrong and len(truth.segments) <= 1_000:
        wrong += _wrong_segments(windows, stage)
    return "; ".join(wrong)


def _wrong_segments(windows: Any, stage: Stage) -> list[str]:
    got: dict[str, int] = {}
    for report in windows:
        place = report.count_names.index("pairs")
        for cell in report.cells:
            key = "|".join(cell.values)
            got[key] = got.get(key, 0) + cell.counts[place]
    return [] if got == named_segments(stage) else [f"the counts of {len(got)} segments are not those sent"]


def named_segments(stage: Stage) -> Mapping[str, int]:
    """Pairs by the values of all dimensions, joined by ``|`` in the order of their names."""
    found = {}
    for combination, pairs in stage.truth.segments.items():
        rest, values = combination, []
        for base in bases(stage.traffic.combinations):
            values.append(f"v{rest % base:02}")
            rest //= base
        found["|".join(values)] = pairs
    return found
