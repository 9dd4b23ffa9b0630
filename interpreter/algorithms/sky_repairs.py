"""Pixels of skies where samples may be outliers, or of which little is known: one by one."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.algorithms.sky_tiles import (
    INF32,
    INF64,
    MARGIN,
    NO_DATA,
    ZERO32,
    mark,
    without,
)


@part
def _one(s, rules, index, k, n, p, flags, d, v, m, f):  # type: ignore[no-untyped-def]
    """Combine the samples of one pixel of one target; `flags` are its bits in all frames."""
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


@part
def _outlies(rules, j, groups, centre, found, suspects, x, v):  # type: ignore[no-untyped-def]
    """Return whether target `j` uses a sample that is an outlier.

    `x` and `v` are the samples of the pixel and their variances, `centre` the median of those of
    the target, `found` are the frames whose sample may be an outlier.
    """
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    own, away, far = groups.own[j], groups.away[j], groups.far[j]
    for q in range(suspects):
        i = found[q]
        used = i != own
        for r in range(far):
            used &= i != away[r]
        if used and not pixel.keeps(x[i], v[i], centre, ls, hs, ZERO32):
            return True
    return False


@part
def _clipped(rules, index, k, centre, x, v, one):  # type: ignore[no-untyped-def]
    """Fill `one` with the mean of the samples of `k` frames without outliers, and its variance.

    Returns how many samples are left.
    """
    ls, hs = np.float32(rules.lsigma), np.float32(rules.hsigma)
    total, noise, left = 0.0, 0.0, 0
    for q in range(k):
        i = index[q]
        if x[i] == x[i] and pixel.keeps(x[i], v[i], centre, ls, hs, ZERO32):
            total += np.float64(x[i])
            noise += np.float64(v[i])
            left += 1
    if left > 0:
        one[0] = total / left
        one[1] = noise / (np.float64(left) * left)
    return left


@part
def mark_and_do(s, rules, n, groups, g, p, o, m, size, lists, block, b, value, spread, bits):  # type: ignore[no-untyped-def]
    """Find the pixels of a group that may have outliers, and do all marked pixels of it again."""
    if rules.reject != pixel.NONE:
        c = groups.size[g]
        mark(rules, groups.core[g, : -(-c // 4) * 4], o, m, block, b)
    marks = b.again
    some = np.uint8(0)
    for t in range(m):
        some |= marks[t]
    if some == 0:
        return
    for t in range(m):
        if marks[t] != 0:
            _again(s, rules, n, groups, g, p, o, t, size, lists, block, b, value, spread, bits)


@part
def _again(s, rules, n, groups, g, p, o, t, size, lists, block, b, value, spread, bits):  # type: ignore[no-untyped-def]
    """Do one pixel of a tile again, for each target of a group."""
    d, v, flags, f, found, one = lists
    c, core, exact = groups.size[g], groups.core[g], groups.slack[g] == 0
    members = groups.member[groups.start[g] : groups.start[g + 1]]
    even = c % 2 == 0
    suspects = -1
    if rules.operation == pixel.MEAN and rules.reject != pixel.NONE:
        suspects = _suspects(rules, core, c, o, t, block, b, found)
    x_all, v_all = block.values[:, o + t], block.variance[:, o + t]
    for e in range(members.size):
        j = members[e]
        z = j * size + p + t
        done = False
        if suspects >= 0:
            centre = b.centres[e, t]
            if exact:
                mine = x_all[groups.own[j]]
                centre = without(mine, b.below[t], b.centre[t], b.above[t], b.counts[t], even)
            if abs(centre) < INF32:
                if not _outlies(rules, j, groups, centre, found, suspects, x_all, v_all):
                    continue
                done = (
                    _clipped(rules, groups.listed[j], groups.sizes[j], centre, x_all, v_all, one)
                    > 0
                )
        if not done:
            one[0], one[1], bits[z] = _one(
                s, rules, groups.listed[j], groups.sizes[j], n, p + t,
                block.flags[:, o + t], d, v, flags, f,
            )  # fmt: skip
        value[z] = one[0]
        spread[z] = one[1]
