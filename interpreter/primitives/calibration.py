"""Darks and flats: applying them and making them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.allowing import Allowed, marked
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame, joint_provenance, require_same
from f2yaml.interpreter.framerows import date_cards
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.primitives.links import MinusDark, OverFlat, applied, complete
from f2yaml.interpreter.primitives.stack import Combine, combine_frames, require_equal_times
from f2yaml.interpreter.records import joint_runs
from f2yaml.interpreter.registry import Params, Reported, group, per_frame
from pydantic import Field

DoCal = Literal["procmode", "force", "skip"]
#: Largest share of saturated pixels in a lamp flat; defects alone are some per cent.
MOST_SATURATED = 0.1
DO_CAL = "procmode and force need the calibration, skip leaves the step out"


class DarkCorrect(Params):
    """Parameters of ``darkCorrect``."""

    dark: str | None = Field(
        None, description="processed dark to use instead of asking the database (file)"
    )
    do_cal: DoCal = Field("procmode", description=DO_CAL)
    exptime_tolerance: float = Field(0.01, ge=0, description="largest allowed |t - t_dark| [s]")


@per_frame(
    "darkCorrect", suffix="_darkCorrected", stamps=("DARKCORR",), guard=True, takes="exposures"
)
def dark_correct(
    frame: Frame, params: DarkCorrect, *, dark: Frame, allows: frozenset[str] = frozenset()
) -> Frame:
    """Subtract a processed dark of the same exposure time, pixel by pixel.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : DarkCorrect
    dark : Frame, shape (ny, nx), unit of `frame`
        Processed dark. Its noise is independent of the frame's, so variances add. It is common
        to all frames, though: the plane `shared` keeps its share, for ``skyCorrect``.

    allows : frozenset of str
        Checks set aside: ``dark-exposure-time``, ``dark-read-mode``.

    Raises
    ------
    FrameMismatch
        Shape, unit, read mode, coadds or exposure time (of all coadds) differ.

    References
    ----------
    Spec: primitives 6.1; the checks of exposure time, coadds and read mode are ours.
    """
    require_same(frame, dark, "shape", "unit", step="darkCorrect")
    if "dark-read-mode" not in allows:
        require_same(frame, dark, "read_mode", "coadds", step="darkCorrect")
    apart = abs(frame.exposure_time - dark.exposure_time)
    if apart > params.exptime_tolerance and "dark-exposure-time" not in allows:
        raise FrameMismatch(
            f"{frame.name} was exposed {frame.exposure_time:g} s, "
            f"{dark.name} {dark.exposure_time:g} s",
            "dark signal grows with time",
            "give a matching dark (--user-cal processed_dark:FILE), raise exptime_tolerance, or "
            "say --allow dark-exposure-time",
        )

    used = {
        "DARKIM": (dark.name, "Dark image that was subtracted"),
        **date_cards("DARKDATE", dark),
    }
    return frame.map_rows(MinusDark(dark), adds=_shared(frame, dark)).with_cards(phu=used)


def _shared(frame: Frame, calibration: Frame) -> list[str]:
    """Name the plane that a calibration adds, if noise of both is known."""
    both = frame.has("variance") and calibration.has("variance")
    return ["shared"] if both else []


class FlatCorrect(Params):
    """Parameters of ``flatCorrect``."""

    flat: str | None = Field(
        None, description="processed flat to use instead of asking the database (file)"
    )
    do_cal: DoCal = Field("procmode", description=DO_CAL)


@per_frame(
    "flatCorrect", suffix="_flatCorrected", stamps=("FLATCORR",), guard=True, takes="exposures"
)
def flat_correct(
    frame: Frame, params: FlatCorrect, *, flat: Frame, allows: frozenset[str] = frozenset()
) -> Frame:
    """Divide by a processed flat of the same filter, pixel by pixel.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : FlatCorrect
    flat : Frame, shape (ny, nx), no unit
        Processed flat, with a median of one. A pixel where it is zero becomes a bad pixel. The
        plane `shared` keeps what flat and dark have put into the variance, for ``skyCorrect``.
    allows : frozenset of str
        Checks set aside: ``flat-filter``, ``flat-optics``.

    Raises
    ------
    FrameMismatch
        Shape, filter or Lyot stop differ.

    References
    ----------
    Spec: primitives 6.2 and 2.3.
    """
    return divided(frame, flat, "flatCorrect", allows)


def divided(frame: Frame, flat: Frame, step: str, allows: frozenset[str] = frozenset()) -> Frame:
    """Return a frame divided by a flat of the same filter."""
    asked = {"filter_name": "flat-filter", "lyot_stop": "flat-optics"}
    same = [name for name, check in asked.items() if check not in allows]
    require_same(frame, flat, "shape", *same, step=step)

    used = {
        "FLATIM": (flat.name, "Flat-field image that was divided by"),
        **date_cards("FLATDATE", flat),
    }
    return frame.map_rows(OverFlat(flat), adds=_shared(frame, flat)).with_cards(phu=used)


def need_lamp_dark(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Return what ``makeLampFlat`` needs a processed dark for: K flats without darks like them."""
    flats = [f for f in frames if "FLAT" in f.tags and _is_thermal(f)][:1]
    darks = [f for f in frames if "DARK" in f.tags]
    if flats and any(abs(f.exposure_time - flats[0].exposure_time) <= 0.01 for f in darks):
        return []
    return flats


