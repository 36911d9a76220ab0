from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.schemas.codec import encode
from paritygate.schemas.columnar import Decoded, decode_batches
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.errors import DecodeError
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.record_batches import read_record, split
from paritygate.schemas.registry import REGISTRY, Registry, read_schema
from tests.support.event_batches import EVENTS, assert_same

Build = Callable[..., bytes]
Raw = Callable[..., bytes]

NOW = REGISTRY.newest("PredictionEvent")


def _version(version: int, dropped: str | None, added: dict[str, Any] | None) -> Registry:
    definition = orjson.loads(NOW.avsc)
    definition["fields"] = [f for f in definition["fields"] if f["name"] != dropped] + ([added] if added else [])
    return Registry([read_schema(orjson.dumps(definition), version=version)])


#: Writers before and after; the reader knows them all.
OLD = _version(-1, "measures", None)
NEW = _version(-2, None, {"name": "region", "type": ["null", "string"], "default": None})
#: A later type of a field: such a version needs schema resolution and goes record by record.
WIDE = _version(-3, "label", {"name": "label", "type": "string", "default": ""})
KNOWN = Registry([NOW, *(r.newest("PredictionEvent") for r in (OLD, NEW, WIDE))])
IDS = {7: NOW.fingerprint}

SOUND = ["avro", "avro", "avro", "avro", "json", "confluent", "old", "new", "wide", "headers"]
BAD = [
    "null key", "wrong key", "not utf-8 key", "null value", "no value", "cut", "trailing", "trailing zero",
    "foreign", "nan latency", "negative latency", "nan confidence", "nan measure", "unknown arm",
    "unknown status", "early",
    "empty id", "long id", "no rollout", "not utf-8", "not utf-8 trace", "huge", "junk",
]  # fmt: skip
#: A Kafka record as the builder takes it, and the event where it is sound.
Made = tuple[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes]]], PredictionEvent | None]


def make(raw_prediction: Raw, event: PredictionEvent, kind: str) -> Made:
    """A record that carries the event in the given way."""
    key: bytes | None = event.request_id.encode()
    at_ms = event.event_at_ms + 1
    whole = encode(event)
    sound: dict[str, Callable[[], tuple[bytes, PredictionEvent]]] = {
        "avro": lambda: (whole, event),
        "headers": lambda: (whole, event),
        "json": lambda: (orjson.dumps(event), event),
        "confluent": lambda: (b"\0\0\0\0\7" + whole[10:], event),
        "old": lambda: (encode(event, registry=OLD), dataclasses.replace(event, measures={})),
        "new": lambda: (encode(event, registry=NEW), event),
        "wide": lambda: (
            encode(dataclasses.replace(event, label=event.label or ""), registry=WIDE),
            dataclasses.replace(event, label=event.label or ""),
        ),
    }
    if kind in sound:
        value, expected = sound[kind]()
        return (at_ms, key, value, [("h", b"1")] if kind == "headers" else []), expected
    changes: dict[str, dict[str, Any]] = {
        "nan latency": {"latency_ms": math.nan},
        "negative latency": {"latency_ms": -1.0},
        "nan confidence": {"confidence": math.inf},
        "nan measure": {"measures": {"tokens": math.nan}},
        "unknown arm": {"arm": "UNKNOWN"},
        "unknown status": {"status": "UNKNOWN"},
        "early": {"event_at_ms": -5},
        "empty id": {"request_id": ""},
        "long id": {"request_id": "ü" * 129},
        "no rollout": {"rollout_id": ""},
        "huge": {"output": "y" * 1_000_001},
    }
    if kind in changes:
        plain = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)} | changes[kind]
        return (at_ms, plain["request_id"].encode(), raw_prediction(**plain), []), None
    marked = raw_prediction(request_id=event.request_id, label="@@@@", trace_id="####")
    values: dict[str, tuple[bytes | None, bytes | None]] = {
        "null key": (None, whole),
        "wrong key": (b"another", whole),
        "not utf-8 key": (b"\xff\xfe", whole),
        "null value": (key, None),
        "no value": (key, b""),
        "cut": (key, whole[:-1]),
        "trailing": (key, whole + b"tail"),
        "trailing zero": (key, whole + b"\0"),
        "foreign": (key, whole[:2] + b"12345678" + whole[10:]),
        "not utf-8": (key, marked.replace(b"@@@@", b"\xff\xfe\xfd\xfc")),
        "not utf-8 trace": (key, marked.replace(b"####", b"\xc3\x28\xa0\xa1")),
        "junk": (key, b"\xc3\x01junk"),
    }
    key, odd = values[kind]
    return (at_ms, key, odd, []), None


