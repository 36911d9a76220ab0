"""Cases: which gate meets which stream, and whether that stream is within its limit, at it, or beyond.

Law: "at the limit" is within and beyond at once: neither a rollback nor a promotion is right there, and each
is counted. A known weakness is declared with its reason, never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from calibrating import confidences, events, fleets, latencies, numbers, rates, reviews, shares, slow_minutes
from calibrating.confidences import Confidences
from calibrating.events import Events
from calibrating.fleets import Fleet
from calibrating.latencies import Pairs
from calibrating.numbers import Cited, Tokens
from calibrating.outcome import Outcome
from calibrating.rates import Segmented
from calibrating.reviews import Reviews
from calibrating.shares import Labels
from calibrating.traffic import Traffic
from paritygate.gates.spec import GateSpec, parse_gates

Simulate = Callable[[int, np.random.Generator], tuple[Outcome, dict[str, Outcome]]]

BURSTS: Final = (
    "requests of one instance do not fail independently; per-request tests take a burst for a trend."
    " `tolerate_bursts` judges by instance and minute, at a price in time."
)
STORM: Final = "both arms fail 3 % on average, three times the limit; a few bursts must tell them apart"
LATE: Final = (
    "delays are pairs since the start of the rollout; the fault begins at 20,000."
    " The gate asks for a million samples, so that it promotes nothing before."
)
#: Nothing is promoted before its fault begins.
NEVER_PROVEN: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. ``chunk``: runs simulated at once, which decides memory and, with the seed, the numbers.

    ``times``: so many times the runs of other rows, where a rate lies too near 5 % for fewer to tell; a fourth
    where the fault is so far beyond the limit that only the delay is of interest.
    """

    gate: str
    case: str
    simulate: Simulate
    within: bool
    beyond: bool
    chunk: int = 200
    times: float = 1
    note: str | None = None
    known_weakness: bool = False

    @property
    def slow(self) -> bool:
        """Judged by histograms at every look: the quick mode leaves it out."""
        return self.gate.startswith("latency")


def _gate(**entry: Any) -> GateSpec:
    name = str(entry.pop("name"))
    return parse_gates({name: entry})[0]


ERRORS: Final = _gate(name="error_rate", maximum=0.01)
REGRESSION: Final = _gate(name="error_regression", measure="error_rate", maximum_regression_percent=50)
SCHEMA: Final = _gate(name="schema_validation_pass_rate", minimum=0.995)
LABELS: Final = _gate(name="label_change_rate", maximum=0.05)
SHIFT: Final = _gate(name="label_shift", maximum=0.05)
CONFIDENCE: Final = _gate(name="confidence_shift", maximum=0.1)
TOKENS: Final = _gate(name="completion_tokens", maximum_regression_percent=10, cap=4096)
CITED: Final = _gate(name="citation_rate", minimum_delta=-0.02)
TIMEOUTS: Final = _gate(name="timeout_rate", maximum=0.01)
OUTPUTS: Final = _gate(name="output_change_rate", maximum=0.1)
TOLERANT: Final = _gate(name="error_rate", maximum=0.01, tolerate_bursts=True)
TOLERANT_REGRESSION: Final = _gate(
    name="error_regression", measure="error_rate", maximum_regression_percent=50, tolerate_bursts=True
)
#: 5 % of the minutes 20 times as sick in both arms.
INCIDENTS: Final = Traffic(baseline=0.003, candidate=0.003, incidents=0.05, looks=1000)
SEGMENT_GATES: Final = (ERRORS, SCHEMA, REGRESSION, LABELS, OUTPUTS)


def cases() -> Iterator[Case]:
    """All rows, in the order of the table."""
    yield from _absolute()
    yield from _schema()
    yield from _relative()
    yield from _tolerant()
    yield from _latency()
    yield from _tolerant_latency()
    yield from _reviews()
    yield from _events()
    yield from _labels()
    yield from _label_shift()
    yield from _confidence_shift()
    yield from _numbers()
    yield from _timeouts()
    yield from _segments()


def _rate(gate: GateSpec, label: str, case: str, stream: Traffic, truth: str, **more: Any) -> Case:
    return _case(label, case, partial(rates.simulate, gate, stream), truth, **more)


