"""From a raw exposure to a frame with standard headers, quality bits and a variance plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import BadFrames, BadInput, FrameMismatch, Problem
from f2yaml.interpreter.f2 import detector
from f2yaml.interpreter.f2.illumination import illumination_mask
from f2yaml.interpreter.f2.names import root_of
from f2yaml.interpreter.frame import Frame, require_same
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.pointing import Way, contradictions, repaired
from f2yaml.interpreter.primitives.links import AsFloat, Flags, Noise
from f2yaml.interpreter.primitives.stack_headers import exposure_cards
from f2yaml.interpreter.registry import Params, Reported, group, per_frame
from f2yaml.schema.modes import MEANING as MODE_MEANING
from pydantic import Field

#: Keywords that the reduction cannot do without, and what each is for.
ESSENTIAL = {
    "EXPTIME": "exposure times decide which calibrations fit",
    "LNRS": "the number of read pairs sets gain, noise and saturation",
}
#: Rows of a raw frame that are searched at a time for saturated pixels.
_SEARCH_ROWS = 64

#: How headers spell the unit of raw pixels.
_ADU = ("", "adu", "adus", "count", "counts", "dn")


class Prepare(Params):
    """Parameters of ``prepare``."""

    bad_wcs: Way = Field(
        "exit",
        description="what to do when a header position contradicts the offsets: exit; fix it by "
        "the offsets from a good frame; new positions for all frames from target and offsets; "
        "ignore it",
    )
    limit_arcsec: float = Field(
        30.0, ge=2, description="largest accepted distance from the expected pointing [arcsec]"
    )
    relative_limit_arcsec: float = Field(
        5.0,
        gt=0,
        description="largest accepted error relative to the other frames [arcsec]; the search "
        "radius of adjustWCSToReference, which corrects what is below it",
    )
    raw_unit: Literal["check", "adu"] = Field(
        "check",
        description="unit of raw pixels: check refuses a BUNIT other than adu, adu takes them for "
        "adu whatever BUNIT says",
    )


def check_raw(frames: Sequence[Frame], params: Prepare) -> list[str]:
    """Check, from the headers of all frames together, that they can be prepared.

    Raises
    ------
    NotSupported
        Another instrument, spectroscopy, or a mask.
    BadInput
        Keywords are missing or have no meaning, pixels are not adu, arrays are not all of one size
        (all frames are named), or pointings contradict offsets and `bad_wcs` is ``exit``.
    """
    from f2yaml.interpreter.f2.tags import refuse_or_warn

    notes = [note for frame in frames for note in refuse_or_warn(frame.headers)]
    bad: dict[str, Sequence[Problem]] = {}
    usual = _usual_size(frames)
    for frame in frames:
        try:
            check_header(frame)
            _check_size(frame, usual)
            notes += _check_unit(frame, params)
            if params.bad_wcs in ("exit", "ignore"):
                _ = frame.wcs  # raises where it describes no place on the sky
        except BadInput as error:
            bad[frame.name] = error.problems
    if bad:
        raise BadFrames(bad)
    return [*notes, *_check_pointing(frames, params)]


def check_header(frame: Frame) -> None:
    """Raise `BadInput` unless the header of a raw frame says all that `prepare` needs."""
    for key, why in ESSENTIAL.items():
        if frame.phu.get(key) is None:
            raise BadInput(
                f"{frame.name} has no keyword {key}", why, "take the frame out of the list"
            )
    coadds = frame.phu.get("COADDS", 1)
    if isinstance(coadds, bool) or not isinstance(coadds, int) or coadds < 1:
        raise BadInput(
            f"COADDS of {frame.name} is {coadds}",
            "times, noise and saturation follow from the number of exposures summed",
            "correct it, or take the frame out of the list",
        )
    _ = frame.exposure_time  # raises where it is no time
    _figures(frame)


def _size(frame: Frame) -> tuple[object, object]:
    return frame.sci.get("NAXIS1"), frame.sci.get("NAXIS2")


def _usual_size(frames: Sequence[Frame]) -> Frame:
    """Return a frame of the size that most have, the first of them."""
    sizes = [_size(frame) for frame in frames]
    return frames[sizes.index(max(sizes, key=sizes.count))]


def _check_size(frame: Frame, usual: Frame) -> None:
    size, wanted = _size(frame), _size(usual)
    if size != wanted:
        raise BadInput(
            f"{frame.name} has {size[0]} x {size[1]} pixels, "
            f"{usual.name} {wanted[0]} x {wanted[1]}",
            "the detector has one size; pixels of such frames do not correspond",
            "take one of them out of the list",
        )


def _check_unit(frame: Frame, params: Prepare) -> list[str]:
    """Raise BadInput if the header says that raw pixels are not adu; many say nothing."""
    unit = str(frame.sci.get("BUNIT", frame.phu.get("BUNIT")) or "adu").strip()
    if unit.lower() in _ADU:
        return []
    if params.raw_unit == "adu":
        return [f"prepare: BUNIT of {frame.name} is {unit}; its pixels are taken for adu"]
    raise BadInput(
        f"BUNIT of {frame.name} is {unit}, that of a raw frame is adu",
        "they would be multiplied by the gain, as if they were adu; noise, saturation and "
        "linearity follow from that",
        "take the raw frame as the archive has it, or, if BUNIT is wrong, say so with "
        "-p prepare:raw_unit=adu",
    )


def _check_pointing(frames: Sequence[Frame], params: Prepare) -> list[str]:
    """Compare header positions with the offsets; return what is done about it."""
    limits = (params.limit_arcsec, params.relative_limit_arcsec)
    if params.bad_wcs == "new":
        count = len(repaired(frames, "new", *limits))
        return [f"prepare: positions of {count} frames are made of target and offsets"] * (
            count > 0
        )
    wrong = contradictions(frames, *limits)
    if not wrong:
        return []
    listed = ", ".join(f"{r.name} ({r.relative_separation:.1f} arcsec)" for r in wrong)
    if params.bad_wcs == "exit":
        problem = Problem(
            f"header positions contradict the telescope offsets: {listed}",
            "such frames would be stacked in the wrong place",
            "look at them with `f2yaml run checkWCS`, take them out of the list, repair them with "
            "-p prepare:bad_wcs=fix, or accept them with -p prepare:bad_wcs=ignore",
        )
        raise BadFrames(dict.fromkeys((r.name for r in wrong), (problem,)))
    repaired(frames, params.bad_wcs, *limits)  # raises where there is nothing to repair them by
    done = "are replaced" if params.bad_wcs == "fix" else "are kept, as bad_wcs=ignore asks"
    return [f"prepare: header positions that contradict the telescope offsets {done}: {listed}"]


@per_frame(
    "prepare",
    suffix="_prepared",
    stamps=("PREPARE", "VALDATA", "SDZSTRUC", "SDZHDRSG", "SDZHDRSI", "SDZWCS"),
    guard=True,
    check=check_raw,
    takes="exposures",
)
def prepare(
    frame: Frame, params: Prepare, *, mode: str = "sq", pointing: Tan | None = None
) -> Frame:
    """Turn a raw exposure into a float image with standard headers.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu
        Raw frame; a third axis of length one is dropped, integers become float32.
    params : Prepare
    mode : str
        sq, ql or qa; what a database needs to know of a product (PROCMODE).
    pointing : Tan, optional
        World coordinates that replace those of the header (`bad_wcs`).

    Raises
    ------
    BadInput
        Read mode unknown, or no world coordinates.

    References
    ----------
    Spec: primitives 4.1-4.5. EXPTIME becomes the sum of the coadds, COADDEXP that of one, where
    DRAGONS leaves EXPTIME but reads it as the sum. The pointing check compares frames with each
    other as well, within the search radius of the alignment, which DRAGONS does not.
    """
    figures = _figures(frame)
    ny, nx = frame.shape[-2:]
    section = f"[1:{nx},1:{ny}]"
    wcs = frame.wcs if pointing is None else pointing
    scale = wcs.pixel_scale()
    origname = frame.phu.get("ORIGNAME", f"{root_of(frame.name)}.fits")  # however it was packed
    phu: dict[str, Card] = {
        "ORIGNAME": (origname, "Original filename prior to processing"),
        "PROCSOFT": ("f2yaml", "Data reduction software"),
        "PROCSVER": (version("f2yaml"), "Version of the data reduction software"),
        "PROCMODE": (mode, f"Reduction mode: {MODE_MEANING[mode]}"),
        "FILTER": (frame.describe("filter_name", pretty=True), "Combined filter name"),
        "PIXSCALE": (scale, "Pixel scale [arcsec/pixel]"),
        "GAIN": None,
        "RDNOISE": None,
    }
    if frame.describe("coadds") > 1:  # from here on EXPTIME is the sum, as in Gemini's products
        phu |= exposure_cards(frame, frame.exposure_time, "Exposure time of all coadds [s]")
    if pointing is not None:
        phu["BADWCS"] = (params.bad_wcs, "How the header position was replaced")
    sci: dict[str, Card] = {
        "EXTNAME": "SCI",
        "EXTVER": 1,
        "BUNIT": ("adu", "Physical units"),
        "PIXSCALE": (scale, "Pixel scale [arcsec/pixel]"),
        "RDNOISE": (figures["read_noise"], "Readout noise [electron]"),
        "GAIN": (figures["gain"], "Gain [electron/ADU]"),
        "NONLINEA": (figures["non_linear_level"], "Non-linear regime level [ADU]"),
        "SATLEVEL": (figures["saturation_level"], "Saturation level [ADU]"),
        "ARRAYSEC": (section, "Section of the array read"),
        "DATASEC": (section, "Section of useful data"),
        "DETSEC": (section, "Section of the detector"),
        "CD3_3": None,
        "NAXIS3": None,
        "RADECSYS": None,
        "RADESYS": frame.sci.get("RADESYS", frame.sci.get("RADECSYS", "FK5")),
        "WCSAXES": 2,
        "WCSDIM": 2,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
    }

    return frame.map_rows(AsFloat()).with_cards(phu, sci).with_wcs(wcs)


def _figures(frame: Frame) -> dict[str, float]:
    """Return gain, read noise and levels of the frame's read mode; raise where it is unknown."""
    lnrs = frame.phu.get("LNRS")
    detector.read_mode(
        int(lnrs) if isinstance(lnrs, int | float) else None,
        date=frame.describe("ut_date"),
        where=frame.name,
    )
    names = ("gain", "read_noise", "saturation_level", "non_linear_level")
    return {name: frame.describe(name)[0] for name in names}


