"""axe-core finds nothing on any page, in both themes and widths; a keyboard alone is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from paritygate.dashboard import app
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.topics import ROUTER_ACKS
from tests.support.board import EVIL, HEARD_MS, follower_of, hostile_report, many_segments, served
from tests.support.browser import Page, needs_chromium
from tests.support.measured import llm_story
from tests.support.story import Entry, logs_of, story
from tests.unit.rollouts.conftest import ORIGIN_MS, command, windows

pytestmark = needs_chromium
STORY: list[Entry] = [
    *story(), *windows(16, 18, rollout="r2"), command("start", "live", service="other"),
    *[many_segments(w, 30, rollout="live", partition=p) for w in range(2) for p in range(2)],
    *llm_story("llm", 12), hostile_report(18, rollout="r2"), hostile_report(18, 1, rollout="r2"),
]  # fmt: skip
#: Every kind of page.
PAGES = (
    "/",
    "/rollouts/llm",
    "/rollouts/r2",
    "/rollouts/live/segments",
    f"/rollouts/r2/segment?origin={quote(EVIL)}",
    f"/rollouts/r2/example?request={quote(EVIL)}",
    "/rollouts/r1/decisions/5",
    "/rollouts/llm/trend",
    "/rollouts/none",
)
AXE = (Path(__file__).parents[2] / "support" / "vendor" / "axe" / "axe.min.js").read_text()


def answered(*_: Any) -> dict[Arm, PredictionEvent]:
    """Both answers to the hostile request, with payloads that would like to be markup."""
    return {
        arm: PredictionEvent(
            request_id=EVIL, rollout_id="r2", arm=arm, role=Role.PRIMARY, model_version=EVIL, status=Status.OK,
            event_at_ms=ORIGIN_MS, latency_ms=3.0, label=label,
            output=f'{{"<img src=x onerror=alert(3)>": "{label}"}}',
        )
        for arm, label in ((Arm.BASELINE, "<script>alert(4)</script>"), (Arm.CANDIDATE, "</code><b>bold</b>"))
    }  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A dashboard with values shown, a router that obeys and one that has a hostile name."""
    follower = follower_of(logs_of(STORY))
    for router, weight in (("gateway", 0), (EVIL, 5)):
        ack = RouterAck(
            rollout_id="llm", router_id=router, sequence=0, weight=weight, state="applied", applied_at_ms=HEARD_MS
        )
        follower.board.take(ROUTER_ACKS.name, 0, HEARD_MS, b"llm", ack.to_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "answers", answered)
        with served(follower, app.DashboardSettings(show_values=True)) as found:
            yield found


@pytest.mark.parametrize(("width", "dark"), [(390, True), (390, False), (1440, True), (1440, False)])
def test_axe_has_nothing_to_say(tab: Page, address: str, width: int, dark: bool) -> None:
    """No finding of any impact, nothing wider than the screen, and nothing refused or run."""
    for path in PAGES:
        tab.show(width, dark=dark).open(address + path)
        if path == "/rollouts/llm":
            tab.wait("document.querySelectorAll('.plot[aria-label] canvas').length === 5")
        assert tab.run("document.documentElement.scrollWidth <= innerWidth"), path
        tab.run(f"{AXE}; 1")
        found = tab.run("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
        told = [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found]

        assert told == [], path
        assert not [c for c in tab.complaints if "404" not in c], path


def test_payloads_are_read_as_they_are_written(tab: Page, address: str) -> None:
    """Markup in names and in both answers is text: no element of it is there, and no dialog ever opened."""
    tab.show(1440).open(f"{address}/rollouts/r2/example?request={quote(EVIL)}")

    assert "<script>alert(4)</script>" in tab.text
    assert "</code><b>bold</b>" in tab.text
    assert "<img src=x onerror=alert(3)>" in tab.text
    assert tab.run("document.querySelectorAll('main img, main script, main b').length") == 0


def test_a_keyboard_is_enough(tab: Page, address: str) -> None:
    """The first Tab offers to skip the bar; Tab goes through every link in order, each seen; Enter follows one."""
    tab.show(1440).open(f"{address}/rollouts/r2")
    tab.press("Tab")
    assert tab.run("document.activeElement.textContent") == "Skip to the content"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Enter")
    tab.wait("location.hash === '#content' && document.activeElement.id === 'content'")
    seen = []
    for _ in range(200):
        tab.press("Tab")
        told = tab.run("[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]")
        if told[0] == "BODY":
            break
        assert told[1] != "none", told
        seen.append(tab.run("document.activeElement.getAttribute('href')"))
    links = tab.run("[...document.querySelectorAll('main a[href]')].map(a => a.getAttribute('href'))")

    assert [s for s in seen if s in links][: len(links)] == links
    tab.run("document.querySelector('a[href*=\"/segment?\"]').focus()")
    tab.press("Enter")
    tab.wait("location.pathname.endsWith('/segment')")