def _case(label: str, case: str, simulate: Simulate, truth: str, **more: Any) -> Case:
    within, beyond = truth in ("within", "at"), truth in ("at", "beyond")
    if not within and not case.startswith("just beyond"):
        more.setdefault("times", 0.25)
    return Case(gate=label, case=case, simulate=simulate, within=within, beyond=beyond, **more)


def _absolute() -> Iterator[Case]:
    row = partial(_rate, ERRORS, "error_rate maximum 1 %")
    healthy = Traffic(baseline=0.003, candidate=0.003)
    yield row("0.3 % in both arms", healthy, "within")
    yield row("0.3 % in both arms, 100,000 requests", replace(healthy, looks=2000), "within", chunk=50)
    yield row("exactly at the limit", Traffic(baseline=0.003, candidate=0.01), "at")
    yield row(
        "exactly at the limit, 100,000 requests",
        Traffic(baseline=0.003, candidate=0.01, looks=2000),
        "at",
        chunk=50,
    )
    yield row("exactly at the limit, canary 25 %", Traffic(baseline=0.003, candidate=0.01, weight=0.25), "at")
    yield row("incidents in both arms, 5 % of the minutes 20 times as sick", INCIDENTS, "within")
    yield row("incidents in both arms, canary 25 %", replace(INCIDENTS, weight=0.25), "within")
    yield row(
        "mild incidents in both arms, 30 % of the minutes 6 times as sick",
        replace(INCIDENTS, incidents=0.3, sickness=6.0),
        "within",
    )
    yield row(
        "baseline above the limit too, 2 %",
        Traffic(baseline=0.02, candidate=0.02),
        "at",
        note="the environment's doing, so no rollback; but the limit is broken, so no promotion",
    )
    yield row(
        "bursts of one instance, 1 an hour, 0.8 % on average",
        Traffic(baseline=0.003, candidate=0.003, bursts_an_hour=1.0, looks=1200),
        "within",
        chunk=80,
        note=BURSTS,
        known_weakness=True,
    )
    yield row(
        "sticky tenants of unequal rates, canary 5 %",
        Traffic(baseline=0.003, candidate=0.003, weight=0.05, sticky=True, unlike=0.5),
        "within",
    )
    yield row("just beyond, 1.1 %", Traffic(baseline=0.003, candidate=0.011), "beyond")
    yield row("errors 5 %", Traffic(baseline=0.003, candidate=0.05), "beyond")
    yield row("errors 5 %, canary 25 %", Traffic(baseline=0.003, candidate=0.05, weight=0.25), "beyond")
    held = replace(ERRORS, minimum_samples=NEVER_PROVEN)
    late = Traffic(baseline=0.003, candidate=0.05, looks=600, onset=400)
    yield _rate(held, "error_rate maximum 1 %", "errors 5 % later", late, "beyond", note=LATE)


def _schema() -> Iterator[Case]:
    row = partial(_rate, SCHEMA, "schema_validation_pass_rate minimum 99.5 %")
    yield row("0.1 % invalid in both arms", Traffic(baseline=0.001, candidate=0.001), "within")
    yield row("exactly at the limit", Traffic(baseline=0.001, candidate=0.005), "at")
    yield row("just beyond, 0.55 %", Traffic(baseline=0.001, candidate=0.0055, looks=1000), "beyond")
    yield row("schema failures 2 %", Traffic(baseline=0.001, candidate=0.02), "beyond")


