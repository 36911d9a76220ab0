"""JSON events by whole batches: what the codec reads one by one, also of hostile values."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.compiled import SPARE_BYTES
from paritygate.schemas.event_columns import Columns
from paritygate.schemas.frames import Bodies, Frames, LayoutError, read_frames
from paritygate.schemas.json_events import JSON
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.record_batches import split
from tests.support.event_batches import EVENTS, assert_same
from tests.support.json_texts import ODD_NUMBERS, SPACES, spelled

Build = Callable[..., bytes]
Entry = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes]]]

PLAIN: dict[str, Any] = {
    "request_id": "r", "rollout_id": "x", "arm": "candidate", "role": "shadow", "event_at_ms": 1_764_000_000_000,
    "latency_ms": 12.5, "status": "ok", "model_version": "2", "label": "a:b", "confidence": 0.5,
    "output": '{"prediction":"a","p": "\\\\":1}', "endpoint": "http://h:80/p", "instance_id": "i", "trace_id": "t",
    "error_type": "", "segments": {"geo": "EWR", "tier:": ":gold"}, "measures": {"tokens": 7},
}  # fmt: skip
NEEDED = {f.name for f in dataclasses.fields(PredictionEvent)[:8]}
#: Texts put in place of one field's value, or added behind it.
ODD_VALUES = [
    "null", "true", "0", "-0", "-0.0", "1.0", "1e3", "1e400", "1e-400", "-1", "18446744073709551615",
    "18446744073709551616", "9007199254740993", "253402300799999", "253402300800000", '""', '"x"', '"\\ud800"',
    '"\\u0000"', '"\\":1"', '"\\\\"', '" : "', "[]", "{}", '{"a":"b","a":"c"}', '{"a":1,"a":"c"}',
    '{"a":"c","a":1}', '{"a":1}', '{"a":1.5,"b":2}', '{"a":true}', '{"a":null}', '{"a":"x","b":{}}',
    '{"a\\\\":"x","a\\\\":"y"}',
    '{"a" :"x","a" :"y"}', '{"a":"x","\\u0061":"y"}', '{"a": 18446744073709551616}', '{"":""}', '{"a":"x",}',
    '"' + "y" * 70 + '"', '"' + "ü" * 129 + '"', '"shed"', '"primary"', '"NOPE"', "[" * 1_100,
]  # fmt: skip
ODD_WHOLES = [
    b"{}", b"{", b"{]", b"[]", b"1", b'"x"', b" {}", b"\xff", b"{\xff}", b'{"request_id":"r"}', b"null", b"",
    b"\xef\xbb\xbf{}", b'{"a":' * 1_100, b"\0\0\0\0\1xxxx", None,
]  # fmt: skip


def text(odd: dict[str, str], *, spaced: bool = False, extra: str = "", dropped: Sequence[str] = ()) -> bytes:
    """The plain event with the JSON of some fields replaced, as text."""
    colon, comma = (": ", ", ") if spaced else (":", ",")
    parts = {**{k: json.dumps(v) for k, v in PLAIN.items() if k not in dropped}, **odd}
    body = comma.join(f'"{name}"{colon}{value}' for name, value in parts.items())
    return ("{" + body + extra + "}").encode("utf-8", "surrogatepass")


def columns_of(build_batch: Build, values: Sequence[bytes]) -> Columns:
    """What the columnar reader alone reads."""
    (batch,) = split(build_batch([(1, b"r", value, []) for value in values]), 0).batches
    return JSON.read(read_frames(Bodies.of([(batch, batch.body())])))


def same_both_ways(raw: bytes, start: int = 0) -> int:
    """Decode columnar and record by record to the same answer; how many events."""
    fast, slow = (decode_batches("t", 3, raw, start, columnar=way) for way in (True, False))

    assert_same(fast.batch, slow.batch)
    assert fast.poison == slow.poison
    assert (fast.next_offset, fast.records) == (slow.next_offset, slow.records)
    return len(fast.batch)


@pytest.mark.parametrize("field", PLAIN)
def test_every_odd_value_in_every_field(build_batch: Build, field: str) -> None:
    """Beside a good event, and alone, each value is read or refused as the codec does it, reason included."""
    good: Entry = (1, b"r", text({}), [])
    odd: list[Entry] = [(1, b"r", text({field: value}), []) for value in ODD_VALUES]
    doubled: list[Entry] = [(1, b"r", text({}, extra=f',"{field}":{value}'), []) for value in ODD_VALUES]

    same_both_ways(build_batch([good, *odd, good, *doubled, good]))
    for entry in odd[::5]:
        same_both_ways(build_batch([entry]))


@pytest.mark.parametrize("whole", ODD_WHOLES)
def test_values_that_are_no_events(build_batch: Build, whole: bytes | None) -> None:
    """First, in the middle and alone in their batch."""
    good: Entry = (1, b"r", text({}), [])
    odd: Entry = (1, b"r", whole, [])

    assert same_both_ways(build_batch([good, odd, good])) == 2
    assert same_both_ways(build_batch([odd, good])) == 1
    assert same_both_ways(build_batch([odd])) == 0


RECORDS = st.tuples(
    st.sampled_from([b"r", b"r", b"r", b"q", b"\xff", None]),
    st.dictionaries(st.sampled_from(list(PLAIN)), st.sampled_from(ODD_VALUES), max_size=1)
    | st.fixed_dictionaries({"label": st.text().map(json.dumps), "output": st.text().map(json.dumps)})
    | st.fixed_dictionaries(
        {"segments": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=3).map(json.dumps)}
    ),
    st.booleans(),
    st.lists(st.sampled_from(["label", "confidence", "output", "segments", "measures", "arm"]), max_size=2),
    st.sampled_from(["", "", "", ',"unknown":1', ',"label":"z"', ',"label" : "z"', " ,\n\"label\"\t:null"]),
    st.sampled_from([[], [], [], [], [("h", b"1")]]),
)  # fmt: skip


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    batches=st.lists(st.lists(RECORDS, min_size=1, max_size=6), min_size=1, max_size=3), start=st.integers(0, 8),
    codec=st.sampled_from([0, 1]),
)  # fmt: skip
def test_any_mixture_is_read_the_same_both_ways(
    build_batch: Build, batches: list[list[Any]], start: int, codec: int
) -> None:
    """Odd values, missing and unknown fields, doubled keys, foreign keys, headers, spaces, any start offset."""
    raw, base = b"", 0
    for records in batches:
        entries = [
            (base + i, key, text(odd, spaced=spaced, extra=extra, dropped=dropped), headers)
            for i, (key, odd, spaced, dropped, extra, headers) in enumerate(records)
        ]
        raw += build_batch(entries, base, codec)
        base += len(entries)
    same_both_ways(raw, start)


def test_ordinary_events_need_no_codec(build_batch: Build, prediction: Callable[..., PredictionEvent]) -> None:
    """Events as JSON writers write them are read by columns: compact or spaced, with or without all fields."""
    calm = {**PLAIN, "output": '{"prediction": "a:b"}', "segments": {"geo": "EWR", "tier": "gold"}}
    compact = orjson.dumps(calm)
    values = [
        orjson.dumps(prediction(request_id="r")), compact, json.dumps(calm).encode(),
        json.dumps({k: v for k, v in calm.items() if k not in {"label", "measures"}}).encode(),
        json.dumps(calm, ensure_ascii=False, indent=1).encode(), compact,
    ]  # fmt: skip

    assert not columns_of(build_batch, values).doubtful.any()


def test_what_is_no_frame_is_left_to_the_record_reader(build_batch: Build) -> None:
    """Headers and null keys are not read by columns."""
    entries: list[Entry] = [(1, b"r", b"{}", [("h", b"1")]), (1, None, b"{}", []), (1, b"r", None, [])]
    for entry in entries:
        (batch,) = split(build_batch([entry]), 0).batches
        with pytest.raises(LayoutError):
            read_frames(Bodies.of([(batch, batch.body())]))


TEXTS = spelled(st.text(max_size=10) | st.sampled_from(["EWR", '{"p":0.5,"q":"é"}', "gold"]))
NUMBERS = ODD_NUMBERS | st.floats(0, 1e6).map(repr) | st.sampled_from(["0", "7", "12.5", "0.1"])
MEMBERS: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(PLAIN, TEXTS),
    "request_id": st.just('"r"') | spelled(st.text(min_size=1, max_size=5)),
    "arm": st.sampled_from(['"baseline"', '"candidate"', '"c\\u0061ndidate"']),
    "role": st.sampled_from(['"primary"', '"shadow"']),
    "status": st.sampled_from(['"ok"', '"error"', '"timeout"', '"shed"', '"lost"']),
    "event_at_ms": st.integers(0, 2**43).map(str) | NUMBERS,
    "latency_ms": NUMBERS,
    "label": TEXTS | st.just("null"),
    "confidence": NUMBERS | st.just("null"),
}


@st.composite
def values(draw: st.DrawFn) -> tuple[bytes | None, bytes]:
    """Key and value of a record: an event with its fields in any order, as any writer might spell it, or nearly."""

    def joined(members: list[tuple[str, str]]) -> str:
        spaced = [
            draw(SPACES) + name + draw(SPACES) + ":" + draw(SPACES) + value + draw(SPACES)
            for name, value in members
        ]
        return "{" + (",".join(spaced) or draw(SPACES)) + "}" + draw(SPACES)

    def mapped(keys: list[str], of: st.SearchStrategy[str]) -> str:
        names = draw(st.lists(st.sampled_from(keys) | TEXTS, max_size=3))
        return joined([(name, draw(of)) for name in names])

    maps = {"segments": (['"geo"', '"g\\u0065o"', '"tier"'], TEXTS), "measures": (['"tokens"', '"bytes"'], NUMBERS)}
    chosen = {
        name: mapped(*maps[name]) if name in maps else draw(MEMBERS[name])
        for name in draw(st.permutations(list(PLAIN)))
        if name in NEEDED or draw(st.booleans())
    }
    members = [(f'"{name}"', value) for name, value in chosen.items()]
    if draw(st.integers(0, 9)) == 0:
        members.insert(draw(st.integers(0, len(members))), draw(st.sampled_from([*members, ('"more"', "1")])))
    text = joined(members).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        harm = draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.binary(max_size=2)), max_size=2))
        for at, odd in harm:
            text = text[:at] + odd + text[at + 1 :]
        text = text[: draw(st.integers(0, len(text)) | st.just(len(text)))]
    return json.loads(chosen["request_id"]).encode("utf-8", "surrogatepass"), text


@settings(max_examples=120, deadline=None)
@given(st.lists(values(), min_size=1, max_size=5), st.integers(0, 3))
def test_any_spelling_is_read_as_the_codec_reads_it(
    build_batch: Build, records: list[tuple[bytes, bytes]], start: int
) -> None:
    """Fields in any order, white space, escapes, odd numbers, keys twice, damaged bytes, cut ends."""
    same_both_ways(build_batch([(1, key, value, []) for key, value in records]), start)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.booleans(), st.booleans())
def test_what_json_writers_write_needs_no_codec(
    build_batch: Build, event: PredictionEvent, ascii_only: bool, spaced: bool
) -> None:
    """Whatever its texts hold; numbers that an event is likely to carry."""
    calm = dataclasses.replace(event, latency_ms=12.25, confidence=0.1, measures=dict.fromkeys(event.measures, 7.0))
    value = orjson.dumps(calm)
    if spaced or ascii_only:
        separators = (", ", ": ") if spaced else (",", ":")
        value = json.dumps(orjson.loads(value), ensure_ascii=ascii_only, separators=separators).encode()

    assert not columns_of(build_batch, [value]).doubtful.any()


def test_a_cut_event_is_doubtful_wherever_it_ends() -> None:
    """What would make it whole lies right behind it, and is not read."""
    raw = text({"label": '"\\u00fc\\n"', "output": '"\\"\\\\"'})
    sizes = np.arange(len(raw) + 1, dtype=np.int32)
    buffer, none = np.frombuffer(raw + bytes(SPARE_BYTES), np.uint8), np.zeros(len(sizes), np.int64)
    frames = Frames(buffer, none, none, none, none, none, none, sizes, sizes)

    assert JSON.read(frames).doubtful.tolist() == [True] * len(raw) + [False]


_GUARDED = """
import ctypes, mmap, random, sys
import numpy as np
from paritygate.schemas.compiled import SPARE_BYTES
from paritygate.schemas.frames import Frames
from paritygate.schemas.json_events import JSON

