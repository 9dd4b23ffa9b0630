"""Source detection and measurement on arrays, built on sep (Source Extractor as a library)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sep
from f2yaml.interpreter.algorithms.catalog import (
    MISSING,
    OBJCAT_DTYPE,
    UNITS,
    ellipse,
    fill_world,
    is_stellar,
    seeing_from,
    star_likeness,
)
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.dq import DQ, REPLACE
from numpy.typing import NDArray

__all__ = ["OBJCAT_DTYPE", "UNITS", "Detection", "detect", "is_stellar"]

Image = NDArray[np.float32]

#: Kernel of Source Extractor's default.conv, normalised by sep.
_FILTER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
#: Factor by which the radius of an isophote grows in the object mask, and the most it grows.
_GROWTH, _GROWTH_MAX_PIX = 1.5, 30.0
_SIGMA_OF_MAD = 1.4826
_MIN_PIXELS = 100  # fewer usable pixels have no background to speak of


@dataclass(frozen=True, slots=True)
class Detection:
    """What `detect` finds.

    Parameters
    ----------
    objmask : ndarray of uint8, shape (ny, nx)
        1 on sources, else 0.
    catalog : structured ndarray of OBJCAT_DTYPE
    background : float
        Level of the image, its unit.
    rms : float
        Noise of a pixel; where the image is noisiest, the variance plane says more.
    seeing_fwhm_pix : float or None
    """

    objmask: NDArray[np.uint8]
    catalog: NDArray[Any]
    background: float
    rms: float
    seeing_fwhm_pix: float | None


def detect(
    data: Image,
    mask: NDArray[np.uint16] | None = None,
    variance: Image | None = None,
    *,
    threshold: float = 2.0,
    minarea: int = 8,
    deblend_mincont: float = 0.005,
    deblend_nthresh: int = 32,
    back_size: int = 64,
    back_filtersize: int = 8,
    replace_flags: int = REPLACE,
    phot_min_radius: float = 3.5,
    pixel_scale: float = 0.179,
    gain: float = 1.0,
    saturation: float | None = None,
    min_isoarea: int = 20,
    seeing_fwhm_pix: float | None = None,
    wcs: Tan | None = None,
) -> Detection:
    """Detect and measure the sources of an image.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), native byte order
    mask : ndarray of uint16, shape (ny, nx), optional
        Quality bits.
    variance : ndarray of float32, shape (ny, nx), optional
        Gives the course of the noise over the frame; its level is measured.
    threshold : float, sigma of a pixel
    minarea : int, pixel
        Smallest detection in the object mask.
    deblend_mincont, deblend_nthresh
        Contrast and levels of deblending.
    back_size, back_filtersize : int, pixel and meshes
    replace_flags : int
        Pixels with any of these bits are left out.
    phot_min_radius : float
        Smallest Kron aperture, in units of the isophotal ellipse.
    pixel_scale : float, arcsec/pixel
        Used for FWHM_WORLD without `wcs`.
    gain : float, electron per count
        For photometric errors without `variance`.
    saturation : float, optional
        Sources whose peak reaches this get FLAGS 4.
    min_isoarea : int, pixel
        Smallest detection in the catalogue.
    seeing_fwhm_pix : float, optional
        Known seeing; else estimated.
    wcs : Tan, optional
        Fills the world columns.

    Returns
    -------
    Detection
        Without sources for a constant, fully flagged or very small image.

    References
    ----------
    Spec, primitives 9.1 (DRAGONS ``detectSources``) and instrument 4.4. Departures: sep instead of
    the program, one run instead of two; flagged pixels are masked, not filled; the threshold
    follows the noise, so that a vignetted border holds no swarm of sources; the object mask has
    every detection of `minarea` pixels, and the radius of each isophote grows by half (at most 30
    pixels): in the wings of a star, r^-5, light falls from 2 sigma to 0.3 sigma over that, and
    fields of sky need it; X_IMAGE, Y_IMAGE are windowed centroids, a little more precise for
    faint stars; CLASS_STAR is our own (`star_likeness`); MAG_AUTO is -999 where flux is negative.
    """
    shape = data.shape
    bad = ~np.isfinite(data)
    if mask is not None:
        bad |= (mask & replace_flags) != 0
    empty = Detection(np.zeros(shape, np.uint8), np.zeros(0, OBJCAT_DTYPE), 0.0, 0.0, None)
    if bad.size - np.count_nonzero(bad) < max(_MIN_PIXELS, bad.size // 1000):
        return empty
    image = np.where(bad, np.float32(0), data).astype(np.float32, copy=False)
    model = sep.Background(
        image, mask=bad, bw=back_size, bh=back_size, fw=back_filtersize, fh=back_filtersize
    )
    back = model.back(dtype=np.float32)
    image = image - back
    image[bad] = 0
    noise = _noise(image, bad, variance, float(model.globalrms), model)
    if noise is None:
        return Detection(empty.objmask, empty.catalog, float(model.globalback), 0.0, None)
    found, segments = _extract(
        image, bad, noise, threshold, minarea, deblend_nthresh, deblend_mincont,
        gain if variance is None else None,
    )  # fmt: skip
    objmask = _object_mask(found, segments)
    rms = float(np.median(noise[::8, ::8][~bad[::8, ::8]])) if not bad[::8, ::8].all() else 0.0
    catalog, rows = _measure(
        image, bad, noise, found, segments, phot_min_radius, gain if variance is None else None
    )
    _flags(catalog, found, rows, segments, mask, saturation)
    catalog["BACKGROUND"] = back[
        np.clip(np.rint(catalog["Y_IMAGE"] - 1).astype(int), 0, shape[0] - 1),
        np.clip(np.rint(catalog["X_IMAGE"] - 1).astype(int), 0, shape[1] - 1),
    ]
    fill_world(catalog, wcs, pixel_scale)
    iso = catalog["ISOAREA_IMAGE"]
    keep = (
        (iso >= min_isoarea)
        & (catalog["B_IMAGE"] >= 1.1)
        & (catalog["A_IMAGE"] <= 50 * catalog["B_IMAGE"])
        & (catalog["NIMAFLAGS_ISO"] <= 0.95 * iso)
    )
    catalog = catalog[keep]
    seeing = _classify(catalog, seeing_fwhm_pix)
    _profiles(image, catalog, seeing, pixel_scale)
    catalog["NUMBER"] = np.arange(1, len(catalog) + 1)
    return Detection(objmask, catalog, float(model.globalback), rms, seeing)


def _noise(
    image: Image, bad: NDArray[np.bool_], variance: Image | None, rms: float, model: Any
) -> Image | None:
    """Noise of each pixel, or None for an image without any."""
    if variance is None:
        if not rms > 0.0:
            return None
        # Cells of a border can be quiet by chance or by masks; none is trusted to be so.
        return np.asarray(np.maximum(model.rms(dtype=np.float32), np.float32(0.7 * rms)))
    good = ~bad & np.isfinite(variance) & (variance > 0)
    if np.count_nonzero(good) < 0.5 * np.count_nonzero(~bad):
        return _noise(image, bad, None, rms, model)
    sigma = np.sqrt(np.where(good, variance, np.float32(0)))
    sample = (slice(None, None, 5), slice(None, None, 3))
    chosen = good[sample]
    pulls = image[sample][chosen] / sigma[sample][chosen]
    factor = _SIGMA_OF_MAD * float(np.median(np.abs(pulls - np.median(pulls)))) if pulls.size else 0
    # Noise-free data: the variance still says what is significant.
    sigma *= np.float32(factor if factor > 0.05 else 1.0)
    sigma[~good] = np.median(sigma[sample][chosen])
    return np.asarray(sigma)


def _extract(
    image: Image,
    bad: NDArray[np.bool_],
    noise: Image,
    threshold: float,
    minarea: int,
    nthresh: int,
    contrast: float,
    gain: float | None,
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Run sep, with more memory, and in the end without deblending, where it asks for it."""
    sep.set_extract_pixstack(max(1_000_000, image.size))
    limit, old = 4096, sep.get_sub_object_limit()
    options: dict[str, Any] = {} if gain is None else {"gain": gain}
    try:
        while True:
            sep.set_sub_object_limit(limit)
            try:
                return _sep_extract(
                    image, threshold, err=noise, mask=bad, minarea=minarea,
                    filter_kernel=_FILTER, filter_type="conv", deblend_nthresh=nthresh,
                    deblend_cont=contrast, segmentation_map=True, **options,
                )  # fmt: skip
            except Exception as error:  # sep raises the bare class
                if "deblending overflow" not in str(error) or contrast >= 1.0:
                    raise
                if limit >= 65536:
                    contrast = 1.0
                limit *= 4
    finally:
        sep.set_sub_object_limit(old)


