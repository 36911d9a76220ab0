"""What is sent: a CloudEvent 1.0 (structured or binary, JSON) or a message that Slack takes. Pure.

Law: the id of a message is that of its decision, so that a receiver which gets one twice can tell. The data hold
what stands in the decision and nothing of any request.

Sources: CloudEvents 1.0.2, HTTP protocol binding; Slack, formatting text for app surfaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

import orjson

from paritygate.cli.notify.change import Change, Kind, Severity
from paritygate.cli.render import UNKNOWN, instant

EVENT_TYPE: Final = "paritygate.rollout."
#: A reason longer than this is cut in a chat message; the CloudEvent has it whole.
CHAT_CHARACTERS: Final = 1_500
_COLOURS: Final = {Severity.INFO: "#2e7d32", Severity.WARNING: "#f9a825", Severity.CRITICAL: "#c62828"}
_WORDS: Final = {
    Kind.STARTED: "started",
    Kind.ADVANCED: "went up to",
    Kind.COMPLETED: "has all of the traffic at",
    Kind.ROLLED_BACK: "was rolled back from",
    Kind.ABANDONED: "was abandoned in",
    Kind.PAUSED: "is paused in",
    Kind.RESUMED: "goes on in",
    Kind.APPROVED: "is approved to leave",
    Kind.WAITING: "waits for a person in",
    Kind.HELD: "is held in",
}


@unique
class Format(StrEnum):
    """How a message is written."""

    CLOUDEVENTS = "cloudevents"  # structured: attributes and data in one JSON document
    CLOUDEVENTS_BINARY = "cloudevents-binary"  # attributes in headers, data as the body
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class Message:
    """Body and headers of one POST. ``message_id`` stays the same however often it is sent."""

    message_id: str
    headers: Mapping[str, str]
    body: bytes


def message(change: Change, format_: Format, link: str = "") -> Message:
    """Write ``change`` down. ``link`` may hold ``{rollout}``."""
    decision = change.decision
    message_id = decision.decision_id
    url = link.replace("{rollout}", decision.rollout_id)
    if format_ is Format.SLACK:
        return Message(message_id, {"content-type": "application/json; charset=utf-8"}, _slack(change, url))
    attributes = {
        "specversion": "1.0",
        "id": message_id,
        "source": f"/paritygate/rollouts/{decision.rollout_id}",
        "type": EVENT_TYPE + change.kind.value,
        "subject": decision.rollout_id,
        "severity": change.severity.value,
    }
    if (time := instant(decision.at_ms)) != UNKNOWN:
        attributes["time"] = time
    data = _data(change, url)
    if format_ is Format.CLOUDEVENTS_BINARY:
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        return Message(message_id, {**headers, "content-type": "application/json"}, _json(data))
    whole = {**attributes, "datacontenttype": "application/json", "data": data}
    kind = "application/cloudevents+json; charset=utf-8"
    return Message(message_id, {"content-type": kind}, _json(whole))


def summary(change: Change) -> str:
    """One sentence without the reason."""
    decision = change.decision
    place = decision.from_stage if change.kind in (Kind.ROLLED_BACK, Kind.ABANDONED) else decision.stage
    where = "in the shadow" if change.kind is Kind.STARTED else f"stage {place}"
    live = f"{decision.weight} % of live traffic" if decision.weight else "no live traffic"
    return f"{decision.rollout_id} {_WORDS[change.kind]} {where} ({live})"


def next_steps(change: Change) -> list[str]:
    """What a person may say now, as command lines."""
    decision = change.decision
    rollout = decision.rollout_id
    steps = [f"paritygate explain {rollout} {decision.sequence}"]
    if decision.reason_code == "approval_needed":
        steps.append(f'paritygate approve {rollout} --stage {decision.stage} --reason "..."')
    if change.kind in (Kind.WAITING, Kind.HELD):
        steps.append(f'paritygate rollback {rollout} --reason "..."')
    return steps


def _data(change: Change, url: str) -> dict[str, Any]:
    decision = change.decision
    found = {
        "summary": summary(change),
        "severity": change.severity.value,
        "next_steps": next_steps(change),
        "decision_id": decision.decision_id,
        **{
            name: getattr(decision, name)
            for name in (
                "rollout_id", "sequence", "stage", "weight", "from_stage", "reason_code", "reason", "at_ms",
                "baseline_version", "candidate_version", "exposed_requests", "worst_segment",
            )
        },
        "action": decision.action.value,
    }  # fmt: skip
    return {**found, "link": url} if url else found


def _slack(change: Change, url: str) -> bytes:
    decision = change.decision
    text = f"*{_escaped(summary(change))}*"
    reason = decision.reason
    cut = reason if len(reason) <= CHAT_CHARACTERS else f"{reason[: CHAT_CHARACTERS - 1]}…"
    lines = [_escaped(cut), *(f"`{_escaped(step)}`" for step in next_steps(change))]
    lines += [f"<{_escaped(url)}|open>"] if url else []
    attachment = {
        "color": _COLOURS[change.severity],
        "text": "\n".join(lines),
        "mrkdwn_in": ["text"],
        "footer": f"decision {decision.decision_id}",
        "ts": decision.at_ms // 1000,
    }
    return _json({"text": text, "attachments": [attachment]})


def _escaped(text: str) -> str:
    """A reason must neither call a whole channel (``<!channel>``) nor end a code span."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("`", "'")


def _json(plain: Mapping[str, Any]) -> bytes:
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
