"""What a run has made, in a line for each product: read from the files as anybody else would."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.engine import joined
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.framerows import number
from f2yaml.interpreter.registry import Table
from f2yaml.interpreter.report.facts import FINAL, describe, kind_of, members, typical_noise

#: Diameter of the aperture in which a faint star is seen best, in FWHM, and its share of the light
#: of a Gaussian star.
APERTURE, INSIDE = 1.346, 0.715
SIGMAS = 5.0
COLUMNS = (
    "product", "what", "frames", "exposure_s", "sky", "seeing_arcsec", "noise", "star_5sigma",
    "depth_mag",
)  # fmt: skip
#: Products of one kind from which on only their number and a few lines are shown.
_MANY = 12
_ROWS = 256  # of each product, for its noise: to half a per cent


def summary(paths: Sequence[Path], warnings: int = 0) -> Table:
    """Return the closing table of a run.

    Parameters
    ----------
    paths : sequence of Path
        Products, in the order in which they were written.
    warnings : int
        Notes of the run.

    Returns
    -------
    Table
        Sky is the level that was subtracted, median of the frames [unit of the product / pixel];
        seeing the median FWHM of stars; noise the median of sqrt(VAR); star_5sigma the light of a
        star that is 5 times its noise in an aperture of 1.35 FWHM, and depth_mag its magnitude by
        the zero point that was measured (MEANZP) or else the nominal one of the filter. None
        where nothing tells.
    """
    shown = list(paths) if len(paths) <= _MANY else [*paths[: _MANY - 2], *paths[-1:]]
    notes = []
    if len(shown) < len(paths):
        notes.append(f"{len(paths)} products in all; those between step and product are not shown")
    rows = tuple(_row(path) for path in shown)
    notes.append(f"warnings: {warnings or 'none'}")
    return Table("Products", COLUMNS, rows, tuple(notes))


def _row(path: Path) -> tuple[Any, ...]:
    frame = read_frame(path)
    rows = members(frame)
    what = kind_of(path, frame)
    calibration = what in FINAL.values() and "PROCSCI" not in frame.phu
    sky = _middle([row.sky_level for row in rows])
    seeing = _middle([row.fwhm for row in rows])
    noise = _noise(frame)
    light = faintest(frame, noise, seeing)
    return (
        path.name,
        what,
        frame.phu.get("NCOMBINE", 1),
        _rounded(number(frame.phu.get("TEXPTIME", frame.phu.get("EXPTIME"))), 2),
        None if calibration else _rounded(sky, 1),
        None if calibration else _rounded(seeing, 3),
        _significant(noise),
        None if calibration else _rounded(light, 1),
        None if calibration else _rounded(magnitude(frame, light), 2),
    )


def faintest(frame: Frame, noise: float, seeing: float) -> float:
    """Return the light of a star that is `SIGMAS` times its noise, in the unit of the frame.

    Parameters
    ----------
    frame : Frame
    noise : float
        Of a pixel, in the unit of the frame; NOISECOR says how much larger it is in apertures.
    seeing : float
        FWHM of stars [arcsec].

    Returns
    -------
    float
        NaN where noise or seeing are not known.

    References
    ----------
    Signal to noise of a Gaussian star in an aperture of radius r over constant noise is greatest
    at r = 0.673 FWHM, inside which is 0.715 of its light.
    """
    if not (noise > 0 and seeing > 0):
        return math.nan
    pixels = math.pi / 4 * (APERTURE * seeing / frame.wcs.pixel_scale()) ** 2
    correlation = number(frame.sci.get("NOISECOR"))
    each = noise * (1.0 if math.isnan(correlation) else correlation)
    return SIGMAS * each * math.sqrt(pixels) / INSIDE


def magnitude(frame: Frame, light: float) -> float:
    """Return the magnitude of a star, by MEANZP or else the nominal zero point of the filter.

    Parameters
    ----------
    frame : Frame
        Light per exposure of EXPTIME.
    light : float
        In the unit of the frame.

    Returns
    -------
    float
        NaN where there is no zero point (K-red has no nominal one).
    """
    zeropoint = number(frame.phu.get("MEANZP"))
    if math.isnan(zeropoint):
        (nominal,) = describe(frame, "nominal_photometric_zeropoint") or [None]
        zeropoint = number(nominal)
    time = number(frame.phu.get("EXPTIME"))
    if not (light > 0 and time > 0) or math.isnan(zeropoint):
        return math.nan
    return zeropoint - 2.5 * math.log10(light / time)


def _noise(frame: Frame) -> float:
    """Return the typical noise of a pixel, from some rows of VAR."""
    ny = frame.shape[0]
    chosen = range(0, ny, max(1, ny // _ROWS))
    _, variance, mask = joined([frame.pixels.rows(y, y + 1) for y in chosen])[:3]
    if variance is None:
        return math.nan
    return typical_noise(variance, np.zeros((0, 0), np.uint16) if mask is None else mask)


def _middle(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else math.nan


def _rounded(value: float, decimals: int) -> float | None:
    return round(value, decimals) if math.isfinite(value) else None


def _significant(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
