"""Build the Grafana dashboard: python deploy/grafana/build.py writes paritygate.json beside it.

Law: a panel names series of ``schemas/metrics.py`` or recording rules of ``deploy/alerts.yml``, no others; a test
holds it, and that the file is current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("paritygate.json")
#: (title, unit of Grafana, expressions with their legends), two panels a row.
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Share of the candidate", "percentunit", (
        ('rollout_weight_ratio{rollout=~"$rollout"}', "decided, {{rollout}}"),
        ('paritygate_router_weight_ratio{rollout=~"$rollout"}', "{{router}}, {{rollout}}"),
    )),
    ("Decisions", "short", (('sum by (action) (rollout_decisions_total{rollout=~"$rollout"})', "{{action}}"),)),
    ("Gates that failed", "short", (
        ('max by (rollout, gate) (rollout_gate_failed{rollout=~"$rollout"})', "{{gate}}, {{rollout}}"),
    )),
    ("Users' requests that the candidate answered", "short", (
        ('max by (rollout) (rollout_exposed_requests{rollout=~"$rollout"})', "{{rollout}}"),
    )),
    ("Latency p50 and p95 by arm", "s", (
        ('rollout:latency_seconds:p50{rollout=~"$rollout"}', "p50 {{arm}}, {{rollout}}"),
        ('rollout:latency_seconds:p95{rollout=~"$rollout"}', "p95 {{arm}}, {{rollout}}"),
    )),
    ("Requests by arm", "reqps", (('rollout:requests:rate5m{rollout=~"$rollout"}', "{{arm}}, {{rollout}}"),)),
    ("Memory of an instance, mean by arm", "bytes", (
        ('avg by (rollout, arm) (rollout_memory_bytes{rollout=~"$rollout"})', "{{arm}}, {{rollout}}"),
    )),
    ("Events not yet read", "short", (("sum by (topic) (paritygate_worker_lag_events)", "{{topic}}"),)),
    ("How old the watermark is", "s", (
        ("time() - min(paritygate_worker_watermark_timestamp_seconds)", "slowest partition"),
    )),
    ("What became of the events", "reqps", (
        ("sum(rate(paritygate_worker_paired_events_total[5m]))", "paired"),
        ("sum(rate(paritygate_worker_missing_candidate_total[5m]))", "candidate missing"),
        ("sum(rate(paritygate_worker_missing_baseline_total[5m]))", "baseline missing"),
        ("sum(rate(paritygate_worker_late_total[5m]))", "late"),
        ("sum(rate(paritygate_worker_duplicates_total[5m]))", "duplicate"),
    )),
    ("Events that publishers dropped", "reqps", (
        ("sum by (reason) (rate(paritygate_publisher_dropped_total[5m]))", "{{reason}}"),
    )),
)  # fmt: skip
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def expressions() -> list[str]:
    """Every expression of the dashboard, for any rollout."""
    return [expr.replace("$rollout", ".*") for _, _, targets in PANELS for expr, _ in targets]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "paritygate",
        "title": "paritygate",
        "tags": ["paritygate"],
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "utc",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "rollout", "type": "query", "datasource": _SOURCE, "multi": True, "includeAll": True,
                    "query": "label_values(rollout_sequence, rollout)", "refresh": 2,
                },
            ]
        },
        "panels": [_panel(i, *panel) for i, panel in enumerate(PANELS)],
    }  # fmt: skip


def _panel(place: int, title: str, unit: str, targets: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {
        "id": place + 1,
        "title": title,
        "type": "timeseries",
        "datasource": _SOURCE,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
            for i, (expr, legend) in enumerate(targets)
        ],
    }


def text() -> str:
    """The content of the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