class AddDQ(Params):
    """Parameters of ``addDQ``."""

    static_bpm: str | None = Field(
        "default",
        description="bad-pixel mask: `default` asks the calibration database, null uses none, "
        "anything else is a file",
    )
    user_bpm: str | None = Field(None, description="a bad-pixel mask to use as well (file)")
    add_illum_mask: bool = Field(True, description="flag pixels outside the illuminated circle")
    illum_mask: str | None = Field(
        None, description="illumination mask to use instead of the generated circle (file)"
    )


@per_frame("addDQ", suffix="_dqAdded", stamps=("ADDDQ",), guard=True, takes="exposures")
def add_dq(
    frame: Frame,
    params: AddDQ,
    *,
    bpm: Frame | None = None,
    user_bpm: Frame | None = None,
    illum_mask: Frame | None = None,
) -> Frame:
    """Create the plane of quality bits.

    Bad pixels come from the masks, non-linear (2) and saturated (4) pixels from the levels in the
    header, collapsed cores of saturated stars (4) from their saturated ring, and unilluminated
    pixels (64) from the circle that F2's optics cast on the detector.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu
    params : AddDQ
    bpm, user_bpm : Frame, optional
        Bad-pixel masks; the bits are their data.
    illum_mask : Frame, optional
        Any non-zero value is unilluminated.

    Raises
    ------
    FrameMismatch
        A mask has another shape.

    References
    ----------
    Spec: primitives 5.1, instrument 4.1 and 4.9. The region of a collapsed core must be enclosed
    by saturated pixels, which DRAGONS does not ask.
    """
    for given in (bpm, user_bpm, illum_mask):
        if given is not None:
            require_same(frame, given, "shape", step="addDQ")
    shape = (frame.shape[-2], frame.shape[-1])
    dark = "DARK" in frame.tags
    lit = params.add_illum_mask and not dark
    static = _static_bits(shape, bpm, user_bpm, illum_mask, dark, lit)
    cards: dict[str, Card] = {}
    if lit:
        cards["ILLUMASK"] = (params.illum_mask or "circle", "Illumination mask")
        cards["ADILLMSK"] = (utc_now(), "UT time of addIllumMaskToDQ")
    saturation, nonlinear = float(frame.sci["SATLEVEL"]), float(frame.sci["NONLINEA"])
    hidden = _hidden(frame, static, nonlinear, saturation)
    flags = Flags(static, hidden, nonlinear, saturation)
    return frame.map_rows(flags, adds=["mask"]).with_cards(phu=cards)


