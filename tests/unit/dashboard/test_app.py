"""The pages and the API answer as they say, to the right hosts, and no text becomes markup."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from paritygate import dashboard
from paritygate.dashboard import openapi, trends
from paritygate.dashboard.app import MAX_BODY_BYTES, DashboardSettings, create_app
from paritygate.dashboard.document import Link
from paritygate.dashboard.elements import markup
from tests.support.board import EVIL, HEARD_MS, follower_of, hostile_report, many_segments
from tests.support.measured import llm_story
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import command, windows

STORY = [*story(), hostile_report(16, rollout="r2"), hostile_report(17, 1, rollout="r2")]


def client(*records: Any) -> TestClient:
    """A client of a dashboard that has read these records."""
    app = create_app(follower_of(logs_of(records)), DashboardSettings(), lambda: HEARD_MS + 1000)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    with client(*STORY) as found:
        yield found


class Seen(HTMLParser):
    """Elements, attributes and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            self.attributes.append(name)
            self.links += [value or ""] if name == "href" else []
            self.ids += [value or ""] if name == "id" else []


def test_every_link_leads_somewhere(site: TestClient) -> None:
    """From the list on, every link of every page answers 200, or names a part of its own page."""
    seen, left = set(), ["/"]
    while left:
        path = left.pop()
        told = site.get(path)
        assert told.status_code in {200, 503} if "/example" in path else told.status_code == 200, path
        seen.add(path)
        if told.headers["content-type"].startswith("text/html"):
            page = Seen(told.text)
            assert len(page.ids) == len(set(page.ids)), path
            assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
            assert page.elements.count("h1") == 1
            left += [link for link in page.links if link.startswith("/") and link not in seen and link not in left]

    assert len(seen) > 20
    assert any(path.startswith("/rollouts/r2/segment?origin=%3Cscript") for path in seen)


def test_names_from_records_stay_text(site: TestClient) -> None:
    """On every page the hostile segment and request are words; nothing of them is an element or attribute."""
    where = f"/rollouts/r2/segment?origin={quote(EVIL)}"
    for path in ("/", "/rollouts/r2", "/rollouts/r2/segments", where, "/rollouts/r2/decisions/5"):
        text = site.get(path).text
        page = Seen(text)
        assert page.elements.count("script") == 1, path
        assert not {"img", "iframe", "object", "style"} & set(page.elements)
        assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
        assert "\u202e" not in text
    assert markup(EVIL) in site.get(where).text
    assert f"<code>{markup(EVIL)}</code>" in site.get(where).text  # the trace of the example


def test_the_policy_lets_nothing_in(site: TestClient) -> None:
    """Every answer forbids what does not come from here, framing and sniffing; other hosts are refused."""
    for path in ("/", "/rollouts/r1", "/v1/rollouts", "/static/page.js", "/nothing", "/rollouts/none"):
        headers = site.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert site.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "javascript:alert(1)", "https://x"])
def test_a_link_stays_on_this_server(path: str) -> None:
    """No path that a browser would read as another place can be made a link."""
    with pytest.raises(ValueError, match="no path"):
        Link("x", path)


def test_the_page_of_a_thousand_segments(site: TestClient) -> None:
    """Twelve are on the rollout's page, the worst first; all of them are a page away."""
    with client(
        command("start"), *[many_segments(w, 1000, partition=p) for w in range(3) for p in range(2)]
    ) as big:
        page = Seen(big.get("/rollouts/r1").text)
        shown = [link for link in page.links if "/segment?" in link]
        whole = Seen(big.get("/rollouts/r1/segments").text)

    assert len(shown) == 12
    assert [link[-5:] for link in shown[:10]] == [f"s{i:02}00" for i in range(10)]
    assert len([link for link in whole.links if "/segment?" in link]) == 1000


def test_the_verdict_is_what_argo_reads(site: TestClient) -> None:
    """``$.verdict`` is one of three words; an unknown rollout is 404 with a sentence."""
    assert site.get("/v1/rollouts/s1/verdict").json()["verdict"] == "fail"
    told = site.get("/v1/rollouts/none/verdict")
    assert (told.status_code, told.json()) == (404, {"error": "no rollout 'none' has a decision"})