def _relative() -> Iterator[Case]:
    row = partial(_rate, REGRESSION, "error_rate regression +50 %")
    yield row("0.3 % in both arms", Traffic(baseline=0.003, candidate=0.003), "within")
    yield row("exactly at the limit", Traffic(baseline=0.003, candidate=0.0045, looks=1000), "at")
    yield row("exactly at the limit, nothing common", Traffic(baseline=0.02, candidate=0.03, common=0.0), "at")
    yield row("exactly at the limit, canary 25 %", Traffic(baseline=0.003, candidate=0.0045, weight=0.25), "at")
    yield row("incidents in both arms", INCIDENTS, "within")
    yield row("incidents in both arms, canary 25 %", replace(INCIDENTS, weight=0.25), "within")
    yield row(
        "sticky tenants alike, canary 5 %",
        Traffic(baseline=0.003, candidate=0.003, weight=0.05, sticky=True, looks=1000),
        "within",
    )
    yield row(
        "sticky tenants of unequal rates, canary 5 %",
        Traffic(baseline=0.003, candidate=0.003, weight=0.05, sticky=True, unlike=0.5, looks=1000),
        "within",
    )
    yield row(
        "bursts of one instance, 0.2 an hour",
        Traffic(baseline=0.003, candidate=0.003, bursts_an_hour=0.2, looks=1200),
        "within",
        chunk=80,
        note=BURSTS,
        known_weakness=True,
    )
    yield row(
        "bursts of one instance, 1 an hour",
        Traffic(baseline=0.003, candidate=0.003, bursts_an_hour=1.0, looks=1200),
        "within",
        chunk=80,
        note=BURSTS,
        known_weakness=True,
    )
    yield row("just beyond, +60 %", Traffic(baseline=0.003, candidate=0.0048, looks=1000), "beyond")
    yield row("errors x2", Traffic(baseline=0.003, candidate=0.006, looks=2000), "beyond", chunk=50)
    yield row("errors x3", Traffic(baseline=0.003, candidate=0.009), "beyond")
    yield row("errors 5 %", Traffic(baseline=0.003, candidate=0.05), "beyond")


def _tolerant() -> Iterator[Case]:
    """Gates that let one instance fail for a minute."""
    yield from _tolerant_absolute()
    yield from _tolerant_relative()


def _fleet(gate: GateSpec, label: str, case: str, stream: Fleet, truth: str, **more: Any) -> Case:
    return _case(
        f"{label}, tolerates bursts", case, partial(fleets.simulate, gate, stream), truth, chunk=80, **more
    )


def _tolerant_absolute() -> Iterator[Case]:
    healthy, late = Fleet(), Fleet(onset=400)
    row = partial(_fleet, TOLERANT, "error_rate maximum 1 %")
    hourly = replace(healthy, bursts_an_hour=1.0)
    yield row("bursts of one instance, 1 an hour, 0.8 % on average", hourly, "within")
    yield row("bursts of one instance, 1 an hour, of 40 %", replace(hourly, burst_rate=0.4), "within")
    for often in (0.2, 1.0, 4.0):
        stream = replace(healthy, bursts_an_hour=often)
        yield row(f"bursts, {often:g} an hour, 19 and 1 instances", replace(stream, instances=(19, 1)), "within")
        yield row(f"bursts, {often:g} an hour, 4 and 4 instances", replace(stream, instances=(4, 4)), "within")
    two = replace(hourly, longest=2)
    yield row("bursts of 1 or 2 minutes, 1 an hour, 19 and 1 instances", replace(two, instances=(19, 1)), "within")
    yield row("bursts of 1 or 2 minutes, 1 an hour, 4 and 4 instances", replace(two, instances=(4, 4)), "within")
    stormy = replace(two, bursts_an_hour=4.0)
    for instances in ((1, 1), (4, 4)):
        yield row(
            f"bursts of 1 or 2 minutes, 4 an hour, {instances[0]} and {instances[1]} instances",
            replace(stormy, instances=instances),
            "within",
            note=STORM,
            known_weakness=instances == (1, 1),
        )
    yield row("exactly at the limit", replace(healthy, candidate=0.01), "at", times=4)
    yield row(
        "exactly at the limit, half of it in bursts",
        replace(hourly, candidate=0.005),
        "within",
        note="what is promised is the rate outside of bursts, and the reason of a pass says so",
    )
    yield _fleet(
        replace(TOLERANT, max_bursts_to_exclude_per_hour=1.0),
        "error_rate maximum 1 %",
        "exactly at the limit, half of it in bursts, which a pass must exclude",
        replace(hourly, candidate=0.005, instances=(4, 4), looks=2400),
        "at",
        note="4 instances of the candidate for 2 hours; exactly as often as must be excluded, 1 an hour",
    )
    yield row("incidents in both arms", replace(healthy, incidents=0.05), "within")
    yield row(
        "incidents in both arms, 4 and 4 instances", replace(healthy, incidents=0.05, instances=(4, 4)), "within"
    )
    yield row("errors 5 %", replace(healthy, candidate=0.05), "beyond")
    yield row("errors 5 %, 4 and 4 instances", replace(healthy, candidate=0.05, instances=(4, 4)), "beyond")
    yield row("just beyond, 1.5 %", replace(healthy, candidate=0.015), "beyond")
    held = partial(_fleet, replace(TOLERANT, minimum_samples=NEVER_PROVEN), "error_rate maximum 1 %", note=LATE)
    for instances in ((1, 1), (19, 1), (4, 4)):
        fleet = replace(late, instances=instances)
        where = f", {instances[0]} and {instances[1]} instances" if instances != (1, 1) else ""
        yield held(f"errors 5 % later{where}", replace(fleet, candidate=0.05), "beyond")
        yield held(f"errors 30 % later{where}", replace(fleet, candidate=0.3), "beyond")


