"""Measurement of detected sources: the object mask, and the columns of OBJCAT in pixels."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import sep
from f2yaml.interpreter.algorithms.catalog import MISSING, OBJCAT_DTYPE, ellipse
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.dq import DQ
from numpy.typing import NDArray

__all__ = ["Field", "grow_mask", "measure", "set_flags", "set_profiles"]

#: Factor by which the radius of an isophote grows in the object mask, and the most it grows.
_GROWTH: Final = 1.5
_GROWTH_MAX_PIX: Final = 30.0
_NONE: Final = float(MISSING)
_CORE_HALF_PIX: Final = 12

Image = NDArray[np.float32]


class Field(NamedTuple):
    """The planes sources are measured on, all of shape (ny, nx).

    Parameters
    ----------
    image : ndarray of float32
        Background subtracted, 0 on bad pixels.
    bad : ndarray of bool
    segments : ndarray of int32
        Number of the detection a pixel belongs to, from 1, else 0.
    noise : ndarray of float32
        Its variance or standard deviation.
    is_variance : bool
    factor : float
        Of the standard deviation.
    """

    image: Image
    bad: NDArray[np.bool_]
    segments: NDArray[np.int32]
    noise: Image
    is_variance: bool
    factor: float


def _shapes(found: NDArray[Any]) -> NDArray[np.float64]:
    """Columns of `found` as the rows of an array, for kernels."""
    names = ("x", "y", "a", "b", "cxx", "cyy", "cxy", "npix", "xmin", "xmax", "ymin", "ymax")
    return np.array([found[name].astype(np.float64) for name in names])


@part
def _box(shape: Any, extra: int, ny: int, nx: int) -> tuple[int, int, int, int]:
    """Box (y0, y1, x0, x1) of a detection, grown by `extra` pixels."""
    return (
        max(0, int(shape[10]) - extra),
        min(ny, int(shape[11]) + extra + 1),
        max(0, int(shape[8]) - extra),
        min(nx, int(shape[9]) + extra + 1),
    )


@part
def _inside(shape: Any, y: int, x: int, area: float) -> bool:
    """Whether a pixel is inside the ellipse of a detection, scaled to `area` pixels."""
    dy, dx = y - shape[1], x - shape[0]
    form = shape[4] * dx * dx + shape[5] * dy * dy + shape[6] * dx * dy
    return bool(form <= area / (np.pi * max(shape[2] * shape[3], 1e-6)))


@compiled
def _paint(shapes: Any, growth: float, most: float, out: Any) -> None:
    ny, nx = out.shape
    for k in range(shapes.shape[1]):
        one = np.ascontiguousarray(shapes[:, k])
        radius = np.sqrt(one[7] / np.pi)
        grow = min((growth - 1.0) * radius, most)
        area = one[7] * ((radius + grow) / radius) ** 2
        stretch = np.sqrt(max(one[2], 0.1) / max(one[3], 0.1))
        extra = int(np.ceil(min(grow * stretch, 2 * most))) + 1
        y0, y1, x0, x1 = _box(one, extra, ny, nx)
        for y in range(y0, y1):
            for x in range(x0, x1):
                if _inside(one, y, x, area):
                    out[y, x] = 1


def grow_mask(found: NDArray[Any], objmask: NDArray[np.uint8]) -> None:
    """Add to `objmask`, which holds the segments, the ellipse of each with its radius grown."""
    _paint(_shapes(found), _GROWTH, _GROWTH_MAX_PIX, objmask)


def measure(
    field: Field, found: NDArray[Any], phot_min_radius: float, gain: float | None
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return a catalogue with the pixel columns filled, and the rows of `found` it holds."""
    image, bad = field.image, field.bad
    usable = (found["a"] > 0) & (found["b"] > 0) & np.isfinite(found["theta"])
    rows = np.flatnonzero(usable)
    src = found[rows]
    out = np.full(len(src), MISSING, dtype=OBJCAT_DTYPE) if len(src) else np.zeros(0, OBJCAT_DTYPE)
    for name in ("FLAGS", "IMAFLAGS_ISO", "NIMAFLAGS_ISO"):
        out[name] = 0
    if len(src) == 0:
        return out, rows
    x, y, a, b = src["x"], src["y"], src["a"], src["b"]
    theta = np.clip(src["theta"], -np.pi / 2, np.pi / 2)
    ids = (rows + 1).astype(np.int32)
    same = {"mask": bad, "seg_id": ids, "segmap": field.segments}
    kron, _ = sep.kron_radius(image, x, y, a, b, theta, 6.0, **same)
    scale = np.maximum(2.5 * np.nan_to_num(kron), phot_min_radius)
    noise = {"var" if field.is_variance else "err": field.noise}
    flux, fluxerr, flags = sep.sum_ellipse(
        image, x, y, a, b, theta, scale, gain=gain, subpix=5, **noise, **same
    )
    fluxerr = fluxerr * field.factor
    radius, _ = sep.flux_radius(
        image, x, y, 6.0 * a, 0.5, normflux=np.where(flux > 0, flux, 1.0), mask=bad, subpix=5
    )
    u, v, wrong = sep.winpos(image, x, y, np.clip(radius, 0.8, 8.0) * 2.0 / 2.3548, mask=bad)
    fine = (wrong == 0) & (np.hypot(u - x, v - y) < 1.0) & (flux > 0)
    out["X_IMAGE"], out["Y_IMAGE"] = np.where(fine, u, x) + 1, np.where(fine, v, y) + 1
    out["A_IMAGE"], out["B_IMAGE"], out["THETA_IMAGE"] = a, b, np.degrees(theta)
    out["ELLIPTICITY"] = 1.0 - b / a
    for name in ("errx2", "erry2", "errxy"):
        out[f"{name.upper()}_IMAGE"] = src[name]
    out["ERRA_IMAGE"], out["ERRB_IMAGE"], out["ERRTHETA_IMAGE"] = ellipse(
        src["errx2"], src["erry2"], src["errxy"]
    )
    out["FLUX_AUTO"], out["FLUXERR_AUTO"] = flux, fluxerr
    lit = (flux > 0) & (fluxerr > 0)
    out["MAG_AUTO"][lit] = -2.5 * np.log10(flux[lit])
    out["MAGERR_AUTO"][lit] = 2.5 / np.log(10.0) * fluxerr[lit] / flux[lit]
    out["FLUX_RADIUS"] = np.where(np.isfinite(radius) & (radius > 0), radius, MISSING)
    out["FLUX_MAX"], out["ISOAREA_IMAGE"] = src["peak"], src["npix"]
    widths = np.empty(len(src))
    _core_fwhm(image, field.segments, ids, out["X_IMAGE"] - 1, out["Y_IMAGE"] - 1, widths)
    out["FWHM_IMAGE"] = widths
    out["FLAGS"] = 16 * ((flags & sep.APER_TRUNC) != 0)
    return out, rows


