"""One trace from a request to both answers, and one from a decision to its routers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace

from paritygate.producers.call import ArmModel
from paritygate.producers.exposition import ProducerMetrics
from paritygate.producers.shadow import ShadowRouter
from paritygate.rollouts.replay import Refold
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas import tracing
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import encode
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report import Example
from paritygate.streams.decide import Decider
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.settings import WorkerSettings
from tests.support.decisions import decision
from tests.support.spans import collected
from tests.unit.rollouts.conftest import report

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where only the base install is."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    tracing._api.cache_clear()
    yield
    tracing._api.cache_clear()


class Sink:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.events: list[PredictionEvent] = []

    def publish(self, event: PredictionEvent) -> bool:
        self.events.append(event)
        return True


async def test_both_answers_and_both_models_are_in_the_trace_of_the_request() -> None:
    """Plain and coroutine functions alike; a trace id that the caller names goes before."""
    sink, seen = Sink(), list[str]()

    def plain(_request: Any) -> dict[str, str]:
        seen.append(tracing.current_trace_id())
        return {"prediction": "a"}

    async def coroutine(request: Any) -> dict[str, str]:
        return plain(request)

    router = ShadowRouter(
        rollout_id="r", publisher=sink, choose=lambda _: Arm.BASELINE,
        baseline=ArmModel(version="1", predict=plain), candidate=ArmModel(version="2", predict=coroutine),
    )  # fmt: skip
    with collected(), trace.get_tracer("service").start_as_current_span("request"):
        wanted = tracing.current_trace_id()
        await router.predict({})
        await router.drain()
        await router.predict({}, trace_id="mine")
        await router.drain()
    await router.predict({})
    await router.aclose()

    assert len(wanted) == 32
    assert [e.trace_id for e in sink.events] == [wanted] * 2 + ["mine"] * 2 + [""] * 2
    assert seen == [wanted] * 4 + [""] * 2


async def test_a_router_applies_a_decision_in_the_trace_of_the_worker(tmp_path: Path) -> None:
    """Both records of a decision carry its context, and the router's span is a child of the decision's."""
    records: list[Any] = []

    class Outbox:
        async def send(self, sent: Any) -> list[int]:
            records.extend(sent)
            return []

    decider = Decider(WorkerSettings(kafka=NOWHERE), Outbox(), WorkerMetrics())  # type: ignore[arg-type]
    watcher = DecisionWatcher(NOWHERE, "r1", "router-a", tmp_path)
    try:
        with collected() as spans:
            watcher._reach_end()
            await decider._write([decision(25)])
            for record in records:
                message = SimpleNamespace(
                    value=lambda record=record: record.value, headers=lambda record=record: list(record.headers),
                    error=lambda: None, offset=lambda: 0, key=lambda: b"r1", timestamp=lambda: (1, 0),
                )  # fmt: skip
                watcher._take(message)  # type: ignore[arg-type]
    finally:
        watcher.close()

    assert watcher.weight == 25
    apply, decide = sorted((s for s in spans if s.name.startswith("paritygate.")), key=lambda s: s.name)
    assert (decide.name, apply.name) == ("paritygate.decide", "paritygate.apply")
    assert decide.attributes is not None
    assert decide.attributes["paritygate.weight"] == 25
    assert apply.parent is not None
    assert decide.context is not None
    assert (apply.parent.trace_id, apply.parent.span_id) == (decide.context.trace_id, decide.context.span_id)
    assert [dict(r.headers).keys() for r in records] == [{"traceparent"}] * 2


async def test_a_decision_links_to_the_traces_of_the_requests_that_it_was_made_on() -> None:
    """Those of the examples in the windows that were read; what is no trace id of the W3C is left out."""

    class Outbox:
        async def send(self, sent: Any) -> list[int]:
            return [len(r.value) for r in sent]

    decider = Decider(WorkerSettings(kafka=NOWHERE), Outbox(), WorkerMetrics())  # type: ignore[arg-type]
    examples = tuple(
        Example(request_id=f"q{i}", kind="label_change", detail="", values=("EWR",), trace_id=trace)
        for i, trace in enumerate(("ab" * 16, "mine", "0" * 32, "cd" * 8 + "0" * 16, ""))
    )
    window = encode(replace(report(0), examples=examples))
    with collected() as spans:
        decider._apply_report(Refold([], []), 0, window)
        await decider._write([decision(25), decision(25, rollout_id="r2")])
    decide, other = (s for s in spans if s.name == "paritygate.decide")

    assert [f"{link.context.trace_id:032x}" for link in decide.links] == ["ab" * 16, "cd" * 8 + "0" * 16]
    assert all(link.context.is_valid and link.context.is_remote for link in decide.links)
    assert decide.links[0].attributes == {"paritygate.request": "q0", "paritygate.example": "label_change"}
    assert not other.links


@pytest.mark.usefixtures("without_package")
async def test_without_the_package_nothing_is_traced_and_all_goes_on() -> None:
    """No id, no header, and the block runs."""
    ran = []
    with tracing.span("x", {}) as headers:
        ran.append(headers)

    assert ran == [()]
    assert tracing.current_trace_id() == ""


def test_a_provider_that_fails_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block runs once, and what it raises itself goes through."""

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no provider")

    monkeypatch.setattr(trace, "get_tracer", fails)
    monkeypatch.setattr(trace, "get_current_span", fails)
    with tracing.span("x", {}) as headers:
        assert headers == ()
    assert tracing.current_trace_id() == ""
    with pytest.raises(KeyError), tracing.span("x", {}):
        raise KeyError


@pytest.mark.parametrize(
    ("trace_id", "shown"), [("ab" * 16, True), ("AB" * 16, False), ("x" * 200, False), ("", False)]
)
def test_latencies_carry_the_trace_of_their_request(trace_id: str, shown: bool) -> None:
    """As an exemplar, for who asks for OpenMetrics; what is no trace id is left out, not refused."""
    from prometheus_client.openmetrics.exposition import generate_latest  # noqa: PLC0415

    metrics = Metrics()
    event = PredictionEvent(
        request_id="a", rollout_id="r", arm=Arm.BASELINE, role=Role.PRIMARY, event_at_ms=1, latency_ms=20.0,
        status=Status.OK, model_version="1", trace_id=trace_id,
    )  # fmt: skip
    ProducerMetrics(metrics, Sink()).saw(event)  # type: ignore[arg-type]
    text = generate_latest(metrics.registry).decode()  # type: ignore[no-untyped-call]

    assert (f'# {{trace_id="{trace_id}"}} 0.02' in text) is shown
    assert 'arm="baseline"' in text
