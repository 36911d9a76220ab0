"""A real browser goes from the list to one request, sees changes come, and finds nothing that runs or overflows."""

from __future__ import annotations

import pytest

from paritygate.dashboard import lookup
from paritygate.schemas.topics import AUDIT, WINDOWS
from tests.support.board import EVIL, HEARD_MS, follower_of, hostile_report, many_segments, served
from tests.support.browser import Page, needs_chromium
from tests.support.measured import timed
from tests.support.story import Entry, logs_of, story
from tests.unit.rollouts.conftest import command, windows

pytestmark = needs_chromium
STORY = [
    *story(), *windows(16, 18, rollout="r2"), command("start", "live", service="other"),
    *[many_segments(w, 30, rollout="live", partition=p) for w in range(2) for p in range(2)],
    hostile_report(18, rollout="r2"), hostile_report(18, 1, rollout="r2"),
]  # fmt: skip


def test_from_the_list_to_one_request(tab: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """List, rollout, segment, request: each a click away; hostile names are read as they are written."""
    monkeypatch.setattr(lookup, "_ANSWER_S", 0.3)
    with served(follower_of(logs_of(STORY))) as address:
        tab.show(1440).open(address)
        assert "Rollouts" in tab.text
        tab.click("a[href='/rollouts/r2']")
        assert "rolled back" in tab.text
        assert "<script>alert(1)</script>" in tab.text
        tab.click("a[href*='/segment?']")
        assert EVIL.split("\u202e")[0] in tab.text
        tab.click("a[href*='/example?']")

        # No broker is there to ask for the payload, and the page says so.
        assert "no Kafka broker answers" in tab.text
        assert not [c for c in tab.complaints if "503" not in c]


def test_a_new_decision_comes_by_itself(tab: Page) -> None:
    """The page that is open shows the next decision without being loaded again."""
    logs = logs_of([*STORY, *windows(18, 24, rollout="live")])
    less = logs_of(STORY)
    more = logs.of("live")[len(less.of("live")) :]
    follower = follower_of(less)
    with served(follower) as address:
        tab.show(1440).open(f"{address}/rollouts/live")
        tab.run("window.stayed = true")
        tab.wait("document.getElementById('connection').textContent === 'live'")
        last = more[-1] if more else less.of("live")[-1].model_copy(
            update={"sequence": less.of("live")[-1].sequence + 1, "previous": less.of("live")[-1].digest(),
                    "reason": "something new"}
        )  # fmt: skip
        for decision in more or [last]:
            follower.board.take(AUDIT.name, 10_000, HEARD_MS, b"live", decision.to_bytes())
        follower.told()
        tab.wait(f"document.getElementById('now').innerText.includes('Decision {last.sequence},')")

        assert tab.run("window.stayed") is True
    tab.wait("document.getElementById('connection').textContent.includes('stale')")
    assert "goes on by itself" in tab.text


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)])
def test_both_themes_and_widths(tab: Page, width: int, dark: bool) -> None:
    """Nothing is wider than the screen, ground and ink differ, regions have names, nothing is refused."""
    with served(follower_of(logs_of(STORY))) as address:
        for path in (
            "/",
            "/rollouts/live",
            "/rollouts/r2",
            "/rollouts/live/segments",
            "/rollouts/live/trend",
            "/rollouts/live/decisions/0",
        ):
            tab.show(width, dark=dark).open(address + path)
            assert tab.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            ground, ink = tab.run(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert (_light(ground), _light(ink)) == (not dark, dark)
            unnamed = "!document.getElementById(s.getAttribute('aria-labelledby'))"
            assert tab.run(f"[...document.querySelectorAll('section')].filter(s => {unnamed}).length") == 0
            assert tab.run("document.querySelectorAll('th:not([scope])').length") == 0
            assert tab.complaints == []


def test_charts_follow_the_windows(tab: Page) -> None:
    """Charts are drawn from the panes, told in words too, and go on with each push without asking for all again."""
    started: list[Entry] = [command("start"), *[timed(w, 10, 20) for w in windows(0, 20, live=6)]]
    follower, more = follower_of(logs_of(started)), logs_of([timed(w, 10, 80) for w in windows(20, 23)])
    with served(follower) as address:
        tab.show(1440).open(f"{address}/rollouts/r1")
        tab.wait("document.querySelectorAll('.plot[aria-label] canvas').length === 5")
        said = "[...document.querySelectorAll('.plot')].map(p => p.getAttribute('aria-label')).join('; ')"
        assert "Latency p95, newest: stable 10" in tab.run(said)
        assert "users got candidate 12 /s" in tab.run(said)
        tab.wait("document.getElementById('connection').textContent === 'live'")
        tab.run("document.querySelector('canvas').dataset.stayed = 'yes'")
        for offset, (key, value) in enumerate(more.records()[WINDOWS.name]):
            follower.board.take(WINDOWS.name, 1000 + offset, HEARD_MS, key.encode(), value)
        follower.told()
        tab.wait(f"{said}.includes('candidate 8')")

        assert tab.run("document.querySelectorAll('canvas[data-stayed]').length") == 1
        asked = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/trend')).length"
        assert tab.run(asked) == 1
        assert tab.complaints == []
        tab.click("a[href$='/trend']")
        assert tab.run("document.querySelectorAll('tbody tr').length") == 23


def _light(color: str) -> bool:
    channels = [int(c) for c in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) > 3 * 128


def test_it_prints(tab: Page) -> None:
    """On paper the bar is gone and the content is there."""
    with served(follower_of(logs_of(STORY))) as address:
        tab.show(1000, media="print").open(f"{address}/rollouts/live")

        assert tab.run("getComputedStyle(document.querySelector('.top')).display") == "none"
        assert "Where is it worse" in tab.text


def test_a_thousand_segments_are_painted(tab: Page) -> None:
    """The whole ranking is there and can be walked by its links."""
    big: list[Entry] = [
        command("start"),
        *[many_segments(w, 1000, partition=p) for w in (0,) for p in (0, 1)],
    ]
    with served(follower_of(logs_of(big))) as address:
        tab.show(1440).open(f"{address}/rollouts/r1/segments")

        assert tab.run("document.querySelectorAll('tbody tr').length") == 1000
        assert tab.run("document.querySelector('tbody a').textContent") == "origin=s0000"
