"""Collector: how seldom Python looks for cycles of garbage in a worker.

Law: nothing on the hot path makes cycles, but every JSON event makes containers, which Python counts; looking
through all that waits for its pair would find nothing and cost a tenth of the time. What does make cycles, such
as exceptions, is still collected.
"""

from __future__ import annotations

import gc
from typing import Final

#: New containers before the youngest are looked through; Python's own default is some hundreds.
THRESHOLD: Final = 100_000


def relax_collector() -> None:
    """Look seldom, and never through what was there when the work began."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 10, 10)
