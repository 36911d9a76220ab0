"""Every error that paritygate raises on purpose.

::

    ParityGateError
    ├── ConfigError            a setting, a YAML file or a command line cannot be used; exit code 2
    │   └── PlanError          a rollout.yaml cannot be used; carries file, line, column and path
    ├── PoisonError            one record can never be read; goes to the dead letter queue
    │   ├── DecodeError        its bytes are no record we know
    │   └── InvalidRecordError its bytes decode, its values break the contract (NaN latency, …)
    └── RecoverableError       the world is not ready; trying again may help
        └── BrokerUnavailableError   no broker answered within the time given

Poison and recoverable are classes, not flags, so that a handler cannot forget to ask which it holds.
"""

from __future__ import annotations


class ParityGateError(Exception):
    """Root of the tree. Its text is one sentence a user can act on."""


class ConfigError(ParityGateError):
    """A setting, a file or an argument cannot be used; nothing was started."""


class PlanError(ConfigError):
    """A rollout plan cannot be used.

    ``str()`` reads ``file:line:column path: what, did you mean …`` so that editors can jump to it.
    Line and column count from 1; both are 0 where the place is the whole file.
    """

    def __init__(self, what: str, *, file: str = "<plan>", line: int = 0, column: int = 0, path: str = "") -> None:
        self.what, self.file, self.line, self.column, self.path = what, file, line, column, path
        place = f"{file}:{line}:{column}" if line else file
        super().__init__(f"{place} {path}: {what}" if path else f"{place}: {what}")


class PoisonError(ParityGateError):
    """One record can never be read, however often it is tried."""

    kind = "poison"


class DecodeError(PoisonError):
    """The bytes are no record we know: truncated, foreign fingerprint, broken JSON."""

    kind = "decode"


class InvalidRecordError(PoisonError):
    """The bytes decode, but a value breaks the contract (null key, NaN latency, id over the limit)."""

    kind = "invalid"


class RecoverableError(ParityGateError):
    """The world is not ready; the same call may succeed later."""


class BrokerUnavailableError(RecoverableError):
    """No broker answered within the time given. The text names the address and what to check."""
