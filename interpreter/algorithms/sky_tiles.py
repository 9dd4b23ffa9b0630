"""One tile of pixels of many frames: what all targets of a group share, and what is their own.

A group has a core of frames. A target uses all of them but those that are away from it, and itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel, tiles
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.algorithms.networks import TILE
from f2yaml.interpreter.algorithms.sky_adopt import adopt
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
    and `rest_noise` those of the window of one target. Rows of `used`, `sum`, `sum_noise` and
    `centres` have number, sums and median of the samples that each target of a group uses, in its
    order. `extras` has the sorted samples that one of them does not. `below` and `above` enclose
    the medians of all targets. `work` has the sorted samples: of the core between a row of -inf and
    one of +inf, or of a window. `whole` and `less` are what a sum is multiplied by: of all these
    samples, of all but one. `known` marks pixels that are to be done again for all targets;
    `aligned`, `half`, `out`, `come` and `last` are work space.
    """

    work: Float32
    extras: Float32
    aligned: Float32
    half: Int32
    centres: Float32
    side: Float32
    out: Float32
    come: Float32
    last: Float32
    below: Float32
    centre: Float32
    above: Float32
    worse: Float32
    counts: Int32
    total: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    whole: npt.NDArray[np.float64]
    less: npt.NDArray[np.float64]
    left: Int32
    rest: npt.NDArray[np.float64]
    rest_noise: npt.NDArray[np.float64]
    used: Int32
    sum: npt.NDArray[np.float64]
    sum_noise: npt.NDArray[np.float64]
    once: Bits
    twice: Bits
    every: Bits
    again: npt.NDArray[np.uint8]
    known: npt.NDArray[np.uint8]
    adopted: Int32


@part
def load_block(s, objects, step, n, o, width, block):  # type: ignore[no-untyped-def]
    """Read the pixels o to o + width of every frame; samples on objects are not in use.

    `step` is the distance between the object masks of frames; 0 where there are none.
    """
    tiles.load_rows(s, n, o, width, block)
    if s.mask_step == 0:
        block.flags[:n] = 0
    if step > 0:
        _mask_objects(objects, step, n, o, width, block)


@part
def _mask_objects(objects, step, n, o, width, block):  # type: ignore[no-untyped-def]
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


@part
def bits_present(flags, n, o, m, present):  # type: ignore[no-untyped-def]
    """Write the OR of the bits of the `m` pixels of each frame from `o` to `present`."""
    for i in range(n):
        row = flags[i, o : o + m]
        bits = NO_BITS
        for t in range(m):
            bits |= row[t]
        present[i] = bits


@maker
def new_tile(n, members, gaps):  # type: ignore[no-untyped-def]
    """Return a tile for up to `n` sorted frames, and `members` targets of a group of windows.

    Up to `gaps` frames of its window are not used by a target.
    """
    return Tile(
        np.full((n + gaps + 3, TILE), INF32, np.float32),
        np.empty((gaps + 1, TILE), np.float32),
        np.empty((gaps + 3, TILE), np.float32),
        np.empty(TILE, np.int32),
        np.empty((members, TILE), np.float32),
        np.empty(TILE, np.float32),
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
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.int32),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty((members, TILE), np.int32),
        np.empty((members, TILE), np.float64),
        np.empty((members, TILE), np.float64),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint8),
        np.empty(TILE, np.uint8),
        np.empty(TILE, np.int32),
    )


@part
def mark(rules, core, o, m, block, b):  # type: ignore[no-untyped-def]
    """Mark the pixels where a sample may be an outlier for some target.

    The medians of all targets lie from `below` to `above`.
    """
    again, worse = b.again, b.worse
    if not (rules.lsigma > 0 and rules.hsigma > 0):
        again[:m] = 1
        return
    down, up = np.float32(1 / rules.lsigma), np.float32(1 / rules.hsigma)
    for t in range(m):
        worse[t] = ZERO32
    for q in range(0, core.size, 2):
        i, j = core[q], core[q + 1]
        x, y = block.values[i, o : o + m], block.values[j, o : o + m]
        v, w = block.variance[i, o : o + m], block.variance[j, o : o + m]
        _exceed(x, v, b.below, b.above, down, up, m, worse)
        _exceed(y, w, b.below, b.above, down, up, m, worse)
    for t in range(m):
        again[t] |= np.uint8(worse[t] > ZERO32)


@part
def _exceed(values, variance, below, above, down, up, m, worse):  # type: ignore[no-untyped-def]
    """Raise `worse` to what the square of a deviation, in units of its limit, has in excess."""
    for t in range(m):
        x, v, w = values[t], variance[t], worse[t]
        high, low = up * (x - below[t]), down * (above[t] - x)
        far = high if high > low else low
        excess = far * far - MARGIN * v
        worse[t] = excess if excess > w else w


@part
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


