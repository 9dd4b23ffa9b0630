"""Headers of stacks: what was combined, for how long, and how noisy it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.framerows import CARDS
from f2yaml.interpreter.pixels import Array


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the frames of a stack.

    Parameters
    ----------
    rule : str
        How they were found.
    shares : ndarray of float64, shape (n,)
        Weights, of sum one.
    variances : ndarray of float64, shape (n,)
        Sky variance of each frame, squared unit of the data.
    """

    rule: str
    shares: Array
    variances: Array


#: Cards that say something of one frame, or were measured on it: they do not describe a stack.
OF_ONE_FRAME: Final = (
    "NSOURCES", "FWHMPIX", "MEANFWHM", "MEANELLP", "MEASREIQ", "MEASREBG",
    "MEANZP", "ZPERR", "ZPTOTAL", "CLOUDEXT", "MEASRECC", "ASTRMNUM", "ASTRMSRA", "ASTRMSDE",
    "ALIGNRMS", "ALIGNNUM", "CNTSCALE", "ORIGTEXP", "WEIGHTBY", "REJSHARE", *CARDS,
)  # fmt: skip
#: Cards of the moment at which an exposure starts, and at which it ends.
_AT_START: Final = (
    "DATE-OBS", "DATE", "UTDATE", "TIME-OBS", "UT", "STARTUT", "UTSTART", "OBSSTART", "MJD-OBS",
    "OBSEPOCH", "LT", "ST", "HA", "ELEVATIO", "AZIMUTH", "CRPA", "AMSTART",
)  # fmt: skip
_AT_END: Final = ("UTEND", "AMEND")
_MJD_ZERO: Final = datetime(1858, 11, 17)


def stack_cards(
    frames: Sequence[Frame], weights: Weights | None = None, *, scaled: bool = False
) -> tuple[dict[str, Card], dict[str, Card]]:
    """Return the primary and SCI cards that describe a stack.

    Frames that are stacks themselves count with all their exposures: NCOMBINE and TEXPTIME are
    sums, and IMCMBnnn lists the exposures, not the stacks.

    Parameters
    ----------
    frames : sequence of Frame
    weights : Weights, optional
        Equal ones by default.
    scaled : bool
        The frames were scaled to the level of the first while they were combined.

    Notes
    -----
    EXPTIME is the time that the counts stand for, the mean of the frames' (of the first where all
    were scaled to it), so that counts / EXPTIME is a rate; TEXPTIME is what the shutter was open.
    DATE-OBS and what else belongs to a moment are those of the exposure that began first;
    DATE-BEG, DATE-AVG, DATE-END and their MJD follow FITS 4.0, section 9.5, with the middles of
    exposures weighted by their length.
    """
    first = frames[0]
    depths = [float(exposures(f)) for f in frames]
    count = round(math.fsum(depths))
    total = math.fsum(_exposed(f) for f in frames)
    shares = _shares(frames, weights)
    phu: dict[str, Card] = dict.fromkeys((*OF_ONE_FRAME, *_listed(first)))
    phu |= _exposure_time(frames, shares, scaled)
    phu |= {
        "NCOMBINE": (count, "Number of exposures combined"),
        "TEXPTIME": (total, "Total exposure time [s]"),
        "EXPMEAN": (total / count, "Mean exposure time of a frame [s]"),
        "DATALAB": f"{str(first.phu.get('DATALAB', '')).removesuffix('-STACK')}-STACK",
    }
    airmass = [(d, a) for d, f in zip(depths, frames, strict=True) if (a := f.describe("airmass"))]
    if airmass:
        mean = math.fsum(d * a for d, a in airmass) / math.fsum(d for d, _ in airmass)
        phu["AIRMASS"] = (mean, "Mean airmass of the frames")
    phu |= _moments(frames)
    for number, name in enumerate(_exposures(frames), 1):
        phu[f"IMCMB{number:03d}" if number < 1000 else f"IMC{number:05d}"] = name
    if weights is not None:
        phu["WEIGHTBY"] = (weights.rule, "What the weights of the frames follow")
    sci = {**_noise_cards(frames, weights), **_sky_card(frames, shares)}
    if "MJD-OBS" in first.sci and phu["MJD-BEG"] is not None:
        sci["MJD-OBS"] = phu["MJD-BEG"]  # raw frames have it in single precision
    return phu, sci


