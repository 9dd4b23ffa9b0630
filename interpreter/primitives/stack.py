"""Frames combined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.allowing import Allowed, marked
from f2yaml.interpreter.engine import SERIAL, Engine, joined, stacked
from f2yaml.interpreter.errors import BadFrames, FrameMismatch, Problem, TooFewFrames
from f2yaml.interpreter.frame import Frame, joint_provenance, require_same
from f2yaml.interpreter.framerows import frame_rows
from f2yaml.interpreter.pixels import Array, InMemory, Planes
from f2yaml.interpreter.primitives.stack_bands import Combiner, measured_rows
from f2yaml.interpreter.primitives.stack_headers import (
    Weights,
    joint_stars,
    stack_cards,
    variance_ratio,
)
from f2yaml.interpreter.records import joint_runs
from f2yaml.interpreter.registry import Params, Reported, group
from pydantic import Field, model_validator

SAMPLE_BYTES = 10  # data, variance, mask
BAND_BYTES = 12 << 20  # of samples per band and thread: they stay in the last cache
BAND_ROWS = 16  # of many frames: a band of a resampled frame needs a few rows more than it makes
#: A dark is odd where a strip of it, of so many, differs by so many times the noise of a pixel.
ODD, STRIPS = 5.0, 8
#: And where its noise there is so many times that of the others, or so little.
UNLIKE = 2.0
PHOTON_ROWS = 32  # of 2048: 65 000 pixels a frame, 0.01 on a slope


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
    scatter: Literal["robust", "sample"] = Field(
        "robust",
        description="sigclip: scatter from the median deviation, at least the propagated noise, or "
        "the standard deviation of the samples, as in DRAGONS",
    )
    photon_noise: Literal["median", "sample"] = Field(
        "sample",
        description="photon noise in the limits of varclip and the weights of wtmean: that of the "
        "median of a pixel's samples, or of each sample itself, as in DRAGONS",
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


def combine_frames(
    frames: Sequence[Frame],
    params: Combine,
    engine: Engine,
    weights: Weights | None = None,
    flag_share: float | None = None,
) -> Frame:
    """Combine frames into one, in row bands; the first gives name and headers.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx), one unit
    params : Combine
    engine : Engine
    weights : Weights, optional
        One for each frame; the frames then have a variance, and the operation is the mean.
    flag_share : float, optional
        Count what pixels are made of: the plane `coverage`, the card REJSHARE, and bits 2 and 4
        only where this share of the samples has them. By default a single one is enough.

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
    rules = _rules(params) | _levels(frames, params, engine)
    rules["photon"] = _photon(frames, params, rules.get("scale"), engine)
    ny, nx = first.shape
    out = Planes(
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.uint16) if params.apply_dq else None,
        coverage=None if flag_share is None else engine.empty((ny, nx), np.uint16),
    )
    combiner = Combiner(frames, params.operation, rules, weights, flag_share, out)
    bands = engine.bands(ny, len(frames) * nx * SAMPLE_BYTES, BAND_BYTES, BAND_ROWS)
    counts = np.array(engine.fill(combiner.work, bands, out.arrays()), np.int64).sum(axis=0)
    cards, sci = stack_cards(frames, weights, scaled=params.scale and not params.zero)
    if flag_share is not None:
        share = 1 - counts[1] / counts[0] if counts[0] else 0.0
        cards["REJSHARE"] = (round(float(share), 6), "Share of good samples rejected as outliers")
    return first.with_(
        pixels=InMemory(out.freeze()),
        objcat=None,
        refcat=joint_stars(frames),
        skies=None,
        provenance=joint_provenance(frames),
        runs=joint_runs(frames),
        members=frame_rows(frames, weights),
    ).with_cards(cards, sci)


def _rules(params: Combine) -> dict[str, Any]:
    """Return what the combiner calls the rules of rejection."""
    return {
        "reject": params.reject_method,
        "lsigma": params.lsigma,
        "hsigma": params.hsigma,
        "nlow": params.nlow,
        "nhigh": params.nhigh,
        "mclip": params.mclip,
        "max_iters": params.max_iters,
        "signal_error": params.signal_error,
        "scatter": params.scatter,
    }


