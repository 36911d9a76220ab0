from __future__ import annotations

import orjson
import pytest

from paritygate.cli.notify.change import Change, Kind, Severity
from paritygate.cli.notify.message import CHAT_CHARACTERS, Format, message, next_steps, summary
from paritygate.schemas.decision import Action
from tests.unit.cli.notify.conftest import decision

STEP = Change(Kind.ADVANCED, Severity.INFO, decision(3, "proven", action=Action.PROMOTE))
LINK = "https://page.example/rollouts/{rollout}"


def test_structured_cloudevent() -> None:
    """All required attributes of CloudEvents 1.0, and the decision as data."""
    written = message(STEP, Format.CLOUDEVENTS, LINK)
    event = orjson.loads(written.body)

    assert written.headers == {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert event["specversion"] == "1.0"
    assert event["id"] == written.message_id == STEP.decision.decision_id
    assert event["source"] == "/paritygate/rollouts/r1"
    assert event["type"] == "paritygate.rollout.advanced"
    assert event["time"] == "2023-11-14T22:13:23.000Z"
    assert event["data"]["reason"] == "because"
    assert event["data"]["weight"] == 5
    assert event["data"]["link"] == "https://page.example/rollouts/r1"
    assert all(name.isalnum() and name.islower() for name in event)


def test_binary_cloudevent_has_its_attributes_in_headers() -> None:
    """The body is the data alone; each attribute is a ce- header; both ways say the same."""
    binary, structured = (message(STEP, f) for f in (Format.CLOUDEVENTS_BINARY, Format.CLOUDEVENTS))
    whole = orjson.loads(structured.body)

    assert orjson.loads(binary.body) == whole["data"]
    assert binary.headers["content-type"] == whole["datacontenttype"] == "application/json"
    attributes = {k: v for k, v in whole.items() if k not in ("data", "datacontenttype")}
    assert {k.removeprefix("ce-"): v for k, v in binary.headers.items() if k.startswith("ce-")} == attributes


def test_slack_message() -> None:
    """Text, colour and next steps; nothing in a reason can call a channel or end a code span."""
    nasty = decision(4, "approval_needed", reason="<!channel> & `rm`" + "x" * 5_000)
    body = orjson.loads(message(Change(Kind.WAITING, Severity.WARNING, nasty), Format.SLACK, LINK).body)
    text = body["attachments"][0]["text"]

    assert body["text"] == "*r1 waits for a person in stage 5 (5 % of live traffic)*"
    assert text.startswith("&lt;!channel&gt; &amp; 'rm'")
    assert "paritygate approve r1 --stage 5" in text
    assert "<https://page.example/rollouts/r1|open>" in text
    assert len(text) < CHAT_CHARACTERS + 400


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.ROLLED_BACK, "r1 was rolled back from stage 5"),
        (Kind.STARTED, "r1 started in the shadow"),
        (Kind.COMPLETED, "r1 has all of the traffic at stage 5"),
    ],
)
def test_summary(kind: Kind, words: str) -> None:
    """Who stands where, in one sentence."""
    assert summary(Change(kind, Severity.INFO, decision(1, "x"))).startswith(words)


def test_an_instant_that_is_none_is_left_out() -> None:
    """A time that no calendar has makes no invalid attribute."""
    event = orjson.loads(
        message(Change(Kind.HELD, Severity.INFO, decision(1, "x", at_ms=1 << 62)), Format.CLOUDEVENTS).body
    )

    assert "time" not in event


def test_next_steps_are_for_who_must_act() -> None:
    """Every message says how to see why; one that waits says what may be said."""
    assert next_steps(STEP) == ["paritygate explain r1 3"]
    assert len(next_steps(Change(Kind.WAITING, Severity.WARNING, decision(1, "approval_needed")))) == 3
