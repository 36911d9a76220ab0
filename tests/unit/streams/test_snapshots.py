from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from paritygate.schemas.errors import ConfigError
from paritygate.streams.outbox import Outgoing
from paritygate.streams.snapshots import PART_BYTES, TableStore

#: What a broker takes if nobody says otherwise (``message.max.bytes``), and what a record costs beside its value.
BROKER_LIMIT_BYTES, RECORD_BYTES = 1_048_588, 200


class CrashError(Exception):
    """The process ends here."""


class Changelog:
    """A topic as the broker has it: every record, whoever wrote it. ``left``: writes until the writer dies."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.left = 1 << 30

    async def send(self, records: Iterable[Outgoing]) -> list[int]:
        offsets = []
        for r in records:
            assert (r.topic, r.partition in (0, 1)) == ("state", True)
            if not self.left:
                raise CrashError
            self.left -= 1
            offsets.append(len(self.records))
            self.records.append(r)
        return offsets

    def compacted(self) -> dict[bytes, bytes]:
        """The newest value of each key, deleted ones gone: all that the broker must keep."""
        kept: dict[bytes, bytes] = {}
        for r in self.records:
            assert r.key is not None
            kept.pop(r.key, None)
            if r.value is not None:
                kept[r.key] = r.value
        return kept


def worker(changelog: Changelog, part_bytes: int = 4) -> TableStore:
    """A worker that has just recovered its table from the compacted changelog."""
    table: Any = SimpleNamespace(
        data=changelog.compacted(), changelog_topic=SimpleNamespace(get_topic_name=lambda: "state")
    )
    return TableStore(table, changelog, part_bytes)  # type: ignore[arg-type]


def claim(store: TableStore, partition: int = 0) -> int:
    return asyncio.run(store.claim(partition))


def save(store: TableStore, generation: int, data: bytes, partition: int = 0) -> None:
    asyncio.run(store.save(partition, generation, data))


def test_newest_snapshot_comes_back() -> None:
    """Generation and bytes of the last save, per partition; None where there was none."""
    changelog = Changelog()
    store = worker(changelog)
    ours, other = claim(store), claim(store, 1)
    for data in (b"", b"a", b"a whole lot", b"b"):
        save(store, ours, data)
        assert store.newest(0) == worker(changelog).newest(0) == (ours, data)
    save(store, other, b"c", partition=1)
    assert worker(changelog).newest(1) == (other, b"c")
    assert worker(changelog).newest(2) is None


def test_no_record_is_above_the_brokers_default_limit() -> None:
    """Three megabytes of state are written in parts that any broker takes, and come back whole."""
    changelog = Changelog()
    store = worker(changelog, PART_BYTES)
    data = bytes(range(256)) * (3 << 12)
    save(store, claim(store), data)
    assert max(len(r.value or b"") for r in changelog.records) + RECORD_BYTES < BROKER_LIMIT_BYTES
    found = worker(changelog).newest(0)
    assert found is not None
    assert found[1] == data


@pytest.mark.parametrize("written", range(4))
def test_half_written_snapshot_never_restores(written: int) -> None:
    """Killed before the last part: the snapshot before it comes back, also after a second and a third such end."""
    changelog = Changelog()
    store = worker(changelog)
    generation = claim(store)
    save(store, generation, b"0123456789abcdefgh")
    save(store, generation, b"before")
    for _ in range(3):
        changelog.left = written
        with pytest.raises(CrashError):
            save(store, generation, b"half of this one")
        assert worker(changelog).newest(0) == (generation, b"before")


def test_late_write_of_an_owner_before_never_wins() -> None:
    """Owners that were cut off write after their successors did, one and two owners later: the newest stands."""
    changelog = Changelog()
    owners = []
    for n in range(3):
        store = worker(changelog)
        owners.append((store, claim(store)))
        save(*owners[-1], b"snapshot of owner %d" % n)
    for store, generation in owners[:2]:
        save(store, generation, b"late")
        save(store, generation, b"later and longer")
        assert worker(changelog).newest(0) == (owners[2][1], b"snapshot of owner 2")


def test_two_owners_never_have_the_same_generation() -> None:
    """One was stopped before its first snapshot, its successor saw the same table: the later claim is higher."""
    changelog = Changelog()
    first, second = worker(changelog), worker(changelog)
    earlier, later = claim(first), claim(second)
    assert earlier < later
    save(second, later, b"new")
    save(first, earlier, b"old")
    assert worker(changelog).newest(0) == (later, b"new")


def test_next_owner_deletes_the_keys_of_those_before() -> None:
    """However many owners there were, the compacted changelog holds two snapshots of the newest and a claim."""
    changelog = Changelog()
    for _ in range(7):
        store = worker(changelog)
        generation = claim(store)
        for _ in range(5):
            save(store, generation, b"0123456789")
    assert len(changelog.compacted()) == 2 * 3 + 1


def test_snapshots_of_another_version_are_refused() -> None:
    """What this version cannot read is never taken for nothing: the count would begin anew in silence."""
    changelog = Changelog()
    asyncio.run(changelog.send([Outgoing(topic="state", partition=0, key=b"p0.1", value=b"x")]))
    with pytest.raises(ConfigError, match="another PARITYGATE_WORKER_APP_ID"):
        worker(changelog).newest(0)


kinds = st.sampled_from(["save", "crash", "zombie", "crashing zombie"])
acts = st.lists(st.tuples(kinds, st.integers(0, 5), st.binary(max_size=17)), max_size=25)


@given(acts)
@hypothesis_settings(max_examples=150)
def test_the_last_whole_snapshot_of_the_newest_owner_comes_back(acts: list[tuple[str, int, bytes]]) -> None:
    """Whatever owners before still write and wherever a writer dies, nothing older and nothing half restores."""
    changelog = Changelog()
    store = worker(changelog)
    owners = [(store, claim(store))]
    save(*owners[-1], b"first")
    expected = owners[-1][1], b"first"
    for act, writes, data in acts:
        mine = act in ("save", "crash")
        store, generation = owners[-1] if mine else owners[max(0, len(owners) - 2)]
        before = len(changelog.records)
        changelog.left = writes if "crash" in act else 1 << 30
        with suppress(CrashError):
            save(store, generation, data)
        changelog.left = 1 << 30
        whole = any((r.key or b"").endswith(b".last") and r.value for r in changelog.records[before:])
        if whole and generation >= expected[0]:
            expected = generation, data
        if act == "crash":
            found = worker(changelog)
            owners.append((found, claim(found)))
        assert worker(changelog).newest(0) == expected
