"""Plain values as numbered texts."""

from __future__ import annotations

from collections.abc import Sequence

from paritygate.schemas.codes import Codes
from paritygate.schemas.texts import Texts


def codes_of(values: Sequence[str | None]) -> Codes:
    """As a batch would hold them."""
    return Codes.of(Texts.of(values))
