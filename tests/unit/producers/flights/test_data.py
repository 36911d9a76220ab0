from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from paritygate.producers.flights.data import (
    CARRIER_TIERS,
    TRAFFIC_MONTHS,
    WEATHER,
    Flight,
    carrier_tier,
    distance_bucket,
    flights,
    load_table,
    months,
)
from paritygate.schemas.errors import ConfigError


@pytest.fixture(scope="module")
def traffic(table: pd.DataFrame) -> list[Flight]:
    return list(itertools.islice(flights(table), 20_000))


def test_every_flight_of_the_year_is_there_once(table: pd.DataFrame) -> None:
    """Joining weather and planes neither loses nor doubles a row."""
    assert len(table) == 336_776
    assert int((table["late"] < 0).sum()) == 9_430
    assert 0 < (~table["has_weather"]).sum() < 2_000
    assert set(table["carrier"]) == set(CARRIER_TIERS)


def test_traffic_is_the_later_months_in_scheduled_order(traffic: list[Flight], table: pd.DataFrame) -> None:
    """No flight that a model was trained on comes back as a request."""
    at_ms = [f.scheduled_at_ms for f in traffic]

    assert at_ms == sorted(at_ms)
    # 2013-07-01 05:00 in New York
    assert at_ms[0] == 1_372_669_200_000
    assert set(months(table, TRAFFIC_MONTHS)["month"]) == {7, 8, 9, 10, 11, 12}


def test_a_request_holds_what_is_known_before_departure(traffic: list[Flight]) -> None:
    """Plain values, None where a value is missing, and never the truth."""
    for flight in traffic[:2000]:
        request = flight.request
        assert set(request) == {
            "carrier", "origin", "dest", "departure_minute", "arrival_minute", "weekday", "distance_miles",
            "plane_age_years", "plane_seats", "weather",
        }  # fmt: skip
        plain = [v for k, v in request.items() if k != "weather"] + list((request["weather"] or {}).values())
        assert all(type(v) in (str, int, float, type(None)) for v in plain)
        assert all(v == v for v in plain)  # noqa: PLR0124  (no NaN)
        assert request["weather"] is None or set(request["weather"]) == set(WEATHER)


def test_segments_name_the_declared_dimensions(traffic: list[Flight]) -> None:
    """Every value is one of a small set, and missing weather is said."""
    seen: dict[str, set[str]] = {}
    for flight in traffic:
        for dimension, value in flight.segments.items():
            seen.setdefault(dimension, set()).add(value)
        assert (flight.segments["weather"] == "missing") == (flight.request["weather"] is None)

    assert seen == {
        "origin": {"EWR", "JFK", "LGA"},
        "carrier_tier": {"major", "low_cost", "regional"},
        "distance_bucket": {"short", "medium", "long"},
        "weather": {"present", "missing"},
    }


def test_a_cancelled_flight_has_no_truth(traffic: list[Flight]) -> None:
    """Three answers are possible, and no truth is not on time."""
    assert {f.late for f in traffic} == {True, False, None}
    assert 0.01 < sum(f.late is None for f in traffic) / len(traffic) < 0.1


@pytest.mark.parametrize(
    ("miles", "bucket"), [(17, "short"), (649, "short"), (650, "medium"), (1099, "medium"), (1100, "long")]
)
def test_distance_buckets_are_half_open(miles: int, bucket: str) -> None:
    """A bound belongs to the bucket above it."""
    assert distance_bucket(miles) == bucket


def test_unknown_carriers_are_other() -> None:
    """A code that was not there in 2013 gets a tier of its own."""
    assert carrier_tier("ZZ") == "other"


def test_the_cache_gives_the_same_table(table: pd.DataFrame, cache_dir: Path) -> None:
    """The second call reads one file and changes nothing."""
    again = load_table(cache_dir, lambda _: pytest.fail("joined again"))

    pd.testing.assert_frame_equal(again, table)
    assert again.attrs["digest"] == table.attrs["digest"]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """One line says which folder."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"cache folder .*file/x cannot be written"):
        load_table(tmp_path / "file" / "x")