def _is_thermal(flat: Frame) -> bool:
    return bool(flat.describe("wavelength_band") == "K")


def first_lit(frames: Sequence[Frame], params: object) -> Sequence[Frame]:
    """Return the flat that a lamp flat is named after."""
    flats = [f for f in frames if "FLAT" in f.tags]
    if flats and not _is_thermal(flats[0]):
        flats = [f for f in flats if "LAMPON" in f.tags]
    return flats[:1]


class MakeLampFlat(Combine):
    """Parameters of ``makeLampFlat``."""

    lsigma: float = Field(4.0, ge=0, description="rejection below the centre [sigma]")
    hsigma: float = Field(4.0, ge=0, description="rejection above the centre [sigma]")
    dark: str | None = Field(
        None, description="processed dark for K flats that come without darks (file)"
    )
    match_lamp: bool = Field(
        True,
        description="scale each lamp-on flat, lamp-off subtracted, to the mean lamp level before "
        "they are combined: lamps drift (not in the K band)",
    )
    lamp_on_only: bool = Field(
        False,
        description="accept lamp-on flats without lamp-off ones: dark signal and stray light stay "
        "in the flat (not in the K band)",
    )


def check_lamp(frames: Sequence[Frame], params: MakeLampFlat) -> list[str]:
    """Check that the flats are of one kind and that their darks fit."""
    flats = [f for f in frames if "FLAT" in f.tags]
    darks = [f for f in frames if "DARK" in f.tags]
    if not flats:
        raise TooFewFrames(
            "there is no flat among the inputs",
            "makeLampFlat combines lamp flats",
            "list the flats, and for the K band the darks of the same exposure time",
        )
    for frame in flats[1:]:
        require_same(flats[0], frame, "filter_name", "read_mode", "lyot_stop", step="makeLampFlat")
    if _is_thermal(flats[0]):
        require_equal_times([*flats, *darks], "makeLampFlat")
        return []
    require_equal_times(flats, "makeLampFlat")
    name = flats[0].describe("filter_name", pretty=True)
    unused = f"makeLampFlat: {name} flats are lamp-on minus lamp-off; darks are left out"
    return [*([unused] if darks else []), *_check_lamps(flats, params)]


