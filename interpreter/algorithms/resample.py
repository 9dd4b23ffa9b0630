"""Resampling of frames to another pixel grid by separable interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms.interpolants import (
    Kernel,
    fill_flagged,
    kernel,
    spline_coefficients,
)
from f2yaml.interpreter.algorithms.resample_kernels import TOLERANCE_PIX, fill_pixels, fill_runs
from f2yaml.interpreter.algorithms.resample_steady import is_steady
from f2yaml.interpreter.algorithms.tan import Affine
from f2yaml.interpreter.dq import NOT_SIGNAL
from f2yaml.interpreter.errors import BadInput, FrameMismatch
from numpy.typing import NDArray

__all__ = [
    "TOLERANCE_PIX",
    "Planes",
    "Resampled",
    "Resampling",
    "noise_correlation",
    "output_box",
    "prefilter",
    "resample_rows",
    "snap",
]

Array = NDArray[Any]

_EXCLUDED = int(NOT_SIGNAL)


@dataclass(frozen=True, slots=True)
class Planes:
    """The planes of one frame, all of shape (ny, nx), native byte order.

    Parameters
    ----------
    data : ndarray of float32
    variance : ndarray of float32, optional
    mask : ndarray of uint16, optional
        Quality bits.
    objmask : ndarray of uint8, optional
        Set where it is not zero.
    coefficients : ndarray of float32, optional
        Spline coefficients of `data`; `prefilter` fills them in.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32] | None = None
    mask: NDArray[np.uint16] | None = None
    objmask: NDArray[np.uint8] | None = None
    coefficients: NDArray[np.float32] | None = None


class Resampled(NamedTuple):
    """Rows of a resampled frame; planes that the input lacks are None, but for the mask."""

    data: NDArray[np.float32]
    variance: NDArray[np.float32] | None
    mask: NDArray[np.uint16]
    objmask: NDArray[np.uint8] | None


def prefilter(planes: Planes, interpolant: str) -> Planes:
    """Return `planes` ready for `interpolant`: with coefficients for a spline, else unchanged.

    A spline coefficient depends on all pixels nearby, so flagged pixels cannot be left out
    later; they are filled from their good neighbours here.
    """
    if not kernel(interpolant).is_spline:
        return planes
    data = planes.data
    if planes.mask is not None:
        data = np.empty_like(planes.data)
        fill_flagged(planes.data, planes.mask, _EXCLUDED, data)
    return replace(planes, coefficients=spline_coefficients(data, interpolant))


def snap(affine: Affine, shape: tuple[int, int]) -> tuple[Affine, tuple[bool, bool]]:
    """Make an axis an exact integer shift where it is one within `TOLERANCE_PIX`.

    Parameters
    ----------
    affine : Affine
        Output pixel -> input position.
    shape : (int, int)
        (ny, nx) of the input, over all of which the tolerance must hold.

    Returns
    -------
    affine : Affine
    whole : (bool, bool)
        Whether x and y are integer shifts.
    """
    ny, nx = shape
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0])
    u, v = affine.inverse().apply(x, y)
    rows, shifts = list(affine.matrix), list(affine.shift)
    whole = [False, False]
    for axis, offset in enumerate((x - u, y - v)):
        nearest = float(np.rint(offset[0]))
        if np.all(np.abs(offset - nearest) <= TOLERANCE_PIX):
            rows[axis], shifts[axis] = ((1.0, 0.0), (0.0, 1.0))[axis], nearest
            whole[axis] = True
    return Affine((rows[0], rows[1]), (shifts[0], shifts[1])), (whole[0], whole[1])


def _axis_kernels(affine: Affine, shape: tuple[int, int], name: str) -> tuple[Affine, list[Kernel]]:
    """Return the snapped map and the kernels along x and y."""
    chosen, copy = kernel(name), kernel("nearest")
    affine, whole = snap(affine, shape)
    if chosen.is_spline and not all(whole):
        # Coefficients are not pixels: an unshifted axis needs its taps all the same.
        return affine, [chosen, chosen]
    return affine, [copy if flag else chosen for flag in whole]