def test_flagger_is_answered(site: TestClient) -> None:
    """200 goes on, 403 waits, and a body that is none or too large is said so."""
    body = {"name": "podinfo", "namespace": "x", "phase": "Progressing", "metadata": {"rollout": "s1"}}
    assert site.post("/v1/flagger/rollback", json=body).status_code == 200
    assert site.post("/v1/flagger/confirm-promotion", json=body).status_code == 403
    assert site.post("/v1/flagger/rollback", json={"name": "s1"}).json()["go"] is True
    assert site.post("/v1/flagger/rollback", content=b"[").status_code == 400
    assert site.post("/v1/flagger/rollback", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    assert site.post("/v1/flagger/elsewhere", json=body).status_code == 404


def test_readiness_is_not_health(site: TestClient) -> None:
    """A process whose broker is away is healthy, and not ready."""
    assert site.get("/readyz").json() == {"ready": True, "complaints": []}
    follower = follower_of(logs_of(STORY))
    late = create_app(follower, DashboardSettings(), lambda: HEARD_MS + 60_000)
    with TestClient(late, base_url="http://localhost") as away:
        assert away.get("/readyz").status_code == 503
        assert away.get("/healthz").status_code == 200
        assert "Everything here is stale" in away.get("/").text


def test_metrics_are_those_of_the_table(site: TestClient) -> None:
    """The process says how it stands, in declared series alone."""
    text = site.get("/metrics").text

    assert "paritygate_dashboard_broker_up 1.0" in text
    assert "paritygate_dashboard_pages_total" in text


def test_the_trend_is_told_in_columns(site: TestClient) -> None:
    """One number a pane in each column, as on its page; what is not known is null."""
    told = site.get("/v1/rollouts/r1/trend").json()
    rows = site.get("/rollouts/r1/trend").text.count("<tr>") - 1

    assert {len(told[name]) for name in trends.COLUMNS} == {rows}
    assert told["compared_per_s"][0] == 120.0
    assert set(told["candidate_p95_ms"]) == {None}
    assert [mark["stage"] for mark in told["stages"]] == [
        d.stage for d in logs_of(STORY).of("r1") if d.stage != d.from_stage
    ]


def test_a_number_stands_beside_the_gate_that_judges_it() -> None:
    """Tokens, citations, review scores and OOMs of a language model: both arms, the plan's line, the verdict."""
    with client(*llm_story("llm", 8)) as told:
        text = told.get("/rollouts/llm").text
    sides = text[text.index('id="sides"') : text.index('id="trend"')]
    rows = {row.partition("<span>")[2].partition("<")[0]: row for row in sides.split("<tr>")}

    for measure, line in (
        ("prompt tokens", "maximum_regression_percent 10"),
        ("citation rate", "minimum_delta -0.05"),
        ("abstention rate", "maximum_delta 0.05"),
        ("fallback rate", "maximum_delta 0.02"),
        ("human review score", "minimum_delta -0.1"),
        ("invalid outputs", "minimum 0.9"),
        ("latency p95", "maximum 4000"),
        ("GPU out-of-memory events", "maximum 0"),
    ):
        assert line in rows[measure], measure
        assert "mark" in rows[measure]
    assert "[" in rows["citation rate"].partition("minimum_delta")[2]
    memory = rows["memory of an instance, mean"]
    assert all(told in memory for told in ("2.5 GiB", "3.0 GiB", "+512 MiB", "64 and 48 reports")), memory


def test_what_others_made_is_as_they_made_it() -> None:
    """Each vendored file lies beside its licence and has the digest that its origin names."""
    places = Path(dashboard.__file__).parent / "vendor", Path(__file__).parents[2] / "support" / "vendor"
    for origin in [o for place in places for o in place.glob("*/ORIGIN")]:
        lines = [line.split() for line in origin.read_text().rpartition("sha256\n")[2].splitlines()]
        found = {p.name: sha256(p.read_bytes()).hexdigest() for p in origin.parent.iterdir() if p != origin}
        assert found == {name: digest for digest, name in lines}
        assert "LICENSE" in found


DOCUMENT = openapi.document("0")
NAMES = st.one_of(st.sampled_from(["r1", "s1", "r2"]), st.text(min_size=1, max_size=20))
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "metadata", "rollout", "canaryWeight", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ),
)


@settings(max_examples=60)
@given(data=st.data(), name=NAMES, body=BODIES)
def test_the_document_is_kept(site: TestClient, data: st.DataObject, name: str, body: Any) -> None:
    """Whatever is asked, the answer is one that the document lists for that path, with the fields it promises."""
    path, methods = data.draw(st.sampled_from([p for p in DOCUMENT["paths"].items() if p[0] != "/v1/events"]))
    hooks = DOCUMENT["paths"]["/v1/flagger/{hook}"]["post"]["parameters"][0]["schema"]["enum"]
    hook = data.draw(st.sampled_from(hooks))
    asked = path.replace("{name}", quote(name, safe="")).replace("{hook}", hook)
    ((method, about),) = methods.items()
    if isinstance(body, bytes) or method == "get":
        told = site.request(method, asked, content=body if isinstance(body, bytes) else None)
    else:
        told = site.request(method, asked, content=_json(body))

    # A slash in a name is another path, and a server may unquote it; such a path is not in the document.
    assert told.status_code in {int(code) for code in about["responses"]} | ({404} if "/" in name else set())
    if told.headers["content-type"] == "application/json" and str(told.status_code) in about["responses"]:
        reference = about["responses"][str(told.status_code)]["content"]["application/json"]["schema"]["$ref"]
        schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
        assert set(schema.get("required", ())) <= set(told.json())
        assert set(told.json()) <= set(schema["properties"])


def _json(body: Any) -> bytes:
    import json  # noqa: PLC0415  (NaN and lone surrogates, which orjson refuses)

    return json.dumps(body).encode()


def test_the_document_is_served(site: TestClient) -> None:
    """It names every path of the API that there is."""
    told = site.get("/openapi.json").json()

    assert told["openapi"] == "3.1.0"
    assert set(told["paths"]) == set(DOCUMENT["paths"])


def test_windows_are_not_needed_for_a_page() -> None:
    """Before any window was read the page shows the decision and says what is missing."""
    with client(command("start"), *windows(0, 0)) as bare:
        text = bare.get("/rollouts/r1").text

    assert "started by ann" in text
    assert bare.get("/v1/rollouts/r1").status_code == 200
