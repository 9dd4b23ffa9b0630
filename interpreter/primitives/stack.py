"""Frames combined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.engine import SERIAL, Engine, read_band
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Card, Frame, require_same
from f2yaml.interpreter.pixels import InMemory, Planes
from f2yaml.interpreter.registry import Params, Reported, group
from pydantic import Field


class Combine(Params):
    """Parameters of every step that combines frames pixel by pixel."""

    operation: Literal["mean", "wtmean", "median", "lmedian"] = Field(
        "mean", description="how the surviving samples of a pixel become one value"
    )
    reject_method: Literal["none", "minmax", "sigclip", "varclip"] = Field(
        "varclip",
        description="which samples are left out: varclip compares with the propagated noise, "
        "sigclip with the scatter, minmax drops the lowest nlow and highest nhigh",
    )
    lsigma: float = Field(3.0, ge=0, description="rejection below the centre [sigma]")
    hsigma: float = Field(3.0, ge=0, description="rejection above the centre [sigma]")
    mclip: bool = Field(True, description="sigclip centres on the median instead of the mean")
    max_iters: int | None = Field(None, ge=1, description="largest number of sigclip rounds")
    nlow: int = Field(0, ge=0, description="minmax: lowest samples to drop")
    nhigh: int = Field(0, ge=0, description="minmax: highest samples to drop")
    signal_error: float = Field(
        0.0,
        ge=0,
        description="varclip: share of the signal by which frames may differ (seeing, centring)",
    )
    scale: bool = Field(False, description="scale frames to the level of the first")
    zero: bool = Field(False, description="shift frames to the level of the first")
    apply_dq: bool = Field(True, description="leave flagged pixels out")


def require_equal_times(frames: Sequence[Frame], step: str, tolerance: float = 0.01) -> None:
    """Raise unless all exposure times agree within `tolerance` seconds."""
    first = frames[0]
    for frame in frames[1:]:
        if abs(frame.exposure_time - first.exposure_time) > tolerance:
            raise FrameMismatch(
                f"{frame.name} was exposed {frame.exposure_time:g} s, "
                f"{first.name} {first.exposure_time:g} s",
                f"{step} combines frames whose dark signal must be the same",
                "split the list by exposure time",
            )


def combine_frames(frames: Sequence[Frame], params: Combine, engine: Engine) -> Frame:
    """Combine frames into one, in row bands; the first gives name and headers.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), one unit
    params : Combine
    engine : Engine

    Raises
    ------
    TooFewFrames
        There is none, or minmax would drop all of them.
    FrameMismatch
        Shapes or units differ.
    """
    if not frames:
        raise TooFewFrames("there is no frame to combine", "", "check the lists of inputs")
    first = frames[0]
    for frame in frames[1:]:
        require_same(first, frame, "shape", "unit", step="stack")
    if params.reject_method == "minmax" and params.nlow + params.nhigh >= len(frames):
        raise TooFewFrames(
            f"minmax would drop {params.nlow} + {params.nhigh} of {len(frames)} frames",
            "no sample would be left",
            "lower nlow and nhigh, or take another reject_method",
        )
    factors = _levels(frames, params)
    present = frozenset.intersection(*(f.pixels.present for f in frames))
    ny, nx = first.shape
    out = Planes(
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.uint16) if params.apply_dq else None,
    )
    per_row = len(frames) * nx * (4 * 2 + 2)

    def work(band: tuple[int, int]) -> None:
        start, stop = band
        planes = read_band(frames, start, stop)
        made = algorithms.combine.combine(
            planes.data,
            planes.variance if "variance" in present else None,
            planes.mask if "mask" in present and params.apply_dq else None,
            operation=params.operation,
            reject=params.reject_method,
            lsigma=params.lsigma,
            hsigma=params.hsigma,
            nlow=params.nlow,
            nhigh=params.nhigh,
            mclip=params.mclip,
            max_iters=params.max_iters,
            signal_error=params.signal_error,
            **factors,
        )
        assert out.variance is not None
        out.data[start:stop] = made.data
        out.variance[start:stop] = made.variance
        if out.mask is not None:
            out.mask[start:stop] = 0 if made.mask is None else made.mask

    engine.map(work, engine.bands(ny, per_row))
    return first.with_(
        pixels=InMemory(out.freeze()),
        objcat=None,
        skies=None,
        provenance=tuple(dict.fromkeys(row for f in frames for row in f.provenance)),
    ).with_cards(*_stack_cards(frames))


def _levels(frames: Sequence[Frame], params: Combine) -> dict[str, Any]:
    """Return the factors or offsets that bring all frames to the level of the first."""
    if not (params.scale or params.zero) or len(frames) < 2:
        return {}
    step = max(1, frames[0].shape[0] // 256)  # 256 rows measure a level to 1e-3 of the pixel noise
    rows = [read_band(frames, y, y + 1) for y in range(step // 2, frames[0].shape[0], step)]
    data = np.concatenate([r.data for r in rows], axis=1)
    masks = [r.mask for r in rows if r.mask is not None]
    mask = np.concatenate(masks, axis=1) if len(masks) == len(rows) else None
    mode: Literal["scale", "zero"] = "zero" if params.zero else "scale"
    return {mode: algorithms.normalize.normalization_factors(data, mask, mode=mode)}


def _stack_cards(frames: Sequence[Frame]) -> tuple[dict[str, Card], dict[str, Card]]:
    """Return the primary and SCI cards that describe a stack."""
    first, count = frames[0], len(frames)
    times = [f.exposure_time for f in frames]
    airmass = [float(a) for f in frames if (a := f.describe("airmass")) is not None]
    phu: dict[str, Card] = {
        "NCOMBINE": (count, "Number of frames combined"),
        "TEXPTIME": (math.fsum(times), "Total exposure time [s]"),
        "EXPMEAN": (math.fsum(times) / count, "Mean exposure time of a frame [s]"),
        "DATALAB": f"{str(first.phu.get('DATALAB', '')).removesuffix('-STACK')}-STACK",
    }
    if airmass:
        phu["AIRMASS"] = (math.fsum(airmass) / len(airmass), "Mean airmass of the frames")
    starts = [t for f in frames if (t := f.describe("ut_datetime")) is not None]
    if starts:
        phu["STKBEG"] = (min(starts).isoformat(), "Start of the first exposure [UTC]")
        phu["STKEND"] = (max(starts).isoformat(), "Start of the last exposure [UTC]")
    for number, frame in enumerate(frames, 1):
        key = f"IMCMB{number:03d}" if number < 1000 else f"IMC{number:05d}"
        phu[key] = str(frame.phu.get("ORIGNAME", frame.name))
    sci: dict[str, Card] = {}
    noises = [float(f.sci["RDNOISE"]) for f in frames if "RDNOISE" in f.sci]
    if len(noises) == count:
        rms = math.sqrt(math.fsum(n * n for n in noises)) / count
        sci["RDNOISE"] = (rms, "Readout noise of the mean [electron]")
    gains = [float(f.sci["GAIN"]) for f in frames if f.sci.get("GAIN")]
    if len(gains) == count:
        sci["GAIN"] = count / math.fsum(1 / g for g in gains)
    ratios = [float(f.sci["VARRATIO"]) for f in frames if "VARRATIO" in f.sci]
    if len(ratios) == count:
        factor = 1 / math.sqrt(math.fsum(ratios) / count)
        sci["VARRATIO"] = None
        sci["NOISECOR"] = (factor, "Noise of a wide aperture / sqrt(sum of VAR)")
    return phu, sci


class StackFrames(Combine):
    """Parameters of ``stackFrames``."""

    signal_error: float = Field(
        0.1,
        ge=0,
        description="varclip: share of the signal by which frames may differ (seeing, centring)",
    )


@group("stackFrames", suffix="_stack", stamps=("STACKFRM",))
def stack_frames(
    frames: Sequence[Frame], params: StackFrames, *, engine: Engine = SERIAL
) -> Reported:
    """Combine all frames of the stream into one.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), one unit
        Two or more, on one grid.
    params : StackFrames

    Raises
    ------
    TooFewFrames
        Fewer than two frames.
    FrameMismatch
        Shapes, units or filters differ.

    References
    ----------
    Spec: primitives 11.3 and 14.1. Departures: samples are rejected by the propagated noise
    (varclip) instead of their own scatter, which cannot reject a lone outlier of fewer than eight;
    RDNOISE is that of the mean; total exposure (TEXPTIME) and the noise correlation of resampled
    frames (NOISECOR) are recorded; OBJMASK and OBJCAT of the first frame are not carried over.
    """
    if len(frames) < 2:
        raise TooFewFrames(
            f"stackFrames got {len(frames)} frame",
            "a single frame 'stacked' would pass for a deep image",
            "list at least two frames",
        )
    for frame in frames[1:]:
        require_same(frames[0], frame, "filter_name", step="stackFrames")
    made = combine_frames(frames, params, engine)
    return Reported([made], health=f"{len(frames)} frames, noise {_noise(made):.2f} e-/pix")


def _noise(frame: Frame) -> float:
    planes = frame.pixels.rows(frame.shape[0] // 2, frame.shape[0] // 2 + 1)
    if planes.variance is None:
        return math.nan
    good = planes.variance if planes.mask is None else planes.variance[planes.mask == 0]
    return float(np.sqrt(np.median(good))) if good.size else math.nan


class StackDarks(Combine):
    """Parameters of ``stackDarks``."""


def check_darks(frames: Sequence[Frame], params: StackDarks) -> list[str]:
    """Check that all frames are darks of one exposure time and read mode."""
    for frame in frames:
        if "DARK" not in frame.tags:
            raise FrameMismatch(
                f"{frame.name} is not a dark",
                "makeProcessedDark combines darks only",
                "take it out of the list (`f2yaml dataselect --tags DARK` makes such lists)",
            )
    require_equal_times(frames, "stackDarks")
    for frame in frames[1:]:
        require_same(frames[0], frame, "read_mode", "coadds", step="stackDarks")
    return []


@group("stackDarks", suffix="_stack", stamps=("STACKFRM",), check=check_darks)
def stack_darks(
    frames: Sequence[Frame], params: StackDarks, *, engine: Engine = SERIAL
) -> Reported:
    """Combine darks of one exposure time.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), electron
    params : StackDarks

    Raises
    ------
    TooFewFrames
        Fewer than two frames.
    FrameMismatch
        Not a dark, or exposure times, read modes, shapes differ.

    References
    ----------
    Spec: primitives 7.1.
    """
    check_darks(frames, params)
    if len(frames) < 2:
        raise TooFewFrames(
            f"stackDarks got {len(frames)} frame",
            "a single dark has cosmic rays and full read noise",
            "list at least two darks of the same exposure time",
        )
    made = combine_frames(frames, params, engine)
    middle = made.pixels.rows(made.shape[0] // 2, made.shape[0] // 2 + 1).data
    return Reported([made], health=f"dark level {float(np.median(middle)):.2f} e-")
