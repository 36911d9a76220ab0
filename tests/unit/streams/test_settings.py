from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ConfigError
from paritygate.streams.settings import WorkerSettings

KAFKA = KafkaSettings(bootstrap="b:1")


def read(**env: str) -> WorkerSettings:
    return WorkerSettings.from_mapping(KAFKA, {f"PARITYGATE_WORKER_{k.upper()}": v for k, v in env.items()})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("partitions", "12", 12),
        ("session_timeout_s", "6", 6.0),
        ("session_timeout_s", " 45.5 ", 45.5),
        ("metrics_port", "0", 0),
        ("retire_after_s", "0", 0.0),
        ("data_dir", "/tmp/x", Path("/tmp/x")),
        ("log_level", "debug", "debug"),
        ("app_id", "team-a.gate_2", "team-a.gate_2"),
    ],
)
def test_each_setting_is_read(name: str, text: str, value: Any) -> None:
    """A value of the environment takes the setting's type and no other setting changes."""
    got = read(**{name: text})
    assert getattr(got, name) == value
    assert {f: getattr(got, f) for f in WorkerSettings.__slots__ if f != name} == {
        f: getattr(read(), f) for f in WorkerSettings.__slots__ if f != name
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("partitions", "four"),
        ("partitions", "0"),
        ("partitions", "-1"),
        ("replication_factor", "0"),
        ("session_timeout_s", "5.9"),
        ("session_timeout_s", "nan"),
        ("session_timeout_s", "inf"),
        ("session_timeout_s", ""),
        ("checkpoint_ms", "1.5"),
        ("fetch_bytes", "0"),
        ("fetch_wait_ms", "0"),
        ("idle_after_ms", "-5"),
        ("stuck_after_s", "nan"),
        ("stuck_after_s", "0"),
        ("retire_after_s", "-1"),
        ("metrics_port", "-1"),
        ("metrics_port", "65536"),
        ("app_id", ""),
        ("app_id", "a b"),
        ("app_id", "a/b"),
        ("log_level", "loud"),
        ("log_level", "DEBUG"),
    ],
)
def test_bad_values_name_their_setting_in_one_line(name: str, text: str) -> None:
    """What cannot be used is refused with the full name of the setting and the value, in one line."""
    with pytest.raises(ConfigError) as refused:
        read(**{name: text})
    said = str(refused.value)
    assert f"PARITYGATE_WORKER_{name.upper()} is " in said
    assert "\n" not in said


def test_unknown_names_are_left_alone() -> None:
    """Other variables of the environment are not ours to judge."""
    assert WorkerSettings.from_mapping(KAFKA, {"PATH": "/bin", "PARITYGATE_WORKER_COLOUR": "red"}) == read()
