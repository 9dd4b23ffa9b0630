"""Growth of object masks, and their transfer from one pixel grid to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from f2yaml.interpreter.algorithms.interpolants import kernel
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.algorithms.resample import TOLERANCE_PIX, Planes, Resampling, snap
from f2yaml.interpreter.algorithms.tan import Affine
from numpy.typing import NDArray

__all__ = ["dilate", "transfer_mask"]

_STRIDE = 64
_BLOCK = 8  # pixels along a side of what is skipped if it is empty
#: Values this near the threshold may fall on either side of it, by the rounding of float32.
_UNSURE = 4e-6
_FULL = 0.999  # the weights of all taps sum to one: thresholds below are exceeded
_REACH = 8  # rows around a position that hold all taps


@compiled
def _paint_runs(mask: NDArray[np.uint8], widths: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Paint every horizontal run of `mask`, widened by ``widths[|dy|]``, into rows y + dy."""
    ny, nx = mask.shape
    reach = widths.size - 1
    for y in range(ny):
        row = mask[y]
        x = 0
        while x < nx:
            # Most of a mask is empty: step over many pixels at a time.
            while x + _STRIDE <= nx:
                part = row[x : x + _STRIDE]
                seen = np.uint8(0)
                for t in range(_STRIDE):
                    seen |= part[t]
                if seen:
                    break
                x += _STRIDE
            while x < nx and row[x] == 0:
                x += 1
            start = x
            while x < nx and row[x] != 0:
                x += 1
            if x == start:
                break
            for dy in range(-reach, reach + 1):
                if 0 <= y + dy < ny:
                    width = widths[abs(dy)]
                    target = out[y + dy]
                    for t in range(max(0, start - width), min(nx, x + width)):
                        target[t] = 1


def dilate(mask: NDArray[np.uint8] | NDArray[np.bool_], radius_pix: float) -> NDArray[np.uint8]:
    """Grow a mask by a disc.

    Parameters
    ----------
    mask : ndarray of uint8 or bool, shape (ny, nx)
        Set where it is not zero; not modified.
    radius_pix : float, pixel
        Every pixel with ``dx**2 + dy**2 <= radius_pix**2`` of a set pixel becomes set. Below 1
        nothing grows.

    Returns
    -------
    ndarray of uint8, shape (ny, nx)
        0 or 1.

    References
    ----------
    Spec, primitives 9.2 and 14.4 (DRAGONS ``dilateObjectMask``).
    """
    if not radius_pix >= 1.0:
        return np.asarray((mask != 0).astype(np.uint8))
    given = np.ascontiguousarray(mask).view(np.uint8)
    dy = np.arange(int(radius_pix) + 1, dtype=np.float64)
    widths = np.floor(np.sqrt(radius_pix * radius_pix - dy * dy)).astype(np.int64)
    out = np.zeros(given.shape, dtype=np.uint8)
    _paint_runs(given, widths, out)
    return out


@part
def _any_set(mask: Any, y0: int, y1: int, x0: int, x1: int) -> bool:
    seen = np.uint8(0)
    for y in range(y0, y1):
        row = mask[y][x0:x1]
        for t in range(row.size):
            seen |= row[t]
        if seen:
            return True
    return False


@maker
def _cells(mask: Any, out: Any) -> None:
    """Set `out` where a square of _BLOCK pixels of `mask` holds any that is set."""
    ny, nx = mask.shape
    row = np.empty(nx, np.uint8)
    for j in range(out.shape[0]):
        row[:] = 0
        for y in range(j * _BLOCK, min(ny, (j + 1) * _BLOCK)):
            own = mask[y]
            for x in range(nx):
                row[x] |= own[x]
        for i in range(out.shape[1]):
            out[j, i] = row[i * _BLOCK : (i + 1) * _BLOCK].any()


@part
def _split(q: float, size: int, taps: int) -> tuple[int, float]:
    """Pixel before a position inside the image, and how far past it, as in `resample_rows`."""
    q = min(max(q, 0.0), size - 1.0)
    if taps == 1:
        return int(q + 0.5), 0.0
    i = min(int(q), size - 2)
    return i, q - i


@part
def _weights(table: Any, f: float, out: Any) -> None:
    for k in range(table.shape[0]):
        value = 0.0
        for c in range(table.shape[1] - 1, -1, -1):
            value = value * f + table[k, c]
        out[k] = value


