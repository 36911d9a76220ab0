"""Two real models of late arrivals: the baseline knows schedule and plane, the candidate also the weather.

Law: both are what they seem. Gradient boosting of scikit-learn, trained on the first six months, sized so
that the better model is also a little cheaper: a tree costs about 8 us in a single-row prediction whatever
its width, so the candidate gets fewer trees and finds more in them. No answer is delayed, none is invented.

Trained models are cached with joblib under a name that holds a digest of data, settings and versions, so a
stale or foreign file is never loaded by accident. (A joblib file is a pickle: the folder must be the
user's own.)
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One row needs no second thread, and waking one costs more than the row; read once, when OpenMP is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from paritygate.producers.flights.data import TRAFFIC_MONTHS, TRAINING_MONTHS, WEATHER, Say, months
from paritygate.schemas.errors import ConfigError

NUMBERS = (
    "departure_minute", "arrival_minute", "weekday", "distance_miles", "plane_age_years", "plane_seats",
)  # fmt: skip
CATEGORIES = ("carrier", "origin", "dest")

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one model is made; part of the cache's name."""

    version: str
    trees: int
    leaves: int = 31
    learning_rate: float = 0.15
    weather: bool = False


BASELINE = Recipe(version="delay-1.0.0", trees=32)
CANDIDATE = Recipe(version="delay-2.0.0", trees=27, weather=True)


class DelayModel:
    """A fitted classifier with its codes; call :meth:`predict` with the request of a flight."""

    def __init__(
        self, recipe: Recipe, classifier: HistGradientBoostingClassifier, codes: Mapping[str, Mapping[str, int]]
    ) -> None:
        self.version, self._classifier, self._weather = recipe.version, classifier, recipe.weather
        self._carriers, self._origins, self._dests = (codes[name] for name in CATEGORIES)

    def predict(self, request: Mapping[str, Any]) -> Answer:
        """``prediction`` (``late`` or ``on_time``), its ``confidence``, ``probability_late``, the version.

        Takes about 0.4 ms on one core. Unknown carriers and airports and missing numbers are NaN to the
        trees, which have a branch for it.

        :raises KeyError: a field of the request is missing.
        """
        late = float(self._classifier.predict_proba(self.row(request))[0, 1])
        late = round(late, 6)
        is_late = late > 0.5
        return {
            "prediction": "late" if is_late else "on_time",
            "confidence": late if is_late else round(1.0 - late, 6),
            "model_version": self.version,
            "probability_late": late,
        }

    def row(self, request: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """The request as one row, shape (1, features)."""
        values = [
            self._carriers.get(request["carrier"]),
            self._origins.get(request["origin"]),
            self._dests.get(request["dest"]),
            *[request[name] for name in NUMBERS],
        ]
        if self._weather:
            report = request["weather"] or {}
            values += [report.get(name) for name in WEATHER]
        # None becomes NaN.
        return np.array([values], np.float64)

    def rows(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        """A table as rows, shape (flights, features), in the same order of features."""
        codes = [
            table[name].map(lookup)
            for name, lookup in zip(CATEGORIES, (self._carriers, self._origins, self._dests), strict=True)
        ]
        numbers = [table[name] for name in (*NUMBERS, *(WEATHER if self._weather else ()))]
        return np.column_stack([column.to_numpy(np.float64) for column in (*codes, *numbers)])

    def auc(self, table: pd.DataFrame) -> float:
        """Area under the ROC curve over the flights of ``table`` that arrived."""
        known = table[table["late"] >= 0]
        return float(
            roc_auc_score(known["late"].to_numpy(), self._classifier.predict_proba(self.rows(known))[:, 1])
        )


@dataclass(frozen=True, slots=True)
class Models:
    """The pair of the demo."""

    baseline: DelayModel
    candidate: DelayModel


def load_models(table: pd.DataFrame, cache_dir: Path, say: Say = lambda _: None) -> Models:
    """Both models, trained on the first six months at the first call (about 2 s), then from the cache.

    ``table`` is :func:`paritygate.producers.flights.data.load_table`'s.
    """
    # For a process that had loaded OpenMP before this module could set its environment.
    threadpool_limits(limits=1, user_api="openmp")
    return Models(*(_load(recipe, table, cache_dir, say) for recipe in (BASELINE, CANDIDATE)))


def later_months_auc(models: Models, table: pd.DataFrame) -> tuple[float, float]:
    """AUC of baseline and candidate on the months they were not trained on."""
    later = months(table, TRAFFIC_MONTHS)
    return models.baseline.auc(later), models.candidate.auc(later)


def _load(recipe: Recipe, table: pd.DataFrame, cache_dir: Path, say: Say) -> DelayModel:
    cached = cache_dir / f"{recipe.version}-{_digest(recipe, table)}.joblib"
    if cached.exists():
        model = joblib.load(cached)
        if isinstance(model, DelayModel):
            return model
    say(f"training {recipe.version} on the flights of January to June")
    model = _train(recipe, table)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(".new")
        joblib.dump(model, new)
        new.replace(cached)
    except OSError as e:
        raise ConfigError(f"the cache folder {cache_dir} cannot be written: {e.strerror}") from None
    return model


def _train(recipe: Recipe, table: pd.DataFrame) -> DelayModel:
    rows = months(table, TRAINING_MONTHS)
    rows = rows[rows["late"] >= 0]
    codes = {name: {v: i for i, v in enumerate(sorted(rows[name].unique()))} for name in CATEGORIES}
    classifier = HistGradientBoostingClassifier(
        max_iter=recipe.trees,
        max_leaf_nodes=recipe.leaves,
        learning_rate=recipe.learning_rate,
        early_stopping=False,
        random_state=0,
    )
    model = DelayModel(recipe, classifier, codes)
    classifier.fit(model.rows(rows), rows["late"].to_numpy())
    return model


def _digest(recipe: Recipe, table: pd.DataFrame) -> str:
    made_of = (
        recipe,
        table.attrs["digest"],
        (NUMBERS, CATEGORIES, WEATHER),
        sklearn.__version__,
        np.__version__,
        sys.version_info[:2],
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
    )
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