pages = mmap.mmap(-1, 3 * mmap.PAGESIZE)
end = 2 * mmap.PAGESIZE
begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + end), mmap.PAGESIZE, 0) == 0
memory = np.frombuffer(pages, np.uint8)
raw, rng = sys.stdin.buffer.read(), random.Random(1)
for _ in range(4_000):
    value = bytearray(raw[: rng.randint(1, len(raw))])
    for _ in range(rng.randint(0, 2)):
        value[rng.randrange(len(value))] = rng.choice(b'"\\\\{}:,-.0e\\xff\\xc3 nu')
    first = end - SPARE_BYTES - len(value)
    memory[first : end - SPARE_BYTES] = value
    buffer = memory[first:end]
    buffer.flags.writeable = False
    none, size = np.zeros(1, np.int64), np.array([len(value)], np.int32)
    JSON.read(Frames(buffer, none, none, none, none, none, none, size, size))
print("done")
"""


def test_nothing_behind_the_spare_bytes_is_read() -> None:
    """Cut and damaged events lie in front of memory that nobody may touch."""
    raw = text({"label": '"\\u00fc\\ud83d\\ude00\\n"', "latency_ms": "12.3456789012345678e-3"})
    done = subprocess.run([sys.executable, "-c", _GUARDED], input=raw, capture_output=True, check=False)

    assert done.stdout.strip() == b"done", done.stderr


def test_rows_that_only_the_codec_reads_lie_among_the_others(codec_reads: list[bytes], build_batch: Build) -> None:
    """It reads each of them once, and the batch is one piece."""
    odd = [text({"label": f'"{i}"', "latency_ms": "1." + "0" * 20 if i % 3 else "1"}) for i in range(9)]
    good = build_batch([(1, b"r", value, []) for value in odd])

    assert len(decode_batches("t", 3, good, 0).batch) == len(odd)
    assert codec_reads == [value for i, value in enumerate(odd) if i % 3]
    assert same_both_ways(good) == len(odd)
