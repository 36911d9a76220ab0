"""``notify.yaml``: whom to tell, how, and where the secrets are.

Law: a secret stands neither in the file nor on the command line, but in an environment variable or a file that this
one names; no error and no log line holds one, nor a URL's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from paritygate.cli.notify.address import Url, parse_url
from paritygate.cli.notify.change import Severity
from paritygate.cli.notify.message import Format
from paritygate.cli.notify.signature import secret_bytes
from paritygate.rollouts.yaml_source import MAX_BYTES, dotted, read_yaml
from paritygate.schemas.decision import first_problem
from paritygate.schemas.errors import ConfigError, PlanError

#: A secret or URL in a file is one line.
MAX_SECRET_BYTES = 8 << 10


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class SecretSource(_Section):
    """Where a secret is: the variable ``env``, or the file ``file``."""

    env: str | None = Field(default=None, min_length=1)
    file: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("name either env or file")
        return self

    def read(self, environment: Mapping[str, str], where: str) -> str:
        """What stands there.

        :raises ConfigError: nothing does.
        """
        if self.env is not None:
            text, place = environment.get(self.env, ""), f"the variable {self.env}"
        else:
            path = Path(self.file or "")
            place = str(path)
            try:
                text = path.read_bytes()[:MAX_SECRET_BYTES].decode()
            except OSError as e:
                raise ConfigError(f"{where}: {path} cannot be read: {e.strerror or type(e).__name__}") from None
            except UnicodeDecodeError:
                raise ConfigError(f"{where}: {path} is no text") from None
        if not text.strip():
            raise ConfigError(f"{where}: {place} is empty")
        return text.strip()


class TargetSection(_Section):
    """One receiver as it stands in the file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    url: str | SecretSource
    format: Annotated[Format, Field(strict=False)] = Format.CLOUDEVENTS
    secret: SecretSource | None = None
    least: Annotated[Severity, Field(strict=False)] = Severity.INFO


class NotifyFile(_Section):
    """The whole file."""

    targets: tuple[TargetSection, ...] = Field(min_length=1, strict=False)
    private_hosts: tuple[str, ...] = Field(default=(), strict=False)
    plain_http_hosts: tuple[str, ...] = Field(default=(), strict=False)
    link: str = ""
    give_up_after_seconds: int = Field(default=3600, ge=0, le=7 * 24 * 3600)

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [target.name for target in self.targets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two targets are named {twice}: each keeps its own position by its name")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One receiver, ready: its URL was checked and its secret read. ``key`` is None where nothing is signed."""

    name: str
    url: Url
    format: Format
    least: Severity
    private: bool
    link: str
    give_up_after_s: int
    key: bytes | None = field(repr=False, default=None)


def read_targets(path: Path, environment: Mapping[str, str]) -> list[Target]:
    """The receivers that a file names.

    :raises PlanError: the file cannot be used; with line and column.
    :raises ConfigError: a secret or a URL cannot.
    """
    file = _read(path)
    return [_target(section, file, environment) for section in file.targets]


def _read(path: Path) -> NotifyFile:
    try:
        with path.open("rb") as opened:
            text = opened.read(MAX_BYTES + 1).decode()
    except OSError as e:
        raise PlanError(f"cannot be read: {e.strerror or type(e).__name__}", file=str(path)) from None
    except UnicodeDecodeError as e:
        raise PlanError(f"is not UTF-8 text (byte {e.start})", file=str(path)) from None
    source = read_yaml(text, file=str(path))
    try:
        return NotifyFile.model_validate(source.plain)
    except ValidationError as e:
        place = tuple(e.errors(include_url=False, include_input=False)[0]["loc"])
        line, column = source.place_of_value(place)
        what = first_problem(e).partition(": ")[2]
        raise PlanError(what, file=str(path), line=line, column=column, path=dotted(place)) from None


def _target(section: TargetSection, file: NotifyFile, environment: Mapping[str, str]) -> Target:
    where = f"target {section.name}"
    text = section.url if isinstance(section.url, str) else section.url.read(environment, f"{where}, url")
    host = parse_url(text, where, plain_http=True).host
    url = parse_url(text, where, plain_http=host in file.plain_http_hosts)
    secret = section.secret
    key = None if secret is None else secret_bytes(secret.read(environment, f"{where}, secret"), f"{where}, secret")
    return Target(
        name=section.name,
        url=url,
        format=section.format,
        least=section.least,
        private=host in file.private_hosts,
        link=file.link,
        give_up_after_s=file.give_up_after_seconds,
        key=key,
    )