def _tolerant_relative() -> Iterator[Case]:
    healthy, late = Fleet(), Fleet(onset=400)
    row = partial(_fleet, TOLERANT_REGRESSION, "error_rate regression +50 %")
    for often in (0.2, 1.0, 4.0):
        stream = replace(healthy, bursts_an_hour=often)
        yield row(f"bursts of one instance, {often:g} an hour", stream, "within")
        yield row(f"bursts, {often:g} an hour, 19 and 1 instances", replace(stream, instances=(19, 1)), "within")
        yield row(f"bursts, {often:g} an hour, 4 and 4 instances", replace(stream, instances=(4, 4)), "within")
    yield row("exactly at the limit", replace(healthy, candidate=0.0045), "at")
    yield row("incidents in both arms", replace(healthy, incidents=0.05), "within")
    yield row("errors x2", replace(healthy, candidate=0.006), "beyond")
    yield row("errors x3", replace(healthy, candidate=0.009), "beyond")
    yield row("errors x3, 4 and 4 instances", replace(healthy, candidate=0.009, instances=(4, 4)), "beyond")
    yield row("errors 5 %", replace(healthy, candidate=0.05), "beyond")
    held = replace(TOLERANT_REGRESSION, minimum_samples=NEVER_PROVEN)
    later = partial(_fleet, held, "error_rate regression +50 %", note=LATE)
    for instances in ((1, 1), (19, 1), (4, 4)):
        where = f", {instances[0]} and {instances[1]} instances" if instances != (1, 1) else ""
        yield later(f"errors 30 % later{where}", replace(late, candidate=0.3, instances=instances), "beyond")


def _latency() -> Iterator[Case]:
    def row(case: str, stream: Pairs, truth: str, **more: Any) -> Case:
        least = NEVER_PROVEN if stream.onset else latencies.LEAST_PAIRS
        simulate = partial(latencies.simulate, stream, least)
        return _case("latency_p95_ms regression +10 %", case, simulate, truth, **{"chunk": 50, **more})

    yield row("equal", Pairs(), "within")
    yield row("exactly at the limit", Pairs(factor=1.1), "at")
    yield row("exactly at the limit, shared load", Pairs(factor=1.1, load=0.3, looks=200, window=100), "at")
    yield row("incidents in both arms, 3 times slower", Pairs(incidents=0.05, looks=200, window=100), "within")
    yield row(
        "bursts of one instance, 1 an hour, 3 times slower",
        Pairs(bursts_an_hour=1.0, looks=1200),
        "within",
        chunk=20,
        note=BURSTS,
        known_weakness=True,
    )
    yield row("just beyond, +12 %", Pairs(factor=1.12), "beyond")
    yield row("latency +20 %", Pairs(factor=1.2), "beyond")
    yield row("latency +30 %", Pairs(factor=1.3), "beyond")
    yield row("latency +60 %", Pairs(factor=1.6, looks=200), "beyond")
    yield row("latency +30 % later", Pairs(factor=1.3, looks=600, onset=400), "beyond", note=LATE, chunk=25)


