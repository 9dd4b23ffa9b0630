"""One tile of targets that share most of their frames, but not all, as in a long dither.

From the window of one target to that of the next a few frames come in and a few go out. Numbers,
sums and sorted samples follow them: each pixel has its samples in order, those not in use as +inf
at the end. Each target leaves out itself, and frames of its window that are no skies of it.
"""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms import tiles
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.algorithms.networks import exchange
from f2yaml.interpreter.algorithms.sky_tiles import HALF32, INF32, ZERO32

#: Ranks of medians, of pixels of a tile, that are done row by row.
RANKS = 8


@part
def begin(values, variance, index, mean, o, m, number, total, noise):  # type: ignore[no-untyped-def]
    """Count and sum the samples of some frames, padded with the dummy to a multiple of four."""
    tiles.count_rows(values, index, o, m, number)
    tiles.sum_rows(variance, index, o, m, noise)
    if mean:
        tiles.sum_rows(values, index, o, m, total)


@part
def sort(values, index, k, pairs, o, m, work):  # type: ignore[no-untyped-def]
    """Sort the samples of `k` frames with the network `pairs`; the rows after them are +inf."""
    tiles.sort_up(values, index, k, o, m, pairs, work)
    for q in range(k, len(work)):
        work[q, :m] = INF32


@part
def change(values, variance, old, new, mean, o, m, number, total, noise):  # type: ignore[no-untyped-def]
    """Take the frame `old` out of number and sums, and put `new` in; either may be the dummy."""
    x, y = values[old, o : o + m], values[new, o : o + m]
    _count(x, y, m, number)
    if mean:
        _add(x, y, m, total)
    _add(variance[old, o : o + m], variance[new, o : o + m], m, noise)


# Loops of their own: LLVM does not vectorise them inside of others.
@part
def _count(old, new, m, left):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = old[t], new[t]
        left[t] += np.int32(np.int32(y == y) - np.int32(x == x))


@part
def _add(old, new, m, total):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = old[t], new[t]
        x = x if x == x else ZERO32
        y = y if y == y else ZERO32
        total[t] += np.float64(y) - np.float64(x)


@part
def replace(values, old, new, rows, o, m, work, out, come, last):  # type: ignore[no-untyped-def]
    """Take the samples of `old` out of the first `rows` sorted rows, and put those of `new` in.

    The row after them is +inf; `out`, `come` and `last` are work space.
    """
    x, y = values[old, o : o + m], values[new, o : o + m]
    for t in range(m):
        v, w = x[t], y[t]
        out[t] = v if v == v else INF32
        come[t] = w if w == w else INF32
    for t in range(m):
        last[t] = -INF32
    r = 0
    while r + 1 < rows:
        _shift_two(work[r], work[r + 1], work[r + 2], out, come, last, m)
        r += 2
    if r < rows:
        _shift_two(work[r], work[r + 1], work[r + 1], out, come, last, m)


@part
def _shift_two(first, second, third, out, come, last, m):  # type: ignore[no-untyped-def]
    """Move two sorted rows up past what goes out, and down past what comes in.

    `last` is what the row before had when `out` was taken from it.
    """
    for t in range(m):
        x, y, z = first[t], second[t], third[t]
        gone, new, before = out[t], come[t], last[t]
        x = x if x < gone else y
        y = y if y < gone else z
        last[t] = y
        before = before if before > new else new
        after = x if x > new else new
        first[t] = x if x < before else before
        second[t] = y if y < after else after


@part
def leave_out(values, variance, frames, mean, o, m, left, rest, rest_noise, used, total, noise):  # type: ignore[no-untyped-def]
    """Fill `used`, `total` and `noise` with those of the window without pairs of `frames`."""
    tiles.copy_row(left, m, used)
    tiles.copy_row(rest_noise, m, noise)
    if mean:
        tiles.copy_row(rest, m, total)
    for q in range(0, frames.size, 2):
        i, j = frames[q], frames[q + 1]
        x, y = values[i, o : o + m], values[j, o : o + m]
        _discount(x, y, m, used)
        _subtract(variance[i, o : o + m], variance[j, o : o + m], m, noise)
        if mean:
            _subtract(x, y, m, total)