@part
def survey(s, core, c, p, o, m, some, block, b):  # type: ignore[no-untyped-def]
    """Count the samples of some frames, sum their variances and collect their bits.

    `core` are the frames, the first `c` of them no dummies, and `some` all bits of their pixels.
    Pixels without good samples adopt others. Returns how many do, the least number of samples of a
    pixel, and whether any sample in use has bits.
    """
    used = core[: -(-c // 4) * 4]
    adopted = 0
    least = tiles.count_rows(block.values, used, o, m, b.counts)
    if least == 0:
        adopted = adopt(s, core, c, p, o, m, block, b.counts, b.adopted)
        least = tiles.count_rows(block.values, used, o, m, b.counts)
    tiles.sum_rows(block.variance, used, o, m, b.noise)
    for t in range(m):
        b.again[t] = not (b.noise[t] < INF64)
    b.once[:] = 0
    b.every[:] = 65535
    flagged = adopted > 0 or some & SIGNAL_BITS != 0
    if flagged:
        b.twice[:] = 0
        collect_bits(used, o, m, block, b)
    return adopted, least, flagged


@part
def prepare(s, core, c, pairs, rules, p, o, m, some, block, b):  # type: ignore[no-untyped-def]
    """Fill the tile with what targets that share all frames of a core share; see `survey`."""
    adopted, least, flagged = survey(s, core, c, p, o, m, some, block, b)
    if rules.operation == pixel.MEAN:
        tiles.sum_rows(block.values, core[: -(-c // 4) * 4], o, m, b.total)
    if rules.operation == pixel.MEDIAN or rules.reject != pixel.NONE:
        tiles.sort_middle(block.values, core, c, o, m, pairs, b.side, b.work[1:])
        b.work[0] = -INF32
        b.work[c + 1] = INF32
        centre = max(c // 2 - 1, 0) if c % 2 == 0 else c // 2
        tiles.copy_row(b.work[max(centre, 1)], m, b.below)
        tiles.copy_row(b.work[centre + 1], m, b.centre)
        tiles.copy_row(b.work[min(centre + 2, c)], m, b.above)
    return adopted, least, flagged


@part
def weigh(counts, table, m, whole, less):  # type: ignore[no-untyped-def]
    """Look up what the sums of `counts` samples are multiplied by, and those of one less."""
    for t in range(m):
        k = counts[t]
        whole[t] = table[k]
        less[t] = table[max(k - np.int32(1), 0)]


@part
def means(own, m, total, whole, less, value):  # type: ignore[no-untyped-def]
    """Write the means without the samples of `own`; the weights are one over the number."""
    for t in range(m):
        x, w, v = own[t], whole[t], less[t]
        has = x == x
        value[t] = (total[t] - np.float64(x if has else ZERO32)) * (v if has else w)


@part
def mean_noise(own, noise, m, every, whole, less, spread):  # type: ignore[no-untyped-def]
    """Write the variance of means without the samples of `own`; weights as for `means`."""
    for t in range(m):
        x, w, v = own[t], whole[t], less[t]
        r = v if x == x else w
        spread[t] = (every[t] - np.float64(noise[t])) * (r * r)


@part
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


@part
def medians(own, m, even, counts, below, centre, above, value):  # type: ignore[no-untyped-def]
    """Write the medians of the core without the samples of `own`."""
    for t in range(m):
        value[t] = without(own[t], below[t], centre[t], above[t], counts[t], even)


@part
def median_noise(own, noise, m, every, whole, less, spread):  # type: ignore[no-untyped-def]
    """Write the variance of medians without the samples of `own`.

    The weights are `median_factor` over the square of the number.
    """
    for t in range(m):
        x, w, v = own[t], whole[t], less[t]
        spread[t] = (every[t] - np.float64(noise[t])) * (v if x == x else w)


@part
def others_bits(own, flags, m, once, twice, bits):  # type: ignore[no-untyped-def]
    """Write the bits of the samples in use without those of `own`."""
    for t in range(m):
        x = own[t]
        f = flags[t] if x == x else NO_BITS
        bits[t] = twice[t] | (once[t] & ~f)


@part
def bits_differ(once, every, m):  # type: ignore[no-untyped-def]
    """Return whether some samples in use of a pixel have bits that others of it do not have."""
    differ = NO_BITS
    for t in range(m):
        differ |= once[t] & ~every[t]
    return differ != 0


@part
def mark_alone(own, m, counts, every, again, value, spread, bits):  # type: ignore[no-untyped-def]
    """Mark pixels that have no other sample than that of `own`; flag those without any.

    `counts` are the samples that the target uses, `every` those of all targets.
    """
    for t in range(m):
        x = own[t]
        if every[t] == 0:
            value[t] = ZERO32
            spread[t] = ZERO32
            bits[t] = NO_DATA
            again[t] = 0
        elif counts[t] - np.int32(x == x) <= 0:
            again[t] = 1
