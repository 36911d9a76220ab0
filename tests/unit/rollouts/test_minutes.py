"""Minutes by instance: the newest reports, in any order, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators import latency
from paritygate.comparators.instances import PLACE, InstanceMinutes
from paritygate.rollouts import minutes as room
from paritygate.rollouts.ledger import Ledger
from paritygate.schemas.report import Histogram, WindowReport
from tests.unit.rollouts.conftest import ORIGIN_MS, WINDOW_MS, plan, report

STAGE = plan().ladder.first
MINUTE = room.MINUTE_MS // WINDOW_MS
#: The first window of a minute of the epoch.
FIRST = -(ORIGIN_MS // WINDOW_MS) % MINUTE
QUICK, SLOW = 1800, 2003


def told(window: int, partition: int = 0, *, errors: int = 0, slow: int = 0, revision: int = 0) -> WindowReport:
    """A window of 20 requests of instances 1 and 2 of each arm; 2 of the candidate may be ill."""
    counts = {"requests": [20, 20], "answered": [20, 20], "latency_buckets": [20 * QUICK] * 2}
    ill = counts | {"errors": [0, errors], "latency_buckets": [20 * QUICK, 20 * (SLOW if slow else QUICK)]}
    parts = [
        Histogram(name=f"instances.{arm}.{what}", index=(1, 2), counts=tuple(values))
        for arm, of in (("baseline", counts), ("candidate", ill))
        for what, values in of.items()
    ]
    own = {QUICK: 20, SLOW: 20} if slow else {QUICK: 40}
    for name, of in (("latency.baseline", {QUICK: 40}), ("latency.candidate", own)):
        parts.append(Histogram(name=name, index=tuple(of), counts=tuple(of.values())))
    made = report(window, partition, requests=40, errors=errors, revision=revision)
    return replace(made, histograms=tuple(parts))


def known(reports: list[WindowReport], retain: int = 200) -> InstanceMinutes:
    book = Ledger(("origin",), WINDOW_MS, retain=retain)
    for told_ in reports:
        book.take(told_)
    found = book.evidence(STAGE).instances
    assert found is not None
    return found


def whole_minutes(count: int, **of: int) -> list[WindowReport]:
    """Every tenth window of some minutes of the epoch, then one that closes the last of them."""
    made = [told(FIRST + w, p, **of) for w in range(0, count * MINUTE, 10) for p in (0, 1)]
    return [*made, *(told(FIRST + count * MINUTE, p) for p in (0, 1))]


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.data())
def test_order_and_replaced_reports_change_nothing(data: st.DataObject) -> None:
    """Counts by instance, the opening and the calm minutes' latencies are those of the newest reports."""
    newest = [told(FIRST + w, p, errors=w % 7, slow=w > 70) for w in range(0, 180, 15) for p in (0, 1)]
    older = [replace(r, revision=-1) for r in newest[::3]]
    one, other = known(data.draw(st.permutations([*newest, *older]))), known(newest)

    assert one.minutes.tobytes() == other.minutes.tobytes()
    assert one.opening.tobytes() == other.opening.tobytes()
    assert one.in_stage.tolist() == other.in_stage.tolist()
    assert {n: c.tobytes() for n, c in one.calm.items()} == {n: c.tobytes() for n, c in other.calm.items()}


def test_minutes_hold_what_each_instance_did() -> None:
    """Two partitions, six windows a minute."""
    found = known(whole_minutes(2, errors=5))

    assert found.minutes.shape[0] == 2
    assert found.minutes[:, 1, PLACE["errors"], 1:3].tolist() == [[0, 60], [0, 60]]
    assert found.minutes[:, 0, PLACE["requests"], 1:3].tolist() == [[240, 240]] * 2
    assert found.opening[1, PLACE["errors"], 2] == 60
    assert found.in_stage.all()


@pytest.mark.parametrize("retain", [2, 300])
def test_calm_latencies_leave_out_minutes_with_a_slow_instance(retain: int) -> None:
    """Whether or not its windows may still be replaced; a minute with a failing instance is none either."""
    calm = whole_minutes(2)[:-2]
    shift = [replace(told(FIRST + 2 * MINUTE + w, p, slow=1)) for w in range(0, MINUTE, 10) for p in (0, 1)]
    failed = [told(FIRST + 3 * MINUTE + w, p, errors=12) for w in range(0, MINUTE, 10) for p in (0, 1)]
    last = [told(FIRST + 4 * MINUTE + w, p) for w in range(0, 10, 2) for p in (0, 1)]
    found = known([*calm, *shift, *failed, *last], retain)

    assert found.calm["latency.candidate"].sum() == found.calm["latency.baseline"].sum() == 40 * len(calm)
    assert found.calm["latency.candidate"][SLOW] == 0
    assert len(found.calm["latency.candidate"]) == latency.BUCKETS


def test_minutes_of_the_stage_lie_whole_in_it() -> None:
    """Not the minute in which it began, nor one that a partition has not come to report."""
    book = Ledger(("origin",), WINDOW_MS, retain=300)
    for told_ in whole_minutes(4)[:-1]:
        book.take(told_)
    book.enter_stage(ORIGIN_MS + (FIRST + 20) * WINDOW_MS)
    found = book.evidence(STAGE).instances

    assert found is not None
    assert found.in_stage.tolist() == [False, True, True, False]


def test_minutes_are_merged_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer minutes, the same counts."""
    monkeypatch.setattr(room, "MAX_MINUTES", 4)
    found = known(whole_minutes(12, errors=1), retain=2000)

    assert len(found.minutes) <= 4
    assert found.minute_ms > room.MINUTE_MS
    errors = found.minutes[1:-1, 1, PLACE["errors"]].sum(axis=-1)
    assert errors.tolist() == [12 * found.minute_ms // room.MINUTE_MS] * len(errors) != []


def test_without_counts_by_instance_there_are_none() -> None:
    """A join that does not count them leaves gates to the whole fleet."""
    book = Ledger(("origin",), WINDOW_MS)
    book.take(report(0))

    assert book.evidence(STAGE).instances is None
    assert np.asarray(book.evidence(STAGE).minutes).shape[1] > 0