def exposure_cards(frame: Frame, seconds: float, comment: str) -> dict[str, Card]:
    """Return the cards by which a frame's counts stand for an exposure of `seconds` in all.

    As in Gemini's products, EXPTIME is the sum of the coadds and COADDEXP one of them.
    """
    coadds = frame.describe("coadds")
    cards: dict[str, Card] = {"EXPTIME": (seconds, comment)}
    if coadds > 1:
        cards["COADDEXP"] = (seconds / coadds, "Exposure time of one coadd [s]")
    return cards


def exposures(frame: Frame) -> int:
    """Return of how many exposures a frame is the stack."""
    return max(1, round(_number(frame, "NCOMBINE", 1.0)))


def joint_stars(frames: Sequence[Frame]) -> Array | None:
    """Return the reference stars of all frames, each once; None where a frame has none."""
    tables = [frame.refcat for frame in frames if frame.refcat is not None]
    if len(tables) < len(frames) or len({table.dtype for table in tables}) > 1:
        return None
    return np.unique(np.concatenate(tables))


def _shares(frames: Sequence[Frame], weights: Weights | None) -> Array:
    return np.full(len(frames), 1 / len(frames)) if weights is None else weights.shares


def _exposure_time(frames: Sequence[Frame], shares: Array, scaled: bool) -> dict[str, Card]:
    """Return the cards of the time that the counts of a stack stand for."""
    times = [frame.exposure_time for frame in frames]
    seconds = times[0]
    if not scaled and max(times) > min(times):
        seconds = math.fsum(share * t for share, t in zip(shares, times, strict=True))
    cards = exposure_cards(frames[0], seconds, "Exposure time that the counts stand for [s]")
    if len({frame.describe("coadds") for frame in frames}) > 1:
        cards |= {"COADDS": None, "COADDEXP": None}
    return cards


def _sky_card(frames: Sequence[Frame], shares: Array) -> dict[str, Card]:
    """Return the mean sky level of the frames, on the scale of the stack."""
    levels = [_sci_number(f, "SKYLEVEL", math.nan) * _number(f, "CNTSCALE", 1.0) for f in frames]
    level = math.fsum(share * value for share, value in zip(shares, levels, strict=True))
    if not math.isfinite(level):
        return {"SKYLEVEL": None}
    return {"SKYLEVEL": (level, f"Mean sky level of the frames [{frames[0].unit}]")}


def _noise_cards(frames: Sequence[Frame], weights: Weights | None) -> dict[str, Card]:
    count = len(frames)
    shares = _shares(frames, weights)
    sci: dict[str, Card] = {}
    noises = np.array([_sci_number(f, "RDNOISE", math.nan) for f in frames])
    if np.isfinite(noises).all():
        noise = math.sqrt(math.fsum((shares * noises) ** 2))
        sci["RDNOISE"] = (noise, "Readout noise of the mean [electron]")
    gains = [_sci_number(f, "GAIN", 0.0) for f in frames]
    if all(gains):
        sci["GAIN"] = count / math.fsum(1 / g for g in gains)
    ratios = np.array([variance_ratio(f) for f in frames])
    if any("VARRATIO" in f.sci or "NOISECOR" in f.sci for f in frames):
        # Wide apertures see the noise before resampling, VAR / ratio. Without weights the frames
        # count as equally noisy before.
        after = shares**2 * (ratios if weights is None else weights.variances)
        factor = math.sqrt(math.fsum(after / ratios) / math.fsum(after))
        sci["VARRATIO"] = None
        sci["NOISECOR"] = (factor, "Noise of a wide aperture / sqrt(sum of VAR)")
    return sci


