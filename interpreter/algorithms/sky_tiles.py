"""One tile of pixels of many frames: what all targets of a group share, and what is their own.

A group has a core of frames. A target uses all of them but those that are away from it, and itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel, tiles
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.networks import TILE
from f2yaml.interpreter.dq import DQ, NOT_SIGNAL

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

NAN32 = np.float32(np.nan)
INF32 = np.float32(np.inf)
ZERO32 = np.float32(0)
HALF32 = np.float32(0.5)
NO_BITS = np.uint16(0)
OBJECT = np.uint16(DQ.BAD_PIXEL)
NO_DATA = np.uint16(DQ.NO_DATA)
SIGNAL_BITS = np.uint16(65535 & ~NOT_SIGNAL)
INF64 = math.inf
#: Nearer than this to the limit of rejection, in single precision, a pixel is looked at closely.
MARGIN = np.float32(1 - 1e-5)


class Tile(NamedTuple):
    """Arrays for one tile of one group.

    `counts`, `total` and `noise` are number and sums of the samples of the core; `left`, `rest`
    and `rest_noise` those without the frames that are away from a target. `below` and `above`
    enclose the medians of all targets.
    """

    work: Float32
    side: Float32
    below: Float32
    centre: Float32
    above: Float32
    high: Float32
    low: Float32
    least: Float32
    counts: Int32
    total: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    left: Int32
    rest: npt.NDArray[np.float64]
    rest_noise: npt.NDArray[np.float64]
    once: Bits
    twice: Bits
    every: Bits
    again: npt.NDArray[np.uint8]
    adopted: Int32


@kernel
def mask_objects(objects, step, n, o, width, block):  # type: ignore[no-untyped-def]
    """Take the samples on objects out of use and give them the bit of a bad pixel."""
    for i in range(n):
        source = objects[i * step + o : i * step + o + width]
        some = np.uint8(0)
        for t in range(width):
            some |= source[t]
        if some == 0:
            continue
        values = block.values[i]
        variance = block.variance[i]
        flags = block.flags[i]
        for t in range(width):
            x = values[t]
            values[t] = x if source[t] == 0 else NAN32
        for t in range(width):
            x = values[t]
            v = variance[t]
            variance[t] = v if x == x else ZERO32
        for t in range(width):
            b = flags[t]
            flags[t] = b if source[t] == 0 else b | OBJECT


@kernel
def bits_present(flags, n, o, m, present):  # type: ignore[no-untyped-def]
    """Write the OR of the bits of the `m` pixels of each frame from `o` to `present`."""
    for i in range(n):
        row = flags[i, o : o + m]
        bits = NO_BITS
        for t in range(m):
            bits |= row[t]
        present[i] = bits


@kernel
def new_tile(n):  # type: ignore[no-untyped-def]
    return Tile(
        np.empty((n, TILE), np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint8),
        np.empty(TILE, np.int32),
    )


@kernel
def adopt(s, core, c, p, o, m, block, b):  # type: ignore[no-untyped-def]
    """Use the least bad class of samples where there is no good one; return how many pixels."""
    adopted = 0
    for t in range(m):
        if b.counts[t] > 0:
            continue
        best = np.int32(pixel.CLASSES)
        for q in range(c):
            i = core[q]
            best = min(best, pixel.badness(block.flags[i, o + t], s.data[i * s.data_step + p + t]))
        if best >= pixel.CLASSES:
            continue
        for q in range(c):
            i = core[q]
            x = s.scale[i] * s.data[i * s.data_step + p + t] + s.zero[i]
            if pixel.badness(block.flags[i, o + t], x) == best:
                block.values[i, o + t] = x
                factor = s.scale[i] * s.scale[i]
                block.variance[i, o + t] = factor * s.variance[i * s.variance_step + p + t]
        b.adopted[adopted] = t
        adopted += 1
    return adopted


@kernel
def give_back(core, c, o, adopted, block, b):  # type: ignore[no-untyped-def]
    for k in range(adopted):
        for q in range(c):
            block.values[core[q], o + b.adopted[k]] = NAN32
            block.variance[core[q], o + b.adopted[k]] = ZERO32


@kernel
def extremes(core, o, m, block, b):  # type: ignore[no-untyped-def]
    """Fill the highest and lowest sample of each pixel, and their least variance."""
    high, low, least = b.high, b.low, b.least
    for t in range(m):
        high[t] = -INF32
        low[t] = INF32
        least[t] = INF32
    for q in range(0, core.size, 2):
        first, second = block.values[core[q], o : o + m], block.values[core[q + 1], o : o + m]
        v1, v2 = block.variance[core[q], o : o + m], block.variance[core[q + 1], o : o + m]
        for t in range(m):
            x, y, h = first[t], second[t], high[t]
            h = x if x > h else h
            high[t] = y if y > h else h
        for t in range(m):
            x, y, h = first[t], second[t], low[t]
            h = x if x < h else h
            low[t] = y if y < h else h
        for t in range(m):
            x, v, h = first[t], v1[t], least[t]
            v = v if x == x else INF32
            least[t] = v if v < h else h
        for t in range(m):
            x, v, h = second[t], v2[t], least[t]
            v = v if x == x else INF32
            least[t] = v if v < h else h


@kernel
def mark(rules, m, b):  # type: ignore[no-untyped-def]
    """Mark the pixels where a sample of some target may be an outlier, or where one has none.

    The medians of all targets lie between the samples next to the middle.
    """
    above, below, high, low = b.above, b.below, b.high, b.low
    up = np.float32(rules.hsigma * rules.hsigma) * MARGIN
    down = np.float32(rules.lsigma * rules.lsigma) * MARGIN
    again, least = b.again, b.least
    for t in range(m):
        dev = high[t] - below[t]
        again[t] = not (dev * dev <= up * least[t])
    for t in range(m):
        dev = above[t] - low[t]
        again[t] |= not (dev * dev <= down * least[t])


@kernel
def collect_bits(core, o, m, block, b):  # type: ignore[no-untyped-def]
    """Fill `once` with the OR of the bits of samples in use, `twice` with those of two or more.

    `every` has those of all samples in use.
    """
    once, twice, every = b.once, b.twice, b.every
    for q in range(core.size):
        values, flags = block.values[core[q], o : o + m], block.flags[core[q], o : o + m]
        for t in range(m):
            x = values[t]
            f = flags[t] if x == x else NO_BITS
            have = once[t]
            twice[t] |= have & f
            once[t] = have | f
        for t in range(m):
            x = values[t]
            f = flags[t]
            e = every[t]
            every[t] = e & f if x == x else e


@kernel
def prepare(s, core, c, reach, pairs, rules, p, o, m, some, block, b):  # type: ignore[no-untyped-def]
    """Fill the tile with what all targets of a group share; return the number adopted."""
    used = core[: -(-c // 4) * 4]
    adopted = 0
    if tiles.count_rows(block.values, used, o, m, b.counts) == 0:
        adopted = adopt(s, core, c, p, o, m, block, b)
        tiles.count_rows(block.values, used, o, m, b.counts)
    tiles.sum_rows(block.variance, used, o, m, b.noise)
    b.again[:] = 0
    if rules.operation == pixel.MEAN:
        tiles.sum_rows(block.values, used, o, m, b.total)
    if rules.operation == pixel.MEDIAN or rules.reject != pixel.NONE:
        tiles.sort_middle(block.values, core, c, o, m, pairs, b.side, b.work)
        centre = c // 2 - 1 if c % 2 == 0 else c // 2
        centre = max(centre, 0)
        b.below[:m] = b.work[max(centre - reach, 0), :m]
        b.centre[:m] = b.work[centre, :m]
        b.above[:m] = b.work[min(centre + reach, c - 1), :m]
    if rules.reject != pixel.NONE:
        extremes(used, o, m, block, b)
        mark(rules, m, b)
    for t in range(m):
        b.again[t] |= not (b.noise[t] < INF64)
    b.once[:] = 0
    b.twice[:] = 0
    b.every[:] = 65535
    if adopted > 0 or some & SIGNAL_BITS:
        collect_bits(used, o, m, block, b)
    return adopted


@kernel
def leave_out(away, o, m, block, b):  # type: ignore[no-untyped-def]
    """Fill `left`, `rest` and `rest_noise`: the core without the frames `away`."""
    left, rest, noise = b.left, b.rest, b.rest_noise
    left[:m] = b.counts[:m]
    rest[:m] = b.total[:m]
    noise[:m] = b.noise[:m]
    for q in range(away.size):
        values, variance = block.values[away[q], o : o + m], block.variance[away[q], o : o + m]
        for t in range(m):
            x = values[t]
            rest[t] -= np.float64(x if x == x else ZERO32)
            left[t] -= np.int32(x == x)
        for t in range(m):
            noise[t] -= np.float64(variance[t])


@kernel
def mean(own, noise, m, counts, total, every, value, spread):  # type: ignore[no-untyped-def]
    """Write the means without the samples of `own`, and their variance."""
    for t in range(m):
        x = own[t]
        k = counts[t] - np.int32(x == x)
        less = total[t] - np.float64(x if x == x else ZERO32)
        value[t] = less / np.float64(max(k, 1))
    for t in range(m):
        x = own[t]
        k = np.float64(max(counts[t] - np.int32(x == x), 1))
        spread[t] = (every[t] - np.float64(noise[t])) / (k * k)


@kernel
def without(x, below, centre, above, count, even):  # type: ignore[no-untyped-def]
    """Return the median of `count` samples without `x`, one of them, or with all if `x` is NaN.

    Of the sorted samples, padded at both ends alike, those next to the middle move by one place
    where a sample at or below them is taken out.
    """
    has = x == x
    x = x if has else INF32
    first = below if below < x else centre
    second = centre if centre < x else above
    odd = count % 2 == 1
    if even:
        single = second  # an even count less one, or an odd one as it is
        pair = HALF32 * (first + second) if has else HALF32 * (centre + above)
    else:
        single = centre if odd else first
        pair = HALF32 * (first + second) if odd else HALF32 * (below + centre)
    return single if odd != has else pair


@kernel
def median(own, noise, m, even, factors, b, value, spread):  # type: ignore[no-untyped-def]
    """Write the medians without the samples of `own`, and their variance."""
    count, every = b.counts, b.noise
    below, centre, above = b.below, b.centre, b.above
    for t in range(m):
        value[t] = without(own[t], below[t], centre[t], above[t], count[t], even)
    for t in range(m):
        x = own[t]
        k = max(count[t] - np.int32(x == x), 1)
        rest = every[t] - np.float64(noise[t])
        spread[t] = factors[k] * rest / (np.float64(k) * np.float64(k))


@kernel
def finish(own, flags, m, counts, exact, b, value, spread, bits):  # type: ignore[no-untyped-def]
    """Write the bits of the others; mark pixels that have no other sample.

    Where frames are away (`exact` is False) the bits are known if all samples have the same.
    """
    once, twice, every, again = b.once, b.twice, b.every, b.again
    if exact:
        for t in range(m):
            x = own[t]
            f = flags[t] if x == x else NO_BITS
            bits[t] = twice[t] | (once[t] & ~f)
    else:
        for t in range(m):
            bits[t] = once[t]
        for t in range(m):
            again[t] |= once[t] != (once[t] & every[t])
    lost = np.int32(0)
    for t in range(m):
        x = own[t]
        lost |= np.int32(counts[t] - np.int32(x == x) <= 0)
    if lost:
        for t in range(m):
            if b.counts[t] == 0:
                value[t] = ZERO32
                spread[t] = ZERO32
                bits[t] = NO_DATA
                again[t] = 0
            elif counts[t] - np.int32(own[t] == own[t]) <= 0:
                again[t] = 1
