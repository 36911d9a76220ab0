"""Bundle: the request pairs that show the regression, as JSON Lines, and a test that runs on them.

Law: one pair a line, keys sorted, so that two bundles can be compared; the test needs no Kafka and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.regression import Pair

PAIRS, RULES, TEST = "pairs.jsonl", "rules.json", "test_regression.py"


def write_bundle(plan: RolloutPlan, pairs: Sequence[Pair], folder: Path) -> list[Path]:
    """Write the pairs, the plan's output rules and the test into ``folder``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (orjson.dumps(line(pair), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) for pair in pairs)
    rules = {"rollout": plan.rollout, "output": plan.output.model_dump(mode="json")}
    written = {
        PAIRS: b"".join(lines),
        RULES: orjson.dumps(rules, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        TEST: files("paritygate.cli").joinpath(f"templates/{TEST}").read_bytes(),
    }
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in written]


def line(pair: Pair) -> dict[str, Any]:
    """One pair as plain data."""
    plain = asdict(pair)
    sample = plain.pop("sample")
    return {
        "request": {"request_id": sample["request_id"], "segments": sample["segments"]},
        "kind": sample["kind"],
        "detail": sample["detail"],
        "window_start_ms": sample["window_start_ms"],
        **plain,
    }
