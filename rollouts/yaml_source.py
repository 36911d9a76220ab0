"""YAML text -> plain data, with the line and column of every path.

Law: what a person reads in the file is what the program gets, or the file is refused. So: no duplicate keys
(PyYAML keeps the last one), no anchors, aliases or tags (300 bytes can unfold to millions of nodes), one
document, at most 64 KiB and 20 levels. Scalars follow the core schema of YAML 1.2 (yaml.org/spec/1.2.2,
section 10.3): only ``true`` and ``false`` are booleans, so ``on:`` and ``yes`` stay text; times stay text;
``1e-3`` is a number. A number that is not finite, or an integer beyond 64 bits, is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from paritygate.schemas.errors import PlanError

#: Largest file in UTF-8 bytes.
MAX_BYTES: Final = 64 * 1024
#: Most levels of mappings and lists.
MAX_DEPTH: Final = 20

#: Keys and list positions from the root down.
Path = tuple[str | int, ...]
#: Line and column, both from 1.
Place = tuple[int, int]

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BITS_64 = 1 << 63


@dataclass(frozen=True, slots=True)
class YamlSource:
    """What a file says, and where it says it.

    ``plain``: mappings with text keys, lists, text, numbers, booleans and None. ``keys`` holds the place of
    each mapping key, ``values`` the place of each value, by path.
    """

    file: str
    plain: Any
    keys: Mapping[Path, Place]
    values: Mapping[Path, Place]

    def place_of_key(self, path: Path) -> Place:
        """Where the key at ``path`` stands; for what is not in the file, its nearest parent."""
        return self._nearest(path, self.keys)

    def place_of_value(self, path: Path) -> Place:
        """Where the value at ``path`` stands; a mapping or list is where its key stands, if it has one."""
        if path in self.keys and isinstance(self._at(path), dict | list):
            return self.keys[path]
        return self._nearest(path, self.values)

    def _at(self, path: Path) -> Any:
        plain = self.plain
        for step in path:
            plain = plain[step]
        return plain

    def _nearest(self, path: Path, places: Mapping[Path, Place]) -> Place:
        """(0, 0), "the whole file", where nothing is known: plain data that came from no file."""
        if path in places:
            return places[path]
        above = (path[:n] for n in range(len(path) - 1, -1, -1))
        return next((p for a in above if (p := self.keys.get(a) or self.values.get(a))), (0, 0))


def dotted(path: Path) -> str:
    """``("stages", 1, "weight")`` -> ``stages.1.weight``, as it stands in error texts."""
    return ".".join(str(p) for p in path)


def read_yaml(text: str, *, file: str = "<plan>") -> YamlSource:
    """Read one YAML document.

    :raises PlanError: the text breaks the law of this module; the error carries line, column and path.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise PlanError("the text is not valid Unicode", file=file, line=1, column=1) from None
    if size > MAX_BYTES:
        raise PlanError(f"the file has {size} bytes, at most {MAX_BYTES} are read", file=file)
    try:
        _refuse_traps(text, file)
        root = yaml.CSafeLoader(text).get_single_node()
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line, column = _place(mark) if mark else (1, 1)
        raise PlanError(f"not YAML: {e.problem or e.context}", file=file, line=line, column=column) from None
    except yaml.YAMLError as e:
        raise PlanError(f"not YAML: {str(e).splitlines()[0]}", file=file, line=1, column=1) from None
    if root is None:
        raise PlanError("the file is empty", file=file, line=1, column=1)
    reader = _Reader(file)
    return YamlSource(file, reader.read(root, ()), reader.keys, reader.values)


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _refuse_traps(text: str, file: str) -> None:
    """Look at the flat event stream first: it costs the same for a bomb as for any text of that length."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line, column = _place(event.start_mark)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            raise PlanError(
                f"the alias *{anchor} is not read: write the value out", file=file, line=line, column=column
            )
        if anchor is not None:
            what = f"the anchor &{anchor} is not read: write the value where it is used"
            raise PlanError(what, file=file, line=line, column=column)
        if tag is not None:
            raise PlanError(f"the tag {tag} is not read: leave it out", file=file, line=line, column=column)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise PlanError(f"more than {MAX_DEPTH} levels", file=file, line=line, column=column)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                what = "a second document starts here; write one rollout per file"
                raise PlanError(what, file=file, line=line, column=column)


class _Reader:
    """Turns nodes into plain data and keeps their places."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}

    def read(self, node: yaml.Node, path: Path) -> Any:
        place = _place(node.start_mark)
        self.values[path] = place
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        # Only plain text has a type of its own; quoted and block text is text.
        quoted = isinstance(node, yaml.ScalarNode) and node.style
        return node.value if quoted else self._scalar(node.value, place, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error("a key must be text", place, path)
            key = key_node.value
            inner = (*path, key)
            if key in plain:
                first = self.keys[inner][0]
                raise self._error(f"the key stands twice, first in line {first}", place, inner)
            self.keys[inner] = place
            plain[key] = self.read(value_node, inner)
        return plain

    def _scalar(self, text: str, place: Place, path: Path) -> Any:
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return text[0] in "tT"
        if _INT.fullmatch(text):
            return self._integer(text, place, path)
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and math.isinf(float(text))):
            raise self._error(f"{text} is not a finite number", place, path)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _integer(self, text: str, place: Place, path: Path) -> int:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        # Python refuses to read more than 4300 digits; 20 are already beyond 64 bits.
        number = int(text, base) if len(text.lstrip("+-0")) <= 24 else _BITS_64
        if not -_BITS_64 <= number < _BITS_64:
            raise self._error("the number does not fit into 64 bits", place, path)
        return number

    def _error(self, what: str, place: Place, path: Path) -> PlanError:
        return PlanError(what, file=self.file, line=place[0], column=place[1], path=dotted(path))
