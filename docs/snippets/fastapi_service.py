"""A service that asks both versions and obeys the decisions. Run it: uvicorn fastapi_service:app"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

from paritygate.producers.call import ArmModel
from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings

# Your two models: functions from the request to the answer, plain or async.
BASELINE = ArmModel(version="1", predict=lambda _: {"prediction": "ok", "confidence": 0.9, "model_version": "1"})
CANDIDATE = ArmModel(version="2", predict=lambda _: {"prediction": "ok", "confidence": 0.8, "model_version": "2"})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Follow the decisions, publish both answers, and let go at the end."""
    kafka = KafkaSettings.from_mapping(os.environ)  # PARITYGATE_BOOTSTRAP, TLS, SASL, topic prefix
    watcher = DecisionWatcher(kafka, "my-model-2", router_id="service-1", state_dir="run/router")
    with PredictionPublisher(kafka, instance_id="service-1") as publisher:
        app.state.router = ShadowRouter(
            rollout_id="my-model-2",
            baseline=BASELINE,
            candidate=CANDIDATE,
            publisher=publisher,
            choose=watcher.choose,
        )
        yield
        await app.state.router.aclose()
    watcher.close()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Any:
    """One version answers at once, the other one is asked in the background."""
    request_id = request.headers.get("x-request-id", "")
    return await app.state.router.predict(await request.json(), request_id=request_id, endpoint="/predict")
