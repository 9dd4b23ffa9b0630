"""Matching of source lists and the transform between them, in plain numpy.

A transform maps positions of the frame (x, y) to those of the reference (x_ref, y_ref).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from f2yaml.interpreter.algorithms.tan import Affine, Matrix, Pair
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Alignment",
    "Transform",
    "align",
    "centroid_variances",
    "fit_transform",
    "match_pairs",
    "match_shift",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Centroids are not trusted beyond this: pixel response and undersampling, in pixels.
CENTROID_FLOOR_PIX = 0.01
#: Rotation and magnification searched, as in DRAGONS.
MAX_ROTATION_DEG = 5.0
MAX_SCALE = 0.05
#: Solutions that random positions would give this often are refused.
MAX_CHANCE = 0.01

_BRIGHTEST = 150
_CLIP = 3.5


@dataclass(frozen=True, slots=True)
class Transform:
    """A fitted map; `rms` is per axis, pixels, of the `n` pairs kept (0 without spare pairs)."""

    matrix: Matrix
    shift: Pair
    rms: float
    n: int
    kept: NDArray[np.bool_]

    @property
    def affine(self) -> Affine:
        """The map alone."""
        return Affine(self.matrix, self.shift)


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a frame maps onto the reference.

    Parameters
    ----------
    matrix, shift
        Frame pixel -> reference pixel.
    n_matched : int
        Pairs that the fit kept.
    rms_pix : float
        Residual per axis, pixels.
    interior : bool
        The shift at the centre of the sources lies inside the searched box, not at its edge.
    chance : float
        Expected number of such solutions among random positions.
    """

    matrix: Matrix
    shift: Pair
    n_matched: int
    rms_pix: float
    interior: bool
    chance: float

    @property
    def affine(self) -> Affine:
        """The map alone."""
        return Affine(self.matrix, self.shift)


def _arrays(*values: ArrayLike) -> list[Floats]:
    return [np.asarray(v, dtype=np.float64).ravel() for v in values]


def _brightest(flux: ArrayLike | None, n: int, count: int = _BRIGHTEST) -> Indices:
    """Indices of the brightest sources, or of all when there are few or no fluxes."""
    if flux is None or n <= count:
        return np.arange(n)
    order = np.argsort(-np.asarray(flux, dtype=np.float64), kind="stable")
    return np.asarray(np.sort(order[:count]))


