"""Types of numpy arrays, by what stands in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

B1 = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