def assert_answer(got: Decoded, made: Sequence[tuple[int, Made]]) -> None:
    """The batch is the sound events and the poison the others, each once and in offset order."""
    sound = [(offset, entry[0], event) for offset, (entry, event) in made if event is not None]
    bad = [(offset, entry) for offset, (entry, event) in made if event is None]

    assert_same(got.batch, EventBatch.of("t", 3, sound))
    assert [(p.offset, (p.timestamp_ms, p.key, p.value, list(p.headers))) for p in got.poison] == bad
    assert got.records == len(made)
    assert all(p.kind in {"decode", "invalid"} and p.reason for p in got.poison)


@settings(max_examples=120)
@given(
    batches=st.lists(
        st.tuples(
            st.lists(st.tuples(EVENTS, st.sampled_from(SOUND)), min_size=1, max_size=6),
            st.sampled_from([0, 0, 0, 1, 2, 3, 4]),
            st.integers(0, 2),
            st.lists(st.tuples(EVENTS, st.sampled_from(BAD)), max_size=2),
            st.booleans(),
        ),
        max_size=4,
    ),
    start=st.integers(0, 12),
    data=st.data(),
)
def test_both_ways_give_the_events_that_were_written(
    build_batch: Build, raw_prediction: Raw, batches: list[Any], start: int, data: st.DataObject
) -> None:
    """Columnar equals record by record equals what was written: mixed versions, framings, codecs and poison.

    The buffer ends anywhere and the start offset lies anywhere.
    """
    buffer, base, ends = b"", 0, [(0, 0)]
    made: list[tuple[int, Made]] = []
    for sound, codec, gap, bad, plain in batches:
        parts = [make(raw_prediction, e, "avro" if plain else kind) for e, kind in sound]
        for event, kind in bad:
            parts.insert(data.draw(st.integers(0, len(parts))), make(raw_prediction, event, kind))
        base += gap
        buffer += build_batch([entry for entry, _ in parts], base, codec)
        made += [(base + i, part) for i, part in enumerate(parts)]
        base += len(parts)
        ends.append((len(buffer), base))
    cut = data.draw(st.sampled_from([len(buffer), len(buffer), data.draw(st.integers(0, len(buffer)))]))
    whole = max(end for end in ends if end[0] <= cut)

    fast = decode_batches("t", 3, memoryview(buffer)[:cut], start, confluent_ids=IDS, registry=KNOWN)
    slow = decode_batches("t", 3, buffer[:cut], start, confluent_ids=IDS, registry=KNOWN, columnar=False)

    assert_answer(fast, [m for m in made if start <= m[0] < whole[1]])
    assert_same(fast.batch, slow.batch)
    assert fast.poison == slow.poison
    assert (fast.records, fast.next_offset) == (slow.records, slow.next_offset)
    assert fast.next_offset == max(start, whole[1])


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_record_costs_itself_only(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent], kind: str
) -> None:
    """Each kind of bad record among good ones is poison with a reason; the good ones all come through."""
    good = [make(raw_prediction, prediction(request_id=f"r{i}"), "avro") for i in range(6)]
    parts = [*good[:3], make(raw_prediction, prediction(request_id="bad"), kind), *good[3:]]

    got = decode_batches("t", 3, build_batch([entry for entry, _ in parts], 100), 0)

    assert_answer(got, list(enumerate(parts, 100)))


