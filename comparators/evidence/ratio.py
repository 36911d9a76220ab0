"""SampleRatio: do users meet the candidate as often as was declared?

Law: state = (candidate, baseline) answers that users saw. The null is "each user's answer is the candidate's with
the declared chance, whatever came before"; there the mean of E is exactly 1, after any number of answers.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.dependence import log_gamma
from paritygate.comparators.evidence.mixture import F64, I64, log_mixture, uniform

#: How many answers the belief in the declared share is worth: gross, middling and slight mismatches.
_CONCENTRATIONS: Final = np.array([20.0, 200.0, 2000.0])


def log_e_ratio(candidate: int | I64, baseline: int | I64, share: float) -> F64:
    """log E against the declared ``share`` of the candidate; 0 before any answer.

    The Dirichlet-multinomial test of Lindon & Malek (NeurIPS 2022) with two arms, averaged over three
    concentrations of a prior around the declared share.

    :raises ValueError: ``share`` is not inside (0, 1): there one answer refutes it.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"a declared share must lie inside 0..1, not {share}")
    ours, theirs = (np.asarray(n, np.float64)[..., None] for n in (candidate, baseline))
    a, b = _CONCENTRATIONS * share, _CONCENTRATIONS * (1.0 - share)
    seen = log_gamma(ours + a) + log_gamma(theirs + b) - log_gamma(ours + theirs + a + b)
    alternative = seen - log_gamma(a) - log_gamma(b) + log_gamma(a + b)
    null = ours * np.log(share) + theirs * np.log1p(-share)
    return log_mixture(uniform(len(_CONCENTRATIONS)), alternative - null)
