"""Evidence about labels: the size of a change on pairs, any change among unpaired answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paritygate.comparators.evidence.labels import TESTS, log_e_moved, log_e_stayed, log_e_unlike
from paritygate.comparators.labels import BUCKETS

LIMIT = 0.05
BAR = math.log(20.0)


def _counts(**places: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    counts = np.zeros(BUCKETS, np.int64)
    for place, count in places.items():
        counts[int(place.removeprefix("b"))] = count
    return counts


def test_no_observation_is_no_evidence() -> None:
    """E = 1 before anything has come, for every claim."""
    none = _counts()

    assert log_e_moved(none, none, 0, LIMIT) == pytest.approx(0.0)
    assert log_e_stayed(none, none, 0, LIMIT)[0] == pytest.approx(0.0)
    assert log_e_unlike(none, none, 0.05) == pytest.approx(0.0)


def test_one_label_that_moved_is_enough_for_a_fail() -> None:
    """In either direction; the price is the log of the number of tests, and symmetric change costs nothing."""
    assert log_e_moved(_counts(b3=300), _counts(b9=300), 3000, LIMIT) > BAR
    assert log_e_moved(_counts(b9=300), _counts(b3=300), 3000, LIMIT) == pytest.approx(
        log_e_moved(_counts(b3=300), _counts(b9=300), 3000, LIMIT)
    )
    assert log_e_moved(_counts(b3=300, b9=300), _counts(b3=300, b9=300), 3000, LIMIT) < 0.0
    assert TESTS == 2 * BUCKETS


def test_every_label_must_have_stayed_for_a_pass() -> None:
    """One that moved by the limit speaks against all that did not."""
    stayed, _ = log_e_stayed(_counts(b1=20), _counts(b2=20), 3000, LIMIT)
    moved, wealth = log_e_stayed(_counts(b1=150), _counts(b2=150), 3000, LIMIT)

    assert stayed > BAR
    assert moved < BAR
    assert wealth.max() < BAR


def test_swapped_arms_say_the_same() -> None:
    """The size of a change has no direction."""
    up, down = _counts(b1=40, b5=3), _counts(b1=2, b2=41)

    assert log_e_moved(up, down, 900, LIMIT) == pytest.approx(log_e_moved(down, up, 900, LIMIT))
    assert log_e_stayed(up, down, 900, LIMIT)[0] == pytest.approx(log_e_stayed(down, up, 900, LIMIT)[0])


def test_a_wrong_share_is_no_change_of_labels() -> None:
    """Users who meet the candidate more often than declared do so with every label."""
    baseline = _counts(b0=7000, b1=2000, b2=500)

    assert log_e_unlike(baseline // 10, baseline, 0.05) < BAR
    assert log_e_unlike(_counts(b0=300, b1=180, b2=25), baseline, 0.05) > BAR


def test_a_false_mismatch_is_rare_under_continuous_looking() -> None:
    """Any constant share, looked at after every answer: at most 1 in 20 (150 streams, seeded)."""
    random = np.random.default_rng(7)
    false = 0
    for _ in range(150):
        label = random.choice(4, 2000, p=[0.6, 0.3, 0.08, 0.02])
        arm = random.random(2000) < 0.1
        seen = np.zeros((2, 2000, BUCKETS), np.int64)
        for k in range(4):
            seen[0, :, k], seen[1, :, k] = np.cumsum((label == k) & arm), np.cumsum((label == k) & ~arm)
        false += any(log_e_unlike(seen[0, i], seen[1, i], 0.05) >= BAR for i in range(24, 2000, 50))

    assert false <= 150 * (0.05 + 3 * math.sqrt(0.05 * 0.95 / 150))


def test_a_declared_share_is_a_share() -> None:
    """None or all of the answers leaves nothing to compare."""
    with pytest.raises(ValueError, match="inside"):
        log_e_unlike(_counts(), _counts(), 0.0)
