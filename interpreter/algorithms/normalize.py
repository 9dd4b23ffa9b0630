"""What is measured on all frames before they are stacked: common levels, slopes of photon noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.errors import BadInput

#: Pixels used of each frame; the median of a pair is then good to 0.25 % of the pixel noise.
MAX_PIXELS = 250_000

#: Fewer pixels than this tell no slope.
FEWEST = 500
_CLIP = 4.0 * 1.4826
INF32 = np.float32(np.inf)

Float64 = npt.NDArray[np.float64]


def normalization_factors(
    data: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32],
    mask: Sequence[npt.NDArray[np.uint16]] | npt.NDArray[np.uint16] | None,
    *,
    mode: Literal["scale", "zero"],
    section: tuple[slice, slice] | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Float64:
    """Return the factors or offsets that best match all pairs of frames.

    Parameters
    ----------
    data : n images, float32, shape (ny, nx)
    mask : n images, uint16, shape (ny, nx), or None
        A pixel with any bit in either frame is not used for that pair.
    mode : {"scale", "zero"}
        Multiply or add; ``scale`` uses only positive pixels.
    section : pair of slices (y, x), optional
        Region to use.
    max_pixels : int or None
        Larger regions are thinned to about this many pixels of a regular grid.

    Returns
    -------
    float64, shape (n,)
        1 (``scale``) or 0 (``zero``) for the first frame.

    Raises
    ------
    BadInput
        A frame is not linked to the first by pairs with usable pixels in common.

    References
    ----------
    Spec 14.2, 15.5. Departures: normal equations in place of a search; regions above
    `max_pixels` are thinned; a frame that cannot be compared is an error, not a warning.
    """
    n = len(data)
    region = (slice(None), slice(None)) if section is None else section
    size = data[0][region].size
    step = 1 if max_pixels is None else max(1, -(-size // max_pixels))
    step += step > 1 and step % 2 == 0  # odd, so that it does not stay on the same columns
    values = np.stack([data[i][region].reshape(-1)[::step] for i in range(n)])
    good = np.isfinite(values)
    if mask is not None:
        good &= np.stack([mask[i][region].reshape(-1)[::step] == 0 for i in range(n)])
    if mode == "scale":
        good &= values > 0
    offsets = np.zeros((n, n))
    weights = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            both = good[i] & good[j]
            weights[i, j] = np.count_nonzero(both)
            if weights[i, j] == 0:
                continue
            a, b = values[i][both], values[j][both]
            if mode == "scale":
                with np.errstate(over="ignore"):  # by a tiny value: far above the median
                    offsets[i, j] = -np.log(np.float64(np.median(b / a)))
            else:
                offsets[i, j] = -np.float64(np.median(b - a))
    x = solve_pairs(offsets, weights)
    return np.exp(x) if mode == "scale" else x


def solve_pairs(offsets: Float64, weights: Float64) -> Float64:
    """Minimise the sum over i < j of w_ij (o_ij + x_i - x_j)^2 with x_0 = 0.

    Parameters
    ----------
    offsets, weights : float64, shape (n, n)
        Only elements above the diagonal are used; a weight of zero means no measurement.

    Returns
    -------
    float64, shape (n,)

    Raises
    ------
    BadInput
        The pairs do not link every frame to the first.
    """
    w = np.triu(weights, 1)
    w = w + w.T
    reached = np.zeros(len(w), dtype=bool)
    reached[0] = True
    for _ in range(len(w)):
        reached |= (w[reached] > 0).any(axis=0)
    if not reached.all():
        numbers = ", ".join(str(k + 1) for k in np.flatnonzero(~reached))
        raise BadInput(
            what=f"frame {numbers} of {len(w)} has no usable pixel in common with the first",
            why="its level cannot be compared",
            fix="choose another section, or stack without scale and zero",
        )
    o = np.triu(offsets * weights, 1)
    right = o.sum(axis=0) - o.sum(axis=1)
    matrix = np.diag(w.sum(axis=1)) - w
    x = np.zeros(len(w))
    x[1:] = np.linalg.solve(matrix[1:, 1:], right[1:])
    return x


def photon_slopes(
    data: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint16] | None,
    scale: npt.ArrayLike | None = None,
    each: Callable[[Callable[[int], float], Iterable[int]], Iterable[float]] = map,
) -> Float64:
    """Measure how the variances of frames follow the noise of their own pixels.

    Where a pixel of a frame happens to be higher than in the other frames, its variance is higher
    if it was computed from the pixel: by one for each electron, less after interpolation and
    where there was no signal to speak of, not at all if VAR has no photon noise. The slope is that
    of the regression of one difference on the other; patterns of the variance, such as vignetting,
    do not follow the noise and cancel.

    Parameters
    ----------
    data, variance : float32, shape (n, ...)
        The same pixels of all frames; some 10 000 tell a slope to 0.02 or better.
    mask : uint16, shape of `data`, or None
        Samples with any bit are not used.
    scale : shape (n,), optional
        Factors that the frames get later; the slopes are those after scaling.
    each : callable, optional
        Applies a function to all items as ``map`` does, in threads for instance.

    Returns
    -------
    float64, shape (n,)
        Variance per signal, not negative; 0 where fewer than 500 pixels can be compared. In a
        frame that differs from the others it is drawn to theirs, by 1/n of the difference.

    References
    ----------
    Spec 5.3. Ours.
    """
    n = len(data)
    x, v = data.reshape(n, -1), variance.reshape(n, -1)
    flags = np.zeros((1, x.shape[1]), np.uint16) if mask is None else mask.reshape(n, -1)
    totals = np.zeros((3, x.shape[1]))
    _add_good(x, v, flags, totals)

    def slope(i: int) -> float:
        dx, dv = np.empty((2, x.shape[1]))
        size = _differences(x[i], v[i], flags[i % len(flags)], totals, dx, dv)
        return _slope(dx[:size], dv[:size])

    slopes = np.array(list(each(slope, range(n))), np.float64)
    return slopes if scale is None else slopes * np.abs(np.asarray(scale, np.float64))


@kernel
def _add_good(x, v, flags, totals):  # type: ignore[no-untyped-def]
    """Add number, values and variances of the good samples of all frames to `totals`."""
    number, values, variances = totals
    for i in range(x.shape[0]):
        xi, vi, bits = x[i], v[i], flags[i % flags.shape[0]]
        for p in range(xi.size):
            a, b = xi[p], vi[p]
            good = (abs(a) < INF32) & (abs(b) < INF32) & (bits[p] == 0)
            number[p] += 1.0 if good else 0.0
            values[p] += np.float64(a) if good else 0.0
            variances[p] += np.float64(b) if good else 0.0


@kernel
def _differences(x, v, bits, totals, dx, dv):  # type: ignore[no-untyped-def]
    """Fill `dx`, `dv` with differences from the mean of the other frames; return how many."""
    number, values, variances = totals
    size = 0
    for p in range(x.size):
        a, b = x[p], v[p]
        if (abs(a) < INF32) & (abs(b) < INF32) & (bits[p] == 0) & (number[p] > 1.0):
            others = number[p] - 1.0
            dx[size] = np.float64(a) - (values[p] - np.float64(a)) / others
            dv[size] = np.float64(b) - (variances[p] - np.float64(b)) / others
            size += 1
    return size


def _slope(dx: Float64, dv: Float64) -> float:
    """Return the slope of the regression of `dv` on `dx`, outliers left out; at least 0."""
    if dx.size < FEWEST:
        return 0.0
    kept = np.ones(dx.size, bool)
    for d in (dx, dv):  # stars, cosmic rays
        away = np.abs(d - np.median(d))
        kept &= away <= _CLIP * np.median(away)
    dx, dv = dx[kept], dv[kept]
    dx -= dx.mean()
    spread = float((dx * dx).sum())
    return max(0.0, float((dx * dv).sum()) / spread) if spread > 0 else 0.0
