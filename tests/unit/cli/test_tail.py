from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from paritygate.cli import tail as tail_module
from paritygate.cli.kafka import Record
from paritygate.cli.main import main
from paritygate.cli.tail import Wanted, framing_of, shown, topic_on_cluster
from paritygate.schemas.codec import encode
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status

TOPIC = "predictions.primary.v1"


def event(request_id: str, rollout_id: str = "r1") -> bytes:
    return encode(
        PredictionEvent(
            request_id=request_id,
            rollout_id=rollout_id,
            arm=Arm.BASELINE,
            role=Role.PRIMARY,
            event_at_ms=1_700_000_000_000,
            latency_ms=1.5,
            status=Status.OK,
            model_version="1",
            output='{"prediction":"ok"}',
        )
    )


def record(
    offset: int, value: bytes | None, key: bytes | None = None, headers: tuple[tuple[str, bytes | None], ...] = ()
) -> Record:
    return Record(
        topic=TOPIC,
        partition=1,
        offset=offset,
        timestamp_ms=1_700_000_000_123,
        key=key,
        value=value,
        headers=headers,
    )


EVENT_JSON = orjson.dumps(
    {
        "request_id": "caf\u00e9",
        "rollout_id": "r1",
        "arm": "candidate",
        "role": "shadow",
        "event_at_ms": 1,
        "latency_ms": 2.0,
        "status": "ok",
        "model_version": "2",
    }
)
RECORDS = [
    record(0, event("req-0"), b"req-0"),
    record(1, event("req-1"), b"req-1"),
    record(2, event("req-1", "r2"), b"req-1"),
    record(3, EVENT_JSON.replace("é".encode(), b"\\u00e9"), b"x"),
    record(4, event("req-0")[:-3], b"req-0"),
    record(5, b"\x1b[2Jgarbage", b"req-9"),
    record(6, None, b"req-7"),
    record(7, b"\x00\x00\x00\x00\x07body", b"req-8"),
    record(8, b"\xc3\x01\x00\x00\x00\x00\x00\x00\x00\x00", b"\x1b[31mkey\n"),
]


def offsets(wanted: Wanted) -> list[int]:
    return [s.record.offset for s in shown(RECORDS, TOPIC, wanted)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Wanted(request_id="req-1"), [1, 2]),
        (Wanted(request_id="req-1", rollout_id="r2"), [2]),
        (Wanted(request_id="café"), [3]),
        (Wanted(request_id="req-0"), [0, 4]),
        (Wanted(request_id="req-9"), [5]),
        (Wanted(request_id="req-7"), [6]),
        (Wanted(rollout_id="r2"), [2]),
        (Wanted(request_id="req"), [4]),
        (Wanted(request_id="absent"), []),
    ],
)
def test_filters(wanted: Wanted, expected: list[int]) -> None:
    """A filter finds exactly its records, in any framing; broken ones by their key or bytes."""
    assert offsets(wanted) == expected


def test_undecodable_records_are_lines_with_a_reason() -> None:
    """Truncated, foreign and unknown bytes are shown with their place and reason, and the rest goes on."""
    found = {s.record.offset: s for s in shown(RECORDS, TOPIC, Wanted())}

    for offset in (4, 5, 7, 8):
        assert found[offset].plain is None
        assert found[offset].error
        assert f"{TOPIC}[1]@{offset}" in found[offset].line()
        assert "UNDECODABLE" in found[offset].line()
    assert "truncated" in found[4].error
    assert "fingerprint" in found[8].error
    assert found[0].error == ""
    assert "(tombstone)" in found[6].line()


def test_framing_is_told() -> None:
    """The first bytes say how a value is framed."""
    assert [framing_of(r.value) for r in RECORDS] == [
        "avro", "avro", "avro", "json", "avro", "unknown", "none", "confluent", "avro",
    ]  # fmt: skip
    assert framing_of(b"") == "unknown"


