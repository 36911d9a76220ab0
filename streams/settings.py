"""Worker settings: one place, units in names, each default with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ConfigError
from paritygate.streams.log_lines import LEVELS

PREFIX = "PARITYGATE_WORKER_"
#: ``group.min.session.timeout.ms`` and ``group.max.session.timeout.ms`` of a broker, as they are by default.
MIN_SESSION_S = 6.0
MAX_SESSION_S = 1800.0
MAX_PORT = 65_535
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LOWEST: Mapping[str, float] = {
    "partitions": 1,
    "replication_factor": 1,
    "checkpoint_ms": 1,
    "fetch_bytes": 1,
    "fetch_wait_ms": 1,
    "idle_after_ms": 1,
    "stuck_after_s": 1,
    "retire_after_s": 0,
    "metrics_port": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of one worker process.

    ``app_id``: consumer group and name of the state topic. ``instance_id``: static membership (KIP-345); with
    it a restart takes the partitions back in 2 s instead of waiting for the session to end.
    ``session_timeout_s``: the broker refuses what is outside its limits (6 s to 30 min), and Faust would then
    idle for ever, so it is refused here. ``checkpoint_ms``: how much work a crash repeats. ``fetch_bytes``:
    per topic partition and request. ``stuck_after_s``: a worker that no broker answers, or that cannot write,
    ends after it. ``metrics_port``: 0 for none; always on 127.0.0.1. ``retire_after_s``: how long an ended
    rollout is still joined. ``log_level``: one of ``log_lines.LEVELS``. ``signing_key``: file with the private key
    that signs decisions; empty for none. ``command_keys``: file with the public keys of those whose commands count;
    empty: everybody's do. ``decision_keys``: the same for the deciders whose record in the audit counts.

    :raises ConfigError: a value is out of its range.
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
    log_level: str = "info"
    signing_key: str = ""
    command_keys: str = ""
    decision_keys: str = ""

    def __post_init__(self) -> None:
        if not MIN_SESSION_S <= self.session_timeout_s <= MAX_SESSION_S:
            raise ConfigError(
                f"{PREFIX}SESSION_TIMEOUT_S is {self.session_timeout_s:g}, but brokers take "
                f"{MIN_SESSION_S:g} to {MAX_SESSION_S:g} s: the worker would never join its group"
            )
        for name, lowest in _LOWEST.items():
            # The other way round NaN would pass.
            if not getattr(self, name) >= lowest:
                raise ConfigError(f"{PREFIX}{name.upper()} is {getattr(self, name)}, must be at least {lowest}")
        if self.metrics_port > MAX_PORT:
            raise ConfigError(f"{PREFIX}METRICS_PORT is {self.metrics_port}, above the highest port {MAX_PORT}")
        if not _NAME.fullmatch(self.app_id):
            raise ConfigError(
                f"{PREFIX}APP_ID is {self.app_id!r}; it becomes part of a topic's name, so only "
                "letters, digits, '.', '_' and '-' can stand in it, 1 to 100 of them"
            )
        if self.log_level not in LEVELS:
            raise ConfigError(f"{PREFIX}LOG_LEVEL is {self.log_level!r}, not one of {', '.join(LEVELS)}")

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
                given[name] = kind(text.strip())
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
    "signing_key": str,
    "command_keys": str,
    "decision_keys": str,
}
