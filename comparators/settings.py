"""JoinSettings: how the answers to one rollout are paired, timed, bounded and compared.

Law: settings are part of the meaning of every count, so those of a rollout never change; a change is a new
rollout. All durations are event time in milliseconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from paritygate.comparators.diff import DiffRules
from paritygate.comparators.numbers import NumberRule
from paritygate.comparators.seen import MAX_KEYS
from paritygate.comparators.validation import OutputRules
from paritygate.schemas.errors import ConfigError

#: Clamp for events of rollouts that nobody declared; they still move their source's time.
DEFAULT_MAX_FUTURE_MS: Final = 5_000
#: What the candidate's latency may be, in times of the baseline's, where no gate says so.
LATENCY_RATIO: Final = 1.1

_POSITIVE = ("window_ms", "dedupe_ms", "max_pending", "max_seen", "max_values_per_dimension", "max_cells")
_NOT_NEGATIVE = ("grace_ms", "lateness_ms", "retain_ms", "max_future_ms", "max_examples")


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """Settings of one rollout.

    ``dimensions``: the declared segment dimensions, in the order of a cell's values; ``endpoint`` is read
    from the event's own field. ``window_ms``: width of a window. ``lateness_ms``: out-of-orderness that the
    watermark allows for. ``grace_ms``: how long after the watermark a request waits for its other arm.
    ``dedupe_ms``: a repeated event is recognised at least this long after its request could settle.
    ``retain_ms``: a closed window stays updatable this long. ``max_future_ms``: how far an event's time may
    lie after its record's. ``max_pending``: unpaired events kept per arm and partition.
    ``max_seen``: settled requests (and outcomes) remembered per partition, so that repeats are recognised; beyond
    it the oldest are forgotten before ``dedupe_ms`` is over, and what comes of their time is late.
    ``max_values_per_dimension`` and ``max_cells`` bound the segments; what is beyond counts as ``__other__``.
    ``latency_shifts``: bucket shifts of the latency gates (``comparators.latency.shifts``).
    ``latency_ratio``: what the candidate's latency may be in times of the baseline's; what is clearly
    beyond is counted by segment (``comparators.measuring``).
    ``numbers``: differences of numbers that events carry, one for each gate on such. ``label_shares``: whether
    labels are counted by what they are.
    ``max_examples``: request ids kept per window. ``instances``: whether counts per instance are kept
    (``comparators.instances``), which gates that tolerate bursts ask for.

    :raises ConfigError: a duration or bound is out of range, or a dimension is declared twice.
    """

    rollout_id: str
    dimensions: tuple[str, ...] = ()
    window_ms: int = 1_000
    grace_ms: int = 2_000
    lateness_ms: int = 500
    dedupe_ms: int = 60_000
    retain_ms: int = 2_000
    max_future_ms: int = DEFAULT_MAX_FUTURE_MS
    max_pending: int = 1 << 18
    max_seen: int = MAX_KEYS
    max_values_per_dimension: int = 50
    max_cells: int = 2_000
    latency_shifts: tuple[int, ...] = ()
    latency_ratio: float = LATENCY_RATIO
    numbers: tuple[NumberRule, ...] = ()
    label_shares: bool = False
    output_rules: OutputRules = field(default_factory=OutputRules)
    diff_rules: DiffRules = field(default_factory=DiffRules.default)
    max_examples: int = 8
    instances: bool = False

    def __post_init__(self) -> None:
        if not self.rollout_id:
            raise ConfigError("rollout_id is empty: give the rollout a name")
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must not be negative")
        if len(set(self.dimensions)) != len(self.dimensions):
            raise ConfigError(f"dimensions {list(self.dimensions)} name one twice: name each once")

    def to_plain(self) -> dict[str, Any]:
        """The settings as plain data, for the snapshot."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> JoinSettings:
        """Read :meth:`to_plain` back; fields that this version does not know are ignored, missing ones default."""
        values = _known(cls, plain)
        for name, rules in (("output_rules", OutputRules), ("diff_rules", DiffRules)):
            if name in values:
                values[name] = rules(**_known(rules, values[name]))
        values["numbers"] = tuple(NumberRule(**_known(NumberRule, rule)) for rule in values.get("numbers", ()))
        return cls(**values)


def _known(cls: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(cls)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in names}
