"""Pixels of skies where samples may be outliers, or of which little is known: one by one."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.sky_tiles import (
    HALF32,
    INF64,
    MARGIN,
    NO_BITS,
    NO_DATA,
    ZERO32,
    without,
)


@kernel
def _one(s, rules, index, k, n, p, flags, d, v, m, f):  # type: ignore[no-untyped-def]
    """Combine the samples of one pixel of one target; `flags` are its bits in all frames."""
    best = np.int32(pixel.CLASSES)
    count = 0
    for q in range(k):
        i = index[q]
        x = s.scale[i] * s.data[i * s.data_step + p] + s.zero[i]
        c = pixel.badness(flags[i], x)
        if c >= pixel.CLASSES or c > best:
            continue
        if c < best:
            best = c
            count = 0
        factor = s.scale[i] * s.scale[i]
        d[count] = x
        v[count] = factor * s.variance[i * s.variance_step + p]
        m[count] = flags[i]
        f[count] = i
        count += 1
    if count == 0:
        return 0.0, 0.0, NO_DATA
    x, w, bits, _ = pixel.reduce_pixel(d, v, m, f, count, n, True, rules)
    return x, w, np.uint16(bits)


@kernel
def _suspects(rules, core, c, o, t, block, b, found):  # type: ignore[no-untyped-def]
    """List the frames whose sample at a pixel may be an outlier for some target; return how many.

    Returns -1 where the pixel has to be done from its samples, target by target.
    """
    if b.once[t] != 0 or not (b.noise[t] < INF64) or b.counts[t] < 4:
        return -1
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    count = 0
    for q in range(c):
        i = core[q]
        x, v = block.values[i, o + t], block.variance[i, o + t]
        if x == x and not (
            pixel.keeps(x, v * MARGIN, b.below[t], ls, hs, ZERO32)
            and pixel.keeps(x, v * MARGIN, b.above[t], ls, hs, ZERO32)
        ):
            found[count] = i
            count += 1
    return count


@kernel
def _median_of(index, k, x, work):  # type: ignore[no-untyped-def]
    """Return the median of the samples `x` of the first `k` frames of `index` that are in use."""
    count = 0
    for q in range(k):
        value = x[index[q]]
        if value == value:
            work[count] = value
            count += 1
    high = _selected(work, count, count // 2)
    if count % 2 == 1:
        return high
    low = work[0]  # the values before the middle are not above it
    for q in range(1, count // 2):
        low = work[q] if work[q] > low else low
    return HALF32 * (low + high)


@kernel
def _selected(work, count, rank):  # type: ignore[no-untyped-def]
    """Return the value of a rank (from 0), with none above it before it (Hoare's selection)."""
    left, right = 0, count - 1
    while left < right:
        pivot = work[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while work[i] < pivot:
                i += 1
            while pivot < work[j]:
                j -= 1
            if i <= j:
                swap = work[i]
                work[i] = work[j]
                work[j] = swap
                i += 1
                j -= 1
        if rank <= j:
            right = j
        elif rank >= i:
            left = i
        else:
            break
    return work[rank]


@kernel
def _sides(x, v, below, above, ls, hs):  # type: ignore[no-untyped-def]
    """Tell whether a sample is kept (1) or left out (0) for any centre between two, or not (2)."""
    low = pixel.keeps(x, v, below, ls, hs, ZERO32)
    high = pixel.keeps(x, v, above, ls, hs, ZERO32)
    if low and high:
        return 1
    if (not low and x < below) or (not high and x > above):
        return 0
    return 2


@kernel
def _clipped(  # type: ignore[no-untyped-def]
    rules, j, groups, exact, even, found, suspects, x, v, near, count, total, noise, work, one
):
    """Fill `one` with the mean of target `j` without outliers, and its variance.

    `x` and `v` are the samples of the pixel and their variances, `near` encloses the medians of
    all targets, `found` are the frames whose sample may be an outlier. Returns the number used.
    """
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    own, away = groups.own[j], groups.away[j]
    mine = x[own]
    k = count - np.int32(mine == mine)
    total -= np.float64(mine if mine == mine else ZERO32)
    noise -= np.float64(v[own])
    for q in range(groups.far[j]):
        other = x[away[q]]
        k -= np.int32(other == other)
        total -= np.float64(other if other == other else ZERO32)
        noise -= np.float64(v[away[q]])
    below, centre, above = near
    known = exact
    if exact:
        centre = without(mine, below, centre, above, count, even)
    for q in range(suspects):
        i = found[q]
        used = i != own
        for r in range(groups.far[j]):
            used &= i != away[r]
        if not used:
            continue
        side = 2 if known else _sides(x[i], v[i], below, above, ls, hs)
        if side == 2:
            if not known:
                centre = _median_of(groups.listed[j], groups.sizes[j], x, work)
                known = True
            side = np.int64(pixel.keeps(x[i], v[i], centre, ls, hs, ZERO32))
        if side == 0:
            total -= np.float64(x[i])
            noise -= np.float64(v[i])
            k -= 1
    if k > 0:
        one[0] = total / k
        one[1] = noise / (np.float64(k) * k)
    return k


@kernel
def again(s, rules, n, groups, g, p, o, m, size, lists, block, b, value, spread, bits):  # type: ignore[no-untyped-def]
    """Do the marked pixels of a tile again, for each target of a group."""
    d, v, flags, f, found, one = lists
    c, core, exact = groups.size[g], groups.core[g], groups.slack[g] == 0
    members = groups.member[groups.start[g] : groups.start[g + 1]]
    even = c % 2 == 0
    for t in range(m):
        if b.again[t] == 0:
            continue
        suspects = -1
        if rules.operation == pixel.MEAN and rules.reject != pixel.NONE:
            suspects = _suspects(rules, core, c, o, t, block, b, found)
        x_all, v_all = block.values[:, o + t], block.variance[:, o + t]
        near = (b.below[t], b.centre[t], b.above[t])
        for e in range(members.size):
            j = members[e]
            z = j * size + p + t
            used = 0
            if suspects >= 0:
                used = _clipped(
                    rules, j, groups, exact, even, found, suspects, x_all, v_all, near,
                    b.counts[t], b.total[t], b.noise[t], d, one,
                )  # fmt: skip
                some = NO_BITS
            if used <= 0:
                one[0], one[1], some = _one(
                    s, rules, groups.listed[j], groups.sizes[j], n, p + t,
                    block.flags[:, o + t], d, v, flags, f,
                )  # fmt: skip
            value[z] = one[0]
            spread[z] = one[1]
            bits[z] = some
