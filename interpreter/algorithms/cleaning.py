"""Detections that would not be there without a brighter neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from numpy.typing import NDArray

__all__ = ["surviving"]

_REACH = 10.0  # neighbours up to this times the sum of their major axes


@compiled
def _excess(image: Any, segments: Any, boxes: Any, highest: Any) -> None:
    """Fill row k of `highest`, (n, m), with the m highest smoothed values of segment k + 1."""
    ny, nx = image.shape
    m = highest.shape[1]
    for b in range(boxes.shape[0]):
        for y in range(boxes[b, 0], boxes[b, 1]):
            for x in range(boxes[b, 2], boxes[b, 3]):
                number = segments[y, x]
                if number == 0:
                    continue
                value = 0.0
                for v in range(max(0, y - 1), min(ny, y + 2)):
                    for u in range(max(0, x - 1), min(nx, x + 2)):
                        value += image[v, u] * (2 - abs(v - y)) * (2 - abs(u - x))
                value /= 16.0
                top = highest[number - 1]
                if value > top[m - 1]:
                    k = m - 1
                    while k > 0 and top[k - 1] < value:
                        top[k] = top[k - 1]
                        k -= 1
                    top[k] = value


@compiled
def _eat(columns: Any, excess: Any, order: Any, out: Any) -> None:
    """Unset `out` for every detection that a brighter one explains; `order`: brightest first."""
    xs, ys, a, b, cxx, cyy, cxy, light, pixels, limits = columns
    for i in range(order.size):
        one = order[i]
        area = np.pi * a[one] * b[one]
        if not out[one] or not area > 0.0:
            continue
        peak, limit = 0.5 * light[one] / area, limits[one]
        slope = (peak / limit - 1.0) * area / pixels[one]
        for j in range(i + 1, order.size):
            two = order[j]
            dx, dy = xs[two] - xs[one], ys[two] - ys[one]
            reach = _REACH * (a[one] + a[two])
            if dx * dx + dy * dy > reach * reach:
                continue
            form = cxx[one] * dx * dx + cyy[one] * dy * dy + cxy[one] * dx * dy
            wing = 1.0 + slope * form
            if wing > 1.0 and peak / wing > excess[two]:
                out[two] = False


def surviving(
    image: NDArray[np.float32],
    segments: NDArray[np.int32],
    boxes: NDArray[np.int64],
    found: NDArray[Any],
    minarea: int,
) -> NDArray[np.bool_]:
    """Return which detections stay without the wings of brighter ones.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
    segments : ndarray of int32, shape (ny, nx)
        Numbers of detections, from 1, in the order of `found`.
    boxes : ndarray of int64, shape (m, 5)
        y0, y1, x0, x1 and a number: where to look in `segments`.
    found : structured ndarray, shape (n,)
        From sep.
    minarea : int, pixel

    Returns
    -------
    ndarray of bool, shape (n,)

    References
    ----------
    Manual of Source Extractor, CLEAN with CLEAN_PARAM 1: the wings of a source follow a Moffat
    profile of exponent 1 through its peak and its threshold isophote; a fainter source goes if the
    wings are brighter, at its place, than what its `minarea`-th pixel has above the threshold. sep
    does the same, but within one call only, and regions of an image are searched one by one.
    """
    n = len(found)
    alive = np.ones(n, np.bool_)
    if n < 2:
        return alive
    highest = np.full((n, minarea), -np.inf)
    _excess(image, segments, boxes, highest)
    names = ("x", "y", "a", "b", "cxx", "cyy", "cxy", "cflux", "npix", "thresh")
    columns = tuple(np.ascontiguousarray(found[name], dtype=np.float64) for name in names)
    order = np.argsort(-found["cflux"], kind="stable")
    # A part of a blend may have fewer pixels than `minarea`.
    _eat(columns, np.maximum(highest[:, -1] - columns[-1], 0.0), order, alive)
    return alive
