"""Platform counts: what the platforms of instances report, in the totals of a window.

Law: each value counts up to a bound that no honest one reaches, so that one absurd value makes no sum that no
report and no decision could hold; sums are by arm and know no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from paritygate.comparators.windows import Window
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ARMS

_SAID: Final = ("reports", "running_ms", "ooms", "restarts", "dropped", "memory_bytes", "memory_reports")
_TOTALS: Final = tuple(f"{name}.{arm.value}" for arm in ARMS for name in _SAID)
#: What a hard rule may forbid altogether.
_GRAVE: Final = ("ooms.candidate", "restarts.candidate")
#: More than any instance can say of one interval (34 years of milliseconds).
_MOST: Final = 1 << 40
#: Beyond what any machine has (32 TiB), the 8 EiB of a container without a limit included: nobody measured that.
_MOST_BYTES: Final = 1 << 45


def count_platform(window: Window, event: PlatformEvent) -> None:
    """Add a report of a platform to a window."""
    arm = event.arm.value
    window.bump(f"reports.{arm}", 1)
    for name, said in (
        ("running_ms", event.running_ms), ("ooms", event.gpu_ooms), ("restarts", event.restarts),
        ("dropped", event.dropped_events),
    ):  # fmt: skip
        window.bump(f"{name}.{arm}", min(said, _MOST))
    if 0 < event.memory_bytes <= _MOST_BYTES:
        # Beside the sum, of how many reports it is: one without a measurement must not pull the mean to 0.
        window.bump(f"memory_bytes.{arm}", event.memory_bytes)
        window.bump(f"memory_reports.{arm}", 1)


def platform_totals(totals: Mapping[str, int]) -> dict[str, int]:
    """What of some totals platforms have said."""
    return {name: totals[name] for name in _TOTALS if name in totals}


def grave_events(totals: Mapping[str, int]) -> int:
    """How many events are in some totals that a hard rule may forbid altogether."""
    return sum(totals.get(name, 0) for name in _GRAVE)
