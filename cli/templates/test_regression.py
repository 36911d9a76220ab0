"""The requests that show a regression. Run it: pytest test_regression.py

Without a model, each pair is checked by the answer that is stored: it must show its failure, so every test is an
expected failure (``xfailed``). To check a mended model, name a function that takes a request and returns its answer
(a dict, or JSON text): ``PARITYGATE_CANDIDATE=my_package.serving:predict pytest test_regression.py``. Then every
test must pass. A request is ``{"request_id": …, "segments": {…}}``: events hold no input, so look it up by its id.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from paritygate.comparators.validation import OutputRules, OutputValidator

HERE = Path(__file__).parent
PAIRS = [json.loads(text) for text in (HERE / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
RULES = json.loads((HERE / "rules.json").read_text(encoding="utf-8"))["output"]
PLUGGED = os.environ.get("PARITYGATE_CANDIDATE", "")


def model() -> Any:
    """The function that ``PARITYGATE_CANDIDATE`` names."""
    module, _, name = PLUGGED.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        pytest.fail(f"PARITYGATE_CANDIDATE={PLUGGED} is no module:function here: {e}", pytrace=False)


def answer(pair: dict[str, Any]) -> tuple[str, list[str], Any]:
    """How the candidate answers: its status, the output rules that it breaks, its label."""
    if not PLUGGED:
        stored = pair["candidate"] or {"status": "missing", "failed_rules": [], "label": None}
        return stored["status"], stored["failed_rules"], stored["label"]
    output = model()(pair["request"])
    text = output if isinstance(output, str) else json.dumps(output)
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in RULES.items()}
    rules = OutputRules(**given)
    failed = OutputValidator(rules).check(text)
    label = None if failed else json.loads(text).get(rules.label_field)
    return "ok", list(failed), label


def check(pair: dict[str, Any]) -> None:
    """The candidate must answer, keep the output rules, and say what the stable version said."""
    status, failed, label = answer(pair)
    assert status == "ok", f"the candidate did not answer: {status}"
    assert not failed, f"the answer breaks {failed}"
    if pair["kind"] == "label_change":
        expected = (pair["baseline"] or {}).get("label")
        if expected is None:
            pytest.skip("the label is redacted: write the bundle with --show-values")
        assert label == expected


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{p['kind']}-{p['request']['request_id']}" for p in PAIRS])
def test_the_regression_is_gone(pair: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A mended model passes; the stored answer shows the failure."""
    if not PLUGGED:
        if pair["candidate"] is None and pair["kind"] != "missing_candidate":
            pytest.skip("the answers were past their retention when the bundle was written")
        request.applymarker(pytest.mark.xfail(strict=True, reason="the stored answer shows the regression"))
    check(pair)
