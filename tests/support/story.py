"""A small record: two services, a pause, a rollback by gate and one by hand, and the three logs it stands in.

Law: the logs are those of a real decider (``rollouts.fold``), made without a broker and without a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paritygate.rollouts.fold import Fold
from paritygate.schemas.codec import encode
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import AUDIT, ROLLOUTS, WINDOWS
from tests.unit.rollouts.conftest import command, report, windows

Entry = Command | WindowReport


def story() -> list[Entry]:
    """Records of both logs in the order in which the decider took them."""
    return [
        command("pause"),
        *windows(0, 1),
        command("start"),
        *windows(1, 4),
        command("start", "s1", service="search"),
        command("pause"),
        *windows(4, 5, rollout="s1"),
        *windows(4, 5),
        command("resume"),
        *windows(5, 12, live=5),
        report(12, 0, rollout="s1", errors=50),
        report(12, 1, rollout="s1"),
        command("rollback"),
        command("start", "r2"),
        *windows(13, 16, rollout="r2"),
    ]


@dataclass(frozen=True, slots=True)
class Logs:
    """What lies in the three topics, in log order."""

    commands: list[Command]
    reports: list[WindowReport]
    decisions: list[GateDecision]

    def of(self, rollout: str) -> list[GateDecision]:
        """The decisions of one rollout."""
        return [d for d in self.decisions if d.rollout_id == rollout]

    def records(self) -> dict[str, list[tuple[str, bytes]]]:
        """(key, value) by topic of the table."""
        keys = [f"{r.rollout_id}|{r.partition}|{r.window_start_ms}" for r in self.reports]
        return {
            ROLLOUTS.name: [(c.rollout_id, c.to_bytes()) for c in self.commands],
            WINDOWS.name: [(key, encode(r)) for key, r in zip(keys, self.reports, strict=True)],
            AUDIT.name: [(d.rollout_id, d.to_bytes()) for d in self.decisions],
        }


def logs_of(records: Sequence[Entry]) -> Logs:
    """The logs and what a decider made of them."""
    fold, made = Fold(), []
    for record in records:
        if isinstance(record, Command):
            made += fold.apply_command(fold.commands_next, record)
        else:
            made += fold.apply_report(fold.windows_next, record)
    commands = [r for r in records if isinstance(r, Command)]
    return Logs(commands, [r for r in records if isinstance(r, WindowReport)], made)
