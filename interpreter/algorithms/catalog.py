"""The columns of OBJCAT, and what follows from them: world coordinates, seeing, stars."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from f2yaml.interpreter.algorithms.tan import Tan
from numpy.typing import NDArray

__all__ = [
    "MISSING",
    "OBJCAT_DTYPE",
    "UNITS",
    "ellipse",
    "fill_world",
    "is_stellar",
    "seeing_from",
    "star_likeness",
]

Floats = NDArray[np.float64]

#: Value of a column that could not be measured.
MISSING: Final = -999.0

_PIX2 = ("ERRX2", "ERRY2", "ERRXY")
_SHAPE = ("A", "B", "THETA", "ERRA", "ERRB", "ERRTHETA")

#: Name, numpy format and unit of each column, in order (spec, instrument 4.4).
_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("NUMBER", "i8", ""),
    ("X_IMAGE", "f8", "pix"),
    ("Y_IMAGE", "f8", "pix"),
    *((f"{n}_IMAGE", "f8", "pix2") for n in _PIX2),
    ("X_WORLD", "f8", "deg"),
    ("Y_WORLD", "f8", "deg"),
    *((f"{n}_WORLD", "f8", "deg2") for n in _PIX2),
    *((f"{n}_IMAGE", "f4", "deg" if "THETA" in n else "pix") for n in _SHAPE),
    *((f"{n}_WORLD", "f4", "deg") for n in _SHAPE),
    ("FWHM_IMAGE", "f4", "pix"),
    ("FWHM_WORLD", "f4", "deg"),
    ("FLUX_RADIUS", "f4", "pix"),
    ("ELLIPTICITY", "f4", ""),
    ("FLUX_AUTO", "f4", "count"),
    ("FLUXERR_AUTO", "f4", "count"),
    ("MAG_AUTO", "f4", "mag"),
    ("MAGERR_AUTO", "f4", "mag"),
    ("FLUX_MAX", "f4", "count"),
    ("CLASS_STAR", "f4", ""),
    ("ISOAREA_IMAGE", "i4", "pix2"),
    ("FLAGS", "i2", ""),
    ("IMAFLAGS_ISO", "i4", ""),
    ("NIMAFLAGS_ISO", "i4", ""),
    ("BACKGROUND", "f4", "count"),
    ("REF_NUMBER", "i4", ""),
    ("REF_MAG", "f4", "mag"),
    ("REF_MAG_ERR", "f4", "mag"),
    ("PROFILE_FWHM", "f4", "pix"),
    ("PROFILE_EE50", "f4", "pix"),
)

#: One row of OBJCAT: K is i8, D f8, E f4, J i4, I i2.
OBJCAT_DTYPE: Final = np.dtype([(name, kind) for name, kind, _ in _COLUMNS])
#: Unit of each column, empty for a pure number.
UNITS: Final[dict[str, str]] = {name: unit for name, _, unit in _COLUMNS}


def ellipse(xx: Floats, yy: Floats, xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Return semi-axes and position angle (deg, from x to y) of second moments."""
    middle, half = (xx + yy) / 2.0, np.hypot((xx - yy) / 2.0, xy)
    major = np.sqrt(np.maximum(middle + half, 0.0))
    minor = np.sqrt(np.maximum(middle - half, 0.0))
    return major, minor, np.degrees(0.5 * np.arctan2(2.0 * xy, xx - yy))


def _to_world(xx: Floats, yy: Floats, xy: Floats, wcs: Tan) -> tuple[Floats, Floats, Floats]:
    (a, b), (c, d) = wcs.cd
    return (
        a * a * xx + 2 * a * b * xy + b * b * yy,
        c * c * xx + 2 * c * d * xy + d * d * yy,
        a * c * xx + (a * d + b * c) * xy + b * d * yy,
    )


def fill_world(catalog: NDArray[Any], wcs: Tan | None, pixel_scale: float = 0.179) -> None:
    """Fill the _WORLD columns of `catalog` in place.

    Parameters
    ----------
    catalog : structured ndarray of OBJCAT_DTYPE
    wcs : Tan or None
        Without it, only FWHM_WORLD is filled; the others are -999.
    pixel_scale : float, arcsec/pixel
        Used without `wcs`.

    Notes
    -----
    Moments are carried to the tangent plane (first axis along right ascension) by the CD matrix.
    """
    scale = (pixel_scale if wcs is None else wcs.pixel_scale()) / 3600.0
    fwhm = catalog["FWHM_IMAGE"]
    catalog["FWHM_WORLD"] = np.where(fwhm > 0, fwhm * scale, MISSING)
    if wcs is None:
        for name in ("X", "Y", *_PIX2, *_SHAPE):
            catalog[f"{name}_WORLD"] = MISSING
        return
    sky = wcs.to_sky(catalog["X_IMAGE"] - 1.0, catalog["Y_IMAGE"] - 1.0)
    catalog["X_WORLD"], catalog["Y_WORLD"] = sky
    xx, yy, xy = (catalog[f"{n}_IMAGE"] for n in _PIX2)
    errors = _to_world(xx, yy, xy, wcs)
    for name, value in zip(_PIX2, errors, strict=True):
        catalog[f"{name}_WORLD"] = value
    a2, b2 = catalog["A_IMAGE"].astype(float) ** 2, catalog["B_IMAGE"].astype(float) ** 2
    angle = np.radians(catalog["THETA_IMAGE"].astype(float))
    cos2, sin2 = np.cos(angle) ** 2, np.sin(angle) ** 2
    moments = (
        a2 * cos2 + b2 * sin2,
        a2 * sin2 + b2 * cos2,
        (a2 - b2) * np.cos(angle) * np.sin(angle),
    )
    for prefix, values in (("", _to_world(*moments, wcs)), ("ERR", errors)):
        for name, value in zip(("A", "B", "THETA"), ellipse(*values), strict=True):
            catalog[f"{prefix}{name}_WORLD"] = value