def _check_lamps(flats: Sequence[Frame], params: MakeLampFlat) -> list[str]:
    """Check that there is a lamp-on and a lamp-off flat, and nothing else."""
    name = flats[0].describe("filter_name", pretty=True)
    stray = [f for f in flats if not f.tags & {"LAMPON", "LAMPOFF"}]
    if stray:
        raise FrameMismatch(
            f"{stray[0].name} is a flat whose header has no state of the lamp",
            f"{name} flats are lamp-on minus lamp-off; it would have no part in that",
            "take it out of the list (GCALLAMP and GCALSHUT tell the state of the lamp)",
        )
    if not any("LAMPON" in f.tags for f in flats):
        raise TooFewFrames(
            f"all {len(flats)} {name} flats were taken with the lamp off",
            "there is no light to make a flat of",
            "list the lamp-on flats as well",
        )
    if any("LAMPOFF" in f.tags for f in flats):
        return []
    if not params.lamp_on_only:
        raise TooFewFrames(
            f"all {len(flats)} {name} flats were taken with the lamp on",
            "dark signal and stray light are removed with lamp-off flats",
            "list lamp-off flats of the same exposure time, or accept the flat as it is with "
            "-p makeLampFlat:lamp_on_only=True",
        )
    return [f"makeLampFlat: no lamp-off {name} flats; dark signal and stray light are in the flat"]


@group(
    "makeLampFlat",
    suffix="_lampstack",
    stamps=("STACKFRM",),
    wants=need_lamp_dark,
    check=check_lamp,
    combines=True,
    makes=first_lit,
    takes="several",
)
def make_lamp_flat(
    frames: Sequence[Frame],
    params: MakeLampFlat,
    *,
    dark: Frame | None = None,
    engine: Engine = SERIAL,
    allows: frozenset[str] = frozenset(),
) -> Reported:
    """Combine lamp flats and remove what is not lamp light.

    In the K band the closed shutter's own warmth is the lamp and dark frames of the same exposure
    time give the zero level: the stack of all flats minus the stack of the darks among the inputs,
    or minus a processed dark where there are none. In the other bands it is the stack of the
    lamp-on flats minus that of the lamp-off flats, and darks have no part in it; each lamp-on
    flat is brought to their mean level first, so that a drift is not taken for an outlier.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), electron
        Flats and (in the K band) darks, in any order.
    params : MakeLampFlat
    dark : Frame, optional
        Processed dark, used when no darks are among the frames.
    allows : frozenset of str
        Checks set aside: ``saturated-flat``.

    Raises
    ------
    FrameMismatch
        Filters, read modes or exposure times differ; a frame has no part in it; more than
        `MOST_SATURATED` of the lit pixels of a flat are saturated.
    TooFewFrames
        No flats; no darks (K band); no lamp-on or lamp-off flats (other bands).

    References
    ----------
    Spec: primitives 7.2. The band is that of the flats, whatever file comes first; lamp-on flats
    alone are refused unless `lamp_on_only` is set.
    """
    check_lamp(frames, params)
    flats = [f for f in frames if "FLAT" in f.tags]
    told = _check_saturation(flats, allows, engine)
    if not _is_thermal(flats[0]):
        return marked(_lamp_on_minus_off(flats, params, engine), told)
    darks = [f for f in frames if "DARK" in f.tags]
    lamp = combine_frames(flats, params, engine)
    zero = combine_frames(darks, params, engine) if darks else dark
    if zero is None:
        raise TooFewFrames(
            "there are neither darks nor a processed dark for the K flats",
            "in the K band the dark level is most of what a dark pixel reads",
            "list darks of the same exposure time beside the flats",
        )
    require_same(lamp, zero, "shape", "unit", step="makeLampFlat")
    planes = applied(algorithms.calibrate.subtract, lamp.pixels.whole(), zero.pixels.whole())
    level = float(np.median(planes.data[::16, ::16]))
    used = {"DARKIM": (zero.name, "Zero level"), **date_cards("DARKDATE", zero)}
    made = lamp.with_planes(planes).with_cards(phu=used)
    parts = [*flats, *darks, *([dark] if dark else [])]
    members = (*lamp.members, *(zero.members if darks else ()))
    made = made.with_(provenance=joint_provenance(parts), runs=joint_runs(parts), members=members)
    return marked(Reported([made], health=f"lamp level {level:.0f} e-"), told)