def _checked(planes: Planes, affine: Affine) -> None:
    shape = planes.data.shape
    if len(shape) != 2 or min(shape) < 2:
        raise BadInput(
            what=f"an image of shape {shape} cannot be resampled",
            why="interpolation needs two pixels along each axis",
            fix="check the SCI extension of the file",
        )
    for name in ("variance", "mask", "objmask", "coefficients"):
        plane = getattr(planes, name)
        if plane is not None and plane.shape != shape:
            raise FrameMismatch(
                what=f"the {name} plane has shape {plane.shape}, the data {shape}",
                why="planes of a frame belong together pixel by pixel",
                fix="make the file again from the raw frames",
            )
    scale = abs(affine.determinant) ** 0.5
    if not 0.5 <= scale <= 1.5:
        raise FrameMismatch(
            what=f"an output pixel would cover {scale:.3g} input pixels along a side",
            why="interpolation without averaging loses light when scales differ this much",
            fix="use frames of about the same pixel scale (0.5 to 1.5)",
        )


def resample_rows(
    planes: Planes,
    affine: Affine,
    y0: int,
    y1: int,
    nx_out: int,
    interpolant: str = "poly3",
    dq_threshold: float = 0.1,
    conserve: bool = True,
    out: Resampled | None = None,
) -> Resampled:
    """Interpolate rows `y0` up to (not including) `y1` of the output grid.

    The value of an output pixel depends on its position only, not on `y0` and `y1`: any split
    into bands gives the same bytes.

    Parameters
    ----------
    planes : Planes, shape (ny, nx)
        The whole input frame. For a spline, the result of `prefilter`.
    affine : Affine
        Output pixel -> input position. An axis that is an integer shift within `TOLERANCE_PIX`
        is copied, not interpolated.
    y0, y1 : int, pixel
    nx_out : int, pixel
        Width of the output.
    interpolant : str
        nearest, linear, poly3, poly5, lanczos3, spline3 or spline5.
    dq_threshold : float
        A quality bit is set where the absolute weights over pixels having it exceed this.
    conserve : bool
        Multiply by the area of an output pixel in input pixels (variance by its square), so that
        total flux is kept.
    out : Resampled, optional
        Planes of shape (y1 - y0, nx_out) to fill instead of new ones.

    Returns
    -------
    Resampled
        Outside the input: data 0, variance 0, mask 16, objmask 0.

    Raises
    ------
    BadInput, FrameMismatch
        The image is too small, planes differ in shape, or the scale changes by more than 1.5.
    RequestError
        There is no such interpolant.

    References
    ----------
    Spec, primitives 10.2 and 14.5 (DRAGONS ``resampleToCommonFrame``). Departures: variance uses
    squared weights, hence is that of a pixel; pixels with a bit other than 2 and 4 are left out
    and the other weights renormalised, unless they hold over half of the absolute weight (then
    all are used and the pixel is flagged); positions within `TOLERANCE_PIX` of an edge count as
    inside; lanczos3 is added. Spline coefficients mix pixels: there flagged pixels are filled
    beforehand, and the variance takes the noise gain of the spline where that is smooth. Where the
    map is a shift and a turn of at most 1e-4, cubic sums go along x first and then along y, each
    row of taps at its own position (Catmull and Smith 1980): as exact, and three times as fast.
    """
    return Resampling(planes, affine, nx_out, interpolant, dq_threshold, conserve).rows(y0, y1, out)