def _sep_extract(*args: Any, **options: Any) -> tuple[NDArray[Any], NDArray[np.int32]]:
    found, segments = sep.extract(*args, **options)
    return found, segments


def _stamp(found: Any, extra: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Slices of the box of a detection, grown by `extra` pixels."""
    return (
        slice(max(0, int(found["ymin"]) - extra), min(shape[0], int(found["ymax"]) + extra + 1)),
        slice(max(0, int(found["xmin"]) - extra), min(shape[1], int(found["xmax"]) + extra + 1)),
    )


def _inside_ellipse(found: Any, box: tuple[slice, slice], area: float) -> NDArray[np.bool_]:
    """Pixels of a box inside the ellipse of a detection, scaled to `area` pixels."""
    y = np.arange(box[0].start, box[0].stop)[:, None] - found["y"]
    x = np.arange(box[1].start, box[1].stop)[None, :] - found["x"]
    form = found["cxx"] * x * x + found["cyy"] * y * y + found["cxy"] * x * y
    return np.asarray(form <= area / (np.pi * max(found["a"] * found["b"], 1e-6)))


def _object_mask(found: NDArray[Any], segments: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Segments, and around each its ellipse with the radius grown."""
    out = (segments > 0).astype(np.uint8)
    for one in found:
        radius = np.sqrt(one["npix"] / np.pi)
        grow = min((_GROWTH - 1.0) * radius, _GROWTH_MAX_PIX)
        area = float(one["npix"]) * ((radius + grow) / radius) ** 2
        stretch = np.sqrt(max(one["a"], 0.1) / max(one["b"], 0.1))
        box = _stamp(one, int(np.ceil(min(grow * stretch, 2 * _GROWTH_MAX_PIX))) + 1, out.shape)
        out[box][_inside_ellipse(one, box, area)] = 1
    return out


def _measure(
    image: Image,
    bad: NDArray[np.bool_],
    noise: Image,
    found: NDArray[Any],
    segments: NDArray[np.int32],
    phot_min_radius: float,
    gain: float | None,
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return a catalogue with the pixel columns filled, and the rows of `found` it holds."""
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
    same = {"mask": bad, "seg_id": ids, "segmap": segments}
    kron, _ = sep.kron_radius(image, x, y, a, b, theta, 6.0, **same)
    scale = np.maximum(2.5 * np.nan_to_num(kron), phot_min_radius)
    flux, fluxerr, flags = sep.sum_ellipse(
        image, x, y, a, b, theta, scale, err=noise, gain=gain, subpix=5, **same
    )
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
    out["FWHM_IMAGE"] = [
        _core_fwhm(image, segments, int(i), px - 1, py - 1)
        for i, px, py in zip(ids, out["X_IMAGE"], out["Y_IMAGE"], strict=True)
    ]
    out["FLAGS"] = 16 * ((flags & sep.APER_TRUNC) != 0)
    return out, rows


def _core_fwhm(image: Image, segments: NDArray[np.int32], number: int, x: float, y: float) -> float:
    """FWHM of a Gaussian fitted to the pixels above a third of the peak; -999 if impossible."""
    half = 12
    y0, x0 = max(0, round(y) - half), max(0, round(x) - half)
    box = (slice(y0, round(y) + half + 1), slice(x0, round(x) + half + 1))
    values = image[box].astype(np.float64)
    own = segments[box] == number
    if not own.any():
        return MISSING
    chosen = own & (values > max(values[own].max() / 3.0, 0.0))
    if np.count_nonzero(chosen) < 4:
        return MISSING
    dy, dx = np.nonzero(chosen)
    r2 = (dx + x0 - x) ** 2 + (dy + y0 - y) ** 2
    level = values[chosen]
    # ln I = c - r^2 / 2 s^2, weighted by I^2 because the errors of ln I are those of I over I.
    w = level * level
    mean_r, mean_l = np.average(r2, weights=w), np.average(np.log(level), weights=w)
    slope = (w * (r2 - mean_r) * (np.log(level) - mean_l)).sum() / (w * (r2 - mean_r) ** 2).sum()
    return float(2.3548 * np.sqrt(-0.5 / slope)) if slope < 0 else MISSING


def _flags(
    catalog: NDArray[Any],
    found: NDArray[Any],
    rows: NDArray[np.intp],
    segments: NDArray[np.int32],
    mask: NDArray[np.uint16] | None,
    saturation: float | None,
) -> None:
    """Fill FLAGS with Source Extractor's bits, and the columns about quality bits."""
    for entry, number in zip(catalog, rows, strict=True):
        one = found[number]
        flags = int(entry["FLAGS"])
        flags |= 2 if one["flag"] & sep.OBJ_MERGED else 0
        flags |= 8 if one["flag"] & sep.OBJ_TRUNC else 0
        flags |= 64 if one["flag"] & sep.OBJ_DOVERFLOW else 0
        if mask is not None:
            box = _stamp(one, 1, segments.shape)
            # Flagged pixels belong to no segment, so the ellipse says which lie in the source.
            area = _inside_ellipse(one, box, float(one["npix"])) | (segments[box] == number + 1)
            bits = mask[box][area]
            entry["IMAFLAGS_ISO"] = np.bitwise_or.reduce(bits) if bits.size else 0
            entry["NIMAFLAGS_ISO"] = np.count_nonzero(bits)
            flags |= 1 if entry["NIMAFLAGS_ISO"] > 0.1 * entry["ISOAREA_IMAGE"] else 0
            flags |= 4 if entry["IMAFLAGS_ISO"] & int(DQ.SATURATED) else 0
        if saturation is not None and one["peak"] >= saturation:
            flags |= 4
        entry["FLAGS"] = flags


def _classify(catalog: NDArray[Any], known: float | None) -> float | None:
    """Fill CLASS_STAR; return the seeing in pixels."""
    if known is not None:
        catalog["CLASS_STAR"] = star_likeness(catalog, known)
        return known
    first = seeing_from(catalog, None)
    catalog["CLASS_STAR"] = star_likeness(catalog, first)
    if first is None:
        return None
    final = seeing_from(catalog, first)
    if final is not None:
        catalog["CLASS_STAR"] = star_likeness(catalog, final)
    return final


def _profiles(image: Image, catalog: NDArray[Any], seeing: float | None, scale: float) -> None:
    """Fill PROFILE_FWHM, PROFILE_EE50 and FLUX_MAX (spec 9.1)."""
    half = max(10, int(1.2 * seeing) if seeing is not None else int(0.5 / scale))
    ny, nx = image.shape
    for entry in catalog:
        x, y = float(entry["X_IMAGE"]) - 1.0, float(entry["Y_IMAGE"]) - 1.0
        ix, iy = round(x), round(y)
        if not (half <= ix < nx - half and half <= iy < ny - half):
            continue
        stamp = image[iy - half : iy + half + 1, ix - half : ix + half + 1].astype(np.float64)
        peak = float(stamp[half - 2 : half + 3, half - 2 : half + 3].max())
        if peak <= 0:
            peak = float(entry["FLUX_MAX"])
        step = np.arange(-half, half + 1)
        r2 = (step[None, :] + (ix - x)) ** 2 + (step[:, None] + (iy - y)) ** 2
        high = stamp > peak / 2
        area = np.count_nonzero(high & (r2 < 1.5 * np.count_nonzero(high) / np.pi))
        fwhm = 2.0 * np.sqrt(area / np.pi)
        entry["PROFILE_FWHM"] = fwhm if 0 < fwhm < 2 * half else MISSING
        order = np.argsort(r2, axis=None, kind="stable")
        enclosed = np.cumsum(stamp.ravel()[order])
        reached = np.flatnonzero(enclosed >= 0.5 * entry["FLUX_AUTO"])
        if reached.size and entry["FLUX_AUTO"] > 0:
            entry["PROFILE_EE50"] = 2.0 * np.sqrt(r2.ravel()[order[reached[0]]])
        entry["FLUX_MAX"] = peak
