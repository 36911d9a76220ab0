"""A model of one rollout: what commands and verdicts must do to it, in the words of the documentation."""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("shadow", "5", "50", "100")
#: The longest time of a stage that has one, in windows of a second.
MAXIMUM_S = 4


@dataclass
class Model:
    """Where it stands. ``approvals``: stages that ask for one. ``limited``: the stage with a longest time, which
    ``ends`` with a rollback or holds. ``windows``: in the stage; None before the first one of all.
    ``cool_until_ms``: end of the pause after a rollback of its service. ``entered``: the decision that led into its
    stage.
    """

    approvals: tuple[bool, bool, bool]
    limited: int | None
    ends: bool
    status: str = "running"
    at: int = 0
    approved: bool = False
    sequence: int = 0
    windows: int | None = None
    cool_until_ms: int = 0
    entered: int = 0

    @property
    def final(self) -> bool:
        return self.status in ("rolled_back", "abandoned")

    def told(self, kind: str, stage: str, reason: str, verdict: str) -> str:
        """The reason code that a command causes; empty where it changes nothing."""
        there = STAGES[self.at]
        if self.final or kind == "acknowledge":
            return ""
        if kind in ("approve", "promote", "abandon") and not reason:
            return ""
        allowed = {
            "pause": self.status == "running",
            "resume": self.status == "paused",
            "approve": stage == there and self.at < 3 and self.approvals[min(self.at, 2)] and not self.approved,
            "promote": stage == there and self.status == "running",
            "abandon": self.status != "promoted",
            "rollback": True,
        }[kind]
        if not allowed:
            return ""
        if kind == "promote":
            ruled = self.ruling(verdict)[0] if self.windows is not None else "rollback"
            return "force_refused" if ruled == "rollback" else "forced"
        codes = {"pause": "paused", "resume": "resumed", "approve": "approved", "abandon": "abandoned"}
        return codes.get(kind, "operator_rollback")

    def ruling(self, verdict: str, at_ms: int = 0, *, obeyed: bool = True) -> tuple[str, str]:  # noqa: PLR0911
        """Action and reason code of the next look. ``obeyed``: whether its routers have applied the stage."""
        if verdict == "fail":
            return "rollback", "gate_failed"
        if self.status == "paused":
            return "hold", "still_paused"
        if self.status == "promoted":
            return "hold", "promoted"
        if verdict == "error":
            return "hold", "gate_error"
        if verdict == "pass" and at_ms < self.cool_until_ms:
            return "hold", "cool_down"
        if verdict == "pass" and not obeyed:
            return "hold", "ack_missing"
        if verdict == "pass":
            waits = self.approvals[self.at] and not self.approved
            return ("hold", "approval_needed") if waits else ("promote", "proven")
        if self.at == self.limited and (self.windows or 0) >= MAXIMUM_S:
            return ("rollback" if self.ends else "hold"), "timeout"
        return "hold", "more_evidence"

    def happened(self, code: str, action: str) -> None:
        self.sequence += 1
        if action == "rollback":
            self.status, self.at = ("abandoned" if code == "abandoned" else "rolled_back"), 0
        elif action == "promote":
            self.at, self.approved, self.windows, self.entered = self.at + 1, False, 0, self.sequence
            self.status = "promoted" if self.at == 3 else "running"
        elif code == "paused":
            self.status = "paused"
        elif code == "resumed":
            self.status = "running"
        elif code == "approved":
            self.approved = True
