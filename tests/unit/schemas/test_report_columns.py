"""Window reports by columns: the bytes and the records of the codec, for anything that comes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paritygate.schemas import codec
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.registry import REGISTRY, Registry
from paritygate.schemas.report import Cell, Cells, Histogram, Histograms, SourceRange, WindowReport
from paritygate.schemas.report_columns import decode_report, encode_report

LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 9_000) | st.sampled_from([0, 63, 64, -64, -65, 2**62])
TEXTS = st.text(max_size=6) | st.sampled_from(["", "EWR", "x" * 200])


@st.composite
def reports(draw: st.DrawFn) -> WindowReport:
    """Any report that keeps the contract, its content as plain rows."""
    dimensions, names = draw(st.lists(TEXTS, max_size=3)), draw(st.lists(TEXTS, max_size=4))

    def row(of: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(of, min_size=size, max_size=size).map(tuple)

    cells = st.builds(Cell, values=row(TEXTS, len(dimensions)), counts=row(LONGS, len(names)))
    histograms = st.lists(st.tuples(st.integers(0, 4_000), LONGS), max_size=6).map(
        lambda rows: Histogram(name="latency.x", index=tuple(r[0] for r in rows), counts=tuple(r[1] for r in rows))
    )
    return WindowReport(
        rollout_id=draw(st.sampled_from(["flights", "ü"])), partition=1, partitions=4,
        generation=draw(st.integers(0, 9)), revision=3, window_start_ms=1_000, window_end_ms=2_000,
        watermark_ms=draw(st.integers(0, 2**40)),
        sources=(SourceRange(topic="t", partition=1, first=0, next=draw(st.integers(0, 99))),),
        dimensions=tuple(dimensions), count_names=tuple(names),
        cells=tuple(draw(st.lists(cells, max_size=5))), histograms=tuple(draw(st.lists(histograms, max_size=4))),
        totals=draw(st.dictionaries(TEXTS, LONGS, max_size=3)), acks_next=draw(st.integers(0, 9)),
    )  # fmt: skip


def in_columns(report: WindowReport) -> WindowReport:
    """The same content as columns."""
    counts = np.array([c.counts for c in report.cells], np.int64).reshape(
        len(report.cells), len(report.count_names)
    )
    ends = np.cumsum([0, *(len(h.index) for h in report.histograms)]).tolist()
    buckets, held = (
        np.array([n for h in report.histograms for n in getattr(h, part)], np.int64) for part in ("index", "counts")
    )
    return dataclasses.replace(
        report, cells=Cells([c.values for c in report.cells], counts),
        histograms=Histograms([h.name for h in report.histograms], ends, buckets, held),
    )  # fmt: skip


def outcome(read: Callable[[bytes], WindowReport], data: bytes) -> Any:
    """What is read, or the error and its words."""
    try:
        return read(data)
    except PoisonError as error:
        return type(error), str(error)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(report=reports())
def test_bytes_and_records_are_those_of_the_codec(report: WindowReport) -> None:
    """Rows or columns are written alike, and read back equal either way."""
    columns = in_columns(report)
    data = codec.encode(report)

    assert encode_report(columns) == encode_report(report) == codec.encode(columns) == data
    assert decode_report(data) == codec.decode_report(data) == report == columns
    assert [tuple(c.counts) for c in decode_report(data).cells] == [c.counts for c in report.cells]
    assert decode_report(data).histogram_names == report.histogram_names


@settings(max_examples=300, derandomize=True, deadline=None)
@given(report=reports(), data=st.data())
@example(report=None, data=None)
def test_whatever_else_comes_is_read_as_the_codec_reads_it(report: WindowReport | None, data: Any) -> None:
    """Bytes changed, cut or added, older versions and other framings: the same record, or the same error."""
    if report is None:
        for odd in (b"", b"{}", b"\xc3\x01", b"\0" * 20):
            assert outcome(decode_report, odd) == outcome(codec.decode_report, odd)
        return
    raw = bytearray(codec.encode(report))
    for _ in range(data.draw(st.integers(0, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))]) + data.draw(st.sampled_from([b"", b"\0", b"\2\2"]))

    for changed in (bytes(raw), cut):
        assert outcome(decode_report, changed) == outcome(codec.decode_report, changed)
    for version in (1, 2):
        old = codec.encode(report, registry=Registry([REGISTRY.by_version("WindowReport", version)]))
        assert decode_report(old) == codec.decode_report(old)


@pytest.mark.parametrize(
    "change",
    [
        {"rollout_id": ""}, {"partition": 4}, {"count_names": ("one", "more")}, {"revision": 1.5},
        {"dimensions": ("a", "b")}, {"totals": {"x": 2**64}}, {"totals": {"x" * 9_000_000: 1}},
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_told_as_the_codec_tells_it(change: dict[str, Any]) -> None:
    """Also of a report in columns."""
    report = WindowReport(
        rollout_id="r", partition=0, partitions=4, generation=0, revision=0, window_start_ms=0, window_end_ms=1,
        watermark_ms=1, sources=(), dimensions=("d",), count_names=("pairs",),
        cells=Cells([("a",)], np.array([[1]])), histograms=Histograms([], [0], *np.zeros((2, 0), np.int64)),
    )  # fmt: skip
    broken = dataclasses.replace(report, **change)

    assert encode_report(report) == codec.encode(report)
    assert outcome(lambda _: encode_report(broken), b"") == outcome(lambda _: codec.encode(broken), b"")  # type: ignore[arg-type,return-value]


def test_columns_are_rows_to_whoever_looks() -> None:
    """One by one, from the end, in part, and equal to what is equal."""
    cells = Cells([("a",), ("b",)], np.array([[1, 2], [3, 4]]))
    histograms = Histograms(["x", "y"], [0, 1, 3], np.array([5, 6, 7]), np.array([1, -1, 2]))

    assert cells[-1] == Cell(values=("b",), counts=(3, 4))
    assert cells[:1] == (Cell(values=("a",), counts=(1, 2)),)
    assert cells != cells[:1]
    assert histograms[1] == Histogram(name="y", index=(6, 7), counts=(-1, 2))
    assert histograms[:1] == (histograms[0],)
    assert (len(cells), len(histograms), cells == 3) == (2, 2, False)