def _tolerant_latency() -> Iterator[Case]:
    """One instance against one, looked at once a minute."""

    def row(case: str, stream: Pairs, truth: str, **more: Any) -> Case:
        least = NEVER_PROVEN if stream.onset else latencies.LEAST_PAIRS
        simulate = partial(slow_minutes.simulate, stream, least)
        return _case("latency_p95_ms regression +10 %, tolerates bursts", case, simulate, truth, chunk=20, **more)

    for often in (0.2, 1.0, 4.0):
        stream = Pairs(bursts_an_hour=often, looks=1200)
        yield row(f"bursts of one instance, {often:g} an hour, 3 times slower", stream, "within")
    yield row("exactly at the limit", Pairs(factor=1.1), "at")
    yield row("incidents in both arms, 3 times slower", Pairs(incidents=0.05), "within")
    yield row("latency +30 %", Pairs(factor=1.3), "beyond")
    yield row("3 times slower later", Pairs(factor=3.0, onset=400, looks=800), "beyond", note=LATE)


def _reviews() -> Iterator[Case]:
    def row(case: str, stream: Reviews, truth: str, note: str | None = None) -> Case:
        least = NEVER_PROVEN if stream.onset else reviews.LEAST_PAIRS
        simulate = partial(reviews.simulate, stream, least)
        return _case("human_review_score delta -0.02", case, simulate, truth, chunk=100, note=note)

    yield row("equal", Reviews(delta=0.0), "within")
    yield row("exactly at the limit", Reviews(delta=-0.02), "at")
    yield row("exactly at the limit, 2 % lose everything", Reviews(delta=-0.02, ruined=True), "at")
    yield row("just beyond, -0.022", Reviews(delta=-0.022), "beyond")
    yield row("score -0.05", Reviews(delta=-0.05), "beyond")
    later = LATE.replace("20,000", "2,000 reviews")
    yield row("score -0.05 later", Reviews(delta=-0.05, looks=600, onset=200), "beyond", later)


def _events() -> Iterator[Case]:
    def row(label: str, case: str, stream: Events, truth: str, note: str | None = None) -> Case:
        return _case(f"gpu_oom_events {label}", case, partial(events.simulate, stream), truth, chunk=500, note=note)

    counted = "delays are minutes of running time; one event too many fails at once, so no rate is a false one"
    strict, some = "maximum 0, excludes 1/h", "maximum 3, excludes 1/h"
    yield row(strict, "no event", Events(rate_per_hour=0.0, maximum=0), "within")
    yield row(strict, "exactly the rate to exclude", Events(rate_per_hour=1.0, maximum=0), "beyond", counted)
    yield row(strict, "2/h", Events(rate_per_hour=2.0, maximum=0), "beyond", counted)
    yield row(some, "exactly the rate to exclude", Events(rate_per_hour=1.0, maximum=3), "beyond", counted)
    yield row(some, "just beyond, 1.1/h", Events(rate_per_hour=1.1, maximum=3), "beyond", counted)


def _labels() -> Iterator[Case]:
    row = partial(_rate, LABELS, "label_change_rate maximum 5 %")
    yield row("2 % change", Traffic(baseline=0.0, candidate=0.02), "within")
    yield row("exactly at the limit", Traffic(baseline=0.0, candidate=0.05), "at")
    yield row("just beyond, 5.5 %", Traffic(baseline=0.0, candidate=0.055), "beyond")
    yield row("10 % change", Traffic(baseline=0.0, candidate=0.1), "beyond")


def _label_shift() -> Iterator[Case]:
    def row(case: str, stream: Labels, truth: str) -> Case:
        held = replace(SHIFT, minimum_samples=NEVER_PROVEN) if stream.onset else SHIFT
        simulate = partial(shares.simulate, held, stream)
        note = LATE if stream.onset else None
        return _case("label_shift maximum 5 %", case, simulate, truth, chunk=100, note=note)

    yield row("2 % change, every share stays", Labels(churn=0.02, shift=0.0), "within")
    yield row("exactly at the limit", Labels(churn=0.02, shift=0.05), "at")
    yield row("just beyond, 5.5 %", Labels(churn=0.02, shift=0.055), "beyond")
    yield row("8 % turn from one label to another", Labels(churn=0.02, shift=0.08), "beyond")
    yield row("20 % turn from one label to another", Labels(churn=0.02, shift=0.2), "beyond")
    later = Labels(churn=0.02, shift=0.2, looks=600, onset=400)
    yield row("20 % turn from one label to another later", later, "beyond")


