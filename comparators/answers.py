"""Answers: the outputs of one arm in a batch, each read once, checked, and compared with the other arm's.

Law: what is found of an output or a pair of outputs is a function of their texts alone. That many of a batch
are handled at once, and equal texts once, changes nothing but the time it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from paritygate.comparators.diff import KINDS, DiffRules, Walk
from paritygate.comparators.validation import NOT_JSON, OutputRules, OutputValidator
from paritygate.schemas.arrays import B1, I64, Objects

Names = tuple[str, ...]


@dataclass(slots=True)
class Answers:
    """Outputs of some rows of a batch.

    ``values``: by row, the JSON value, or the text itself where it is none; None in rows that were not read.
    ``failed``: by row, the names of the rules that fail; valid outputs are not in it. ``repeated``: rows with
    equal texts share one value.
    """

    values: list[Any]
    failed: dict[int, Names] = field(default_factory=dict)
    repeated: bool = False


class OutputChecks:
    """What is asked of outputs: validity, and the kinds of change between two."""

    def __init__(self, output_rules: OutputRules, diff_rules: DiffRules) -> None:
        self._validator = OutputValidator(output_rules)
        self._kinds = Walk(diff_rules).kinds

    def read(self, outputs: Objects, wanted: B1) -> Answers:
        """Read and check the outputs of the wanted rows."""
        if wanted.all():
            return self._read(outputs.tolist())
        rows = np.flatnonzero(wanted)
        some = self._read(outputs[rows].tolist())
        values: list[Any] = [None] * len(outputs)
        places = rows.tolist()
        for place, value in zip(places, some.values, strict=True):
            values[place] = value
        return Answers(values, {places[i]: names for i, names in some.failed.items()}, some.repeated)

    def changes(self, ours: Answers, theirs: Answers, rows: I64) -> dict[str, I64]:
        """Rows by kind of change, for rows that both arms' answers were read of."""
        pairs = zip(*([answers.values[i] for i in rows.tolist()] for answers in (ours, theirs)), strict=True)
        if ours.repeated and theirs.repeated:
            known: dict[tuple[int, int], int] = {}
            masks = []
            for a, b in pairs:
                key = (id(a), id(b))
                mask = known.get(key)
                if mask is None:
                    mask = known[key] = self._kinds(a, b)
                masks.append(mask)
        else:
            kinds = self._kinds
            masks = [kinds(a, b) for a, b in pairs]
        found = np.array(masks, np.uint8)
        by_kind = {kind.value: rows[found & (1 << bit) != 0] for bit, kind in enumerate(KINDS)}
        return {kind: changed for kind, changed in by_kind.items() if len(changed)}

    def _read(self, outputs: list[str]) -> Answers:
        distinct = set(outputs)
        if 2 * len(distinct) > len(outputs):
            return self._read_each(outputs)
        texts = list(distinct)
        some = self._read_each(texts)
        value_of = dict(zip(texts, some.values, strict=True))
        answers = Answers([value_of[output] for output in outputs], repeated=True)
        if some.failed:
            names_of = {texts[i]: names for i, names in some.failed.items()}
            answers.failed = {i: names_of[o] for i, o in enumerate(outputs) if o in names_of}
        return answers

    def _read_each(self, outputs: Sequence[str]) -> Answers:
        try:
            values = list(map(orjson.loads, outputs))
        except orjson.JSONDecodeError:
            return self._read_doubtful(outputs)
        return Answers(values, self._validator.failures(values))

    def _read_doubtful(self, outputs: Sequence[str]) -> Answers:
        """The same where some are no JSON."""
        values: list[Any] = []
        unread: dict[int, Names] = {}
        for place, output in enumerate(outputs):
            try:
                values.append(orjson.loads(output))
            except orjson.JSONDecodeError:
                values.append(output)
                unread[place] = (NOT_JSON,)
        return Answers(values, {**self._validator.failures(values), **unread})
