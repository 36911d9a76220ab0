"""The oracle: every count recomputed with DuckDB from the exported topics, and compared with ``windows.v1``.

Law: it shares no code with the join, the decoder or the batch model: records are read with fastavro and orjson,
and what they amount to is ``oracle.sql``. Compared are, by partition and window, every count of every segment
cell, every bucket of every histogram and every total; and every bin of the workers' last word. Three totals are
compared as sums, for the window in which they stand follows from the moment of reading: ``late``, ``poison`` and
``lost``; ``conflict`` is one with ``duplicate``, for only a repeat of what still waits can be told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
from fastavro import schemaless_reader

from paritygate.comparators.settings import JoinSettings
from paritygate.schemas.registry import REGISTRY
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from tests.faults.older import older_schema
from tests.faults.traffic import CONFLUENT_ID
from tests.support.kafka import Record

#: What is this far behind is late, what is less far is not; nothing lies between (see ``traffic.py``).
LATE_BY_MS = 20_000
#: Totals of which only the sum is compared.
ANYWHERE = ("late", "poison", "lost")
_SQL = (Path(__file__).parent / "oracle.sql").read_text(encoding="utf-8")


@dataclass(slots=True)
class Difference:
    """What the stream and the oracle do not agree on; ``compared``: how many numbers were compared, by table."""

    compared: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    found: int = 0

    def note(self, what: str, compared: int, rows: list[tuple[Any, ...]]) -> None:
        """Rows: what differs, with both numbers."""
        self.compared[what] = compared
        self.found += len(rows)
        self.lines += [f"{what} {row[:-2]}: stream {row[-2]}, oracle {row[-1]}" for row in rows[:10]]


class Topics:
    """Exported records as tables."""

    def __init__(self, records: Iterable[Record], names: Mapping[str, str]) -> None:
        schemas = [*REGISTRY.versions("PredictionEvent"), older_schema()]
        schemas += [REGISTRY.newest("Outcome"), REGISTRY.newest("PlatformEvent")]
        self._parsed = {schema.header: schema.parsed for schema in schemas}
        self._events: list[tuple[Any, ...]] = []
        self._scored: list[tuple[Any, ...]] = []
        self._platform: list[tuple[Any, ...]] = []
        self._unread: list[tuple[Any, ...]] = []
        into: dict[str, Callable[[str, Record, dict[str, Any]], None]] = {
            PREDICTIONS_PRIMARY.name: self._event, PREDICTIONS_SHADOW.name: self._event,
            OUTCOMES.name: self._outcome, PLATFORM.name: self._report,
        }  # fmt: skip
        for record in records:
            topic = names[record.topic]
            datum = self._read(record.value or b"")
            if datum is None:
                self._unread.append((topic, record.partition, record.offset))
            else:
                into[topic](topic, record, datum)

    def _read(self, value: bytes) -> dict[str, Any] | None:
        """The record's plain data; None where it is none."""
        if value[:1] == b"{":
            plain: dict[str, Any] = orjson.loads(value)
            return plain or None
        if value[:1] == b"\x00":
            assert int.from_bytes(value[1:5], "big") == CONFLUENT_ID
            return self._avro(REGISTRY.by_version("PredictionEvent", 1).parsed, value[5:])
        schema = self._parsed.get(value[:10])
        return None if schema is None else self._avro(schema, value[10:])

    @staticmethod
    def _avro(schema: Any, body: bytes) -> dict[str, Any]:
        datum = schemaless_reader(BytesIO(body), schema, None)
        assert isinstance(datum, dict)
        return datum

    def _event(self, topic: str, record: Record, d: dict[str, Any]) -> None:
        segments = d.get("segments") or {}
        self._events.append((
            topic, record.partition, record.offset, record.timestamp_ms, d["request_id"], d["rollout_id"], d["arm"],
            d["role"], d["event_at_ms"], float(d["latency_ms"]), d["status"], d.get("label"), d.get("confidence"),
            d.get("output", ""), segments.get("tier", ""), segments.get("region", ""),
        ))  # fmt: skip

    def _outcome(self, _topic: str, record: Record, d: dict[str, Any]) -> None:
        self._scored.append((
            record.partition, record.offset, record.timestamp_ms, d["rollout_id"], d["request_id"], d["measure"],
            d["event_at_ms"], d["baseline"], d["candidate"],
        ))  # fmt: skip

    def _report(self, _topic: str, record: Record, d: dict[str, Any]) -> None:
        self._platform.append((
            record.partition, record.offset, record.timestamp_ms, d["rollout_id"], d["arm"], d["event_at_ms"],
            d["running_ms"], d["gpu_ooms"], d["restarts"], d["dropped_events"], d["memory_bytes"],
        ))  # fmt: skip

    def tables(self) -> dict[str, pa.Table]:
        """Events, outcomes, platform reports, and what nothing reads."""
        i, s, f = pa.int64(), pa.string(), pa.float64()
        return {
            "events": _table(self._events, {
                "topic": s, "part": i, "off": i, "ts": i, "request_id": s, "rollout": s, "arm": s, "role": s,
                "at_ms": i, "latency_ms": f, "status": s, "label": s, "confidence": f, "output": s, "tier": s,
                "region": s,
            }),
            "outcomes": _table(self._scored, {
                "part": i, "off": i, "ts": i, "rollout": s, "request_id": s, "measure": s, "at_ms": i,
                "baseline": f, "candidate": f,
            }),
            "platform": _table(self._platform, {
                "part": i, "off": i, "ts": i, "rollout": s, "arm": s, "at_ms": i, "running_ms": i, "ooms": i,
                "restarts": i, "dropped": i, "memory": i,
            }),
            "unread": _table(self._unread, {"topic": s, "part": i, "off": i}),
        }  # fmt: skip


