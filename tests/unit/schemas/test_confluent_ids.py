from __future__ import annotations

from importlib.resources import files

import pytest

from paritygate.schemas.codec import decode_prediction, encode
from paritygate.schemas.confluent_ids import parse_confluent_ids
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.registry import REGISTRY


def test_each_id_gets_its_schema() -> None:
    """Entries are separated by commas; spaces and an empty end change nothing; no text is no id."""
    found = parse_confluent_ids(" 7=prediction_event.v1, 8 = outcome.v1,\n900=window_report.v1,")

    assert {i: (s.record, s.version) for i, s in found.items()} == {
        7: ("PredictionEvent", 1), 8: ("Outcome", 1), 900: ("WindowReport", 1),
    }  # fmt: skip
    assert parse_confluent_ids("") == {}


def test_every_packaged_schema_can_be_named() -> None:
    """The names are those of the packaged files, for each record and version that there is."""
    names = [f.name.removesuffix(".avsc") for f in (files("paritygate.schemas") / "avro").iterdir()]
    found = parse_confluent_ids(",".join(f"{n}={name}" for n, name in enumerate(names))).values()

    assert names
    assert {(s.record, s.version) for s in found} == {
        (s.record, s.version) for record in REGISTRY.records for s in REGISTRY.versions(record)
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("7", "'7' is no ID=RECORD.vN"),
        ("7=prediction_event", "is no ID=RECORD.vN"),
        ("-7=outcome.v1", "is no ID=RECORD.vN"),
        ("x=outcome.v1", "is no ID=RECORD.vN"),
        ("7=outcome.v0", "is no ID=RECORD.vN"),
        ("2147483648=outcome.v1", "they go up to 2147483647"),
        ("7=predicton_event.v1", "did you mean prediction_event?"),
        ("7=zzz.v1", "there are outcome, platform_event"),
        ("7=outcome.v99", "7=outcome.v99: no version 99 of Outcome; there are 1"),
        ("7=outcome.v1,7=prediction_event.v1", "schema id 7 is given two schemas"),
    ],
)
def test_bad_text_names_the_mend(text: str, says: str) -> None:
    """Whatever is wrong: an error that names the place of the text, the entry and what to write."""
    with pytest.raises(ConfigError, match=r"^HERE: ") as caught:
        parse_confluent_ids(text, source="HERE")
    assert says in str(caught.value)


def test_a_confluent_framed_event_is_read_by_its_id() -> None:
    """What a producer with a schema registry writes decodes to the same event as our own framing."""
    event = PredictionEvent(
        request_id="req-1",
        rollout_id="r1",
        arm=Arm.CANDIDATE,
        role=Role.SHADOW,
        event_at_ms=1_700_000_000_000,
        latency_ms=1.5,
        status=Status.OK,
        model_version="2",
        output='{"prediction":"ok"}',
    )
    framed = b"\x00" + (7).to_bytes(4, "big") + encode(event)[10:]

    assert decode_prediction(framed, confluent_ids=parse_confluent_ids("7=prediction_event.v1")) == event
