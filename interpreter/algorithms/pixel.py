"""Combine the samples of one pixel, with every option; the plain counterpart of the tile kernels.

The samples of a pixel are sorted by value, variance and quality bits, so that no result depends on
the order of the frames, and sums are in double precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.algorithms.median_noise import median_factor

MEAN, WTMEAN, MEDIAN, LMEDIAN = 0, 1, 2, 3
NONE, MINMAX, SIGCLIP, VARCLIP = 0, 1, 2, 3

#: Number of classes of badness; a sample of this class is never used.
CLASSES = 6
HALF = np.float32(0.5)
QUARTER = np.float32(0.25)
#: Median absolute deviation of a normal distribution to its standard deviation.
MAD_TO_SIGMA = 1.482602218505602
NO_SLOPES = np.empty(0, np.float32)
ZERO = np.float32(0)
INF = np.float32(np.inf)


class Samples(NamedTuple):
    """The samples of a band: frame `i`, pixel `p` is at index ``i * step + p`` of a plane."""

    data: npt.NDArray[np.float32]
    data_step: int
    variance: npt.NDArray[np.float32]
    variance_step: int
    has_variance: bool
    mask: npt.NDArray[np.uint16]
    mask_step: int
    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.float32]


class Rules(NamedTuple):
    """How samples are rejected and combined (`combine` describes each).

    `photon` is empty, or has the variance per signal of each frame, after scaling.
    """

    operation: int
    reject: int
    lsigma: float
    hsigma: float
    nlow: int
    nhigh: int
    mclip: bool
    max_iters: int
    signal_error: float
    middle_variance: bool
    robust: bool = False
    photon: npt.NDArray[np.float32] = NO_SLOPES


@part
def badness(bits, value):  # type: ignore[no-untyped-def]
    """Return the class of badness of a sample, 0 (best) to 5, or 6 for one never to be used.

    Only bits above 127 and values that are not finite are never used (spec 14.1, step B).
    """
    b = np.int32(bits)
    c = np.int32(0)
    c = np.int32(1) if b & 8 else c
    c = np.int32(2) if b & 32 else c
    c = np.int32(3) if b & 1 else c
    c = np.int32(4) if b & 64 else c
    c = np.int32(5) if b & 16 else c
    unusable = (b > 127) | (not (abs(value) < INF))
    return np.int32(6) if unusable else c


@part
def gather(samples, n, p, d, v, m, f):  # type: ignore[no-untyped-def]
    """Copy the candidates of pixel `p`, those of the least bad class, to `d`, `v` and `m`.

    `f` gets the number of their frame.

    Returns
    -------
    count : int
        Number of candidates.
    broken : bool
        Whether a sample is not finite.
    """
    best = CLASSES
    count = 0
    broken = False
    for i in range(n):
        x = samples.scale[i] * samples.data[i * samples.data_step + p] + samples.zero[i]
        bits = samples.mask[i * samples.mask_step + p]
        c = badness(bits, x)
        broken |= not (abs(x) < INF)
        if c >= CLASSES or c > best:
            continue
        if c < best:
            best = c
            count = 0
        d[count] = x
        m[count] = bits
        f[count] = i
        if samples.has_variance:
            factor = samples.scale[i] * samples.scale[i]
            v[count] = factor * samples.variance[i * samples.variance_step + p]
        else:
            v[count] = ZERO
        count += 1
    return count, broken


@part
def sort_samples(d, v, m, f, count):  # type: ignore[no-untyped-def]
    """Sort the first `count` samples by value, then variance, then bits (insertion)."""
    for k in range(1, count):
        x, w, b, i = d[k], v[k], m[k], f[k]
        q = k
        while q > 0 and (
            d[q - 1] > x or (d[q - 1] == x and (v[q - 1] > w or (v[q - 1] == w and m[q - 1] > b)))
        ):
            d[q], v[q], m[q], f[q] = d[q - 1], v[q - 1], m[q - 1], f[q - 1]
            q -= 1
        d[q], v[q], m[q], f[q] = x, w, b, i


@part
def _deviation(d, stride, low, high, centre):  # type: ignore[no-untyped-def]
    """Return the median distance of the sorted values [low, high) from `centre`."""
    m = high - low
    up = low
    while up < high and np.float64(d[up * stride]) <= centre:
        up += 1
    down = up - 1
    before, last = 0.0, 0.0
    for _ in range(m // 2 + 1):
        below = centre - np.float64(d[down * stride]) if down >= low else math.inf
        above = np.float64(d[up * stride]) - centre if up < high else math.inf
        before = last
        if below <= above:
            last = below
            down -= 1
        else:
            last = above
            up += 1
    return last if m % 2 == 1 else 0.5 * (before + last)


@part
def sigma_range(d, stride, count, rules, floor):  # type: ignore[no-untyped-def]
    """Return the range [low, high) of sorted values that survives sigma clipping.

    Value `k` is ``d[k * stride]``. The centre is the median of the survivors (or, from the second
    pass on and without `mclip`, their mean), the scatter that of the survivors about their mean.
    A `robust` scatter is their scaled median distance from the centre, and at least `floor`.
    """
    low, high = 0, count
    for iteration in range(rules.max_iters):
        m = high - low
        if m <= 0:
            break
        reference = np.float64(d[low * stride])
        total = 0.0
        square = 0.0
        for k in range(low, high):
            x = np.float64(d[k * stride]) - reference
            total += x
            square += x * x
        mean = total / m
        sigma = math.sqrt(max(square / m - mean * mean, 0.0))
        if rules.mclip or iteration == 0:
            a = np.float64(d[(low + (m - 1) // 2) * stride])
            b = np.float64(d[(low + m // 2) * stride])
            centre = 0.5 * (a + b)
        else:
            centre = reference + mean
        if rules.robust:
            spread = MAD_TO_SIGMA * _deviation(d, stride, low, high, centre)
            sigma = spread if spread > floor else floor  # not a number rejects nothing
        first, last = low, high
        while low < last and np.float64(d[low * stride]) < centre - rules.lsigma * sigma:
            low += 1
        while high > low and np.float64(d[(high - 1) * stride]) > centre + rules.hsigma * sigma:
            high -= 1
        if low == first and high == last:
            break
    return low, high


@part
def keeps(x, v, centre, lsigma, hsigma, signal_error):  # type: ignore[no-untyped-def]
    """Tell whether a sample lies within the noise expected of it (single precision)."""
    e = signal_error * centre
    dev = x - centre
    limit = lsigma * lsigma if dev < ZERO else hsigma * hsigma
    return dev * dev <= limit * (v + e * e)


@part
def expected(x, v, centre, slope):  # type: ignore[no-untyped-def]
    """Return the variance of a sample with the photon noise of `centre` instead of its own value.

    At least a quarter of its own: a slope that does not suit an outlier gives no sample a great
    weight. A slope of zero returns `v` itself.
    """
    e = v + slope * (centre - x)
    least = QUARTER * v
    return e if e > least else least


@part
def slope_of(photon, i):  # type: ignore[no-untyped-def]
    """Return the variance per signal of frame `i`, 0 where it is not known."""
    return photon[i] if photon.size > 0 else ZERO


@part
def _median32(d, low, high):  # type: ignore[no-untyped-def]
    m = high - low
    a = d[low + (m - 1) // 2]
    return a if m % 2 == 1 else HALF * (a + d[low + m // 2])


@part
def _survivors(d, v, m, f, count, n, has_variance, rules):  # type: ignore[no-untyped-def]
    """Return the range of survivors; varclip first moves its survivors to the front."""
    low, high = 0, count
    if rules.reject == MINMAX:
        low = int(count * rules.nlow / n + 0.001)
        high = count - int(count * rules.nhigh / n + 0.001)
    elif rules.reject == SIGCLIP:
        floor = math.nan
        if has_variance:
            total = 0.0
            for k in range(count):
                total += np.float64(v[k])
            floor = math.sqrt(total / count)
        low, high = sigma_range(d, 1, count, rules, floor)
    elif rules.reject == VARCLIP:
        centre = _median32(d, 0, count)
        ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
        error = np.float32(rules.signal_error)
        kept = 0
        for k in range(count):
            e = expected(d[k], v[k], centre, slope_of(rules.photon, f[k]))
            kept += keeps(d[k], e, centre, ls, hs, error)
        if kept == 0:
            return 0, count
        q = 0
        for k in range(count):
            e = expected(d[k], v[k], centre, slope_of(rules.photon, f[k]))
            if keeps(d[k], e, centre, ls, hs, error):
                d[q], v[q], m[q], f[q] = d[k], v[k], m[k], f[k]
                q += 1
        high = kept
    if high <= low:
        return 0, count
    return low, high


@part
def reduce_pixel(d, v, m, f, count, n, has_variance, rules):  # type: ignore[no-untyped-def]
    """Reject and combine the `count` >= 1 candidates of a pixel seen by `n` frames.

    Returns
    -------
    value, variance : float
    bits : int
        OR of the quality bits of the samples used.
    used : int
        Number of samples used.
    """
    sort_samples(d, v, m, f, count)
    middle = _median32(d, 0, count)
    low, high = _survivors(d, v, m, f, count, n, has_variance, rules)
    used = high - low
    bits = 0
    total = 0.0
    spread = 0.0
    weights = 0.0
    weighted = 0.0
    for k in range(low, high):
        x, w = np.float64(d[k]), np.float64(v[k])
        bits |= int(m[k])
        total += x
        spread += w
        if 0.0 < w < math.inf:
            e = np.float64(expected(d[k], v[k], middle, slope_of(rules.photon, f[k])))
            weights += 1.0 / e
            weighted += (1.0 / e) * x
    operation = rules.operation
    if operation == WTMEAN and weights > 0.0:
        return weighted / weights, 1.0 / weights, bits, used
    factor = 1.0
    if operation == MEDIAN:
        value = np.float64(_median32(d, low, high))
        factor = median_factor(used)
    elif operation == LMEDIAN:
        value = np.float64(d[low + (used - 1) // 2])
        factor = median_factor(used, 1)
    else:
        value = total / used
    if not has_variance:
        square = _scatter(d, low, high, value)
        return value, factor * square / (used * max(used - 1.0, 1.0)), bits, used
    if rules.middle_variance and used % 2 == 1:
        return value, _variance_at(d, v, low, high, value), bits, used
    return value, factor * spread / (np.float64(used) * used), bits, used


@part
def _scatter(d, low, high, value):  # type: ignore[no-untyped-def]
    square = 0.0
    for k in range(low, high):
        x = np.float64(d[k]) - value
        square += x * x
    return square


@part
def _variance_at(d, v, low, high, value):  # type: ignore[no-untyped-def]
    total = 0.0
    equal = 0
    for k in range(low, high):
        if np.float64(d[k]) == value:
            total += np.float64(v[k])
            equal += 1
    return total / equal
