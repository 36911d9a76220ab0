"""Labels: what each arm answered to the same requests, and what users saw, in 64 buckets of a stable hash.

Law: a pair counts where both arms answered and at least one gave a label; an arm that gave none stands in the last
bucket: what is missing is different from every label. Counts per bucket merge by ``+``. Labels of one bucket are
one label here: two of them that change places are not seen.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # what only reads counts loads nothing that handles events
    from paritygate.schemas.codes import Codes

I64 = npt.NDArray[np.int64]

FAMILY: Final = "labels"
#: Buckets of the hash.
HASHED: Final = 64
#: Index of "none given".
NONE: Final = HASHED
#: The hash, and "none given".
BUCKETS: Final = HASHED + 1


def bucket_of(label: str | None) -> int:
    """Bucket of a label: CRC-32 of its UTF-8 bytes, modulo 64."""
    return NONE if label is None else zlib.crc32(label.encode("utf-8", "surrogatepass")) % HASHED


def pair_histograms(baseline: Codes, candidate: Codes) -> dict[str, I64]:
    """Of pairs that both arms answered: the labels of each arm, and which bucket each change left and entered.

    ``labels.up``: pairs whose candidate label falls in the bucket and whose baseline label does not;
    ``labels.down`` the reverse. So in every bucket ``up - down`` is ``candidate - baseline``. Nothing of no labels.
    """
    ours, theirs = _buckets(baseline), _buckets(candidate)
    told = (ours != NONE) | (theirs != NONE)
    if not told.any():
        return {}
    ours, theirs = ours[told], theirs[told]
    moved = ours != theirs
    return {
        f"{FAMILY}.{name}": np.bincount(places, minlength=BUCKETS).astype(np.int64)
        for name, places in (
            ("baseline", ours),
            ("candidate", theirs),
            ("up", theirs[moved]),
            ("down", ours[moved]),
        )
    }


def live_histogram(arm: str, labels: Codes) -> dict[str, I64]:
    """``labels.live_<arm>`` of the answers that users saw; those without a label are not in it."""
    places = _buckets(labels)
    places = places[places != NONE]
    if not len(places):
        return {}
    return {f"{FAMILY}.live_{arm}": np.bincount(places, minlength=BUCKETS).astype(np.int64)}


def _buckets(labels: Codes) -> I64:
    of: I64 = np.array([*map(bucket_of, labels.values), NONE], np.int64)
    return of[labels.index]  # index -1 reads "none given" at the end
