"""Widths and total fluxes of stars: Moffat profiles, integrated over pixels, fitted one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stars", "clipped", "fit_stars"]

Floats = NDArray[np.float64]

#: Exponents beyond these are not told apart from a Gaussian, or have no finite flux.
BETA: Final = (1.2, 100.0)
_NODES: Final = np.array([-0.5, 0.5]) / math.sqrt(3.0)  # Gauss-Legendre: exact to the third order
_ROUNDS: Final = 40


@dataclass(frozen=True, slots=True)
class Stars:
    """Fitted profiles, one element a star; `good` says where the fit succeeded.

    Parameters
    ----------
    fwhm : float64, pixel
        Full width at half maximum of the light that falls on the pixels, before they smear it.
    beta : float64
        Exponent of the profile.
    flux : float64, unit of the image
        Total light, extrapolated by the profile.
    good : bool
    """

    fwhm: Floats
    beta: Floats
    flux: Floats
    good: NDArray[np.bool_]


def fit_stars(
    data: NDArray[np.float32],
    variance: NDArray[np.float32] | None,
    bad: NDArray[np.bool_] | None,
    x: Floats,
    y: Floats,
    fwhm: float,
) -> Stars:
    """Fit a round Moffat profile on a constant background to each star.

    Parameters
    ----------
    data : float32, shape (ny, nx)
    variance : float32, shape (ny, nx), optional
        Weights; all pixels weigh the same without it.
    bad : bool, shape (ny, nx), optional
        Pixels to leave out.
    x, y : float, pixel, 0-based
        Where the stars are, to about a pixel.
    fwhm : float, pixel
        About how wide they are; a box of three widths to each side is fitted.

    Returns
    -------
    Stars
        Stars at the edge, with a tenth of their box bad, or whose fit does not settle within the
        box are not good.

    References
    ----------
    Moffat 1969, A&A 3, 455; Levenberg-Marquardt as in Press et al., Numerical Recipes, 15.5.
    """
    half = max(5, math.ceil(3.0 * fwhm))
    out = np.full((3, len(x)), np.nan)
    for n, (x0, y0) in enumerate(zip(x, y, strict=True)):
        ix, iy = round(float(x0)), round(float(y0))
        box = (slice(iy - half, iy + half + 1), slice(ix - half, ix + half + 1))
        if iy < half or ix < half or iy + half >= data.shape[0] or ix + half >= data.shape[1]:
            continue
        values = data[box].astype(np.float64)
        used = np.isfinite(values)
        weight = np.ones_like(values)
        if variance is not None:
            used &= np.isfinite(variance[box]) & (variance[box] > 0)
            weight = np.where(used, 1.0 / np.where(used, variance[box], 1.0), 0.0)
        if bad is not None:
            used &= ~bad[box]
        if np.count_nonzero(used) < 0.9 * used.size:
            continue
        fitted = _fit(values, np.where(used, weight, 0.0), float(x0) - ix, float(y0) - iy, fwhm)
        if fitted is not None:
            out[:, n] = fitted
    return Stars(out[0], out[1], out[2], np.isfinite(out[0]))


def _model(p: Floats, dx: Floats, dy: Floats) -> tuple[Floats, Floats]:
    """Return profile and derivatives; p: log flux, x, y, log alpha, log(beta - 1), background."""
    flux, alpha, b1 = math.exp(p[0]), math.exp(p[3]), math.exp(p[4])
    beta = b1 + 1.0
    a2 = alpha * alpha
    u, v = dx - p[1], dy - p[2]
    q = 1.0 + (u * u + v * v) / a2
    f = (flux * b1 / (math.pi * a2)) * q**-beta
    slope = 2.0 * beta * f / (q * a2)
    parts = (
        f,
        slope * u,
        slope * v,
        f * (-2.0) + slope * (u * u + v * v),
        f * (1.0 - b1 * np.log(q)),
    )
    size = _NODES.size**2
    model = f.reshape(size, -1).mean(axis=0) + p[5]
    columns = [part.reshape(size, -1).mean(axis=0) for part in parts]
    return model, np.stack([*columns, np.ones_like(model)], axis=1)


def _fit(values: Floats, weight: Floats, x: float, y: float, fwhm: float) -> Any:
    """Return FWHM, exponent and flux of one star; None where no fit settles."""
    half = values.shape[0] // 2
    step = np.arange(-half, half + 1.0)
    dx = np.stack([np.broadcast_to(step[None, :] + n, values.shape) for n in _NODES])
    dx = np.repeat(dx, _NODES.size, axis=0)
    dy = np.stack([np.broadcast_to(step[:, None] + n, values.shape) for n in _NODES])
    dy = np.tile(dy, (_NODES.size, 1, 1))
    z, w = values.ravel(), weight.ravel()
    used = w > 0
    back = float(np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])))
    total = float((z[used] - back).sum())
    if not total > 0:
        return None
    beta = 3.0
    alpha = fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))
    p = np.array([math.log(total), x, y, math.log(alpha), math.log(beta - 1.0), back])
    model, slopes = _model(p, dx, dy)
    chi, damping = float((w * (z - model) ** 2).sum()), 1e-3
    for _ in range(_ROUNDS):
        normal = slopes.T @ (w[:, None] * slopes)
        normal[np.diag_indices(6)] *= 1.0 + damping
        try:
            move = np.linalg.solve(normal, slopes.T @ (w * (z - model)))
        except np.linalg.LinAlgError:
            return None
        trial = p + np.clip(move, [-1, -1, -1, -0.5, -0.5, -np.inf], [1, 1, 1, 0.5, 0.5, np.inf])
        trial[4] = np.clip(trial[4], math.log(BETA[0] - 1.0), math.log(BETA[1] - 1.0))
        model_t, slopes_t = _model(trial, dx, dy)
        chi_t = float((w * (z - model_t) ** 2).sum())
        if chi_t <= chi:
            settled = chi - chi_t < 1e-6 * chi
            p, model, slopes, chi, damping = trial, model_t, slopes_t, chi_t, damping * 0.1
            if settled:
                break
        else:
            damping *= 10.0
            if damping > 1e8:
                break
    else:
        return None
    beta = math.exp(p[4]) + 1.0
    width = 2.0 * math.exp(p[3]) * math.sqrt(2.0 ** (1.0 / beta) - 1.0)
    inside = abs(p[1] - x) < 2.0 and abs(p[2] - y) < 2.0 and 0.3 * fwhm < width < 3.0 * fwhm
    return (width, beta, math.exp(p[0])) if inside else None


def clipped(values: Floats, sigma: float, least: int) -> NDArray[np.bool_]:
    """Return which values survive one clip at `sigma` times their scatter about the mean.

    Fewer than `least` values are all kept.
    """
    if values.size < least:
        return np.ones(values.size, bool)
    return np.asarray(np.abs(values - values.mean()) <= sigma * values.std())