def star_likeness(catalog: NDArray[Any], seeing_pix: float | None) -> Floats:
    """Return a value for CLASS_STAR: near 1 for a star, near 0 for what is not, 0.5 unknown.

    Parameters
    ----------
    catalog : structured ndarray of OBJCAT_DTYPE
    seeing_pix : float or None
        FWHM of stars; None gives 0.5 throughout.

    Notes
    -----
    Ours, in place of Source Extractor's neural network: p = 1 / (1 + (|ln(FWHM / seeing)| /
    0.2)^4), drawn towards 0.5 by noise as 0.5 + (p - 0.5) q^2 / (q^2 + 100), q the
    signal-to-noise of FLUX_AUTO. Above 0.8 means a width within some 14 per cent of the seeing
    and a signal-to-noise above 13.
    """
    unknown = np.full(len(catalog), 0.5)
    if seeing_pix is None or len(catalog) == 0:
        return unknown
    fwhm, error = catalog["FWHM_IMAGE"].astype(float), catalog["FLUXERR_AUTO"].astype(float)
    fine = (fwhm > 0) & (error > 0)
    ratio = np.abs(np.log(fwhm[fine] / seeing_pix)) / 0.2
    quality = np.maximum(catalog["FLUX_AUTO"][fine].astype(float) / error[fine], 0.0) ** 2
    unknown[fine] += (1.0 / (1.0 + ratio**4) - 0.5) * quality / (quality + 100.0)
    return unknown


def seeing_from(catalog: NDArray[Any], guess_pix: float | None) -> float | None:
    """Return the mean FWHM of stars in pixels, or None without any.

    Parameters
    ----------
    catalog : structured ndarray of OBJCAT_DTYPE
    guess_pix : float or None
        With a guess, CLASS_STAR must have been filled and stars need more than 0.8. Without, the
        most common width of all fair sources is returned.

    References
    ----------
    Spec, primitives 9.1 (seeing estimate). The guess replaces the first run of DRAGONS, which
    assumes 1.2 arcsec.
    """
    area = catalog["ISOAREA_IMAGE"]
    fair = (
        (area > 20)
        & (catalog["B_IMAGE"] > 1.1)
        & (catalog["ELLIPTICITY"] < 0.5)
        & (catalog["FLUX_AUTO"] > 25 * catalog["FLUXERR_AUTO"])
        & ((catalog["FLAGS"] & ~7) == 0)
        & (catalog["FWHM_IMAGE"] > 0)
        & (catalog["NIMAFLAGS_ISO"] < 0.2 * area)
    )
    if guess_pix is not None:
        fair &= catalog["CLASS_STAR"] > 0.8
    widths = np.sort(catalog["FWHM_IMAGE"][fair].astype(float))
    if widths.size == 0:
        return None
    if guess_pix is None:
        while widths.size > 3:  # half-sample mode
            half = (widths.size + 1) // 2
            spans = widths[half - 1 :] - widths[: widths.size - half + 1]
            start = int(np.argmin(spans))
            widths = widths[start : start + half]
        return float(np.median(widths))
    if widths.size > 3:
        widths = widths[np.abs(widths - widths.mean()) <= 3.0 * widths.std()]
    return float(widths.mean())


def is_stellar(catalog: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which sources are fit to measure the image quality.

    References
    ----------
    Spec, primitives 13 (stellar selection of DRAGONS ``measureIQ``), without adaptive optics.
    """
    area, flagged = catalog["ISOAREA_IMAGE"], catalog["NIMAFLAGS_ISO"]
    saturated = (catalog["IMAFLAGS_ISO"] & 4) != 0
    good = (
        (catalog["PROFILE_FWHM"] > 0)
        & (catalog["ELLIPTICITY"] > 0)
        & (catalog["ELLIPTICITY"] < 0.5)
        & (catalog["B_IMAGE"] > 1.1)
        & (catalog["FLUX_AUTO"] > 50 * catalog["FLUXERR_AUTO"])
        & (catalog["CLASS_STAR"] > 0.8)
        & (area > 20)
        & (flagged <= 0.02 * area)
        & ~(saturated & (flagged > 0))
        & (catalog["PROFILE_EE50"] > catalog["PROFILE_FWHM"])
    )
    if np.count_nonzero(good) >= 3:
        widths = catalog["PROFILE_FWHM"].astype(float)
        mean, spread = widths[good].mean(), widths[good].std()
        good &= np.abs(widths - mean) <= 2.0 * spread
    return np.asarray(good)