def _check_saturation(
    flats: Sequence[Frame], allows: frozenset[str], engine: Engine
) -> Allowed | None:
    """Refuse flats of which much is saturated; return what is to be told where that is allowed."""
    shares = engine.map(_saturated_share, flats)
    bad = [(f.name, s) for f, s in zip(flats, shares, strict=True) if s > MOST_SATURATED]
    if not bad:
        return None
    listed = ", ".join(f"{name} ({100 * share:.0f} % of its lit pixels)" for name, share in bad)
    if "saturated-flat" not in allows:
        raise FrameMismatch(
            f"saturated flats: {listed}",
            "the response of a saturated pixel is not what it reads",
            "take them out of the list, or flats of a shorter exposure; to use them all the same, "
            "say so: --allow saturated-flat",
        )
    return Allowed("saturated-flat", bad[0][0], f"much of the flats is saturated: {listed}")


def _saturated_share(flat: Frame) -> float:
    """Return the share of saturated pixels, of those that light reaches, in a choice of rows."""
    step = max(1, flat.shape[0] // 128)
    masks = [flat.pixels.rows(y, y + 1).mask for y in range(step // 2, flat.shape[0], step)]
    bits = np.concatenate([m for m in masks if m is not None] or [np.zeros((1, 1), np.uint16)])
    lit = bits & np.uint16(DQ.BAD_PIXEL | DQ.UNILLUMINATED) == 0
    return float((bits[lit] & np.uint16(DQ.SATURATED) != 0).mean()) if lit.any() else 0.0


def _lamp_on_minus_off(flats: Sequence[Frame], params: MakeLampFlat, engine: Engine) -> Reported:
    lit = [f for f in flats if "LAMPON" in f.tags]
    dull = [f for f in flats if "LAMPOFF" in f.tags]
    for frame in flats[1:]:
        require_same(flats[0], frame, "shape", "unit", step="makeLampFlat")
    zero = combine_frames(dull, params, engine) if dull else None
    levels = np.array(engine.map(lambda frame: _lamp_level(frame, zero), lit))
    level, drift = levels.mean(), 100 * np.ptp(levels) / levels.mean()
    factors = level / levels if params.match_lamp else np.ones(len(lit))
    lamp = combine_frames(
        [_lamp_light(f, zero, s) for f, s in zip(lit, factors, strict=True)], params, engine
    )
    health = f"lamp level {level:.0f} e-, drift {drift:.2f} %"
    if zero is None:
        return Reported([lamp], health=health)
    planes = lamp.pixels.whole()
    # The lamp-off stack is one and the same in every difference: its noise is added once.
    noise = complete(zero.pixels.whole())
    made = lamp.with_planes(
        planes._replace(
            variance=complete(planes).variance + noise.variance,
            mask=complete(planes).mask | noise.mask,
        )
    ).with_cards(phu={"LAMPOFF": (zero.name, "Lamp-off flat")})
    made = made.with_(
        provenance=joint_provenance([*lit, *dull]),
        runs=joint_runs([*lit, *dull]),
        members=(*lamp.members, *zero.members),
    )
    return Reported([made], health=health)


def _lamp_light(frame: Frame, zero: Frame | None, factor: float) -> Frame:
    """Return a lamp-on flat without the light that is not the lamp's, times a factor."""
    times = np.float32(factor)

    def scale(planes: Planes, start: int, stop: int) -> Planes:
        data = planes.data
        if zero is not None:
            data = data - zero.pixels.rows(start, stop).data
        variance = None if planes.variance is None else planes.variance * (times * times)
        return planes._replace(data=data * times, variance=variance)

    return frame.map_rows(scale)


def _lamp_level(frame: Frame, zero: Frame | None) -> float:
    """Return the median of the lamp's light, over a regular choice of rows."""
    step = max(1, frame.shape[0] // 256)
    lamp = _lamp_light(frame, zero, 1.0)
    rows = [lamp.pixels.rows(y, y + 1) for y in range(step // 2, frame.shape[0], step)]
    values = np.concatenate([r.data[np.isfinite(r.data) & _clean(r)] for r in rows])
    level = float(np.median(values)) if values.size else 0.0
    if not level > 0:
        raise FrameMismatch(
            f"the lamp gives {level:g} e- in {values.size} good pixels of {frame.name}",
            "lamp-on flats are compared by the light of the lamp",
            "check the header's state of the lamp (GCALLAMP, GCALSHUT), and for saturation",
        )
    return level


def _clean(planes: Planes) -> Array:
    return np.ones(planes.data.shape, bool) if planes.mask is None else planes.mask == 0


class NormalizeFlat(Params):
    """Parameters of ``normalizeFlat``."""

    scale: Literal["median", "mean"] = Field("median", description="level that becomes one")


@per_frame("normalizeFlat", suffix="_normalized", stamps=("NORMLIZE",), guard=True)
def normalize_flat(frame: Frame, params: NormalizeFlat) -> Frame:
    """Divide by the median (or mean) of the good pixels.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
        Good pixels are those without any DQ bit.
    params : NormalizeFlat

    Raises
    ------
    FrameMismatch
        No good pixel, or their level is not positive.

    References
    ----------
    Spec: primitives 7.3.
    """
    planes = frame.pixels.whole()
    clean = np.isfinite(planes.data)
    if planes.mask is not None:
        clean &= planes.mask == 0
    good = planes.data[clean]
    level = 0.0
    if good.size:
        level = float(np.median(good) if params.scale == "median" else np.mean(good, dtype=float))
    if not level > 0:
        raise FrameMismatch(
            f"the {params.scale} of the good pixels of {frame.name} is {level:g}",
            "a flat without light cannot be normalised",
            "check that the lamp was on and that the darks fit",
        )
    factor = np.float32(1.0 / level)

    def divide(part: Planes, start: int, stop: int) -> Planes:
        variance = None if part.variance is None else part.variance * (factor * factor)
        return part._replace(data=part.data / np.float32(level), variance=variance)

    return frame.map_rows(divide)


class ThresholdFlatfield(Params):
    """Parameters of ``thresholdFlatfield``."""

    upper: float = Field(10.0, ge=1, description="largest believable response")
    lower: float = Field(0.01, lt=1, description="smallest believable response")


@per_frame("thresholdFlatfield", suffix="_thresholdFlatfielded", stamps=("TRHFLAT",), guard=True)
def threshold_flatfield(frame: Frame, params: ThresholdFlatfield) -> Frame:
    """Flag as unilluminated what is too dark or too bright, and set it to one.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
        Normalised flat.
    params : ThresholdFlatfield

    References
    ----------
    Spec: primitives 7.4. NaN and infinite pixels are flagged too, bad pixels above `upper` are set
    to one, and the variance of a replaced pixel is zero: the value is a convention, not measured.
    """

    def threshold(planes: Planes, start: int, stop: int) -> Planes:
        data = planes.data
        old = np.zeros(data.shape, np.uint16) if planes.mask is None else planes.mask
        inside = (data >= params.lower) & (data <= params.upper)  # False for NaN
        dark = ~inside & ((old & DQ.BAD_PIXEL) == 0)
        mask = np.where(dark, old | np.uint16(DQ.UNILLUMINATED), old).astype(np.uint16)
        replaced = ((mask & DQ.UNILLUMINATED) != 0) | ~inside
        variance = planes.variance
        return planes._replace(
            data=np.where(replaced, np.float32(1), data),
            variance=None if variance is None else np.where(replaced, np.float32(0), variance),
            mask=mask,
        )

    return frame.map_rows(threshold, adds=["mask"])
