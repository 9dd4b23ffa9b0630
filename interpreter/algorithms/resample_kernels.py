"""Compiled loops of `resample`: one band of output rows, all planes in one walk.

Along a run of output pixels whose taps move with them the sums are vectorised; pixels with
flagged taps, near an edge, or of a turned frame are done one by one. Weights and sums are float32
(relative error of a few 1e-7), positions float64. Each value depends only on the position of its
pixel, so any split into bands gives the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled

__all__ = ["TOLERANCE_PIX", "fill_band"]

#: Positions this close to an edge count as inside.
TOLERANCE_PIX = 1e-3

_TILE = 512  # output pixels worked on at a time: the buffers stay in the cache
_SHORT = 8  # runs shorter than this are done pixel by pixel
_NO_DATA = 16
_OUTSIDE, _EDGE, _INSIDE = 0, 1, 2
_VALUES, _OBJECT = 1, 2
_F4 = np.float32


@compiled
def _evaluate(table: Any, noise: Any, f: Any, n: int, w: Any, v: Any, work: Any) -> None:
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


@compiled
def _locate(p: Any, n: int, size: int, taps: int, first: int, base: Any, f: Any, kind: Any) -> None:
    """Split positions `p` into pixel and fraction; lower `kind` for edge and outside."""
    for t in range(n):
        q = p[t]
        if not (-TOLERANCE_PIX <= q <= size - 1 + TOLERANCE_PIX):
            kind[t] = _OUTSIDE
            q = 0.0
        q = min(max(q, 0.0), size - 1.0)
        if taps == 1:
            i = int(q + 0.5)
            f[t] = 0.0
        else:
            i = min(int(q), size - 2)
            f[t] = q - i
        base[t] = i + first
        if (i + first < 0 or i + first + taps > size) and kind[t] == _INSIDE:
            kind[t] = _EDGE


@compiled
def _sum_run(
    src: Any, y: int, x: int, wx: Any, wy: Any, start: int, part: Any, total: Any, n: int
) -> None:
    """Weighted sums for a run of output pixels whose taps move along with them."""
    for t in range(n):
        total[t] = 0.0
    for j in range(wy.shape[0]):
        row = src[y + j][x : x + n + wx.shape[0] - 1]
        w = wx[0][start : start + n]
        for t in range(n):
            part[t] = w[t] * row[t]
        for k in range(1, wx.shape[0]):
            w = wx[k][start : start + n]
            r = row[k : k + n]
            for t in range(n):
                part[t] += w[t] * r[t]
        w = wy[j][start : start + n]
        for t in range(n):
            total[t] += w[t] * part[t]


@compiled
def _gather(src: Any, y: int, x: int, rows: int, cols: int, some: Any, each: Any, n: int) -> bool:
    """OR and AND of the taps of the n pixels of a run; return whether any bit is set."""
    size = n + cols - 1
    row = src[y][x : x + size]
    for t in range(size):
        some[t] = row[t]
        each[t] = row[t]
    for j in range(1, rows):
        row = src[y + j][x : x + size]
        for t in range(size):
            some[t] |= row[t]
            each[t] &= row[t]
    found = some[0]
    for t in range(size):
        found |= some[t]
    if found == 0:
        return False
    width = 1
    while width < cols:  # 1, 2, 4, 6 columns: the numbers of taps there are
        step = 1 if width == 1 else 2
        size -= step
        ahead, ahead_each = some[step:], each[step:]
        for t in range(size):
            some[t] |= ahead[t]
            each[t] &= ahead_each[t]
        width += step
    return True


@compiled
def _plain_sum(src: Any, taps: Any, kx: int, ky: int, wx: Any, wy: Any) -> float:
    """Sum over all taps, flagged or not; 0 if that is not finite."""
    total = 0.0
    for j in range(ky):
        for k in range(kx):
            weight = wx[k] * wy[j]
            if weight != 0.0:
                total += weight * src[taps[1, j], taps[0, k]]
    return total if np.isfinite(total) else 0.0


@compiled
def _edge_axis(
    base: int, f: float, size: int, tables: Any, axis: int, taps: Any, w: Any, col: Any
) -> int:  # fmt: skip
    """Indices and weights of one axis where the kernel may not fit; return the number of taps."""
    own, noise, first, cubic, linear = tables
    col[0][0, 0] = f
    count = own.shape[0]
    chosen = own
    if noise.size == 0 and (base < 0 or base + count > size):
        if count == 6 and base + 1 >= 0 and base + 5 <= size:
            base, chosen = base + 1, cubic
        else:
            base, chosen = base - first, linear
    count = int(chosen.shape[0])
    _evaluate(chosen, noise, col[0][0], 1, col[1], col[2], col[3])
    for k in range(count):
        i = abs(base + k)  # splines continue their image by mirroring
        taps[axis, k] = max(0, min(i, 2 * (size - 1) - i))
        w[axis, k] = col[1][k, 0]
        w[axis + 2, k] = col[2][k, 0]
    return count


@compiled
def _single_pixels(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float,
    todo: Any, n: int, kind: Any, base: Any, frac: Any, weights: Any, edge_x: Any, edge_y: Any,
    taps: Any, w: Any, col: Any, od: Any, ov: Any, om: Any, oo: Any,
) -> None:  # fmt: skip
    """Do the pixels of a tile that `todo` names one by one: _VALUES, _OBJECT or both.

    Taps with an `exclude` bit are left out. Rows of `taps` are indices along x and y, rows of `w`
    the weights along x and y of the values and of the variances. One long function, because a
    call that passes arrays costs as much as the sums of a pixel.
    """
    has_var, has_mask = var.size > 0, mask.size > 0
    bx, by = base
    fx, fy = frac
    wx, vx, wy, vy = weights
    ny, nx = data.shape
    for t in range(n):
        if todo[t] == 0:
            continue
        kx, ky = wx.shape[0], wy.shape[0]
        if kind[t] == _EDGE:
            kx = _edge_axis(bx[t], fx[t], nx, edge_x, 0, taps, w, col)
            ky = _edge_axis(by[t], fy[t], ny, edge_y, 1, taps, w, col)
        else:
            for k in range(kx):
                taps[0, k], w[0, k], w[2, k] = bx[t] + k, wx[k, t], vx[k, t]
            for j in range(ky):
                taps[1, j], w[1, j], w[3, j] = by[t] + j, wy[j, t], vy[j, t]
        if todo[t] & _OBJECT:
            share = 0.0
            for j in range(ky):
                for k in range(kx):
                    if obj[taps[1, j], taps[0, k]]:
                        share += abs(w[0, k] * w[1, j])
            oo[t] = 1 if share > threshold else 0
        if not todo[t] & _VALUES:
            continue
        value, spread, weight, kept_abs, whole_abs = 0.0, 0.0, 0.0, 0.0, 0.0
        seen, left_out = 0, 0
        for j in range(ky):
            y, wj = taps[1, j], w[1, j]
            for k in range(kx):
                wk = w[0, k] * wj
                if wk == 0.0:
                    continue
                x = taps[0, k]
                whole_abs += abs(wk)
                if has_mask:
                    bits = int(mask[y, x])
                    seen |= bits
                    if bits & exclude:
                        left_out |= bits & exclude
                        continue
                value += wk * data[y, x]
                weight += wk
                kept_abs += abs(wk)
                if has_var:
                    spread += w[2, k] * w[3, j] * var[y, x]
        flags, bit = 0, 1
        while bit <= seen:
            if seen & bit:
                share = 0.0
                for j in range(ky):
                    for k in range(kx):
                        if int(mask[taps[1, j], taps[0, k]]) & bit:
                            share += abs(w[0, k] * w[1, j])
                if share > threshold:
                    flags |= bit
            bit <<= 1
        if left_out:
            # The weight guards against deep negative lobes, where the kept taps nearly cancel.
            if kept_abs >= 0.5 * whole_abs and weight > 0.2:
                value, spread = value / weight, spread / (weight * weight)
            else:
                flags |= left_out
                value = _plain_sum(data, taps, kx, ky, w[0], w[1])
                spread = _plain_sum(var, taps, kx, ky, w[2], w[3]) if has_var else 0.0
        od[t], om[t] = value, flags
        if has_var:
            ov[t] = spread


@compiled
def _fill_run(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float,
    x: int, y: int, wx: Any, wy: Any, vx: Any, vy: Any, start: int, n: int,
    part: Any, total: Any, some: Any, each: Any, todo: Any,
    odata: Any, ovar: Any, omask: Any, oobj: Any,
) -> None:  # fmt: skip
    """All planes of a run; pixels with mixed flags are left in `todo`."""
    cols, rows = wx.shape[0], wy.shape[0]
    _sum_run(data, y, x, wx, wy, start, part, total, n)
    for t in range(n):
        odata[start + t] = total[t]
    if var.size:
        _sum_run(var, y, x, vx, vy, start, part, total, n)
        for t in range(n):
            ovar[start + t] = total[t]
    if mask.size and _gather(mask, y, x, rows, cols, some, each, n):
        for t in range(n):
            seen = some[t]
            if seen == 0:
                continue
            at = start + t
            if seen == each[t]:
                omask[at] = seen
                if seen & exclude and not np.isfinite(odata[at]):
                    odata[at] = 0.0
                if var.size and seen & exclude and not np.isfinite(ovar[at]):
                    ovar[at] = 0.0
                continue
            todo[at] |= _VALUES
    if obj.size and _gather(obj, y, x, rows, cols, some, each, n):
        for t in range(n):
            if each[t]:
                oobj[start + t] = 1
            elif some[t]:
                todo[start + t] |= _OBJECT


@compiled
def fill_band(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float, factor: float,
    m: Any, y0: int, along_x: Any, along_y: Any, small: Any,
    out_data: Any, out_var: Any, out_mask: Any, out_obj: Any,
) -> None:  # fmt: skip
    """Fill the output rows from `y0` on.

    Parameters
    ----------
    data, var, mask, obj : ndarray, shape (ny, nx)
        Input planes; of size 0 where there is none.
    exclude : int
        Bits of pixels that are left out.
    threshold, factor : float
        Share of weight that sets a flag; factor of the values.
    m : ndarray, shape (2, 3)
        Output pixel (x, y, 1) -> input position.
    along_x, along_y : (ndarray, ndarray, int)
        Table, noise polynomial and first tap of the kernels.
    small : (ndarray, ndarray)
        Tables of poly3 and linear, which replace kernels that do not fit.
    out_data, out_var, out_mask, out_obj : ndarray, shape (rows, nx_out)
        Filled; without input plane, of shape (rows, 0).
    """
    tx, noise_x, first_x = along_x
    ty, noise_y, first_y = along_y
    edge_x = (tx, noise_x, first_x, small[0], small[1])
    edge_y = (ty, noise_y, first_y, small[0], small[1])
    cols, rows = tx.shape[0], ty.shape[0]
    ny, nx = data.shape
    height, width = out_data.shape
    bx, by, kind = np.empty(_TILE, np.int64), np.empty(_TILE, np.int64), np.empty(_TILE, np.int64)
    todo = np.empty(_TILE, np.int64)
    px, py, fx, fy = np.empty(_TILE), np.empty(_TILE), np.empty(_TILE), np.empty(_TILE)
    wx, vx = np.empty((cols, _TILE), np.float32), np.empty((cols, _TILE), np.float32)
    wy, vy = np.empty((rows, _TILE), np.float32), np.empty((rows, _TILE), np.float32)
    part, total, work = np.empty(_TILE, np.float32), np.empty(_TILE, np.float32), np.empty(_TILE)
    some, each = np.empty(_TILE + 6, np.uint16), np.empty(_TILE + 6, np.uint16)
    # Unsigned indices spare the test for negative ones at every access.
    taps, w = np.empty((2, 6), np.uintp), np.empty((4, 6))
    col = (np.empty((1, 1)), np.empty((6, 1), np.float32), np.empty((6, 1), np.float32), work)
    # Strips, not whole rows: a frame turned by 90 deg then reads input that is still cached.
    for x0 in range(0, width, _TILE):
        n = min(_TILE, width - x0)
        for row in range(height):
            y = float(y0 + row)
            for t in range(n):
                x = float(x0 + t)
                px[t] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                py[t] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                kind[t] = _INSIDE
                todo[t] = 0
            _locate(px, n, nx, cols, first_x, bx, fx, kind)
            _locate(py, n, ny, rows, first_y, by, fy, kind)
            _evaluate(tx, noise_x, fx, n, wx, vx, work)
            _evaluate(ty, noise_y, fy, n, wy, vy, work)
            od, om = out_data[row][x0 : x0 + n], out_mask[row][x0 : x0 + n]
            ov, oo = out_var[row][x0 : x0 + n], out_obj[row][x0 : x0 + n]
            for t in range(n):
                om[t] = 0 if kind[t] != _OUTSIDE else _NO_DATA
                od[t] = 0.0
            ov[:] = 0.0
            oo[:] = 0
            start = 0
            while start < n:
                stop = start + 1
                while (
                    stop < n
                    and kind[stop] == _INSIDE
                    and kind[start] == _INSIDE
                    and bx[stop] - bx[start] == stop - start
                    and by[stop] == by[start]
                ):
                    stop += 1
                if kind[start] == _INSIDE and stop - start >= _SHORT:
                    _fill_run(
                        data, var, mask, obj, exclude, threshold, bx[start], by[start],
                        wx, wy, vx, vy, start, stop - start, part, total, some, each, todo,
                        od, ov, om, oo,
                    )  # fmt: skip
                    start = stop
                    continue
                for t in range(start, stop):
                    if kind[t] != _OUTSIDE:
                        todo[t] = _VALUES | _OBJECT if obj.size else _VALUES
                start = stop
            _single_pixels(
                data, var, mask, obj, exclude, threshold, todo, n, kind, (bx, by), (fx, fy),
                (wx, vx, wy, vy), edge_x, edge_y, taps, w, col, od, ov, om, oo,
            )  # fmt: skip
            if factor != 1.0:
                for t in range(n):
                    od[t] *= factor
                for t in range(ov.size):
                    ov[t] *= factor * factor
