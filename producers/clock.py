"""The wall clock of the producing side: UTC epoch milliseconds. Injected everywhere, read here."""

from __future__ import annotations

import time


def now_ms() -> int:
    """UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000
