from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.producers.call import ArmModel, current_role
from paritygate.producers.exchange import UNSERIALISABLE, Pair
from paritygate.producers.shadow import BREAKER_OPEN, NOT_MIRRORED, OVERLOAD, ShadowRouter
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import ARMS, Arm, PredictionEvent, Role, Status

AT_MS = 1_700_000_000_000
ACTS = st.sampled_from(["ok", "raise", "odd"])
OTHER = {Arm.BASELINE: Arm.CANDIDATE, Arm.CANDIDATE: Arm.BASELINE}


@dataclass
class Sink:
    """Keeps what is published."""

    events: list[PredictionEvent] = field(default_factory=list)

    def publish(self, event: PredictionEvent) -> bool:
        self.events.append(event)
        return True

    def of(self, arm: Arm) -> PredictionEvent:
        (event,) = [e for e in self.events if e.arm is arm]
        return event


def says(label: str) -> Callable[[Any], dict[str, Any]]:
    return lambda request: {"prediction": label, "confidence": 0.5, "asked": request}


def fails(_request: Any) -> Any:
    raise ValueError("bad features")


class Bench:
    """Builds routers on a sink; ``close`` ends them."""

    def __init__(self) -> None:
        self.sink, self.routers = Sink(), list[ShadowRouter]()

    def router(
        self, baseline: Any = None, candidate: Any = None, arm: Arm = Arm.BASELINE, **options: Any
    ) -> ShadowRouter:
        defaults: dict[str, Any] = {"choose": lambda _: arm, "clock": lambda: AT_MS, "instance_id": "pod-1"}
        router = ShadowRouter(
            rollout_id="ro",
            baseline=ArmModel(version="v1", predict=baseline or says("old")),
            candidate=ArmModel(version="v2", predict=candidate or says("new")),
            publisher=self.sink,
            **(defaults | options),
        )
        self.routers.append(router)
        return router


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    for router in made.routers:
        await router.aclose(1.0)


@pytest.mark.parametrize("arm", ARMS)
async def test_the_chosen_arm_answers_and_the_other_is_mirrored(bench: Bench, arm: Arm) -> None:
    """In both directions: one answer to the caller, two events of one time, id and segments."""
    router = bench.router(arm=arm)

    answer = await router.predict(
        {"x": 1}, request_id="r-1", endpoint="/v1", segments={"origin": "EWR"}, trace_id="t-1"
    )
    await router.drain()

    assert answer["prediction"] == ("old" if arm is Arm.BASELINE else "new")
    primary, shadow = bench.sink.of(arm), bench.sink.of(OTHER[arm])
    assert (primary.role, shadow.role) == (Role.PRIMARY, Role.SHADOW)
    assert (bench.sink.of(Arm.BASELINE).model_version, bench.sink.of(Arm.CANDIDATE).model_version) == ("v1", "v2")
    for event in (primary, shadow):
        assert (event.request_id, event.event_at_ms, event.segments) == ("r-1", AT_MS, {"origin": "EWR"})
        assert (event.rollout_id, event.endpoint, event.trace_id, event.instance_id) == (
            "ro",
            "/v1",
            "t-1",
            "pod-1",
        )
        assert (event.status, event.confidence, event.error_type) == (Status.OK, 0.5, "")
        assert event.latency_ms >= 0
    assert (primary.label, orjson.loads(primary.output)) == (answer["prediction"], answer)


async def test_the_key_decides_the_arm(bench: Bench) -> None:
    """``choose`` sees the key, and the request id where there is none."""
    seen: list[str] = []

    def choose(key: str) -> Arm:
        seen.append(key)
        return Arm.CANDIDATE

    router = bench.router(choose=choose)
    await router.predict({}, request_id="r-1", key="user-7")
    await router.predict({}, request_id="r-2")
    await router.predict({})

    assert seen[:2] == ["user-7", "r-2"]
    assert len(seen[2]) == 32


async def test_a_chooser_that_fails_means_baseline(bench: Bench) -> None:
    """An error in routing never reaches the request, and never sends it to the candidate."""

    def choose(_key: str) -> Arm:
        raise RuntimeError

    router = bench.router(choose=choose)

    assert (await router.predict({}, request_id="r-1"))["prediction"] == "old"
    assert router.hook_errors == 1


async def test_shadow_errors_stay_in_the_shadow(bench: Bench) -> None:
    """The request is answered; the failure is evidence, with its class name as the type."""
    router = bench.router(candidate=fails)

    assert (await router.predict({}, request_id="r-1"))["prediction"] == "old"
    await router.drain()

    event = bench.sink.of(Arm.CANDIDATE)
    assert (event.status, event.error_type, event.output, event.label) == (Status.ERROR, "ValueError", "", None)


