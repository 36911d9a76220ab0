"""The bundle's choice is small, diverse and the same every time; what is private stays private."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.diff import DiffRules
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.rollouts.regression import EACH, Sample, Samples, Showing, cover, redacted
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report import Example
from tests.unit.rollouts.conftest import report

SHOWING = Showing(
    validator=OutputValidator(OutputRules(labels=("late", "on_time"))),
    rules=DiffRules.default(),
    labels=frozenset({"late", "on_time"}),
)


def sample(request_id: str, kind: str = "label_change", **segments: str) -> Sample:
    return Sample(
        request_id=request_id, kind=kind, detail="", segments=segments, partition=0, window_start_ms=0
    )  # fmt: skip


samples = st.lists(
    st.builds(
        sample,
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from(["label_change", "candidate_invalid"]),
        origin=st.sampled_from("EJL"),
        tier=st.sampled_from("fp"),
    ),
    max_size=12,
)


@settings(max_examples=60, derandomize=True)
@given(samples, st.randoms(use_true_random=False))
def test_everything_is_shown_and_order_means_nothing(found: list[Sample], random: Any) -> None:
    """Every kind in every segment value is covered, by no more pairs than there are things to show."""
    chosen = cover(found, 100)
    shuffled = list(found)
    random.shuffle(shuffled)

    assert {s for c in chosen for s in c.shows} == {s for f in found for s in f.shows}
    assert len(chosen) <= len({s for f in found for s in f.shows})
    assert cover(shuffled, 100) == chosen
    assert cover(found, 1) == chosen[:1]


def test_examples_are_kept_by_kind_and_segment() -> None:
    """At most so many of each, the smallest ids, whatever the order of the reports."""
    reports = [
        replace(
            report(w),
            examples=tuple(
                Example(request_id=f"r{w}{i}", kind="label_change", detail="", values=("EWR",)) for i in range(3)
            ),
        )
        for w in range(4)
    ]
    forth, back = Samples(), Samples()
    for r in reports:
        forth.take(r)
    for r in reversed(reports):
        back.take(r)

    assert forth.all() == back.all()
    assert [s.request_id for s in forth.all()] == ["r00", "r01", "r02"][:EACH]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, derandomize=True)
@given(json_values)
def test_redaction_keeps_the_shape_only(value: Any) -> None:
    """No text and no number comes through; lengths and nulls do."""
    assert redacted(redacted({"k": value})).keys() == {"k"}
    if isinstance(value, str):
        assert redacted(value) == f"<text of {len(value)}>"
    if isinstance(value, list):
        assert len(redacted(value)) == len(value)


def test_odd_keys_and_deep_values_are_hidden() -> None:
    """A key that looks like data is told by its length; nesting ends."""
    deep: Any = 1
    for _ in range(900):
        deep = [deep]

    assert redacted({"ada@example.com": 1, "4711": 2}) == {"<key of 15>": "<number>", "<key of 4>": "<number>"}
    assert b"<nested deeper>" in orjson.dumps(redacted(deep))


def event(arm: Arm, output: str, status: Status = Status.OK) -> PredictionEvent:
    return PredictionEvent(
        request_id="r", rollout_id="r1", arm=arm, role=Role.PRIMARY, event_at_ms=0, latency_ms=1.0, status=status,
        model_version="v", label=orjson.loads(output).get("prediction") if output else None, output=output,
    )  # fmt: skip


def test_a_pair_tells_rules_and_differences_but_not_values() -> None:
    """Rules are judged on the real output; declared labels are shown, everything else only with show_values."""
    ours = '{"prediction":"late","confidence":0.5,"model_version":"v1","note":"secret-1"}'
    theirs = '{"prediction":"on_time","confidence":7,"model_version":"v2","note":"secret-2"}'
    hidden = SHOWING.pair(sample("r"), event(Arm.BASELINE, ours), event(Arm.CANDIDATE, theirs))
    shown = replace(SHOWING, show_values=True).pair(
        sample("r"), event(Arm.BASELINE, ours), event(Arm.CANDIDATE, theirs)
    )

    assert hidden.candidate is not None
    assert (hidden.candidate.label, hidden.candidate.failed_rules) == ("on_time", ("confidence.range",))
    assert "secret" not in repr(hidden)
    assert "secret-2" in repr(shown)
    assert ("/prediction", "late", "on_time") in [(d.path, d.baseline, d.candidate) for d in hidden.differences]


def test_answers_that_are_not_there_are_told_as_such() -> None:
    """No event is None; a failed call breaks no rule of outputs."""
    pair = SHOWING.pair(sample("r"), None, event(Arm.CANDIDATE, "", Status.TIMEOUT))

    assert pair.baseline is None
    assert pair.candidate is not None
    assert (pair.candidate.status, pair.candidate.failed_rules, pair.differences) == ("timeout", (), ())


def test_a_trace_is_kept_whichever_report_tells_it() -> None:
    """A window may be told with the trace of a request and without; nothing depends on which came last."""
    told, untold = (
        replace(report(0), examples=(Example(request_id="r", kind="k", detail="", values=("EWR",), trace_id=t),))
        for t in ("ab" * 16, "")
    )
    for order in ((told, untold), (untold, told)):
        found = Samples()
        for r in order:
            found.take(r)

        (only,) = found.all()
        assert only.trace_id == SHOWING.pair(only, None, None).trace_id == "ab" * 16