def test_whole_batches_of_known_versions_never_touch_the_codec(
    monkeypatch: pytest.MonkeyPatch,
    build_batch: Build,
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """Clean batches, compressed or not, of any version, are decoded without a call per record; long ones too."""

    def never(*_: object, **__: object) -> NoReturn:
        raise AssertionError("record by record")

    monkeypatch.setattr("paritygate.schemas.columnar.decode", never)
    buffer, offset, expected = b"", 0, []
    for kind, codec in (("avro", 0), ("avro", 4), ("old", 3), ("new", 1), ("avro", 2)):
        parts = [
            make(raw_prediction, prediction(request_id=f"r{i}", output="x" * (9_000 >> 4 * i)), kind)
            for i in range(4)
        ]
        buffer += build_batch([entry for entry, _ in parts], offset, codec)
        expected += list(enumerate(parts, offset))
        offset += len(parts)

    got = decode_batches("t", 3, buffer, 0, registry=KNOWN)

    assert_answer(got, expected)


def test_poison_rows_in_a_clean_batch_leave_the_others_columnar(
    codec_reads: list[bytes],
    build_batch: Build,
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """Rows that break a rule are found as columns; only they are read again, for the reason."""
    parts = [
        make(raw_prediction, prediction(request_id=f"r{i}"), "nan latency" if i % 5 == 4 else "avro")
        for i in range(50)
    ]

    got = decode_batches("t", 3, build_batch([entry for entry, _ in parts]), 0)

    assert_answer(got, list(enumerate(parts)))
    assert len(codec_reads) == len(got.poison) == 10
    assert {p.reason for p in got.poison} == {"PredictionEvent.latency_ms must be finite and not negative"}


def test_a_record_hidden_in_a_value_is_not_seen(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent]
) -> None:
    """A value with a whole second record after its event is one poison record, not two events."""
    hidden = make(raw_prediction, prediction(request_id="hidden"), "avro")[0]
    # As third record of a batch; the count of headers of the record around it then reads as the array's end.
    (inner,) = split(build_batch([hidden] * 3), 0).batches
    body, at = bytes(inner.body()), 0
    for _ in range(2):
        _, at = read_record(inner, body, at)
    parts = [make(raw_prediction, prediction(request_id=f"r{i}"), "avro") for i in range(3)]
    at_ms, key, value, headers = parts[1][0]
    assert value is not None
    parts[1] = ((at_ms, key, value + b"\0" + body[at:], headers), None)

    assert_answer(decode_batches("t", 3, build_batch([e for e, _ in parts]), 0), list(enumerate(parts)))


def test_a_key_twice_in_one_map_is_the_last_of_them(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent]
) -> None:
    """Where a foreign writer names a dimension twice, both ways take the last value."""
    event = prediction(request_id="twice", segments={"a": "1", "b": "2"}, measures={})
    value = encode(event).replace(b"\x02b\x022", b"\x02a\x022")
    parts: list[Made] = [
        make(raw_prediction, prediction(request_id="one"), "avro"),
        ((5, b"twice", value, []), dataclasses.replace(event, segments={"a": "2"})),
    ]

    assert_answer(decode_batches("t", 3, build_batch([e for e, _ in parts]), 0), list(enumerate(parts)))


@pytest.mark.parametrize(
    "maps",
    [
        [{"a": "1", "b": "2"}, {"a": "3", "b": "2"}],
        [{"a": "1", "b": "2"}, {"b": "1", "a": "2"}],
        [{"a": "1", "b": "2"}, {}],
        [{"a": "1", "b": "1"}, {"a": "1"}, {"a": "1", "b": "1", "c": "1"}],
        [{"a": "1"}, {"": "1"}],
        [{}, {}],
        [{"ab": "1", "c": "2"}, {"a": "1", "bc": "2"}],
    ],
)
def test_maps_with_the_same_keys_and_almost(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent], maps: list[dict[str, str]]
) -> None:
    """Rows that share their keys are read at one stroke, and no row is taken for such a one."""
    events = [prediction(request_id=f"r{i}", segments=m, label=None) for i, m in enumerate(maps)]
    parts = [make(raw_prediction, event, "avro") for event in events]

    assert_answer(decode_batches("t", 3, build_batch([e for e, _ in parts]), 0), list(enumerate(parts)))


def test_a_doubled_key_does_not_pass_for_a_key_of_the_next_row(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent]
) -> None:
    """Two rows with two equal keys in all, both of them in the first."""
    event = prediction(request_id="twice", segments={"a": "1", "b": "2"}, measures={})
    value = encode(event).replace(b"\x02b\x022", b"\x02a\x022")
    parts: list[Made] = [
        ((5, b"twice", value, []), dataclasses.replace(event, segments={"a": "2"})),
        make(raw_prediction, prediction(request_id="none", segments={}, measures={}), "avro"),
    ]

    assert_answer(decode_batches("t", 3, build_batch([e for e, _ in parts]), 0), list(enumerate(parts)))


