"""Signed commands and decisions on the real broker: a worker, a router, the command line, and an intruder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from paritygate.cli.main import main
from paritygate.rollouts.replay import chained
from paritygate.router.trusted import read_trusted_keys
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.signature import DECISION, Signer
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, ROUTER_ACKS, Topic
from tests.broker.test_worker import CLIMB_IDLE_MS, CLIMBING_YAML, decisions, healthy, until
from tests.support.feed import now_ms, send
from tests.support.kafka import KafkaBench
from tests.support.traffic import Traffic, make_traffic
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker
#: Joins, restarts and routers on a busy machine.
SLOW_S = 150.0


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

    def say(*arguments: str, key: Path | None = ann, wait: str = "150") -> tuple[int, str, str]:
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
        assert worker.terminate() == 0
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


def test_an_intruder_moves_nothing(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who may write to every control topic and has no key changes nothing and is seen; the genuine goes on, through
    a change of the decider's key, and the record holds."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    first, first_pub = key_pair(tmp_path, "first")
    second, second_pub = key_pair(tmp_path, "second")
    intruder, _ = key_pair(tmp_path, "intruder")
    ann, ann_pub = key_pair(tmp_path, "ann")
    deciders = tmp_path / "deciders.pub"
    deciders.write_bytes(first_pub.read_bytes())
    monkeypatch.setenv("PARITYGATE_SIGNING_KEY", str(ann))
    monkeypatch.setenv("PARITYGATE_DECISION_KEYS", str(deciders))
    plan_file = tmp_path / "rollout.yaml"
    plan_file.write_text(CLIMBING_YAML)
    routers: list[DecisionWatcher] = []

    def worker(key: Path) -> WorkerProcess:
        keys = {"signing_key": str(key), "decision_keys": str(deciders), "command_keys": str(ann_pub)}
        return WorkerProcess(settings, tmp_path, idle_after_ms=CLIMB_IDLE_MS, **keys).start()

    def router(name: str, *keys: Path) -> DecisionWatcher:
        file = tmp_path / f"{name}.pub"
        file.write_bytes(b"".join(key.read_bytes() for key in keys))
        trusted = read_trusted_keys(file)
        routers.append(DecisionWatcher(settings, "climb", name, tmp_path / name, trusted_keys=trusted))
        return routers[-1]

    def feed(seed: int) -> None:
        made = make_traffic("climb", requests=600, start_ms=now_ms() + 500, span_ms=2_500, seed=seed)
        renamed = [replace(e, request_id=f"{seed}-{e.request_id}") for e in healthy(made).predictions]
        send(settings, Traffic(renamed, [], []).records())

    def forge(topic: Topic, decision: GateDecision, key: Path | None = None) -> None:
        value = decision.to_bytes()
        signed = [] if key is None else Signer(key.read_bytes(), "key").headers(DECISION, value)
        headers: dict[str, bytes | str | None] = dict(signed)
        kafka.produce(settings.topic(topic.name), [("climb", value)], headers=headers)

    def genuine() -> list[GateDecision]:
        return chained(d for d in decisions(kafka, settings, "climb") if d.reason != "forged")

    running = worker(first)
    try:
        running.wait_owning()
        one = router("one", first_pub)
        assert main(["start", str(plan_file), "--wait", "150"]) == 0
        feed(1)
        until(lambda: one.weight == 50, "the promotion at the router", SLOW_S)

        head = genuine()[-1]
        following = {"sequence": head.sequence + 1, "previous": head.digest(), "reason": "forged"}
        whole = head.model_copy(update={**following, "action": Action.PROMOTE, "stage": "100", "weight": 100})
        back = head.model_copy(update={**following, "action": Action.ROLLBACK, "stage": "shadow", "weight": 0})
        forge(DECISIONS, whole)
        forge(DECISIONS, whole, intruder)
        forge(DECISIONS, back)
        forge(AUDIT, whole)
        forge(AUDIT, back, intruder)
        kafka.produce(settings.topic(ROLLOUTS.name), [said("rollback")])
        until(lambda: running.log().count("audit.v1 offset") == 2, "the refusals of the decider", SLOW_S)
        forged = "rollouts.v1 offset 1 is refused: rollback climb: it is not signed"
        until(lambda: forged in running.log(), "the refusal of the command")
        until(lambda: refused(kafka, settings, "one") == 3, "the refusals of the router")
        assert "one refused 3, the last at offset" in doctor(capsys)
        assert (one.weight, one.state.rolled_back) == (50, False)
        assert running.terminate() == 0

        deciders.write_bytes(first_pub.read_bytes() + second_pub.read_bytes())
        two = router("two", first_pub, second_pub)
        running = worker(second)
        running.wait_owning()
        three = router("three", second_pub)
        until(lambda: three.weight == 50, "the newest decision, signed by the new key", SLOW_S)
        feed(2)
        until(lambda: two.weight == three.weight == 100, "the promotion, signed by the new key", SLOW_S)
        assert one.weight == 50
        assert running.terminate() == 0
    finally:
        running.kill()
        for watcher in routers:
            watcher.close()

    assert "folding again" not in running.log()
    assert "what is recorded stands" not in running.log()
    capsys.readouterr()
    code = main(["audit", "verify", "--json", "--decision-keys", str(deciders), "--command-keys", str(ann_pub)])
    found = orjson.loads(capsys.readouterr().out)
    (climb,) = found["rollouts"]
    assert (code, climb["holds"], climb["decisions"]) == (1, True, len(genuine()))
    assert climb["rederived"] == climb["decisions"]
    counted = found["signatures"]["decisions"]
    assert (counted["unsigned"], counted["bad"]) == (1, 1)
    assert len(found["signatures"]["refused_decisions"]) == 2
    assert found["signatures"]["commands"] == {"signed": 1, "unsigned": 1, "bad": 0}


def refused(kafka: KafkaBench, settings: KafkaSettings, router: str) -> int:
    """How many decisions a router says that it refused."""
    acks = [RouterAck.from_bytes(r.value or b"") for r in kafka.read(settings.topic(ROUTER_ACKS.name))]
    return max((a.refused.count for a in acks if a.router_id == router and a.refused is not None), default=0)


def doctor(capsys: pytest.CaptureFixture[str]) -> str:
    """What it says of the routers."""
    capsys.readouterr()
    main(["doctor", "--json"])
    checks = {c["name"]: c for c in orjson.loads(capsys.readouterr().out)["checks"]}
    return str(checks["routers"]["detail"])
