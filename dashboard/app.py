"""App: the routes of the dashboard, over a follower that keeps the board.

Law: it only reads: no route changes anything anywhere. What a browser may load comes from here alone (a strict
policy on every answer), names from records are text, and a host that it was not told is refused, so that a page on
the internet cannot read it through the visitor's browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from prometheus_client import generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from paritygate.comparators.validation import OutputValidator
from paritygate.dashboard import api, details, openapi, paths, trends
from paritygate.dashboard.answers import HEADERS, json_answer, static_file
from paritygate.dashboard.board import Entry
from paritygate.dashboard.document import Paragraph
from paritygate.dashboard.follow import Follower
from paritygate.dashboard.freshness import Look, complaints, is_away
from paritygate.dashboard.lookup import answers
from paritygate.dashboard.overview import overview
from paritygate.dashboard.parts import Part, notices, page, part
from paritygate.dashboard.push import digest_of
from paritygate.dashboard.reviews import Reviews
from paritygate.dashboard.rollout import heading, rollout_parts
from paritygate.dashboard.streaming import Streams
from paritygate.dashboard.verdict import HOOKS, answer
from paritygate.dashboard.worst import WorstSegments
from paritygate.rollouts.regression import Showing
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.metrics import Counter, Gauge, Metrics
from paritygate.schemas.prediction import Arm

#: Largest body of a hook.
MAX_BODY_BYTES: Final = 64 * 1024
#: How often evidence of open rollouts is added up though nobody looks.
WARM_EVERY_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """``hosts``: names under which it may be asked, ``*`` for any. ``show_values``: payloads as they are."""

    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    show_values: bool = False
    version: str = "0"


def create_app(follower: Follower, settings: DashboardSettings, now_ms: Callable[[], int]) -> Starlette:
    """The application; it starts the follower and closes it. ``app.state.let_go()`` ends the open streams."""
    site = _Site(follower, settings, now_ms)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        site.streams.loop = asyncio.get_running_loop()
        follower.start()
        warming = asyncio.create_task(site.keep_warm())
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.to_thread(follower.close)

    get, post = ["GET"], ["POST"]
    below = "/rollouts/{name}"
    app = Starlette(
        routes=[
            Route("/", site.list_page, methods=get),
            Route("/events", site.list_events, methods=get),
            Route(below, site.rollout_page, methods=get),
            Route(f"{below}/events", site.rollout_events, methods=get),
            Route(f"{below}/segments", site.segments_page, methods=get),
            Route(f"{below}/segment", site.segment_page, methods=get),
            Route(f"{below}/trend", site.trend_page, methods=get),
            Route(f"{below}/example", site.example_page, methods=get),
            Route(f"{below}/decisions/{{sequence:int}}", site.decision_page, methods=get),
            Route("/static/{file}", site.static, methods=get),
            Route("/openapi.json", site.openapi, methods=get),
            Route("/v1/rollouts", site.api_list, methods=get),
            Route(f"/v1{below}", site.api_rollout, methods=get),
            Route(f"/v1{below}/trend", site.api_trend, methods=get),
            Route(f"/v1{below}/verdict", site.api_verdict, methods=get),
            Route("/v1/flagger/{hook}", site.flagger, methods=post),
            Route("/v1/events", site.list_events, methods=get),
            Route("/healthz", site.healthz, methods=get),
            Route("/readyz", site.readyz, methods=get),
            Route("/metrics", site.metrics_page, methods=get),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)],
        exception_handlers={HTTPException: site.refused},
        lifespan=lifespan,
    )
    app.state.let_go = site.streams.let_go
    return app


class _Site:
    """The handlers."""

    def __init__(self, follower: Follower, settings: DashboardSettings, now_ms: Callable[[], int]) -> None:
        self.follower = follower
        self.settings = settings
        self.now_ms = now_ms
        self.metrics = Metrics()
        self.metrics.begin("dashboard")
        self.streams = Streams()
        self._reviews = Reviews(follower)
        self._worst = WorstSegments(self.metrics)
        self._warmed: set[str] = set()
        self._document = orjson.dumps(openapi.document(settings.version))
        follower.on_change(self.streams.changed)

    async def keep_warm(self) -> None:
        """So that the first visitor need not wait for what has gathered since the last one."""
        while True:
            for name in [name for name, entry in self.follower.board.entries.copy().items() if entry.active]:
                await asyncio.to_thread(self._warm, name)
            await asyncio.sleep(WARM_EVERY_S)

    # What a page is made of; these run in threads.

    def _warm(self, name: str) -> None:
        with self.follower.board.lock:
            entry = self.follower.board.entries.get(name)
            if entry is None or entry.ledger is None or not self.follower.board.complete:
                return
            if name not in self._warmed:
                self._warmed.add(name)
                self._reviews.of(entry)
            else:
                entry.ledger.settle()

    def _overview(self) -> tuple[Part, ...]:
        with self.follower.board.lock:
            return overview(self._look())

    def _look(self) -> Look:
        f = self.follower
        return Look(board=f.board, reading=f.reading, bootstrap=f.settings.bootstrap, now_ms=self.now_ms())

    def _rollout(self, name: str) -> tuple[Part, ...]:
        with self.follower.board.lock:
            entry = self._entry(name)
            return rollout_parts(entry, self._reviews.of(entry), self._look())

    def _entry(self, name: str) -> Entry:
        entry = self.follower.board.entries.get(name)
        if entry is None or not entry.decisions:
            raise HTTPException(404, f"no rollout {name!r} has a decision")
        return entry

    def _complaints(self, entry: Entry | None) -> tuple[str, ...]:
        return complaints(entry, self._look())

    # Pages.

    async def list_page(self, _: Request) -> Response:
        parts = await asyncio.to_thread(self._overview)
        return self._page("Rollouts", parts, trail=(), events="/events")

    async def rollout_page(self, request: Request) -> Response:
        name = request.path_params["name"]
        parts = await asyncio.to_thread(self._rollout, name)
        return self._page(name, parts, trail=(("Rollouts", "/"),), events=paths.rollout(name, "events"))

    async def segments_page(self, request: Request) -> Response:
        return await self._below(request, "Segments", details.segments_parts)

    async def trend_page(self, request: Request) -> Response:
        return await self._below(request, "Over time", lambda entry, _: trends.table_parts(entry))

    async def segment_page(self, request: Request) -> Response:
        where = {str(d): str(v) for d, v in request.query_params.items()}
        if not where:
            raise HTTPException(404, "no segment is named")
        title = " & ".join(f"{d}={v}" for d, v in where.items())
        return await self._below(request, title, lambda entry, review: details.segment_parts(entry, review, where))

    async def _below(
        self, request: Request, title: str, make: Callable[[Entry, Any], tuple[Part, ...]]
    ) -> Response:
        name = request.path_params["name"]

        def made() -> tuple[Part, ...]:
            with self.follower.board.lock:
                entry = self._entry(name)
                review = self._reviews.of(entry)
                if review is None:
                    waits = Paragraph("The windows of this rollout are being read, or are past their retention.")
                    return (
                        notices(self._complaints(entry)),
                        Part("title", heading(title)),
                        part("none", "Nothing yet", waits),
                    )
                try:
                    return make(entry, review)
                except KeyError:
                    raise HTTPException(404, "no request of this rollout is in that segment") from None

        parts = await asyncio.to_thread(made)
        return self._page(title, parts, trail=(("Rollouts", "/"), (name, paths.rollout(name))))

    async def example_page(self, request: Request) -> Response:
        name, wanted = request.path_params["name"], request.query_params.get("request", "")
        parts = await asyncio.to_thread(self._example, name, wanted)
        return self._page(f"Request {wanted}", parts, trail=(("Rollouts", "/"), (name, paths.rollout(name))))

    def _example(self, name: str, wanted: str) -> tuple[Part, ...]:
        with self.follower.board.lock:
            entry = self._entry(name)
            samples = [s for s in entry.samples.all() if s.request_id == wanted]
            plan = entry.plan
        if not samples or plan is None:
            raise HTTPException(404, "no window kept this request")
        showing = Showing(
            validator=OutputValidator(plan.output.rules()),
            rules=plan.diff.rules(),
            labels=frozenset(plan.output.labels),
            show_values=self.settings.show_values,
        )
        try:
            found = answers(self.follower.settings, name, samples[0])
        except ParityGateError as e:
            raise HTTPException(503, str(e)) from None
        pair = showing.pair(samples[0], found.get(Arm.BASELINE), found.get(Arm.CANDIDATE))
        return details.example_parts(pair, show_values=self.settings.show_values)

    async def decision_page(self, request: Request) -> Response:
        name, sequence = request.path_params["name"], request.path_params["sequence"]

        def made() -> tuple[Part, ...]:
            with self.follower.board.lock:
                try:
                    return details.decision_parts(self._entry(name), sequence)
                except KeyError:
                    raise HTTPException(404, f"decision {sequence} is not kept here: paritygate explain") from None

        parts = await asyncio.to_thread(made)
        return self._page(f"Decision {sequence}", parts, trail=(("Rollouts", "/"), (name, paths.rollout(name))))

    def _page(
        self,
        title: str,
        parts: Sequence[Part],
        *,
        trail: Sequence[tuple[str, str]],
        events: str = "",
        status: int = 200,
    ) -> Response:
        self.metrics.inc(Counter.PAGES)
        text = page(title, parts, trail=trail, now_ms=self.now_ms(), events=events, version=digest_of(parts))
        return HTMLResponse(text, status_code=status, headers=HEADERS)

    async def static(self, request: Request) -> Response:
        try:
            return static_file(request.path_params["file"])
        except KeyError:
            raise HTTPException(404, "no such file") from None

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith(("/v1/", "/static/")):
            return json_answer(api.ErrorModel(error=error.detail), error.status_code)
        parts = (
            notices((error.detail,)),
            Part("title", heading("Not found" if error.status_code == 404 else "Not now")),
        )
        return self._page(str(error.status_code), parts, trail=(("Rollouts", "/"),), status=error.status_code)

    # Streams.

    async def list_events(self, request: Request) -> Response:
        return self.streams.open(request, "", self._overview)

    async def rollout_events(self, request: Request) -> Response:
        name = request.path_params["name"]
        with self.follower.board.lock:
            self._entry(name)
        return self.streams.open(request, name, lambda: self._rollout(name))

    # API.

    async def openapi(self, _: Request) -> Response:
        return Response(self._document, media_type="application/json", headers=HEADERS)

    async def api_list(self, _: Request) -> Response:
        with self.follower.board.lock:
            return json_answer(api.list_model(self._look()))

    async def api_rollout(self, request: Request) -> Response:
        def made() -> api.RolloutModel:
            with self.follower.board.lock:
                entry = self._entry(request.path_params["name"])
                return api.rollout_model(entry, self._reviews.of(entry), self._complaints(entry))

        return json_answer(await asyncio.to_thread(made))

    async def api_trend(self, request: Request) -> Response:
        def made() -> api.TrendModel:
            with self.follower.board.lock:
                return api.trend_model(self._entry(request.path_params["name"]))

        return json_answer(await asyncio.to_thread(made))

    async def api_verdict(self, request: Request) -> Response:
        with self.follower.board.lock:
            entry = self._entry(request.path_params["name"])
            return json_answer(api.verdict_model(entry, self._complaints(entry)))

    async def flagger(self, request: Request) -> Response:
        hook = request.path_params["hook"]
        if hook not in HOOKS:
            raise HTTPException(404, f"no hook {hook!r}: there are {', '.join(HOOKS)}")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413, f"a hook is {MAX_BODY_BYTES:,} bytes at most")
        try:
            asked = api.HookModel.model_validate_json(body)
        except ValidationError as e:
            problem = e.errors(include_url=False, include_input=False)[0]
            raise HTTPException(400, f"not a hook of Flagger: {problem['msg']}") from None
        name = asked.metadata.get("rollout") or asked.name
        with self.follower.board.lock:
            entry = self._entry(name)
            told = answer(hook, entry, self._complaints(entry), asked.canary_weight)
        return json_answer(api.HookAnswer(rollout=name, go=told.go, reason=told.reason), 200 if told.go else 403)

    async def healthz(self, _: Request) -> Response:
        return self._health(200)

    async def readyz(self, _: Request) -> Response:
        return self._health(503)

    def _health(self, otherwise: int) -> Response:
        f = self.follower
        ready = f.board.complete and not f.reading.trouble and not is_away(f.reading, self.now_ms())
        model = api.HealthModel(ready=ready, complaints=self._complaints(None))
        return json_answer(model, 200 if ready else otherwise)

    def _exposition(self) -> bytes:
        board = self.follower.board
        with board.lock:
            self._worst.tell(board.entries.values(), self._reviews.of)
        return generate_latest(self.metrics.registry)

    async def metrics_page(self, _: Request) -> Response:
        f = self.follower
        self.metrics.set(Gauge.DASHBOARD_VIEWERS, self.streams.viewers)
        self.metrics.set(Gauge.DASHBOARD_BEHIND, f.reading.behind)
        self.metrics.set(Gauge.DASHBOARD_UP, not is_away(f.reading, self.now_ms()))
        text = await asyncio.to_thread(self._exposition)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers=HEADERS)
