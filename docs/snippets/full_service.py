"""The service of the quickstart, with all that the five gates of the template need. Run it: uvicorn service:app"""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request

from paritygate.producers.call import ArmModel
from paritygate.producers.outcomes import OutcomeReporter
from paritygate.producers.platform import PlatformReporter
from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.prediction import Arm

ROLLOUT, NAME, STATE = "my-model-2", socket.gethostname(), Path("run/service")
VERSIONS = {Arm.BASELINE: "1", Arm.CANDIDATE: "2"}


def model(arm: Arm) -> ArmModel:
    """Put your two models here."""
    answer = {"prediction": "ok", "confidence": 0.9, "model_version": VERSIONS[arm]}
    return ArmModel(version=VERSIONS[arm], predict=lambda features: answer)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Follow the decisions; publish answers, running time and reviews."""
    kafka = KafkaSettings.from_mapping(os.environ)
    watcher = DecisionWatcher(kafka, ROLLOUT, router_id=NAME, state_dir=STATE)
    with PredictionPublisher(kafka, instance_id=NAME) as publisher:
        # Running time, memory, restarts and out-of-memory errors, every second: the gates on events need them.
        platform = PlatformReporter(
            publisher, rollout_id=ROLLOUT, instance_id=NAME, versions=VERSIONS, state_file=STATE / "platform.json"
        )
        reports = asyncio.create_task(platform.run(interval_s=1.0))
        app.state.reviews = OutcomeReporter(publisher, rollout_id=ROLLOUT, measure="human_review_score")
        app.state.router = ShadowRouter(
            rollout_id=ROLLOUT,
            baseline=model(Arm.BASELINE),
            candidate=model(Arm.CANDIDATE),
            publisher=publisher,
            choose=watcher.choose,
            on_event=watcher.saw,
            on_error=platform.saw_error,
        )
        yield
        await app.state.router.aclose()
        reports.cancel()
        with suppress(asyncio.CancelledError):
            await reports
        platform.close()
    watcher.close()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Any:
    """Segments are what the plan names; the key keeps a user on one arm while the weight stands."""
    body = await request.json()
    request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
    segments = {"tenant_tier": body.get("tier", "free"), "geography": body.get("geography", "unknown")}
    answer = await app.state.router.predict(
        body, request_id=request_id, key=body.get("user"), endpoint="/predict", segments=segments
    )
    return {"request_id": request_id, "answer": answer}


@app.post("/reviews/{request_id}")
async def review(request_id: str, scores: dict[str, float]) -> bool:
    """A reviewer's scores (0..1) of both answers to one request, as late as they come."""
    taken: bool = app.state.reviews.report(
        request_id, baseline=scores.get("baseline"), candidate=scores.get("candidate")
    )
    return taken
