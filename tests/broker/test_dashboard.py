"""The dashboard on a real broker: it reads what is there, what comes, what is over, and outlives the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from paritygate.cli.broker import RunningBroker
from paritygate.dashboard.app import DashboardSettings, create_app
from paritygate.dashboard.follow import Follower
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import encode
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report import Example
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from tests.support.kafka import KafkaBench
from tests.support.story import Entry, Logs, logs_of, story
from tests.unit.rollouts.conftest import ORIGIN_MS, command, report, windows

pytestmark = pytest.mark.broker


def write(kafka: KafkaBench, settings: KafkaSettings, logs: Logs, since: Logs | None = None) -> None:
    """Write these logs, without what ``since`` holds of them already."""
    known = since.records() if since else {}
    for topic, records in logs.records().items():
        kafka.produce(settings.topic(topic), records[len(known.get(topic, ())) :])


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def site(settings: KafkaSettings) -> Iterator[tuple[TestClient, Follower]]:
    """A dashboard that has read its topics."""
    follower = Follower(settings)
    app = create_app(follower, DashboardSettings(), lambda: time.time_ns() // 1_000_000)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        until(lambda: client.get("/readyz").status_code == 200, "it is not ready")
        yield client, follower


def test_it_shows_what_is_over_and_what_begins(kafka: KafkaBench) -> None:
    """Ended rollouts are read when asked for, open ones at once, new ones as they come; one pair to its diff."""
    settings = kafka.settings("dashboard")
    kafka.create_topics(settings)
    first = story()
    write(kafka, settings, logs_of(first))
    with site(settings) as (client, follower):
        told = client.get("/v1/rollouts").json()["rollouts"]
        assert {r["rollout"]: r["outcome"] for r in told} == {
            "r1": "rolled back", "s1": "rolled back", "r2": "running",
        }  # fmt: skip
        until(lambda: "requests that both answered" in client.get("/rollouts/r2").text, "evidence of the open one")
        until(lambda: "requests that both answered" in client.get("/rollouts/s1").text, "evidence of the ended one")

        example = Example(request_id="q-7", kind="candidate_only_error", detail="", values=("EWR",))
        more: list[Entry] = [
            *first, command("start", "n1", service="new"),
            replace(report(0, rollout="n1", errors=50), examples=(example,)),
            *windows(1, 4, rollout="n1"),
        ]  # fmt: skip
        write(kafka, settings, logs_of(more), since=logs_of(first))
        for topic, arm, role, label in (
            (PREDICTIONS_PRIMARY, Arm.BASELINE, Role.PRIMARY, "yes"),
            (PREDICTIONS_SHADOW, Arm.CANDIDATE, Role.SHADOW, "no"),
        ):
            value = encode(event(arm, role, label))
            kafka.produce(settings.topic(topic.name), [("q-7", value)], partition=0)
        until(lambda: client.get("/v1/rollouts/n1/verdict").status_code == 200, "the new rollout")
        until(lambda: client.get("/rollouts/n1/example?request=q-7").status_code == 200, "its example")
        pair = client.get("/rollouts/n1/example?request=q-7").text

    assert "candidate_only_error" in pair
    assert "/prediction" in pair
    assert "&lt;text of 3&gt;" in pair
    assert follower.reading.resets == 0


def event(arm: Arm, role: Role, label: str) -> PredictionEvent:
    return PredictionEvent(
        request_id="q-7", rollout_id="n1", arm=arm, role=role, model_version="v", status=Status.OK,
        event_at_ms=ORIGIN_MS + 10, latency_ms=3.0, output=f'{{"prediction": "{label}"}}', label=label,
    )  # fmt: skip


def test_it_waits_for_topics_and_survives_the_broker(kafka: KafkaBench, broker: RunningBroker) -> None:
    """Without topics it says so; a broker that dies makes everything stale, and what comes after it is shown."""
    settings = kafka.settings("dashboard")
    follower = Follower(settings)
    app = create_app(follower, DashboardSettings(), lambda: time.time_ns() // 1_000_000)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        until(lambda: "is not there" in client.get("/").text, "missing topics are told")
        kafka.create_topics(settings)
        until(lambda: client.get("/readyz").status_code == 200, "topics are found")
        broker.kill()
        try:
            until(lambda: client.get("/readyz").status_code == 503, "the dead broker is told")
            told = client.get("/").text
            assert "Reading is in trouble" in told or "Everything here is stale" in told
        finally:
            broker.restart()
        until(lambda: client.get("/readyz").status_code == 200, "the broker is back")
        write(kafka, settings, logs_of(story()))
        until(lambda: client.get("/v1/rollouts/r2/verdict").status_code == 200, "what came after it")
