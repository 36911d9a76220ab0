"""Auditors' verbs on a real broker: the record of a real decider, whole, changed, and with its logs cut short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from confluent_kafka import TopicPartition

from paritygate.cli.broker import RunningBroker
from paritygate.cli.main import main
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import AUDIT, ROLLOUTS, WINDOWS
from tests.support.kafka import KafkaBench
from tests.support.story import Logs, logs_of, story
from tests.unit.rollouts.conftest import plain_plan

pytestmark = pytest.mark.broker

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def logs() -> Logs:
    return logs_of(story())


@pytest.fixture(scope="module")
def written(broker: RunningBroker, logs: Logs) -> Iterator[KafkaSettings]:
    """Topics that hold the story."""
    kafka = KafkaBench(broker, "audit")
    yield write(kafka, logs)
    kafka.close()


def write(kafka: KafkaBench, logs: Logs) -> KafkaSettings:
    settings = kafka.settings("audit")
    kafka.create_topics(settings, topics=(AUDIT, ROLLOUTS, WINDOWS))
    for topic, records in logs.records().items():
        kafka.produce(settings.topic(topic), records)
    return settings


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(settings: KafkaSettings, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
        monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
        capsys.readouterr()
        code = main(arguments)
        return (code, *capsys.readouterr())

    return run


def test_explain_finds_a_decision_of_the_log(run: Run, written: KafkaSettings, logs: Logs) -> None:
    """By sequence, by id and as the newest; an unknown one is one line and exit code 2."""
    chain = logs.of("s1")

    code, out, _ = run(written, "explain", "s1", "--json")
    newest = orjson.loads(out)
    assert (code, newest["decision"]["sequence"], newest["rule"]["number"]) == (0, chain[-1].sequence, 3)
    assert "rule 20 of judge()" in run(written, "explain", "s1", "1")[1]
    assert f"s1 #1 ({chain[1].decision_id})" in run(written, "explain", "s1", chain[1].decision_id)[1]
    assert run(written, "explain", "s1", "99")[::2] == (
        2, f"error: rollout 's1' has no decision '99'; the newest is {chain[-1].sequence}\n",
    )  # fmt: skip
    assert run(written, "explain", "s9")[0] == 2


def test_verify_derives_a_whole_record_again(run: Run, written: KafkaSettings, logs: Logs) -> None:
    """Every rollout is one line, and one alone gives the same line."""
    lines = [
        f"{r}: {len(logs.of(r))} decisions, chain whole, re-derived {len(logs.of(r))} of {len(logs.of(r))}"
        for r in ("r1", "s1", "r2")
    ]

    assert run(written, "audit", "verify") == (0, "\n".join(lines) + "\n", "")
    assert run(written, "audit", "verify", "s1") == (0, lines[1] + "\n", "")
    assert run(written, "audit", "verify", "x")[0] == 2


def test_verify_names_what_was_changed(run: Run, kafka: KafkaBench, logs: Logs) -> None:
    """A record that was changed before it was written: exit code 1, the field, both values."""
    place = next(i for i, d in enumerate(logs.decisions) if d.action.value == "promote")
    changed = [*logs.decisions]
    changed[place] = changed[place].model_copy(update={"exposed_requests": 77})
    settings = write(kafka, Logs(logs.commands, logs.reports, changed))

    code, out, _ = run(settings, "audit", "verify", "--json")
    found = {r["rollout_id"]: r for r in orjson.loads(out)["rollouts"]}
    assert code == 1
    assert found["s1"]["holds"]
    assert found["r1"]["broken_offset"] is not None
    assert found["r1"]["difference"]["fields"] == {"exposed_requests": {"recorded": 77, "derived": 0}}


def test_verify_says_what_retention_took(run: Run, kafka: KafkaBench, logs: Logs) -> None:
    """Records of windows.v1 were really deleted: their offsets are named, and nothing is called a failure."""
    settings = write(kafka, logs)
    place = TopicPartition(settings.topic(WINDOWS.name), 0, 6)
    kafka.admin.delete_records([place])[place].result(90)

    code, out, _ = run(settings, "audit", "verify")
    assert code == 0
    assert "rest on offsets 0 to 5 of windows.v1, and those records are gone" in out
    assert f"r2: {len(logs.of('r2'))} decisions, chain whole, re-derived {len(logs.of('r2'))} of" in out


def test_replay_shows_every_decision(run: Run, written: KafkaSettings, logs: Logs) -> None:
    """Each decision of the chain is identical, and the last line is that of the audit."""
    code, out, _ = run(written, "replay", "r1", "--json")
    found = orjson.loads(out)

    assert (code, found["holds"]) == (0, True)
    assert [(d["sequence"], d["replay"]) for d in found["decisions"]] == [
        (d.sequence, "identical") for d in logs.of("r1")
    ]
    assert f"re-derived {len(logs.of('r1'))} of" in run(written, "replay", "r1")[1]


def test_backtest_of_the_same_policy_is_the_record(run: Run, written: KafkaSettings, tmp_path: Path) -> None:
    """The policy of the record gives the record; a looser one is told apart; another window is refused."""
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(plain_plan("copy", "search", lease_seconds=0)))  # as the record has it
    code, out, _ = run(written, "backtest", str(file), "--rollout", "s1")
    assert code == 0
    assert "s1: the same 3 decisions as recorded, byte for byte" in out
    assert run(written, "backtest", str(file), "--rollout", "s1", "--same")[0] == 1

    file.write_text(yaml.safe_dump(plain_plan(promotion_gates={"error_rate": {"maximum": 0.99}})))
    code, out, _ = run(written, "backtest", str(file), "--rollout", "s1", "--json")
    found = orjson.loads(out)
    assert (code, found["identical"], found["decided"]) == (0, False, None)
    assert found["recorded_decided"]["reason_code"] == "gate_failed"

    file.write_text(yaml.safe_dump(plain_plan(join={"window_ms": 2000})))
    code, _, err = run(written, "backtest", str(file), "--rollout", "s1")
    assert code == 2
    assert err.startswith(f"error: {file}: join.window_ms: the recorded windows were counted with 1000, not 2000")


def test_export_writes_every_table(run: Run, written: KafkaSettings, logs: Logs, tmp_path: Path) -> None:
    """Rows of the real topics; one rollout alone; a second export into the same folder is refused."""
    code, out, _ = run(written, "audit", "export", "--to", "parquet", str(tmp_path / "all"), "--json")
    rows = orjson.loads(out)["rows"]
    assert code == 0
    assert (rows["decisions"], rows["windows"]) == (len(logs.decisions), len(logs.reports))
    assert sorted(f.name for f in (tmp_path / "all").iterdir()) == sorted(f"{name}.parquet" for name in rows)

    code, out, _ = run(written, "audit", "export", str(tmp_path / "s1"), "--rollout", "s1")
    assert (code, f"decisions.parquet: {len(logs.of('s1'))} rows" in out) == (0, True)
    assert run(written, "audit", "export", str(tmp_path / "s1"))[0] == 2
