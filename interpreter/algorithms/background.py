"""Level of the sky: truncated-normal fit or clipped median, and the factors that match skies.

Departures from spec 14.3 and 8.5, each with a test:

- All samples handed in are used; the reference thins twice. `sample` takes a regular sample of a
  large image first, so that small images keep all of their pixels.
- More than 20000 samples are fitted at about 4000 of their quantiles.
- `sky_factor` holds the background of the sky frame fixed and steps
  ``F += bg(science - F sky) / bg(sky)``, the reference's iteration without its division by the
  background of a sky already scaled to zero; noise-free frames converge. Where the steps do not
  settle, the root is bracketed and bisected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.errors import BadInput

Values = npt.NDArray[np.floating]
Background = Callable[[Values], float]

#: Pixels that `sample` aims at: the level is then good to 0.3 % of the noise of a pixel.
TARGET = 200_000

#: More samples than MANY are fitted at about QUANTILES equally spaced ranks: neighbouring ranks
#: carry the same information, and the result moves by less than a hundredth of its error.
MANY, QUANTILES = 20_000, 4_000

LOW, HIGH = -3.0, 1.0
ROUNDS = 12
SETTLED = 0.001
#: Steps, and doublings of a bracket. Those that settle do so in fewer than STEPS.
STEPS, DOUBLINGS = 12, 100
_SQRT2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2.0 * math.pi)
_BASE = 0.5 * math.erfc(-LOW / _SQRT2)
_SPAN = 0.5 * (math.erf(HIGH / _SQRT2) - math.erf(LOW / _SQRT2))


class Level(NamedTuple):
    """A background and its scatter per pixel; `converged` is False for the clipped median.

    `converged` tells whether the Gaussian fit that was asked for succeeded; it is True if the
    clipped median was asked for. Value and sigma are NaN for fewer than two samples.
    """

    value: float
    sigma: float
    converged: bool


def background(
    values: Values, *, sampling: int = 1, gaussian: bool = True, thin_twice: bool = False
) -> Level:
    """Estimate the background of an image from its unmasked samples.

    Parameters
    ----------
    values : float, shape (k,)
        Unmasked samples; those that are not finite are left out.
    sampling : int
        Use every n-th sample.
    gaussian : bool
        Fit a normal distribution between -3 and +1 sigma; where that fails, and without it, the
        result is the median after clipping twice at 2 sigma.
    thin_twice : bool
        Take every n-th once more before each fit, as the reference does.

    Returns
    -------
    Level

    References
    ----------
    Spec 14.3, 15.8. Ours: thinning twice is off by default.
    """
    x = np.asarray(values).reshape(-1)
    x = x[np.isfinite(x)][::sampling]
    again = sampling if thin_twice else 1
    if len(x) < 2:
        return Level(math.nan, math.nan, False)
    if gaussian:
        fitted = _fit_rounds(x, again)
        if fitted is not None:
            return Level(*fitted, True)
    ordered = np.sort(x[::again])
    kept = _clip(ordered, 2.0, 2)
    return Level(_median(kept), _scatter(kept), not gaussian)


def sample(
    data: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint16] | None,
    objmask: npt.NDArray[np.uint8] | None = None,
    target: int = TARGET,
) -> npt.NDArray[np.float32]:
    """Return a regular sample of the unmasked pixels of an image.

    Parameters
    ----------
    data : float32, shape (ny, nx)
    mask, objmask : shape (ny, nx), or None
        A pixel with any bit, or on an object, is left out.
    target : int
        Roughly how many pixels to return at least; fewer unmasked pixels are all returned.

    Returns
    -------
    float32, shape (k,)
        Every s-th unmasked pixel in reading order, s odd so that it does not stay in the same
        columns. Frames sampled with the same masks give the same pixels.
    """
    bits = np.empty(0, np.uint16) if mask is None else mask.reshape(-1)
    objects = np.empty(0, np.uint8) if objmask is None else objmask.reshape(-1).view(np.uint8)
    count = _count_good(data.size, bits, objects)
    step = max(1, count // target)
    step -= step % 2 == 0
    out = np.empty(-(-count // step), np.float32)
    _collect(data.reshape(-1), bits, objects, step, out)
    return out


def sky_factor(
    science: Values,
    sky: Values,
    threshold: float = 0.001,
    *,
    background: Background | None = None,
) -> float:
    """Return the factor F for which ``science - F * sky`` has no background.

    Parameters
    ----------
    science, sky : float, shape (k,)
        The same unmasked pixels of both frames; pairs that are not finite are left out.
    threshold : float
        Largest last step of F.
    background : callable, optional
        Function of samples; by default the Gaussian estimate of this module, or, where that does
        not converge at any step, the clipped median throughout.

    Raises
    ------
    BadInput
        The sky has no positive background, or no factor removes that of the science frame.

    References
    ----------
    Spec 8.5, 15.8.
    """
    both = np.isfinite(science) & np.isfinite(sky)
    s, b = science[both].astype(np.float32), sky[both].astype(np.float32)
    if background is not None:
        return _solve(s, b, threshold, background)
    try:
        return _solve(s, b, threshold, _gaussian)
    except _NotConverged:
        return _solve(s, b, threshold, _clipped)


def sky_offset(science: Values, sky: Values, *, background: Background | None = None) -> float:
    """Return the background of ``science - sky`` (parameters, errors as for `sky_factor`)."""
    both = np.isfinite(science) & np.isfinite(sky)
    rest = science[both].astype(np.float64) - sky[both].astype(np.float64)
    if background is not None:
        offset = background(rest)
    else:
        try:
            offset = _gaussian(rest)
        except _NotConverged:
            offset = _clipped(rest)
    if not math.isfinite(offset):
        raise _no_level("science frame minus sky")
    return offset


class _NotConverged(Exception):
    """The Gaussian fit failed; the caller starts again with the clipped median."""


def _gaussian(values: Values) -> float:
    level = background(values)
    if len(values) >= 2 and not level.converged:
        raise _NotConverged
    return level.value


def _clipped(values: Values) -> float:
    return background(values, gaussian=False).value


def _no_level(what: str) -> BadInput:
    return BadInput(
        what=f"the {what} has no usable background",
        why="fewer than two unmasked pixels in common, or a sky level that is not positive",
        fix="check the object masks and the sky frames, or use offset_sky instead of scale_sky",
    )


def _solve(s: Values, b: Values, threshold: float, level: Background) -> float:
    reference = level(b)
    if not reference > 0 or not math.isfinite(reference):
        raise _no_level("sky frame")
    factor = 0.0
    for _ in range(STEPS):
        step = level(s - np.float32(factor) * b) / reference
        if not math.isfinite(step):
            raise _no_level("science frame")
        factor += step
        if abs(step) <= threshold:
            return factor
    return _bisect(s, b, threshold, level, factor, 2 * abs(step))


def _bisect(
    s: Values, b: Values, threshold: float, level: Background, start: float, reach: float
) -> float:
    """Bracket the root within about `reach` of `start`, and halve the bracket to `threshold`."""
    low, high = start - reach, start + reach
    for _ in range(DOUBLINGS):
        if level(s - np.float32(low) * b) >= 0 >= level(s - np.float32(high) * b):
            break
        reach *= 2
        low, high = start - reach, start + reach
    else:
        raise BadInput(
            what="no factor makes the background of science - factor * sky zero",
            why="the frames do not share a sky",
            fix="check the association of the sky frames, or use offset_sky",
        )
    while high - low > threshold:
        centre = 0.5 * (low + high)
        if level(s - np.float32(centre) * b) >= 0:
            low = centre
        else:
            high = centre
    return 0.5 * (low + high)


def _median(ordered: Values) -> float:
    k = len(ordered)
    return 0.5 * (float(ordered[(k - 1) // 2]) + float(ordered[k // 2]))


def _clip(ordered: Values, limit: float, rounds: int) -> Values:
    """Clip sorted values around their median, at most `rounds` times."""
    for _ in range(rounds):
        centre, sigma = _median(ordered), _scatter(ordered)
        low = int(np.searchsorted(ordered, centre - limit * sigma, "left"))
        high = int(np.searchsorted(ordered, centre + limit * sigma, "right"))
        if high - low in (0, len(ordered)):
            break
        ordered = ordered[low:high]
    return ordered


def _fit_rounds(x: Values, again: int) -> tuple[float, float] | None:
    """Fit, select around the fit, and fit again until the mean settles; None if it fails."""
    ordered = np.sort(x)
    start = _clip(ordered, 5.0, 5)
    mu, sigma = _median(start), _scatter(start)
    if sigma == 0:
        return mu, 0.0  # most values are equal: nothing to fit
    for _ in range(ROUNDS):
        low, high = mu + LOW * sigma, mu + HIGH * sigma
        if again == 1:
            chosen = ordered[slice(*np.searchsorted(ordered, (low, high), "right"))]
        else:
            chosen = np.sort(x[(x > low) & (x <= high)][::again])
        if len(chosen) < 3:
            return None
        stride = 1 if len(chosen) <= MANY else len(chosen) // QUANTILES
        ranks = stride / len(chosen)
        new, width, found = _fit(chosen[stride - 1 :: stride].astype(np.float64), ranks, mu, sigma)
        if not found:
            return None
        moved, mu, sigma = abs(new - mu), new, width
        if moved < SETTLED * sigma:
            break
    return mu, sigma


@kernel
def _scatter(values):  # type: ignore[no-untyped-def]
    """Return the standard deviation of values about their mean, in double precision."""
    n = values.size
    reference = np.float64(values[n // 2])
    sums, squares = np.zeros(8), np.zeros(8)
    whole = n - n % 8
    for k in range(0, whole, 8):
        part = values[k : k + 8]
        for t in range(8):
            d = np.float64(part[t]) - reference
            sums[t] += d
            squares[t] += d * d
    for k in range(whole, n):
        d = np.float64(values[k]) - reference
        sums[0] += d
        squares[0] += d * d
    mean = sums.sum() / n
    return math.sqrt(max(squares.sum() / n - mean * mean, 0.0))


@kernel
def _count_good(size, bits, objects):  # type: ignore[no-untyped-def]
    count = 0
    for t in range(size):
        bad = (bits.size > 0 and bits[t] != 0) or (objects.size > 0 and objects[t] != 0)
        count += not bad
    return count


@kernel
def _collect(data, bits, objects, step, out):  # type: ignore[no-untyped-def]
    """Copy every `step`-th good pixel to `out`, beginning with the first."""
    skip = 0
    k = 0
    for t in range(data.size):
        if (bits.size > 0 and bits[t] != 0) or (objects.size > 0 and objects[t] != 0):
            continue
        if skip == 0:
            out[k] = data[t]
            k += 1
            skip = step
        skip -= 1


@part
def _residuals(t, ranks, mu, sigma):  # type: ignore[no-untyped-def]
    """Return chi^2 and the normal equations of the cumulative curve against the ranks.

    Value k (from 0) has the rank ``(k + 1) * ranks``, between 0 and 1.
    """
    chi, a, b, c, d, e = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(t.size):
        z = (t[k] - mu) / sigma
        r = (0.5 * math.erfc(-z / _SQRT2) - _BASE) / _SPAN - (k + 1.0) * ranks
        slope = -math.exp(-0.5 * z * z) / (_ROOT_2PI * sigma * _SPAN)
        by_sigma = slope * z
        chi += r * r
        a += slope * slope
        b += slope * by_sigma
        c += by_sigma * by_sigma
        d += slope * r
        e += by_sigma * r
    return chi, a, b, c, d, e


@kernel
def _fit(t, ranks, mu, sigma):  # type: ignore[no-untyped-def]
    """Fit mean and width to sorted samples by Levenberg-Marquardt.

    Returns
    -------
    mu, sigma : float
    found : bool
    """
    damping = 1e-3
    scale = sigma
    chi, a, b, c, d, e = _residuals(t, ranks, mu, sigma)
    for _ in range(50):
        p, q = a * (1.0 + damping), c * (1.0 + damping)
        determinant = p * q - b * b
        if not determinant > 0.0:
            return mu, sigma, False
        dmu = -(q * d - b * e) / determinant
        dsigma = -(p * e - b * d) / determinant
        trial = chi + 1.0
        if sigma + dsigma > 0.0:
            trial, a2, b2, c2, d2, e2 = _residuals(t, ranks, mu + dmu, sigma + dsigma)
        if trial <= chi:
            mu += dmu
            sigma += dsigma
            chi, a, b, c, d, e = trial, a2, b2, c2, d2, e2
            damping = max(damping * 0.1, 1e-12)
            if abs(dmu) + abs(dsigma) < 1e-7 * sigma:
                break
        else:
            damping *= 10.0
            if damping > 1e12:
                break  # no step lowers chi^2 any more: at the minimum, to rounding
    return mu, sigma, 1e-6 * scale < sigma < 1e6 * scale