@compiled
def _carry(
    mask: Any, m: Any, along_x: Any, along_y: Any, threshold: float, out: Any, unsure: Any
) -> None:
    """Interpolate `mask` where it is not empty; mark rows whose pixels need the full treatment.

    `along_x` and `along_y` are table and first tap. Pixels at the edge, where the kernel does not
    fit, and values at the threshold are left to `resample_rows`.
    """
    ny, nx = mask.shape
    (tx, first_x), (ty, first_y) = along_x, along_y
    kx, ky = tx.shape[0], ty.shape[0]
    wx, wy = np.empty(kx), np.empty(ky)
    height, width = out.shape
    edge = max(kx, ky) + 1
    cells = np.empty((ny // _BLOCK + 1, nx // _BLOCK + 1), np.uint8)
    _cells(mask, cells)
    for top in range(0, height, _BLOCK):
        bottom = min(height, top + _BLOCK)
        for left in range(0, width, _BLOCK):
            right = min(width, left + _BLOCK)
            low_x = low_y = np.inf
            high_x = high_y = -np.inf
            for y in (top, bottom - 1):
                for x in (left, right - 1):
                    px = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                    py = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                    low_x, high_x = min(low_x, px), max(high_x, px)
                    low_y, high_y = min(low_y, py), max(high_y, py)
            x0 = int(max(0.0, low_x - edge))
            x1 = int(max(0.0, min(float(nx), high_x + edge + 1)))
            y0 = int(max(0.0, low_y - edge))
            y1 = int(max(0.0, min(float(ny), high_y + edge + 1)))
            if (
                x0 >= x1
                or y0 >= y1
                or not _any_set(
                    cells,
                    y0 // _BLOCK,
                    (y1 - 1) // _BLOCK + 1,
                    x0 // _BLOCK,
                    (x1 - 1) // _BLOCK + 1,
                )
            ):
                continue
            for y in range(top, bottom):
                for x in range(left, right):
                    px = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                    py = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                    if not (
                        -TOLERANCE_PIX <= px <= nx - 1 + TOLERANCE_PIX
                        and -TOLERANCE_PIX <= py <= ny - 1 + TOLERANCE_PIX
                    ):
                        continue
                    bx, fx = _split(px, nx, kx)
                    by, fy = _split(py, ny, ky)
                    bx, by = bx + first_x, by + first_y
                    a0, a1, b0, b1 = max(0, bx), min(nx, bx + kx), max(0, by), min(ny, by + ky)
                    found = 0
                    for j in range(np.uintp(b0), np.uintp(b1)):
                        for k in range(np.uintp(a0), np.uintp(a1)):
                            found += mask[j, k] != 0
                    if found == 0:
                        continue
                    if a1 - a0 < kx or b1 - b0 < ky:
                        unsure[y] = True
                        continue
                    if found == kx * ky and threshold < _FULL:
                        out[y, x] = 1
                        continue
                    _weights(tx, fx, wx)
                    _weights(ty, fy, wy)
                    total = 0.0
                    for j in range(np.uintp(ky)):
                        for k in range(np.uintp(kx)):
                            if mask[np.uintp(by) + j, np.uintp(bx) + k]:
                                total += wx[k] * wy[j]
                    if abs(abs(total) - threshold) < _UNSURE:
                        unsure[y] = True
                    out[y, x] = 1 if abs(total) > threshold else 0


def transfer_mask(
    mask: NDArray[np.uint8],
    affine: Affine,
    shape: tuple[int, int],
    threshold: float = 0.01,
    dilation: float = 1.5,
    interpolant: str = "poly3",
) -> NDArray[np.uint8]:
    """Carry an object mask to another pixel grid.

    Parameters
    ----------
    mask : ndarray of uint8, shape (ny, nx)
        Set where it is not zero.
    affine : Affine
        Output pixel -> position in `mask`.
    shape : (int, int)
        (ny, nx) of the output.
    threshold : float
        The mask is interpolated as an image of 0 and 1; output pixels above this are set.
    dilation : float, pixel
        Radius by which the result then grows; below 1 nothing grows.
    interpolant : str
        As in `resample_rows`, without the splines.

    Returns
    -------
    ndarray of uint8, shape `shape`
        0 or 1; 0 outside the input.

    References
    ----------
    Spec, primitives 9.4 (DRAGONS ``transferObjectMask``).
    """
    mask = np.ascontiguousarray(mask)
    out = np.zeros(shape, np.uint8)
    if min(mask.shape) < 2 or not 0.5 <= abs(affine.determinant) ** 0.5 <= 1.5:
        spans = np.array([[0, shape[0]]])
    else:
        snapped, whole = snap(affine, mask.shape)
        kernels = [kernel("nearest" if copy else interpolant) for copy in whole]
        m = np.column_stack([np.array(snapped.matrix), np.array(snapped.shift)])
        along_x, along_y = ((k.table, k.first) for k in kernels)
        unsure = np.zeros(shape[0], np.bool_)
        _carry(mask, m, along_x, along_y, threshold, out, unsure)
        spans = np.flatnonzero(np.diff(unsure, prepend=False, append=False)).reshape(-1, 2)
    if spans.size:
        _resampled(mask, affine, spans, threshold, interpolant, out)
    return dilate(out, dilation)


def _resampled(
    mask: NDArray[np.uint8],
    affine: Affine,
    spans: NDArray[np.int64],
    threshold: float,
    interpolant: str,
    out: NDArray[np.uint8],
) -> None:
    """Fill the rows of `out` within `spans`, (first, stop) each: every pixel interpolated."""
    image = np.zeros(mask.shape, np.float32)  # pages that no span needs are never touched
    needed = np.full(len(mask), bool(kernel(interpolant).is_spline))
    last = out.shape[1] - 1.0
    for y0, y1 in spans.tolist():
        _, y = affine.apply([0.0, last, 0.0, last], [y0, y0, y1, y1])
        needed[max(0, int(y.min()) - _REACH) : max(0, int(y.max()) + _REACH)] = True
    for y0, y1 in np.flatnonzero(np.diff(needed, prepend=False, append=False)).reshape(-1, 2):
        np.not_equal(mask[y0:y1], 0, out=image[y0:y1], casting="unsafe")
    moved = Resampling(Planes(image), affine, out.shape[1], interpolant, conserve=False)
    for y0, y1 in spans.tolist():
        np.greater(np.abs(moved.rows(y0, y1).data), threshold, out=out[y0:y1], casting="unsafe")