class Resampling:
    """A frame on its way to another grid, rows of which can be asked for again and again.

    Parameters
    ----------
    planes, affine, nx_out, interpolant, dq_threshold, conserve
        As for `resample_rows`, which does the same once.

    Raises
    ------
    BadInput, FrameMismatch, RequestError
        As `resample_rows`.
    """

    def __init__(
        self,
        planes: Planes,
        affine: Affine,
        nx_out: int,
        interpolant: str = "poly3",
        dq_threshold: float = 0.1,
        conserve: bool = True,
    ) -> None:
        _checked(planes, affine)
        snapped, kernels = _axis_kernels(affine, planes.data.shape, interpolant)
        data, exclude = planes.data, _EXCLUDED
        if any(k.is_spline for k in kernels):
            if planes.coefficients is None:
                planes = prefilter(planes, interpolant)
            assert planes.coefficients is not None
            data, exclude = planes.coefficients, 0
        self._has_variance = planes.variance is not None
        self._has_objmask = planes.objmask is not None
        self._nx = nx_out
        m = np.column_stack([np.array(snapped.matrix), np.array(snapped.shift)])
        self._planes = (
            _read_only(data, np.float32),
            _read_only(planes.variance, np.float32),
            _read_only(planes.mask, np.uint16),
            _read_only(planes.objmask, np.uint8),
        )
        factor = abs(snapped.determinant) if conserve else 1.0
        self._rules = exclude, float(dq_threshold), factor, np.ascontiguousarray(m)
        along_x, along_y = ((k.table, k.noise, k.first) for k in kernels)
        self._steady = bool(is_steady(self._rules[3], along_x, along_y, nx_out))
        self._kernels = along_x, along_y, (kernel("poly3").table, kernel("linear").table)

    def rows(self, y0: int, y1: int, out: Resampled | None = None) -> Resampled:
        """Interpolate rows `y0` up to (not including) `y1` of the output grid.

        Planes that are None in `out` are not computed.
        """
        shape = (y1 - y0, self._nx)
        if out is None:
            out = Resampled(
                np.empty(shape, np.float32),
                np.empty(shape, np.float32) if self._has_variance else None,
                np.empty(shape, np.uint16),
                np.empty(shape, np.uint8) if self._has_objmask else None,
            )
        if min(shape) == 0:
            return out
        filled = (
            out.data,
            np.empty((shape[0], 0), np.float32) if out.variance is None else out.variance,
            out.mask,
            np.empty((shape[0], 0), np.uint8) if out.objmask is None else out.objmask,
            np.zeros((shape[0], -(-shape[1] // 8) * 8), np.uint8),
        )
        along_x, along_y, small = self._kernels
        data, variance, mask, objmask = self._planes
        planes = (
            data,
            variance if out.variance is not None else _read_only(None, np.float32),
            mask,
            objmask if out.objmask is not None else _read_only(None, np.uint8),
        )
        exclude, threshold, factor, m = self._rules
        if fill_runs(
            *planes, exclude, threshold, factor, m, y0, along_x, along_y, *filled, self._steady
        ):
            fill_pixels(
                *planes,
                exclude,
                threshold,
                factor,
                m,
                y0,
                along_x,
                along_y,
                small,
                *filled,
                filled[-1].view(np.uint64),
            )
        return out


def _read_only(plane: Array | None, dtype: type[np.generic]) -> Array:
    """Return a contiguous view, of size 0 for None: kernels are compiled for one type of each."""
    made = np.empty((0, 0), dtype) if plane is None else np.ascontiguousarray(plane).view()
    made.flags.writeable = False
    return made


def noise_correlation(affine: Affine, interpolant: str, shape: tuple[int, int]) -> float:
    """Return the mean variance of output pixels for white input noise of variance one.

    The noise of a sum over many output pixels is larger than the variance plane alone says, by
    the square root of the inverse of this; the value does not include the factor of `conserve`.

    Parameters
    ----------
    affine : Affine
        Output pixel -> input position.
    interpolant : str
    shape : (int, int)
        (ny, nx) of the input; its area is sampled at 65 x 65 positions.
    """
    snapped, (along_x, along_y) = _axis_kernels(affine, shape, interpolant)
    forward = snapped.inverse()
    # The grid of output pixels nearest to an even sampling of the input.
    gx, gy = np.meshgrid(np.linspace(0, shape[1] - 1, 65), np.linspace(0, shape[0] - 1, 65))
    x, y = forward.apply(gx, gy)
    px, py = snapped.apply(np.rint(x), np.rint(y))
    fx, fy = px - np.floor(px), py - np.floor(py)
    return float(np.mean(along_x.noise_gain(fx) * along_y.noise_gain(fy)))


def output_box(
    affines: Sequence[Affine], shapes: Sequence[tuple[int, int]]
) -> tuple[int, int, int, int]:
    """Return the smallest box on the reference grid that holds every frame.

    Parameters
    ----------
    affines : sequence of Affine
        Pixel of each frame -> pixel of the reference.
    shapes : sequence of (int, int)
        (ny, nx) of each frame.

    Returns
    -------
    x0, y0, nx, ny : int, pixel
        Lower corner on the reference grid, and size.

    References
    ----------
    Spec, primitives 10.2: the union of [ceil(min), floor(max)] over the centres of corner pixels,
    with a tolerance of `TOLERANCE_PIX` (ours), so that a shift of 2.9999 loses no row.
    """
    low, high = [], []
    for affine, (ny, nx) in zip(affines, shapes, strict=True):
        x, y = affine.apply([0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1])
        corners = np.array([x, y])
        low.append(np.ceil(corners.min(axis=1) - TOLERANCE_PIX))
        high.append(np.floor(corners.max(axis=1) + TOLERANCE_PIX))
    x0, y0 = np.min(low, axis=0).astype(int).tolist()
    x1, y1 = np.max(high, axis=0).astype(int).tolist()
    return x0, y0, x1 - x0 + 1, y1 - y0 + 1
