"""Contract: how one record class stands on the wire, derived from its dataclass once.

Law: the dataclass is the only list of fields in Python. A field that the dataclass has and the bytes lack
takes the dataclass's default; a field that the bytes have and the dataclass lacks is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from paritygate.schemas import rules
from paritygate.schemas.errors import DecodeError, InvalidRecordError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.report import WindowReport

T = TypeVar("T")
_Convert = Callable[[Any], Any]

_JSON = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class Contract(Generic[T]):
    """What the codec must know of one record class.

    ``check`` raises where a value breaks a rule. ``max_bytes`` bounds the value. ``integers``: fields that
    must be whole numbers, for fastavro would cut 1.5 to 1. ``into`` and ``out_of``: conversions between Avro
    and Python values by field, where they differ.
    """

    record_type: type[T]
    check: Callable[[T], None]
    max_bytes: int
    fields: tuple[str, ...]
    integers: tuple[str, ...]
    into: Mapping[str, _Convert]
    out_of: Mapping[str, _Convert]
    json_model: type[BaseModel]

    @property
    def name(self) -> str:
        """The record's name, without namespace."""
        return self.record_type.__name__

    def build(self, datum: Mapping[str, Any]) -> T:
        """The record from what an Avro reader gives.

        :raises InvalidRecordError: an enum symbol that this version does not know.
        :raises DecodeError: a required field is missing in the reader's schema.
        """
        values = {f: datum[f] for f in self.fields if f in datum}
        for field, convert in self.into.items():
            if field not in values:
                continue
            try:
                values[field] = convert(values[field])
            except KeyError:
                raise InvalidRecordError(f"{self.name}.{field} is none of the known symbols") from None
        try:
            return self.record_type(**values)
        except TypeError:
            raise DecodeError(f"{self.name} lacks a required field in the schema of this reader") from None

    def plain(self, record: T) -> dict[str, Any]:
        """The record as an Avro writer wants it."""
        datum = {f: getattr(record, f) for f in self.fields}
        for field, convert in self.out_of.items():
            datum[field] = convert(datum[field])
        return datum

    def plain_field(self, record: T, field: str) -> Any:
        """One field as an Avro writer wants it; ``None`` for a field that the dataclass lacks."""
        value = getattr(record, field, None)
        convert = self.out_of.get(field)
        return value if convert is None else convert(value)

    def problem(self, error: ValidationError) -> str:
        """The first problem of a JSON record, without any text of the payload.

        Keys are payload too (segment values have them), so only names of the dataclass's own fields are said.
        """
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = first["loc"][0] if first["loc"] else None
        if field in self.fields:
            return f"{self.name}.{field}: {first['msg']}"
        if field is not None:
            return f"{self.name} has a field that this version does not know"
        return f"{self.name} value is broken JSON or nested too deep"


def contract_of(record_type: type[T], check: Callable[[T], None], max_bytes: int) -> Contract[T]:
    """Derive the contract of a record dataclass."""
    hints = {name: _as_read(hint) for name, hint in get_type_hints(record_type).items()}
    names = tuple(f.name for f in dataclasses.fields(record_type))  # type: ignore[arg-type]
    into = {n: c for n in names if (c := _into(hints[n])) is not None}
    out_of = {n: c for n in names if (c := _out_of(hints[n])) is not None}
    return Contract(
        record_type=record_type,
        check=check,
        max_bytes=max_bytes,
        fields=names,
        integers=tuple(n for n in names if hints[n] is int),
        into=into,
        out_of=out_of,
        json_model=_json_model(record_type, hints),
    )


def _as_read(hint: Any) -> Any:
    """What is read is a tuple where a record may hold any sequence."""
    return tuple[get_args(hint)[0], ...] if get_origin(hint) is Sequence else hint  # type: ignore[misc]


def _json_model(record_type: type[Any], hints: Mapping[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(record_type):
        if field.default is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], field.default)
        elif field.default_factory is not dataclasses.MISSING:
            fields[field.name] = (hints[field.name], Field(default_factory=field.default_factory))
        else:
            fields[field.name] = (hints[field.name], ...)
    return create_model(f"{record_type.__name__}Json", __config__=_JSON, **fields)


def _into(hint: Any) -> _Convert | None:
    """Avro value to Python value, ``None`` where they are the same; a KeyError stands for an unknown symbol."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {str(member): member for member in hint}.__getitem__
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        inner = {n: c for n, h in get_type_hints(hint).items() if (c := _into(h)) is not None}
        names = tuple(f.name for f in dataclasses.fields(hint))
        return lambda datum: hint(**{n: inner[n](datum[n]) if n in inner else datum[n] for n in names})
    if get_origin(hint) is tuple:
        convert = _into(get_args(hint)[0])
        return tuple if convert is None else lambda items: tuple(map(convert, items))
    return None


def _out_of(hint: Any) -> _Convert | None:
    """Python value to Avro value, ``None`` where the writer takes it as it is."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        names = tuple(f.name for f in dataclasses.fields(hint))
        return lambda record: {n: getattr(record, n) for n in names}
    if get_origin(hint) is tuple:
        convert = _out_of(get_args(hint)[0])
        return None if convert is None else lambda items: list(map(convert, items))
    return None


#: The Avro records by class.
CONTRACTS: Mapping[type[Any], Contract[Any]] = {
    PredictionEvent: contract_of(PredictionEvent, rules.check_prediction, rules.MAX_EVENT_BYTES),
    Outcome: contract_of(Outcome, rules.check_outcome, rules.MAX_EVENT_BYTES),
    PlatformEvent: contract_of(PlatformEvent, rules.check_platform, rules.MAX_EVENT_BYTES),
    WindowReport: contract_of(WindowReport, rules.check_report, rules.MAX_REPORT_BYTES),
}
