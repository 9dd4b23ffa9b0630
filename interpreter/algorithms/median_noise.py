"""Variance of the median of few samples, relative to that of their mean.

For `n` samples of a normal distribution of variance v it is factor(n) v / n. The factor is pi/2 for
many samples only; for three it is 1.346, and an even number, where two samples are averaged, has
less noise than the odd numbers on either side (four: 1.193).

Factors up to 32 are integrals of the densities of order statistics, taken numerically: the middle
one for odd `n`, the joint density of the middle two for even `n`, the lower of the two for the
lower median (of which the variance, about its own mean, is counted, not its bias). The densities
integrate to one within 1e-7. Closed forms agree: 1 for n = 2, 3 - 3 sqrt(3) / pi for n = 3, and
2 - 2 / pi for the lower of two. Above 32 the series in 1/n is good to 2e-4.

References
----------
David & Nagaraja 2003, Order Statistics, 2.1 and 2.3 (densities), 10.2 (first terms of the series).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel

_HALF_PI: Final = math.pi / 2
_SLOPE: Final = (4 - math.pi) / 2
_MEDIAN: Final = (
    0.000000, 1.000000, 1.000000, 1.346013, 1.192798, 1.434168, 1.288456, 1.473128,
    1.345447, 1.494912, 1.383264, 1.508787, 1.410194, 1.518387, 1.430350, 1.525420,
    1.446003, 1.530792, 1.458513, 1.535029, 1.468741, 1.538455, 1.477258, 1.541283,
    1.484463, 1.543656, 1.490636, 1.545677, 1.495984, 1.547418, 1.500663, 1.548933,
    1.504790,
)  # fmt: skip
_LOWER: Final = (
    0.000000, 1.000000, 1.363380, 1.346013, 1.441821, 1.434168, 1.477275, 1.473128,
    1.497490, 1.494912, 1.510539, 1.508787, 1.519653, 1.518387, 1.526377, 1.525420,
    1.531541, 1.530792, 1.535630, 1.535029, 1.538949, 1.538455, 1.541695, 1.541283,
    1.544006, 1.543656, 1.545977, 1.545677, 1.547678, 1.547418, 1.549161, 1.548933,
    1.550466,
)  # fmt: skip
_TABLE = np.array([_MEDIAN, _LOWER])
_KNOWN = _TABLE.shape[1]


@kernel
def median_factor(n, lower=0):  # type: ignore[no-untyped-def]
    """Return the variance of a median of `n` normal samples relative to that of their mean.

    Parameters
    ----------
    n : int
        Number of samples, at least 1.
    lower : int
        1 for the lower median, which takes the lower of the middle two; else 0.

    Returns
    -------
    float
    """
    if n < _KNOWN:
        return _TABLE[lower, n]
    if n % 2 == 1:
        return _HALF_PI * (1.0 - _SLOPE / n)
    if lower:
        return _HALF_PI * (1.0 - _SLOPE / n + 0.48 / (n * n))
    return _HALF_PI * (1.0 - (_SLOPE + 1.0) / n + 2.8 / (n * n))