async def test_primary_errors_are_published_and_raised(bench: Bench) -> None:
    """The caller gets the model's own error; the shadow is published all the same."""
    router = bench.router(baseline=fails)

    with pytest.raises(ValueError, match="bad features"):
        await router.predict({}, request_id="r-1")
    await router.drain()

    assert bench.sink.of(Arm.BASELINE).status is Status.ERROR
    assert bench.sink.of(Arm.CANDIDATE).status is Status.OK


async def test_a_fallback_answers_for_a_failed_primary(bench: Bench) -> None:
    """The failure counts, the caller gets what it chose to give instead."""
    router = bench.router(baseline=fails)

    answer = await router.predict({"x": 1}, request_id="r-1", fallback=lambda request, e: (request, str(e)))

    assert answer == ({"x": 1}, "bad features")
    assert bench.sink.of(Arm.BASELINE).status is Status.ERROR


async def test_an_answer_that_json_cannot_hold_is_an_error_of_the_arm(bench: Bench) -> None:
    """The caller still gets the object; the event says why there is no output."""
    odd = object()
    router = bench.router(baseline=lambda _: odd)

    assert await router.predict({}, request_id="r-1") is odd
    event = bench.sink.of(Arm.BASELINE)
    assert (event.status, event.error_type, event.output) == (Status.ERROR, UNSERIALISABLE, "")


async def test_async_models_run_side_by_side(bench: Bench) -> None:
    """The primary answers while the shadow still waits; drain() waits for the shadow."""
    go = asyncio.Event()

    async def slow(_request: Any) -> dict[str, Any]:
        await go.wait()
        return {"prediction": "slow"}

    async def quick(_request: Any) -> dict[str, Any]:
        return {"prediction": "quick"}

    router = bench.router(baseline=quick, candidate=slow)
    assert (await router.predict({}, request_id="r-1"))["prediction"] == "quick"
    assert router.running_shadows == 1
    assert await router.drain(0.01) == 1

    go.set()
    assert await router.drain(5) == 0
    assert bench.sink.of(Arm.CANDIDATE).label == "slow"


async def test_an_object_with_an_async_call_is_async(bench: Bench) -> None:
    """Wrappers with ``async def __call__`` need no declaration."""

    class Model:
        async def __call__(self, request: Any) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"prediction": "awaited"}

    assert (await bench.router(baseline=Model()).predict({}, request_id="r"))["prediction"] == "awaited"


async def test_a_plain_function_that_gives_an_awaitable_is_told_so(bench: Bench) -> None:
    """A coroutine handed out of the executor can never be awaited there."""

    async def answer() -> None: ...

    router = bench.router(baseline=lambda _: answer())

    with pytest.raises(TypeError, match="async def"):
        await router.predict({}, request_id="r-1")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_shadow_that_takes_too_long_is_a_timeout(bench: Bench, kind: str) -> None:
    """The event says how long was waited; the request was answered long before."""
    release = threading.Event()

    async def hangs_async(_request: Any) -> Any:
        await asyncio.sleep(60)

    def hangs(_request: Any) -> Any:
        release.wait(10)

    router = bench.router(
        candidate=hangs if kind == "sync" else hangs_async, shadow_timeout_ms=30, shadow_first_ratio=0
    )
    assert (await router.predict({}, request_id="r-1"))["prediction"] == "old"
    assert await router.drain(10) == 0

    event = bench.sink.of(Arm.CANDIDATE)
    assert (event.status, event.error_type) == (Status.TIMEOUT, "timeout")
    assert event.latency_ms >= 30
    release.set()


async def test_a_hung_shadow_does_not_stop_the_requests(bench: Bench) -> None:
    """Its thread is left behind after the timeout, the arm is not asked for a while, the primary goes on."""
    release = threading.Event()
    router = bench.router(
        candidate=lambda _: release.wait(20), shadow_timeout_ms=20, shadow_first_ratio=1, hangs_to_open=2,
        breaker_ms=60_000,
    )  # fmt: skip

    answers = [(await router.predict({}, request_id=f"r-{i}"))["prediction"] for i in range(6)]
    await router.drain(10)
    release.set()

    assert answers == ["old"] * 6
    ends = [(e.status, e.error_type) for e in bench.sink.events if e.arm is Arm.CANDIDATE]
    assert ends == [(Status.TIMEOUT, "timeout")] * 2 + [(Status.SHED, BREAKER_OPEN)] * 4


