from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry

from paritygate.schemas.metrics import METRICS, Counter, Gauge, Histogram, Metric, Metrics, markdown_table


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_names_follow_prometheus(metric: Metric) -> None:
    """Prefix, base units, and ``_total`` on counters only; labels and meaning are there."""
    assert re.fullmatch(r"(paritygate|rollout)_[a-z0-9_]+", metric.value)
    assert metric.value.endswith("_total") == isinstance(metric, Counter)
    assert not re.search(r"_(ms|millis|percent|kb|mb)(_|$)", metric.value)
    assert metric.about
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)


def test_names_are_unique() -> None:
    """Two families never share a name, across kinds."""
    assert len({m.value for m in METRICS}) == len(METRICS)


def test_histograms_have_rising_bounds() -> None:
    """Only histograms have bounds, and they rise."""
    assert all(bool(m.buckets) == isinstance(m, Histogram) for m in METRICS)
    assert all(list(m.buckets) == sorted(set(m.buckets)) for m in Histogram)


def test_every_declared_metric_can_be_made() -> None:
    """prometheus_client takes each family with its labels, in one registry."""
    metrics = Metrics(CollectorRegistry())
    for metric in METRICS:
        labels = dict.fromkeys(metric.labels, "x")
        match metric:
            case Counter():
                metrics.inc(metric, 2, **labels)
            case Gauge():
                metrics.set(metric, 2, **labels)
            case Histogram():
                metrics.observe(metric, 2, **labels)

    names = {name for name, _, _ in metrics.values()}
    assert {m.value for m in (*Counter, *Gauge)} <= names
    assert {f"{m.value}_bucket" for m in Histogram} <= names


def test_label_sets_are_capped_and_counted() -> None:
    """Beyond the cap new label sets are dropped and counted; the first ones go on."""
    metrics = Metrics(max_series=3)
    for n in range(10):
        metrics.inc(Counter.CONSUMED, topic=str(n))
    metrics.inc(Counter.CONSUMED, topic="0")

    values = {(name, *labels.values()): value for name, labels, value in metrics.values()}
    assert [values.get(("paritygate_worker_events_total", str(n))) for n in range(4)] == [2, 1, 1, None]
    assert values["paritygate_series_dropped_total", "paritygate_worker_events_total"] == 7


def test_removed_gauge_frees_its_place() -> None:
    """A segment that is no longer shown makes room for another."""
    metrics = Metrics(max_series=1)
    metrics.set(Gauge.PENDING, 1, partition="0")
    metrics.remove(Gauge.PENDING, partition="0")
    metrics.set(Gauge.PENDING, 2, partition="1")

    assert [(labels, v) for _, labels, v in metrics.values()] == [({"partition": "1"}, 2.0)]


@pytest.mark.parametrize("labels", [{}, {"topic": "t", "more": "x"}, {"tpoic": "t"}])
def test_wrong_labels_are_a_mistake_in_code(labels: dict[str, str]) -> None:
    """Missing, extra and misspelt labels raise at once and name the right ones."""
    with pytest.raises(ValueError, match="topic"):
        Metrics().inc(Counter.CONSUMED, **labels)


def test_totals_counted_elsewhere_are_brought_up() -> None:
    """Repeated and lower totals change nothing: a counter never falls."""
    metrics = Metrics()
    for total in (3, 3, 7, 5):
        metrics.raise_to(Counter.DELIVERED, total)

    assert ("paritygate_publisher_delivered_total", {}, 7.0) in metrics.values()


def test_two_sets_of_metrics_do_not_clash() -> None:
    """Two publishers in one process each have a registry of their own."""
    one, two = Metrics(), Metrics()
    one.set(Gauge.QUEUE, 1)
    two.set(Gauge.QUEUE, 2)

    assert [v for _, _, v in one.values()] == [1.0]
    assert [v for _, _, v in two.values()] == [2.0]


def test_table_names_every_metric_once() -> None:
    """The docs table has one row per family, with its unit."""
    rows = markdown_table().splitlines()[2:]

    assert sorted(row.split("`")[1] for row in rows) == sorted(m.value for m in METRICS)
    assert Gauge.WATERMARK.unit == "epoch seconds"
    assert Gauge.WEIGHT.unit == "ratio"
    assert Counter.PUBLISHED.unit == ""
