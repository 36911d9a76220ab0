"""A FastAPI service that asks both versions of a model and obeys the decisions. Run it: uvicorn service:app

``model``: your two models. ``lifespan``: what runs as long as the app does: ``publisher`` sends the answers of both
versions, ``watcher`` follows the decisions, ``router`` lets the version that the watcher names answer and asks the
other one in the background, ``platform`` tells every second how long the process has run and whether memory ran
out. ``predict``: one request; ``segments`` are those that rollout.yaml names.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

from fastapi import FastAPI, Request

from paritygate.producers.call import ArmModel
from paritygate.producers.platform import PlatformReporter
from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.prediction import Arm

ROLLOUT, NAME = "my-model-2", socket.gethostname()
VERSIONS = {Arm.BASELINE: "1", Arm.CANDIDATE: "2"}


def model(arm: Arm) -> ArmModel:
    """Put your two models here; a plain function runs in the router's thread, an async one in the loop."""
    answer = {"prediction": "ok", "confidence": 0.9, "model_version": VERSIONS[arm]}
    return ArmModel(version=VERSIONS[arm], predict=lambda request: answer)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Follow, publish, report and route; at the end let go of all, the publisher last."""
    kafka = KafkaSettings.from_mapping(os.environ)  # PARITYGATE_BOOTSTRAP and, where needed, TLS and SASL
    with (
        PredictionPublisher(kafka, instance_id=NAME) as publisher,
        closing(DecisionWatcher(kafka, ROLLOUT, NAME, state_dir="run/router")) as watcher,
    ):
        platform = PlatformReporter(publisher, rollout_id=ROLLOUT, instance_id=NAME, versions=VERSIONS)
        app.state.router = router = ShadowRouter(
            rollout_id=ROLLOUT,
            baseline=model(Arm.BASELINE),
            candidate=model(Arm.CANDIDATE),
            publisher=publisher,
            choose=watcher.choose,
            on_event=watcher.saw,
            on_error=platform.saw_error,
        )
        reports = asyncio.create_task(platform.run())
        yield
        await router.aclose()
        reports.cancel()
        await asyncio.wait([reports])


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Any:
    """The answer of the version that the decisions say; the other one is asked in the background."""
    body = await request.json()
    segments = {"tenant_tier": body.get("tier", "free"), "geography": body.get("geography", "unknown")}
    return await app.state.router.predict(
        body, request_id=request.headers.get("x-request-id", ""), endpoint="/predict", segments=segments
    )
