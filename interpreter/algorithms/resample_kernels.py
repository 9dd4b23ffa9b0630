"""Compiled loops of `resample`: one band of output rows, all planes in one walk.

What `resample_steady` does not do is done here. Output rows are cut into runs whose taps move along
with them. Along a run the fractional position
drifts slowly, so that weights are short series about its middle and the sums are vectorised; pixels
with flagged taps, near an edge, or of a strongly turned frame are done one by one. Weights and sums
are float32 (relative error of a few 1e-7), positions float64. Runs depend only on where a row lies
on the output grid, so any split into bands gives the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.algorithms.resample_runs import (
    EDGE,
    INSIDE,
    OBJECT,
    OUTSIDE,
    TOLERANCE_PIX,
    VALUES,
    clear,
    ends,
    evaluate,
    fill_run,
    flag_run,
    new_buffers,
    object_run,
    place,
    run_end,
)
from f2yaml.interpreter.algorithms.resample_steady import fill_steady

__all__ = ["TOLERANCE_PIX", "fill_pixels", "fill_runs"]

_TILE = 256  # output pixels worked on at a time: the buffers stay in the cache
_SHORT = 8  # runs shorter than this are done pixel by pixel
_STEEP = 0.1  # change of the fraction per output pixel above which runs are that short
_F4 = np.float32
_EXACT = 1.4e-8  # a factor this close to one (also its square) changes no float32


@part
def _plain_sum(src: Any, taps: Any, kx: int, ky: int, wx: Any, wy: Any) -> float:
    """Sum over all taps, flagged or not; 0 if that is not finite."""
    total = 0.0
    for j in range(ky):
        for k in range(kx):
            weight = wx[k] * wy[j]
            if weight != 0.0:
                total += weight * src[taps[1, j], taps[0, k]]
    return total if np.isfinite(total) else 0.0


@part
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
    if noise.size:
        evaluate(chosen, noise, col[0][0], 1, col[1], col[2], col[3])
    else:
        for k in range(count):
            total = chosen[k, chosen.shape[1] - 1]
            for power in range(chosen.shape[1] - 2, -1, -1):
                total = total * f + chosen[k, power]
            value = _F4(total)
            col[1][k, 0], col[2][k, 0] = value, value * value
    for k in range(count):
        i = abs(base + k)  # splines continue their image by mirroring
        taps[axis, k] = max(0, min(i, 2 * (size - 1) - i))
        w[axis, k] = col[1][k, 0]
        w[axis + 2, k] = col[2][k, 0]
    return count


@part
def _single_pixels(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float, factor: float,
    lines: Any, at: Any, todo: Any, n: int, kind: Any, base: Any, frac: Any, weights: Any,
    edge_x: Any, edge_y: Any, taps: Any, w: Any, col: Any, od: Any, ov: Any, om: Any, oo: Any,
) -> None:  # fmt: skip
    """Do `n` pixels, column `at` of row `lines`, one by one: VALUES, OBJECT, as `todo` says.

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
        kx, ky = wx.shape[0], wy.shape[0]
        if kind[t] == EDGE and (bx[t] < 0 or bx[t] + kx > nx):
            kx = _edge_axis(bx[t], fx[t], nx, edge_x, 0, taps, w, col)
        else:
            for k in range(kx):
                taps[0, k], w[0, k], w[2, k] = bx[t] + k, wx[k, t], vx[k, t]
        if kind[t] == EDGE and (by[t] < 0 or by[t] + ky > ny):
            ky = _edge_axis(by[t], fy[t], ny, edge_y, 1, taps, w, col)
        else:
            for j in range(ky):
                taps[1, j], w[1, j], w[3, j] = by[t] + j, wy[j, t], vy[j, t]
        if todo[t] & OBJECT:
            share = 0.0
            for j in range(ky):
                for k in range(kx):
                    if obj[taps[1, j], taps[0, k]]:
                        share += abs(w[0, k] * w[1, j])
            oo[lines[t], at[t]] = 1 if share > threshold else 0
        if not todo[t] & VALUES:
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
        od[lines[t], at[t]], om[lines[t], at[t]] = factor * value, flags
        if has_var:
            ov[lines[t], at[t]] = factor * factor * spread