@lru_cache(maxsize=2)
def _static_bits(
    shape: tuple[int, int],
    bpm: Frame | None,
    user_bpm: Frame | None,
    illum_mask: Frame | None,
    dark: bool,
    lit: bool,
) -> Array:
    """Return the bits that all frames of a kind have; one array for all of them."""
    static = np.zeros(shape, np.uint16)
    for given in (bpm, user_bpm):
        if given is not None:
            static |= given.data.astype(np.uint16)
    if dark:  # darks see no light anywhere, whatever a mask made of flats says
        static &= ~np.uint16(DQ.UNILLUMINATED)
    if lit and illum_mask is not None:
        static |= np.where(illum_mask.data != 0, DQ.UNILLUMINATED, 0).astype(np.uint16)
    elif lit:
        static |= illumination_mask(shape)
    static.flags.writeable = False
    return static


def _hidden(frame: Frame, static: Array, nonlinear: float, saturation: float) -> Array:
    """Return the places of pixels of hidden saturation in the flattened frame."""
    ny = frame.shape[-2]
    bands = [(y, min(y + _SEARCH_ROWS, ny)) for y in range(0, ny, _SEARCH_ROWS)]
    rows = [frame.pixels.rows(*band).data for band in bands]
    if not any(algorithms.saturation.reached(part, saturation) for part in rows):
        return np.empty(0, np.int64)
    found = algorithms.saturation.hidden_saturation(
        np.concatenate(rows), static, nonlinear=nonlinear, saturation=saturation
    )
    return np.flatnonzero(found)


