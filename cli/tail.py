"""``paritygate tail``: the auditor's first tool. Prints what lies in a topic, whatever its framing.

Law: every record is shown or filtered, never skipped in silence: one that does not decode is a line with its
reason. Reading disturbs nobody (no group, no commits).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.kafka import Record, kafka_settings, partition_counts, read
from paritygate.cli.options import Bootstrap, Json
from paritygate.schemas.errors import ConfigError, PoisonError

if TYPE_CHECKING:
    from paritygate.schemas.codec import ConfluentIds
    from paritygate.schemas.registry import AvroSchema

_AVRO = b"\xc3\x01"
_CONFLUENT = b"\x00"


@unique
class From(StrEnum):
    """Where to begin."""

    BEGINNING = "beginning"
    END = "end"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records to show; None = all. A record that does not decode is judged by its key and bytes."""

    request_id: str | None = None
    rollout_id: str | None = None

    def maybe(self, record: Record) -> bool:
        """False when the record cannot match, told from its bytes without decoding.

        Avro and keys hold text as plain UTF-8; JSON may escape it, so JSON is always decoded.
        """
        data = record.value or b""
        if data[:2] != _AVRO:
            return True
        texts = [t.encode() for t in (self.request_id, self.rollout_id) if t is not None]
        return all(t in data or t in (record.key or b"") for t in texts)

    def holds(self, record: Record, plain: dict[str, Any] | None) -> bool:
        """Does the record match? ``plain`` is its content, None where it does not decode."""
        if plain is None:
            wanted = [t.encode() for t in (self.request_id, self.rollout_id) if t is not None]
            return all(t == record.key or t in (record.value or b"") for t in wanted)
        if self.rollout_id is not None and plain.get("rollout_id") != self.rollout_id:
            return False
        if self.request_id is None:
            return True
        examples = plain.get("examples") or []
        return plain.get("request_id") == self.request_id or any(
            e.get("request_id") == self.request_id for e in examples
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """One record as it is printed: its content, or why it has none."""

    record: Record
    framing: str
    plain: dict[str, Any] | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: place, key, headers, then ``record`` or ``error``."""
        r = self.record
        return {
            "topic": r.topic,
            "partition": r.partition,
            "offset": r.offset,
            "timestamp_ms": r.timestamp_ms,
            "key": _text(r.key),
            "headers": {name: _text(value) for name, value in r.headers},
            "framing": self.framing,
            "value_bytes": None if r.value is None else len(r.value),
            "record": self.plain,
            **({"error": self.error} if self.error else {}),
        }

    def line(self) -> str:
        """For people: place, time, key, content on one line."""
        import orjson  # noqa: PLC0415

        from paritygate.cli.render import instant  # noqa: PLC0415

        r = self.record
        place = f"{r.topic}[{r.partition}]@{r.offset} {instant(r.timestamp_ms)} key={_text(r.key)}"
        headers = "".join(f" {name}={_text(value)}" for name, value in r.headers)
        if self.error:
            return f"{place}{headers} UNDECODABLE ({self.framing}, {len(r.value or b'')} bytes): {self.error}"
        body = "(tombstone)" if self.plain is None else orjson.dumps(self.plain).decode()
        return f"{place}{headers} {body}"


def framing_of(value: bytes | None) -> str:
    """How the bytes say what they are; ``unknown`` for none of ours."""
    if value is None:
        return "none"
    if value[:2] == _AVRO:
        return "avro"
    if value[:1] == _CONFLUENT:
        return "confluent"
    return "json" if value[:1] == b"{" else "unknown"


def shown(
    records: Iterable[Record], table_name: str, wanted: Wanted, confluent_ids: ConfluentIds | None = None
) -> Iterator[Shown]:
    """Records that match, decoded as those of ``table_name`` (the name in the topics table)."""
    from paritygate.schemas.codec import any_record_to_json  # noqa: PLC0415

    for record in records:
        if not wanted.maybe(record):
            continue
        plain, error = None, ""
        if record.value is not None:
            try:
                plain = any_record_to_json(table_name, record.value, confluent_ids=confluent_ids)
            except PoisonError as e:
                error = str(e)
        if wanted.holds(record, plain):
            yield Shown(record, framing_of(record.value), plain, error)


def tail(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="As in 'paritygate topics list'.", show_default=False)
    ],
    *,
    bootstrap: Bootstrap = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records come.")] = False,
    request_id: Annotated[str | None, typer.Option("--request-id", help="Only this request.")] = None,
    rollout: Annotated[str | None, typer.Option("--rollout", help="Only this rollout.")] = None,
    start: Annotated[From | None, typer.Option("--from", help="Default: beginning; with --follow: end.")] = None,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="Stop after so many.")] = None,
    confluent_schema: Annotated[
        list[str] | None,
        typer.Option(
            "--confluent-schema",
            metavar="ID=RECORD.vN",
            help="What an id of a Confluent schema registry stands for, such as 7=prediction_event.v1; may be "
            "repeated. Otherwise $PARITYGATE_CONFLUENT_IDS, separated by commas.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the records of a topic, decoded; one that cannot be decoded is a line with the reason."""
    ids = confluent_ids(confluent_schema or (), os.environ)
    settings = kafka_settings(bootstrap)
    name = topic_on_cluster(topic, settings.topic_prefix, partition_counts(settings))
    from_end = (start or (From.END if follow else From.BEGINNING)) is From.END
    if from_end and not follow:
        note("nothing comes after the end; say --follow to wait for it")
    records = read(settings, name, from_end=from_end, follow=follow)
    left = maximum
    for found in shown(records, name.removeprefix(settings.topic_prefix), Wanted(request_id, rollout), ids):
        if as_json:
            print_json(found.to_json(), indent=False)
        else:
            print_line(found.line())
        left = None if left is None else left - 1
        if left == 0:
            return


def confluent_ids(given: Iterable[str], environ: Mapping[str, str]) -> Mapping[int, AvroSchema]:
    """Schemas by Confluent id from the options, or from the environment where there is none.

    :raises ConfigError: one is malformed or names no schema of ours.
    """
    from paritygate.schemas.confluent_ids import CONFLUENT_IDS, parse_confluent_ids  # noqa: PLC0415

    if text := ",".join(given):
        return parse_confluent_ids(text, source="--confluent-schema")
    return parse_confluent_ids(environ.get(CONFLUENT_IDS, ""))


def topic_on_cluster(topic: str, prefix: str, there: Iterable[str]) -> str:
    """The name on the cluster of a topic given with or without the prefix, or without its version.

    :raises ConfigError: the cluster has none of that name.
    """
    names = set(there)
    for name in (prefix + topic, topic, f"{prefix}{topic}.v1"):
        if name in names:
            return name
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(prefix + topic, names, n=1)
    raise ConfigError(
        f"no topic {prefix + topic!r} on the cluster" + (f", did you mean {near[0]!r}?" if near else "")
    )


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")
