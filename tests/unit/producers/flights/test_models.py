from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paritygate.producers.flights.data import flights
from paritygate.producers.flights.models import BASELINE, CANDIDATE, Models, later_months_auc, load_models


def test_the_candidate_is_the_better_model(models: Models, table: pd.DataFrame) -> None:
    """Weather tells: the AUC on months that neither model has seen rises."""
    baseline, candidate = later_months_auc(models, table)

    assert 0.63 < baseline < 0.67
    assert 0.69 < candidate < 0.73


def test_the_candidate_has_fewer_trees() -> None:
    """A single-row prediction costs by the tree, so the better model is honestly the cheaper one."""
    assert 0.8 * BASELINE.trees < CANDIDATE.trees < BASELINE.trees


def test_an_answer_has_the_promised_fields(models: Models, table: pd.DataFrame) -> None:
    """The label is the likelier class, the confidence is its probability."""
    for flight in itertools.islice(flights(table), 300):
        for model in (models.baseline, models.candidate):
            answer = model.predict(flight.request)
            late = answer["probability_late"]

            assert answer["prediction"] == ("late" if late > 0.5 else "on_time")
            assert answer["confidence"] == pytest.approx(max(late, 1 - late))
            assert 0.5 <= answer["confidence"] <= 1
            assert answer["model_version"] == model.version


def test_one_row_is_answered_as_in_the_table(models: Models, table: pd.DataFrame) -> None:
    """Serving and training see the same features in the same order, missing values included."""
    rows = table[table["month"] == 7].head(3000)
    requests = list(itertools.islice(flights(table), len(rows)))

    for model in (models.baseline, models.candidate):
        served = np.vstack([model.row(f.request) for f in requests])
        np.testing.assert_array_equal(served, model.rows(rows))


def test_unknown_places_and_missing_weather_are_answered(models: Models) -> None:
    """A new airport or a station that is down is no error."""
    request = {
        "carrier": "ZZ", "origin": "XXX", "dest": "YYY", "departure_minute": 600, "arrival_minute": 700,
        "weekday": 1, "distance_miles": 500, "plane_age_years": None, "plane_seats": None, "weather": None,
    }  # fmt: skip

    assert models.candidate.predict(request)["prediction"] in ("late", "on_time")
    with pytest.raises(KeyError):
        models.candidate.predict({})


def test_trained_models_are_cached(models: Models, table: pd.DataFrame, cache_dir: Path) -> None:
    """The second start trains nothing and answers the same."""
    again = load_models(table, cache_dir, lambda _: pytest.fail("trained again"))
    request = next(flights(table)).request

    assert again.candidate.predict(request) == models.candidate.predict(request)


def test_other_data_are_trained_anew(table: pd.DataFrame, tmp_path: Path) -> None:
    """The cache's name holds the digest of the data, so a model never outlives them."""
    said: list[str] = []
    few = table[table["month"] == 1].head(2000).copy()
    few.attrs["digest"] = "other"
    load_models(few, tmp_path, said.append)
    few.attrs["digest"] = "another"
    load_models(few, tmp_path, said.append)

    assert len(said) == 4
    assert len(list(tmp_path.iterdir())) == 4