def _levels(frames: Sequence[Frame], params: Combine, engine: Engine) -> dict[str, Any]:
    """Return the factors or offsets that bring all frames to the level of the first."""
    if not (params.scale or params.zero) or len(frames) < 2:
        return {}
    step = max(1, frames[0].shape[0] // 256)  # 256 rows measure a level to 1e-3 of the pixel noise
    data, _, mask = _every(frames, step, engine)[:3]
    mode: Literal["scale", "zero"] = "zero" if params.zero else "scale"
    return {mode: algorithms.normalize.normalization_factors(data, mask, mode=mode)}


def _every(frames: Sequence[Frame], step: int, engine: Engine) -> Planes:
    """Read one row in `step` of all frames, stacked; shape (n, rows, nx)."""
    chosen = range(step // 2, frames[0].shape[0], step)

    def read(frame: Frame) -> Planes:
        return joined([measured_rows(frame, y, y + 1) for y in chosen])

    return stacked(engine.map(read, frames))


def _photon(frames: Sequence[Frame], params: Combine, scale: Any, engine: Engine) -> Array | None:
    """Return the slopes of the frames' photon noise, where the rules ask for them."""
    wanted = params.reject_method == "varclip" or params.operation == "wtmean"
    if params.photon_noise == "sample" or not wanted or len(frames) < 2:
        return None
    step = max(1, frames[0].shape[0] // PHOTON_ROWS)
    data, variance, mask = _every(frames, step, engine)[:3]
    if variance is None:
        return None
    return algorithms.normalize.photon_slopes(data, variance, mask, scale, engine.map)


class StackFrames(Combine):
    """Parameters of ``stackFrames``."""

    photon_noise: Literal["median", "sample"] = Field(
        "median",
        description="photon noise in the limits of varclip and the weights of wtmean: that of the "
        "median of a pixel's samples, or of each sample itself, as in DRAGONS",
    )
    lsigma: float = Field(4.0, ge=0, description="rejection below the centre [sigma]")
    hsigma: float = Field(4.0, ge=0, description="rejection above the centre [sigma]")
    signal_error: float = Field(
        0.3,
        ge=0,
        description="varclip: share of the signal by which frames may differ (seeing, centring)",
    )
    weight: Literal["none", "variance", "seeing"] = Field(
        "none",
        description="weight of a whole frame in the mean: none; variance, by its sky noise; "
        "seeing, by sky noise and FWHM, for faint point sources",
    )
    flag_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of saturated (or non-linear) samples from which on a pixel of the stack "
        "is called so; 0: a single one is enough",
    )

    @model_validator(mode="after")
    def _weighted_mean(self) -> StackFrames:
        if self.weight != "none" and self.operation != "mean":
            raise ValueError(f"weight {self.weight} goes with operation mean, not {self.operation}")
        return self


@group("stackFrames", suffix="_stack", stamps=("STACKFRM",), combines=True, takes="several")
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
        Shapes, units or filters differ, or a weight cannot be measured.

    Notes
    -----
    With ``weight: variance`` a frame counts as 1 / V, with V the median of its variance plane in
    good pixels away from sources. All pixels of a frame count alike, so that one that happens to
    be high is not held down for its own photon noise (spec 5.3). V is the variance that wide
    apertures see: what interpolation took from single pixels is put back (VARRATIO, NOISECOR), or
    frames would gain weight by being smoothed. ``seeing`` takes 1 / (V FWHM^2), which is best for
    the signal-to-noise of a faint star. The variance of the stack is that of the weighted mean.

    References
    ----------
    Spec: primitives 11.3 and 14.1. Departures: samples are rejected by the propagated noise
    (varclip) instead of their own scatter, which cannot reject a lone outlier of fewer than eight;
    RDNOISE is that of the mean; total exposure (TEXPTIME) and the noise correlation of resampled
    frames (NOISECOR) are recorded; OBJMASK and OBJCAT of the first frame are not carried over, nor
    what was measured on it (`stack_headers.OF_ONE_FRAME`). The plane COVERAGE counts the exposures
    in each pixel, those of stacks with all of theirs; the share rejected is REJSHARE. A pixel is
    non-linear or saturated from `flag_share` of its samples on: where at most 0.15 of them are
    saturated, the flux of a star within 1.75 widths changes by less than 0.6 per cent (13 stars,
    simulated, seeing varied by 12 per cent); single pixels by up to 3 per cent.
    """
    if len(frames) < 2:
        raise TooFewFrames(
            f"stackFrames got {len(frames)} frame",
            "a single frame 'stacked' would pass for a deep image",
            "list at least two frames",
        )
    for frame in frames[1:]:
        require_same(frames[0], frame, "filter_name", step="stackFrames")
    weights, notes = frame_weights(frames, params.weight)
    made = combine_frames(frames, params, engine, weights, params.flag_share)
    health = f"{len(frames)} frames, noise {_noise(made):.2f} e-/pix"
    health += f", {100 * float(made.phu['REJSHARE']):.2g} % rejected"
    if weights is not None:
        shares = weights.shares * len(frames)
        health += f", weights {min(shares):.2f}-{max(shares):.2f}"
    return Reported([made], health=health, notes=notes)


def frame_weights(
    frames: Sequence[Frame], weight: Literal["none", "variance", "seeing"]
) -> tuple[Weights | None, tuple[str, ...]]:
    """Return the weights of frames, None for equal ones, and what had to be assumed.

    Raises
    ------
    FrameMismatch
        A frame has no variance to speak of, or no frame has a seeing.
    """
    if weight == "none":
        return None, ()
    variances = np.array([sky_variance(frame) for frame in frames])
    inverse = np.array([variance_ratio(frame) for frame in frames]) / variances
    notes: tuple[str, ...] = ()
    if weight == "seeing":
        sizes = [float(f.phu.get("FWHMPIX", math.nan)) for f in frames]
        known = [size for size in sizes if size > 0]
        if not known:
            raise FrameMismatch(
                "stackFrames: no frame has a seeing (FWHMPIX)",
                "weight: seeing needs the FWHM of stars",
                "run detectSources before, or use weight: variance",
            )
        unknown = [f.name for f, size in zip(frames, sizes, strict=True) if not size > 0]
        if unknown:
            notes = (
                f"stackFrames: no stars to measure the seeing of {', '.join(unknown)}; "
                "the median of the others is taken",
            )
        typical = float(np.median(known))
        inverse /= np.array([size if size > 0 else typical for size in sizes]) ** 2
    return Weights(weight, inverse / inverse.sum(), variances), notes


def sky_variance(frame: Frame) -> float:
    """Return the median variance of the good pixels of a frame away from its sources.

    Raises
    ------
    FrameMismatch
        There is no such pixel, or no variance plane.
    """
    step = max(1, frame.shape[0] // 128)  # a median over 128 rows: good to 1e-3
    found = []
    for y in range(step // 2, frame.shape[0], step):
        rows = frame.pixels.rows(y, y + 1)
        if rows.variance is None:
            break
        good = np.isfinite(rows.variance) & (rows.variance > 0)
        for flags in (rows.mask, rows.objmask):
            if flags is not None:
                good &= flags == 0
        found.append(rows.variance[good])
    values = np.concatenate(found) if found else np.empty(0)
    if not values.size:
        raise FrameMismatch(
            f"stackFrames: {frame.name} has no variance in good pixels",
            "frames are weighted by their noise",
            "run addVAR before, take the frame out of the list, or use weight: none",
        )
    return float(np.median(values))


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


@group(
    "stackDarks",
    suffix="_stack",
    stamps=("STACKFRM",),
    check=check_darks,
    combines=True,
    takes="several",
)
def stack_darks(
    frames: Sequence[Frame],
    params: StackDarks,
    *,
    engine: Engine = SERIAL,
    allows: frozenset[str] = frozenset(),
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
    BadFrames
        Of three or more darks, one is at another level than the others, as a whole or in a part,
        by `ODD` times the noise of a pixel, or of another noise: light, electronics or a damaged
        file. `allows` may have ``odd-dark``.

    References
    ----------
    Spec: primitives 7.1. Departure: DRAGONS combines whatever is given.
    """
    check_darks(frames, params)
    if len(frames) < 2:
        raise TooFewFrames(
            f"stackDarks got {len(frames)} frame",
            "a single dark has cosmic rays and full read noise",
            "list at least two darks of the same exposure time",
        )
    told = _check_levels(frames, allows, engine)
    made = combine_frames(frames, params, engine)
    middle = made.pixels.rows(made.shape[0] // 2, made.shape[0] // 2 + 1).data
    health = f"dark level {float(np.median(middle)):.2f} e-"
    return marked(Reported([made], health=health), told)


def _check_levels(darks: Sequence[Frame], allows: frozenset[str], engine: Engine) -> Allowed | None:
    """Refuse darks at another level than the others; return what is to be told where allowed."""
    if len(darks) < 3:  # of two, nobody knows which is wrong
        return None
    found = engine.map(_levels_and_noise, darks)
    levels, noises = (np.array(parts) for parts in zip(*found, strict=True))
    typical = np.median(noises, axis=0)
    noise = float(np.median(typical))
    apart = np.abs(levels - np.median(levels, axis=0)).max(axis=1)
    unlike = ((noises < typical / UNLIKE) | (noises > typical * UNLIKE)).any(axis=1)
    said = {}
    for frame, by, other in zip(darks, apart.tolist(), unlike.tolist(), strict=True):
        if by > ODD * noise:
            amount = f"by up to {by:.1f} {frame.unit}"
            said[frame.name] = f"{frame.name} differs {amount} from the level of the other darks"
        elif other:
            said[frame.name] = f"the noise of {frame.name} is not that of the other darks"
    if not said:
        return None
    if "odd-dark" not in allows:
        why = f"the noise of a pixel is {noise:.1f} {darks[0].unit}; it would spoil their mean"
        fix = "take it out of the list; to use it all the same, say so: --allow odd-dark"
        raise BadFrames({name: [Problem(what, why, fix)] for name, what in said.items()})
    return Allowed("odd-dark", next(iter(said)), "; ".join(said.values()))


def _levels_and_noise(dark: Frame) -> tuple[Array, Array]:
    """Return the median and the noise of a pixel in strips of rows, from a choice of rows."""
    ny = dark.shape[0]
    step = max(1, ny // 256)
    rows = [dark.pixels.rows(y, y + 1).data.ravel() for y in range(step // 2, ny, step)]
    strips = np.array_split(np.array(rows), min(STRIPS, len(rows)))
    levels = np.array([np.nanmedian(strip) for strip in strips])
    noises = [np.nanmedian(np.abs(s - level)) for s, level in zip(strips, levels, strict=True)]
    return levels, 1.4826 * np.array(noises)