def _peaks(dx: Floats, dy: Floats, search: float, count: int) -> list[Pair]:
    """Return the `count` most crowded places among pair differences, best first."""
    bin_pix = max(1.0, search / 200.0)
    bins = 2 * math.ceil(search / bin_pix) + 1
    edge = bins * bin_pix / 2.0
    votes = np.histogram2d(dx, dy, bins=bins, range=[[-edge, edge], [-edge, edge]])[0]
    taper = np.exp(-0.5 * (np.arange(-3, 4) / 1.0) ** 2)
    for axis in (0, 1):
        votes = np.apply_along_axis(np.convolve, axis, votes, taper, mode="same")
    found: list[Pair] = []
    for _ in range(count):
        i, j = np.unravel_index(int(np.argmax(votes)), votes.shape)
        if votes[i, j] <= 0.0:
            break
        cx, cy = (float(i) + 0.5) * bin_pix - edge, (float(j) + 0.5) * bin_pix - edge
        for _ in range(2):  # the centre of the bin -> the centre of the votes around it
            near = (np.abs(dx - cx) <= 2.5 * bin_pix) & (np.abs(dy - cy) <= 2.5 * bin_pix)
            if near.any():
                cx, cy = float(np.median(dx[near])), float(np.median(dy[near]))
        found.append((cx, cy))
        votes[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = 0.0
    return found


def match_shift(
    x: ArrayLike,
    y: ArrayLike,
    x_ref: ArrayLike,
    y_ref: ArrayLike,
    *,
    search_pix: float,
    flux: ArrayLike | None = None,
    flux_ref: ArrayLike | None = None,
    radius_pix: float = 3.0,
) -> Pair | None:
    """Find the shift from one source list to another by a vote of all pairs.

    True pairs agree on one shift, spurious sources on none. The five best places of the vote are
    compared by the number of one-to-one matches they give, then by how close these are.

    Parameters
    ----------
    x, y, x_ref, y_ref : array_like, pixel
    search_pix : float
        Largest shift along either axis.
    flux, flux_ref : array_like, optional
        With more than 150 sources only the brightest vote.
    radius_pix : float
        Matching radius of that comparison.

    Returns
    -------
    (float, float) or None
        What to add to (x, y) to reach the reference, to about a pixel; None without any pair.

    References
    ----------
    Spec, primitives 10.1; the vote replaces the sum of broad Gaussians of DRAGONS, which spurious
    sources bias.
    """
    xs, ys, xr, yr = _arrays(x, y, x_ref, y_ref)
    some, other = _brightest(flux, xs.size), _brightest(flux_ref, xr.size)
    dx = (xr[other][None, :] - xs[some][:, None]).ravel()
    dy = (yr[other][None, :] - ys[some][:, None]).ravel()
    inside = (np.abs(dx) <= search_pix) & (np.abs(dy) <= search_pix)
    best: tuple[int, float] | None = None
    answer: Pair | None = None
    for shift in _peaks(dx[inside], dy[inside], search_pix, 5):
        u, v = xs[some] + shift[0], ys[some] + shift[1]
        i, j = match_pairs(u, v, xr[other], yr[other], radius_pix=radius_pix)
        distance = np.hypot(u[i] - xr[other][j], v[i] - yr[other][j])
        score = (int(i.size), -float(distance.sum()))
        if best is None or score > best:
            best, answer = score, shift
    return answer


def match_pairs(
    x: ArrayLike, y: ArrayLike, x_ref: ArrayLike, y_ref: ArrayLike, *, radius_pix: float
) -> tuple[Indices, Indices]:
    """Match one to one, closest pairs first.

    Parameters
    ----------
    x, y, x_ref, y_ref : array_like, pixel
        Positions that already agree but for errors.
    radius_pix : float
        Largest distance of a pair.

    Returns
    -------
    i, j : ndarray of int
        ``(x[i], y[i])`` goes with ``(x_ref[j], y_ref[j])``; sorted by i.
    """
    xs, ys, xr, yr = _arrays(x, y, x_ref, y_ref)
    order_ref = np.argsort(xr, kind="stable")
    low = np.searchsorted(xr[order_ref], xs - radius_pix, side="left")
    high = np.searchsorted(xr[order_ref], xs + radius_pix, side="right")
    i = np.repeat(np.arange(xs.size), high - low)
    starts = np.repeat(np.cumsum(high - low) - (high - low), high - low)
    j = order_ref[np.arange(i.size) - starts + np.repeat(low, high - low)]
    d2 = (xs[i] - xr[j]) ** 2 + (ys[i] - yr[j]) ** 2
    near = d2 <= radius_pix * radius_pix
    i, j, d2 = i[near], j[near], d2[near]
    used, used_ref = np.zeros(xs.size, bool), np.zeros(xr.size, bool)
    kept = []
    for k in np.lexsort((j, i, d2)):
        if not (used[i[k]] or used_ref[j[k]]):
            used[i[k]] = used_ref[j[k]] = True
            kept.append(k)
    chosen = np.array(kept, dtype=np.intp)
    chosen = chosen[np.argsort(i[chosen], kind="stable")]
    return i[chosen], j[chosen]


def _least_squares(
    x: Floats, y: Floats, u: Floats, v: Floats, w: Floats, rotate: bool, scale: bool
) -> Affine:
    """Weighted closed-form fit of shift, and rotation or magnification where wanted."""
    total = w.sum()
    xc, yc, uc, vc = ((w * a).sum() / total for a in (x, y, u, v))
    dx, dy, du, dv = x - xc, y - yc, u - uc, v - vc
    along, across = (w * (dx * du + dy * dv)).sum(), (w * (dx * dv - dy * du)).sum()
    spread = (w * (dx * dx + dy * dy)).sum()
    cos, sin = 1.0, 0.0
    if spread > 0.0 and np.hypot(along, across) > 0.0:
        if rotate:
            length = float(np.hypot(along, across))
            cos, sin = float(along / length), float(across / length)
        if scale:
            factor = float((cos * along + sin * across) / spread)
            cos, sin = cos * factor, sin * factor
    return Affine.of(
        [[cos, -sin], [sin, cos]],
        [uc - (cos * xc - sin * yc), vc - (sin * xc + cos * yc)],
    )


def fit_transform(
    x: ArrayLike,
    y: ArrayLike,
    x_ref: ArrayLike,
    y_ref: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rotate: bool = False,
    scale: bool = False,
    clip: bool = True,
) -> Transform:
    """Fit the transform of matched pairs by weighted least squares with clipping.

    Parameters
    ----------
    x, y, x_ref, y_ref : array_like, shape (n,), pixel
        Matched positions, n >= 1.
    weights : array_like, shape (n,), 1/pixel^2, optional
        Inverse variances of the difference along one axis; equal by default.
    rotate, scale : bool
        Fit a rotation, a magnification. A shift is always fitted.
    clip : bool
        Leave out pairs that do not fit; else all are kept.

    Returns
    -------
    Transform

    Notes
    -----
    The first guess is the median shift (a plain fit with rotation or magnification). Then pairs
    whose normalised distance exceeds 3.5 times the typical one (median, as for two Gaussian axes;
    at least 1 with weights) are left out until nothing changes.
    With two pairs or fewer all are kept.
    """
    xs, ys, xr, yr = _arrays(x, y, x_ref, y_ref)
    w = np.ones(xs.size) if weights is None else _arrays(weights)[0]
    # Pairs that agree within their known errors are never clipped, however well others agree.
    least = 1e-9 if weights is None else 1.0
    if xs.size == 0:
        raise ValueError("fit_transform needs at least one pair")
    kept = np.ones(xs.size, bool)
    parameters = 2 + int(rotate) + int(scale)
    affine = Affine(shift=(float(np.median(xr - xs)), float(np.median(yr - ys))))
    if rotate or scale or not clip:
        affine = _least_squares(xs, ys, xr, yr, w, rotate, scale)
    for _ in range(20 if clip else 0):
        u, v = affine.apply(xs, ys)
        chi = np.hypot(u - xr, v - yr) * np.sqrt(w)
        # The median distance of two unit Gaussian axes is sqrt(2 ln 2).
        typical = float(np.median(chi[kept])) / math.sqrt(2.0 * math.log(2.0))
        good = chi <= _CLIP * max(typical, least)
        if xs.size <= 2 or 2 * good.sum() < parameters + 1:
            good = kept
        affine = _least_squares(xs[good], ys[good], xr[good], yr[good], w[good], rotate, scale)
        if np.array_equal(good, kept):
            break
        kept = good
    u, v = affine.apply(xs[kept], ys[kept])
    n = int(kept.sum())
    spare = 2 * n - parameters
    squares = float(((u - xr[kept]) ** 2 + (v - yr[kept]) ** 2).sum())
    rms = math.sqrt(squares / spare) if spare > 0 else 0.0
    return Transform(affine.matrix, affine.shift, rms, n, kept)


def _starts(
    x: Floats, y: Floats, xr: Floats, yr: Floats, search: float, rotate: bool, scale: bool
) -> Affine | None:
    """Coarse search over rotation and magnification about the centre of the sources."""
    turn = np.radians(np.linspace(-MAX_ROTATION_DEG, MAX_ROTATION_DEG, 81)) if rotate else [0.0]
    zoom = np.linspace(1 - MAX_SCALE, 1 + MAX_SCALE, 41) if scale else [1.0]
    xc, yc = float(np.mean(x)), float(np.mean(y))
    edge = np.arange(-search, search + 4.0, 4.0)
    best, answer = -1.0, None
    for angle in turn:
        for factor in zoom:
            c, s = factor * math.cos(angle), factor * math.sin(angle)
            m = Affine.of([[c, -s], [s, c]], [xc - c * xc + s * yc, yc - s * xc - c * yc])
            u, v = m.apply(x, y)
            dx, dy = (xr[None, :] - u[:, None]).ravel(), (yr[None, :] - v[:, None]).ravel()
            votes = np.histogram2d(dx, dy, bins=[edge, edge])[0]
            # Pairs of cells along both axes, so that a peak on a boundary counts in full.
            sums = votes[1:, 1:] + votes[:-1, 1:] + votes[1:, :-1] + votes[:-1, :-1]
            if sums.max() > best:
                i, j = np.unravel_index(int(np.argmax(sums)), sums.shape)
                best = float(sums.max())
                answer = Affine(shift=(float(edge[i + 1]), float(edge[j + 1]))).after(m)
    return answer


def _chance(
    n: int, rms: float, x: Floats, xr: Floats, yr: Floats, radius: float, search: float
) -> float:
    """Expected number of shifts in the box at which random positions match `n` times or more."""
    if n < 1 or xr.size < 2:
        return 0.0
    reach = min(max(3.0 * rms, 0.3), radius)
    grown = (xr.size + 1) / (xr.size - 1)  # a bounding box is smaller than the field
    area = max(float(np.ptp(xr)) * float(np.ptp(yr)) * grown**2, 1.0)
    rate = x.size * xr.size * math.pi * reach**2 / area
    log_term = n * math.log(rate) - rate - math.lgamma(n + 1)
    tail, term = 0.0, math.exp(max(log_term, -700.0))
    for k in range(n, n + 200):  # Poisson probability of n or more
        tail += term
        term *= rate / (k + 1)
    return min(tail, 1.0) * max(1.0, (2.0 * search) ** 2 / (math.pi * reach**2))


def align(
    x: ArrayLike,
    y: ArrayLike,
    err: ArrayLike | None,
    x_ref: ArrayLike,
    y_ref: ArrayLike,
    err_ref: ArrayLike | None,
    *,
    first_pass_pix: float,
    match_radius_pix: float,
    min_sources: int = 3,
    rotate: bool = False,
    scale: bool = False,
    flux: ArrayLike | None = None,
    flux_ref: ArrayLike | None = None,
) -> Alignment | None:
    """Find the map from the sources of a frame to those of the reference.

    Parameters
    ----------
    x, y, x_ref, y_ref : array_like, pixel
    err, err_ref : array_like, pixel, optional
        Centroid errors along one axis, for weights; unusable values count as the median.
    first_pass_pix : float
        Largest shift along either axis.
    match_radius_pix : float
    min_sources : int
        Matches needed.
    rotate, scale : bool
        Also fit rotation (within 5 deg) and magnification (within 5 per cent).
    flux, flux_ref : array_like, optional
        See `match_shift`.

    Returns
    -------
    Alignment or None
        None when fewer than `min_sources` pairs are left, or when random positions would match
        as well (three matches or more; fewer cannot be judged).

    References
    ----------
    Spec, primitives 10.1 (DRAGONS ``adjustWCSToReference``). Departures: a vote, then robust least
    squares on matched pairs weighted by centroid errors; tests of the edge of the search box and
    of chance matches.
    """
    xs, ys, xr, yr = _arrays(x, y, x_ref, y_ref)
    if min(xs.size, xr.size) < max(min_sources, 1):
        return None
    var = centroid_variances(err, xs.size), centroid_variances(err_ref, xr.size)
    shift = match_shift(
        xs, ys, xr, yr, search_pix=first_pass_pix, flux=flux, flux_ref=flux_ref,
        radius_pix=match_radius_pix,
    )  # fmt: skip
    start = None if shift is None else Affine(shift=shift)
    if rotate or scale:
        a, b = _brightest(flux, xs.size, 60), _brightest(flux_ref, xr.size, 60)
        start = _starts(xs[a], ys[a], xr[b], yr[b], first_pass_pix, rotate, scale)
    if start is None:
        return None
    wanted = min_sources + int(rotate) + int(scale)
    fit = _refine(start, xs, ys, xr, yr, var, match_radius_pix, wanted, rotate, scale)
    if fit is None:
        if not (rotate or scale):
            return None
        return align(
            xs, ys, err, xr, yr, err_ref, first_pass_pix=first_pass_pix,
            match_radius_pix=match_radius_pix, min_sources=min_sources,
            flux=flux, flux_ref=flux_ref,
        )  # fmt: skip
    chance = _chance(fit.n, fit.rms, xs, xr, yr, match_radius_pix, first_pass_pix)
    if fit.n >= 3 and chance > MAX_CHANCE:
        return None
    xc, yc = float(np.mean(xs)), float(np.mean(ys))
    u, v = fit.affine.apply(xc, yc)
    inside = max(abs(float(u) - xc), abs(float(v) - yc)) <= first_pass_pix - 0.5
    return Alignment(fit.matrix, fit.shift, fit.n, fit.rms, inside, chance)


def _refine(
    start: Affine,
    x: Floats,
    y: Floats,
    xr: Floats,
    yr: Floats,
    var: tuple[Floats, Floats],
    radius: float,
    wanted: int,
    rotate: bool,
    scale: bool,
) -> Transform | None:
    """Match and fit in turn until nothing changes; None with fewer than `wanted` pairs."""
    affine, fit = start, None
    for attempt in range(6):
        u, v = affine.apply(x, y)
        # The coarse map of a rotated field is good to a few pixels only.
        reach = radius * (3.0 if (rotate or scale) and attempt == 0 else 1.0)
        i, j = match_pairs(u, v, xr, yr, radius_pix=reach)
        if i.size < wanted:
            return None
        weights = 1.0 / (var[0][i] + var[1][j] + CENTROID_FLOOR_PIX**2)
        fit = fit_transform(x[i], y[i], xr[j], yr[j], weights, rotate=rotate, scale=scale)
        if fit.affine == affine:
            break
        affine = fit.affine
    return fit if fit is not None and fit.n >= wanted else None


def centroid_variances(err: ArrayLike | None, n: int) -> Floats:
    """Squared errors; missing or absurd ones are replaced by the median of the others."""
    if err is None:
        return np.full(n, 0.05**2)
    e = np.asarray(err, dtype=np.float64).ravel()
    good = np.isfinite(e) & (e > 0.0)
    typical = float(np.median(e[good])) if good.any() else 0.05
    return np.asarray(np.where(good, e, typical) ** 2)
