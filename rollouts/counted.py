"""Counted: whether another policy can be judged from windows that were counted for a plan.

Law: a window holds what its plan asked to be counted, and nothing else. A policy that needs another count is
refused with the key that asks for it; it is never judged on something near.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from paritygate.gates.measures import LABEL_SHIFT
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.errors import ConfigError

#: Keys of the plan by field of the join's settings that must be the same.
_KEYS: Final = {"dimensions": "segments", "output_rules": "output", "diff_rules": "diff"}
#: What a policy may ask less of, gate by gate (:func:`_refuse_gates`), and what decides nothing.
_APART: Final = frozenset(
    {"rollout_id", "latency_shifts", "latency_ratio", "numbers", "label_shares", "instances", "max_examples"}
)  # fmt: skip


def require_counted(counted: RolloutPlan, policy: RolloutPlan) -> None:
    """Refuse a policy that windows counted for ``counted`` cannot answer.

    :raises ConfigError: names the first key.
    """
    ours, theirs = counted.join_settings(), policy.join_settings()
    for field in dataclasses.fields(ours):
        had, wanted = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name not in _APART and had != wanted:
            key = _KEYS.get(field.name, f"join.{field.name}")
            raise ConfigError(
                f"{key}: the recorded windows were counted with {_shown(had)}, not {_shown(wanted)}: "
                "what they do not hold cannot be judged"
            )
    _refuse_gates(counted, policy)


def notes(counted: RolloutPlan, policy: RolloutPlan) -> tuple[str, ...]:
    """What is judged a little otherwise than the policy says, because it was counted otherwise."""
    had, wanted = counted.join_settings().latency_ratio, policy.join_settings().latency_ratio
    if had == wanted:
        return ()
    return (
        f"latency_parity is judged by pairs that are clearly slower than {had:g} times, as counted, not {wanted:g}",
    )


def _refuse_gates(counted: RolloutPlan, policy: RolloutPlan) -> None:
    settings = counted.join_settings()
    for gate in policy.gates:
        key = f"promotion_gates.{gate.name}"
        if set(gate.latency_shifts()) - set(settings.latency_shifts):
            raise ConfigError(
                f"{key}.maximum_regression_percent: no recorded window counts latencies beyond {gate.limit:g} %"
            )
        rule = gate.number_rule()
        if rule is not None and rule not in settings.numbers:
            raise ConfigError(f"{key}: no recorded window counts {gate.measure} with this limit and cap")
        if gate.tolerate_bursts and not settings.instances:
            raise ConfigError(f"{key}.tolerate_bursts: no recorded window counts by instance")
        if gate.measure == LABEL_SHIFT and not settings.label_shares:
            raise ConfigError(f"{key}: no recorded window counts labels by what they are")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) if isinstance(value, int | float | str) else "other rules"