@compiled
def _core_fwhm(image: Any, segments: Any, ids: Any, xs: Any, ys: Any, out: Any) -> None:
    """FWHM of a Gaussian fitted to the pixels above a third of the peak; -999 if impossible."""
    ny, nx = image.shape
    side = 2 * _CORE_HALF_PIX + 1
    r2, light = np.empty(side * side), np.empty(side * side)
    for k in range(ids.size):
        out[k] = _NONE
        iy, ix = int(np.rint(ys[k])), int(np.rint(xs[k]))
        y0, y1 = max(0, iy - _CORE_HALF_PIX), min(ny, iy + _CORE_HALF_PIX + 1)
        x0, x1 = max(0, ix - _CORE_HALF_PIX), min(nx, ix + _CORE_HALF_PIX + 1)
        peak = 0.0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if segments[y, x] == ids[k]:
                    peak = max(peak, float(image[y, x]))
        n, total, mean_r, mean_l = 0, 0.0, 0.0, 0.0
        for y in range(y0, y1):
            for x in range(x0, x1):
                value = float(image[y, x])
                if segments[y, x] == ids[k] and value > peak / 3.0:
                    r2[n], light[n] = (x - xs[k]) ** 2 + (y - ys[k]) ** 2, value
                    total += value * value
                    mean_r += value * value * r2[n]
                    mean_l += value * value * np.log(value)
                    n += 1
        if n < 4:
            continue
        # ln I = c - r^2 / 2 s^2, weighted by I^2 because the errors of ln I are those of I over I.
        mean_r, mean_l = mean_r / total, mean_l / total
        both, square = 0.0, 0.0
        for t in range(n):
            w, d = light[t] * light[t], r2[t] - mean_r
            both += w * d * (np.log(light[t]) - mean_l)
            square += w * d * d
        slope = both / square
        if slope < 0.0:
            out[k] = 2.3548 * np.sqrt(-0.5 / slope)