async def test_a_primary_that_takes_too_long_raises_timeout(bench: Bench) -> None:
    """The caller is told which arm and how long; the event is a timeout."""
    release = threading.Event()
    router = bench.router(baseline=lambda _: release.wait(20), primary_timeout_ms=20, shadow_first_ratio=0)

    with pytest.raises(TimeoutError, match=r"baseline \(v1\) gave no answer within 20 ms"):
        await router.predict({}, request_id="r-1")
    release.set()
    await router.drain()

    assert bench.sink.of(Arm.BASELINE).status is Status.TIMEOUT
    assert bench.sink.of(Arm.CANDIDATE).status is Status.OK


async def test_overload_sheds_the_shadow_not_the_request(bench: Bench) -> None:
    """Above the bound the other arm is not called; an event says that it was not asked."""
    asked = itertools.count()
    go = asyncio.Event()

    async def waits(_request: Any) -> dict[str, Any]:
        next(asked)
        await go.wait()
        return {}

    async def quick(_request: Any) -> dict[str, Any]:
        return {"prediction": "quick"}

    router = bench.router(baseline=quick, candidate=waits, max_concurrent_shadows=3)
    answers = [await router.predict({}, request_id=f"r-{i}") for i in range(10)]
    go.set()
    await router.drain()

    assert len(answers) == 10
    shadow = [e for e in bench.sink.events if e.role is Role.SHADOW]
    assert [(e.status, e.error_type) for e in shadow].count((Status.SHED, OVERLOAD)) == 7
    assert next(asked) == 3
    assert {e.request_id for e in shadow} == {f"r-{i}" for i in range(10)}


@pytest.mark.parametrize("mirror_ratio", [0.0, 0.4, 1.0])
async def test_requests_that_are_not_mirrored_say_so(bench: Bench, mirror_ratio: float) -> None:
    """Every request has two events; what was not asked is shed, never missing."""
    router = bench.router(mirror_ratio=mirror_ratio, seed=1)
    for i in range(100):
        await router.predict({}, request_id=f"r-{i}")
    await router.drain()

    shadow = [e for e in bench.sink.events if e.role is Role.SHADOW]
    shed = [e for e in shadow if (e.status, e.error_type) == (Status.SHED, NOT_MIRRORED)]
    assert len(shadow) == 100
    assert len(shed) == {0.0: 100, 1.0: 0}.get(mirror_ratio, len(shed))
    assert abs(len(shed) - 100 * (1 - mirror_ratio)) < 20


async def test_a_caller_that_goes_away_blames_nobody(bench: Bench) -> None:
    """The primary's event is shed, not an error; the shadow ends by itself."""

    async def waits(_request: Any) -> Any:
        await asyncio.sleep(60)

    router = bench.router(baseline=waits)
    task = asyncio.create_task(router.predict({}, request_id="r-1"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await router.drain()

    primary = bench.sink.of(Arm.BASELINE)
    assert (primary.status, primary.error_type) == (Status.SHED, "cancelled")
    assert bench.sink.of(Arm.CANDIDATE).status is Status.OK


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_model_can_read_its_role(bench: Bench, kind: str) -> None:
    """``current_role`` is set in the call, in the thread too, and nowhere else."""

    def role(_request: Any) -> dict[str, Any]:
        return {"prediction": str(current_role.get())}

    async def role_async(request: Any) -> dict[str, Any]:
        return role(request)

    model = role if kind == "sync" else role_async
    router = bench.router(baseline=model, candidate=model, arm=Arm.CANDIDATE)
    await router.predict({}, request_id="r-1")
    await router.drain()

    assert (bench.sink.of(Arm.CANDIDATE).label, bench.sink.of(Arm.BASELINE).label) == ("primary", "shadow")
    assert current_role.get() is None


async def test_latency_is_service_time_whatever_the_place(bench: Bench) -> None:
    """On a clock that only calls move, both arms show their own time, first or second, queued or not."""
    clock = {"s": 0.0}

    def takes(seconds: float) -> Callable[[Any], dict[str, Any]]:
        def predict(_request: Any) -> dict[str, Any]:
            clock["s"] += seconds
            return {}

        return predict

    router = bench.router(takes(0.25), takes(0.5), timer=lambda: clock["s"], seed=3)
    await asyncio.gather(*(router.predict({}, request_id=f"r-{i}") for i in range(40)))
    await router.drain()

    for arm, latency_ms in ((Arm.BASELINE, 250.0), (Arm.CANDIDATE, 500.0)):
        assert {e.latency_ms for e in bench.sink.events if e.arm is arm} == {latency_ms}
    assert len(bench.sink.events) == 80


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.5, 400, 600), (1.0, 1000, 1000)])
async def test_which_arm_goes_first_is_drawn_at_random(bench: Bench, ratio: float, least: int, most: int) -> None:
    """At the default each arm is second as often as the other, so what a place costs hits both."""
    order: list[Role | None] = []

    def notes(_request: Any) -> dict[str, Any]:
        order.append(current_role.get())
        return {}

    router = bench.router(notes, notes, shadow_first_ratio=ratio, seed=11)
    for i in range(1000):
        await router.predict({}, request_id=f"r-{i}")
        await router.drain()

    assert least <= order[::2].count(Role.SHADOW) <= most
    assert order.count(Role.SHADOW) == 1000


