"""Structural diff of two answers: what changed, where, and of what type.

Law: the diff is typed (a bool is no number, 1 and 1.0 are the same number), does not depend on the order of
keys, and ends: it walks at most ``MAX_NODES`` values and names at most ``MAX_CHANGES`` changes. It knows no
model and no threshold other than the user's tolerance and ignore rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import orjson

from paritygate.schemas.errors import ConfigError

#: Values looked at one by one; what lies beyond is compared as a whole.
MAX_NODES: Final = 10_000
#: Changes named; the answer is different after the first.
MAX_CHANGES: Final = 100


@unique
class ChangeKind(StrEnum):
    """How a value differs."""

    TYPE_CHANGED = "type_changed"
    MISSING_KEY = "missing_key"
    ADDED_KEY = "added_key"
    VALUE_CHANGED = "value_changed"
    NUMBER_CHANGED = "number_changed"
    LENGTH_CHANGED = "length_changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``path`` is the JSON Pointer (RFC 6901) of the place in the baseline's answer."""

    kind: ChangeKind
    path: str


@dataclass(frozen=True, slots=True)
class DiffRules:
    """What does not count as a difference.

    ``ignore``: JSON Pointers; ``*`` stands for any one key or index; everything below is ignored too.
    ``unordered``: pointers of arrays whose order means nothing. Numbers are equal within
    ``absolute_tolerance`` or within ``relative_tolerance`` of the larger one (``math.isclose``).

    :raises ConfigError: a pointer does not begin with ``/``, or a tolerance is negative or not finite.
    """

    ignore: tuple[str, ...] = ()
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    unordered: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pointer in (*self.ignore, *self.unordered):
            if not pointer.startswith("/"):
                raise ConfigError(f"JSON Pointer {pointer!r} must begin with '/', for example '/model_version'")
        for name in ("absolute_tolerance", "relative_tolerance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}: it must be a number of at least 0")

    @classmethod
    def default(cls) -> DiffRules:
        """The rules of a plan that says nothing: two versions always differ in ``model_version``."""
        return cls(ignore=("/model_version",))


#: All kinds, by name: kind ``KINDS[k]`` is bit ``k`` of a mask of kinds.
KINDS: Final = tuple(sorted(ChangeKind))
_BITS: Final = {kind: 1 << bit for bit, kind in enumerate(KINDS)}
_ADDED_KEY: Final = _BITS[ChangeKind.ADDED_KEY]
_MISSING_KEY: Final = _BITS[ChangeKind.MISSING_KEY]
_ABSENT: Final = object()

Path = tuple[str, ...]


def read_output(output: str) -> Any:
    """The value of an output; what is no JSON is compared as the text that it is."""
    try:
        return orjson.loads(output)
    except orjson.JSONDecodeError:
        return output


def diff(baseline: Any, candidate: Any, rules: DiffRules) -> tuple[Change, ...]:
    """Differences between two JSON values, in the order of the baseline's answer. Never raises on JSON."""
    return tuple(
        _change(kind, path) for kind, path in islice(_walk(rules).changes(baseline, candidate), MAX_CHANGES)
    )


@lru_cache(64)
def _walk(rules: DiffRules) -> Walk:
    return Walk(rules)


