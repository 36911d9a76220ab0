"""Truth: what a power report assumes of a healthy candidate, since nobody has measured it yet.

Law: every assumption stands in this table with its default and bounds, is printed with the report, and can be
overridden by name. None of them is used in a verdict.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from paritygate.schemas.errors import ConfigError


def _assumed(default: float, meaning: str, low: float, high: float) -> Any:
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Assumed values; rates and ratios in 0..1. Read the table with :func:`assumptions`."""

    error_rate: float = _assumed(0.003, "share of requests that the baseline fails", 0.0, 0.5)
    error_ratio: float = _assumed(1.0, "candidate's error rate over the baseline's", 0.0, 100.0)
    timeout_rate: float = _assumed(0.001, "share of requests that the baseline answers too late", 0.0, 0.5)
    failed_together_ratio: float = _assumed(0.0, "share of failures that strike both answers of a pair", 0.0, 1.0)
    invalid_rate: float = _assumed(0.001, "share of outputs that break an output rule", 0.0, 0.5)
    label_change_rate: float = _assumed(0.01, "share of pairs whose label changes", 0.0, 0.5)
    output_change_rate: float = _assumed(0.01, "share of pairs whose output changes beyond tolerance", 0.0, 0.5)
    latency_ratio: float = _assumed(1.0, "candidate's latency over the baseline's", 0.01, 100.0)
    latency_sigma: float = _assumed(0.6, "standard deviation of the log of a latency (lognormal)", 0.01, 5.0)
    latency_correlation: float = _assumed(0.7, "correlation of the log latencies of a pair", -0.99, 0.99)
    latency_to_limit_ratio: float = _assumed(0.8, "candidate's quantile over a limit in ms", 0.01, 10.0)
    score_delta: float = _assumed(0.0, "mean score difference, candidate minus baseline", -0.99, 0.99)
    score_delta_sd: float = _assumed(0.22, "standard deviation of a pair's score difference", 0.001, 1.0)
    number_ratio: float = _assumed(1.0, "candidate's number in an event over the baseline's", 0.01, 100.0)
    number_sigma: float = _assumed(1.0, "standard deviation of the log of such a number (lognormal)", 0.01, 3.0)
    number_correlation: float = _assumed(0.7, "correlation of the logs of a pair's numbers", -0.99, 0.99)
    number_to_cap_ratio: float = _assumed(0.05, "median of the baseline's numbers over the gate's cap", 1e-4, 1.0)
    number_delta: float = _assumed(0.0, "mean difference of numbers in 0..1, candidate less baseline", -0.99, 0.99)
    number_delta_sd: float = _assumed(0.2, "standard deviation of a pair's difference of it", 0.001, 1.0)
    scored_ratio: float = _assumed(0.01, "share of pairs of which both answers are scored", 1e-9, 1.0)
    scored_delay_seconds: float = _assumed(0.0, "seconds from an answer to its score", 0.0, 1e7)
    instances: float = _assumed(1.0, "instances of the candidate that run", 1e-3, 1e5)
    mirror_ratio: float = _assumed(1.0, "share of requests that reach both arms", 1e-6, 1.0)

    def with_assumption(self, name: str, value: float) -> Self:
        """The same with one value changed.

        :raises ConfigError: unknown name, or a value that makes no sense for it.
        """
        row = next((f for f in fields(self) if f.name == name), None)
        if row is None:
            close = difflib.get_close_matches(name, [f.name for f in fields(self)], n=1, cutoff=0.5)
            hint = (
                f", did you mean {close[0]}?" if close else f" (known: {', '.join(f.name for f in fields(self))})"
            )
            raise ConfigError(f"unknown assumption {name}{hint}")
        low, high = row.metadata["low"], row.metadata["high"]
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(f"assumption {name} lies in {low:g}..{high:g}, not {value:g}")
        return replace(self, **{name: float(value)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One row of the table."""

    name: str
    value: float
    meaning: str


def assumptions(truth: Truth) -> tuple[Assumption, ...]:
    """Name, value and meaning of everything that is assumed."""
    return tuple(
        Assumption(name=f.name, value=getattr(truth, f.name), meaning=f.metadata["meaning"]) for f in fields(truth)
    )


def parse_assumptions(texts: Mapping[str, str]) -> Truth:
    """The defaults with ``name -> number`` overrides.

    :raises ConfigError: unknown name, no number, or a value out of bounds.
    """
    truth = Truth()
    for name, text in texts.items():
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(f"assumption {name} must be a number, not {text!r}") from None
        truth = truth.with_assumption(name, value)
    return truth
