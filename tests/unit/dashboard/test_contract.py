"""schemathesis asks the real application whatever its own document allows, and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from paritygate.dashboard import openapi
from paritygate.dashboard.app import DashboardSettings, create_app
from tests.support.board import HEARD_MS, follower_of, hostile_report
from tests.support.story import logs_of, story

#: What the document allows. The stream has no end, so nobody waits for it here; test_push.py reads it.
ALLOWED = [
    (path, method, GenerationMode.POSITIVE)
    for path, methods in openapi.document("0")["paths"].items()
    for method in methods
    if path != "/v1/events"
]
#: With what it forbids: only a body can be wrong, for any text may be the name of a rollout.
FORBIDDEN = [("/v1/flagger/{hook}", "post", GenerationMode.NEGATIVE)]

KNOWN = ("r1", "s1", "r2")


@pytest.fixture(scope="module")
def api() -> Iterator[schemathesis.BaseSchema]:
    """The API of a dashboard with three rollouts, as its document tells it."""
    follower = follower_of(logs_of([*story(), hostile_report(16, rollout="r2")]))
    app = create_app(follower, DashboardSettings(hosts=("*",)), lambda: HEARD_MS + 1000)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    follower.close()


@pytest.mark.parametrize(("path", "method", "mode"), [*ALLOWED, *FORBIDDEN])
@settings(max_examples=40)
@given(data=st.data())
def test_every_answer_is_one_that_the_document_promises(
    api: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode, data: st.DataObject
) -> None:
    """No server error; status, type and body of each answer are in the document; what it forbids is refused."""
    case = data.draw(api[path][method].as_strategy(generation_mode=mode))
    if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
        known = data.draw(st.sampled_from(KNOWN))  # by chance no rollout would ever be found
        if "{name}" in path:
            case.path_parameters["name"] = known
        elif method == "post":
            assert isinstance(case.body, dict)
            case.body = {**case.body, "metadata": {"rollout": known}}
    case.call_and_validate()
