"""Flat changes: the kinds of change between flat outputs, pair by pair in one compiled loop.

Law: what is said of a pair is what :class:`~paritygate.comparators.diff.Walk` says of its values, or nothing; then
the pair must be walked.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from paritygate.comparators.diff import KINDS, MAX_CHANGES, ChangeKind, DiffRules
from paritygate.comparators.flat import ESCAPED, FALSE, INTEGER, REAL, TEXT, TRUE, Flat
from paritygate.schemas.arrays import B1, I64, U8
from paritygate.schemas.compiled import address as address_of
from paritygate.schemas.compiled import compiled, is_same, real

#: Added to no mask of kinds: the pair must be walked.
WALK: Final = 0x80
_NAMED: Final = (
    ChangeKind.MISSING_KEY, ChangeKind.ADDED_KEY, ChangeKind.TYPE_CHANGED, ChangeKind.VALUE_CHANGED,
    ChangeKind.NUMBER_CHANGED,
)  # fmt: skip
_BITS: Final = np.array([1 << KINDS.index(kind) for kind in _NAMED], np.uint8)


def kinds_of(ours: Flat, theirs: Flat, a: I64, b: I64, ignored: B1, rules: DiffRules) -> U8:
    """By pair, the kinds of change from output ``a[i]`` to output ``b[i]``: bit ``k`` is ``KINDS[k]``, or ``WALK``.

    ``ignored``: by number, the keys that were named beforehand, in both readings the same.
    """
    named = len(ignored)
    number = {text: named + k for k, text in enumerate(ours.texts_of_keys(named))}
    same = [number.get(text, -1) for text in theirs.texts_of_keys(named)]
    mine = np.concatenate([np.arange(named), np.array(same, np.int64)])
    found, has = np.zeros(len(a), np.uint8), np.full(len(ours.keys), -1)
    _kinds(
        ours.buffer, ours.outputs, ours.fields, theirs.buffer, theirs.outputs, theirs.fields, a, b, mine, has,
        ignored, float(rules.absolute_tolerance), float(rules.relative_tolerance), MAX_CHANGES, _BITS, found,
    )  # fmt: skip
    return found


@compiled
def _is_close(a: float, b: float, absolute: float, relative: float) -> bool:
    """As ``math.isclose`` has it."""
    if a == b:
        return True
    apart = abs(b - a)
    return bool(apart <= abs(relative * b) or apart <= abs(relative * a) or apart <= absolute)


@compiled
def _type(kind: Any) -> Any:
    """JSON has one type of number, of text, and of truth."""
    if kind == TRUE:
        return FALSE
    if kind == REAL:
        return INTEGER
    return TEXT if kind == ESCAPED else kind


@compiled
def _kinds(
    buffer_a: Any, outputs_a: Any, fields_a: Any, buffer_b: Any, outputs_b: Any, fields_b: Any, rows_a: Any,
    rows_b: Any, mine: Any, has: Any, ignored: Any, absolute: float, relative: float, most: int, bits: Any,
    found: Any,
) -> None:  # fmt: skip
    """Fill what is found. ``mine``: by key of b, the same of a; ``has``: by key of a, the last pair that had it."""
    a, b, named = address_of(buffer_a), address_of(buffer_b), len(ignored)
    for pair in range(len(rows_a)):
        row_a, row_b = rows_a[pair], rows_b[pair]
        size = outputs_a[row_a, 1]
        if size == outputs_b[row_b, 1] and is_same(a + outputs_a[row_a, 0], b + outputs_b[row_b, 0], size):
            continue
        first, last = outputs_a[row_a, 2], outputs_a[row_a + 1, 2]
        begin, end = outputs_b[row_b, 2], outputs_b[row_b + 1, 2]
        if not (outputs_a[row_a, 3] and outputs_b[row_b, 3]) or last - first + end - begin > most:
            found[pair] = WALK
            continue
        mask, both, there = np.uint8(0), 0, begin
        for field in range(first, last):
            name = fields_a[field, 0]
            has[name] = pair
            # Most outputs have the same keys in the same order: begin behind the one that was found last.
            other = -1
            for _ in range(end - begin):
                there = begin if there == end else there
                if mine[fields_b[there, 0]] == name:
                    other = there
                there += 1
                if other >= 0:
                    break
            both += other >= 0
            if name < named and ignored[name]:
                continue
            if other < 0:
                mask |= bits[0]
                continue
            kind, theirs = fields_a[field, 1], fields_b[other, 1]
            value, its_value = fields_a[field, 2], fields_b[other, 2]
            its_type = _type(kind)
            if its_type != _type(theirs):
                mask |= bits[2]
            elif its_type == FALSE:
                if kind != theirs:
                    mask |= bits[3]
            elif its_type == INTEGER:
                if not _is_close(real(np.uint64(value)), real(np.uint64(its_value)), absolute, relative):
                    mask |= bits[4]
            elif its_type >= TEXT:
                size = fields_a[field, 3]
                if size != fields_b[other, 3] or not is_same(a + value, b + its_value, size):
                    mask |= bits[3] if kind == theirs == TEXT else np.uint8(WALK)
        if both < end - begin:
            for other in range(begin, end):
                name = mine[fields_b[other, 0]]
                if (name < 0 or has[name] != pair) and not (0 <= name < named and ignored[name]):
                    mask |= bits[1]
        found[pair] = mask
