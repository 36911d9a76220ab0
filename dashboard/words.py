"""Words: numbers of a review as people read them. What is not known is ``n/a``, never 0."""

from __future__ import annotations

import math

from paritygate.gates.reasons import UNKNOWN, milliseconds, size


def amount(value: float | None, unit: str, *, signed: bool = False) -> str:
    """A value in its unit: ``1.2 %``, ``43.1 ms``, ``12,034``; ``signed`` for differences."""
    if value is None or not math.isfinite(value):
        return "never" if value == math.inf and unit == "ms" else UNKNOWN
    sign = "+" if signed and value > 0 else ""
    told = {
        "ratio": f"{sign}{100 * value:.3g}{' pp' if signed else ' %'}",
        "ms": f"{sign if value >= 0 else '-'}{milliseconds(abs(value))}",
        "count": f"{sign}{value:,.0f}",
        "hours": f"{value:.2f} h",
        "bytes": f"{sign if value >= 0 else '-'}{size(abs(value))}",
        "per_s": f"{sign}{value:,.3g} /s" if value < 1000 else f"{sign}{value:,.0f} /s",
        "%": f"{value:+.3g} %",
    }
    return told.get(unit, f"{sign}{value:.4g}")


def bounds(low: float | None, high: float | None, unit: str) -> str:
    """`` [low, high]``; nothing where neither is known."""
    if low is None or high is None:
        return ""
    return f" [{amount(low, unit, signed=True)}, {amount(high, unit, signed=True)}]"


def measured(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """A value with its interval where it has one: ``0.63 % [0.47 %, 0.83 %]``; nothing without a value."""
    if value is None:
        return ""
    around = "" if low is None and high is None else f" [{amount(low, unit)}, {amount(high, unit)}]"
    return f"{amount(value, unit)}{around}"
