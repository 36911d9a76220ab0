"""What is compiled agrees with Python's own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paritygate.schemas.codes import Codes
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled, decimal, is_utf8, varint
from paritygate.schemas.texts import Texts

ROOM = Path(__file__).parents[3] / "schemas"
texts = st.lists(st.text(max_size=20) | st.sampled_from(["", "a", "a\0", "aaaaaaaa", "aaaaaaaab"]), max_size=40)


def ids_of(raw: list[bytes]) -> Texts:
    """Bytes that need not be UTF-8."""
    size = np.array([len(r) for r in raw], np.int32)
    at = np.cumsum([0, *size[:-1]])[: len(raw)].astype(np.int64)
    return Texts(np.frombuffer(b"".join([*raw, bytes(SPARE_BYTES)]), np.uint8), at, size)


def test_the_hash_is_pythons_own() -> None:
    """Under the key of zeros that PYTHONHASHSEED=0 gives Python, every length hashes as Python hashes it."""
    script = (
        "import numpy as np, random\n"
        "from paritygate.schemas.ids import _hashes\n"
        "raw = random.Random(1).randbytes(400) + bytes(8)\n"
        "at = np.arange(1, 64); size = np.arange(1, 64, dtype=np.int32)\n"
        "found = _hashes(np.uint64(0), np.uint64(0), np.frombuffer(raw, np.uint8), at, size)\n"
        "assert found.tolist() == [hash(raw[a:a + s]) for a, s in zip(at.tolist(), size.tolist())]\n"
    )
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@given(st.integers(0, 2**64 - 1) | st.integers(0, 999), st.integers(-290, 290))
@example(9007199254740993, 0)
@example(5, -1)
@example(8, 23)
@example(2**64 - 1, 289)
def test_decimals_are_read_to_the_last_bit(digits: int, power: int) -> None:
    """The nearest double, or none; none only where a number needs all the digits that it has."""
    bits, certain = decimal(np.uint64(digits), power)

    assert certain or digits >= 2**53 or abs(power) > 22
    assert not certain or struct.pack("<Q", int(bits)) == struct.pack("<d", float(f"{digits}e{power}"))


@compiled
def _are_utf8(buffer: Any, at: Any, size: Any) -> Any:
    found, base = np.empty(len(at), np.bool_), address(buffer)
    for i in range(len(at)):
        found[i] = is_utf8(base + at[i], size[i])
    return found


@given(st.lists(st.binary(max_size=12) | st.text(max_size=12).map(str.encode), max_size=20))
@example([b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x80\x80", b"12345678\xc3", b"\xf0\x9f\x98\x80"])
def test_utf8_is_what_python_decodes(raw: list[bytes]) -> None:
    """Surrogates, overlong forms and cut ends are none, wherever a text lies."""

    def decodes(text: bytes) -> bool:
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
        return True

    ids = ids_of(raw)
    assert _are_utf8(ids.buffer, ids.at, ids.size).tolist() == [decodes(text) for text in raw]


@given(texts)
@example([f"v{i % 700}" for i in range(1_500)])
@example([f"long value number {i % 700}" for i in range(1_500)])
def test_texts_are_numbered_in_order_of_appearance(values: list[str]) -> None:
    """Few or many, short or long: as a dict numbers them."""
    found = Codes.of(Texts.of(values))
    distinct = list(dict.fromkeys(value for value in values if value is not None))

    assert found.values == distinct
    assert found.index.tolist() == [-1 if value is None else distinct.index(value) for value in values]


@compiled
def _read_varint(buffer: Any, size: int) -> Any:
    number, at = varint(address(buffer), address(buffer) + size)
    return number, (at - address(buffer) if at >= 0 else at)


@given(st.binary(min_size=1, max_size=9))
@example(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_a_varint_is_zig_zag_of_seven_bits_a_byte(raw: bytes) -> None:
    """Up to nine bytes; one that does not end is none."""
    number, size = _read_varint(np.frombuffer(raw + bytes(SPARE_BYTES), np.uint8), len(raw))
    ends = next((i for i, byte in enumerate(raw) if byte < 0x80), None)
    if ends is None:
        assert size == -1
        return
    bits = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(raw[: ends + 1]))
    assert (number, size) == (bits >> 1 ^ -(bits & 1), ends + 1)


def test_without_a_place_for_machine_code_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file system costs the time of compiling, nothing else."""

    def refuse(*_: Any) -> Any:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("paritygate.schemas.compiled.Kept", refuse)

    assert compiled(lambda number: number + 1)(1) == 2


_KEPT = """
import importlib.util, os, sys, tempfile, types
def refuse(*_args, **_more): raise OSError("read-only")
if sys.argv[2] == "read-only": tempfile.TemporaryFile = os.replace = refuse
for name in ("paritygate", "paritygate.schemas"): sys.modules[name] = types.ModuleType(name)
for name in ("machine_code", "compiled", "parts", "whole"):
    spec = importlib.util.spec_from_file_location("paritygate.schemas." + name, sys.argv[1] + f"/{name}.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
assert module.four_times(1) == 4
stats = module.four_times.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Calls a compiled function in a process of its own; how often machine code was found, and how often not."""
    for name in ("machine_code", "compiled"):
        (tmp_path / f"{name}.py").write_bytes((ROOM / f"{name}.py").read_bytes())
    head = "from paritygate.schemas.compiled import compiled\n"
    (tmp_path / "parts.py").write_text(head + "@compiled\ndef twice(number): return number + number\n")
    (tmp_path / "whole.py").write_text(
        head + "from paritygate.schemas.parts import twice\n@compiled\ndef four_times(n): return twice(twice(n))\n"
    )

    def found(folder: str = "writable") -> str:
        command = [sys.executable, "-c", _KEPT, str(tmp_path), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return found


def test_machine_code_is_kept_until_a_source_changes(tmp_path: Path, run: Callable[..., str]) -> None:
    """A second process compiles nothing; one with another source of a part compiles all that takes parts of it."""
    assert run() == "0 1"
    assert run() == "1 0"
    for name in ("compiled", "parts"):
        source = tmp_path / f"{name}.py"
        source.write_text(source.read_text() + "\n# changed\n")
        assert run() == "0 1"


def test_machine_code_is_used_where_nothing_can_be_written(run: Callable[..., str]) -> None:
    """As in an image: what was kept while it was built is found, and what was not is compiled."""
    assert run("read-only") == "0 1"
    assert run() == "0 1"
    assert run("read-only") == "1 0"
