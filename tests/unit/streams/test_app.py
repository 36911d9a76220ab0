from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from paritygate.streams.app import TableStore, state_topic
from paritygate.streams.outbox import Outgoing
from paritygate.streams.settings import WorkerSettings


class Changelog:
    """What the broker keeps of a compacted topic: the newest value of each key, whoever wrote it."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    async def send(self, records: list[Outgoing]) -> None:
        for r in records:
            assert r.topic == "state"
            assert r.key is not None
            assert r.value is not None
            self.kept[r.key] = r.value


def owner(changelog: Changelog) -> TableStore:
    """A worker that has just recovered its table from the changelog."""
    table: Any = SimpleNamespace(
        data=dict(changelog.kept), changelog_topic=SimpleNamespace(get_topic_name=lambda: "state")
    )
    return TableStore(table, changelog)  # type: ignore[arg-type]


def save(store: TableStore, generation: int, data: bytes, partition: int = 0) -> None:
    asyncio.run(store.save(partition, generation, data))


def test_newest_snapshot_comes_back() -> None:
    """Generation and bytes of the last save, per partition; None where there was none."""
    changelog = Changelog()
    store = owner(changelog)
    save(store, 3, b"a")
    save(store, 3, b"b")
    save(store, 8, b"c", partition=1)
    for reader in (store, owner(changelog)):
        assert (reader.newest(0), reader.newest(1), reader.newest(2)) == ((3, b"b"), (8, b"c"), None)


def test_late_write_of_the_owner_before_never_wins() -> None:
    """An owner that was cut off writes after its successor did: the successor's snapshot stands."""
    changelog = Changelog()
    first = owner(changelog)
    save(first, 1, b"old")
    second = owner(changelog)
    save(second, 2, b"new")
    save(first, 1, b"late")
    assert owner(changelog).newest(0) == (2, b"new")


@given(st.lists(st.booleans(), max_size=12))
@hypothesis_settings(max_examples=60)
def test_generations_only_rise(late: list[bool]) -> None:
    """Whatever the owner before still writes, the next owner finds the newest generation's last snapshot."""
    changelog = Changelog()
    before, newest = owner(changelog), owner(changelog)
    generation = 1
    save(newest, generation, b"1")
    for is_late in late:
        if is_late and generation > 1:
            save(before, generation - 1, b"late")
        else:
            before, newest = newest, owner(changelog)
            found = newest.newest(0)
            assert found is not None
            generation = found[0] + 1
            save(newest, generation, str(generation).encode())
        assert owner(changelog).newest(0) == (generation, str(generation).encode())


def test_state_topic_is_named_as_faust_does(settings: WorkerSettings) -> None:
    """The start check looks at the very topic that the Table writes to."""
    from paritygate.streams.app import Spine  # noqa: PLC0415
    from paritygate.streams.metrics import WorkerMetrics  # noqa: PLC0415

    named = replace(settings, app_id="gate-7", kafka=replace(settings.kafka, topic_prefix="t."))
    spine = Spine(named, WorkerMetrics())
    (table,) = spine.app.tables.values()
    assert table.changelog_topic.get_topic_name() == state_topic(named) == "t.gate-7-join-state-changelog"
    assert spine.failure() is None
