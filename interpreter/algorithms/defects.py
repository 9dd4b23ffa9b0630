"""Pixels that differ from their surroundings, in units of these and of the noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import sep
from numpy.typing import NDArray

__all__ = ["Deviation", "deviation", "local_level"]

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Side of the meshes whose typical values make the level, pixels, and meshes of its median filter.
MESH_PIX = 32
MESHES = 3
_MAD_TO_SIGMA = 1.4826


class Deviation(NamedTuple):
    """How far pixels are from the level around them: shape (ny, nx) each.

    `level` and `excess` have the unit of the image; `sigma` is excess over noise, 0 where either
    is not a number.
    """

    level: Float32
    excess: Float32
    sigma: Float32


def local_level(data: Float32, usable: Bools) -> Float32:
    """Return the level around each pixel, without the pixel's own say to speak of.

    Parameters
    ----------
    data : float32, shape (ny, nx)
    usable : bool, shape (ny, nx)
        Pixels that may count; some, or the level is that of all.

    Returns
    -------
    float32, shape (ny, nx)
        Clipped means of meshes of 32 pixels, the median of 3 x 3 of them, and splines between.
    """
    bad = ~(usable & np.isfinite(data))
    if bad.all():
        return np.full(data.shape, np.nan, np.float32)
    image = np.where(bad, np.float32(0), data).astype(np.float32)
    side = min(MESH_PIX, *data.shape)
    if side < MESH_PIX:  # too small for meshes
        return np.full(data.shape, np.median(data[~bad]), np.float32)
    model = sep.Background(image, mask=bad, bw=side, bh=side, fw=MESHES, fh=MESHES)
    level: Float32 = model.back(dtype=np.float32)
    return level


def deviation(data: Float32, variance: Float32 | None, usable: Bools, relative: bool) -> Deviation:
    """Compare each pixel with the level around it.

    Parameters
    ----------
    data, variance : float32, shape (ny, nx)
        Without variances the noise is the scatter of the field.
    usable : bool, shape (ny, nx)
        Pixels that level and scatter are measured from.
    relative : bool
        The scatter of the field is a share of the level, as of a flat; else the same everywhere.

    Returns
    -------
    Deviation
        The noise is that of the pixel by its variance and the scatter of the field (median
        deviation, texture included) in quadrature.
    """
    level = local_level(data, usable)
    excess = data - level
    unit = np.abs(level) if relative else np.ones_like(level)
    good = usable & np.isfinite(excess) & (unit > 0)
    shares = excess[good] / unit[good]
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(shares))) if shares.size else 0.0
    noise2 = (scatter * unit) ** 2
    if variance is not None:
        noise2 = noise2 + np.where(variance > 0, variance, np.float32(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.where(excess == 0, np.float32(0), excess / np.sqrt(noise2))
    return Deviation(level, excess, np.nan_to_num(sigma, nan=0.0).astype(np.float32))
