"""The factor between the fluxes of the same sources in two frames, in plain numpy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FluxScale", "flux_scale"]

Floats = NDArray[np.float64]

_CLIP = 3.0
_ROUNDS = 10
_SIGMA_OF_MAD = 1.4826


class FluxScale(NamedTuple):
    """``y = factor * x``: the factor, its error, and the sources that the fit kept."""

    factor: float
    error: float
    n: int


def flux_scale(x: ArrayLike, x_err: ArrayLike, y: ArrayLike, y_err: ArrayLike) -> FluxScale | None:
    """Fit the factor that turns fluxes `x` into fluxes `y`, robustly.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Fluxes of the same sources; pairs that are not positive and finite are left out.
    x_err, y_err : array_like, shape (n,)
        Their errors.

    Returns
    -------
    FluxScale or None
        None without usable pairs.

    Notes
    -----
    The first guess is the median ratio of the half of the sources with the smaller relative
    errors. Then weights follow the errors of both axes, sources farther than 3 times their error
    (or 3 times the typical scatter, where that is larger) are left out, and the fit is repeated
    until nothing changes. Apertures that follow the seeing scatter more than photon noise says;
    without the second limit the brightest stars would reject each other.

    References
    ----------
    Spec 11.1. Departures: the first guess is a median, where the reference minimises a sum that
    weighs by the square of the variance; clipping goes on until it settles.
    """
    a, sa, b, sb = (np.asarray(v, dtype=np.float64).ravel() for v in (x, x_err, y, y_err))
    good = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    good &= np.isfinite(sa) & np.isfinite(sb) & (sa >= 0) & (sb >= 0)
    a, sa, b, sb = a[good], sa[good], b[good], sb[good]
    if a.size == 0:
        return None
    relative = np.hypot(sa / a, sb / b)
    best = relative <= np.median(relative)
    factor = float(np.median(b[best] / a[best]))
    kept = np.ones(a.size, bool)
    error = 0.0
    for _ in range(_ROUNDS):
        noise = np.maximum(np.hypot(sb, factor * sa), 1e-12 * b)
        chi = (factor * a - b) / noise
        scatter = _SIGMA_OF_MAD * float(np.median(np.abs(chi[kept])))
        near = np.abs(chi) <= _CLIP * max(scatter, 1.0)
        if not near.any():
            break
        weight = 1.0 / noise[near] ** 2
        square = float((weight * a[near] ** 2).sum())
        factor = float((weight * a[near] * b[near]).sum()) / square
        error = max(scatter, 1.0) / math.sqrt(square)
        if np.array_equal(near, kept):
            break
        kept = near
    return FluxScale(factor, error, int(kept.sum()))
