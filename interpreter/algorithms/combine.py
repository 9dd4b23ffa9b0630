"""Combine a stack of images pixel by pixel: badness classes, rejection, mean or median.

The arithmetic is that of spec 14.1. Departures, each with a test that names both results:

- ``sigclip`` measures the scatter by the median deviation, and takes no less than the propagated
  noise. With ``scatter="sample"``, and without variances, it is the population scatter about the
  mean, as in the reference, but in double precision (the reference squares in single precision
  and stops clipping above about 1e6). The median is that of the survivors of the previous pass
  (the reference: of all candidates, always).
- The factor pi/2 of the variance of a median holds for many samples; few have their own
  (`median_noise`).
- ``varclip`` compares with the median of the candidates once; neither `mclip` nor `max_iters`
  changes it. `signal_error` adds a part of the signal to the expected noise, for seeing and
  registration errors in the cores of stars. A sample whose variance is NaN is rejected.
- Samples that are not finite are never used. A pixel without usable samples is 0, its variance
  NaN, its DQ 16 if a sample was not finite, else 0 (bits above 127, as in the reference).
- With `photon`, varclip and wtmean take the photon noise from the median of the samples: the
  noise of a sample that happens to be high is no larger (spec 5.3).
- In ``wtmean`` samples of zero or infinite variance have no weight; if none has weight the plain
  mean is taken. Weights are in double precision: no rescaling of very large levels is needed.
- The variance of the single median frame (odd number, no DQ, no rejection) is, for equal values,
  the mean of their variances, so that the order of frames does not matter.

Sums are in double precision (`np.float64(x)`: numba's `float(x)` would stay single). Each pixel is
computed by itself: no result depends on how an image is cut into bands, nor on the order of frames.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel, tiles
from f2yaml.interpreter.algorithms.jit import kernel, maker, part
from f2yaml.interpreter.algorithms.median_noise import median_factor
from f2yaml.interpreter.algorithms.networks import (
    INF32,
    TILE,
    lower_middle,
    median_pairs,
    middle,
    sorting_pairs,
)
from f2yaml.interpreter.algorithms.normalize import normalization_factors
from f2yaml.interpreter.algorithms.pixel import Samples
from f2yaml.interpreter.algorithms.rejection import Clipping, rules_of
from f2yaml.interpreter.dq import DQ, NOT_SIGNAL

__all__ = ["Combined", "combine", "normalization_factors"]

Operation = Literal["mean", "wtmean", "median", "lmedian"]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

_OPERATIONS: Final = {"mean": 0, "wtmean": 1, "median": 2, "lmedian": 3}
SIGNAL_BITS = np.uint16(65535 & ~NOT_SIGNAL)
_NO_DATA = int(DQ.NO_DATA)
NAN32 = np.float32(np.nan)
ZERO32 = np.float32(0)
INF64 = np.inf


class Combined(NamedTuple):
    """A combined band of rows, shape (rows, nx).

    `rejected` counts the frames not used at each pixel, masked or rejected.
    """

    data: Float32
    variance: Float32
    mask: Bits | None
    rejected: npt.NDArray[np.int16]


def combine(
    data: Float32,
    variance: Float32 | None,
    mask: Bits | None,
    *,
    operation: Operation = "mean",
    scale: npt.ArrayLike | None = None,
    zero: npt.ArrayLike | None = None,
    out: Combined | None = None,
    **clipping: Unpack[Clipping],
) -> Combined:
    """Combine `n` images of the same pixels.

    Parameters
    ----------
    data : float32, shape (n, rows, nx)
        Samples; a band ``stack[:, r0:r1]`` of C-contiguous images is read in place.
    variance : float32, shape of `data`, or None
        Variances, not negative. Without them the variance of the result is that of the scatter of
        the samples, ``varclip`` is ``sigclip`` and ``wtmean`` is ``mean``.
    mask : uint16, shape of `data`, or None
        Quality bits. Each pixel uses the samples of the least bad class at hand.
    operation : {"mean", "wtmean", "median", "lmedian"}
        See spec 14.1.
    scale, zero : shape (n,), or None
        Sample i becomes ``scale[i] * data[i] + zero[i]``, in single precision.
    out : Combined, optional
        Arrays to fill, C-contiguous, for instance bands of whole images.
    **clipping
        Which samples are left out: see `Clipping`.

    Returns
    -------
    Combined
        `mask` is None only if the input has none and nothing can be rejected; it is the OR of
        the bits of the samples used.

    Raises
    ------
    TooFewFrames
        ``minmax`` would reject every frame.

    References
    ----------
    Spec 14.1, 15.1-15.5. The module's docstring lists the departures.
    """
    n = data.shape[0]
    if variance is None and operation == "wtmean":
        operation = "mean"
    reject = clipping.get("reject", "varclip")
    single = mask is None and reject == "none" and operation == "median" and n % 2 == 1
    rules = rules_of(
        n,
        has_variance=variance is not None,
        operation=_OPERATIONS[operation],
        middle_variance=single and variance is not None,
        **clipping,
    )
    samples = as_samples(data, variance, mask, scale, zero)
    with_mask = mask is not None or reject != "none"
    filled = _outputs(data.shape[1:], with_mask, out)
    value, spread, bits, unused = (plane.reshape(-1) for plane in filled)
    if rules.middle_variance:
        _by_pixel(samples, rules, n, value, spread, bits, unused)
    else:
        width = tiles.block_width(n, TILE)
        index = tiles.index_rows(np.arange(n), dummy=n)
        median = median_pairs(n)
        pairs = median if rules.reject == pixel.VARCLIP else sorting_pairs(n)
        planes = value, spread, bits, unused
        _by_tile(samples, rules, n, width, index, pairs, median, *planes)
    if with_mask:
        return Combined(*filled)
    value[bits != 0] = np.nan  # nothing flags them otherwise
    return Combined(filled[0], filled[1], None, filled[3])


def _outputs(
    shape: tuple[int, ...], with_mask: bool, out: Combined | None
) -> tuple[Float32, Float32, Bits, npt.NDArray[np.int16]]:
    """Return the arrays to fill; bits are always computed, if only to be looked at."""
    if out is None:
        return (
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.empty(shape, np.uint16),
            np.empty(shape, np.int16),
        )
    assert all(plane is None or plane.flags.c_contiguous for plane in out)
    assert all(plane is None or plane.shape == shape for plane in out)
    if not with_mask or out.mask is None:
        return out.data, out.variance, np.empty(shape, np.uint16), out.rejected
    return out.data, out.variance, out.mask, out.rejected


def as_samples(
    data: Float32,
    variance: Float32 | None,
    mask: Bits | None,
    scale: npt.ArrayLike | None,
    zero: npt.ArrayLike | None,
) -> Samples:
    n = data.shape[0]
    assert data.ndim == 3
    assert data.dtype == np.float32
    flat, step = tiles.flatten(data)
    spread, spread_step = flat, step
    if variance is not None:
        assert variance.shape == data.shape
        assert variance.dtype == np.float32
        spread, spread_step = tiles.flatten(variance)
    # One good frame, read n times; its flat view has the type of the others: one compilation.
    bits, bits_step = tiles.flatten(np.zeros((1, *data.shape[1:]), np.uint16))[0], 0
    if mask is not None:
        assert mask.shape == data.shape
        assert mask.dtype == np.uint16
        bits, bits_step = tiles.flatten(mask)
    factors = np.ones(n, np.float32) if scale is None else np.array(scale, np.float32)
    offsets = np.zeros(n, np.float32) if zero is None else np.array(zero, np.float32)
    assert factors.shape == offsets.shape == (n,)
    has = variance is not None
    return Samples(flat, step, spread, spread_step, has, bits, bits_step, factors, offsets)


class _Buffers(NamedTuple):
    """Arrays for one tile; `candidates` and `used` count samples before and after rejection."""

    work: Float32
    side: Float32
    lower: Float32
    upper: Float32
    centre: Float32
    candidates: npt.NDArray[np.int32]
    used: npt.NDArray[np.int32]
    total: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]


@maker
def _new_buffers(n):  # type: ignore[no-untyped-def]
    return _Buffers(
        np.empty((n, TILE), np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
    )


@part
def _clip_rows(rules, n, o, m, centre, block):  # type: ignore[no-untyped-def]
    """Take samples outside the expected noise out of use."""
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    error = np.float32(rules.signal_error)
    for i in range(n):
        values, variance = block.values[i, o : o + m], block.variance[i, o : o + m]
        slope = pixel.slope_of(rules.photon, i)
        for t in range(m):
            x = values[t]
            v = variance[t]
            c = centre[t]
            kept = pixel.keeps(x, pixel.expected(x, v, c, slope), c, ls, hs, error)
            values[t] = x if kept else NAN32
            variance[t] = v if kept else ZERO32


@part
def _bound_rows(n, o, m, lower, upper, block):  # type: ignore[no-untyped-def]
    for i in range(n):
        values, variance = block.values[i, o : o + m], block.variance[i, o : o + m]
        for t in range(m):
            x = values[t]
            values[t] = x if (x >= lower[t]) & (x <= upper[t]) else NAN32
        for t in range(m):
            x = values[t]
            v = variance[t]
            variance[t] = v if x == x else ZERO32


@part
def _bounds(rules, n, m, b):  # type: ignore[no-untyped-def]
    """Find the lowest and highest survivor of each pixel; `work` holds its sorted samples.

    `total` holds the sum of their variances, for the floor of a robust scatter.

    Where a bound equals a rejected sample, bounds do not tell them apart: all samples are then
    put out of bounds, which leaves the pixel to `_repair`.
    """
    work = b.work
    flat = work.reshape(-1)
    for t in range(m):
        count = b.candidates[t]
        if rules.reject == pixel.MINMAX:
            low = int(count * rules.nlow / n + 0.001)
            high = count - int(count * rules.nhigh / n + 0.001)
        else:
            floor = math.sqrt(b.total[t] / count)
            low, high = pixel.sigma_range(flat[t:], work.shape[1], count, rules, floor)
        if high <= low:
            low, high = 0, count
        tied = low > 0 and work[low - 1, t] == work[low, t]
        tied |= high < count and work[high, t] == work[high - 1, t]
        some = count > 0 and not tied
        b.lower[t] = work[low, t] if some else INF32
        b.upper[t] = work[high - 1, t] if some else -INF32


@part
def _reject(rules, n, o, m, index, pairs, block, b):  # type: ignore[no-untyped-def]
    """Take rejected samples of a tile out of use."""
    if rules.reject == pixel.VARCLIP:
        tiles.sort_middle(block.values, index, n, o, m, pairs, b.side, b.work)
        middle(b.work, n, b.candidates, m, b.centre)
        _clip_rows(rules, n, o, m, b.centre, block)
    else:
        tiles.sort_up(block.values, index, n, o, m, pairs, b.work)
        for t in range(m):
            b.total[t] = 0.0
        if rules.robust:
            tiles.sum_rows(block.variance, index, o, m, b.total)
        _bounds(rules, n, m, b)
        _bound_rows(n, o, m, b.lower, b.upper, block)


@part
def _weighted_mean(rules, n, o, m, block, b):  # type: ignore[no-untyped-def]
    for t in range(m):
        b.total[t] = 0.0
        b.second[t] = 0.0
    for i in range(n):
        values, variance = block.values[i, o : o + m], block.variance[i, o : o + m]
        total, weights = b.total, b.second
        if rules.photon.size > 0:
            _expect_row(rules.photon[i], m, values, b.centre, variance)
        for t in range(m):
            x = values[t]
            v = np.float64(variance[t])
            usable = (x == x) & (v > 0.0) & (v < INF64)
            w = 1.0 / (v if usable else 1.0)
            total[t] += w * np.float64(x) if usable else 0.0
            weights[t] += w if usable else 0.0
    for t in range(m):
        if b.second[t] == 0.0:
            b.used[t] = 0  # no sample has weight: left to _repair
        b.total[t] /= b.second[t]
        b.second[t] = 1.0 / b.second[t]


@part
def _expect_row(slope, m, values, centre, variance):  # type: ignore[no-untyped-def]
    """Replace variances by those with the photon noise of the median; they are not used again."""
    for t in range(m):
        x = values[t]
        v = variance[t]
        e = pixel.expected(x, v, centre[t], slope)
        variance[t] = e if x == x else ZERO32


@part
def _scatter_rows(n, o, m, block, centre, total):  # type: ignore[no-untyped-def]
    for t in range(m):
        total[t] = 0.0
    for i in range(n):
        values = block.values[i, o : o + m]
        for t in range(m):
            x = values[t]
            dev = np.float64(x) - centre[t]
            total[t] += dev * dev if x == x else 0.0


@part
def _average(s, rules, n, o, m, index, median, block, b):  # type: ignore[no-untyped-def]
    """Fill `b.total` with the values of a tile and `b.second` with their variances."""
    operation = rules.operation
    if operation == pixel.WTMEAN:
        _weighted_mean(rules, n, o, m, block, b)
        return
    if operation == pixel.MEAN:
        tiles.sum_rows(block.values, index, o, m, b.total)
        for t in range(m):
            b.total[t] /= b.used[t]
    else:
        tiles.sort_middle(block.values, index, n, o, m, median, b.side, b.work)
        if operation == pixel.MEDIAN:
            middle(b.work, n, b.used, m, b.centre)
        else:
            lower_middle(b.work, n, b.used, m, b.centre)
        for t in range(m):
            b.total[t] = b.centre[t]
    if s.has_variance:
        tiles.sum_rows(block.variance, index, o, m, b.second)
    else:
        _scatter_rows(n, o, m, block, b.total, b.second)
    for t in range(m):
        k = np.float64(b.used[t])
        unseen = k if s.has_variance else max(k - 1.0, 1.0)
        b.second[t] = b.second[t] / (k * unseen)
    if operation != pixel.MEAN:
        lower = 1 if operation == pixel.LMEDIAN else 0
        for t in range(m):
            b.second[t] *= median_factor(b.used[t], lower)


@part
def _tile(s, rules, n, p, o, m, index, pairs, median, block, b, bits, unused):  # type: ignore[no-untyped-def]
    """Combine the `m` pixels from `p`, which are at `o` of the block, into `b`.

    Returns
    -------
    least : int
        Smallest number of samples used; 0 where pixels have to be done again one by one.
    """
    flags = bits[p : p + m]
    least = tiles.count_rows(block.values, index, o, m, b.candidates)
    worse = least == 0
    if worse:
        tiles.load_worse(s, n, p, o, m, b.used, block)
        least = tiles.count_rows(block.values, index, o, m, b.candidates)
    for t in range(m):
        b.used[t] = b.candidates[t]
    weighted = rules.operation == pixel.WTMEAN and rules.photon.size > 0
    if weighted and rules.reject != pixel.VARCLIP:  # which finds the median itself
        tiles.sort_middle(block.values, index, n, o, m, median, b.side, b.work)
        middle(b.work, n, b.candidates, m, b.centre)
    if rules.reject != pixel.NONE:
        _reject(rules, n, o, m, index, pairs, block, b)
        least = tiles.count_rows(block.values, index, o, m, b.used)
    present = tiles.or_rows(block.flags, index, o, m, flags)
    if worse or present & SIGNAL_BITS:
        tiles.or_used_rows(block.values, block.flags, index, o, m, flags)
    elif present:
        for t in range(m):
            flags[t] = 0
    for t in range(m):
        unused[p + t] = n - b.used[t]
    _average(s, rules, n, o, m, index, median, block, b)
    if rules.operation == pixel.WTMEAN:
        for t in range(m):
            least = min(least, b.used[t])
    return least


@kernel
def _by_tile(s, rules, n, width, index, pairs, median, value, spread, bits, unused):  # type: ignore[no-untyped-def]
    """Combine in SIMD, tile by tile, and mend the few pixels that need a closer look."""
    block = tiles.new_block(n, width)
    b = _new_buffers(n)
    for start in range(0, value.size, width):
        size = min(width, value.size - start)
        tiles.load_rows(s, n, start, size, block)
        for o in range(0, size, TILE):
            m = min(TILE, size - o)
            p = start + o
            least = _tile(s, rules, n, p, o, m, index, pairs, median, block, b, bits, unused)
            for t in range(m):
                value[p + t] = b.total[t]
                spread[p + t] = b.second[t]
            if least == 0:
                _repair(s, rules, n, p, b.used[:m], value, spread, bits, unused)


@maker
def _repair(s, rules, n, o, used, value, spread, bits, unused):  # type: ignore[no-untyped-def]
    """Do the pixels without survivors again, one by one: cancel rejection, flag empty ones."""
    d = np.empty(n, np.float32)
    v = np.empty(n, np.float32)
    m = np.empty(n, np.uint16)
    f = np.empty(n, np.int32)
    for t in range(used.size):
        if used[t] == 0:
            _pixel(s, rules, n, o + t, d, v, m, f, value, spread, bits, unused)


@part
def _pixel(s, rules, n, p, d, v, m, f, value, spread, bits, unused):  # type: ignore[no-untyped-def]
    count, broken = pixel.gather(s, n, p, d, v, m, f)
    if count == 0:
        value[p] = 0.0
        spread[p] = np.nan
        bits[p] = _NO_DATA if broken else 0
        unused[p] = n
        return
    x, w, b, k = pixel.reduce_pixel(d, v, m, f, count, n, s.has_variance, rules)
    value[p] = x
    spread[p] = w
    bits[p] = b
    unused[p] = n - k


@kernel
def _by_pixel(s, rules, n, value, spread, bits, unused):  # type: ignore[no-untyped-def]
    d = np.empty(n, np.float32)
    v = np.empty(n, np.float32)
    m = np.empty(n, np.uint16)
    f = np.empty(n, np.int32)
    for p in range(value.size):
        _pixel(s, rules, n, p, d, v, m, f, value, spread, bits, unused)
