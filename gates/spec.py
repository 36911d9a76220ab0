"""GateSpec: one declared rule on one measure, and how ``promotion_gates`` is read.

Law: a gate that cannot mean anything is refused here, before anything starts: unknown words, no rule or two,
a limit outside what its measure can take, or one that no amount of data could ever prove.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from paritygate.comparators import latency
from paritygate.comparators.numbers import NumberRule
from paritygate.gates.measures import EVENTS_SOURCE, MEASURES, Kind, Measure, Rule, measure_named
from paritygate.schemas.errors import ConfigError

#: Names of checks that always run; no gate may take them.
RESERVED: Final = ("join_completeness", "informative_dropout", "sample_ratio", "segment_parity", "latency_parity")
#: Measures whose segments have an absolute limit of their own.
CHANGE_RATES: Final = ("label_change_rate", "output_change_rate")
#: Rates that the join counts by instance.
RATES_BY_INSTANCE: Final = ("error_rate", "schema_validation_pass_rate")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LARGEST_PERCENT: Final = 1000.0
_LARGEST_MS: Final = 2.0**21
_LARGEST_CAP: Final = 1e15


class GateError(ConfigError):
    """A gate cannot be used. ``path`` leads from ``promotion_gates`` to the place, ``what`` says what to mend."""

    def __init__(self, path: tuple[str, ...], what: str) -> None:
        self.path, self.what = path, what
        super().__init__(f"{'.'.join(('promotion_gates', *path))}: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """One gate. ``limit`` is in the measure's unit (ratio, ms, percent of regression, delta, events).

    ``required``: false for an advisory gate, judged and shown, never decisive. ``minimum_bad_events``: bad
    events before a rollback may rest on them. ``minimum_samples``: observations in the stage before a pass.
    ``max_rate_to_exclude_per_hour``: for event gates, the rate that a pass must have excluded.
    ``segment_maximum``: for change rates, the limit inside any one segment. ``tolerate_bursts``: for rates and
    latencies, that one instance may fail or be slow for a minute. ``max_bursts_to_exclude_per_hour``: then, how
    often that may begin in an instance; a pass must have excluded more. ``alpha_…``: this gate's own error rate
    in place of the rollout's.
    ``source``: ``events`` where the measure is a number that events carry, though no measure that is known as one.
    ``cap``: for means of such numbers, what each value is held to.
    """

    name: str
    measure: str
    rule: Rule
    limit: float
    required: bool = True
    minimum_bad_events: int = 3
    minimum_samples: int = 0
    max_rate_to_exclude_per_hour: float | None = None
    segment_maximum: float | None = None
    tolerate_bursts: bool = False
    max_bursts_to_exclude_per_hour: float | None = None
    alpha_rollback: float | None = None
    alpha_promote: float | None = None
    source: str | None = None
    cap: float | None = None

    @property
    def kind(self) -> Kind:
        """Which evidence the gate needs."""
        return measure_named(self.measure, self.source).kind

    @property
    def segment_limit(self) -> float:
        """For change rates: the limit in any one segment. Unless declared three times ``limit``, below 1."""
        if self.segment_maximum is not None:
            return self.segment_maximum
        return min(3.0 * self.limit, (1.0 + self.limit) / 2.0)

    def latency_shifts(self) -> tuple[int, ...]:
        """Bucket shifts whose difference arrays the join has to count for this gate."""
        if self.kind is Kind.LATENCY and self.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
            return latency.shifts(self.limit)
        return ()

    def number_rule(self) -> NumberRule | None:
        """The difference that the join has to count for this gate; None for gates on no number of the events."""
        if self.kind is not Kind.NUMBER:
            return None
        if self.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
            return NumberRule(self.measure, 1.0 + self.limit / 100.0, self.cap or 1.0)
        return NumberRule(self.measure, 1.0, 1.0)


def parse_gates(mapping: Mapping[str, Any]) -> tuple[GateSpec, ...]:
    """Read ``promotion_gates``: gate name -> rule and options; the order is kept.

    :raises GateError: with the path to the first thing that cannot be used.
    """
    if not isinstance(mapping, Mapping):
        raise GateError((), "must map gate names to rules, e.g. error_rate: {maximum: 0.01}")
    if not mapping:
        raise GateError((), "declares no gate, so nothing could ever be proven; add e.g. error_rate")
    return tuple(_gate(name, entry) for name, entry in mapping.items())


def _gate(name: object, entry: object) -> GateSpec:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GateError((str(name),), "is no gate name: use a-z, 0-9 and _, beginning with a letter")
    if name in RESERVED:
        raise GateError((name,), "is the name of a check that always runs; choose another name")
    if not isinstance(entry, Mapping):
        raise GateError((name,), "must be a mapping such as {maximum: 0.01}")
    for key in entry:
        if key not in _RULES and key not in _OPTIONS:
            raise GateError((name, str(key)), f"unknown key{suggestion(str(key), (*_RULES, *_OPTIONS))}")
    measure = _measure(name, entry)
    rule = _rule(name, entry, measure)
    limit = _limit(name, entry[rule.value], rule, measure)
    options = {key: check((name, key), entry[key]) for key, check in _OPTIONS.items() if key in entry}
    _refuse_misplaced(name, options, measure)
    _refuse_unbounded(name, options, rule, measure)
    advisory = options.pop("advisory", False)
    options.setdefault("minimum_samples", measure.minimum_samples)
    return GateSpec(
        **{**options, "name": name, "measure": measure.name, "rule": rule, "limit": limit, "required": not advisory}
    )


def _measure(name: str, entry: Mapping[str, Any]) -> Measure:
    """The measure a gate is on: that of its name, or of its key ``measure``."""
    path = (name, "measure") if "measure" in entry else (name,)
    wanted = entry.get("measure", name)
    if not isinstance(wanted, str) or not _NAME.fullmatch(wanted):
        raise GateError(path, "is no measure name: use a-z, 0-9 and _, beginning with a letter")
    source = _source((name, "source"), entry["source"]) if "source" in entry else None
    known = MEASURES.get(wanted)
    if known is not None:
        if source and known.kind is not Kind.NUMBER:
            raise GateError((name, "source"), f"{wanted} is counted by the join itself; leave source out")
        return known
    close = difflib.get_close_matches(wanted, MEASURES, n=1, cutoff=0.85)
    if close or (source is None and Rule.MINIMUM_DELTA not in entry):
        hint = suggestion(wanted, MEASURES) or f" (known: {', '.join(MEASURES)})"
        kinds = "outcome measures take minimum_delta, numbers of events need source: events"
        raise GateError(path, f"unknown measure{hint}; {kinds}")
    return measure_named(wanted, source)


def _rule(name: str, entry: Mapping[str, Any], measure: Measure) -> Rule:
    """The one rule of a gate."""
    found = [rule for rule in Rule if rule in entry]
    allowed = " or ".join(measure.rules)
    if not found:
        raise GateError((name,), f"has no rule; write one of: {allowed}")
    if len(found) > 1:
        raise GateError((name, found[1].value), f"a gate has one rule, this one also has {found[0].value}")
    if found[0] not in measure.rules:
        raise GateError((name, found[0].value), f"{measure.name} takes {allowed}")
    return found[0]


def _limit(name: str, value: object, rule: Rule, measure: Measure) -> float:
    """The limit as a number that makes sense for the rule and measure."""
    path = (name, rule.value)
    limit = _number(path, value)
    if rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        return _between(path, limit, 0.0, _LARGEST_PERCENT, "a regression in percent")
    if rule in (Rule.MINIMUM_DELTA, Rule.MAXIMUM_DELTA):
        if not -1.0 < limit < 1.0:
            raise GateError(path, f"a difference of scores lies inside -1..1, not {limit:g}")
        return limit
    if measure.kind is Kind.EVENTS:
        if limit < 0 or limit != int(limit):
            raise GateError(path, f"counts events, so it is a whole number from 0 on, not {limit:g}")
        return limit
    if measure.kind is Kind.LATENCY:
        if not 0.0 < limit < _LARGEST_MS:
            raise GateError(path, f"must lie above 0 and below {_LARGEST_MS:.0f} ms, not {limit:g}")
        return limit
    return _ratio(path, limit)


def _ratio(path: tuple[str, ...], limit: float) -> float:
    _between(path, limit, 0.0, 1.0, "a rate")
    if limit in (0.0, 1.0):
        nearest = "0.001" if limit == 0.0 else "0.999"
        raise GateError(
            path, f"{limit:g} can never be proven from a sample; write the most you can bear, e.g. {nearest}"
        )
    return limit


def _between(path: tuple[str, ...], value: float, low: float, high: float, noun: str) -> float:
    if not low <= value <= high:
        raise GateError(path, f"{noun} lies in {low:g}..{high:g}, not {value:g}")
    return value


def _number(path: tuple[str, ...], value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = f"text {value!r}" if isinstance(value, str) else repr(value)
        raise GateError(path, f"must be a number such as 0.01, not {shown}")
    if not math.isfinite(value):
        raise GateError(path, f"must be a finite number, not {value}")
    return float(value)


def _whole(path: tuple[str, ...], value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise GateError(path, f"must be a whole number from {least} on, not {value!r}")
    return value


def _alpha(path: tuple[str, ...], value: object) -> float:
    alpha = _number(path, value)
    if not 0.0 < alpha <= 0.5:
        raise GateError(path, f"is a chance of error: above 0 and at most 0.5, not {alpha:g}")
    return alpha


def _flag(path: tuple[str, ...], value: object) -> bool:
    if not isinstance(value, bool):
        raise GateError(path, f"must be true or false, not {value!r}")
    return value


def _rate_per_hour(path: tuple[str, ...], value: object) -> float:
    rate = _number(path, value)
    if rate <= 0.0:
        raise GateError(path, f"must be above 0 events per hour, not {rate:g}")
    return rate


def _refuse_misplaced(name: str, options: Mapping[str, Any], measure: Measure) -> None:
    """Options that would silently do nothing are mistakes."""
    if "max_rate_to_exclude_per_hour" in options and measure.kind is not Kind.EVENTS:
        raise GateError((name, "max_rate_to_exclude_per_hour"), "belongs to gpu_oom_events and pod_restarts only")
    if "segment_maximum" in options and measure.name not in CHANGE_RATES:
        raise GateError((name, "segment_maximum"), f"belongs to {' and '.join(CHANGE_RATES)} only")
    if "tolerate_bursts" in options and measure.kind not in {Kind.RATE, Kind.LATENCY}:
        raise GateError((name, "tolerate_bursts"), "belongs to gates on rates and latencies, such as error_rate")
    if "max_bursts_to_exclude_per_hour" in options:
        path = (name, "max_bursts_to_exclude_per_hour")
        if not options.get("tolerate_bursts"):
            raise GateError(path, "belongs to gates with tolerate_bursts: true; others take bursts for failures")
        if measure.kind is Kind.RATE and measure.name not in RATES_BY_INSTANCE:
            known = " and ".join(RATES_BY_INSTANCE)
            raise GateError(path, f"cannot be counted by instance: belongs to {known}, and latencies")
        if measure.name == "timeout_rate":
            raise GateError(path, "is not counted for timeouts; ask it of error_rate, which they are part of")


def _refuse_unbounded(name: str, options: Mapping[str, Any], rule: Rule, measure: Measure) -> None:
    """A mean can be judged at any time only if every value has a bound."""
    needs = measure.kind is Kind.NUMBER and rule is Rule.MAXIMUM_REGRESSION_PERCENT
    if "cap" in options and not needs:
        what = "belongs to maximum_regression_percent on numbers of events only; the values of deltas lie in 0..1"
        raise GateError((name, "cap"), what)
    if needs and "cap" not in options:
        what = f"{measure.name} has no bound of its own: write cap, what each value is held to, e.g. cap: 4096"
        raise GateError((name,), what)


def _source(path: tuple[str, ...], value: object) -> str:
    if value != EVENTS_SOURCE:
        raise GateError(path, f"must be {EVENTS_SOURCE} (numbers that events carry) or left out, not {value!r}")
    return EVENTS_SOURCE


def _cap(path: tuple[str, ...], value: object) -> float:
    cap = _number(path, value)
    if not 0.0 < cap <= _LARGEST_CAP:
        raise GateError(path, f"must lie above 0 and at most at {_LARGEST_CAP:g}, not {cap:g}")
    return cap


def suggestion(word: str, known: Iterable[str]) -> str:
    """``, did you mean …?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


_RULES: Final = tuple(rule.value for rule in Rule)
_OPTIONS: Final[dict[str, Callable[[tuple[str, ...], Any], Any]]] = {
    "measure": lambda _path, value: value,
    "advisory": _flag,
    "minimum_bad_events": lambda path, value: _whole(path, value, 1),
    "minimum_samples": lambda path, value: _whole(path, value, 0),
    "max_rate_to_exclude_per_hour": _rate_per_hour,
    "segment_maximum": lambda path, value: _ratio(path, _number(path, value)),
    "tolerate_bursts": _flag,
    "max_bursts_to_exclude_per_hour": _rate_per_hour,
    "alpha_rollback": _alpha,
    "alpha_promote": _alpha,
    "source": _source,
    "cap": _cap,
}
#: Every word that may stand in a gate, for schemas and completions.
KEYS: Final = (*_RULES, *_OPTIONS)
