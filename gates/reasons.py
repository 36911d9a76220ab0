"""Reasons: numbers as people read them, and as machines store them.

Law: a reason is one sentence with the counts it rests on; a stored number is finite and rounded, or None.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

#: What stands where nothing is known; never 0.
UNKNOWN: Final = "n/a"

#: Unit and its seconds, the next smaller unit and its seconds, how many of the unit make the next larger one.
_UNITS: Final = (("m", 60, "s", 1, 60), ("h", 3600, "m", 60, 24), ("d", 86_400, "h", 3600, math.inf))


def percent(ratio: float) -> str:
    """A ratio in percent with two significant digits beyond the point's needs: ``0.38 %``, ``12 %``, ``100 %``."""
    value = ratio * 100.0
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    digits = max(0, 1 - math.floor(math.log10(abs(value)))) if abs(value) < 99.5 else 1
    text = f"{value:.{min(digits, 6)}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def between(low: float, high: float) -> str:
    """An interval of ratios: ``0.1 % to 1.2 %``."""
    return f"{percent(low)} to {percent(high)}"


def many(count: int, noun: str) -> str:
    """A count with its noun: ``1 request``, ``2,031 requests``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some(bad: int, total: int, noun: str) -> str:
    """``47 of 2,031 requests``."""
    return f"{bad:,} of {many(total, noun)}"


def about(count: int | None) -> str:
    """How much is still needed: two significant digits are all that an estimate has."""
    if count is None:
        return "more"
    if count >= 100:
        unit = 10 ** (len(str(count)) - 2)
        count = -(-count // unit) * unit
    return f"about {count:,} more"


def milliseconds(value: float) -> str:
    """``0.42 ms``, ``43.1 ms``, ``1,240 ms``."""
    if value < 10.0:
        return f"{value:.2f} ms"
    return f"{value:.1f} ms" if value < 1000.0 else f"{value:,.0f} ms"


def size(value_bytes: float) -> str:
    """``512 bytes``, ``1.5 MiB``, ``812 MiB``, ``12.3 GiB``."""
    if value_bytes < 1024.0:
        return f"{value_bytes:.0f} bytes"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    value_bytes /= 1024.0
    while value_bytes >= 1000.0 and (larger := next(units, None)):
        unit, value_bytes = larger, value_bytes / 1024.0
    return f"{value_bytes:.{1 if value_bytes < 100.0 else 0}f} {unit}"


def number(value: float | None) -> float | None:
    """A float for a record: six decimals, None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 6) + 0.0


def instant(at_ms: int) -> str:
    """Epoch milliseconds as ISO 8601 UTC; ``n/a`` for what is no instant."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def duration(ms: int) -> str:
    """A span of time in its two largest units, rounded up: ``45 s``, ``3 m 20 s``, ``3 h 12 m``, ``2 d 5 h``."""
    seconds = -(-ms // 1000)
    if seconds < 60:
        return f"{seconds} s"
    spans = ((-(-seconds // smaller), unit // smaller, name, part) for name, unit, part, smaller, _ in _UNITS)
    parts, size, name, part = next(s for s, row in zip(spans, _UNITS, strict=True) if s[0] < s[1] * row[4])
    whole, rest = divmod(parts, size)
    return f"{whole:,} {name} {rest} {part}" if rest else f"{whole:,} {name}"


def at_present_rate(ms: int | None) -> str:
    """``, about 3 h 12 m at the present rate``; nothing where the rate is unknown."""
    return "" if ms is None else f", about {duration(ms)} at the present rate"
