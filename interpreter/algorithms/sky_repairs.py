"""Pixels of skies where samples may be outliers, or of which little is known.

Such pixels are few: of a tile they are listed, with the samples that may be outliers. Each target
then takes those that are out of its sums, row after row; where that does not do, the pixel is
combined from its samples, one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.algorithms.networks import TILE
from f2yaml.interpreter.algorithms.sky_tiles import (
    INF32,
    INF64,
    MARGIN,
    NO_DATA,
    ZERO32,
    mark,
    without,
)

#: Sums that shrink more than this when outliers are taken out of them are made anew.
MUCH = 1e6

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class Repairs(NamedTuple):
    """Work space for the marked pixels of a tile.

    Pixel ``lane[k]`` has the suspects ``begin[k]`` to ``begin[k + 1]``: `frame`, `x` and `v` are
    their frame, value and variance. `centre`, `number`, `total` and `noise` are median, number and
    sums of its samples that one target uses. `anew` lists pixels to be combined from their
    samples for all targets, `more` those for one; `samples` is work space for a pixel.
    """

    lane: Int32
    begin: Int32
    frame: Int32
    x: Float32
    v: Float32
    centre: Float32
    number: Int32
    total: Float64
    noise: Float64
    anew: Int32
    more: Int32
    samples: tuple[Float32, Float32, npt.NDArray[np.uint16], Int32]


@maker
def new_repairs(n):  # type: ignore[no-untyped-def]
    """Return work space for tiles of `n` frames."""
    return Repairs(
        np.empty(TILE, np.int32),
        np.zeros(TILE + 1, np.int32),
        np.empty(TILE * n, np.int32),
        np.empty(TILE * n, np.float32),
        np.empty(TILE * n, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.int32),
        (
            np.empty(n, np.float32),
            np.empty(n, np.float32),
            np.empty(n, np.uint16),
            np.empty(n, np.int32),
        ),
    )


@part
def _one(s, rules, index, k, n, p, flags, samples):  # type: ignore[no-untyped-def]
    """Combine the samples of one pixel of one target; `flags` are its bits in all frames."""
    d, v, m, f = samples
    best = np.int32(pixel.CLASSES)
    count = np.int64(0)  # a literal would compile what takes it once more
    for q in range(k):
        i = index[q]
        x = s.scale[i] * s.data[i * s.data_step + p] + s.zero[i]
        c = pixel.badness(flags[i], x)
        if c >= pixel.CLASSES or c > best:
            continue
        if c < best:
            best = c
            count = np.int64(0)
        factor = s.scale[i] * s.scale[i]
        d[count] = x
        v[count] = factor * s.variance[i * s.variance_step + p]
        m[count] = flags[i]
        f[count] = i
        count += 1
    if count == 0:
        return 0.0, 0.0, NO_DATA
    x, w, bits, _ = pixel.reduce_pixel(d, v, m, f, count, n, count > 0, rules)
    return x, w, np.uint16(bits)


@part
def _suspects(ls, hs, core, c, values, variance, at, below, above, first, frame, x, v):  # type: ignore[no-untyped-def]
    """List the samples at column `at` that may be outliers for some target, from `first` on.

    The medians of all targets lie from `below` to `above`. Returns where the next list begins.
    """
    for q in range(c):
        i = core[q]
        y, w = values[i, at], variance[i, at]
        near = w * MARGIN
        if not (
            pixel.keeps(y, near, below, ls, hs, ZERO32)
            and pixel.keeps(y, near, above, ls, hs, ZERO32)
        ):
            frame[first], x[first], v[first] = i, y, w
            first += y == y
    return first


@part
def _shared(lane, lanes, own, own_noise, below, centre, above, counts, total, noise, even, taken):  # type: ignore[no-untyped-def]
    """Fill `taken` with median, number and sums of what a target uses of a core: all but `own`."""
    middle, number, some, spread = taken
    for k in range(lanes):
        t = lane[k]
        y = own[t]
        has = y == y
        middle[k] = without(y, below[t], centre[t], above[t], counts[t], even)
        number[k] = counts[t] - np.int32(has)
        some[k] = total[t] - np.float64(y if has else ZERO32)
        spread[k] = noise[t] - np.float64(own_noise[t])


@part
def _chosen(lane, lanes, centre, used, total, noise, taken):  # type: ignore[no-untyped-def]
    """Fill `taken` with median, number and sums of what a target uses of its window."""
    middle, number, some, spread = taken
    for k in range(lanes):
        t = lane[k]
        middle[k], number[k], some[k], spread[k] = centre[t], used[t], total[t], noise[t]


@part
def _reject(ls, hs, uses, lane, lanes, begin, frame, x, v, taken, more, value, spread):  # type: ignore[no-untyped-def]
    """Take the outliers among the suspects out of the means of one target.

    `uses` tells the frames that it uses. Returns how many pixels are to be done anew.
    """
    centre, number, total, noise = taken
    undone = 0
    for k in range(lanes):
        out, much, noisy, middle = 0, 0.0, 0.0, centre[k]
        for q in range(begin[k], begin[k + 1]):
            if uses[frame[q]] != 0 and not pixel.keeps(x[q], v[q], middle, ls, hs, ZERO32):
                out += 1
                much += np.float64(x[q])
                noisy += np.float64(v[q])
        if out == 0 and abs(middle) < INF32:
            continue
        left = number[k] - out
        rest, wide = total[k] - much, noise[k] - noisy
        if left > 0 and abs(much) < MUCH * abs(rest) and noisy < MUCH * wide:
            value[lane[k]] = rest / left
            spread[lane[k]] = wide / (np.float64(left) * left)
        else:
            more[undone] = lane[k]
            undone += 1
    return undone


@part
def _listed(rules, core, c, o, m, block, b, r):  # type: ignore[no-untyped-def]
    """List the marked pixels with suspects in `r`, and others in `anew`; return how many of each.

    Where not all samples in use have the same bits, or few are left, a pixel is done from its
    samples.
    """
    clip = rules.operation == pixel.MEAN and rules.reject != pixel.NONE
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    lanes, undone, first = 0, 0, 0
    for t in range(m):
        if b.again[t] == 0:
            continue
        if clip and b.once[t] & ~b.every[t] == 0 and b.noise[t] < INF64 and b.counts[t] >= 4:
            last = _suspects(
                ls, hs, core, c, block.values, block.variance, o + t, b.below[t], b.above[t], first,
                r.frame, r.x, r.v,
            )  # fmt: skip
            if last > first:
                r.lane[lanes] = t
                lanes += 1
                r.begin[lanes] = last
                first = last
        else:
            r.anew[undone] = t
            undone += 1
    return lanes, undone


@part
def _anew(s, rules, n, index, k, p, o, lane, lanes, block, r, value, spread, bits):  # type: ignore[no-untyped-def]
    """Combine the samples of some pixels of one target."""
    for a in range(lanes):
        t = lane[a]
        value[t], spread[t], bits[t] = _one(
            s, rules, index, k, n, p + t, block.flags[:, o + t], r.samples
        )


@part
def mark_and_do(s, rules, n, groups, g, p, o, m, size, r, block, b, value, spread, bits):  # type: ignore[no-untyped-def]
    """Find the pixels of a group that may have outliers, and do all marked pixels of it again."""
    c, core, exact = groups.size[g], groups.core[g], groups.slack[g] == 0
    if rules.reject != pixel.NONE:
        mark(rules, core[: -(-c // 4) * 4], o, m, block, b)
    lanes, undone = _listed(rules, core, c, o, m, block, b, r)
    if lanes + undone == 0:
        return
    first, taken = groups.start[g], (r.centre, r.number, r.total, r.noise)
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    for e in range(groups.start[g + 1] - first):
        j = groups.member[first + e]
        z = j * size + p
        out, out_noise, out_bits = value[z : z + m], spread[z : z + m], bits[z : z + m]
        listed, k = groups.listed[j], groups.sizes[j]
        if undone > 0:
            _anew(s, rules, n, listed, k, p, o, r.anew, undone, block, r, out, out_noise, out_bits)
        if lanes == 0:
            continue
        if exact:
            i = groups.own[j]
            _shared(
                r.lane, lanes, block.values[i, o : o + m], block.variance[i, o : o + m],
                b.below, b.centre, b.above, b.counts, b.total, b.noise, c % 2 == 0, taken,
            )  # fmt: skip
        else:
            _chosen(r.lane, lanes, b.centres[e], b.used[e], b.sum[e], b.sum_noise[e], taken)
        more = _reject(
            ls, hs, groups.uses[j], r.lane, lanes, r.begin, r.frame, r.x, r.v, taken,
            r.more, out, out_noise,
        )  # fmt: skip
        if more > 0:
            _anew(s, rules, n, listed, k, p, o, r.more, more, block, r, out, out_noise, out_bits)
