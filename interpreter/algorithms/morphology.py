"""Growth of object masks, and their transfer from one pixel grid to another."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.resample import Planes, resample_rows
from f2yaml.interpreter.algorithms.tan import Affine
from numpy.typing import NDArray

__all__ = ["dilate", "transfer_mask"]


@compiled
def _paint_runs(mask: NDArray[np.uint8], widths: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Paint every horizontal run of `mask`, widened by ``widths[|dy|]``, into rows y + dy."""
    ny, nx = mask.shape
    reach = widths.size - 1
    for y in range(ny):
        row = mask[y]
        x = 0
        while x < nx:
            # Most of a mask is empty: step over eight empty pixels at a time.
            while x + 8 <= nx and not (
                row[x]
                | row[x + 1]
                | row[x + 2]
                | row[x + 3]
                | row[x + 4]
                | row[x + 5]
                | row[x + 6]
                | row[x + 7]
            ):
                x += 8
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
    given = np.ascontiguousarray(mask != 0).view(np.uint8)
    if not radius_pix >= 1.0:
        return given.copy()
    dy = np.arange(int(radius_pix) + 1, dtype=np.float64)
    widths = np.floor(np.sqrt(radius_pix * radius_pix - dy * dy)).astype(np.int64)
    out = np.zeros(given.shape, dtype=np.uint8)
    _paint_runs(given, widths, out)
    return out


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
    planes = Planes((mask != 0).astype(np.float32))
    ny, nx = shape
    out = resample_rows(planes, affine, 0, ny, nx, interpolant, conserve=False)
    return dilate(np.abs(out.data) > threshold, dilation)
