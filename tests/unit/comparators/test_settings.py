"""Settings of a join: refused where they cannot work, and kept over a snapshot."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from paritygate.comparators.diff import DiffRules
from paritygate.comparators.numbers import NumberRule
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.validation import OutputRules
from paritygate.schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"rollout_id": ""}, "rollout_id"),
        ({"window_ms": 0}, "window_ms"),
        ({"dedupe_ms": 0}, "dedupe_ms"),
        ({"max_pending": 0}, "max_pending"),
        ({"grace_ms": -1}, "grace_ms"),
        ({"retain_ms": -1}, "retain_ms"),
        ({"dimensions": ("a", "a")}, "dimensions"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], names: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=names):
        JoinSettings(**{"rollout_id": "r", **change})


def test_settings_survive_the_snapshot() -> None:
    """Through msgpack and back they are equal, nested rules included; unknown fields are ignored."""
    settings = JoinSettings(
        "r", ("a", "endpoint"), window_ms=250, latency_shifts=(17, 19), label_shares=True,
        numbers=(NumberRule("tokens", 1.1, 4096.0),),
        output_rules=OutputRules(labels=("x", "y"), json_schema={"required": ["a"], "minProperties": 1}),
        diff_rules=DiffRules(ignore=("/a/*",), absolute_tolerance=0.5),
    )  # fmt: skip
    plain = msgpack.unpackb(msgpack.packb({**settings.to_plain(), "of_a_later_version": 1}))

    assert JoinSettings.from_plain(plain) == settings
    assert JoinSettings.from_plain({"rollout_id": "old"}) == JoinSettings("old")


def test_the_defaults_ignore_the_model_version() -> None:
    """Two versions always differ in it; nobody should have to say so."""
    assert JoinSettings("r").diff_rules.ignore == ("/model_version",)
