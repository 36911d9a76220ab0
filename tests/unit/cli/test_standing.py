from __future__ import annotations

from dataclasses import replace

from paritygate.cli.finding import Result
from paritygate.cli.standing import bin_check, join_check
from paritygate.schemas.standing import Standing

ONE = Standing(
    worker="w1", generation=3, written_at_ms=100_000, ranges={"a": (10, 20), "b": (0, 4)}, pending=2,
    bins={"paired": 8, "late": 4, "pending": 2}, watermark_ms=98_000, stages={"fetch": 3.0, "decode": 1.0},
)  # fmt: skip
AT = {("a", 0): 20, ("b", 0): 4}


def test_bins_that_add_up_are_ok() -> None:
    """14 offsets in bins of 14 records, over all partitions."""
    check = bin_check({0: ONE, 1: ONE}, AT)
    assert (check.result, check.detail) == (
        Result.OK, "28 offsets counted = 28 in bins: paired 16, late 8, pending 4",
    )  # fmt: skip


def test_record_in_no_bin_or_two_fails() -> None:
    """One too few in one partition is not made good by one too many in another."""
    check = bin_check({0: replace(ONE, bins={"paired": 13}), 1: replace(ONE, bins={"paired": 15})}, AT)
    assert check.result is Result.FAIL
    assert "partition 0 by +1, partition 1 by -1" in check.detail


def test_position_that_somebody_moved_is_told() -> None:
    """A group reset by hand changes no count; it is named, for lag tools show it."""
    check = bin_check({0: ONE}, {**AT, ("a", 0): 0})
    assert check.result is Result.WARN
    assert "a-0 at 0, told 20" in check.detail


def test_join_is_told_whole() -> None:
    """Age, watermark, pending, replay and shares of the seconds, per worker once."""
    check = join_check({0: ONE, 1: replace(ONE, replay_left=1_500)}, 103_000)
    assert (check.result, check.detail) == (
        Result.OK,
        "2 partition(s) told 3 s ago; the slowest watermark is 5 s old; 4 events wait for their other arm; "
        "1,500 offsets to read again after a restart; w1: fetch 75%, decode 25%",
    )


def test_partition_that_went_silent_is_named() -> None:
    """The newest word of another partition does not hide it."""
    check = join_check({0: ONE, 3: replace(ONE, written_at_ms=10_000)}, 101_000)
    assert check.result is Result.WARN
    assert check.detail.startswith("partition(s) 3 told nothing for 91 s; ")


def test_nothing_committed_is_not_good() -> None:
    """Without a word from a worker both checks are skipped."""
    assert join_check({}, 0).result is bin_check({}, {}).result is Result.SKIP
