"""Rows of little content, to be paired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paritygate.comparators.rows import KEPT, Rows
from paritygate.schemas.texts import Texts


def rows(
    ids: Sequence[str], at_ms: Sequence[int] | int = 0, source: int = 0, offset: int = 0, *,
    labels: Sequence[str | None] | None = None, outputs: Sequence[str] | None = None,
) -> Rows:  # fmt: skip
    """Rows of ids and times; each answer names its id where nothing else is said."""
    count = len(ids)
    made = Rows(
        Texts.of(ids), np.zeros(count, KEPT), Texts.of(labels or [None] * count),
        Texts.of(outputs or [f"answer {i}" for i in ids]), np.zeros((count, 0)),
    )  # fmt: skip
    made["event_at_ms"][:], made["source"][:] = at_ms, source
    made["offset"][:] = np.arange(offset, offset + count)
    return made


def ids_of(found: Rows) -> list[str]:
    """The ids, in order."""
    return found.request_id.decoded()