class AddLatencyToDQ(Params):
    """Parameters of ``addLatencyToDQ``."""

    time: float = Field(120.0, gt=0, description="how long a bright exposure is remembered [s]")
    non_linear: bool = Field(False, description="pixels in the non-linear regime leave a ghost too")


@group("addLatencyToDQ", suffix="_latencyAdded", stamps=("ADLATNCY",), takes="exposures")
def add_latency_to_dq(
    frames: Sequence[Frame], params: AddLatencyToDQ, *, engine: Engine = SERIAL
) -> Reported:
    """Flag pixels (8) that were saturated in a frame taken shortly before.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx)
        With quality bits, in any order.
    params : AddLatencyToDQ

    Raises
    ------
    FrameMismatch
        A frame has no quality bits or no time, or shapes differ.

    References
    ----------
    Spec: primitives 5.1, step 6 (``latency`` of addDQ): there, as here, the times are those at
    which exposures start. A step of its own, as it needs the frames of a stream together; insert
    it after addDQ.
    """
    wanted = np.uint16(DQ.SATURATED | (DQ.NON_LINEAR if params.non_linear else 0))
    ghosts: list[tuple[datetime, Array]] = []
    settled = [engine.settle(frame) for frame in frames]
    for frame in settled:
        require_same(frames[0], frame, "shape", step="addLatencyToDQ")
        start = frame.describe("ut_datetime")
        mask = frame.mask
        if mask is None or start is None:
            lacking = "date" if start is None else "quality bits"
            raise FrameMismatch(
                f"addLatencyToDQ: {frame.name} has no {lacking}",
                "pixels saturated shortly before a frame are flagged in it",
                "run addDQ before, or leave the step out",
            )
        ghosts.append((start, np.packbits((mask & wanted) != 0, axis=1)))
    made, flagged = [], 0
    for frame, (start, _) in zip(settled, ghosts, strict=True):
        lit = np.zeros_like(ghosts[0][1])
        for then, ghost in ghosts:
            if 0 < (start - then).total_seconds() < params.time:
                lit |= ghost
        flagged += int(np.unpackbits(lit, axis=1, count=frame.shape[1]).sum())
        made.append(frame.map_rows(_ghosted(lit)))
    return Reported(made, health=f"{flagged / max(1, len(frames)):.0f} pixels a frame")


def _ghosted(lit: Array) -> Callable[[Planes, int, int], Planes]:
    def flag(planes: Planes, start: int, stop: int) -> Planes:
        assert planes.mask is not None
        bits = np.unpackbits(lit[start:stop], axis=1, count=planes.mask.shape[1])
        return planes._replace(mask=planes.mask | bits.astype(np.uint16) * np.uint16(DQ.COSMIC_RAY))

    return flag


class AddVAR(Params):
    """Parameters of ``addVAR``."""

    read_noise: bool = Field(True, description="include the read noise")
    poisson_noise: bool = Field(True, description="include the photon noise of the pixel itself")


@per_frame("addVAR", suffix="_varAdded", stamps=("ADDVAR",), guard=True, takes="exposures")
def add_var(frame: Frame, params: AddVAR) -> Frame:
    """Create the variance plane from the read noise and the photon noise of each pixel.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : AddVAR

    Raises
    ------
    FrameMismatch
        Neither noise is asked for, which would leave the frame without a variance.

    References
    ----------
    Spec: primitives 5.3. Both noises are the default here; DRAGONS' default is neither.
    """
    if not (params.read_noise or params.poisson_noise):
        raise FrameMismatch(
            "addVAR is asked for neither read_noise nor poisson_noise",
            "later steps weigh pixels by their variance",
            "set one of them to true, or leave the step out with `skip: true`",
        )
    gain = 1.0 if frame.unit == "electron" else float(frame.sci["GAIN"])

    read_noise = float(frame.sci["RDNOISE"])
    noise = Noise(gain, read_noise, params.read_noise, params.poisson_noise)
    words = ["read"] * params.read_noise + ["Poisson"] * params.poisson_noise
    noted = {"VARNOISE": (", ".join(words), "Noise in the variance plane")}
    return frame.map_rows(noise, adds=["variance"]).with_cards(sci=noted)