def test_dead_letters_show_their_headers() -> None:
    """A record of a dead letter topic is decoded as that of its origin; the headers say why it is there."""
    dead = record(0, b"junk", None, (("__dlq.errors.message", b"no framing"), ("__dlq.errors.offset", None)))
    (found,) = shown([dead], f"dlq.{TOPIC}", Wanted())

    assert "__dlq.errors.message=no framing" in found.line()
    assert found.to_json()["headers"] == {"__dlq.errors.message": "no framing", "__dlq.errors.offset": None}


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The verb reads RECORDS in place of a cluster; gives what it asked for."""
    asked: list[dict[str, Any]] = []

    def read(_settings: object, topic: str, **options: Any) -> Iterator[Record]:
        asked.append({"topic": topic, **options})
        yield from RECORDS

    monkeypatch.setattr(tail_module, "read", read)
    monkeypatch.setattr(tail_module, "partition_counts", lambda _: {TOPIC: 4})
    return asked


def test_json_is_one_document_a_line(canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one JSON object per record to stdout and nothing else, broken records included."""
    assert main(["tail", TOPIC, "--bootstrap", "b:1", "--json"]) == 0

    out, err = capsys.readouterr()
    lines = [orjson.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [line["offset"] for line in lines] == list(range(9))
    assert lines[0]["record"]["request_id"] == "req-0"
    assert lines[4]["record"] is None
    assert lines[4]["error"]


def test_max_stops_after_so_many(canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """--max counts what is shown, after the filter."""
    assert main(["tail", TOPIC, "--bootstrap", "b:1", "--request-id", "req-1", "--max", "1"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 1


def test_control_characters_never_reach_the_terminal(
    canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A key or a value cannot clear the auditor's screen."""
    assert main(["tail", TOPIC, "--bootstrap", "b:1"]) == 0

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 9


def test_where_reading_begins(canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --follow from the beginning, with it from the end, and --from decides otherwise."""
    for arguments in ([], ["--follow"], ["--follow", "--from", "beginning"], ["--from", "end"]):
        assert main(["tail", TOPIC, "--bootstrap", "b:1", *arguments]) == 0

    assert [(a["follow"], a["from_end"]) for a in canned] == [
        (False, False), (True, True), (True, False), (False, True),
    ]  # fmt: skip


def test_topic_names() -> None:
    """A topic is found with or without prefix and version; a misspelt one gets its neighbour named."""
    there = ["eu.decisions.v1", "decisions.v1", "other"]

    assert topic_on_cluster("decisions.v1", "eu.", there) == "eu.decisions.v1"
    assert topic_on_cluster("decisions", "eu.", there) == "eu.decisions.v1"
    assert topic_on_cluster("other", "eu.", there) == "other"
    with pytest.raises(ConfigError, match=r"did you mean 'eu\.decisions\.v1'"):
        topic_on_cluster("decisons.v1", "eu.", there)


def test_confluent_framing_is_read_where_its_ids_are_told(
    canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option or the environment says what an id stands for; the option wins; without both it is a reason."""
    framed = record(0, b"\x00\x00\x00\x00\x07" + event("req-5")[10:], b"req-5")
    monkeypatch.setattr(tail_module, "read", lambda *_, **__: iter([framed]))
    tail = ["tail", TOPIC, "--bootstrap", "b:1", "--json", "--request-id", "req-5"]

    def shown_record(*arguments: str) -> dict[str, Any]:
        assert main([*tail, *arguments]) == 0
        found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
        assert found["framing"] == "confluent"
        return found

    assert "unknown Confluent schema id 7" in shown_record()["error"]
    right = ["--confluent-schema", "8=outcome.v1", "--confluent-schema", "7=prediction_event.v1"]
    assert shown_record(*right)["record"]["request_id"] == "req-5"

    monkeypatch.setenv("PARITYGATE_CONFLUENT_IDS", "7=prediction_event.v1,8=outcome.v1")
    assert shown_record()["record"]["request_id"] == "req-5"
    assert "holds another record, Outcome" in shown_record("--confluent-schema", "7=outcome.v1")["error"]


def test_bad_confluent_ids_are_one_line(
    canned: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping that cannot be read is exit code 2 and names where it was given."""
    tail = ["tail", TOPIC, "--bootstrap", "b:1"]
    assert main([*tail, "--confluent-schema", "seven"]) == 2
    assert "error: --confluent-schema: 'seven' is no ID=RECORD.vN" in capsys.readouterr().err

    monkeypatch.setenv("PARITYGATE_CONFLUENT_IDS", "7=outcom.v1")
    assert main(tail) == 2
    assert "PARITYGATE_CONFLUENT_IDS: no record is called outcom; did you mean outcome?" in capsys.readouterr().err
