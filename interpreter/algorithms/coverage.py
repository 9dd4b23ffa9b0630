"""What the pixels of a stack are made of: how many exposures, and how many of them saturated.

The combiner counts the samples that it uses. Which ones they are matters at few pixels, those with
saturated samples and, where the images are stacks themselves, those without some of them: only
there the choice is made once more, by the same rules.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.combine import Combined, as_samples
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.rejection import Clipping, rules_of
from f2yaml.interpreter.algorithms.tan import Affine
from f2yaml.interpreter.dq import DQ, NOT_SIGNAL

Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

_SATURATED = np.uint16(DQ.SATURATED)
_NON_LINEAR = np.uint16(DQ.NON_LINEAR)
_SIGNAL = np.uint16(DQ.SATURATED | DQ.NON_LINEAR)
_NOT_SIGNAL = np.uint16(NOT_SIGNAL)
_MOST = np.uint16(65535)


class Makeup(NamedTuple):
    """What a combined band of rows is made of.

    Parameters
    ----------
    coverage : ndarray of uint16, shape (rows, nx)
        Exposures in each pixel; 0 where there are no data.
    mask : ndarray of uint16, shape (rows, nx), or None
        Quality bits, with 2 and 4 only where enough samples have them.
    usable, used : int
        Samples of pixels that have unflagged ones: how many are unflagged, and how many of these
        were not rejected.
    """

    coverage: Bits
    mask: Bits | None
    usable: int
    used: int


def makeup(
    made: Combined,
    data: Float32,
    variance: Float32 | None,
    mask: Bits | None,
    *,
    depth: Bits | None = None,
    flag_share: float = 0.0,
    scale: npt.ArrayLike | None = None,
    zero: npt.ArrayLike | None = None,
    **clipping: Unpack[Clipping],
) -> Makeup:
    """Count what went into a combined band.

    Parameters
    ----------
    made : Combined
        What `combine` or `weighted_mean` made of the samples.
    data, variance, mask, scale, zero, **clipping
        As they were given to it.
    depth : ndarray of uint16, shape of `data`, or None
        Exposures in each sample; one each by default.
    flag_share : float
        Share of the used samples from which on a pixel is called non-linear (those with bit 2 or
        4) or saturated (those with bit 4); with 0 a single one is enough.

    Returns
    -------
    Makeup
    """
    n, shape = data.shape[0], data.shape[1:]
    size = int(np.prod(shape))
    flags = np.zeros((1, size), np.uint16) if mask is None else mask.reshape(n, size)
    unused = made.rejected.reshape(size)
    out = None if made.mask is None else made.mask.reshape(size).copy()
    coverage = np.empty(size, np.uint16)
    usable, used = _tally(n, flags, unused, coverage)
    wanted = np.zeros(size, bool)
    if depth is not None:
        coverage[:] = np.minimum(depth.reshape(n, size).sum(0, dtype=np.int64), _MOST)
        coverage[unused == n] = 0
        wanted |= (unused > 0) & (unused < n)
    if out is not None and flag_share > 0:
        wanted |= (out & _SIGNAL) != 0
    chosen = np.flatnonzero(wanted)
    if chosen.size:
        rules = rules_of(n, has_variance=variance is not None, **clipping)
        samples = as_samples(data, variance, mask, scale, zero)
        depths = np.ones((1, size), np.uint16) if depth is None else depth.reshape(n, size)
        flagged = np.zeros(size, np.uint16) if out is None else out
        _recount(samples, depths, rules, n, float(flag_share), chosen, coverage, flagged)
    if out is not None:
        coverage[(out & np.uint16(DQ.NO_DATA)) != 0] = 0
    bits = None if out is None else out.reshape(shape)
    return Makeup(coverage.reshape(shape), bits, int(usable), int(used))


@kernel
def _tally(n, flags, unused, coverage):  # type: ignore[no-untyped-def]
    """Fill `coverage` with the samples used; count unflagged samples, and those of them used."""
    good = np.zeros(unused.size, np.int32)
    for i in range(n):
        row = flags[i % flags.shape[0]]
        for p in range(row.size):
            good[p] += (row[p] & _NOT_SIGNAL) == 0
    usable, used = 0, 0
    for p in range(unused.size):
        k = n - unused[p]
        coverage[p] = min(k, 65535)
        usable += good[p]
        used += k if good[p] > 0 else 0
    return usable, used


@kernel
def _recount(samples, depth, rules, n, share, chosen, coverage, out):  # type: ignore[no-untyped-def]
    """Find the samples used at the `chosen` pixels; sum their depths, weigh their flags."""
    d = np.empty(n, np.float32)
    v = np.empty(n, np.float32)
    m = np.empty(n, np.uint16)
    f = np.empty(n, np.int32)
    for p in chosen:
        count, _ = pixel.gather(samples, n, p, d, v, m, f)
        if count == 0:
            continue
        pixel.sort_samples(d, v, m, f, count)
        low, high = pixel._survivors(d, v, m, f, count, n, samples.has_variance, rules)
        saturated, bent, exposures = 0, 0, 0
        for k in range(low, high):
            saturated += (m[k] & _SATURATED) != 0
            bent += (m[k] & _SIGNAL) != 0
            exposures += depth[f[k] % depth.shape[0], p]
        coverage[p] = min(exposures, 65535)
        few = share * (high - low)
        bits = out[p]
        if saturated < few:
            bits &= ~_SATURATED
        if bent < few:
            bits &= ~_NON_LINEAR
        out[p] = bits


def nearest_rows(plane: Any, inverse: Affine, start: int, stop: int, nx: int) -> Any:
    """Return rows of a plane of counts on another grid, each pixel that of the nearest input pixel.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx) of the input
    inverse : Affine
        From output to input pixels, both from 0.
    start, stop, nx : int
        Rows wanted, and their length.

    Returns
    -------
    ndarray of the type of `plane`, shape (stop - start, nx)
        0 outside the input.
    """
    y, x = np.mgrid[start:stop, 0:nx]
    u, v = inverse.apply(x, y)
    i, j = np.rint(v).astype(np.intp), np.rint(u).astype(np.intp)
    inside = (i >= 0) & (i < plane.shape[0]) & (j >= 0) & (j < plane.shape[1])
    made = np.zeros(i.shape, plane.dtype)
    made[inside] = plane[i[inside], j[inside]]
    return made
