from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.producers.outcomes import OutcomeReporter, brier_score
from paritygate.schemas.outcome import Outcome


class Sink:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def publish_outcome(self, outcome: Outcome) -> bool:
        self.outcomes.append(outcome)
        return True


def test_a_score_is_stamped_and_published() -> None:
    """An arm that was not scored stays None."""
    sink = Sink()
    reporter = OutcomeReporter(sink, rollout_id="ro", measure="csat", clock=lambda: 7)

    assert reporter.report("r-1", candidate=0.0, segments={"origin": "EWR"})

    assert sink.outcomes == [
        Outcome(
            request_id="r-1", rollout_id="ro", measure="csat", event_at_ms=7, candidate=0.0,
            segments={"origin": "EWR"},
        )
    ]  # fmt: skip
    assert sink.outcomes[0].baseline is None


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.floats(0, 1), st.booleans())
def test_the_brier_score_rewards_certainty_that_is_right(probability: float, happened: bool) -> None:
    """It lies in 0..1, is 1 for full certainty that is right and 0 for full certainty that is wrong."""
    score = brier_score(probability, happened)

    assert 0 <= score <= 1
    assert brier_score(float(happened), happened) == 1
    assert brier_score(1 - float(happened), happened) == 0
    assert score >= brier_score(probability, not happened) or (probability < 0.5) == happened