def test_control_batches_are_passed_over(
    build_batch: Build,
    seal: Callable[[bytearray], bytes],
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """Markers of transactions hold no events and are no poison, but the position moves over them."""
    marker = bytearray(build_batch([(1, b"\0\0\0\1", b"\0\0\0\0\0\0", [])], 1))
    marker[22] |= 0x30
    parts = [make(raw_prediction, prediction(), "avro")]
    entries = [e for e, _ in parts]

    got = decode_batches("t", 3, build_batch(entries, 0) + seal(marker) + build_batch(entries, 2), 0)

    assert_answer(got, [(0, parts[0]), (2, parts[0])])
    assert got.next_offset == 3


def test_broker_time_is_taken_in_both_ways(
    build_batch: Build,
    seal: Callable[[bytearray], bytes],
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """With LogAppendTime appended_at_ms is the broker's time in every row."""
    parts = [make(raw_prediction, prediction(request_id=f"r{i}", event_at_ms=i), "avro") for i in range(3)]
    raw = bytearray(build_batch([e for e, _ in parts]))
    raw[22] |= 0x08

    for way in (True, False):
        assert decode_batches("t", 3, seal(raw), 0, columnar=way).batch.appended_at_ms.tolist() == [3, 3, 3]


def test_broken_batches_are_one_poison_each_and_the_rest_goes_on(
    build_batch: Build,
    seal: Callable[[bytearray], bytes],
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """A body that does not decompress, or ends early, is set aside at its offset; records before it are kept."""
    parts = [make(raw_prediction, prediction(request_id=f"r{i}"), "avro") for i in range(2)]
    entries = [e for e, _ in parts]
    no_codec = bytearray(build_batch(entries, 0))
    no_codec[22] = 4
    short = bytearray(build_batch(entries, 2))
    short[60] = 3
    short[26] = 2
    good = build_batch(entries, 5)

    got = decode_batches("t", 3, seal(no_codec) + seal(short) + good, 1)
    slow = decode_batches("t", 3, seal(no_codec) + seal(short) + good, 1, columnar=False)

    assert got.batch.offset.tolist() == [2, 3, 5, 6]
    assert [(p.offset, p.kind) for p in got.poison] == [(1, "decode"), (4, "decode")]
    assert "zstd" in got.poison[0].reason
    assert "truncated" in got.poison[1].reason
    assert got.poison == slow.poison
    assert got.next_offset == 7


def test_a_damaged_batch_raises_first_and_is_set_aside_on_demand(
    build_batch: Build, raw_prediction: Raw, prediction: Callable[..., PredictionEvent]
) -> None:
    """A failed CRC raises, so that the fetch is tried again; with skip_damaged the batch is one poison."""
    parts = [make(raw_prediction, prediction(), "avro")]
    bad = bytearray(build_batch([e for e, _ in parts], 0))
    bad[-1] ^= 1
    buffer = bytes(bad) + build_batch([e for e, _ in parts], 1)

    with pytest.raises(DecodeError, match="CRC32C"):
        decode_batches("t", 3, buffer, 0)
    got = decode_batches("t", 3, buffer, 0, skip_damaged=True)

    assert [(p.offset, p.value, p.reason) for p in got.poison] == [(0, bytes(bad), "record batch fails its CRC32C")]
    assert got.batch.offset.tolist() == [1]
    assert got.next_offset == 2


def test_nothing_fetched_is_an_empty_batch() -> None:
    """An empty response is no events, and the position stays."""
    got = decode_batches("t", 3, b"", 17)

    assert (len(got.batch), got.poison, got.next_offset, got.records) == (0, [], 17, 0)


def test_long_runs_are_cut_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
    build_batch: Build,
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
) -> None:
    """However many calls a fetch takes, the answer is the same, vocabularies included."""
    monkeypatch.setattr("paritygate.schemas.columnar.MAX_RUN_BYTES", 400)
    parts = [
        make(
            raw_prediction,
            prediction(request_id=f"r{i}", label=f"l{i % 3}", segments={f"d{i % 2}": f"v{i % 4}"}),
            "avro",
        )
        for i in range(20)
    ]
    buffer = b"".join(build_batch([entry], i) for i, (entry, _) in enumerate(parts))

    assert_answer(decode_batches("t", 3, buffer, 0), list(enumerate(parts)))


@pytest.mark.parametrize("tail", [b"", b"\0" * 7, b"\0" * 11])
@pytest.mark.parametrize("held", [bytes, lambda raw: memoryview(bytearray(raw))])
def test_bodies_are_read_where_they_lie(
    build_batch: Build,
    raw_prediction: Raw,
    prediction: Callable[..., PredictionEvent],
    tail: bytes,
    held: Callable[[bytes], bytes | memoryview],
) -> None:
    """In memory of any kind, to its last byte or with part of a batch behind, beside compressed batches."""
    parts = [
        make(raw_prediction, prediction(request_id=f"r{i}", label=f"l{i}"), kind)
        for i, kind in enumerate(("avro", "json", "avro", "headers", "avro", "avro"))
    ]
    for codecs in ((0,) * 6, (0, 0, 3, 0, 0, 4)):
        raw = b"".join(build_batch([entry], i, codecs[i]) for i, (entry, _) in enumerate(parts))

        assert_answer(decode_batches("t", 3, held(raw + tail), 0), list(enumerate(parts)))


def test_poison_at_one_offset_has_one_order(
    prediction: Callable[..., PredictionEvent], build_batch: Callable[..., bytes]
) -> None:
    """A damaged batch that names an offset of a sound one before it: both ways tell of both, in the same order."""
    value = encode(prediction())
    sound: list[Any] = [(5, b"request-1", value, []), (5, None, value, [])]
    damaged = bytearray(build_batch(sound[:1], 1))
    damaged[-1] ^= 1
    for codec in (0, 4):
        buffer = build_batch(sound, 0, codec) + damaged
        fast, slow = (decode_batches("t", 0, buffer, 0, skip_damaged=True, columnar=c) for c in (True, False))
        assert [(p.offset, p.kind) for p in fast.poison] == [(1, "decode"), (1, "invalid")]
        assert fast.poison == slow.poison
