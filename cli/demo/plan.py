"""The demo's rollout plan, written to a file so that a reader can look at what is judged."""

from __future__ import annotations

from paritygate.rollouts.plan import RolloutPlan

_TEMPLATE = """\
# Written by `paritygate demo`. Try: paritygate validate {file}
rollout: {rollout}
service: flight-delays
baseline: {{version: "{baseline}"}}
candidate: {{version: "{candidate}"}}
owner: demo@paritygate.example
rollback_condition: any gate below is proven to be broken, overall or in a segment
segments: [origin, carrier_tier, distance_bucket, weather]
stages:
  - {{name: shadow, weight: 0, minimum_seconds: 5, minimum_pairs: 1000}}
  - {{name: "1", weight: 1, minimum_seconds: 3, minimum_pairs: 500}}
  - {{name: "5", weight: 5, minimum_seconds: 3, minimum_pairs: 500}}
  - {{name: "25", weight: 25, minimum_seconds: 3, minimum_pairs: 500}}
  - {{name: "50", weight: 50, minimum_seconds: 3, minimum_pairs: 500}}
  - {{name: "100", weight: 100}}
# Proof for segments with half of the flights or more; a fifth, as by default, takes minutes at this traffic.
prove_segments_above_ratio: 0.5
# Short times for a short demo: production windows are a second or more.
join: {{window_ms: 250, lateness_ms: 100, grace_ms: 1200, retain_ms: 2000, dedupe_ms: 30000}}
output:
  required: [prediction, confidence, model_version]
  labels: [late, on_time]
diff:
  absolute_tolerance: 0.05
promotion_gates:
  latency_p95_ms: {{maximum_regression_percent: 10}}
  error_rate: {{maximum: 0.01}}
  schema_validation_pass_rate: {{minimum: 0.995}}
  human_review_score: {{minimum_delta: -0.02}}
  gpu_oom_events: {{maximum: 0}}
"""


def demo_plan(rollout: str, *, baseline: str, candidate: str, file: str) -> tuple[str, RolloutPlan]:
    """Text and plan of one run."""
    text = _TEMPLATE.format(rollout=rollout, baseline=baseline, candidate=candidate, file=file)
    return text, RolloutPlan.from_yaml(text, file=file)
