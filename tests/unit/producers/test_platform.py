from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.producers.exposition import ProducerMetrics
from paritygate.producers.platform import PlatformReporter, is_out_of_memory, resident_bytes
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ARMS, Arm, Role


class Sink:
    """Takes reports unless ``full``; owes the dropped answers it is given."""

    def __init__(self) -> None:
        self.reports: list[PlatformEvent] = []
        self.dropped = dict.fromkeys(ARMS, 0)
        self.full = False

    def publish_platform(self, event: PlatformEvent) -> bool:
        if self.full:
            self.dropped[event.arm] += event.dropped_events  # as the publisher gives back
            return False
        self.reports.append(event)
        return True

    def take_dropped(self, arm: Arm) -> int:
        count, self.dropped[arm] = self.dropped[arm], 0
        return count


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def reporter_on(sink: Sink, clock: Clock, state_file: Path | None = None) -> PlatformReporter:
    return PlatformReporter(
        sink, rollout_id="ro", instance_id="pod-1", versions={Arm.BASELINE: "v1", Arm.CANDIDATE: "v2"},
        state_file=state_file, clock=lambda: 1_700_000_000_000, steady=clock,
    )  # fmt: skip


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(ARMS), st.booleans()), max_size=20))
def test_intervals_leave_no_gap(steps: list[tuple[float, Arm, bool]]) -> None:
    """Per arm the running times add up to the time passed, to the millisecond, lost reports included."""
    sink, clock = Sink(), Clock()
    reporter = reporter_on(sink, clock)
    for passed_s, arm, full in steps:
        clock.now_s += passed_s
        sink.full = full
        reporter.report(arm)
    sink.full = False
    reporter.report_all()

    for arm in ARMS:
        total_ms = sum(r.running_ms for r in sink.reports if r.arm is arm)
        assert abs(total_ms - (clock.now_s - 100) * 1000) <= 2


def test_a_report_carries_memory_ooms_and_dropped_answers() -> None:
    """Counts of the interval are per arm and reported once."""
    sink, clock = Sink(), Clock()
    reporter = reporter_on(sink, clock)
    reporter.saw_error(Arm.CANDIDATE, Role.SHADOW, MemoryError())
    reporter.saw_error(Arm.CANDIDATE, Role.SHADOW, ValueError())
    sink.dropped[Arm.CANDIDATE] = 3
    clock.now_s += 2

    baseline, candidate = reporter.report_all()
    again = reporter.report(Arm.CANDIDATE)

    assert (baseline.gpu_ooms, baseline.dropped_events, baseline.running_ms) == (0, 0, 2000)
    assert (candidate.gpu_ooms, candidate.dropped_events, candidate.model_version) == (1, 3, "v2")
    assert (again.gpu_ooms, again.dropped_events, again.running_ms) == (0, 0, 0)
    assert candidate.memory_bytes > 1_000_000


def test_counts_of_a_refused_report_stay_for_the_next() -> None:
    """A full queue hides no out-of-memory event."""
    sink, clock = Sink(), Clock()
    reporter = reporter_on(sink, clock)
    reporter.record_oom(Arm.CANDIDATE)
    sink.dropped[Arm.CANDIDATE], sink.full = 2, True
    reporter.report(Arm.CANDIDATE)
    sink.full = False

    report = reporter.report(Arm.CANDIDATE)

    assert (report.gpu_ooms, report.dropped_events) == (1, 2)


def test_only_an_unclean_end_is_a_restart(tmp_path: Path) -> None:
    """The state file tells a crash from a planned stop and from the first start."""
    state, sink, clock = tmp_path / "run" / "state.json", Sink(), Clock()

    first = reporter_on(sink, clock, state)
    assert [r.restarts for r in first.report_all()] == [0, 0]
    crashed = reporter_on(sink, clock, state)
    assert [r.restarts for r in crashed.report_all()] == [1, 1]
    assert [r.restarts for r in crashed.report_all()] == [0, 0]
    crashed.close()
    assert [r.restarts for r in reporter_on(sink, clock, state).report_all()] == [0, 0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_state_file_stops_nothing(tmp_path: Path, content: bytes) -> None:
    """Restarts are then not counted, and the service starts."""
    state = tmp_path / "state.json"
    state.write_bytes(content)

    assert reporter_on(Sink(), Clock(), state).report(Arm.BASELINE).restarts == 0


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning says what is not counted."""
    (tmp_path / "file").write_text("")

    reporter_on(Sink(), Clock(), tmp_path / "file" / "state.json")

    assert "restarts are not counted" in caplog.text


async def test_run_reports_until_cancelled_and_once_more() -> None:
    """The last part of the running time is not lost at the end."""
    sink, clock = Sink(), Clock()
    task = asyncio.create_task(reporter_on(sink, clock).run(0.001))
    while len(sink.reports) < 4:
        await asyncio.sleep(0.001)
    clock.now_s += 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sum(r.running_ms for r in sink.reports) == 2000


def error_named(name: str, text: str = "") -> BaseException:
    made: Any = type(name, (RuntimeError,), {})
    return made(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (error_named("OutOfMemoryError", "CUDA out of memory"), True),
        (error_named("ResourceExhaustedError"), True),
        (error_named("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory"), True),
        (error_named("XlaRuntimeError", "INVALID_ARGUMENT"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_by_class(error: BaseException, expected: bool) -> None:
    """The errors of the usual frameworks count, a text that mentions memory does not."""
    assert is_out_of_memory(error) is expected


def test_resident_memory_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc is missing the peak stands in."""

    def missing(_path: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", missing)

    assert resident_bytes() > 1_000_000


def test_each_report_is_handed_to_the_metrics() -> None:
    """The gauge of an arm is what its newest report says; what nobody measured leaves it alone."""
    metrics, sink = Metrics(), Sink()
    exposition = ProducerMetrics(metrics, sink)  # type: ignore[arg-type]
    reporter = PlatformReporter(
        sink, rollout_id="ro", instance_id="pod-1", versions={Arm.CANDIDATE: "v2"}, on_report=exposition.reported
    )
    told = reporter.report(Arm.CANDIDATE)
    exposition.reported(replace(told, memory_bytes=0))
    labels = {"rollout": "ro", "arm": "candidate"}

    assert metrics.registry.get_sample_value("rollout_memory_bytes", labels) == told.memory_bytes > 0