def variance_ratio(frame: Frame) -> float:
    """Return the variance plane over the variance that wide apertures see; 1 for white noise.

    A resampled frame says so in VARRATIO, a stack of such frames in NOISECOR.
    """
    if "VARRATIO" in frame.sci:
        return _sci_number(frame, "VARRATIO", 1.0)
    return 1.0 / _sci_number(frame, "NOISECOR", 1.0) ** 2


def _exposed(frame: Frame) -> float:
    """Return the time that the shutter was open, whatever the counts were scaled to."""
    known = _number(frame, "TEXPTIME", _number(frame, "ORIGTEXP", math.nan))
    # A stack of DRAGONS has no total; EXPTIME is that of one frame.
    return frame.exposure_time * exposures(frame) if math.isnan(known) else known


class _Span(NamedTuple):
    """When a frame was exposed: start of the first exposure, mean, end of the last one."""

    begun: datetime
    mean: datetime
    ended: datetime


def _moments(frames: Sequence[Frame]) -> dict[str, Card]:
    """Return the cards of the times of a stack; none where a frame does not know its own."""
    spans = [span for frame in frames if (span := _span(frame)) is not None]
    names = [f"{kind}-{which}" for kind in ("DATE", "MJD") for which in ("BEG", "AVG", "END")]
    if len(spans) < len(frames):
        return dict.fromkeys(names)
    order = range(len(frames))
    earliest = frames[min(order, key=lambda n: spans[n].begun)]
    latest = frames[max(order, key=lambda n: spans[n].ended)]
    cards: dict[str, Card] = {"TIMESYS": ("UTC", "Time scale of the dates")}
    for keys, frame in ((_AT_START, earliest), (_AT_END, latest)):
        if frame is not frames[0]:
            cards |= {key: frame.phu.get(key) for key in keys if key in frames[0].phu}
    zero = spans[0].mean
    times = [_exposed(frame) for frame in frames]
    late = math.fsum(
        t * (span.mean - zero).total_seconds() for t, span in zip(times, spans, strict=True)
    )
    mean = zero + timedelta(seconds=late / math.fsum(times)) if any(times) else zero
    texts = (
        "Start of the first exposure",
        "Mean, weighted by exposure",
        "End of the last exposure",
    )
    moments = (min(s.begun for s in spans), mean, max(s.ended for s in spans))
    for which, text, moment in zip(("BEG", "AVG", "END"), texts, moments, strict=True):
        cards[f"DATE-{which}"] = (moment.isoformat(), f"{text} [UTC]")
        cards[f"MJD-{which}"] = ((moment - _MJD_ZERO) / timedelta(days=1), f"{text} [d]")
    return cards


def _span(frame: Frame) -> _Span | None:
    words = [str(frame.phu.get(f"DATE-{which}", "")) for which in ("BEG", "AVG", "END")]
    try:
        return _Span(*map(datetime.fromisoformat, words))
    except ValueError:  # a single exposure, or a product of another program
        start = frame.describe("ut_datetime")
    if start is None:
        return None
    length = timedelta(seconds=_exposed(frame))
    return _Span(start, start + length / 2, start + length)


def _exposures(frames: Sequence[Frame]) -> list[str]:
    names: list[str] = []
    for frame in frames:
        listed = [str(frame.phu[key]) for key in _listed(frame)]
        names += listed or [str(frame.phu.get("ORIGNAME", frame.name))]
    return names


def _listed(frame: Frame) -> list[str]:
    """Return the keywords IMCMB001 .. IMCMB999, IMC01000 .. of a frame, by number."""
    found = {key: key.lstrip("IMCB") for key in frame.phu if key.startswith(("IMCMB", "IMC0"))}
    return sorted((key for key in found if found[key].isdigit()), key=lambda key: int(found[key]))


def _number(frame: Frame, key: str, default: float) -> float:
    value = frame.phu.get(key)
    return float(value) if isinstance(value, int | float) and value > 0 else default


def _sci_number(frame: Frame, key: str, default: float) -> float:
    value = frame.sci.get(key)
    return float(value) if isinstance(value, int | float) and value > 0 else default
