"""JSON events by whole batches: what the codec reads one by one, also of hostile values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.frames import Bodies, LayoutError, read_frames
from paritygate.schemas.json_events import read_events
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.record_batches import split
from tests.support.event_batches import assert_same

Build = Callable[..., bytes]
Entry = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes]]]

PLAIN: dict[str, Any] = {
    "request_id": "r", "rollout_id": "x", "arm": "candidate", "role": "shadow", "event_at_ms": 1_764_000_000_000,
    "latency_ms": 12.5, "status": "ok", "model_version": "2", "label": "a:b", "confidence": 0.5,
    "output": '{"prediction":"a","p": "\\\\":1}', "endpoint": "http://h:80/p", "instance_id": "i", "trace_id": "t",
    "error_type": "", "segments": {"geo": "EWR", "tier:": ":gold"}, "measures": {"tokens": 7},
}  # fmt: skip
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
    (batch,) = split(build_batch([(1, b"r", value, []) for value in values]), 0).batches
    events = read_events(read_frames(Bodies.of([(batch, batch.body())])))

    assert events.doubtful == []
    kept = np.ones(len(values), np.bool_)
    assert len(events.batch("t", 0, kept, np.arange(6), np.arange(6))) == len(values)


def test_what_is_no_frame_is_left_to_the_record_reader(build_batch: Build) -> None:
    """Headers and null keys are not read by columns."""
    entries: list[Entry] = [(1, b"r", b"{}", [("h", b"1")]), (1, None, b"{}", []), (1, b"r", None, [])]
    for entry in entries:
        (batch,) = split(build_batch([entry]), 0).batches
        with pytest.raises(LayoutError):
            read_frames(Bodies.of([(batch, batch.body())]))
