from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import cramjam
import pytest

from paritygate.comparators.partition import PartitionJoin
from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm
from paritygate.schemas.topics import PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, dead_letter_topic
from paritygate.streams import join as module
from paritygate.streams.join import JoinKeeper
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.pace import MAX_SKEW_MS
from paritygate.streams.positions import Membership
from paritygate.streams.settings import WorkerSettings
from tests.unit.streams.conftest import Entry, Memory, Registry

PRIMARY, SHADOW = PREDICTIONS_PRIMARY.name, PREDICTIONS_SHADOW.name
Event = Callable[..., Entry]
NOW_MS = 1_000_000


class Bench:
    """A keeper on a log in memory, with a clock that moves by 1 ms a look."""

    def __init__(self, settings: WorkerSettings, memory: Memory, registry: Registry) -> None:
        self.memory, self.settings, self.registry = memory, settings, registry
        self.now_ms = NOW_MS
        self.keeper = self.new_keeper()

    def new_keeper(self) -> JoinKeeper:
        registry: Any = self.registry
        outbox: Any = self.memory
        positions: Any = self.memory.group
        return JoinKeeper(
            self.settings, registry=registry, outbox=outbox, store=self.memory, published=self.memory,
            metrics=WorkerMetrics(), positions=positions, clock_ms=self._clock_ms,
        )  # fmt: skip

    def _clock_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(2_000):
            if holds():
                return
            assert self.keeper.failed() is None
            await asyncio.sleep(0.001)
        raise AssertionError("it did not come")

    def saved(self) -> PartitionJoin:
        return PartitionJoin.restore(bytes(cramjam.zstd.decompress(self.memory.snapshots[0][1])))

    async def read_all(self) -> None:
        """Wait until a snapshot holds all that the log has."""
        places = [(topic, end) for (topic, _), end in self.memory.ends.items()]

        def all_counted() -> bool:
            if 0 not in self.memory.snapshots:
                return False
            saved = self.saved()
            return all(saved.committed(topic) == end for topic, end in places)

        await self.until(all_counted)


@pytest.fixture
def bench(settings: WorkerSettings, memory: Memory, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "BatchFetcher", lambda *_, **__: memory)
    return Bench(settings, memory, registry)


def both(event: Event, number: int, at_ms: int) -> tuple[Entry, Entry]:
    return event(f"q{number}", Arm.BASELINE, at_ms), event(f"q{number}", Arm.CANDIDATE, at_ms)


def append_pairs(bench: Bench, event: Event, numbers: Iterable[int], apart_ms: int = 1_000) -> None:
    """Both answers to each request, ``apart_ms`` between one request and the next."""
    for n in numbers:
        ours, theirs = both(event, n, NOW_MS + n * apart_ms)
        bench.memory.append(PRIMARY, [ours])
        bench.memory.append(SHADOW, [theirs])


