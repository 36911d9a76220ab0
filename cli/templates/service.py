"""A service that asks both versions of a model and obeys the decisions. Run it: uvicorn service:app"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

from paritygate.producers.call import ArmModel
from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings

ROLLOUT, NAME = "my-model-2", socket.gethostname()


def model(version: str) -> ArmModel:
    """Put your two models here; a plain function runs in the router's thread, an async one in the loop."""
    answer = {"prediction": "ok", "confidence": 0.9, "model_version": version}
    return ArmModel(version=version, predict=lambda request: answer)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Follow the decisions, publish the answers, and let go of both at the end."""
    kafka = KafkaSettings.from_mapping(os.environ)  # PARITYGATE_BOOTSTRAP and, where needed, TLS and SASL
    watcher = DecisionWatcher(kafka, ROLLOUT, router_id=NAME, state_dir="run/router")
    with PredictionPublisher(kafka, instance_id=NAME) as publisher:
        app.state.router = ShadowRouter(
            rollout_id=ROLLOUT,
            baseline=model("1"),
            candidate=model("2"),
            publisher=publisher,
            choose=watcher.choose,
        )
        yield
        await app.state.router.aclose()
    watcher.close()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Any:
    """The answer of the version that the decisions say; the other one is asked in the background."""
    body = await request.json()
    segments = {"tenant_tier": body.get("tier", "free"), "geography": body.get("geography", "unknown")}
    return await app.state.router.predict(
        body, request_id=request.headers.get("x-request-id", ""), endpoint="/predict", segments=segments
    )
