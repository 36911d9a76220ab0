"""YAML is read as it stands, or refused at the place where it is wrong."""

from __future__ import annotations

import pytest

from paritygate.rollouts.yaml_source import MAX_BYTES, MAX_DEPTH, dotted, read_yaml
from paritygate.schemas.errors import PlanError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-7", -7),
        ("0o17", 15),
        ("0xff", 255),
        ("017", 17),
        ("1e-3", 0.001),
        ("1.5", 1.5),
        (".5", 0.5),
        ("22:30:00", "22:30:00"),
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
        ("1_000", "1_000"),
        ("v1.2", "v1.2"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("9223372036854775807", 9223372036854775807),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """Only true and false are booleans, times stay text, 1e-3 is a number, quotes make text."""
    plain = read_yaml(f"key: {text}\n").plain["key"]

    assert plain == value
    assert type(plain) is type(value)


def test_keys_are_text() -> None:
    """``on:`` and ``1:`` are the keys "on" and "1", not True and 1."""
    assert read_yaml("on: a\n1: b\n").plain == {"on": "a", "1": "b"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1 a: the key stands twice, first in line 1"),
        ("a: {b: 1, b: 2}\n", "f.yaml:1:11 a.b: the key stands twice, first in line 1"),
        ("a: &x 1\n", "f.yaml:1:4: the anchor &x is not read: write the value where it is used"),
        ("a: 1\nb: *x\n", "f.yaml:2:4: the alias *x is not read: write the value out"),
        ("a: !!set {}\n", "f.yaml:1:4: the tag tag:yaml.org,2002:set is not read: leave it out"),
        ("a: !thing 1\n", "f.yaml:1:4: the tag !thing is not read: leave it out"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document starts here; write one rollout per file"),
        ("a: .nan\n", "f.yaml:1:4 a: .nan is not a finite number"),
        ("a:\n  - 1\n  - -.inf\n", "f.yaml:3:5 a.1: -.inf is not a finite number"),
        ("a: 1e999\n", "f.yaml:1:4 a: 1e999 is not a finite number"),
        ("a: 9223372036854775808\n", "f.yaml:1:4 a: the number does not fit into 64 bits"),
        ("a: " + "9" * 5000 + "\n", "f.yaml:1:4 a: the number does not fit into 64 bits"),
        ("? [a]\n: 1\n", "f.yaml:1:3: a key must be text"),
        ("a: [1\n", "f.yaml:2:1: not YAML: did not find expected ',' or ']'"),
        ("a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed in this context"),
        ("a: \x00\n", "f.yaml:1:1: not YAML: unacceptable character #x0000: control characters are not allowed"),
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing\n", "f.yaml:1:1: the file is empty"),
        ("\ud800", "f.yaml:1:1: the text is not valid Unicode"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_as_it_stands_is_refused_at_its_place(text: str, error: str) -> None:
    """Every trap of YAML is an error with line and column."""
    with pytest.raises(PlanError) as caught:
        read_yaml(text, file="f.yaml")

    assert str(caught.value) == error


def test_size_and_depth_are_bounded() -> None:
    """A large or deep text is refused before it is built."""
    with pytest.raises(PlanError, match=f"at most {MAX_BYTES}"):
        read_yaml("a: " + "x" * MAX_BYTES)
    with pytest.raises(PlanError, match=f"f:1:{MAX_DEPTH + 1}: more than {MAX_DEPTH} levels"):
        read_yaml("[" * 30 + "]" * 30, file="f")
    with pytest.raises(PlanError, match="depth"):
        read_yaml("[" * 60_000)

    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH).plain


def test_every_path_has_its_place() -> None:
    """Keys, values and list items are found where they stand; what is missing, at its parent."""
    source = read_yaml("a:\n  b: [1, 2]\n  c: x\n")

    assert source.place_of_key(("a", "c")) == (3, 3)
    assert source.place_of_value(("a", "c")) == (3, 6)
    assert source.place_of_value(("a", "b", 1)) == (2, 10)
    assert source.place_of_value(("a", "b")) == (2, 3)
    assert source.place_of_value(("a", "gone", "deeper")) == (1, 1)
    assert source.place_of_key(("gone",)) == (1, 1)
    assert dotted(("a", "b", 1)) == "a.b.1"
