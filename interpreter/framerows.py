"""What a stack keeps of each frame in it: the rows of its table FRAMES."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f2yaml.interpreter.frame import Frame


def _column(unit: str, text: str) -> Any:
    return field(metadata={"unit": unit, "doc": text})


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A frame of a stack. Numbers that nobody measured are NaN, or -1 where they are whole."""

    name: str = _column("", "file of the exposure, or of the stack that was stacked")
    md5: str = _column("", "checksum of that file")
    obstype: str = _column("", "OBSTYPE")
    date_obs: str = _column("", "start of the exposure, UTC")
    exptime: float = _column("s", "exposure time that its counts stood for")
    ncombine: int = _column("", "exposures in it")
    airmass: float = _column("", "airmass")
    poffset: float = _column("arcsec", "telescope offset along p")
    qoffset: float = _column("arcsec", "telescope offset along q")
    dx: float = _column("pix", "where its centre lies on the grid of the first frame, along x")
    dy: float = _column("pix", "the same along y")
    wcs_dx: float = _column("pix", "correction of its header position along x")
    wcs_dy: float = _column("pix", "the same along y")
    aligned: str = _column("", "sources, offsets or reference")
    align_rms: float = _column("pix", "residual of its matched sources")
    align_num: int = _column("", "matched sources")
    nsources: int = _column("", "sources found")
    fwhm: float = _column("arcsec", "median FWHM of its stars")
    sky_level: float = _column("electron", "sky level that was subtracted, or measured")
    transparency: float = _column("", "flux of its stars / that in the first frame, per second")
    transp_err: float = _column("", "error of transparency")
    transp_num: int = _column("", "stars that gave it")
    scale: float = _column("", "factor that its counts were multiplied by")
    zeropoint: float = _column("mag", "zero point by a catalogue")
    sky_noise: float = _column("electron", "noise of the sky, where weights follow it")
    weight: float = _column("", "weight in the stack; all are of sum one")
    dark: str = _column("", "processed dark")
    dark_date: str = _column("", "when the exposures of the dark began, UTC")
    flat: str = _column("", "processed flat")
    flat_date: str = _column("", "when those of the flat began, UTC")


COLUMNS: tuple[tuple[str, str, str, str], ...] = tuple(
    (f.name, str(f.type), f.metadata["unit"], f.metadata["doc"]) for f in fields(FrameRow)
)
#: Cards of one frame that the rows are made from; a stack does not have them.
CARDS = (
    "FRAMEDX", "FRAMEDY", "WCSDX", "WCSDY", "ALIGNBY", "TRANSP", "TRANSPER", "TRANSPN",
)  # fmt: skip


def frame_rows(frames: Sequence[Frame], weights: Any = None) -> tuple[FrameRow, ...]:
    """Return a row for each frame.

    Parameters
    ----------
    frames : sequence of Frame
    weights : Weights, optional
        Weights of the frames (`primitives.stack_headers.Weights`); equal ones by default.
    """
    count = len(frames)
    shares = [1 / count] * count if weights is None else [float(w) for w in weights.shares]
    noises = [math.nan] * count if weights is None else [v**0.5 for v in weights.variances]
    return tuple(
        _row(frame, share, float(noise))
        for frame, share, noise in zip(frames, shares, noises, strict=True)
    )


def _row(frame: Frame, weight: float, sky_noise: float) -> FrameRow:
    begun = frame.describe("ut_datetime")
    count = _whole(frame.phu.get("NCOMBINE", 1))
    name = _text(frame.phu.get("ORIGNAME", frame.name)) if count < 2 else frame.name
    sums = {row.filename: row.md5 for row in frame.provenance}
    fwhm = number(frame.phu.get("FWHMPIX"))
    if not math.isnan(fwhm):
        fwhm *= frame.wcs.pixel_scale()
    return FrameRow(
        name=name,
        md5=sums.get(name, frame.md5),
        obstype=_text(frame.phu.get("OBSTYPE")),
        date_obs="" if begun is None else begun.isoformat(timespec="milliseconds"),
        exptime=number(frame.phu.get("ORIGTEXP", frame.phu.get("EXPTIME"))),
        ncombine=count,
        airmass=number(frame.describe("airmass")),
        poffset=number(frame.phu.get("POFFSET")),
        qoffset=number(frame.phu.get("QOFFSET")),
        dx=number(frame.phu.get("FRAMEDX")),
        dy=number(frame.phu.get("FRAMEDY")),
        wcs_dx=number(frame.phu.get("WCSDX")),
        wcs_dy=number(frame.phu.get("WCSDY")),
        aligned=_text(frame.phu.get("ALIGNBY")),
        align_rms=number(frame.phu.get("ALIGNRMS")),
        align_num=_whole(frame.phu.get("ALIGNNUM")),
        nsources=_whole(frame.phu.get("NSOURCES")),
        fwhm=fwhm,
        sky_level=number(frame.sci.get("SKYLEVEL")),
        transparency=number(frame.phu.get("TRANSP")),
        transp_err=number(frame.phu.get("TRANSPER")),
        transp_num=_whole(frame.phu.get("TRANSPN")),
        scale=number(frame.phu.get("CNTSCALE", 1.0)),
        zeropoint=number(frame.phu.get("MEANZP")),
        sky_noise=sky_noise,
        weight=weight,
        dark=_text(frame.phu.get("DARKIM")),
        dark_date=_text(frame.phu.get("DARKDATE")),
        flat=_text(frame.phu.get("FLATIM")),
        flat_date=_text(frame.phu.get("FLATDATE")),
    )


def date_cards(key: str, calibration: Frame) -> dict[str, Any]:
    """Return the card of when the exposures of a calibration began."""
    begun = calibration.describe("ut_datetime")
    if begun is None:
        return {}
    return {key: (begun.isoformat(timespec="seconds"), "Start of its first exposure [UTC]")}


def number(value: Any) -> float:
    """Return a header value as a number, NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _whole(value: Any) -> int:
    found = number(value)
    return int(found) if math.isfinite(found) and abs(found) < 2**31 else -1


def _text(value: Any) -> str:
    return "" if value is None else str(value)
