"""One scenario or the whole story, live in the terminal, ended cleanly."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from prometheus_client import start_http_server

from paritygate.cli.console import console, note
from paritygate.cli.demo.follow import Follower
from paritygate.cli.demo.plan import demo_plan
from paritygate.cli.demo.scenarios import SCENARIOS, Scenario
from paritygate.cli.demo.serve import Service
from paritygate.cli.demo.stack import Stack, running_dashboard, running_stack
from paritygate.cli.demo.summary import Summary, summarise
from paritygate.cli.follow import Declared
from paritygate.cli.kafka import end_offsets
from paritygate.cli.render import instant, panel, sentence
from paritygate.cli.report.verb import write_report
from paritygate.cli.say import write_command
from paritygate.producers.flights.data import Flight, flights, load_table
from paritygate.producers.flights.models import Models, load_models
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import ConfigError, ParityGateError
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.topics import BULK, TOPICS, dead_letter_topic

#: Requests per second at speed 1: both arms, publishing, the worker and the broker on two cores.
BASE_RATE_PER_S = 350.0
#: How long the decider may take to answer the start, on a busy machine.
_START_WITHIN_S = 90.0
#: Candidates of one run in the log of another must not be confused: ids are single-use.
_RUN = "%Y%m%d-%H%M%S"


def run_demo(
    names: Sequence[str],
    *,
    bootstrap: str | None,
    folder: Path,
    cache: Path,
    speed: float = 1.0,
    with_worker: bool = True,
    with_dashboard: bool = True,
    metrics_port: int = 0,
) -> list[Summary]:
    """Run these scenarios one after the other on one stack. Blocks.

    :raises ConfigError: the port of the metrics cannot be opened.
    :raises ParityGateError: the broker or the worker cannot be had, or the decider never answered.
    """
    started = time.monotonic()
    metrics = Metrics()
    if metrics_port:
        _serve_metrics(metrics, metrics_port)
    table = load_table(cache, note)
    models = load_models(table, cache, note)
    with ExitStack() as running:
        stack = running.enter_context(running_stack(folder, bootstrap, note, with_worker=with_worker))
        if with_dashboard:
            running.enter_context(running_dashboard(stack.kafka, folder, note))
        summaries = [
            run_scenario(SCENARIOS[n], stack, traffic=flights(table), models=models, metrics=metrics, speed=speed)
            for n in names
        ]
        _tell_where(stack)
    note(f"done in {time.monotonic() - started:.0f} s")
    return summaries


def _serve_metrics(metrics: Metrics, port: int) -> None:
    try:
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as e:
        raise ConfigError(f"--metrics-port: 127.0.0.1:{port} cannot be opened: {e.strerror or e}") from None


def run_scenario(
    scenario: Scenario,
    stack: Stack,
    *,
    traffic: Iterator[Flight],
    models: Models,
    metrics: Metrics,
    speed: float = 1.0,
) -> Summary:
    """Start the rollout, serve until it ends, and judge how it ended. Blocks.

    :raises ParityGateError: the decider never answered the start.
    """
    rollout = f"flights-{scenario.name}-{time.strftime(_RUN)}"
    path = stack.folder / f"{rollout}.yaml"
    text, plan = demo_plan(
        rollout, baseline=models.baseline.version, candidate=models.candidate.version, file=str(path)
    )
    path.write_text(text)
    note("")
    note(f"── {scenario.name}: {scenario.about} ──")
    declared = Declared.of(plan.to_plain())
    with _picture(declared) as show, Follower(stack.kafka, rollout, show) as follower:
        command = Command(
            kind=CommandKind.START, rollout_id=rollout, actor="paritygate demo",
            issued_at_ms=time.time_ns() // 1_000_000, plan=plan.to_plain(),
        )  # fmt: skip
        write_command(stack.kafka, command)
        if not follower.wait_for(1, _START_WITHIN_S):
            raise ParityGateError(
                f"no decision about the start came within {_START_WITHIN_S:g} s; see {stack.worker_log}"
            )
        served = Service(
            kafka=stack.kafka, rollout_id=rollout, scenario=scenario.name, models=models, flights=traffic,
            rate_per_s=BASE_RATE_PER_S * speed, folder=stack.folder, ended=lambda: follower.ended,
            limit_s=scenario.traffic_s, metrics=metrics,
        ).serve()  # fmt: skip
        decisions = list(follower.decisions)
    summary = summarise(
        scenario,
        decisions,
        dead_letters=_dead_letters(stack),
        rollback_latency_ms=served.rollback_latency_ms,
        events_per_s=served.events / served.seconds,
    )
    _print_summary(summary, served.requests)
    _write_report(stack, rollout)
    summary_path = stack.folder / f"{rollout}.summary.json"
    write_json(summary_path, [summary])
    note(f"summary: {summary_path}")
    return summary


@contextmanager
def _picture(declared: Declared) -> Iterator[Callable[[GateDecision], None]]:
    """Redraw one panel on a terminal; elsewhere print a line per decision."""
    if not sys.stdout.isatty():
        yield lambda d: note(f"{instant(d.at_ms)} {sentence(d).plain}")
        return
    from rich.live import Live  # noqa: PLC0415

    with Live("waiting for the first decision", console=console(), auto_refresh=False) as live:
        yield lambda d: live.update(panel(d, declared), refresh=True)


def _dead_letters(stack: Stack) -> int:
    names = [stack.kafka.topic(dead_letter_topic(t).name) for t in BULK]
    return sum(sum(end_offsets(stack.kafka, name).values()) for name in names)


def _print_summary(summary: Summary, requests: int) -> None:
    note(
        f"{'as it must' if summary.ok else 'NOT as it must'}: {summary.final_action} at {summary.final_stage}; "
        f"{requests:,} requests, {summary.pairs:,} pairs, {summary.exposed_requests:,} users exposed, "
        f"{summary.events_per_s:,.0f} events/s"
    )
    note(f"why: {summary.reason}")
    if summary.rollback_latency_ms is not None:
        note(f"weight 0 came {summary.rollback_latency_ms:,.0f} ms after the first decidable live failure")
    for problem in summary.problems:
        note(f"problem: {problem}")


def _write_report(stack: Stack, rollout: str) -> None:
    """The review of what has just ended, for a person to open."""
    try:
        page, *_ = write_report(stack.kafka, rollout, stack.folder / "reports", bundle=True)
    except ParityGateError as e:  # the in-memory broker answers less than Kafka does
        note(f"no report: {e}")
    else:
        note(f"report: {page}")


def _tell_where(stack: Stack) -> None:
    """Where everything lies, and how to look at it; the broker ends with the demo, its data stay."""
    note("")
    note("where things are:")
    for topic in TOPICS:
        records = sum(end_offsets(stack.kafka, stack.kafka.topic(topic.name)).values())
        note(f"  {stack.kafka.topic(topic.name):28} {records:>7,} records: {topic.about}")
    note(f"  plans, summaries, logs: {stack.folder}")
    if stack.kind == "apache":
        verb = _how_to_call()
        note("to look at the topics again:")
        note(f"  export PARITYGATE_RUN={stack.folder}; {verb} broker up")
        note(f"  {verb} status                   the newest decision of each rollout, gate by gate")
        note(f"  {verb} dashboard                the same as pages")
        note(f"  {verb} tail audit.v1            every decision with its reasons: the audit")
        note(f"  {verb} tail windows.v1 --max 3  what the decisions rest on")
        note(f"  {verb} broker down")


def _how_to_call() -> str:
    """``paritygate``, or its path where the environment that it lies in is not active."""
    if shutil.which("paritygate"):
        return "paritygate"
    script = Path(sys.executable).with_name("paritygate")
    with suppress(ValueError):
        script = script.relative_to(Path.cwd())
    return str(script)


def write_json(path: Path, summaries: list[Summary]) -> None:
    """Write the result of one scenario, or a list of several."""
    import orjson  # noqa: PLC0415

    plain = [s.plain() for s in summaries]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(plain[0] if len(plain) == 1 else plain, option=orjson.OPT_INDENT_2) + b"\n")