class Walk:
    """The walker of some rules: an explicit stack instead of recursion, so that deep answers cannot break it."""

    def __init__(self, rules: DiffRules) -> None:
        self._rules = rules
        self._ignored = _Places(rules.ignore)
        self._unordered = _Places(rules.unordered)
        #: The keys of the outermost object that are ignored; None where a pattern names all of them.
        self.keys_ignored = self._ignored.keys()
        #: Types of which two unequal values differ whatever they are. Integers may be too large to be told apart.
        self._at_once = {str: _BITS[ChangeKind.VALUE_CHANGED], bool: _BITS[ChangeKind.VALUE_CHANGED]}
        if not (rules.absolute_tolerance or rules.relative_tolerance):
            self._at_once[float] = _BITS[ChangeKind.NUMBER_CHANGED]

    def kinds(self, baseline: Any, candidate: Any) -> int:
        """The kinds of the changes that :func:`diff` names, as a mask: bit ``k`` is ``KINDS[k]``."""
        if type(baseline) is dict and type(candidate) is dict and len(baseline) + len(candidate) <= MAX_CHANGES:
            found = self._flat_kinds(baseline, candidate)
            if found is not None:
                return found
        found = 0
        for kind, _ in islice(self.changes(baseline, candidate), MAX_CHANGES):
            found |= _BITS[kind]
        return found

    def _flat_kinds(self, a: dict[str, Any], b: dict[str, Any]) -> int | None:
        """:meth:`kinds` of two objects without lists and objects in them; None: they must be walked."""
        ignored, at_once = self.keys_ignored, self._at_once
        if ignored is None:
            return None
        found, same_keys = 0, len(a) == len(b)
        for key, ours in a.items():
            theirs = b.get(key, _ABSENT)
            kind = type(ours)
            if kind is not type(theirs):
                same_keys = same_keys and theirs is not _ABSENT
                if key not in ignored:
                    found |= self._bit(ours, theirs)
            elif kind is dict or kind is list:
                if key not in ignored:
                    return None
            elif ours != theirs and key not in ignored:
                found |= at_once.get(kind) or self._bit(ours, theirs)
        if not same_keys and any(key not in a and key not in ignored for key in b):
            found |= _ADDED_KEY
        return found

    def _bit(self, ours: Any, theirs: Any) -> int:
        if theirs is _ABSENT:
            return _MISSING_KEY
        kind = self._compare(ours, theirs)
        return 0 if kind is None else _BITS[kind]

    def changes(self, baseline: Any, candidate: Any) -> Iterator[tuple[ChangeKind, Path]]:
        """All changes, in the order of the baseline's answer."""
        stack: list[tuple[Path, Any, Any]] = [((), baseline, candidate)]
        budget = MAX_NODES
        while stack:
            path, a, b = stack.pop()
            budget -= 1
            if budget < 0:
                if not _same(a, b):
                    yield ChangeKind.VALUE_CHANGED, path
                continue
            kind = self._compare(a, b)
            if kind is not None:
                yield kind, path
            elif isinstance(a, dict):
                yield from self._keys(path, a, b, stack)
            elif isinstance(a, list):
                yield from self._items(path, a, b, stack)

    def _compare(self, a: Any, b: Any) -> ChangeKind | None:
        """The change between two values themselves; None where they are equal or must be entered."""
        kind = _TYPES.get(type(a), list)
        if kind is not _TYPES.get(type(b), list):
            return ChangeKind.TYPE_CHANGED
        if kind is dict or kind is list or a == b:
            return None
        if kind is not float:
            return ChangeKind.VALUE_CHANGED
        return None if self._close(a, b) else ChangeKind.NUMBER_CHANGED

    def _close(self, a: float, b: float) -> bool:
        try:
            return math.isclose(
                a, b, rel_tol=self._rules.relative_tolerance, abs_tol=self._rules.absolute_tolerance
            )
        except OverflowError:  # an integer beyond the range of a double
            return False

    def _keys(
        self, path: Path, a: dict[str, Any], b: dict[str, Any], stack: list[tuple[Path, Any, Any]]
    ) -> Iterator[tuple[ChangeKind, Path]]:
        for ours, theirs, kind in ((a, b, ChangeKind.MISSING_KEY), (b, a, ChangeKind.ADDED_KEY)):
            if ours.keys() <= theirs.keys():
                continue
            for key in ours:
                if key not in theirs and (*path, key) not in self._ignored:
                    yield kind, (*path, key)
        for key in reversed(a):
            if key in b:
                self._enter((*path, key), a[key], b[key], stack)

    def _items(
        self, path: Path, a: Sequence[Any], b: Sequence[Any], stack: list[tuple[Path, Any, Any]]
    ) -> Iterator[tuple[ChangeKind, Path]]:
        if len(a) != len(b):
            yield ChangeKind.LENGTH_CHANGED, path
        if path in self._unordered:
            a, b = sorted(a, key=_canonical), sorted(b, key=_canonical)
        for i in reversed(range(min(len(a), len(b)))):
            self._enter((*path, str(i)), a[i], b[i], stack)

    def _enter(self, path: Path, a: Any, b: Any, stack: list[tuple[Path, Any, Any]]) -> None:
        """Look at two values later, unless they are equal or ignored."""
        kind = type(a)
        if kind is type(b) and kind is not dict and kind is not list and a == b:
            return
        if path not in self._ignored:
            stack.append((path, a, b))


#: JSON has one type of number.
_TYPES: Final[dict[type, type]] = {
    bool: bool, int: float, float: float, str: str, type(None): type(None), dict: dict,
}  # fmt: skip


class _Places:
    """The places that some pointers name."""

    def __init__(self, pointers: Sequence[str]) -> None:
        parts = [_parts(pointer) for pointer in pointers]
        self._exact = frozenset(p for p in parts if "*" not in p)
        self._patterns = [p for p in parts if "*" in p]

    def keys(self) -> frozenset[str] | None:
        """The keys of the outermost object among the places; None where a pattern names all of them."""
        if ("*",) in self._patterns:
            return None
        return frozenset(path[0] for path in self._exact if len(path) == 1)

    def __contains__(self, path: Path) -> bool:
        return path in self._exact or (bool(self._patterns) and _matches(self._patterns, path))


def _parts(pointer: str) -> Path:
    return tuple(p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:])


def _matches(patterns: Sequence[Path], path: Path) -> bool:
    return any(
        len(pattern) == len(path) and all(p in ("*", part) for p, part in zip(pattern, path, strict=True))
        for pattern in patterns
    )


def _change(kind: ChangeKind, path: Path) -> Change:
    return Change(kind, "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in path))


def _canonical(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than the writer follows: such items keep their order
        return b""


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except RecursionError:
        return False
