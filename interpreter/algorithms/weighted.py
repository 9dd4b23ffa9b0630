"""Mean of a stack with one weight for each frame, and rejection as in `combine`.

Weights that follow each pixel's own variance are biased: a pixel that fluctuates upwards has more
photon noise by its own account, and counts less (spec 5.3). One weight for a whole frame is not.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.combine import Combined
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.algorithms.rejection import Clipping, rules_of
from f2yaml.interpreter.dq import DQ

__all__ = ["weighted_mean"]

Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

_NO_DATA = int(DQ.NO_DATA)


class _Scratch(NamedTuple):
    """The samples of one pixel, and which of them are used."""

    value: Float32
    variance: Float32
    weight: npt.NDArray[np.float64]
    bits: Bits
    kept: npt.NDArray[np.bool_]
    frame: npt.NDArray[np.int32]


def weighted_mean(
    data: Float32,
    variance: Float32,
    mask: Bits | None,
    weights: npt.ArrayLike,
    *,
    scale: npt.ArrayLike | None = None,
    zero: npt.ArrayLike | None = None,
    **clipping: Unpack[Clipping],
) -> Combined:
    """Combine `n` images of the same pixels into their weighted mean.

    Parameters
    ----------
    data, variance : float32, shape (n, rows, nx)
    mask : uint16, shape of `data`, or None
        Quality bits. Each pixel uses the samples of the least bad class at hand.
    weights : shape (n,)
        Positive; only their ratios count.
    scale, zero, **clipping
        As for `combine`; weights play no part in the rejection.

    Returns
    -------
    Combined
        Value sum(w d) / sum(w), variance sum(w^2 v) / sum(w)^2 over the samples used. A pixel
        without usable samples is 0 with variance NaN, flagged 16 if a sample was not finite.

    Raises
    ------
    TooFewFrames
        ``minmax`` would reject every frame.
    """
    n = data.shape[0]
    rules = rules_of(n, has_variance=True, **clipping)
    shape = data.shape[1:]
    size = int(np.prod(shape))
    flags = np.zeros((1, size), np.uint16) if mask is None else mask.reshape(n, size)
    factors = np.ones(n, np.float32) if scale is None else np.array(scale, np.float32)
    offsets = np.zeros(n, np.float32) if zero is None else np.array(zero, np.float32)
    w = np.array(weights, np.float64)
    assert w.shape == factors.shape == offsets.shape == (n,)
    out = Combined(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.uint16),
        np.empty(shape, np.int16),
    )
    samples = data.reshape(n, size), variance.reshape(n, size), flags, w, factors, offsets
    _means(*samples, rules, tuple(plane.reshape(size) for plane in out if plane is not None))
    return out


@part
def _gather(data, variance, flags, weights, scale, zero, p, s):  # type: ignore[no-untyped-def]
    """Copy the samples of the least bad class of pixel `p`; return their number."""
    best = pixel.CLASSES
    count = 0
    broken = False
    for i in range(weights.size):
        x = scale[i] * data[i, p] + zero[i]
        bits = flags[i % flags.shape[0], p]
        c = pixel.badness(bits, x)
        broken |= not (abs(x) < pixel.INF)
        if c >= pixel.CLASSES or c > best:
            continue
        if c < best:
            best = c
            count = 0
        s.value[count] = x
        s.variance[count] = scale[i] * scale[i] * variance[i, p]
        s.weight[count] = weights[i]
        s.bits[count] = bits
        s.frame[count] = i
        count += 1
    return count, broken


@part
def _sort(s, count):  # type: ignore[no-untyped-def]
    """Sort samples by value, then by the rest, so that the order of frames does not matter."""
    for k in range(1, count):
        x, v, w, b, f = s.value[k], s.variance[k], s.weight[k], s.bits[k], s.frame[k]
        q = k
        while q > 0 and (
            s.value[q - 1] > x
            or (
                s.value[q - 1] == x
                and (s.variance[q - 1] > v or (s.variance[q - 1] == v and s.weight[q - 1] > w))
            )
        ):
            s.value[q], s.variance[q] = s.value[q - 1], s.variance[q - 1]
            s.weight[q], s.bits[q] = s.weight[q - 1], s.bits[q - 1]
            s.frame[q] = s.frame[q - 1]
            q -= 1
        s.value[q], s.variance[q], s.weight[q], s.bits[q], s.frame[q] = x, v, w, b, f


@part
def _mark(s, count, n, rules):  # type: ignore[no-untyped-def]
    """Mark the survivors of the rejection in `s.kept`; all, where none would survive."""
    low, high = 0, count
    if rules.reject == pixel.MINMAX:
        low = int(count * rules.nlow / n + 0.001)
        high = count - int(count * rules.nhigh / n + 0.001)
    elif rules.reject == pixel.SIGCLIP:
        total = 0.0
        for k in range(count):
            total += np.float64(s.variance[k])
        low, high = pixel.sigma_range(s.value, 1, count, rules, math.sqrt(total / count))
    left = 0
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    error = np.float32(rules.signal_error)
    centre = pixel.HALF * (s.value[(count - 1) // 2] + s.value[count // 2])
    for k in range(count):
        keep = low <= k < high
        if rules.reject == pixel.VARCLIP:
            slope = pixel.slope_of(rules.photon, s.frame[k])
            noise = pixel.expected(s.value[k], s.variance[k], centre, slope)
            keep = pixel.keeps(s.value[k], noise, centre, ls, hs, error)
        s.kept[k] = keep
        left += keep
    if left == 0:
        for k in range(count):
            s.kept[k] = True


@kernel
def _means(data, variance, flags, weights, scale, zero, rules, out):  # type: ignore[no-untyped-def]
    value, spread, mask, unused = out
    n = weights.size
    s = _Scratch(
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float64),
        np.empty(n, np.uint16),
        np.empty(n, np.bool_),
        np.empty(n, np.int32),
    )
    for p in range(value.size):
        count, broken = _gather(data, variance, flags, weights, scale, zero, p, s)
        if count == 0:
            value[p] = 0.0
            spread[p] = np.nan
            mask[p] = _NO_DATA if broken else 0
            unused[p] = n
            continue
        _sort(s, count)
        _mark(s, count, n, rules)
        total, weight, noise = 0.0, 0.0, 0.0
        bits = np.uint16(0)
        used = 0
        for k in range(count):
            if s.kept[k]:
                w = s.weight[k]
                total += w * np.float64(s.value[k])
                noise += w * w * np.float64(s.variance[k])
                weight += w
                bits |= s.bits[k]
                used += 1
        value[p] = total / weight
        spread[p] = noise / (weight * weight)
        mask[p] = bits
        unused[p] = n - used
