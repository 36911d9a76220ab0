"""Alerts and the Grafana dashboard name series that exist, and say what their tests say they do."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from paritygate.schemas.metrics import METRICS, Histogram
from tests.support.tree import ROOT

ALERTS = ROOT / "deploy" / "alerts.yml"
GRAFANA = runpy.run_path(str(ROOT / "deploy" / "grafana" / "build.py"))
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
_SUFFIXES = ("_bucket", "_count", "_sum")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")


def _promtool(*arguments: str | Path) -> None:
    told = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def _named(expression: str) -> set[str]:
    """Series that an expression names."""
    return set(re.findall(r"\b(?:paritygate_|rollout_|rollout:)[a-z0-9_:]+", expression))


def _known() -> set[str]:
    found = {m.value for m in METRICS} | {
        f"{m.value}{s}" for m in METRICS if isinstance(m, Histogram) for s in _SUFFIXES
    }
    return found | {rule["record"] for rule in RULES if "record" in rule}


def test_every_series_is_declared() -> None:
    """Rules and panels name series of the table or recorded ones, and each names at least one."""
    for expression in [*(rule["expr"] for rule in RULES), *GRAFANA["expressions"]()]:
        assert _named(expression), expression
        assert _named(expression) <= _known(), expression


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    """Each has a severity, a sentence and a mend, and stands in the tests at least twice: silent and speaking."""
    tests = (ROOT / "deploy" / "alerts_test.yml").read_text()
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert {"summary", "mend"} <= rule["annotations"].keys()
            assert len(re.findall(rf"alertname: {rule['alert']}\b", tests)) >= 2, rule["alert"]


@needs_promtool
def test_the_rules_do_what_their_tests_say() -> None:
    """promtool takes the rules, and runs their unit tests."""
    _promtool("check", "rules", ALERTS)
    _promtool("test", "rules", ROOT / "deploy" / "alerts_test.yml")


@needs_promtool
def test_prometheus_reads_every_panel(tmp_path: Path) -> None:
    """Each expression of the dashboard is one that Prometheus can parse."""
    rules = [{"record": f"panel:{i}", "expr": expr} for i, expr in enumerate(GRAFANA["expressions"]())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", file)


def test_the_grafana_file_is_current() -> None:
    """It is what the builder makes: ``python deploy/grafana/build.py``."""
    assert GRAFANA["FILE"].read_text() == GRAFANA["text"]()