def _confidence_shift() -> Iterator[Case]:
    def row(case: str, stream: Confidences, truth: str) -> Case:
        held = replace(CONFIDENCE, minimum_samples=NEVER_PROVEN) if stream.onset else CONFIDENCE
        simulate = partial(confidences.simulate, held, stream)
        note = LATE if stream.onset else None
        return _case("confidence_shift maximum 10 %", case, simulate, truth, chunk=100, note=note)

    yield row("equal", Confidences(lost=0.0), "within")
    yield row("exactly at the limit", Confidences(lost=0.1), "at")
    yield row("just beyond, 11 %", Confidences(lost=0.11), "beyond")
    yield row("20 % lose their confidence", Confidences(lost=0.2), "beyond")
    yield row("40 % lose their confidence", Confidences(lost=0.4), "beyond")
    yield row("40 % lose their confidence later", Confidences(lost=0.4, looks=600, onset=400), "beyond")


def _numbers() -> Iterator[Case]:
    def tokens(case: str, truth: str, sigma: float, ratio: float) -> Case:
        simulate = partial(numbers.simulate, TOKENS, Tokens(sigma=sigma, ratio=ratio))
        label = "completion_tokens regression +10 %"
        return _case(label, f"{case}, lognormal sigma {sigma:g}", simulate, truth, chunk=20)

    for sigma in (1.0, 2.0):
        yield tokens("equal", "within", sigma, 1.0)
        yield tokens("exactly at the limit", "at", sigma, 1.1)
        yield tokens("+15 %", "beyond", sigma, 1.15)
        yield tokens("+30 %", "beyond", sigma, 1.3)

    held, late = replace(TOKENS, minimum_samples=NEVER_PROVEN), Tokens(sigma=1.0, ratio=1.3, looks=600, onset=400)
    yield _case(
        "completion_tokens regression +10 %",
        "+30 % later, lognormal sigma 1",
        partial(numbers.simulate, held, late),
        "beyond",
        chunk=20,
        note=LATE,
    )

    def cited(case: str, truth: str, delta: float) -> Case:
        simulate = partial(numbers.simulate, CITED, Cited(delta=delta))
        return _case("citation_rate delta -0.02", case, simulate, truth, chunk=20)

    yield cited("equal", "within", 0.0)
    yield cited("exactly at the limit", "at", -0.02)
    yield cited("just beyond, -0.022", "beyond", -0.022)
    yield cited("-0.05", "beyond", -0.05)


def _timeouts() -> Iterator[Case]:
    row = partial(_rate, TIMEOUTS, "timeout_rate maximum 1 %")
    yield row("0.1 % in both arms", Traffic(baseline=0.001, candidate=0.001), "within")
    yield row("exactly at the limit", Traffic(baseline=0.001, candidate=0.01), "at")
    yield row("timeouts 3 %", Traffic(baseline=0.001, candidate=0.03), "beyond")


def _segments() -> Iterator[Case]:
    quiet = (0.003, 0.001, 0.003, 0.0, 0.0)

    def row(case: str, truth: str, note: str | None = None, **more: Any) -> Case:
        stream = Segmented(gates=SEGMENT_GATES, **{"baseline": quiet, **more})
        simulate = partial(rates.simulate_segments, stream)
        return _case("50 segments x 5 metrics", case, simulate, truth, chunk=50, note=note)

    healthy = (0.003, 0.001, 0.003, 0.02, 0.04)
    yield row("all well within", "within", candidate=healthy)
    at_limit = (0.01, 0.005, 0.0045, 0.05, 0.1)
    yield row("all exactly at the limit", "at", "any of five gates, each at 5 %", candidate=at_limit)
    shaken = (0.003, 0.0002, 0.003, 0.002, 0.004)
    yield row(
        "incidents in both arms",
        "within",
        baseline=(0.003, 0.0002, 0.003, 0.0, 0.0),
        candidate=shaken,
        incidents=0.05,
    )
    yield row("the 10th segment (2.2 %) fails half", "beyond", candidate=healthy, broken=9)
    yield row("the 40th segment (0.6 %) fails half", "beyond", candidate=healthy, broken=39)