@part
def _discount(first, second, m, used):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = first[t], second[t]
        used[t] -= np.int32(np.int32(x == x) + np.int32(y == y))


@part
def _subtract(first, second, m, total):  # type: ignore[no-untyped-def]
    for t in range(m):
        x, y = first[t], second[t]
        x = x if x == x else ZERO32
        y = y if y == y else ZERO32
        total[t] -= np.float64(x) + np.float64(y)


@part
def weigh(counts, table, m, whole):  # type: ignore[no-untyped-def]
    """Look up what sums of `counts` samples are multiplied by; return the least of the counts."""
    for t in range(m):
        whole[t] = table[counts[t]]
    least = counts[0]
    for t in range(m):
        least = min(least, counts[t])
    return least


@part
def scale(total, weight, twice, m, out):  # type: ignore[no-untyped-def]
    """Write sums times their weights, or times the squares of these."""
    if twice:
        for t in range(m):
            out[t] = total[t] * (weight[t] * weight[t])
    else:
        for t in range(m):
            out[t] = total[t] * weight[t]


@part
def medians(  # type: ignore[no-untyped-def]
    values, frames, k, pairs, used, o, m, extras, work, aligned, half, low, high, value
):
    """Write the medians of the window without the samples of the first `k` of `frames`.

    `used` counts the samples that are left; `aligned`, `half`, `low` and `high` are work space. Of
    sorted samples, those from one on that is taken out move down by one place: beginning with the
    least, each that is not above the value so far makes it the next one. Where no sample is left
    the value means nothing.
    """
    for q in range(k):
        x, row = values[frames[q], o : o + m], extras[q]
        for t in range(m):
            v = x[t]
            row[t] = v if v == v else INF32
    exchange(extras, pairs, m)
    for t in range(m):
        half[t] = used[t] >> np.int32(1)
    least, most = half[0], half[0]
    for t in range(m):
        least = min(least, half[t])
    for t in range(m):
        most = max(most, half[t])
    if least == most:
        _ranked(work, max(most - 1, 0), extras, k, m, low)
        _ranked(work, most, extras, k, m, high)
    else:
        _align(work, half, least, most, k + 2, m, aligned)
        _ranked(aligned, 0, extras, k, m, low)
        _ranked(aligned, 1, extras, k, m, high)
    for t in range(m):
        x, y = low[t], high[t]
        pair = HALF32 * (x + y)
        value[t] = y if used[t] % 2 == 1 else pair


@part
def _align(work, half, least, most, rows, m, aligned):  # type: ignore[no-untyped-def]
    """Copy to the first `rows` of `aligned` the sorted samples of each pixel from `half` - 1 on.

    Ranks far below that of `most` pixels are rare: they are looked up one by one.
    """
    last = max(least, most - RANKS + 1)
    for r in range(rows):
        tiles.copy_row(work[max(most - 1 + r, 0)], m, aligned[r])
        for h in range(last, most):
            _choose(work[max(h - 1 + r, 0)], half, np.int32(h), m, aligned[r])
    if last > least:
        for t in range(m):
            h = half[t]
            if h < last:
                for r in range(rows):
                    aligned[r, t] = work[max(h - 1 + r, 0), t]


@part
def _choose(source, half, h, m, out):  # type: ignore[no-untyped-def]
    for t in range(m):
        x = source[t]
        y = out[t]
        out[t] = x if half[t] == h else y


@part
def _ranked(work, rank, extras, k, m, found):  # type: ignore[no-untyped-def]
    row = work[rank]
    for t in range(m):
        found[t] = row[t]
    for q in range(k):
        row, out = work[rank + q + 1], extras[q]
        for t in range(m):
            x, y, z = out[t], found[t], row[t]
            found[t] = z if x <= y else y


@part
def enclose(value, m, below, above):  # type: ignore[no-untyped-def]
    """Widen `below` and `above` to the medians `value`."""
    for t in range(m):
        x, y = value[t], below[t]
        below[t] = x if x < y else y
    for t in range(m):
        x, y = value[t], above[t]
        above[t] = x if x > y else y
