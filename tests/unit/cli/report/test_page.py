"""The page and the Markdown hold the same content, need nothing else, and let no text become markup."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest

from paritygate.cli.report.content import document
from paritygate.cli.report.markdown import markdown, plain
from paritygate.cli.report.page import page
from paritygate.dashboard.document import Document
from paritygate.dashboard.elements import element, markup, visible
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.regression import Answer, Difference, Pair
from paritygate.rollouts.review import review
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import Example, WindowReport
from tests.unit.rollouts.conftest import ISSUED_AT_MS, plain_plan, plan, report, windows

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> | ](javascript:alert(3)) `x` \u202e\x1b[2J &amp;"
GOLDEN = Path(__file__).with_name("golden.html")
#: Set to write the golden file anew, after a change that is meant.
REFRESH = "PARITYGATE_REFRESH"


def a_document() -> Document:
    """A fixed story: a climb, then harm in a segment whose name, like every other text, is hostile."""
    changes = {"owner": EVIL, "rollback_condition": EVIL}
    start = Command(
        kind=CommandKind.START, rollout_id="r1", actor=EVIL, reason=EVIL, issued_at_ms=ISSUED_AT_MS,
        plan=plain_plan(**changes),
    )  # fmt: skip
    bad = report(6, origin=EVIL, errors=40, live=9)
    example = Example(request_id=EVIL, kind="candidate_only_error", detail=EVIL, values=(EVIL,))
    records: list[WindowReport] = [
        *windows(0, 4), *windows(4, 6, live=5), replace(bad, examples=(example,)),
        *windows(6, 9, errors=30, live=5),
    ]  # fmt: skip
    fold = Fold()
    decisions: list[GateDecision] = fold.apply_command(0, start)
    for offset, record in enumerate(records):
        decisions += fold.apply_report(offset, record)
    told = review(plan(**changes), decisions, [(0, start)], enumerate(records))
    answers = [
        Answer(
            status="ok", role="primary", model_version=EVIL, latency_ms=1.5, error_type=EVIL, label=EVIL,
            failed_rules=(EVIL,), output={EVIL: EVIL},
        )
        for _ in range(2)
    ]  # fmt: skip
    difference = Difference(path=f"/{EVIL}", kind="value_changed", baseline=EVIL, candidate=EVIL)
    pairs = [Pair(sample=told.samples[0], baseline=answers[0], candidate=answers[1], differences=(difference,))]
    return document(told, pairs, show_values=True)


class Seen(HTMLParser):
    """Every element, attribute and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_the_golden_one() -> None:
    """A fixed log of decisions and windows is the same bytes, on every machine."""
    made = page(a_document()).encode()
    if os.environ.get(REFRESH):
        GOLDEN.write_bytes(made)

    assert made == page(a_document()).encode()
    assert made == GOLDEN.read_bytes()


def test_hostile_text_stays_text() -> None:
    """Names, reasons, ids and payloads make no element and no attribute, and are readable all the same."""
    seen = Seen(page(a_document()))

    assert not {"script", "img", "iframe", "object", "link", "a:href"} & set(seen.elements)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in {"style", "src"}]
    assert {value[0] for name, value in seen.attributes if name == "href"} == {"#"}
    assert seen.text.count("<script>alert(1)</script>") > 8
    assert "\u202e" not in seen.text
    assert "\x1b" not in seen.text


def test_nothing_outside_is_named_and_the_policy_forbids_it() -> None:
    """No address, no script; the one style sheet is allowed by its hash and nothing else is."""
    text = page(a_document())
    (css,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()

    assert f"default-src &#x27;none&#x27;; style-src &#x27;sha256-{digest}&#x27;" in text
    assert "url(" not in css
    assert "@import" not in css
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_markdown_says_the_same_and_lets_no_markup_through() -> None:
    """Every heading and every table row of the page is there; hostile text opens no tag, link or cell."""
    content = a_document()
    text = markdown(content)

    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [s.title for s in content.sections]
    outside_code = re.sub(r"(`+).+?(?<!`)\1(?!`)", "", text)
    assert "<script" not in outside_code
    assert not re.search(r"(?<!\\)\]\(", outside_code)
    for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}
        assert len(widths) == 1


def test_words_of_markdown_stay_words() -> None:
    """A line cannot begin a heading or a list, and an address is no link."""
    assert plain("# no heading") == "\\# no heading"
    assert plain("1. no list") == "1\\. no list"
    assert plain("see https://example.com") == "see https\\://example.com"
    assert plain("a\nb") == "a b"


def test_only_element_makes_markup() -> None:
    """What is text is escaped, in content and in attributes; what hides others is written out."""
    assert element("p", "<b>") == "<p>&lt;b&gt;</p>"
    assert element("p", element("b", "x")) == "<p><b>x</b></p>"
    assert element("p", class_='"><b>') == '<p class="&quot;&gt;&lt;b&gt;"></p>'
    assert markup("a & b") == "a &amp; b"
    assert visible("a\u202eb\x00") == "a\\u202eb\\u0000"
    with pytest.raises(ValueError, match="no name"):
        element("p", **{"x onload": "1"})


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_shows_it_without_sideways_scrolling(width: int, tmp_path: Path) -> None:
    """Chromium renders the page at this width; no script of it runs and nothing is wider than the screen."""
    (tmp_path / "report.html").write_text(page(a_document()))
    # A window is never narrower than 500 px; a frame is as narrow as it is told.
    (tmp_path / "frame.html").write_text(
        f"<body><iframe id=f src=report.html width={width} height=900></iframe><script>"
        "f.onload=()=>{const d=f.contentDocument;document.title=JSON.stringify({wide:d.documentElement.scrollWidth,"
        "charts:d.querySelectorAll('svg.chart').length,color:getComputedStyle(d.querySelector('.mark')).borderRadius,"
        "alerts:window.alerted||0})}</script>"
    )
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", f"--window-size={width + 60},1000",
        "--dump-dom", (tmp_path / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout)
    told = orjson.loads(title)

    assert told["wide"] <= width
    assert told["charts"] > 0
    assert told["color"] != "0px"
