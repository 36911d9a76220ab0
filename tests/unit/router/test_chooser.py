from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.router.chooser import BUCKETS, bucket, choose
from paritygate.schemas.prediction import Arm

KEYS = st.text(st.characters(), max_size=40)
LAW = settings(derandomize=True, max_examples=200, deadline=None)


@LAW
@given(key=KEYS, salt=KEYS, low=st.integers(0, 100), high=st.integers(0, 100))
def test_raising_the_weight_only_adds_keys(key: str, salt: str, low: int, high: int) -> None:
    """A key that the candidate answers at a low weight it answers at every higher one."""
    low, high = sorted((low, high))

    assert not (choose(key, low, salt) is Arm.CANDIDATE and choose(key, high, salt) is Arm.BASELINE)


@LAW
@given(key=KEYS, salt=KEYS)
def test_0_and_100_percent_are_exact(key: str, salt: str) -> None:
    """At weight 0 no key reaches the candidate, at 100 every key does, also beyond the range."""
    assert [choose(key, w, salt) for w in (-5, 0, 100, 140)] == [
        Arm.BASELINE, Arm.BASELINE, Arm.CANDIDATE, Arm.CANDIDATE,
    ]  # fmt: skip


@LAW
@given(key=KEYS, salt=KEYS)
def test_every_text_has_a_bucket(key: str, salt: str) -> None:
    """Any text, empty and broken surrogates included, falls into one of the buckets."""
    assert 0 <= bucket(key, salt) < BUCKETS


@pytest.mark.parametrize("weight", [1, 5, 25, 50])
def test_share_is_the_weight(weight: int) -> None:
    """Of 40,000 keys the candidate's share is within four standard errors of the weight."""
    n, share = 40_000, weight / 100

    got = sum(choose(f"req-{i}", weight, "rollout-7") is Arm.CANDIDATE for i in range(n)) / n

    assert abs(got - share) < 4 * (share * (1 - share) / n) ** 0.5


def test_two_salts_pick_different_keys() -> None:
    """At 50 percent two rollouts agree on about half of the keys, not on all."""
    keys = [f"req-{i}" for i in range(4000)]

    same = sum(choose(k, 50, "a") is choose(k, 50, "b") for k in keys)

    assert 1800 < same < 2200


def test_salt_and_key_do_not_run_together() -> None:
    """Salt "ab" with key "c" is not salt "a" with key "bc"."""
    assert bucket("c", "ab") != bucket("bc", "a")


def test_buckets_never_change() -> None:
    """Buckets are a contract: routers in other languages and other releases must pick the same keys."""
    assert [bucket(f"req-{i}", "rollout-7") for i in range(4)] == [9461, 9477, 9642, 561]
