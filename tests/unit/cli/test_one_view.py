"""``paritygate watch`` and the page show one view: the same sentence, ladder and table."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from paritygate.cli.console import clean
from paritygate.cli.follow import Declared
from paritygate.cli.render import panel
from paritygate.dashboard.app import DashboardSettings, create_app
from paritygate.dashboard.elements import visible
from paritygate.dashboard.words import measured
from paritygate.rollouts.view import RungState, lines_of, rows, rungs, where
from tests.support.board import HEARD_MS, follower_of, hostile_report
from tests.support.measured import llm_story
from tests.support.story import logs_of, story

LOGS = logs_of([*story(), hostile_report(16, rollout="r2"), *llm_story("llm", 6)])
PLANS = {c.rollout_id: c.plan for c in LOGS.commands if c.plan is not None}
SIGNS = {RungState.CLIMBED: "✓", RungState.HERE: "●", RungState.FELL: "✗", RungState.AHEAD: "○"}


class Words(HTMLParser):
    """The text of a page, its spaces as one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.feed(page)
        self.text = squeezed(" ".join(self._parts))

    def handle_data(self, data: str) -> None:
        self._parts.append(data)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("rollout", ["r1", "s1", "r2", "llm"])
def test_watch_shows_what_the_page_shows(rollout: str) -> None:
    """Of a rollout that runs, one that a gate rolled back and one rolled back by hand: each word is in both."""
    d, plan = LOGS.of(rollout)[-1], PLANS[rollout]
    declared, out = Declared.of(plan), io.StringIO()
    Console(file=out, width=2000, markup=False, highlight=False).print(panel(d, declared))
    terminal = squeezed(out.getvalue())
    app = create_app(follower_of(LOGS), DashboardSettings(hosts=("*",)), lambda: HEARD_MS)
    with TestClient(app) as client:
        page = Words(client.get(f"/rollouts/{rollout}").text).text
        told = Words(client.get(f"/rollouts/{rollout}/decisions/{d.sequence}").text).text

    said = f"{d.action.value} {where(d)}"
    assert squeezed(clean(said)) in terminal
    assert squeezed(visible(said)) in page
    assert squeezed(visible(said)) in told
    ladder = rungs(declared.rungs, d)
    assert " → ".join(f"{SIGNS[r.state]} {r.label}" for r in ladder) in terminal
    assert " ".join(f"{r.label} , {r.state}" for r in ladder) in page
    for row in rows(d, lines_of(plan)):
        value = measured(row.value, row.low, row.high, row.line.unit)
        for words in (row.line.gate, row.verdict, row.line.declared, value, row.segment, row.reason):
            assert squeezed(clean(words)).strip() in terminal
            assert squeezed(visible(words)).strip() in told
    if d.verdicts:
        assert all(f" {column} " in told for column in ("gate", "verdict", "line", "value", "segment", "why"))
