"""From a raw exposure to a frame with standard headers, quality bits and a variance plane."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.errors import BadInput, FrameMismatch
from f2yaml.interpreter.f2 import detector
from f2yaml.interpreter.f2.illumination import illumination_mask
from f2yaml.interpreter.frame import Card, Frame, require_same
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.pointing import pointing_table
from f2yaml.interpreter.registry import Params, per_frame
from pydantic import Field

#: Keywords that the reduction cannot do without, and what each is for.
ESSENTIAL = {
    "EXPTIME": "exposure times decide which calibrations fit",
    "LNRS": "the number of read pairs sets gain, noise and saturation",
}


class Prepare(Params):
    """Parameters of ``prepare``."""

    bad_wcs: Literal["exit", "ignore"] = Field(
        "exit", description="what to do when a header position contradicts the offsets"
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


def check_raw(frames: Sequence[Frame], params: Prepare) -> list[str]:
    """Check, from the headers of all frames together, that they can be prepared.

    Raises
    ------
    NotSupported
        Another instrument, spectroscopy, or a mask.
    BadInput
        A keyword is missing, or pointings contradict offsets and `bad_wcs` is ``exit``.
    """
    from f2yaml.interpreter.f2.tags import refuse_or_warn

    notes = [note for frame in frames for note in refuse_or_warn(frame.headers)]
    for frame in frames:
        for key, why in ESSENTIAL.items():
            if frame.phu.get(key) is None:
                raise BadInput(
                    f"{frame.name} has no keyword {key}", why, "take the frame out of the list"
                )
        _figures(frame)
    if params.bad_wcs == "exit":
        table = pointing_table(frames, flag_arcsec=params.relative_limit_arcsec)
        wrong = [
            row
            for row in table
            if row.separation > params.limit_arcsec
            or row.relative_separation > params.relative_limit_arcsec
        ]
        if wrong:
            listed = ", ".join(f"{r.name} ({r.relative_separation:.1f} arcsec)" for r in wrong)
            raise BadInput(
                f"header positions contradict the telescope offsets: {listed}",
                "such frames would be stacked in the wrong place",
                "look at them with `f2yaml run checkWCS`, take them out of the list, or accept "
                "them with -p prepare:bad_wcs=ignore",
            )
    return notes


@per_frame(
    "prepare",
    suffix="_prepared",
    stamps=("PREPARE", "VALDATA", "SDZSTRUC", "SDZHDRSG", "SDZHDRSI", "SDZWCS"),
    guard=True,
    check=check_raw,
)
def prepare(frame: Frame, params: Prepare) -> Frame:
    """Turn a raw exposure into a float image with standard headers.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu
        Raw frame; a third axis of length one is dropped, integers become float32.
    params : Prepare

    Raises
    ------
    BadInput
        Read mode unknown, or no world coordinates.

    References
    ----------
    Spec: primitives 4.1-4.5. The pointing check compares frames with each other as well, within
    the search radius of the alignment, which DRAGONS does not.
    """
    figures = _figures(frame)
    ny, nx = frame.shape[-2:]
    section = f"[1:{nx},1:{ny}]"
    scale = frame.wcs.pixel_scale()
    origname = frame.phu.get("ORIGNAME", frame.name)
    phu: dict[str, Card] = {
        "ORIGNAME": (origname, "Original filename prior to processing"),
        "PROCSOFT": ("f2yaml", "Data reduction software"),
        "PROCSVER": (version("f2yaml"), "Version of the data reduction software"),
        "PROCMODE": ("sq", "Reduction mode: science quality"),
        "FILTER": (frame.describe("filter_name", pretty=True), "Combined filter name"),
        "PIXSCALE": (scale, "Pixel scale [arcsec/pixel]"),
        "GAIN": None,
        "RDNOISE": None,
    }
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

    def as_float(planes: Planes, start: int, stop: int) -> Planes:
        return planes._replace(data=planes.data.astype(np.float32))

    return frame.map_rows(as_float).with_cards(phu, sci).with_wcs(frame.wcs)


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


@lru_cache(maxsize=4)
def _circle(shape: tuple[int, int]) -> Array:
    mask = illumination_mask(shape)
    mask.flags.writeable = False
    return mask


@per_frame("addDQ", suffix="_dqAdded", stamps=("ADDDQ",), guard=True)
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
    shape = (frame.shape[-2], frame.shape[-1])
    static = np.zeros(shape, np.uint16)
    for given in (bpm, user_bpm):
        if given is not None:
            require_same(frame, given, "shape", step="addDQ")
            static |= given.data.astype(np.uint16)
    cards: dict[str, Card] = {}
    if params.add_illum_mask and "DARK" not in frame.tags:
        if illum_mask is not None:
            require_same(frame, illum_mask, "shape", step="addDQ")
            static |= np.where(illum_mask.data != 0, DQ.UNILLUMINATED, 0).astype(np.uint16)
        else:
            static |= _circle(shape)
        cards["ILLUMASK"] = (params.illum_mask or "circle", "Illumination mask")
    saturation, nonlinear = float(frame.sci["SATLEVEL"]), float(frame.sci["NONLINEA"])
    data = frame.data
    hidden = algorithms.saturation.hidden_saturation(
        data, static, nonlinear=nonlinear, saturation=saturation
    )
    static |= np.where(hidden, DQ.SATURATED, 0).astype(np.uint16)

    def flag(planes: Planes, start: int, stop: int) -> Planes:
        mask = algorithms.calibrate.level_flags(
            planes.data, static[start:stop], nonlinear=nonlinear, saturation=saturation
        )
        return planes._replace(mask=mask)

    return frame.with_(data=data).map_rows(flag, adds=["mask"]).with_cards(phu=cards)


class AddVAR(Params):
    """Parameters of ``addVAR``."""

    read_noise: bool = Field(True, description="include the read noise")
    poisson_noise: bool = Field(True, description="include the photon noise of the pixel itself")


@per_frame("addVAR", suffix="_varAdded", stamps=("ADDVAR",), guard=True)
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

    def noise(planes: Planes, start: int, stop: int) -> Planes:
        variance = algorithms.calibrate.noise_variance(
            planes.data,
            gain=gain,
            read_noise=float(frame.sci["RDNOISE"]),
            read=params.read_noise,
            poisson=params.poisson_noise,
        )
        return planes._replace(variance=variance)

    words = ["read"] * params.read_noise + ["Poisson"] * params.poisson_noise
    noted = {"VARNOISE": (", ".join(words), "Noise in the variance plane")}
    return frame.map_rows(noise, adds=["variance"]).with_cards(sci=noted)
