"""The real flights and the real models, prepared once a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("sklearn", reason="needs the extra 'demo'")
pytest.importorskip("pandas", reason="needs the extra 'demo'")

from paritygate.producers.flights.data import load_table
from paritygate.producers.flights.models import Models, load_models

if TYPE_CHECKING:
    import pandas as pd


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flights")


@pytest.fixture(scope="session")
def table(cache_dir: Path) -> pd.DataFrame:
    return load_table(cache_dir)


@pytest.fixture(scope="session")
def models(table: pd.DataFrame, cache_dir: Path) -> Models:
    return load_models(table, cache_dir)
