"""OpenAPI: the document of the API, from the models that are answered. A test walks it and asks every path."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from paritygate.dashboard import api
from paritygate.dashboard.verdict import HOOKS

_MODELS: Final = (
    api.ErrorModel,
    api.HealthModel,
    api.HookAnswer,
    api.HookModel,
    api.RolloutList,
    api.RolloutModel,
    api.TrendModel,
    api.VerdictModel,
)
_REF: Final = "#/components/schemas/{model}"
_NAME: Final = {
    "name": "name", "in": "path", "required": True, "description": "id of a rollout",
    "schema": {"type": "string", "minLength": 1},
}  # fmt: skip


def document(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 as plain data; ``version`` is that of the package."""
    _, schemas = models_json_schema([(m, "validation") for m in _MODELS], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "paritygate dashboard",
            "version": version,
            "description": "Where rollouts stand, for people and controllers. It only reads.",
        },
        "paths": {
            "/v1/rollouts": {"get": _get("List all rollouts, open ones first", api.RolloutList)},
            "/v1/rollouts/{name}": {"get": _get("Show one rollout", api.RolloutModel, 404, named=True)},
            "/v1/rollouts/{name}/trend": {"get": _get("Show both arms over time", api.TrendModel, 404, named=True)},
            "/v1/rollouts/{name}/verdict": {
                "get": _get(
                    "Say pass, fail or inconclusive, for Argo Rollouts' web metric",
                    api.VerdictModel,
                    404,
                    named=True,
                )
            },
            "/v1/flagger/{hook}": {"post": _hook()},
            "/v1/events": {
                "get": {
                    "summary": "Server-sent events: one whenever a rollout changes",
                    "responses": {"200": {"description": "a stream", "content": {"text/event-stream": {}}}},
                }
            },
            "/healthz": {"get": _get("Whether the process runs", api.HealthModel)},
            "/readyz": {"get": _get("Whether the broker answers and the topics were read", api.HealthModel, 503)},
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _get(summary: str, model: type[BaseModel], *more: int, named: bool = False) -> dict[str, Any]:
    answers = {"200": _json(summary, model)}
    answers |= {str(code): _json("not found" if code == 404 else "not ready", _MODEL_OF[code]) for code in more}
    return {"summary": summary, **({"parameters": [_NAME]} if named else {}), "responses": answers}


_MODEL_OF: Final[dict[int, type[BaseModel]]] = {404: api.ErrorModel, 503: api.HealthModel}


def _hook() -> dict[str, Any]:
    return {
        "summary": "Answer a webhook of Flagger: 200 go on, 403 wait",
        "parameters": [
            {"name": "hook", "in": "path", "required": True, "schema": {"type": "string", "enum": list(HOOKS)}}
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=api.HookModel.__name__)}}},
        },
        "responses": {
            "200": _json("go on", api.HookAnswer),
            "403": _json("wait", api.HookAnswer),
            "400": _json("no such JSON", api.ErrorModel),
            "404": _json("no such rollout or hook", api.ErrorModel),
            "413": _json("too large", api.ErrorModel),
        },
    }


def _json(description: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
