from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paritygate.router.last_known_good import LastKnownGood
from paritygate.router.watcher import DecisionWatcher, Source
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm
from tests.support.decisions import decision

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def watch(tmp_path: Path, metrics: Metrics) -> Iterator[list[DecisionWatcher]]:
    made: list[DecisionWatcher] = []
    yield made
    for watcher in made:
        watcher.close()


def start(made: list[DecisionWatcher], folder: Path, metrics: Metrics) -> DecisionWatcher:
    made.append(DecisionWatcher(NOWHERE, "r1", "router-a", folder, metrics=metrics))
    return made[-1]


def test_start_without_kafka_and_file_is_weight_0(
    watch: list[DecisionWatcher], tmp_path: Path, metrics: Metrics
) -> None:
    """With nothing to go by the router serves the baseline (boot_default) and says that it is not ready."""
    watcher = start(watch, tmp_path, metrics)

    assert (watcher.source, watcher.weight, watcher.warning) == (Source.BOOT_DEFAULT, 0, "")
    assert watcher.choose("any") is Arm.BASELINE
    assert not watcher.wait_ready(0.05)


def test_start_without_kafka_uses_last_known_good(
    watch: list[DecisionWatcher], tmp_path: Path, metrics: Metrics
) -> None:
    """With a file the router goes on where it was (boot_lkg)."""
    LastKnownGood(tmp_path, "r1").save(decision(100))
    watcher = start(watch, tmp_path, metrics)

    assert (watcher.source, watcher.weight, watcher.state.sequence) == (Source.BOOT_LKG, 100, 4)
    assert watcher.choose("any") is Arm.CANDIDATE


def test_rolled_back_file_stays_rolled_back(watch: list[DecisionWatcher], tmp_path: Path, metrics: Metrics) -> None:
    """A restart does not forget a rollback."""
    LastKnownGood(tmp_path, "r1").save(decision(0, Action.ROLLBACK))

    assert start(watch, tmp_path, metrics).state.rolled_back


def test_corrupt_file_is_a_warning(watch: list[DecisionWatcher], tmp_path: Path, metrics: Metrics) -> None:
    """A broken file means weight 0 and a warning, never an exception into the service."""
    LastKnownGood(tmp_path, "r1").path.write_bytes(b"\x00" * 50)
    watcher = start(watch, tmp_path, metrics)

    assert watcher.source is Source.BOOT_DEFAULT
    assert "treated as absent" in watcher.warning


def test_choices_are_counted_and_go_on_after_close(
    watch: list[DecisionWatcher], tmp_path: Path, metrics: Metrics
) -> None:
    """Choosing is counted by arm, takes any text, and works on a closed watcher."""
    watcher = start(watch, tmp_path, metrics)
    watcher.choose("")
    watcher.close()
    watcher.choose("\ud800")

    assert ("paritygate_router_requests_total", {"rollout": "r1", "arm": "baseline"}, 2.0) in metrics.values()
    assert ("paritygate_router_following", {"rollout": "r1", "router": "router-a"}, 0.0) in metrics.values()


def test_settings_that_no_client_accepts_are_a_config_error(tmp_path: Path) -> None:
    """A mistake in the settings is told at once, at the place that made it."""
    bad = KafkaSettings(bootstrap="127.0.0.1:1", security_protocol="SSL", ssl_ca_location="/no/such/ca.pem")

    with pytest.raises(ConfigError, match="refuses the settings"):
        DecisionWatcher(bad, "r1", "router-a", tmp_path)