async def test_snapshot_comes_after_the_windows_that_it_forgets(bench: Bench, event: Event) -> None:
    """Windows are written before the snapshot; the next owner goes on from it with a higher generation."""
    append_pairs(bench, event, range(30))
    await bench.keeper.take([0], Membership(group="g", generation=4, member_id="m"))
    await bench.read_all()
    await bench.keeper.release()
    first = [decode_report(o.value) for o in bench.memory.sent]
    assert bench.keeper.partitions == ()
    assert sum(r.cells[0].counts[r.count_names.index("pairs")] for r in first if r.cells) > 20
    assert bench.memory.snapshots[0][0] == 1

    bench.memory.sent.clear()
    append_pairs(bench, event, range(30, 60))
    bench.keeper = bench.new_keeper()
    await bench.keeper.take([0], Membership(group="g", generation=4, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    second = [decode_report(o.value) for o in bench.memory.sent]
    assert {r.generation for r in second} == {2}
    assert min(r.revision for r in second) > max(r.revision for r in first)


async def test_poison_is_buried_once_across_a_restart(bench: Bench, event: Event) -> None:
    """A checkpoint holds what was buried: reading it again for the sake of memory buries nothing."""
    ours, theirs = both(event, 0, NOW_MS)
    bench.memory.append(PRIMARY, [ours, (NOW_MS, b"k", b"junk"), (NOW_MS, None, ours[2])])
    bench.memory.append(SHADOW, [theirs])
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    grave = dead_letter_topic(PREDICTIONS_PRIMARY).name
    buried = [o for o in bench.memory.sent if o.topic == grave]
    assert [(o.key, o.value) for o in buried] == [(b"k", b"junk"), (None, ours[2])]

    bench.memory.asked.clear()
    bench.keeper = bench.new_keeper()
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.until(lambda: len(bench.memory.asked) > 5)
    await bench.keeper.close()
    assert bench.memory.asked[0][PRIMARY, 0] == 0, "it reads again"
    assert [o for o in bench.memory.sent if o.topic == grave] == buried
    assert bench.saved().bins()["poison"] == 2


async def test_skewed_sources_go_on_after_a_restart(bench: Bench, event: Event) -> None:
    """One topic is far ahead of the other when the worker dies: neither waits for the other for ever."""
    bench.memory.append(PRIMARY, [event("q0", Arm.BASELINE, NOW_MS + MAX_SKEW_MS * 3)])
    for n in range(1, 4):
        bench.memory.append(SHADOW, [event(f"q{n}", Arm.CANDIDATE, NOW_MS + n)])
    first = PartitionJoin(0, 1)
    first.declare(bench.registry.join_settings())
    for topic, stop in ((PRIMARY, 1), (SHADOW, 1)):
        decoded = decode_batches(topic, 0, bench.memory.log[topic, 0][0], 0)
        first.ingest(decoded.batch, stop)
    bench.memory.snapshots[0] = 1, bytes(cramjam.zstd.compress(first.snapshot()))
    bench.memory.append(PRIMARY, [event("q9", Arm.BASELINE, NOW_MS + MAX_SKEW_MS * 3)])

    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    assert bench.saved().newest_ms == {PRIMARY: NOW_MS + MAX_SKEW_MS * 3, SHADOW: NOW_MS + 3}


async def test_unknown_rollouts_are_asked_for_before_they_are_foreign(bench: Bench, event: Event) -> None:
    """The command topic is read to its end whenever an id comes that nobody named."""
    bench.memory.append(PRIMARY, [event("q0", Arm.BASELINE, NOW_MS, "nobodys")])
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    assert bench.registry.asked_for == [{"nobodys"}]
    assert bench.saved().bins() == {"foreign": 1}


async def test_release_does_not_wait_for_a_broker_that_hangs(
    bench: Bench, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that never ends is given up after the time allowed; the snapshot stays what it was."""
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    before = bench.memory.snapshots[0]

    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.memory, "save", hang)
    bench.memory.append(PRIMARY, [event("q0", Arm.BASELINE, NOW_MS)])
    await asyncio.wait_for(bench.keeper.release(timeout_s=0.05), 2)
    assert bench.keeper.partitions == ()
    assert bench.memory.snapshots[0] == before


async def test_next_owner_reports_again_what_was_reported_after_the_snapshot(bench: Bench, event: Event) -> None:
    """The owner before died between its reports and its snapshot: a window of which nothing is left is emptied."""
    append_pairs(bench, event, range(10))
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.release()
    orphan = replace(
        decode_report(bench.memory.sent[-1].value), window_start_ms=NOW_MS + 60_000, window_end_ms=NOW_MS + 61_000,
        totals={"late": 1}, revision=1 << 31,
    )  # fmt: skip
    await bench.memory.send([replace(bench.memory.sent[-1], value=encode(orphan))])

    append_pairs(bench, event, range(70, 80))
    bench.keeper = bench.new_keeper()
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    again = [r for r in (decode_report(o.value) for o in bench.memory.sent) if r.window_start_ms == NOW_MS + 60_000]
    assert [(r.generation, dict(r.totals)) for r in again] == [(1, {"late": 1}), (2, {})]


async def test_positions_are_committed_after_their_snapshot(bench: Bench, event: Event) -> None:
    """What the group is told is what the snapshot of that moment holds, and its bins add up to the offsets."""
    for n in range(20):
        ours, theirs = both(event, n, NOW_MS + n * 1_000)
        bench.memory.append(PRIMARY, [ours, ours, (NOW_MS, b"k", b"junk")])
        bench.memory.append(SHADOW, [theirs])
    await bench.keeper.take([0], Membership(group="g", generation=4, member_id="m"))
    await bench.read_all()
    await bench.keeper.release()
    assert len(bench.memory.group.commits) > 2
    for standings, snapshots in bench.memory.group.commits:
        saved = PartitionJoin.restore(bytes(cramjam.zstd.decompress(snapshots[0][1])))
        assert standings[0].ranges == saved.ranges()
        assert standings[0].unaccounted == 0
    last = bench.memory.group.commits[-1][0][0]
    assert last.ranges[PRIMARY] == (0, 60)
    assert (last.bins["duplicate"], last.bins["poison"], last.worker) == (20, 20, "m")
    assert last.stages["decode"] > 0
    assert bench.memory.group.membership is None


async def test_position_that_stands_still_ends_the_join(
    bench: Bench, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker answers but a position never moves: the reason names the place; a quiet topic is no reason."""
    ours, theirs = both(event, 0, NOW_MS)
    bench.memory.append(SHADOW, [theirs])
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    bench.now_ms += 10 * int(bench.settings.stuck_after_s * 1000)
    await asyncio.sleep(0.01)
    assert bench.keeper.failed() is None

    bench.memory.append(PRIMARY, [ours])
    monkeypatch.setitem(bench.memory.log, (PRIMARY, 0), [])
    asked = len(bench.memory.asked)
    while len(bench.memory.asked) < asked + 3:
        await asyncio.sleep(0.001)
    bench.now_ms += int(bench.settings.stuck_after_s * 1000)
    while (reason := bench.keeper.failed()) is None:
        await asyncio.sleep(0.001)
    assert str(reason) == f"{PRIMARY}-0 has stood at offset 0 for 60 s although its log goes on"
    await bench.keeper.close()


async def test_partition_that_stays_is_read_from_its_snapshot(
    bench: Bench, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rebalance the owner reads on from its newest snapshot, also where it owned the partition before."""
    append_pairs(bench, event, range(5), apart_ms=100_000)
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    taken: list[tuple[int, bytes]] = []
    newest = bench.memory.newest

    def remembered(partition: int) -> tuple[int, bytes] | None:
        taken.append(bench.memory.snapshots[partition])
        bench.memory.asked.clear()  # what was asked while the partition was still owned
        return newest(partition)

    monkeypatch.setattr(bench.memory, "newest", remembered)
    # Giving up the partition takes a snapshot of its own, which may be ahead of the one that stood before.
    await bench.keeper.take([0], Membership(group="g", generation=2, member_id="m"))
    await bench.until(lambda: bool(bench.memory.asked))
    snapshot = taken[0]
    start = PartitionJoin.restore(bytes(cramjam.zstd.decompress(snapshot[1]))).position(PRIMARY)
    assert bench.memory.asked[0][PRIMARY, 0] == start
    await bench.read_all()
    await bench.keeper.close()
    assert bench.saved().bins() == {"paired": 10}


async def test_what_follows_is_asked_for_while_what_came_is_applied(bench: Bench, event: Event) -> None:
    """The next request goes out at the ends that the headers promise; where they lied it is not used."""
    append_pairs(bench, event, range(12))
    broken = bench.memory.log[PRIMARY, 0][6]
    # An offset delta of 7 instead of 0: the CRC is wrong then, and the batch is put aside as one poison.
    bench.memory.log[PRIMARY, 0][6] = broken[:26] + b"\x07" + broken[27:]
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()
    assert [ahead[PRIMARY, 0] for ahead in bench.memory.asked_ahead if ahead][:7] == [1, 2, 3, 4, 5, 6, 14]
    assert [asked[PRIMARY, 0] for asked in bench.memory.asked if (PRIMARY, 0) in asked][:8] == list(range(8))
    bins = bench.saved().bins()
    assert (bins["paired"], bins["poison"]) == (22, 1)


@pytest.mark.parametrize(("step", "call"), [("claim", 1), ("since", 1), ("save", 1), ("save", 5)])
async def test_an_outage_that_no_request_met_is_one(
    bench: Bench, event: Event, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    """The broker was away while the join began, or wrote: the silence after it is not that of the producers."""
    calls, do = 0, getattr(bench.memory, step)

    async def slow(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            bench.now_ms += 20_000
        return await do(*arguments)

    async def look_around() -> None:
        asked = len(bench.memory.asked)
        await bench.until(lambda: len(bench.memory.asked) > asked + 5)

    monkeypatch.setattr(bench.memory, step, slow)
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.until(lambda: calls >= call)
    await look_around()
    bench.now_ms += bench.settings.idle_after_ms
    await look_around()
    append_pairs(bench, event, range(5))
    await bench.read_all()
    await bench.keeper.close()
    assert bench.saved().bins().get("late", 0) == 0


async def test_grave_events_are_told_before_whole_windows(bench: Bench, event: Event) -> None:
    """A memory exhaustion in the open window goes out ahead of the windows that closed in the same round."""
    ours, theirs = zip(*(both(event, n, NOW_MS + n * 1_000) for n in range(30)), strict=True)
    bench.memory.append(PRIMARY, ours)
    bench.memory.append(SHADOW, theirs)
    died = PlatformEvent(rollout_id="r", arm=Arm.CANDIDATE, model_version="1", instance_id="i",
                         event_at_ms=NOW_MS + 29_000, running_ms=1, gpu_ooms=1)  # fmt: skip
    bench.memory.append(PLATFORM.name, [(died.event_at_ms, b"i", encode(died))])
    await bench.keeper.take([0], Membership(group="g", generation=1, member_id="m"))
    await bench.read_all()
    await bench.keeper.close()

    early, *rest = [decode_report(o.value) for o in bench.memory.sent]
    assert early.is_early
    assert len([r for r in rest if r.cells]) > 1
    assert not any(r.is_early for r in rest)


async def test_a_round_tells_of_all_partitions_window_by_window(bench: Bench, event: Event) -> None:
    """Windows that close in the same round go out by their start: the decider looks once for each, not twice."""
    bench.settings = replace(bench.settings, partitions=2)
    bench.keeper = bench.new_keeper()
    for partition in range(2):
        ours, theirs = zip(*(both(event, n, NOW_MS + n * 1_000) for n in range(30)), strict=True)
        bench.memory.append(PRIMARY, ours, partition)
        bench.memory.append(SHADOW, theirs, partition)
    await bench.keeper.take([0, 1], Membership(group="g", generation=1, member_id="m"))
    await bench.until(lambda: len(bench.memory.sent) > 20)
    await bench.keeper.close()

    told = [decode_report(o.value) for o in bench.memory.sent]
    places = [(r.window_start_ms, r.partition) for r in told]
    assert places == sorted(places)
    assert places[:2] == [(NOW_MS, 0), (NOW_MS, 1)]
