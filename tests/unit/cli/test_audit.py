"""What an auditor is told of signatures."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from paritygate.cli import logs, said
from paritygate.cli.kafka import Record
from paritygate.cli.main import main
from paritygate.schemas.signature import COMMAND, DECISION, Signer
from paritygate.schemas.topics import AUDIT, ROLLOUTS, WINDOWS
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import command
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC

LOGS = logs_of(story())
SIGNER = Signer(PRIVATE, "key")


class Topics:
    """The three topics in memory, everything in them signed but for what a test changes."""

    def __init__(self) -> None:
        kinds = {AUDIT.name: DECISION, ROLLOUTS.name: COMMAND, WINDOWS.name: ""}
        self.records = {
            topic: [self.record(topic, n, value, kind=kinds[topic]) for n, (_, value) in enumerate(values)]
            for topic, values in LOGS.records().items()
        }

    @staticmethod
    def record(topic: str, offset: int, value: bytes, *, kind: str = "") -> Record:
        headers = tuple(SIGNER.headers(kind, value)) if kind else ()
        return Record(
            topic=topic, partition=0, offset=offset, timestamp_ms=1, key=None, value=value, headers=headers
        )

    def append(self, topic: str, value: bytes) -> None:
        """Somebody without a key writes."""
        self.records[topic].append(self.record(topic, len(self.records[topic]), value))


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Topics:
    there = Topics()
    for name in (said.COMMAND_KEYS, said.DECISION_KEYS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("all.pub").write_bytes(PUBLIC)
    assert main(["keys", "new", "other"]) == 0
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", "b:1")
    for module in (logs, said):
        monkeypatch.setattr(module, "read", lambda _, topic, **__: iter(there.records[topic]))
    monkeypatch.setattr(logs, "require_topics", lambda *_: None)
    monkeypatch.setattr("paritygate.cli.kafka.end_offsets", lambda _, t: {0: len(there.records[t])})
    return there


BOTH = ("--decision-keys", "all.pub", "--command-keys", "all.pub")


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main(["audit", "verify", *arguments])
    return code, [line for line in capsys.readouterr().out.splitlines() if "re-derived" not in line]


@pytest.mark.usefixtures("topics")
def test_signatures_are_counted_where_keys_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Without keys nothing is said of them; the same numbers stand in the JSON."""
    assert verified(capsys) == (0, [])
    code, lines = verified(capsys, *BOTH)
    assert (code, lines[:2]) == (0, [
        f"signatures of decisions: {len(LOGS.decisions)} signed, 0 unsigned, 0 bad",
        f"signatures of commands: {len(LOGS.commands)} signed, 0 unsigned, 0 bad",
    ])  # fmt: skip
    code, lines = verified(capsys, "--json", "--decision-keys", "all.pub")
    found = orjson.loads("\n".join(lines))["signatures"]
    assert (code, found["decisions"]["signed"], found["commands"]) == (0, len(LOGS.decisions), None)


def test_a_forged_decision_is_told_and_counts_for_nothing(
    topics: Topics, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record without it holds; without keys it is a decision that does not follow from the logs."""
    last = LOGS.of("r2")[-1]
    forged = last.model_copy(
        update={"sequence": last.sequence + 1, "previous": last.digest(), "weight": 100, "stage": "100"}
    )
    topics.append(AUDIT.name, forged.to_bytes())
    assert main(["audit", "verify"]) == 1
    assert "first difference: rollout r2" in capsys.readouterr().out
    code, lines = verified(capsys, *BOTH)

    assert code == 1
    assert lines[0] == f"signatures of decisions: {len(LOGS.decisions)} signed, 1 unsigned, 0 bad"
    refused = f"  audit.v1 offset {len(LOGS.decisions)} is refused: r2 #{forged.sequence}: it is not signed"
    assert refused in lines
    assert not any("first difference" in line for line in lines)


def test_a_forged_command_is_told_and_is_no_failure(topics: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """The decider refused it, as it should; unless a decision names it, which is told as well."""
    topics.append(ROLLOUTS.name, command("rollback", "r2").to_bytes())
    obeyed = topics.records[ROLLOUTS.name][1]
    topics.records[ROLLOUTS.name][1] = Topics.record(ROLLOUTS.name, 1, obeyed.value or b"")
    code, lines = verified(capsys, *BOTH)

    assert code == 0
    assert "  rollouts.v1 offset 1 (a decision names it): it is not signed" in lines
    assert f"  rollouts.v1 offset {len(LOGS.commands)} (not obeyed): it is not signed" in lines


@pytest.mark.usefixtures("topics")
def test_other_keys_hold_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A record that no key given has signed does not hold, though its chain is whole."""
    code, lines = verified(capsys, "--decision-keys", "other.pub")

    assert (code, lines) == (1, [f"signatures of decisions: 0 signed, 0 unsigned, {len(LOGS.decisions)} bad"])
