"""The collector of cycles is relaxed, not off."""

from __future__ import annotations

import gc

from paritygate.streams.collector import THRESHOLD, relax_collector


def test_cycles_are_still_collected() -> None:
    """It looks seldom, and is on."""
    before = gc.get_threshold()
    try:
        relax_collector()

        assert gc.isenabled()
        assert gc.get_threshold()[0] == THRESHOLD > before[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
