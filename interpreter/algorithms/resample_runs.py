"""Compiled loops of `resample` along a run of output pixels whose taps move along with them.

The fractional position drifts slowly along a run: weights are short series about its middle, and
the sums are vectorised.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms.jit import maker, part

__all__ = [
    "EDGE",
    "INSIDE",
    "OBJECT",
    "OUTSIDE",
    "TOLERANCE_PIX",
    "VALUES",
    "Buffers",
    "clear",
    "ends",
    "evaluate",
    "fill_run",
    "flag_run",
    "new_buffers",
    "object_run",
    "place",
    "run_end",
]

#: Positions this close to an edge count as inside.
TOLERANCE_PIX = 1e-3

#: Kinds of positions; jobs of pixels that are done one by one.
OUTSIDE, EDGE, INSIDE = 0, 1, 2
VALUES, OBJECT = 1, 2
#: A fraction that drifts by less from the middle of a run is constant: 1e-6 of the contrast of
#: neighbouring pixels.
_STEADY = 2e-6
#: Largest distance from the middle at which four terms serve kernels that are no cubics, to 1e-7.
_FAR = 1e-2
_NO_DATA = 16
_F4 = np.float32
_F0 = np.float32(0)
_INF = np.float32(np.inf)


class Buffers(NamedTuple):
    """Arrays for one run: weights along x and y of values and variances, and what they take."""

    wx: Any
    vx: Any
    wy: Any
    vy: Any
    part: Any
    away: Any
    steady: Any
    far: Any
    work: Any
    series: Any


@maker
def new_buffers(cols: int, rows: int, width: int) -> Any:
    """Return buffers for runs of up to `width` pixels."""
    wide = width + 16  # rows a power of two apart would compete for the same lines of the cache
    return Buffers(
        np.empty((cols, wide), np.float32),
        np.empty((cols, wide), np.float32),
        np.empty((rows, wide), np.float32),
        np.empty((rows, wide), np.float32),
        np.empty(wide, np.float32),
        np.empty(wide, np.float32),
        np.empty((2, 4), np.float32),
        np.empty(width),
        np.empty(width),
        np.empty((6, 4)),
    )


@part
def place(q: float, size: int, taps: int, first: int) -> tuple[int, float, int]:
    """Return the first tap, the fraction and the kind of a position along one axis."""
    kind = INSIDE
    if not (-TOLERANCE_PIX <= q <= size - 1 + TOLERANCE_PIX):
        return 0, 0.0, OUTSIDE
    q = min(max(q, 0.0), size - 1.0)
    if taps == 1:
        i, f = int(q + 0.5), 0.0
    else:
        i = min(int(q), size - 2)
        f = q - i
    i += first
    if i < 0 or i + taps > size:
        kind = EDGE
    return i, f, kind


@part
def ends(m: Any, y: float, x0: int, n: int, nx: int, ny: int) -> tuple[int, int]:
    """Return the pixels of a tile between which all those inside the input lie."""
    last = float(x0 + n - 1)
    beyond = False
    for axis in range(2):
        size = nx if axis == 0 else ny
        a = m[axis, 0] * x0 + m[axis, 1] * y + m[axis, 2]
        b = m[axis, 0] * last + m[axis, 1] * y + m[axis, 2]
        beyond |= max(a, b) < -TOLERANCE_PIX or min(a, b) > size - 1 + TOLERANCE_PIX
    if beyond:
        return n, n
    start, stop = 0, n
    if m[0, 0] > 0.5:
        p = m[0, 0] * x0 + m[0, 1] * y + m[0, 2]
        start = max(0, min(n, int((-TOLERANCE_PIX - p) / m[0, 0]) - 1))
        stop = min(n, max(start, int((nx - 1 + TOLERANCE_PIX - p) / m[0, 0]) + 3))
    return start, stop


@part
def run_end(
    m: Any, y: float, x0: int, t: int, stop: int, nx: int, ny: int, tx: int, ty: int, ix: int,
    iy: int,
) -> int:  # fmt: skip
    """Return the end of the run from pixel `t` on, all of it inside; `stop` at the most.

    Positions change steadily along a row, so that both ends tell what lies between.
    """
    x = float(x0 + t)
    bx, _, _ = place(m[0, 0] * x + m[0, 1] * y + m[0, 2], nx, tx, ix)
    by, _, _ = place(m[1, 0] * x + m[1, 1] * y + m[1, 2], ny, ty, iy)
    low, high, trial = t, stop, stop - 1
    while high - low > 1:  # `low` belongs to the run, `high` does not, unless it is the first try
        x = float(x0 + trial)
        cx, _, kx = place(m[0, 0] * x + m[0, 1] * y + m[0, 2], nx, tx, ix)
        cy, _, ky = place(m[1, 0] * x + m[1, 1] * y + m[1, 2], ny, ty, iy)
        if min(kx, ky) == INSIDE and cx - bx == trial - t and cy == by:
            low = trial
        else:
            high = trial
        trial = (low + high) // 2
    return low + 1


@part
def clear(start: int, stop: int, od: Any, ov: Any, om: Any, oo: Any) -> None:
    """Mark the pixels from `start` to `stop` as outside the input."""
    for t in range(start, stop):
        od[t] = _F0
        om[t] = _NO_DATA
    for t in range(start, min(stop, ov.size)):
        ov[t] = _F0
    for t in range(start, min(stop, oo.size)):
        oo[t] = 0


@part
def evaluate(table: Any, noise: Any, f: Any, n: int, w: Any, v: Any, work: Any) -> None:
    """Fill weights `w` and variance weights `v`, both (taps, n), at the n fractions `f`."""
    taps, order = table.shape
    for k in range(taps):
        wk, vk = w[k], v[k]
        if order == 4:  # cubics in one go: a pass for each power costs twice as much
            c0, c1, c2, c3 = table[k, 0], table[k, 1], table[k, 2], table[k, 3]
            for t in range(n):
                value = _F4(((c3 * f[t] + c2) * f[t] + c1) * f[t] + c0)
                wk[t] = value
                vk[t] = value * value
            continue
        top = table[k, order - 1]
        for t in range(n):
            work[t] = top
        for m in range(order - 2, -1, -1):
            c = table[k, m]
            for t in range(n):
                work[t] = work[t] * f[t] + c
        for t in range(n):
            value = _F4(work[t])
            wk[t] = value
            vk[t] = value * value
    if noise.size:
        for t in range(n):
            gain = 0.0
            for m in range(noise.size - 1, -1, -1):
                gain = gain * f[t] + noise[m]
            for k in range(taps):
                v[k, t] = gain * w[k, t]


@part
def _series(table: Any, f: float, c: Any) -> None:
    """Fill `c` (taps, 4) with the first terms of each row of `table` about `f`."""
    taps, order = table.shape
    for k in range(taps):
        c0, c1, c2, c3 = 0.0, 0.0, 0.0, 0.0
        for m in range(order - 1, -1, -1):
            c3 = c3 * f + c2
            c2 = c2 * f + c1
            c1 = c1 * f + c0
            c0 = c0 * f + table[k, m]
        c[k, 0], c[k, 1], c[k, 2], c[k, 3] = c0, c1, c2, c3


@part
def _weights(
    table: Any, noise: Any, f: float, slope: float, n: int, w: Any, v: Any, far: Any, work: Any,
    c: Any, away: Any,
) -> None:  # fmt: skip
    """Fill weights and variance weights, (taps, n), at the fractions f + slope t."""
    taps, order = table.shape
    half = slope * 0.5 * (n - 1)
    if noise.size or (order > 4 and abs(half) > _FAR):
        for t in range(n):
            far[t] = f + slope * t
        evaluate(table, noise, far, n, w, v, work)
        return
    _series(table, f + half, c)
    rise, low = _F4(slope), _F4(-half)
    d = away[:n]
    for t in range(n):
        d[t] = _F4(t) * rise + low
    for k in range(taps):
        wk, vk = w[k][:n], v[k][:n]
        c0, c1, c2, c3 = _F4(c[k, 0]), _F4(c[k, 1]), _F4(c[k, 2]), _F4(c[k, 3])
        for t in range(n):
            value = c0 + (c1 + (c2 + c3 * d[t]) * d[t]) * d[t]
            wk[t] = value
            vk[t] = value * value


@part
def _sums(
    src: Any, y: int, x: int, wx: Any, wy: Any, part: Any, row: Any, start: int, n: int
) -> None:  # fmt: skip
    """Weighted sums for a run of output pixels whose taps move along with them."""
    total = row[start : start + n]
    for t in range(n):
        total[t] = _F0
    for j in range(wy.shape[0]):
        line = src[y + j][x : x + n + wx.shape[0] - 1]
        w = wx[0]
        for t in range(n):
            part[t] = w[t] * line[t]
        for k in range(1, wx.shape[0]):
            w = wx[k]
            r = line[k:]
            for t in range(n):
                part[t] += w[t] * r[t]
        w = wy[j]
        for t in range(n):
            total[t] += w[t] * part[t]


@part
def _cubic_sums(
    src: Any, y: int, x: int, wx: Any, at: int, wy: Any, row: Any, start: int, n: int
) -> None:  # fmt: skip
    """As `_sums`, for 4 x 4 taps and constant weights along x, row `at` of `wx`."""
    total = row[start : start + n]
    w0, w1, w2, w3 = wx[at, 0], wx[at, 1], wx[at, 2], wx[at, 3]
    for j in range(4):
        line = src[y + j][x : x + n + 3]
        a, b, c, d = line[:n], line[1 : n + 1], line[2 : n + 2], line[3 : n + 3]
        w = wy[j][:n]
        if j == 0:
            for t in range(n):
                total[t] = w[t] * (((w0 * a[t] + w1 * b[t]) + w2 * c[t]) + w3 * d[t])
        else:
            for t in range(n):
                total[t] += w[t] * (((w0 * a[t] + w1 * b[t]) + w2 * c[t]) + w3 * d[t])


@part
def fill_run(
    data: Any, var: Any, y: int, x: int, tx: Any, noise_x: Any, ty: Any, noise_y: Any,
    fx: float, fy: float, slope_x: float, slope_y: float, wx: Any, vx: Any, wy: Any, vy: Any,
    part: Any, away: Any, constant: Any, far: Any, work: Any, series: Any,
    od: Any, ov: Any, start: int, n: int,
) -> None:  # fmt: skip
    """Fill values and variances of a run of `n`, the first taps of which start at (x, y).

    Arrays are handed down whole, with offsets: a slice that is passed on costs as much as the sums
    of some pixels.
    """
    drift = slope_x * 0.5 * (n - 1)
    _weights(ty, noise_y, fy, slope_y, n, wy, vy, far, work, series, away)
    if tx.shape[0] == 4 and ty.shape[0] == 4 and noise_x.size == 0 and abs(drift) <= _STEADY:
        _series(tx, fx + drift, series)
        for k in range(4):
            value = _F4(series[k, 0])
            constant[0, k], constant[1, k] = value, value * value
        _cubic_sums(data, y, x, constant, 0, wy, od, start, n)
        if var.size:
            _cubic_sums(var, y, x, constant, 1, vy, ov, start, n)
        return
    _weights(tx, noise_x, fx, slope_x, n, wx, vx, far, work, series, away)
    _sums(data, y, x, wx, wy, part, od, start, n)
    if var.size:
        _sums(var, y, x, vx, vy, part, ov, start, n)


@part
def _flagged(src: Any, y: int, x: int, rows: int, size: int) -> int:
    """Return the OR of a block of taps."""
    found = np.uint16(0)
    if rows == 4:
        a, b = src[y][x : x + size], src[y + 1][x : x + size]
        c, d = src[y + 2][x : x + size], src[y + 3][x : x + size]
        for t in range(size):
            found |= (a[t] | b[t]) | (c[t] | d[t])
    else:
        for j in range(rows):
            a = src[y + j][x : x + size]
            for t in range(size):
                found |= a[t]
    return int(np.int64(found))


@part
def _gather(src: Any, y: int, x: int, rows: int, cols: int, some: Any, each: Any, n: int) -> int:
    """OR and AND of the taps of the n pixels of a run.

    Returns
    -------
    int
        0 where no tap has a bit; the bits, where all taps have the same; else -1.
    """
    size = n + cols - 1
    found = _flagged(src, y, x, rows, size)
    if found == 0:
        return 0
    row = src[y][x : x + size]
    for t in range(size):
        some[t] = row[t]
        each[t] = row[t]
    for j in range(1, rows):
        row = src[y + j][x : x + size]
        for t in range(size):
            some[t] |= row[t]
            each[t] &= row[t]
    common = each[0]
    for t in range(size):
        common &= each[t]
    if np.int64(common) == found:
        return found
    width = 1
    while width < cols:  # 1, 2, 4, 6 columns: the numbers of taps there are
        step = 1 if width == 1 else 2
        size -= step
        ahead, ahead_each = some[step:], each[step:]
        for t in range(size):
            some[t] |= ahead[t]
            each[t] &= ahead_each[t]
        width += step
    return -1


@part
def flag_run(
    mask: Any, exclude: int, x: int, y: int, cols: int, rows: int, some: Any, each: Any,
    jobs: Any, od: Any, ov: Any, om: Any, start: int, n: int,
) -> bool:  # fmt: skip
    """Flags of a run; pixels with mixed ones are named in `jobs`. Return whether there are any."""
    left = False
    kind = _gather(mask, y, x, rows, cols, some, each, n) if mask.size else 0
    same = np.uint16(max(kind, 0))
    for t in range(start, start + n):
        om[t] = same
    if kind > 0 and kind & exclude:
        for t in range(start, start + n):
            od[t] = od[t] if abs(od[t]) < _INF else _F0
        for t in range(start, min(start + n, ov.size)):
            ov[t] = ov[t] if abs(ov[t]) < _INF else _F0
    if kind < 0:
        for t in range(n):
            seen, at = some[t], start + t
            if seen == 0:
                continue
            if seen == each[t]:
                om[at] = seen
                if seen & exclude:
                    od[at] = od[at] if abs(od[at]) < _INF else _F0
                    if ov.size:
                        ov[at] = ov[at] if abs(ov[at]) < _INF else _F0
                continue
            jobs[at] |= VALUES
            left = True
    return left


@part
def object_run(
    obj: Any, x: int, y: int, cols: int, rows: int, some: Any, each: Any, jobs: Any, oo: Any,
    start: int, n: int,
) -> bool:  # fmt: skip
    """Object masks of a run; mixed pixels are named in `jobs`. Return whether there are any."""
    left = False
    kind = _gather(obj, y, x, rows, cols, some, each, n)
    for t in range(n):
        oo[start + t] = kind > 0 or (kind < 0 and each[t] != 0)
    if kind < 0:
        for t in range(n):
            if some[t] != 0 and each[t] == 0:
                jobs[start + t] |= OBJECT
                left = True
    return left
