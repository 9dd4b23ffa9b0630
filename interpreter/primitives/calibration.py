"""Darks and flats: applying them and making them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch, NotSupported, TooFewFrames
from f2yaml.interpreter.frame import Frame, require_same
from f2yaml.interpreter.pixels import Planes
from f2yaml.interpreter.primitives.stack import Combine, combine_frames, require_equal_times
from f2yaml.interpreter.registry import Params, Reported, group, per_frame
from pydantic import Field

if TYPE_CHECKING:
    from f2yaml.interpreter.algorithms.calibrate import Planes as CalPlanes

DoCal = Literal["procmode", "force", "skip"]
DO_CAL = "procmode and force need the calibration, skip leaves the step out"


class DarkCorrect(Params):
    """Parameters of ``darkCorrect``."""

    dark: str | None = Field(
        None, description="processed dark to use instead of asking the database (file)"
    )
    do_cal: DoCal = Field("procmode", description=DO_CAL)
    exptime_tolerance: float = Field(0.01, ge=0, description="largest allowed |t - t_dark| [s]")


@per_frame("darkCorrect", suffix="_darkCorrected", stamps=("DARKCORR",), guard=True)
def dark_correct(frame: Frame, params: DarkCorrect, *, dark: Frame) -> Frame:
    """Subtract a processed dark of the same exposure time, pixel by pixel.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : DarkCorrect
    dark : Frame, shape (ny, nx), unit of `frame`
        Processed dark. Its noise is independent of the frame's, so variances add.

    Raises
    ------
    FrameMismatch
        Shape, unit, read mode or exposure time differ.

    References
    ----------
    Spec: primitives 6.1; the checks of exposure time and read mode are ours.
    """
    require_same(frame, dark, "shape", "unit", "read_mode", step="darkCorrect")
    if abs(frame.exposure_time - dark.exposure_time) > params.exptime_tolerance:
        raise FrameMismatch(
            f"{frame.name} was exposed {frame.exposure_time:g} s, "
            f"{dark.name} {dark.exposure_time:g} s",
            "dark signal grows with time",
            "give a matching dark (--user-cal processed_dark:FILE) or raise exptime_tolerance",
        )

    def subtract(planes: Planes, start: int, stop: int) -> Planes:
        return _planes(algorithms.calibrate.subtract, planes, dark.pixels.rows(start, stop))

    used = {"DARKIM": (dark.name, "Dark image that was subtracted")}
    return frame.map_rows(subtract).with_cards(phu=used)


class FlatCorrect(Params):
    """Parameters of ``flatCorrect``."""

    flat: str | None = Field(
        None, description="processed flat to use instead of asking the database (file)"
    )
    do_cal: DoCal = Field("procmode", description=DO_CAL)


@per_frame("flatCorrect", suffix="_flatCorrected", stamps=("FLATCORR",), guard=True)
def flat_correct(frame: Frame, params: FlatCorrect, *, flat: Frame) -> Frame:
    """Divide by a processed flat of the same filter, pixel by pixel.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : FlatCorrect
    flat : Frame, shape (ny, nx), no unit
        Processed flat, with a median of one. A pixel where it is zero becomes a bad pixel.

    Raises
    ------
    FrameMismatch
        Shape, filter or Lyot stop differ.

    References
    ----------
    Spec: primitives 6.2 and 2.3.
    """
    require_same(frame, flat, "shape", "filter_name", "lyot_stop", step="flatCorrect")

    def divide(planes: Planes, start: int, stop: int) -> Planes:
        return _planes(algorithms.calibrate.divide, planes, flat.pixels.rows(start, stop))

    used = {"FLATIM": (flat.name, "Flat-field image that was divided by")}
    return frame.map_rows(divide).with_cards(phu=used)


def _planes(
    operation: Callable[
        [algorithms.calibrate.Planes, algorithms.calibrate.Planes], algorithms.calibrate.Planes
    ],
    left: Planes,
    right: Planes,
) -> Planes:
    """Apply an operation between two frames' rows; a missing variance or mask counts as zero."""
    made = operation(_complete(left), _complete(right))
    return left._replace(data=made.data, variance=made.variance, mask=made.mask)


def _complete(planes: Planes) -> CalPlanes:
    shape = planes.data.shape
    variance = np.zeros(shape, np.float32) if planes.variance is None else planes.variance
    mask = np.zeros(shape, np.uint16) if planes.mask is None else planes.mask
    return algorithms.calibrate.Planes(planes.data, variance, mask)


def need_lamp_dark(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Return what ``makeLampFlat`` needs a processed dark for: K flats without darks."""
    if any("DARK" in frame.tags for frame in frames):
        return []
    return [f for f in frames if "FLAT" in f.tags and f.describe("wavelength_band") == "K"][:1]


class MakeLampFlat(Combine):
    """Parameters of ``makeLampFlat``."""

    dark: str | None = Field(
        None, description="processed dark for K flats that come without darks (file)"
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
    require_equal_times([*flats, *darks], "makeLampFlat")
    if flats[0].describe("wavelength_band") != "K":
        raise NotSupported(
            f"{flats[0].name} is a {flats[0].describe('filter_name', pretty=True)} flat",
            "this version makes flats of the K band, from lamp-off flats and darks",
            "give a processed flat with --user-cal processed_flat:FILE",
        )
    return []


@group(
    "makeLampFlat",
    suffix="_lampstack",
    stamps=("STACKFRM",),
    wants=need_lamp_dark,
    check=check_lamp,
)
def make_lamp_flat(
    frames: Sequence[Frame],
    params: MakeLampFlat,
    *,
    dark: Frame | None = None,
    engine: Engine = SERIAL,
) -> Reported:
    """Combine lamp flats and remove what is not lamp light.

    In the K band the closed shutter's own warmth is the lamp and dark frames of the same exposure
    time give the zero level: the stack of all flats minus the stack of the darks among the inputs,
    or minus a processed dark where there are none.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), electron
        Flats and darks, in any order.
    params : MakeLampFlat
    dark : Frame, optional
        Processed dark, used when no darks are among the frames.

    Raises
    ------
    FrameMismatch
        Filters, read modes or exposure times differ.

    References
    ----------
    Spec: primitives 7.2. The band is that of the flats, whatever file comes first.
    """
    check_lamp(frames, params)
    flats = [f for f in frames if "FLAT" in f.tags]
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
    planes = _planes(algorithms.calibrate.subtract, lamp.pixels.whole(), zero.pixels.whole())
    level = float(np.median(planes.data[::16, ::16]))
    made = lamp.with_planes(planes).with_cards(phu={"DARKIM": (zero.name, "Zero level")})
    made = made.with_(provenance=_union([*flats, *darks, *([dark] if dark else [])]))
    return Reported([made], health=f"lamp level {level:.0f} e-")


def _union(frames: Sequence[Frame]) -> tuple[object, ...]:
    return tuple(dict.fromkeys(row for frame in frames for row in frame.provenance))


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