@compiled
def fill_pixels(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float, factor: float,
    m: Any, y0: int, along_x: Any, along_y: Any, small: Any,
    out_data: Any, out_var: Any, out_mask: Any, out_obj: Any, todo: Any, words: Any,
) -> None:  # fmt: skip
    """Do the pixels that `fill_runs` has named in `todo`; parameters as there.

    Weights are those of each pixel's own position in double precision: which side of a threshold
    a share of them falls on does not depend on the run that the pixel is in. `small` are the
    tables of poly3 and linear, which replace kernels that do not fit; `words` is `todo` as 64-bit
    words, most of which are zero.
    """
    tx, noise_x, ix = along_x
    ty, noise_y, iy = along_y
    edge_x = (tx, noise_x, ix, small[0], small[1])
    edge_y = (ty, noise_y, iy, small[0], small[1])
    ny, nx = data.shape
    b = new_buffers(tx.shape[0], ty.shape[0], _TILE)
    # Unsigned indices spare the test for negative ones at every access.
    taps, w = np.empty((2, 6), np.uintp), np.empty((4, 6))
    col = (np.empty((1, 1)), np.empty((6, 1), np.float32), np.empty((6, 1), np.float32), b.work)
    # A list of pixels of many rows: a call costs as much as some pixels.
    line, at, job, kind = (np.empty(_TILE, np.int64), np.empty(_TILE, np.int64),
                           np.empty(_TILE, np.int64), np.empty(_TILE, np.int64))  # fmt: skip
    bx, by = np.empty(_TILE, np.int64), np.empty(_TILE, np.int64)
    fx, fy = np.empty(_TILE), np.empty(_TILE)
    height, width = todo.shape
    row, t, n = 0, 0, 0
    while row < height or n > 0:
        while row < height and n < _TILE:
            if t == width:
                row, t = row + 1, 0
            elif t % 8 == 0 and words[row, t // 8] == 0:
                t += 8
            else:
                if todo[row, t]:
                    x, y = float(t), float(y0 + row)
                    line[n], at[n], job[n] = row, t, todo[row, t]
                    px = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                    py = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                    bx[n], fx[n], kind_x = place(px, nx, tx.shape[0], ix)
                    by[n], fy[n], kind_y = place(py, ny, ty.shape[0], iy)
                    kind[n] = min(kind_x, kind_y)
                    n += 1
                t += 1
        if n == 0:
            break
        evaluate(tx, noise_x, fx, n, b.wx, b.vx, b.work)
        evaluate(ty, noise_y, fy, n, b.wy, b.vy, b.work)
        _single_pixels(
            data, var, mask, obj, exclude, threshold, factor, line, at, job, n, kind,
            (bx, by), (fx, fy), (b.wx, b.vx, b.wy, b.vy), edge_x, edge_y, taps, w, col,
            out_data, out_var, out_mask, out_obj,
        )  # fmt: skip
        n = 0


@compiled
def fill_runs(
    data: Any, var: Any, mask: Any, obj: Any, exclude: int, threshold: float, factor: float,
    m: Any, y0: int, along_x: Any, along_y: Any,
    out_data: Any, out_var: Any, out_mask: Any, out_obj: Any, todo: Any, steady: bool,
) -> bool:  # fmt: skip
    """Fill the output rows from `y0` on, but for pixels that have to be done one by one.

    Parameters
    ----------
    data, var, mask, obj : ndarray, shape (ny, nx)
        Input planes; of size 0 where there is none.
    exclude : int
        Bits of pixels that are left out.
    threshold : float
        Share of the absolute weight above which a bit is set.
    factor : float
        Factor of the values.
    m : ndarray, shape (2, 3)
        Output pixel (x, y, 1) -> input position.
    along_x, along_y : (ndarray, ndarray, int)
        Table, noise polynomial and first tap of the kernels.
    out_data, out_var, out_mask, out_obj : ndarray, shape (rows, nx_out)
        Filled; without input plane, of shape (rows, 0).
    todo : ndarray of uint8, shape (rows, nx_out or more)
        Zero on entry; set where pixels are left to `fill_pixels`.
    steady : bool
        Whether `is_steady` says that most of it can be done by `fill_steady`.

    Returns
    -------
    bool
        Whether any pixel is left.
    """
    tx, noise_x, ix = along_x
    ty, noise_y, iy = along_y
    cols, rows = tx.shape[0], ty.shape[0]
    ny, nx = data.shape
    height, width = out_data.shape
    b = new_buffers(cols, rows, _TILE)
    wx, vx, wy, vy, part, away, constant, far, work, series = b
    some, each = np.empty(_TILE + 6, np.uint16), np.empty(_TILE + 6, np.uint16)
    slope_x, slope_y = m[0, 0] - 1.0, m[1, 0]
    gentle = abs(slope_x) <= _STEEP and abs(slope_y) <= _STEEP
    if cols == 1:
        slope_x = 0.0  # the nearest pixel, wherever in it the position lies
    if rows == 1:
        slope_y = 0.0
    every = VALUES | OBJECT if obj.size else VALUES
    left = False
    done = np.zeros((height, 2), np.int64)
    if steady:
        left = fill_steady(
            data, var, mask, exclude, threshold, factor, m, y0, along_x, along_y,
            out_data, out_var, out_mask, todo, done,
        )  # fmt: skip
    # Strips, not whole rows, where a row runs across many of the input: what a frame turned by
    # 90 deg reads is then still cached.
    tiles = -(-width // _TILE)
    for number in range(tiles * height):
        row, tile = number // tiles, number % tiles
        if not gentle:
            row, tile = number % height, number // height
        x0 = tile * _TILE
        n = min(_TILE, width - x0)
        done_from, done_to = done[row, 0] - x0, done[row, 1] - x0
        if done_from <= 0 and done_to >= n and obj.size == 0:
            continue
        y = float(y0 + row)
        od, om = out_data[row][x0 : x0 + n], out_mask[row][x0 : x0 + n]
        ov, oo = out_var[row][x0 : x0 + n], out_obj[row][x0 : x0 + n]
        jobs = todo[row][x0 : x0 + n]
        first, stop = ends(m, y, x0, n, nx, ny)
        clear(0, first, od, ov, om, oo)
        clear(stop, n, od, ov, om, oo)
        t = first
        while t < stop:
            x = float(x0 + t)
            bx, fx, kind = place(m[0, 0] * x + m[0, 1] * y + m[0, 2], nx, cols, ix)
            by, fy, kind_y = place(m[1, 0] * x + m[1, 1] * y + m[1, 2], ny, rows, iy)
            kind = min(kind, kind_y)
            end = t + 1
            if kind == OUTSIDE:
                clear(t, end, od, ov, om, oo)
                t = end
                continue
            before = done_from <= t < done_to
            if kind == INSIDE and gentle:
                limit = stop
                if before:
                    limit = min(stop, done_to)
                elif t < done_from:
                    limit = min(stop, done_from)
                end = run_end(m, y, x0, t, limit, nx, ny, cols, rows, ix, iy)
            if end - t < _SHORT and not before:
                left = True
                for k in range(t, end):
                    jobs[k] = every
            elif not before:
                fill_run(
                    data, var, by, bx, tx, noise_x, ty, noise_y, fx, fy, slope_x, slope_y,
                    wx, vx, wy, vy, part, away, constant, far, work, series,
                    od, ov, t, end - t,
                )  # fmt: skip
                left |= flag_run(
                    mask, exclude, bx, by, cols, rows, some, each, jobs, od, ov, om, t, end - t
                )
                if abs(factor - 1.0) > _EXACT:
                    for k in range(t, end):
                        od[k] *= factor
                    for k in range(t, min(end, ov.size)):
                        ov[k] *= factor * factor
            if obj.size and (before or end - t >= _SHORT):
                left |= object_run(obj, bx, by, cols, rows, some, each, jobs, oo, t, end - t)
            t = end
    return left
