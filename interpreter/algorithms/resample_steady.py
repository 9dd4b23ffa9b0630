"""Compiled loops of `resample` for maps that are a shift and next to no turn, and cubic kernels.

Two pointings of one field differ by a shift, a turn of some arcseconds and a scale of 1 + 1e-8. The
fraction along x is then that of the whole row, and the fractions along y are those of the row
before. Each row of the input is interpolated along x once, where the map crosses it, and serves the
four output rows that need it; these sum four such rows. For an affine map that is as exact as
sums over 4 x 4 taps with weights of the output pixel's own position (Catmull and Smith 1980,
SIGGRAPH, 279); the two differ by the turn times the contrast of neighbouring pixels.

What is computed once for some rows or columns depends on where these lie on the output grid or the
input, not on the rows asked for: any split into bands gives the same bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.algorithms.resample_runs import VALUES, evaluate

__all__ = ["fill_steady", "is_steady"]

_SLOTS = 8  # rows of the input kept: those of two turns of the tap row, and one more
_ROWS = 64  # output rows with the same fractions along y
_SEGMENT = 512  # output columns with the same fraction along x
_DRIFT = 4e-6  # what a fraction may be off by, in pixels: 4e-6 of the contrast of neighbours
_TURN = 1e-4  # largest turn; twice of it is the most by which positions in the four rows differ
_MARGIN = 1  # pixels at either end of a row that are left to the general code
_CLEAN = _SLOTS  # the slot without flags
_FEW = 32  # one mixed pixel of so many is left to be done by itself
#: Sums over the good pixels of a row: of values and variances, of weights, and of the absolute
#: weights of the others.
_KEPT, _SPREAD, _WEIGHT, _LOST = 0, 1, 2, 3
#: What becomes of a pixel: nothing more, the mean of good taps, that of all, or a closer look.
_DONE, _GOOD, _PLAIN, _LEFT = np.uint16(0), np.uint16(1), np.uint16(2), np.uint16(3)
_NEAR = np.float32(1e-3)  # ten times what positions in the four rows differ by
_LEAST = np.float32(0.2)  # smallest sum of weights, as in `fill_pixels`
_ONE = np.uint16(1)
_F1 = np.float32(1)
_F4 = np.float32
_F0 = np.float32(0)
_INF = np.float32(np.inf)
_NO_BITS = np.uint16(0)
_VALUES = np.uint8(VALUES)


class _Rolling(NamedTuple):
    """Rows of the input interpolated along x, in columns of the output."""

    data: Any
    var: Any
    some: Any
    every: Any
    row: Any
    flagged: Any
    sums: Any
    summed: Any


@compiled
def is_steady(m: Any, along_x: Any, along_y: Any, nx_out: int) -> bool:
    """Tell whether `fill_steady` is for this map and these kernels."""
    tx, noise_x, _ = along_x
    ty, noise_y, _ = along_y
    if tx.shape[0] != 4 or ty.shape[0] != 4 or noise_x.size or noise_y.size:
        return False
    along = m[0, 0] - m[0, 1] * m[1, 0] / m[1, 1]
    if abs(along - 1.0) * (_SEGMENT / 2) > _DRIFT or abs(m[1, 1] - 1.0) * (_ROWS / 2) > _DRIFT:
        return False
    return bool(abs(m[0, 1]) <= _TURN and abs(m[1, 0]) <= min(_TURN, 1.0 / nx_out))


@part
def _inside(m: Any, y: float, nx_out: int, nx: int, ny: int, ix: int, iy: int) -> tuple[int, int]:
    """Return the columns of an output row all taps of which lie inside, less a margin.

    None, if that is not so along y for the whole of them.
    """
    offset = m[0, 1] * y + m[0, 2]
    # Taps from floor(x + offset) + ix on: that is between 0 and nx - 4.
    start = max(0, int(np.ceil(-ix - offset))) + _MARGIN
    stop = min(nx_out, int(np.floor(nx - 4 - ix - offset))) - _MARGIN
    if stop - start < 8:
        return 0, 0
    for x in (start, stop - 1):
        q = m[1, 0] * x + m[1, 1] * y + m[1, 2]
        # A fraction that is next to 0 or 1 may be taken for the other.
        if not (1.0 - iy <= q <= ny - 5.0 - iy):
            return 0, 0
    return start, stop


@part
def _segment(
    along: float, offset: float, start: int, width: int, nx: int, ix: int
) -> tuple[int, float, int, int]:
    """Return the first tap of column 0, the fraction, and which columns of a segment are inside."""
    middle = start + _SEGMENT // 2
    q = along * middle + offset
    base = int(np.floor(q))
    first = base - middle + ix
    return first, q - base, max(start, -first), min(start + _SEGMENT, width, nx - 3 - first)


@part
def _whole(m: Any, table: Any, j: int) -> float:
    """Return the sum of absolute weights along x, as `_across` takes them for row `j`."""
    q = m[0, 1] / m[1, 1] * (j - m[1, 2]) + m[0, 2]
    f = q - np.floor(q)
    total = 0.0
    for k in range(4):
        total += abs(((table[k, 3] * f + table[k, 2]) * f + table[k, 1]) * f + table[k, 0])
    return total


@part
def _across(
    data: Any, var: Any, mask: Any, m: Any, table: Any, ix: int, j: int, slot: int, c: Any, v: Any,
    b: _Rolling,
) -> None:  # fmt: skip
    """Interpolate row `j` of the input along x, at the columns of the output."""
    nx, width = data.shape[1], b.data.shape[1]
    along = m[0, 0] - m[0, 1] * m[1, 0] / m[1, 1]
    offset = m[0, 1] / m[1, 1] * (j - m[1, 2]) + m[0, 2]
    flags = _NO_BITS
    if mask.size:
        bits = mask[j]
        for t in range(nx):
            flags |= bits[t]
    b.row[slot] = j
    b.flagged[slot] = flags
    for start in range(0, width, _SEGMENT):
        first, f, lo, hi = _segment(along, offset, start, width, nx, ix)
        if hi <= lo:
            continue
        n = hi - lo
        at = lo + first
        for k in range(4):
            value = _F4(((table[k, 3] * f + table[k, 2]) * f + table[k, 1]) * f + table[k, 0])
            c[k], v[k] = value, value * value
        _taps(data[j][at : at + n + 3], c, n, b.data[slot][lo:hi])
        if var.size:
            _taps(var[j][at : at + n + 3], v, n, b.var[slot][lo:hi])
        if flags:
            _bits(mask[j][at : at + n + 3], n, b.some[slot][lo:hi], b.every[slot][lo:hi])


@part
def _taps(line: Any, c: Any, n: int, out: Any) -> None:
    w0, w1, w2, w3 = c[0], c[1], c[2], c[3]
    for t in range(n):
        out[t] = ((w0 * line[t] + w1 * line[t + 1]) + w2 * line[t + 2]) + w3 * line[t + 3]


@part
def _bits(line: Any, n: int, some: Any, every: Any) -> None:
    for t in range(n):
        some[t] = (line[t] | line[t + 1]) | (line[t + 2] | line[t + 3])
    for t in range(n):
        every[t] = (line[t] & line[t + 1]) & (line[t + 2] & line[t + 3])


@part
def _down(rows: Any, slots: Any, w: Any, start: int, stop: int, out: Any) -> None:
    """Sum four rows, each with its own weights."""
    n = stop - start
    total = out[start:stop]
    a, b = rows[slots[0]][start:stop], rows[slots[1]][start:stop]
    p, q = w[0][start:stop], w[1][start:stop]
    c, d = rows[slots[2]][start:stop], rows[slots[3]][start:stop]
    r, s = w[2][start:stop], w[3][start:stop]
    for t in range(n):
        total[t] = (p[t] * a[t] + q[t] * b[t]) + (r[t] * c[t] + s[t] * d[t])


@part
def _good_across(
    data: Any, var: Any, mask: Any, exclude: int, m: Any, table: Any, ix: int, j: int, slot: int,
    line: Any, c: Any, b: _Rolling,
) -> None:  # fmt: skip
    """Sum row `j` along x, good pixels alone: `_KEPT`, `_SPREAD`, `_WEIGHT`, and `_LOST`."""
    nx = data.shape[1]
    out = np.uint16(exclude)
    bits = mask[j]
    along = m[0, 0] - m[0, 1] * m[1, 0] / m[1, 1]
    offset = m[0, 1] / m[1, 1] * (j - m[1, 2]) + m[0, 2]
    b.summed[slot] = j
    for kind in range(4):
        if kind == _SPREAD and var.size == 0:
            continue
        if kind <= _SPREAD:
            row = data[j] if kind == _KEPT else var[j]
            for t in range(nx):
                x = row[t]
                line[t] = x if bits[t] & out == 0 else _F0
        else:
            good, bad = (_F1, _F0) if kind == _WEIGHT else (_F0, _F1)
            for t in range(nx):
                line[t] = good if bits[t] & out == 0 else bad
        for start in range(0, b.data.shape[1], _SEGMENT):
            first, f, lo, hi = _segment(along, offset, start, b.data.shape[1], nx, ix)
            if hi <= lo:
                continue
            for k in range(4):
                value = _F4(((table[k, 3] * f + table[k, 2]) * f + table[k, 1]) * f + table[k, 0])
                if kind == _SPREAD:
                    value = value * value
                elif kind == _LOST:
                    value = abs(value)
                c[k] = value
            n = hi - lo
            _taps(line[lo + first : hi + first + 3], c, n, b.sums[kind, slot][lo:hi])


@part
def _mend(
    b: _Rolling, slots: Any, w: Any, v: Any, size: Any, whole_x: float, start: int, stop: int,
    exclude: int, threshold: float, factor: float, some: Any, sums: Any, state: Any, jobs: Any,
    od: Any, ov: Any, om: Any,
) -> bool:  # fmt: skip
    """Renormalise pixels with mixed taps; return whether some are left to be done one by one.

    These are pixels with several bits, or with bits that are not left out, and those next to a
    limit, where sums of float32 could come down on the other side of it.
    """
    n = stop - start
    _down(b.sums[_KEPT], slots, w, start, stop, sums[_KEPT])
    _down(b.sums[_WEIGHT], slots, w, start, stop, sums[_WEIGHT])
    _down(b.sums[_LOST], slots, size[:4], start, stop, sums[_LOST])
    kept, weight, lost = (sums[_KEPT][start:stop], sums[_WEIGHT][start:stop],
                          sums[_LOST][start:stop])  # fmt: skip
    flags, values, whole = om[start:stop], od[start:stop], size[4][start:stop]
    seen, what = some[:n], state[:n]
    out, limit, half = np.uint16(exclude), _F4(threshold), _F4(0.5 * whole_x)
    for t in range(n):
        s = seen[t]
        share = half * whole[t] - lost[t]
        far = (abs(weight[t] - _LEAST) > _NEAR) & (abs(share) > _NEAR) & (s & out == s)
        plain = (share < _F0) | (weight[t] < _LEAST)
        # Of several bits, each has its own share; all count where the good ones weigh too little.
        alone = (s & (s - _ONE) == 0) & (abs(lost[t] - limit) > _NEAR)
        made = _PLAIN if plain else _GOOD
        made = made if far & (plain | alone) else _LEFT
        what[t] = made if s != flags[t] else _DONE
    left = False
    same = _F4(factor)
    for t in range(n):
        x = values[t]
        finite = x if abs(x) < _INF else _F0
        x = finite if what[t] == _PLAIN else x
        values[t] = same * kept[t] / weight[t] if what[t] == _GOOD else x
    if ov.size:
        _down(b.sums[_SPREAD], slots, v, start, stop, sums[_SPREAD])
        spread, variances = sums[_SPREAD][start:stop], ov[start:stop]
        same = _F4(factor * factor)
        for t in range(n):
            x = variances[t]
            finite = x if abs(x) < _INF else _F0
            x = finite if what[t] == _PLAIN else x
            square = weight[t] * weight[t]
            variances[t] = same * spread[t] / square if what[t] == _GOOD else x
    for t in range(n):
        s = seen[t]
        x = s if lost[t] > limit else _NO_BITS
        x = x if what[t] == _GOOD else flags[t]
        flags[t] = s if what[t] == _PLAIN else x
    todo = jobs[start:stop]
    for t in range(n):
        todo[t] = _VALUES if what[t] == _LEFT else np.uint8(0)
        left |= what[t] == _LEFT
    return left


@part
def _flags_down(
    b: _Rolling, slots: Any, start: int, stop: int, exclude: int, some: Any, jobs: Any,
    od: Any, ov: Any, om: Any,
) -> int:  # fmt: skip
    """Flags of pixels of a row; return how many have mixed taps."""
    n = stop - start
    any_bit = _NO_BITS
    for k in range(4):
        slot = slots[k]
        any_bit |= b.flagged[slot]
        if b.flagged[slot] == 0:
            slots[k] = _CLEAN
    flags = om[start:stop]
    if any_bit == 0:
        for t in range(n):
            flags[t] = _NO_BITS
        return 0
    i, j, k, m = slots[0], slots[1], slots[2], slots[3]
    p, q, r, s = (b.some[i][start:stop], b.some[j][start:stop], b.some[k][start:stop],
                  b.some[m][start:stop])  # fmt: skip
    for t in range(n):
        some[t] = (p[t] | q[t]) | (r[t] | s[t])
    p, q, r, s = (b.every[i][start:stop], b.every[j][start:stop], b.every[k][start:stop],
                  b.every[m][start:stop])  # fmt: skip
    for t in range(n):
        flags[t] = (p[t] & q[t]) & (r[t] & s[t])
    mixed, common = np.int32(0), _NO_BITS
    for t in range(n):
        common |= flags[t]
    for t in range(n):
        mixed += np.int32(flags[t] != some[t])
    if mixed:
        todo = jobs[start:stop]
        for t in range(n):
            todo[t] = _VALUES if some[t] != flags[t] else np.uint8(0)
    if int(common) & exclude:
        bits = np.uint16(exclude)
        for t in range(n):
            if flags[t] & bits:
                x = od[start + t]
                od[start + t] = x if abs(x) < _INF else _F0
                if ov.size:
                    x = ov[start + t]
                    ov[start + t] = x if abs(x) < _INF else _F0
    return int(mixed)


@maker
def fill_steady(
    data: Any, var: Any, mask: Any, exclude: int, threshold: float, factor: float, m: Any, y0: int,
    along_x: Any, along_y: Any, out_data: Any, out_var: Any, out_mask: Any, todo: Any, filled: Any,
) -> bool:  # fmt: skip
    """Fill the inner parts of output rows from `y0` on; parameters as for `fill_runs`.

    `filled`, shape (rows, 2), gets the first column and the one after the last of those filled.

    Returns
    -------
    bool
        Whether pixels are left to `fill_pixels`.
    """
    table_x, _, ix = along_x
    table_y, noise_y, iy = along_y
    ny, nx = data.shape
    height, width = out_data.shape
    wide = width + 16
    b = _Rolling(
        np.empty((_SLOTS, wide), np.float32),
        np.empty((_SLOTS, wide), np.float32),
        np.empty((_SLOTS + 1, wide), np.uint16),
        np.empty((_SLOTS + 1, wide), np.uint16),
        np.full(_SLOTS, -1, np.int64),
        np.zeros(_SLOTS + 1, np.uint16),
        np.empty((4, _SLOTS, wide), np.float32),
        np.full(_SLOTS, -1, np.int64),
    )
    b.some[_CLEAN] = _NO_BITS
    b.every[_CLEAN] = _NO_BITS
    w, v = np.empty((4, wide), np.float32), np.empty((4, wide), np.float32)
    some, f, work = np.empty(wide, np.uint16), np.empty(wide), np.empty(wide)
    size, sums = np.empty((5, wide), np.float32), np.empty((4, wide), np.float32)
    state, line = np.empty(wide, np.uint16), np.empty(nx + 8, np.float32)
    c, d = np.empty(4, np.float32), np.empty(4, np.float32)
    turns, bases = np.empty(16, np.int64), np.empty(16, np.int64)
    slots = np.empty(4, np.int64)
    block, pieces = -1, 0
    middle = 0
    left = False
    for row in range(height):
        y = y0 + row
        start, stop = _inside(m, float(y), width, nx, ny, ix, iy)
        filled[row, 0], filled[row, 1] = start, stop
        if stop <= start:
            continue
        if y // _ROWS != block:
            block = y // _ROWS
            middle = block * _ROWS + _ROWS // 2
            pieces = _fractions(m, float(middle), width, f, turns, bases)
            evaluate(table_y, noise_y, f, width, w, v, work)
            for t in range(width):
                size[4, t] = _F0
            for k in range(4):
                for t in range(width):
                    size[k, t] = abs(w[k, t])
                    size[4, t] += size[k, t]
            if factor != 1.0:
                for k in range(4):
                    for t in range(width):
                        w[k, t] *= _F4(factor)
                        v[k, t] *= _F4(factor * factor)
        for p in range(pieces):
            lo, hi = max(start, turns[p]), min(stop, turns[p + 1])
            if hi <= lo:
                continue
            j = bases[p] + (y - middle) + iy
            for k in range(4):
                slots[k] = (j + k) % _SLOTS
                if b.row[slots[k]] != j + k:
                    _across(data, var, mask, m, table_x, ix, j + k, slots[k], c, d, b)
            _down(b.data, slots, w, lo, hi, out_data[row])
            if var.size:
                _down(b.var, slots, v, lo, hi, out_var[row])
            mixed = _flags_down(
                b, slots, lo, hi, exclude, some, todo[row], out_data[row], out_var[row],
                out_mask[row],
            )  # fmt: skip
            if mixed * _FEW <= hi - lo:
                left |= mixed > 0
                continue
            for k in range(4):
                slots[k] = (j + k) % _SLOTS
                if b.summed[slots[k]] != j + k:
                    _good_across(
                        data, var, mask, exclude, m, table_x, ix, j + k, slots[k], line, c, b
                    )
            # Weights along x are those of all four rows, within the margins of `_mend`.
            whole_x = _whole(m, table_x, j)
            left |= _mend(
                b, slots, w, v, size, whole_x, lo, hi, exclude, threshold, factor, some, sums,
                state, todo[row], out_data[row], out_var[row], out_mask[row],
            )  # fmt: skip
    return left


@part
def _fractions(m: Any, y: float, width: int, f: Any, turns: Any, bases: Any) -> int:
    """Fill the fractions along y of the columns of a row.

    Returns
    -------
    int
        Number of pieces with one tap row: piece p has the base `bases` [p] and reaches from column
        `turns` [p] to `turns` [p + 1].
    """
    pieces = 0
    base = 0
    for t in range(width):
        q = m[1, 0] * t + m[1, 1] * y + m[1, 2]
        whole = int(np.floor(q))
        if t == 0 or whole != base:
            base = whole
            turns[pieces], bases[pieces] = t, base
            pieces += 1
        f[t] = q - base
    turns[pieces] = width
    return pieces