def compare(
    topics: Topics,
    reports: Iterable[WindowReport],
    bins: Mapping[int, Mapping[str, int]] | None,
    settings: JoinSettings,
) -> Difference:
    """Compare what stands in the reports (and the bins by partition) with what the topics say."""
    db = duckdb.connect()
    db.execute("SET threads = 2")
    for name, table in {**topics.tables(), **_streamed(reports)}.items():
        db.register(name, table)
    db.execute(
        "CREATE TABLE rule AS SELECT ? AS rollout, ? AS window_ms, ? AS max_future_ms, ? AS late_ms, "
        "?::DOUBLE AS latency_ratio",
        [settings.rollout_id, settings.window_ms, settings.max_future_ms, LATE_BY_MS, settings.latency_ratio],
    )
    db.execute("CREATE TABLE shift AS SELECT unnest(?::BIGINT[]) AS s", [list(settings.latency_shifts)])
    for name, source, order in (
        ("scored", "outcomes", "row_number() OVER (PARTITION BY part, request_id, measure ORDER BY off)"),
        ("platformed", "platform", "1"),
    ):
        db.execute(
            f"CREATE TABLE {name} AS SELECT o.*, o.at_ms // r.window_ms * r.window_ms AS win, {order} AS place "
            f"FROM {source} o, rule r WHERE o.rollout = r.rollout"
        )
    db.execute(_SQL)
    between = db.execute(
        "SELECT count(*) FROM told, rule WHERE place = 1 AND behind_ms BETWEEN 4500 AND late_ms"
    ).fetchone()
    assert between == (0,), "the traffic leaves open what is late"
    found = Difference()
    for what, ours, theirs, keys in (
        ("cells", "stream_cells", "counted", "part, win, tier, region, name"),
        ("histograms", "stream_histograms", "drawn", "part, win, name, place"),
        ("totals", "stream_totals", "totalled", "part, win, name"),
    ):
        total = db.execute(f"SELECT count(*) FROM {theirs}").fetchone()
        rows = db.execute(
            f"SELECT {keys}, coalesce(a.n, 0), coalesce(b.n, 0) FROM (FROM {ours} WHERE n <> 0) a "
            f"FULL JOIN {theirs} b USING ({keys}) WHERE coalesce(a.n, 0) <> coalesce(b.n, 0) ORDER BY ALL"
        ).fetchall()
        found.note(what, total[0] if total else 0, rows)
    sums = db.execute("SELECT name, sum(n) FROM stream_anywhere GROUP BY name").fetchall()
    want = db.execute(
        "SELECT 'late', count(*) FROM told WHERE late UNION ALL "
        "SELECT 'poison', count(*) FROM unread WHERE topic LIKE 'predictions%'"
    ).fetchall()
    _compare_counts(found, "sums", dict(sums), dict(want))
    if bins is not None:
        got = {(p, name): n for p, by_name in bins.items() for name, n in _merged(by_name).items()}
        expected = {(p, name): n for p, name, n in db.execute("SELECT part, name, n FROM binned").fetchall()}
        _compare_counts(found, "bins", got, expected)
    return found


def _compare_counts(found: Difference, what: str, got: Mapping[Any, int], want: Mapping[Any, int]) -> None:
    rows = [(key, got.get(key, 0), want.get(key, 0)) for key in sorted(got.keys() | want.keys(), key=str)]
    found.note(what, len(want), [row for row in rows if row[1] != row[2]])


def _merged(bins: Mapping[str, int]) -> dict[str, int]:
    merged: Counter[str] = Counter(bins)
    merged["duplicate"] += merged.pop("conflict", 0)
    return {name: n for name, n in merged.items() if n}


def _streamed(reports: Iterable[WindowReport]) -> dict[str, pa.Table]:
    """What stands in the reports: of each partition and window the one with the highest version."""
    standing: dict[tuple[int, int], WindowReport] = {}
    for report in reports:
        held = standing.get(key := (report.partition, report.window_start_ms))
        if held is None or (held.generation, held.revision) < (report.generation, report.revision):
            standing[key] = report
    cells: list[tuple[Any, ...]] = []
    histograms: list[tuple[Any, ...]] = []
    totals: Counter[tuple[int, int, str]] = Counter()
    anywhere: list[tuple[Any, ...]] = []
    for (part, win), report in standing.items():
        tier, region = report.dimensions.index("tier"), report.dimensions.index("region")
        for cell in report.cells:
            where = part, win, cell.values[tier], cell.values[region]
            cells += [(*where, name, n) for name, n in zip(report.count_names, cell.counts, strict=True) if n]
        for h in report.histograms:
            histograms += [(part, win, h.name, place, n) for place, n in zip(h.index, h.counts, strict=True)]
        for name, n in report.totals.items():
            if name in ANYWHERE:
                anywhere.append((name, n))
            else:
                totals[part, win, "duplicate" if name == "conflict" else name] += n
    i, s = pa.int64(), pa.string()
    return {
        "stream_cells": _table(cells, {"part": i, "win": i, "tier": s, "region": s, "name": s, "n": i}),
        "stream_histograms": _table(histograms, {"part": i, "win": i, "name": s, "place": i, "n": i}),
        "stream_totals": _table([(*k, n) for k, n in totals.items()], {"part": i, "win": i, "name": s, "n": i}),
        "stream_anywhere": _table(anywhere, {"name": s, "n": i}),
    }  # fmt: skip


def _table(rows: list[tuple[Any, ...]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    data = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return pa.table({n: pa.array(c, t) for (n, t), c in zip(columns.items(), data, strict=True)})
