"""Answers: the outputs of one arm in a batch, each read once, checked, and compared with the other arm's.

Law: what is found of an output or a pair of outputs is a function of their texts alone. That many of a batch
are handled at once, and equal texts once, changes nothing but the time it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from paritygate.comparators.demands import Demands, Table
from paritygate.comparators.diff import KINDS, DiffRules, Walk, read_output
from paritygate.comparators.flat import Flat
from paritygate.comparators.flat import Names as FlatNames
from paritygate.comparators.flat_changes import WALK, kinds_of
from paritygate.comparators.validation import NOT_JSON, OutputRules, OutputValidator
from paritygate.schemas.arrays import B1, I64
from paritygate.schemas.codes import numbered
from paritygate.schemas.texts import Texts

Names = tuple[str, ...]

#: So many outputs of a batch tell whether most are repeated.
_SAMPLE: Final = 2_048


@dataclass(slots=True)
class Answers:
    """Outputs of some rows of a batch.

    ``texts``: the outputs, each once where many are repeated. ``place``: by row, which of them; -1 in rows that
    were not read. ``failed``: by row, the names of the rules that fail; valid outputs are not in it. ``values``: by
    place, what was read one by one.
    """

    texts: Texts
    place: I64
    flat: Flat
    failed: dict[int, Names]
    values: dict[int, Any]

    def value(self, place: int) -> Any:
        """The JSON value of a text, or the text itself where it is none."""
        if place not in self.values:
            self.values[place] = read_output(self.texts.text(place))
        return self.values[place]


class OutputChecks:
    """What is asked of outputs: validity, and the kinds of change between two."""

    def __init__(self, output_rules: OutputRules, diff_rules: DiffRules) -> None:
        self._validator = OutputValidator(output_rules)
        self._rules, self._walk = diff_rules, Walk(diff_rules)
        demands, ignored = Demands.of(output_rules), self._walk.keys_ignored
        keys = tuple(dict.fromkeys([*(demands.keys() if demands else ()), *sorted(ignored or ())]))
        self._is_ignored = np.array([key in (ignored or ()) for key in keys], np.bool_)
        #: By a pattern; then no two that differ are told apart at once.
        self._ignores_all = ignored is None
        self._table = None if demands is None else Table(demands, keys)
        self._names = FlatNames.of(keys) if self._table is None else self._table.names

    def read(self, outputs: Texts, wanted: B1) -> Answers:
        """Read and check the outputs of the wanted rows."""
        rows = np.flatnonzero(wanted)
        texts, index = _distinct(outputs if len(rows) == len(outputs) else outputs.take(rows))
        place = np.full(len(outputs), -1, np.int64)
        place[rows] = index
        flat = Flat.read(texts, self._names)
        kept = self._table.kept(flat) if self._table is not None else np.zeros(len(texts), np.bool_)
        values, failed = self._read_each(texts, np.flatnonzero(~kept).tolist())
        by_row: dict[int, Names] = {}
        if failed:
            fails = np.zeros(len(texts), np.bool_)
            fails[list(failed)] = True
            failing = rows[fails[index]]
            by_row = {i: failed[at] for i, at in zip(failing.tolist(), place[failing].tolist(), strict=True)}
        return Answers(texts, place, flat, by_row, values)

    def changes(self, ours: Answers, theirs: Answers, rows: I64) -> dict[str, I64]:
        """Rows by kind of change, for rows that both arms' answers were read of."""
        a, b = ours.place[rows], theirs.place[rows]
        found = kinds_of(ours.flat, theirs.flat, a, b, self._is_ignored, self._rules)
        if self._ignores_all:
            found[found > 0] = WALK
        known: dict[tuple[int, int], int] = {}
        for i in np.flatnonzero(found & WALK).tolist():
            pair = (int(a[i]), int(b[i]))
            if pair not in known:
                known[pair] = self._walk.kinds(ours.value(pair[0]), theirs.value(pair[1]))
            found[i] = known[pair]
        by_kind = {kind.value: rows[found & (1 << bit) != 0] for bit, kind in enumerate(KINDS)}
        return {kind: changed for kind, changed in by_kind.items() if len(changed)}

    def _read_each(self, texts: Texts, places: Sequence[int]) -> tuple[dict[int, Any], dict[int, Names]]:
        """Values of some texts, and the rules that fail of them, asked of the rules themselves."""
        values: list[Any] = []
        failed: dict[int, Names] = {}
        for place in places:
            try:
                values.append(orjson.loads(texts.text(place)))
            except orjson.JSONDecodeError:
                values.append(texts.text(place))
                failed[place] = (NOT_JSON,)
        found = self._validator.failures(values)
        failed = {**{places[k]: names for k, names in found.items()}, **failed}
        return dict(zip(places, values, strict=True)), failed


def _distinct(texts: Texts) -> tuple[Texts, I64]:
    """Texts, and which of them each one is; where most are repeated, each of them once."""
    some = texts.take(np.arange(0, len(texts), max(1, len(texts) // _SAMPLE)))
    if 2 * len(numbered(some)[1]) > len(some):
        return texts, np.arange(len(texts))
    index, first = numbered(texts)
    return texts.take(first), index.astype(np.int64)
