"""Quality of frames: image quality, sky background, zero point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.catalog import MISSING, is_stellar
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array
from f2yaml.interpreter.primitives.astrometry import label, need_objcat
from f2yaml.interpreter.registry import Params, Reported, Table, group
from pydantic import Field

#: Zero points of single stars are not trusted beyond this: flat field and centring [mag].
PHOTOMETRY_FLOOR = 0.01
Row = tuple[Any, ...]


class MeasureBG(Params):
    """Parameters of ``measureBG``: none."""


@group("measureBG", suffix="_bgMeasured", stamps=("MEASREBG",))
def measure_bg(frames: Sequence[Frame], params: MeasureBG, *, engine: Engine = SERIAL) -> Reported:
    """Measure the sky level of each frame: SKYLEVEL, and its surface brightness.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), electron or adu
        Not sky-subtracted; pixels with any DQ bit, or in OBJMASK, are left out.
    params : MeasureBG

    Raises
    ------
    FrameMismatch
        A frame has nearly no usable pixel.

    References
    ----------
    Spec: primitives 13 and 14.3 (clipped median). All unmasked pixels are sampled, at least 200 000
    of them, instead of one in 10 000. The magnitude uses the zero point that ``measureCC`` found,
    if it did, before the filter's nominal one.
    """
    levels = engine.map(_background, frames)
    made: list[Frame] = []
    rows: list[Row] = []
    for frame, (level, sigma) in zip(frames, levels, strict=True):
        card = {"SKYLEVEL": (level, f"Sky level of the frame [{frame.unit}]")}
        made.append(frame.with_cards(sci=card))
        magnitude = _surface_brightness(frame, level)
        rows.append((label(frame), _round(level, 2), _round(sigma, 2), magnitude))
    unit = frames[0].unit if frames else "electron"
    table = Table(
        f"Sky background ({unit} per pixel)",
        ("frame", "level", "scatter", "mag_per_arcsec2"),
        tuple(rows),
    )
    health = f"sky {float(np.median([row[1] for row in rows])):.1f} {unit}/pix" if rows else ""
    return Reported(made, health=health, table=table)


def _background(frame: Frame) -> tuple[float, float]:
    """Return level and noise of the sky pixels of a frame."""
    planes = frame.pixels.whole()
    values = algorithms.background.sample(planes.data, planes.mask, planes.objmask)
    if values.size < 100:
        raise FrameMismatch(
            f"measureBG: {frame.name} has {values.size} usable sky pixels",
            "its sky level cannot be measured: nearly all pixels are flagged or in objects",
            "take it out of the list",
        )
    level = float(algorithms.background.background(values, gaussian=False).value)
    # Not the scatter of what the clip left, which is 0.82 of the noise.
    return level, 1.4826 * float(np.median(np.abs(values - np.float32(level))))


def _nominal(frame: Frame) -> float | None:
    """Return the nominal zero point of the filter in the unit of the frame; None if it has none."""
    (value,) = frame.describe("nominal_photometric_zeropoint") or [None]
    return None if value is None else float(value)


def _surface_brightness(frame: Frame, level: float) -> float | None:
    zeropoint = frame.phu.get("ZPTOTAL", _nominal(frame))
    if zeropoint is None or not level > 0:
        return None
    rate = level / (frame.exposure_time * frame.wcs.pixel_scale() ** 2)
    return _round(float(zeropoint) - 2.5 * math.log10(rate), 2)


class MeasureIQ(Params):
    """Parameters of ``measureIQ``."""

    max_stars: int = Field(30, ge=1, description="stars to fit on a frame, brightest first")


@group("measureIQ", suffix="_iqMeasured", stamps=("MEASREIQ",))
def measure_iq(frames: Sequence[Frame], params: MeasureIQ, *, engine: Engine = SERIAL) -> Reported:
    """Measure the width and ellipticity of stars: MEANFWHM (arcsec) and MEANELLP.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx)
        With OBJCAT.
    params : MeasureIQ

    Raises
    ------
    FrameMismatch
        A frame has no source table.

    References
    ----------
    Spec: primitives 13, its selection of stars and its clip. The width is that of a Moffat profile
    fitted to each star, before the pixels smear it; counting pixels above half of the brightest
    one, as DRAGONS does, is 2 to 13 per cent too wide for 6 to 2.5 pixels. At zenith: FWHM times
    airmass^-0.6.
    """
    measured = engine.map(lambda frame: _star_shape(frame, params), frames)
    made: list[Frame] = []
    rows: list[Row] = []
    lacking = []
    for frame, (n, fwhm, ellipticity) in zip(frames, measured, strict=True):
        scale = frame.wcs.pixel_scale()
        cards: dict[str, Card] = {"MEANFWHM": None, "MEANELLP": None}
        row: Row = (label(frame), 0, None, None, None, None)
        if n:
            cards = {
                "MEANFWHM": (round(fwhm * scale, 4), "Mean FWHM of stars [arcsec]"),
                "MEANELLP": (round(ellipticity, 4), "Mean ellipticity of stars"),
            }
            airmass = frame.describe("airmass")
            zenith = None if airmass is None else _round(fwhm * scale * float(airmass) ** -0.6, 3)
            row = (
                label(frame),
                n,
                _round(fwhm, 3),
                _round(fwhm * scale, 3),
                zenith,
                _round(ellipticity, 3),
            )
        else:
            lacking.append(frame.name)
        made.append(frame.with_cards(phu=cards))
        rows.append(row)
    widths = [row[3] for row in rows if row[1]]
    table = Table(
        "Image quality",
        ("frame", "stars", "fwhm_pix", "fwhm_arcsec", "fwhm_at_zenith", "ellipticity"),
        tuple(rows),
    )
    health = f"FWHM {float(np.median(widths)):.2f} arcsec" if widths else "no stars"
    return Reported(made, health=health, notes=_shortfall("measureIQ", lacking), table=table)


def _star_shape(frame: Frame, params: MeasureIQ) -> tuple[int, float, float]:
    """Return number of stars, FWHM (pix) and ellipticity of a frame."""
    table = need_objcat(frame, "measureIQ")
    stars = table[is_stellar(table)] if len(table) else table
    alone = stars[_isolated(stars, table)]
    stars = _brightest(alone if len(alone) >= 3 else stars, params.max_stars)
    fits = _fits(frame, stars)
    if not fits.good.any():
        return 0, math.nan, math.nan
    widths, shapes = fits.fwhm[fits.good], stars["ELLIPTICITY"][fits.good].astype(float)
    kept = algorithms.psf.clipped(widths, 2.0, 3)
    return int(kept.sum()), float(widths[kept].mean()), float(shapes[kept].mean())


def _isolated(stars: Array, table: Array) -> Array:
    """Return which stars have no neighbour of 2 % of their light within three widths."""
    apart = np.hypot(
        stars["X_IMAGE"][:, None] - table["X_IMAGE"][None, :],
        stars["Y_IMAGE"][:, None] - table["Y_IMAGE"][None, :],
    )
    other = stars["NUMBER"][:, None] != table["NUMBER"][None, :]
    bright = table["FLUX_AUTO"][None, :] > 0.02 * stars["FLUX_AUTO"][:, None]
    near = apart < 3.0 * np.maximum(stars["FWHM_IMAGE"], 1.0)[:, None]
    return np.asarray(~(near & other & bright).any(axis=1))


def _brightest(stars: Array, count: int) -> Array:
    return stars[np.argsort(-stars["FLUX_AUTO"], kind="stable")[:count]]


def _fits(frame: Frame, stars: Array) -> algorithms.psf.Stars:
    """Fit the profiles of some sources of a frame."""
    widths = stars["FWHM_IMAGE"][stars["FWHM_IMAGE"] > 0]
    guess = float(np.median(widths)) if widths.size else 4.0
    planes = frame.pixels.whole()
    bad = None if planes.mask is None else planes.mask != 0
    x, y = stars["X_IMAGE"] - 1.0, stars["Y_IMAGE"] - 1.0
    return algorithms.psf.fit_stars(planes.data, planes.variance, bad, x, y, guess)


class MeasureCC(Params):
    """Parameters of ``measureCC``."""

    max_stars: int = Field(30, ge=1, description="stars to fit for the aperture correction")


@group("measureCC", suffix="_ccMeasured", stamps=("MEASRECC",))
def measure_cc(frames: Sequence[Frame], params: MeasureCC, *, engine: Engine = SERIAL) -> Reported:
    """Measure the zero point from matched stars: MEANZP, and the extinction by cloud.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), electron or adu
        With an OBJCAT whose REF_MAG are filled.
    params : MeasureCC

    Returns
    -------
    frames
        With MEANZP, the magnitude for which MAG_AUTO (of one second) is zero; ZPERR, its error;
        ZPTOTAL, the same for the total light of a star, which is what nominal zero points mean;
        CLOUDEXT, by how much ZPTOTAL falls short of the nominal one, if the filter has one.

    Raises
    ------
    FrameMismatch
        A frame has no source table.

    References
    ----------
    Spec: primitives 13, instrument 3.5. Nominal extinction above airmass 1 is zero in the near
    infrared; it would be added, as it dims the star. ZPTOTAL is ours: automatic apertures miss
    0.01 to 0.08 mag of a Moffat profile, which would pass for cloud.
    """
    measured = engine.map(lambda frame: _zeropoint(frame, params), frames)
    made: list[Frame] = []
    rows: list[Row] = []
    lacking = []
    for frame, found in zip(frames, measured, strict=True):
        nominal = _nominal(frame)
        cards: dict[str, Card] = dict.fromkeys(("MEANZP", "ZPERR", "ZPTOTAL", "CLOUDEXT"))
        if found is None:
            lacking.append(frame.name)
            rows.append((label(frame), 0, None, None, None, nominal, None))
            made.append(frame.with_cards(phu=cards))
            continue
        n, zeropoint, error, correction = found
        total = None if correction is None else zeropoint + correction
        cloud = None if total is None or nominal is None else nominal - total
        unit = "electron" if frame.unit == "electron" else "adu"
        texts = {
            "MEANZP": (zeropoint, f"Zero point of MAG_AUTO [mag, 1 {unit}/s]"),
            "ZPERR": (error, "Error of MEANZP [mag]"),
            "ZPTOTAL": (total, f"Zero point of total light [mag, 1 {unit}/s]"),
            "CLOUDEXT": (cloud, "Extinction beyond nominal [mag]"),
        }
        cards |= {k: (round(v, 4), text) for k, (v, text) in texts.items() if v is not None}
        made.append(frame.with_cards(phu=cards))
        values = (zeropoint, error, total, nominal, cloud)
        rows.append((label(frame), n, *(_round(v, 3) for v in values)))
    table = Table(
        "Zero points (mag for 1 count a second)",
        ("frame", "stars", "zeropoint", "error", "of_total_light", "nominal", "extinction"),
        tuple(rows),
    )
    known = [row[2] for row in rows if row[1]]
    health = f"zero point {float(np.median(known)):.3f} mag" if known else "no stars"
    return Reported(made, health=health, notes=_shortfall("measureCC", lacking), table=table)


def _zeropoint(frame: Frame, params: MeasureCC) -> tuple[int, float, float, float | None] | None:
    """Return number of stars, zero point, its error and the aperture correction, in mag."""
    table = need_objcat(frame, "measureCC")
    fair = table[
        (table["REF_MAG"] > MISSING / 2)
        & (table["MAG_AUTO"] > MISSING / 2)
        & (table["FLAGS"] == 0)
        & ((table["IMAFLAGS_ISO"] & int(DQ.SATURATED)) == 0)
        & (table["NIMAFLAGS_ISO"] < 0.02 * table["ISOAREA_IMAGE"])
    ]
    reference = np.maximum(fair["REF_MAG_ERR"].astype(float), 0.0)  # -999 where it is not known
    errors = np.hypot(fair["MAGERR_AUTO"].astype(float), reference)
    precise = errors < (0.1 if len(fair) > 5 else 0.2)
    stars, errors = fair[precise], np.hypot(errors[precise], PHOTOMETRY_FLOOR)
    if not len(stars):
        return None
    extinction = frame.describe("nominal_atmospheric_extinction") or 0.0
    points = (
        stars["REF_MAG"].astype(float)
        - stars["MAG_AUTO"].astype(float)
        + extinction
        - 2.5 * math.log10(frame.exposure_time)
    )
    kept = algorithms.psf.clipped(points, 1.0, 3)
    weight = 1.0 / errors[kept] ** 2
    zeropoint = float(np.average(points[kept], weights=weight))
    # The clip at 1 sigma makes the scatter of what is left useless as an error.
    spread = 1.4826 * float(np.median(np.abs(points - np.median(points))))
    formal = float(1.0 / np.sqrt(weight.sum()))
    error = max(formal, spread / math.sqrt(int(kept.sum())))
    return int(kept.sum()), zeropoint, error, _aperture_correction(frame, stars[kept], params)


def _aperture_correction(frame: Frame, stars: Array, params: MeasureCC) -> float | None:
    """Return by how much stars are brighter than MAG_AUTO says, mag."""
    chosen = _brightest(stars, params.max_stars)
    fits = _fits(frame, chosen)
    if not fits.good.any():
        return None
    ratios = fits.flux[fits.good] / chosen["FLUX_AUTO"][fits.good].astype(float)
    return float(np.median(2.5 * np.log10(ratios)))


def _shortfall(step: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"{step}: no star could be measured on {', '.join(names)}",)


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
