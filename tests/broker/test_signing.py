"""Signed commands and decisions on the real broker: a worker, a router, the command line, and an intruder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from paritygate.cli.main import main
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.topics import ROLLOUTS
from tests.broker.test_worker import CLIMBING_YAML, decisions, now_ms, until
from tests.support.kafka import KafkaBench
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

Say = Callable[..., tuple[int, str, str]]


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A new pair of keys: the private file and the public one."""
    assert main(["keys", "new", str(folder / name)]) == 0
    return folder / f"{name}.key", folder / f"{name}.pub"


def said(kind: str, rollout: str = "climb") -> tuple[str, bytes]:
    """A command as anybody may write it who has the right to."""
    made = Command(kind=CommandKind(kind), rollout_id=rollout, actor="ann", reason="really", issued_at_ms=now_ms())
    return rollout, made.to_bytes()


def test_only_signed_commands_are_obeyed(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forged and repeated commands change nothing and are told, across a kill and a change of keys; signed ones are
    obeyed, and every replay gives the record, with the keys and without."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    topic = settings.topic(ROLLOUTS.name)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    ann, ann_pub = key_pair(tmp_path, "ann")
    ben, ben_pub = key_pair(tmp_path, "ben")
    operators = tmp_path / "operators.pub"
    operators.write_bytes(ann_pub.read_bytes())
    plan_file = tmp_path / "rollout.yaml"
    plan_file.write_text(CLIMBING_YAML)

    def say(*arguments: str, key: Path | None = ann, wait: str = "30") -> tuple[int, str, str]:
        if key is None:
            monkeypatch.delenv("PARITYGATE_SIGNING_KEY", raising=False)
        else:
            monkeypatch.setenv("PARITYGATE_SIGNING_KEY", str(key))
        capsys.readouterr()
        code = main([*arguments, "--wait", wait])
        return (code, *capsys.readouterr())

    def told(offset: int) -> str:
        (line,) = {
            re.sub(r"^.*rollouts", "rollouts", text)
            for text in worker.log().splitlines()
            if f"{topic} offset {offset} is refused" in text
        }
        return line

    worker = WorkerProcess(settings, tmp_path, command_keys=str(operators)).start()
    try:
        worker.wait_owning()
        assert say("start", str(plan_file), key=None, wait="2")[0] == 1
        assert decisions(kafka, settings, "climb") == []
        assert say("start", str(plan_file))[0] == 0
        assert say("pause", "climb", key=ben, wait="2")[0] == 1
        assert say("pause", "climb")[0] == 0
        kafka.produce(topic, [said("rollback"), said("resume")])
        assert say("resume", "climb")[0] == 0
        paused = kafka.read(topic)[3]
        kafka.produce(topic, [(paused.key, paused.value)], headers=dict(paused.headers))
        until(lambda: "offset 7 is refused" in worker.log(), "the refusal of the repetition")
        worker.kill()
        operators.write_bytes(ann_pub.read_bytes() + ben_pub.read_bytes())
        worker.start()
        assert say("pause", "climb", key=ben)[0] == 0
        assert say("rollback", "climb", "--reason", "enough", key=ben)[0] == 0
        assert worker.terminate(timeout_s=15) == 0
    finally:
        worker.kill()

    codes = [d.reason_code for d in decisions(kafka, settings, "climb")]
    commanded = ["started", "paused", "resumed", "paused", "operator_rollback"]
    assert [c for c in codes if c in commanded] == commanded
    assert "start climb: it is not signed" in told(0)
    assert "pause climb: it is signed with the key" in told(2)
    assert [told(n).rpartition(": ")[2] for n in (4, 5)] == ["it is not signed"] * 2
    assert "pause climb: it is the command at offset 3 once more" in told(7)
    assert "what is recorded stands" not in worker.log()
    for keys in (None, ann_pub, operators):
        if keys is not None:
            monkeypatch.setenv("PARITYGATE_COMMAND_KEYS", str(keys))
        capsys.readouterr()
        assert (main(["audit", "verify"]), main(["replay", "climb"])) == (0, 0), capsys.readouterr()