@compiled
def _quality(shapes: Any, rows: Any, segments: Any, mask: Any, some: Any, count: Any) -> None:
    """OR of the quality bits in each source, and the number of pixels that have any."""
    ny, nx = segments.shape
    for k in range(rows.size):
        one = np.ascontiguousarray(shapes[:, rows[k]])
        y0, y1, x0, x1 = _box(one, 1, ny, nx)
        bits, n = 0, 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if mask[y, x] == 0:
                    continue
                # Flagged pixels belong to no segment, so the ellipse tells which are the source's.
                if segments[y, x] == rows[k] + 1 or _inside(one, y, x, one[7]):
                    bits |= int(mask[y, x])
                    n += 1
        some[k], count[k] = bits, n


def set_flags(
    catalog: NDArray[Any],
    found: NDArray[Any],
    rows: NDArray[np.intp],
    segments: NDArray[np.int32],
    mask: NDArray[np.uint16] | None,
    saturation: float | None,
) -> None:
    """Fill FLAGS with Source Extractor's bits, and the columns about quality bits."""
    one = found[rows]
    flags = catalog["FLAGS"].astype(np.int64)
    flags |= np.where(one["flag"] & sep.OBJ_MERGED, 2, 0)
    flags |= np.where(one["flag"] & sep.OBJ_TRUNC, 8, 0)
    flags |= np.where(one["flag"] & sep.OBJ_DOVERFLOW, 64, 0)
    if mask is not None and len(rows):
        some, count = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        _quality(_shapes(found), rows, segments, mask, some, count)
        catalog["IMAFLAGS_ISO"], catalog["NIMAFLAGS_ISO"] = some, count
        flags |= np.where(count > 0.1 * catalog["ISOAREA_IMAGE"], 1, 0)
        flags |= np.where(some & int(DQ.SATURATED), 4, 0)
    if saturation is not None:
        flags |= np.where(one["peak"] >= saturation, 4, 0)
    catalog["FLAGS"] = flags


@maker
def _profile(image: Any, half: int, x: float, y: float, flux: float, tallest: float) -> Any:
    """FWHM, diameter of half the flux, and peak of a source; -999 where not measured."""
    ny, nx = image.shape
    ix, iy = int(np.rint(x)), int(np.rint(y))
    if not (half <= ix < nx - half and half <= iy < ny - half):
        return _NONE, _NONE, tallest
    side = 2 * half + 1
    values, r2 = np.empty(side * side), np.empty(side * side)
    peak = -np.inf
    for j in range(side):
        for i in range(side):
            value = float(image[iy - half + j, ix - half + i])
            values[j * side + i] = value
            r2[j * side + i] = (i - half + (ix - x)) ** 2 + (j - half + (iy - y)) ** 2
            if abs(i - half) <= 2 and abs(j - half) <= 2:
                peak = max(peak, value)
    if peak <= 0.0:
        peak = tallest
    high = 0
    for t in range(values.size):
        high += 1 if values[t] > peak / 2.0 else 0
    area = 0
    for t in range(values.size):
        area += 1 if values[t] > peak / 2.0 and r2[t] < 1.5 * high / np.pi else 0
    fwhm = 2.0 * np.sqrt(area / np.pi)
    if not 0.0 < fwhm < 2 * half:
        fwhm = _NONE
    enclosed = _NONE
    if flux > 0.0:
        total = 0.0
        for t in np.argsort(r2, kind="mergesort"):
            total += values[t]
            if total >= 0.5 * flux:
                enclosed = 2.0 * np.sqrt(r2[t])
                break
    return fwhm, enclosed, peak


@compiled
def _profiles(image: Any, half: int, xs: Any, ys: Any, flux: Any, tallest: Any, out: Any) -> None:
    for k in range(xs.size):
        out[k, 0], out[k, 1], out[k, 2] = _profile(image, half, xs[k], ys[k], flux[k], tallest[k])


def set_profiles(image: Image, catalog: NDArray[Any], seeing: float | None, scale: float) -> None:
    """Fill PROFILE_FWHM, PROFILE_EE50 and FLUX_MAX (spec 9.1)."""
    half = max(10, int(1.2 * seeing) if seeing is not None else int(0.5 / scale))
    columns = [
        np.ascontiguousarray(catalog[name], dtype=np.float64)
        for name in ("X_IMAGE", "Y_IMAGE", "FLUX_AUTO", "FLUX_MAX")
    ]
    out = np.empty((len(catalog), 3))
    _profiles(image, half, columns[0] - 1, columns[1] - 1, columns[2], columns[3], out)
    for k, name in enumerate(("PROFILE_FWHM", "PROFILE_EE50", "FLUX_MAX")):
        catalog[name] = out[:, k]
