"""What operators said: commands with the signatures that they carry, and the keys of whoever runs this.

Law: a command is believed if a key at hand speaks for it, or if a recorded decision names it. Without keys nothing
is doubted in what a person is shown. A replay passes over what no decision names where commands are signed, since a
decider may have refused it for its signature.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from paritygate.cli.kafka import read
from paritygate.schemas.errors import ConfigError, PoisonError
from paritygate.schemas.signature import COMMAND, CommandLog, Signer, TrustedKeys
from paritygate.schemas.topics import AUDIT, ROLLOUTS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.command import Command

#: The private key that signs what is said here; public keys of those whose commands and decisions count.
SIGNING_KEY = "PARITYGATE_SIGNING_KEY"
COMMAND_KEYS = "PARITYGATE_COMMAND_KEYS"
DECISION_KEYS = "PARITYGATE_DECISION_KEYS"


@dataclass(slots=True)
class Said:
    """All of ``rollouts.v1``, in log order.

    ``lost``: offsets that hold nothing any more. ``unread``: records that are no command.
    """

    log: CommandLog
    commands: list[tuple[int, Command]] = field(default_factory=list)
    lost: list[range] = field(default_factory=list)
    unread: int = 0

    @property
    def doubted(self) -> dict[int, str]:
        """Offset and why, of the commands that no key at hand speaks for; empty without keys."""
        return self.log.doubted

    @property
    def unheard(self) -> Collection[int]:
        """Offsets of the commands that count in a replay only where a recorded decision names them.

        All of them where commands are signed: whatever keys are at hand, the decider may have had others.
        """
        return [offset for offset, _ in self.commands] if self.log.signs else []


def read_said(settings: KafkaSettings, keys: TrustedKeys | None) -> Said:
    """Everything that stands in ``rollouts.v1``."""
    from paritygate.schemas.command import Command  # noqa: PLC0415  (pydantic costs 40 ms)

    said, following = Said(CommandLog(keys)), 0
    for record in read(settings, settings.topic(ROLLOUTS.name)):
        if record.offset > following:
            said.lost.append(range(following, record.offset))
        following = record.offset + 1
        said.log.take(record.offset, record.value or b"", record.headers)
        try:
            said.commands.append((record.offset, Command.from_bytes(record.value or b"")))
        except PoisonError:
            said.unread += 1  # the decider passed it over too
    return said


def believed(settings: KafkaSettings) -> Iterator[tuple[int, Command]]:
    """Offset and command of what operators said so far, without what is not to be believed."""
    said = read_said(settings, command_keys())
    named = _named(settings) if said.doubted else set()
    yield from (c for c in said.commands if c[0] not in said.doubted or c[0] in named)


def _named(settings: KafkaSettings) -> set[int]:
    """Offsets of the commands that the record names."""
    from paritygate.cli.answer import CAUSES  # noqa: PLC0415
    from paritygate.schemas.decision import GateDecision  # noqa: PLC0415

    caused, found = set(CAUSES.values()), set()
    with suppress(ConfigError):  # without the topic nothing is recorded
        for record in read(settings, settings.topic(AUDIT.name)):
            with suppress(PoisonError):
                decision = GateDecision.from_bytes(record.value or b"")
                if decision.reason_code in caused:
                    found.add(decision.commands_next - 1)
    return found


def signer() -> Signer | None:
    """The key that signs what is said here; None where none is set.

    :raises ConfigError: the file cannot be read, or holds no key.
    """
    path = os.environ.get(SIGNING_KEY, "")
    return Signer(_bytes(path, SIGNING_KEY), f"{SIGNING_KEY} {path}") if path else None


def command_keys(path: str = "") -> TrustedKeys | None:
    """The keys of those whose commands count, of a file or of the environment; None where none are named.

    :raises ConfigError: the file cannot be read, or holds no key.
    """
    return _keys(COMMAND_KEYS, path)


def decision_keys(path: str = "") -> TrustedKeys | None:
    """The keys of the deciders whose record counts, of a file or of the environment; None where none are named.

    :raises ConfigError: the file cannot be read, or holds no key.
    """
    return _keys(DECISION_KEYS, path)


def signature(command: Command) -> Iterable[tuple[str, bytes]]:
    """The headers that go with a command of ours; none where no key is set.

    :raises ConfigError: as :func:`signer`.
    """
    key = signer()
    return [] if key is None else key.headers(COMMAND, command.to_bytes())


def _keys(variable: str, path: str) -> TrustedKeys | None:
    path = path or os.environ.get(variable, "")
    return TrustedKeys(_bytes(path, variable), f"{variable} {path}") if path else None


def _bytes(path: str, variable: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ConfigError(f"{variable} {path} cannot be read: {e.strerror or type(e).__name__}") from None