async def test_a_given_executor_is_used_and_left_open(bench: Bench) -> None:
    """Who brings an executor keeps it."""
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        router = bench.router(lambda _: {"prediction": threading.current_thread().name}, executor=executor)
        answer = await router.predict({}, request_id="r-1")
        await router.aclose()

        assert answer["prediction"].startswith("mine")
        assert executor.submit(int).result(5) == 0


async def test_a_closed_executor_sheds(bench: Bench) -> None:
    """Requests during shutdown fail clearly, and no arm is blamed."""
    router = bench.router()
    await router.predict({}, request_id="r-0")
    await router.aclose()
    bench.sink.events.clear()

    with pytest.raises(TimeoutError, match="not asked: executor_closed"):
        await router.predict({}, request_id="r-1")
    assert {e.status for e in bench.sink.events} == {Status.SHED}


async def test_pairs_are_handed_out_once_with_both_ends(bench: Bench) -> None:
    """``on_pair`` sees both results of every request; errors of hooks go no further."""
    pairs: list[Pair] = []

    def on_pair(pair: Pair) -> None:
        pairs.append(pair)
        raise RuntimeError

    seen: list[tuple[Arm, Role, str]] = []
    router = bench.router(
        candidate=fails, on_pair=on_pair, on_error=lambda arm, role, e: seen.append((arm, role, str(e)))
    )
    await router.predict({"x": 1}, request_id="r-1", segments={"origin": "EWR"})
    await router.drain()

    (pair,) = pairs
    assert (pair.request_id, pair.event_at_ms, pair.primary, pair.segments) == (
        "r-1",
        AT_MS,
        Arm.BASELINE,
        {"origin": "EWR"},
    )
    assert pair.baseline.answer["prediction"] == "old"
    assert (pair.candidate.status, pair.candidate.answer) == (Status.ERROR, None)
    assert seen == [(Arm.CANDIDATE, Role.SHADOW, "bad features")]
    assert router.hook_errors == 1


@pytest.mark.parametrize(
    "options",
    [{"mirror_ratio": 1.5}, {"shadow_first_ratio": -1}, {"shadow_timeout_ms": 0}, {"max_concurrent_shadows": -1}],
)
async def test_settings_out_of_range_are_refused(bench: Bench, options: dict[str, Any]) -> None:
    """A wrong number is a ConfigError at start."""
    with pytest.raises(ConfigError):
        bench.router(**options)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ARMS), ACTS, ACTS), min_size=1, max_size=12),
    st.floats(0, 1), st.integers(0, 5),
)  # fmt: skip
def test_every_request_leaves_one_event_per_arm(
    requests: list[tuple[Arm, str, str]], shadow_first_ratio: float, max_shadows: int
) -> None:
    """Whatever the arms do, each request has one primary and one shadow event; callers get the primary's end."""

    def model(index: int) -> Callable[[Any], Any]:
        def predict(request: tuple[Arm, str, str]) -> Any:
            if request[index] == "raise":
                raise ValueError
            return object() if request[index] == "odd" else {"prediction": str(index)}

        return predict

    bench = Bench()

    async def run() -> None:
        router = bench.router(
            model(1), model(2), choose=lambda key: requests[int(key)][0], shadow_first_ratio=shadow_first_ratio,
            max_concurrent_shadows=max_shadows,
        )  # fmt: skip
        calls = [router.predict(r, request_id=f"r-{i}", key=str(i)) for i, r in enumerate(requests)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert await router.aclose() == 0
        for request, answer in zip(requests, answers, strict=True):
            acts = request[1 + ARMS.index(request[0])]
            assert isinstance(answer, ValueError) == (acts == "raise")

    asyncio.run(run())
    keys = sorted((e.request_id, e.arm, e.role) for e in bench.sink.events)
    wanted = [
        (f"r-{i}", arm, Role.PRIMARY if arm is r[0] else Role.SHADOW)
        for i, r in enumerate(requests)
        for arm in ARMS
    ]
    assert keys == sorted(wanted)
