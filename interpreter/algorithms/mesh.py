"""Background and noise of an image on a coarse mesh, and their course between its nodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import maker, part
from numpy.typing import NDArray

__all__ = ["Mesh", "Nodes", "levels_at", "make_mesh", "prepare_row", "spline_row"]

#: Curve of one quantity: values on the nodes, and their second derivatives along y.
Nodes = tuple[NDArray[np.float64], NDArray[np.float64]]

_NAN, _FINITE = np.float32(np.nan), np.finfo(np.float32).max
_ZERO, _ONE = np.float32(0), np.float32(1)
#: Deviations count as no more than this, so that their squares stay in range.
_LARGE = np.float32(1e15)
_FEW = 9  # pixels whose median stands for the level of a mesh
_LANES = 64  # independent sums, so that additions need not wait for one another
_BINS = 1024  # of the histogram of a mesh
_RANGE_SIGMA = 5.0  # its half width
_FIRST_CLIP_SIGMA, _CLIP_SIGMA = 2.0, 3.0
_ROUNDS, _CONVERGED = 100, 1e-4
_CROWDED_SIGMA = 0.3  # mean and median further apart than this: the mode cannot be told
_GROUP = 32  # ranks counted together
_MIN_SHARE = 0.5  # of good pixels in a mesh that counts


class Mesh(NamedTuple):
    """Background of an image.

    Parameters
    ----------
    size : int, pixel
        Side of a mesh; node (j, i) lies in the middle of pixels ``[j size, (j + 1) size)`` along y
        and ``[i size, (i + 1) size)`` along x.
    level, noise : Nodes, arrays of float64, shape (my, mx)
    middle, rms : float
        Medians of level and noise over all nodes.
    good : int
        Usable pixels of the image.
    """

    size: int
    level: Nodes
    noise: Nodes
    middle: float
    rms: float
    good: int


def make_mesh(
    data: NDArray[np.float32],
    mask: NDArray[np.uint16] | None,
    flags: int,
    size: int,
    filter_size: int,
) -> Mesh:
    """Measure the background of an image.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), C-contiguous
        Pixels that are not finite are left out.
    mask : ndarray of uint16, shape (ny, nx), C-contiguous, optional
        Quality bits; pixels with any of `flags` are left out.
    flags : int
    size : int, pixel
        Side of a mesh.
    filter_size : int, meshes
        Side of the median filter; an even number counts as the next odd one, as in sep.

    Returns
    -------
    Mesh

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 3, and the manual of Source Extractor: in each
    mesh a histogram is clipped at 3 sigma about its median until it converges; the background is
    2.5 median - 1.5 mean, or the median where these differ by over 0.3 sigma; meshes with less
    than half of their pixels take the value of the nearest others; a median filter; natural
    bicubic splines in between.
    """
    ny, nx = data.shape
    shape = (-(-ny // size), -(-nx // size))
    level, noise = np.empty(shape), np.empty(shape)
    bits = np.empty((0, 0), np.uint16) if mask is None else mask
    good = _statistics(data, bits, np.uint16(flags), size, level, noise)
    _fill_empty(level, noise)
    curves = []
    for plane in (level, noise):
        smooth = np.empty(shape)
        _median_filter(plane, filter_size // 2, smooth)
        bend = np.empty(shape)
        _bend_columns(smooth, bend)
        curves.append((smooth, bend))
    middle, rms = (float(np.median(curve[0])) for curve in curves)
    return Mesh(size, curves[0], curves[1], middle, rms, int(good))


@part
def _gather(data: Any, mask: Any, flags: Any, size: int, y0: int, y1: int, out: Any) -> None:
    """Copy the meshes of rows `y0` to `y1`, one after the other, flagged pixels as NaN.

    Row by row of the image: rows of one mesh lie far apart in memory.
    """
    nx = data.shape[1]
    for y in range(y0, y1):
        row = data[y]
        for i in range(out.shape[0]):
            x0, x1 = i * size, min(nx, (i + 1) * size)
            width = x1 - x0
            part, target = row[x0:x1], out[i][(y - y0) * width : (y - y0 + 1) * width]
            if mask.size == 0:
                for t in range(width):
                    target[t] = part[t]
                continue
            own = mask[y][x0:x1]
            for t in range(width):
                target[t] = part[t] if (own[t] & flags) == 0 else _NAN


@maker
def _typical(values: Any, n: int) -> Any:
    """Median of a few finite values: differences from it keep their digits in float32."""
    few = np.zeros(_FEW, np.float32)
    kept = 0
    step = max(1, n // (4 * _FEW))
    for t in range(0, n, step):
        if kept < _FEW and abs(values[t]) <= _FINITE:
            k = kept
            while k > 0 and few[k - 1] > values[t]:
                few[k] = few[k - 1]
                k -= 1
            few[k] = values[t]
            kept += 1
    return few[kept // 2]


@part
def _moments(
    values: Any, n: int, origin: Any, low: Any, high: Any, lanes: Any
) -> tuple[int, float, float]:
    """Number, mean and standard deviation of the values between `low` and `high` (float32)."""
    lanes[:] = 0.0
    sums, squares, counts = lanes[0], lanes[1], lanes[2]
    for start in range(0, n, _LANES):
        part = values[start : min(n, start + _LANES)]
        for t in range(part.size):
            value = part[t]
            v = value - origin
            v = v if v > -_LARGE else -_LARGE
            v = v if v < _LARGE else _LARGE
            use = (value >= low) & (value <= high)
            v = v if use else _ZERO
            sums[t] += v
            squares[t] += v * v
            counts[t] += _ONE if use else _ZERO
    count, one, two = 0, 0.0, 0.0
    for t in range(_LANES):
        count += int(counts[t])
        one += sums[t]
        two += squares[t]
    one, two = one / max(count, 1), two / max(count, 1)
    return count, origin + one, np.sqrt(max(two - one * one, 0.0))


@part
def _clipped_mode(zero: float, step: float, below: Any, first: Any, second: Any) -> Any:
    """Mode and noise of a histogram, from the sums of 1, k and k^2 up to each bin k."""
    low, high = 0, _BINS
    middle, average, spread = 0.0, 0.0, 0.0
    for _ in range(_ROUNDS):
        m = below[high] - below[low]
        if m == 0:
            break
        average = (first[high] - first[low]) / m
        variance = (second[high] - second[low]) / m - average * average
        before, spread = spread, np.sqrt(max(variance, 0.0))
        half = below[low] + 0.5 * m
        k, top = low, high  # until below[k] < half <= below[k + 1]
        while top - k > 1:
            mid = (k + top) // 2
            if below[mid] < half:
                k = mid
            else:
                top = mid
        middle = k - 0.5 + (half - below[k]) / (below[k + 1] - below[k])  # 0: centre of bin 0
        new_low = max(0, int(np.ceil(middle - _CLIP_SIGMA * spread)))
        new_high = min(_BINS, int(np.floor(middle + _CLIP_SIGMA * spread)) + 1)
        if abs(spread - before) <= _CONVERGED * before or (new_low == low and new_high == high):
            break
        low, high = new_low, new_high
    crowded = abs(average - middle) >= _CROWDED_SIGMA * spread
    mode = middle if crowded else 2.5 * middle - 1.5 * average
    return zero + step * (mode + 0.5), step * spread


@compiled
def _statistics(data: Any, mask: Any, flags: Any, size: int, level: Any, noise: Any) -> int:
    """Fill level and noise of each mesh, NaN where it has too few pixels.

    Returns the number of usable pixels of the image.
    """
    ny, nx = data.shape
    area = min(size, ny) * min(size, nx)
    meshes, index = np.empty((level.shape[1], area), np.float32), np.empty(area, np.int32)
    lanes = np.empty((3, _LANES), np.float32)
    counts = np.empty(_BINS + 1, np.int32)
    below, first = np.zeros(_BINS + 1, np.int64), np.zeros(_BINS + 1, np.int64)
    second = np.zeros(_BINS + 1, np.int64)
    good = 0
    for j in range(level.shape[0]):
        y0, y1 = j * size, min(ny, (j + 1) * size)
        _gather(data, mask, flags, size, y0, y1, meshes)
        for i in range(level.shape[1]):
            values, n = meshes[i], (y1 - y0) * (min(nx, (i + 1) * size) - i * size)
            origin = _typical(values, n)
            usable, mean, sigma = _moments(values, n, origin, -_FINITE, _FINITE, lanes)
            good += usable
            if usable < _MIN_SHARE * n or usable == 0:
                level[j, i] = noise[j, i] = np.nan
                continue
            low, high = mean - _FIRST_CLIP_SIGMA * sigma, mean + _FIRST_CLIP_SIGMA * sigma
            _, mean, sigma = _moments(values, n, origin, np.float32(low), np.float32(high), lanes)
            level[j, i], noise[j, i] = mean, 0.0
            zero, step = mean - _RANGE_SIGMA * sigma, 2.0 * _RANGE_SIGMA * sigma / _BINS
            if not step > 0.0:
                continue
            inverse, start = np.float32(1.0 / step), np.float32(zero)
            for t in range(n):
                place = (values[t] - start) * inverse
                index[t] = np.int32(place) if (place >= 0.0) & (place < _BINS) else _BINS
            counts[:] = 0
            for t in range(n):
                counts[np.uint64(index[t])] += (
                    1  # unsigned: a negative one would count from the end
                )
            # Sums up to each bin: any range then costs two look-ups. Whole numbers: no rounding.
            for k in range(_BINS):
                c = np.int64(counts[k])
                below[k + 1] = below[k] + c
                first[k + 1] = first[k] + c * k
                second[k + 1] = second[k] + c * k * k
            level[j, i], noise[j, i] = _clipped_mode(zero, step, below, first, second)
    return good


@compiled
def _fill_empty(level: Any, noise: Any) -> None:
    """Give empty meshes the mean of the nearest others; level 0 and noise 1 if all are empty."""
    my, mx = level.shape
    have = ~np.isnan(level)
    for j in range(my):
        for i in range(mx):
            if have[j, i]:
                continue
            nearest, n, one, two = my * my + mx * mx, 0, 0.0, 1.0
            for v in range(my):
                for u in range(mx):
                    far = (v - j) * (v - j) + (u - i) * (u - i)
                    if not have[v, u] or far > nearest:
                        continue
                    if far < nearest:
                        nearest, n, one, two = far, 0, 0.0, 0.0
                    n += 1
                    one += level[v, u]
                    two += noise[v, u]
            level[j, i], noise[j, i] = one / max(n, 1), two / max(n, 1)


@part
def _add_column(ranks: Any, y0: int, y1: int, x: int, step: int, coarse: Any, fine: Any) -> None:
    for v in range(y0, y1):
        k = ranks[v, x]
        fine[k] += step
        coarse[k // _GROUP] += step


@compiled
def _median_filter(plane: Any, reach: int, out: Any) -> None:
    """Median of a window that shrinks at the edges, on both sides alike.

    The window holds an odd number of nodes, whose ranks are counted, in groups and one by one; it
    moves by columns that come in and go out.
    """
    my, mx = plane.shape
    order = np.argsort(plane.ravel())
    ranks = np.empty((my, mx), np.int64)
    for k in range(order.size):
        ranks[order[k] // mx, order[k] % mx] = k
    fine, coarse = np.empty(order.size, np.int64), np.empty(order.size // _GROUP + 1, np.int64)
    for j in range(my):
        dy = min(reach, j, my - 1 - j)
        y0, y1 = j - dy, j + dy + 1
        fine[:] = 0
        coarse[:] = 0
        left, right = 0, 0  # columns counted
        for i in range(mx):
            dx = min(reach, i, mx - 1 - i)
            while right < i + dx + 1:
                _add_column(ranks, y0, y1, right, 1, coarse, fine)
                right += 1
            while left < i - dx:
                _add_column(ranks, y0, y1, left, -1, coarse, fine)
                left += 1
            before, k = (y1 - y0) * (2 * dx + 1) // 2, 0
            while before >= coarse[k]:
                before -= coarse[k]
                k += 1
            k *= _GROUP
            while before >= fine[k]:
                before -= fine[k]
                k += 1
            out[j, i] = plane[order[k] // mx, order[k] % mx]


@part
def _bend(values: Any, out: Any, work: Any) -> None:
    """Second derivatives at the nodes of the natural cubic spline through `values`."""
    n = values.size
    out[0] = work[0] = 0.0
    for k in range(1, n - 1):  # out[k-1] + 4 out[k] + out[k+1] = 6 (second difference)
        scale = 1.0 / (4.0 - work[k - 1])
        work[k] = scale
        right = 6.0 * (values[k + 1] - 2.0 * values[k] + values[k - 1])
        out[k] = (right - out[k - 1]) * scale
    out[n - 1] = 0.0
    for k in range(n - 2, 0, -1):
        out[k] -= work[k] * out[k + 1]


@compiled
def _bend_columns(plane: Any, out: Any) -> None:
    my, mx = plane.shape
    work, column, result = np.empty(my), np.empty(my), np.empty(my)
    for i in range(mx):
        column[:] = plane[:, i]
        _bend(column, result, work)
        out[:, i] = result


@part
def _between(at: float, n: int) -> tuple[int, float]:
    """Node before position `at` (the first or last pair beyond the ends), and how far past it."""
    k = min(max(int(np.floor(at)), 0), n - 2)
    return k, at - k


@part
def _cubic(t: float, a: float, b: float, bend_a: float, bend_b: float) -> float:
    s = 1.0 - t
    return s * a + t * b + ((s * s * s - s) * bend_a + (t * t * t - t) * bend_b) / 6.0


@compiled
def prepare_row(curve: Any, size: int, y: int, work: Any) -> None:
    """Values and second derivatives along x at row `y`, into rows 0 and 1 of `work` (3, mx)."""
    values, bend = curve
    my, mx = values.shape
    if my == 1:
        work[0, :] = values[0]
    else:
        k, t = _between((y + 0.5) / size - 0.5, my)
        for i in range(mx):
            work[0, i] = _cubic(t, values[k, i], values[k + 1, i], bend[k, i], bend[k + 1, i])
    _bend(work[0], work[1], work[2])


@compiled
def spline_row(work: Any, size: int, out: Any) -> None:
    """Fill a row of pixels (float32) from what `prepare_row` left in `work`."""
    mx, nx = work.shape[1], out.size
    if mx == 1:
        out[:] = work[0, 0]
        return
    x0 = 0
    for k in range(mx - 1):
        # From the middle of a mesh to that of the next; the first and last reach to the edges.
        x1 = nx if k == mx - 2 else min(nx, (k + 1) * size + (size + 1) // 2)
        a, b, ma, mb = work[0, k], work[0, k + 1], work[1, k], work[1, k + 1]
        slope, quad, cube = b - a - (2.0 * ma + mb) / 6.0, 0.5 * ma, (mb - ma) / 6.0
        part = out[x0:x1]
        step = 1.0 / size
        offset = (x0 + 0.5) * step - 0.5 - k
        for i in range(part.size):
            t = offset + i * step
            part[i] = a + t * (slope + t * (quad + t * cube))
        x0 = max(x0, x1)


@compiled
def _points(curve: Any, size: int, ys: Any, xs: Any, out: Any) -> None:
    work = np.empty((3, curve[0].shape[1]))
    for k in range(ys.size):
        prepare_row(curve, size, ys[k], work)
        if work.shape[1] == 1:
            out[k] = work[0, 0]
            continue
        i, t = _between((xs[k] + 0.5) / size - 0.5, work.shape[1])
        out[k] = _cubic(t, work[0, i], work[0, i + 1], work[1, i], work[1, i + 1])


def levels_at(mesh: Mesh, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the background at some pixels.

    Parameters
    ----------
    mesh : Mesh
    y, x : ndarray of int64, shape (n,), pixel

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    out = np.empty(y.size)
    _points(mesh.level, mesh.size, y, x, out)
    return out
