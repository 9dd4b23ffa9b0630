"""One tile of targets that share most of their frames, but not all, as in a long dither.

The frames that all targets of a group use are sorted once. Each target takes its own sample out of
them and merges in the sorted samples of the few other frames that it uses; only the middle of the
merged samples is found. Sums go from one target to the next by the frames in which they differ.
"""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.networks import exchange
from f2yaml.interpreter.algorithms.sky_tiles import HALF32, INF32, ZERO32


@kernel
def begin(m, b):  # type: ignore[no-untyped-def]
    """Start with all frames of the group."""
    left, rest, noise, below, above = b.left, b.rest, b.rest_noise, b.below, b.above
    for t in range(m):
        left[t] = b.counts[t]
    for t in range(m):
        rest[t] = b.total[t]
    for t in range(m):
        noise[t] = b.noise[t]
    for t in range(m):
        below[t] = INF32
        above[t] = -INF32


@kernel
def step(frames, signs, mean, o, m, block, b):  # type: ignore[no-untyped-def]
    """Add pairs of `frames` to number and sums, or take them out where their sign is -1."""
    for q in range(0, frames.size, 2):
        i, j = frames[q], frames[q + 1]
        one, two = np.int32(signs[q]), np.int32(signs[q + 1])
        x, y = block.values[i, o : o + m], block.values[j, o : o + m]
        v, w = block.variance[i, o : o + m], block.variance[j, o : o + m]
        _count(x, y, one, two, m, b.left)
        if mean:
            _add(x, y, np.float64(one), np.float64(two), m, b.rest)
        _add(v, w, np.float64(one), np.float64(two), m, b.rest_noise)


# Loops of their own: LLVM does not vectorise them inside of others.
@kernel
def _count(first, second, one, two, m, left):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = first[t], second[t]
        more = one if x == x else np.int32(0)
        left[t] += np.int32(more + (two if y == y else np.int32(0)))


@kernel
def _add(first, second, one, two, m, total):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = first[t], second[t]
        x = x if x == x else ZERO32
        y = y if y == y else ZERO32
        total[t] += one * np.float64(x) + two * np.float64(y)


@kernel
def _take_out(own, inside, m, b):  # type: ignore[no-untyped-def]
    """Fill `taken`, the sample of each pixel that leaves the sorted ones, and the next `sign`.

    Where the own sample is missing the infinity leaves that was put in last.
    """
    side, sign, taken = b.side, b.sign, b.taken
    if inside:
        for t in range(m):
            x, s = own[t], side[t]
            taken[t] = x if x == x else -s
        for t in range(m):
            x, s = own[t], side[t]
            sign[t] = s if x == x else -s
    else:
        for t in range(m):
            taken[t] = INF32
            sign[t] = side[t]


@kernel
def _pad(source, m, sign, row):  # type: ignore[no-untyped-def]
    """Copy samples, with infinities of turning sign for those not in use."""
    for t in range(m):
        x, s = source[t], sign[t]
        row[t] = x if x == x else s
        sign[t] = s if x == x else -s


@kernel
def _merge(rank, rows, extras, m, b, found):  # type: ignore[no-untyped-def]
    """Write to `found` the value of a rank (from 0) among all sorted rows and extras.

    It is the least of the values that have so many from the rows, and the rest from the extras, at
    or below them. Of the rows those from `taken` on move down by one.
    """
    work, taken = b.work, b.taken
    for t in range(m):
        found[t] = INF32
    j, last = max(rank - rows + 1, 0), min(rank + 1, extras)
    while j < last:
        i = rank - j
        _two(work[i], work[i + 1], work[i + 2], b.extras[j], b.extras[j + 1], taken, m, found)
        j += 2
    if j == last:
        i = rank - j
        _one(work[i + 1], work[i + 2], b.extras[j], taken, m, found)


@kernel
def _one(first, second, extra, taken, m, found):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y, z, w, v = first[t], second[t], extra[t], taken[t], found[t]
        x = x if x < w else y
        x = x if x > z else z
        found[t] = x if x < v else v


@kernel
def _two(first, second, third, more, extra, taken, m, found):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y, z, w, v = first[t], second[t], third[t], taken[t], found[t]
        x = x if x < w else y
        y = y if y < w else z
        z, w = extra[t], more[t]
        x = x if x > z else z
        y = y if y > w else w
        x = x if x < y else y
        found[t] = x if x < v else v


@kernel
def centre(own, inside, shared, frames, pairs, o, m, block, b, value):  # type: ignore[no-untyped-def]
    """Write the medians of one target.

    Parameters
    ----------
    own, inside
        Its own samples; whether they are among the sorted ones.
    shared : int
        Number of sorted rows.
    frames : array of int32
        The other frames that it uses.
    pairs
        Network that sorts as many rows.
    """
    _take_out(own, inside, m, b)
    for q in range(frames.size):
        _pad(block.values[frames[q], o : o + m], m, b.sign, b.extras[q + 1])
    exchange(b.extras[1:], pairs, m)
    rows = shared - np.int64(inside)
    every = rows + frames.size
    high = every // 2
    _merge(high, rows, frames.size, m, b, b.upper)
    _merge(max(high - 1, 0), rows, frames.size, m, b, b.lower)
    left, lower, upper = b.left, b.lower, b.upper
    single = upper if every % 2 == 1 else lower
    for t in range(m):
        pair = HALF32 * (lower[t] + upper[t])
        alone, x = single[t], own[t]
        count = left[t] - np.int32(x == x)
        value[t] = alone if count % 2 == 1 else pair


@kernel
def enclose(value, m, b):  # type: ignore[no-untyped-def]
    """Widen `below` and `above` to the medians `value`."""
    below, above = b.below, b.above
    for t in range(m):
        x, y = value[t], below[t]
        below[t] = x if x < y else y
    for t in range(m):
        x, y = value[t], above[t]
        above[t] = x if x > y else y
