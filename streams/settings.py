"""Worker settings: one place, units in names, each default with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ConfigError

PREFIX = "PARITYGATE_WORKER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of one worker process.

    ``app_id``: consumer group and name of the state topic. ``instance_id``: static membership (KIP-345); with
    it a restart takes the partitions back in 2 s instead of waiting for the session to end.
    ``session_timeout_s``: the broker refuses less than ``group.min.session.timeout.ms`` (6 s), and Faust
    would then idle for ever, so less is refused here. ``checkpoint_ms``: how much work a crash repeats.
    ``fetch_bytes``: per topic partition and request. ``metrics_port``: 0 for none; always on 127.0.0.1.
    ``retire_after_s``: how long an ended rollout is still joined.
    """

    kafka: KafkaSettings
    app_id: str = "paritygate"
    instance_id: str = ""
    partitions: int = 4
    replication_factor: int = 1
    session_timeout_s: float = 10.0
    checkpoint_ms: int = 1000
    fetch_bytes: int = 2 << 20
    fetch_wait_ms: int = 50
    idle_after_ms: int = 1000
    stuck_after_s: float = 60.0
    retire_after_s: float = 600.0
    metrics_port: int = 0
    data_dir: Path = Path("run/worker")
    log_level: str = "warning"

    def __post_init__(self) -> None:
        if self.session_timeout_s < 6:
            raise ConfigError(
                f"{PREFIX}SESSION_TIMEOUT_S is {self.session_timeout_s:g}, below the broker's minimum of 6: "
                "the worker would never join its group"
            )
        for name in ("partitions", "checkpoint_ms", "fetch_bytes", "fetch_wait_ms", "idle_after_ms"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{PREFIX}{name.upper()} is {getattr(self, name)}, not a positive number")

    @classmethod
    def from_mapping(cls, kafka: KafkaSettings, env: Mapping[str, str]) -> WorkerSettings:
        """Settings from ``PARITYGATE_WORKER_*``.

        :raises ConfigError: a value that is no number where one is needed, or out of range.
        """
        given: dict[str, object] = {}
        for name, kind in _FIELDS.items():
            text = env.get(PREFIX + name.upper())
            if text is None:
                continue
            try:
                given[name] = kind(text)
            except ValueError:
                raise ConfigError(f"{PREFIX}{name.upper()} is {text!r}, not {_WORDS[kind]}") from None
        return cls(kafka=kafka, **given)  # type: ignore[arg-type]  # kinds are checked by _FIELDS


_WORDS: Mapping[type, str] = {int: "a whole number", float: "a number", str: "text", Path: "a path"}
_FIELDS: Mapping[str, type] = {
    "app_id": str,
    "instance_id": str,
    "partitions": int,
    "replication_factor": int,
    "session_timeout_s": float,
    "checkpoint_ms": int,
    "fetch_bytes": int,
    "fetch_wait_ms": int,
    "idle_after_ms": int,
    "stuck_after_s": float,
    "retire_after_s": float,
    "metrics_port": int,
    "data_dir": Path,
    "log_level": str,
}
