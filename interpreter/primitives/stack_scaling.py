"""Frames brought to one scale before they are stacked: by exposure time, stars or sky level."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch, RequestError
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.primitives.stack_headers import exposure_cards
from f2yaml.interpreter.registry import Params, Reported, group
from pydantic import Field, field_validator

_SATURATED = 4
#: A factor from fewer stars than this is no measurement.
_FEWEST = 3


class ScaleCounts(Params):
    """Parameters of ``scaleCountsToReference``."""

    tolerance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="largest departure from the ratio of exposure times that is believed of the "
        "stars' fluxes: 0 uses exposure times alone, 0.3 takes factors of 0.7 to 1.43 of the "
        "ratio, 1 any",
    )
    use_common: bool = Field(True, description="use only stars that all frames have in common")
    radius: float = Field(0.5, ge=0.1, description="radius within which stars are one [arcsec]")


@group("scaleCountsToReference", suffix="_countsScaled", stamps=("SCALEOBJ",), takes="several")
def scale_counts_to_reference(
    frames: Sequence[Frame], params: ScaleCounts
) -> list[Frame] | Reported:
    """Scale frames to the exposure time, or the transparency, of the first.

    Parameters
    ----------
    frames : sequence of Frame, electron
        Aligned, and with source tables where `tolerance` is not 0.
    params : ScaleCounts

    Raises
    ------
    FrameMismatch
        `tolerance` is not 0 and a frame has no source table.

    References
    ----------
    Spec: primitives 11.1; with tolerance 0 the factor is the ratio of exposure times. Departures:
    a factor from stars is compared with the ratio of exposure times, not with one; a frame without
    enough stars in common is scaled by exposure time and named, and the frames after it are
    scaled as they should be; where no star is common to all frames, each frame's own pairs serve.
    """
    if not frames:
        return []
    wanted = frames[0].exposure_time
    ratios = [wanted / frame.exposure_time for frame in frames]
    if len(frames) < 2:
        return [_scaled(f, r, wanted) for f, r in zip(frames, ratios, strict=True)]
    if params.tolerance == 0:
        if any(frame.objcat is None for frame in frames):
            return [_scaled(f, r, wanted) for f, r in zip(frames, ratios, strict=True)]
        told = _transparency(
            _star_factors(frames, params.model_copy(update={"use_common": False}))[0], ratios
        )
        made = [_scaled(f, r, wanted) for f, r in zip(frames, ratios, strict=True)]
        return [f.with_cards(phu=cards) for f, cards in zip(made, told, strict=True)]
    factors, notes, fits = _from_stars(frames, ratios, params)
    made = [
        _scaled(f, s, wanted).with_cards(phu=cards)
        for f, s, cards in zip(frames, factors, _transparency(fits, ratios), strict=True)
    ]
    return Reported(made, health=f"factors {min(factors):.3f}-{max(factors):.3f}", notes=notes)


_Fit = algorithms.flux_scale.FluxScale | None


def _transparency(fits: Sequence[_Fit], ratios: Sequence[float]) -> list[dict[str, Card]]:
    """Return, for each frame, the cards of what its stars say of the sky above it."""
    made: list[dict[str, Card]] = []
    for fit, ratio in zip(fits, ratios, strict=True):
        if fit is None or fit.n < _FEWEST:
            made.append(dict.fromkeys(("TRANSP", "TRANSPER", "TRANSPN")))
            continue
        seen = ratio / fit.factor
        made.append(
            {
                "TRANSP": (round(seen, 6), "Flux of stars / that in the first frame"),
                "TRANSPER": (round(seen * fit.error / fit.factor, 6), "Error of TRANSP"),
                "TRANSPN": (fit.n, "Stars that gave TRANSP"),
            }
        )
    return made


def _star_factors(
    frames: Sequence[Frame], params: ScaleCounts
) -> tuple[list[_Fit], tuple[str, ...]]:
    """Return the factor between the stars of the first frame and each, and notes on the way."""
    tables = [_usable(frame) for frame in frames]
    pairs = [
        _pairs(frames[0], tables[0], f, t, params) for f, t in zip(frames, tables, strict=True)
    ]
    notes = []
    common: set[int] = set(range(len(tables[0])))
    if params.use_common and len(frames) > 2:
        for _, there in pairs[1:]:
            if len(there) >= _FEWEST:
                common &= set(there.tolist())
        if len(common) < _FEWEST:
            notes.append(
                f"scaleCountsToReference: {len(common)} stars are common to all frames; each frame "
                "is compared with the first by the stars that both have"
            )
            common = set(range(len(tables[0])))
    fits: list[_Fit] = [algorithms.flux_scale.FluxScale(1.0, 0.0, len(common))]
    for table, (here, there) in zip(tables[1:], pairs[1:], strict=True):
        chosen = np.isin(there, sorted(common))
        mine, first = table[here[chosen]], tables[0][there[chosen]]
        fits.append(
            algorithms.flux_scale.flux_scale(
                mine["FLUX_AUTO"], mine["FLUXERR_AUTO"], first["FLUX_AUTO"], first["FLUXERR_AUTO"]
            )
        )
    return fits, tuple(notes)


def _from_stars(
    frames: Sequence[Frame], ratios: Sequence[float], params: ScaleCounts
) -> tuple[list[float], tuple[str, ...], list[_Fit]]:
    """Return the factor of each frame, what had to be done otherwise, and what stars say."""
    fits, told = _star_factors(frames, params)
    notes = list(told)
    factors = [1.0]
    for frame, ratio, fit in zip(frames[1:], ratios[1:], fits[1:], strict=True):
        lowest = 1 - params.tolerance
        believed = fit is not None and fit.n >= _FEWEST
        if fit is not None and believed and params.tolerance < 1:
            believed = lowest <= fit.factor / ratio <= 1 / lowest
        factors.append(fit.factor if fit is not None and believed else ratio)
        if not believed:
            found = "no stars" if fit is None else f"{fit.factor:.3f} from {fit.n} stars"
            notes.append(
                f"scaleCountsToReference: {frame.name} is scaled by exposure time ({ratio:.3f}): "
                f"{found}"
            )
    return factors, tuple(notes), fits


def _usable(frame: Frame) -> Array:
    """Return the sources of a frame whose flux can be trusted."""
    table = frame.objcat
    if table is None:
        raise FrameMismatch(
            f"scaleCountsToReference: {frame.name} has no source table",
            "with a tolerance, frames are scaled by the fluxes of their stars",
            "run detectSources before, or set tolerance to 0",
        )
    good = (table["FLUX_AUTO"] > 0) & (table["FLUXERR_AUTO"] > 0)
    good &= (table["FLAGS"] & _SATURATED) == 0
    good &= table["NIMAFLAGS_ISO"] <= 0
    chosen: Array = table[good]
    return chosen


def _pairs(
    reference: Frame, first: Array, frame: Frame, table: Array, params: ScaleCounts
) -> tuple[Array, Array]:
    """Return the rows of both tables that are the same source."""
    sky = frame.wcs.to_sky(table["X_IMAGE"] - 1.0, table["Y_IMAGE"] - 1.0)
    x, y = reference.wcs.to_pixel(*sky)
    radius = params.radius / reference.wcs.pixel_scale()
    return algorithms.match.match_pairs(
        x, y, first["X_IMAGE"] - 1.0, first["Y_IMAGE"] - 1.0, radius_pix=radius
    )


def _scaled(frame: Frame, factor: float, exposure_time: float) -> Frame:
    if factor == 1:
        return frame
    cards = {
        "ORIGTEXP": (frame.phu.get("ORIGTEXP", frame.exposure_time), "Exposure time as observed"),
        "CNTSCALE": (factor, "Factor to the counts of the reference"),
        **exposure_cards(frame, exposure_time, "Exposure time that the counts stand for [s]"),
    }
    return _multiplied(frame, factor).with_cards(phu=cards)


def _multiplied(frame: Frame, factor: float) -> Frame:
    times = np.float32(factor)

    def scale(planes: Planes, start: int, stop: int) -> Planes:
        variance = None if planes.variance is None else planes.variance * (times * times)
        return planes._replace(data=planes.data * times, variance=variance)

    return frame.map_rows(scale)


class ScaleByIntensity(Params):
    """Parameters of ``scaleByIntensity``."""

    section: str | None = Field(
        None, description="region that is measured, x1:x2,y1:y2 from 1; null is the whole frame"
    )
    scaling: Literal["mean", "median"] = Field("mean", description="how the level is measured")

    @field_validator("section")
    @classmethod
    def _region(cls, section: str | None) -> str | None:
        if section is not None:
            corners(section)
        return section


def corners(section: str) -> tuple[slice, slice]:
    """Return the rows and columns that ``x1:x2,y1:y2`` (from 1, ends included) stands for.

    Raises
    ------
    ValueError
        It is no such text, or names no pixel.
    """
    found = re.fullmatch(r"\[?\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*\]?", section)
    x1, x2, y1, y2 = (int(word) for word in found.groups()) if found else (0, 0, 0, 0)
    if not (1 <= x1 <= x2 and 1 <= y1 <= y2):
        raise ValueError(f"{section!r} is no section, write it as 900:1100,900:1100")
    return slice(y1 - 1, y2), slice(x1 - 1, x2)


@group("scaleByIntensity", suffix="_scaled", stamps=("SCALEINT",), takes="several")
def scale_by_intensity(
    frames: Sequence[Frame], params: ScaleByIntensity, *, engine: Engine = SERIAL
) -> Reported:
    """Scale frames to the level of the first, measured over pixels without any quality bit.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx)
    params : ScaleByIntensity

    Raises
    ------
    FrameMismatch
        A frame has no good pixel in the section, or their level is not positive.

    References
    ----------
    Spec: primitives 11.2.
    """
    if len(frames) < 2:
        return Reported(list(frames))
    if params.section is not None:
        _within(frames[0], corners(params.section), params.section)
    levels = engine.map(lambda frame: _intensity(frame, params), frames)
    made = [
        _multiplied(frame, levels[0] / level).with_cards(
            phu={"CNTSCALE": (levels[0] / level, "Factor to the level of the first frame")}
        )
        for frame, level in zip(frames, levels, strict=True)
    ]
    return Reported(made, health=f"levels {min(levels):.1f}-{max(levels):.1f}")


def _within(frame: Frame, region: tuple[slice, slice], section: str) -> None:
    if region[0].stop > frame.shape[0] or region[1].stop > frame.shape[1]:
        raise RequestError(
            f"scaleByIntensity: section {section} is not on the {frame.shape[1]} x "
            f"{frame.shape[0]} pixels of {frame.name}",
            "levels are measured there",
            "give a section within the frame",
        )


def _intensity(frame: Frame, params: ScaleByIntensity) -> float:
    rows = (slice(None), slice(None)) if params.section is None else corners(params.section)
    planes = frame.pixels.whole()
    values = planes.data[rows]
    good = np.isfinite(values)
    if planes.mask is not None:
        good &= planes.mask[rows] == 0
    chosen = values[good]
    level = 0.0
    if chosen.size:
        level = float(
            np.mean(chosen, dtype=np.float64) if params.scaling == "mean" else np.median(chosen)
        )
    if not level > 0:
        raise FrameMismatch(
            f"scaleByIntensity: the {params.scaling} of {chosen.size} good pixels of {frame.name} "
            f"is {level:g}",
            "frames are scaled by their level, which has to be positive",
            "check that the frame is not sky-subtracted, or choose another section",
        )
    return level
