"""Headers of stacks: what was combined, for how long, and how noisy it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from f2yaml.interpreter.frame import Card, Frame
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


def stack_cards(
    frames: Sequence[Frame], weights: Weights | None = None
) -> tuple[dict[str, Card], dict[str, Card]]:
    """Return the primary and SCI cards that describe a stack.

    Frames that are stacks themselves count with all their exposures: NCOMBINE and TEXPTIME are
    sums, and IMCMBnnn lists the exposures, not the stacks.
    """
    first = frames[0]
    depths = [_number(f, "NCOMBINE", 1.0) for f in frames]
    count = round(math.fsum(depths))
    total = math.fsum(_exposed(f) for f in frames)
    phu: dict[str, Card] = dict.fromkeys(_listed(first))
    phu |= {
        "NCOMBINE": (count, "Number of exposures combined"),
        "TEXPTIME": (total, "Total exposure time [s]"),
        "EXPMEAN": (total / count, "Mean exposure time of a frame [s]"),
        "DATALAB": f"{str(first.phu.get('DATALAB', '')).removesuffix('-STACK')}-STACK",
        "WEIGHTBY": None,
    }
    airmass = [(d, a) for d, f in zip(depths, frames, strict=True) if (a := f.describe("airmass"))]
    if airmass:
        mean = math.fsum(d * a for d, a in airmass) / math.fsum(d for d, _ in airmass)
        phu["AIRMASS"] = (mean, "Mean airmass of the frames")
    begun, ended = _moments(frames, "STKBEG"), _moments(frames, "STKEND")
    if begun and ended:
        phu["STKBEG"] = (min(begun).isoformat(), "Start of the first exposure [UTC]")
        phu["STKEND"] = (max(ended).isoformat(), "Start of the last exposure [UTC]")
    for number, name in enumerate(_exposures(frames), 1):
        phu[f"IMCMB{number:03d}" if number < 1000 else f"IMC{number:05d}"] = name
    if weights is not None:
        phu["WEIGHTBY"] = (weights.rule, "What the weights of the frames follow")
    return phu, _noise_cards(frames, weights)


def _noise_cards(frames: Sequence[Frame], weights: Weights | None) -> dict[str, Card]:
    count = len(frames)
    shares = np.full(count, 1 / count) if weights is None else weights.shares
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
    return frame.exposure_time if math.isnan(known) else known


def _moments(frames: Sequence[Frame], key: str) -> list[datetime]:
    found = []
    for frame in frames:
        try:
            moment = datetime.fromisoformat(str(frame.phu.get(key, "")))
        except ValueError:  # a single exposure, or a product of another program
            moment = frame.describe("ut_datetime")
        if moment is not None:
            found.append(moment)
    return found


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
