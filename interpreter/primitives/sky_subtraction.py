"""The sky: one for each frame from those that serve it, and its subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.rows import Rows
from f2yaml.interpreter.engine import SERIAL, Engine, read_band
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.f2.times import ut_datetime
from f2yaml.interpreter.frame import Frame, joint_provenance, require_same
from f2yaml.interpreter.framerows import frame_rows
from f2yaml.interpreter.pixels import Array, Planes, plane_of
from f2yaml.interpreter.primitives.sky_bands import Bands, own_places
from f2yaml.interpreter.primitives.sky_levels import (
    Box,
    Levels,
    region,
    sample_bands,
    sky_level,
)
from f2yaml.interpreter.primitives.sky_noise import all_in_common, in_common, parted, rejoined
from f2yaml.interpreter.primitives.sky_residual import followed, settle
from f2yaml.interpreter.primitives.sources import need_objmask
from f2yaml.interpreter.primitives.stack_headers import stack_cards
from f2yaml.interpreter.records import joint_runs
from f2yaml.interpreter.registry import (
    Reported,
    Streams,
    between_streams,
    group,
)
from f2yaml.interpreter.scratch import put, room
from pydantic import Field, model_validator

#: Of a band of all skies: small enough for a cache that cores share, large enough to read in runs.
BAND_BYTES = 12 << 20
#: Of a band of many skies: each frame is read and calibrated by calls of their own.
BAND_ROWS = 16
#: Share of the field that no sky shows, from which on the dither is called too small.
HIDDEN = 0.005


class Subtraction(Levels):
    """Parameters of every step that subtracts a sky."""

    scale_sky: bool = Field(True, description="scale the sky to leave no background")
    offset_sky: bool = Field(False, description="shift the sky instead of scaling it")
    reset_sky: bool = Field(False, description="add the background back as a constant")
    threshold: float = Field(
        0.001, gt=0, description="accuracy of the scaling, as share of the sky"
    )


class SkyCombination(Levels):
    """Parameters of every step that combines skies."""

    operation: Literal["median", "mean"] = Field(
        "median", description="how the skies of a frame are combined"
    )
    reject_method: Literal["none", "minmax", "sigclip", "varclip"] = Field(
        "none", description="which samples of a pixel are left out before that"
    )
    lsigma: float = Field(3.0, ge=0, description="rejection below the centre [sigma]")
    hsigma: float = Field(3.0, ge=0, description="rejection above the centre [sigma]")
    nlow: int = Field(0, ge=0, description="minmax: lowest samples to drop")
    nhigh: int = Field(0, ge=0, description="minmax: highest samples to drop")
    mask_objects: bool = Field(True, description="leave objects out of the skies")
    dilation: float = Field(2.0, ge=0, description="growth of the object masks [pix]")


class SkyCorrect(Subtraction, SkyCombination):
    """Parameters of ``skyCorrect``."""

    residual_order: int = Field(
        0,
        ge=0,
        le=3,
        description="degree of a surface fitted to what is left of the sky, objects masked, and "
        "subtracted; 0: none. It takes the faint parts of objects as large as the field with it",
    )
    drift: bool = Field(
        False,
        description="with operation mean: follow each pixel of the sky along a straight line in "
        "time, to the time of the frame, instead of taking the mean",
    )
    drift_order: int = Field(
        0,
        ge=0,
        le=3,
        description="degree of a surface by which the sky is followed in time, from sky frame to "
        "sky frame; 0: none. Nothing in the frame itself has a part in it, and it adds no noise",
    )

    @model_validator(mode="after")
    def _means_drift(self) -> SkyCorrect:
        if self.drift and self.drift_order:
            raise ValueError("drift and drift_order both follow the sky in time: give one")
        if self.drift and (
            self.operation != "mean" or self.reject_method not in ("none", "varclip")
        ):
            raise ValueError("drift goes with operation mean and reject_method none or varclip")
        return self


@between_streams(
    "skyCorrect", suffix="_skyCorrected", stamps=("SUBSKY",), reads=("sky",), takes="exposures"
)
def sky_correct(streams: Streams, params: SkyCorrect, *, engine: Engine = SERIAL) -> Reported:
    """Make a sky for each frame from its associated skies, and subtract it.

    Skies are brought to a common level and combined pixel by pixel, without flagged pixels and
    objects; the result is scaled so that no background is left in the frame.

    Parameters
    ----------
    streams : ``from`` with the frames (and the names of their skies), ``sky`` with the sky frames
    params : SkyCorrect

    Returns
    -------
    stream ``to``
        Data without sky; variance with the sky's added; a pixel that every sky masks is flagged.

    Raises
    ------
    FrameMismatch
        Shapes or units differ, or `mask_objects` is set and a sky has no object mask.
    TooFewFrames
        A frame has no associated sky, or its sky is not in the stream.

    References
    ----------
    Spec: primitives 8.3 to 8.5. Departures: a plain median instead of one after minmax rejection
    (equal values, smaller variance), two skies suffice, and the scale is bracketed if it does not
    settle.
    No sky frame is ever stored: bands of all skies are read once and serve all frames.

    Notes
    -----
    Noise of the dark and the flat is the same in a frame I and its sky S, at the same pixel of the
    detector. The dark's cancels; of the flat's, I^2 Vf / F^2 in the frame, (I - S)^2 Vf / F^2
    stays. The plane `shared` says how much of the variances that is (spec 6: DRAGONS adds both as
    if they were independent). It stays in VAR where frame and sky had different calibrations.
    """
    frames, skies = streams["from"], streams["sky"]
    if not frames:
        return Reported({"to": []})
    neighbours = _neighbours(frames, skies)
    for frame in (*frames, *skies):
        require_same(frames[0], frame, "shape", "unit", step="skyCorrect")
    masked = _masked(skies, params, engine, "skyCorrect")
    return _corrected(frames, masked, neighbours, params, engine, "skyCorrect")


class StackSkyFrames(SkyCombination):
    """Parameters of ``stackSkyFrames``."""


@group("stackSkyFrames", suffix="_skyStacked", stamps=("STACKFRM",), combines=True, takes="several")
def stack_sky_frames(
    frames: Sequence[Frame], params: StackSkyFrames, *, engine: Engine = SERIAL
) -> Reported:
    """Combine sky frames into one sky, at the level of the first.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx)
    params : StackSkyFrames

    Returns
    -------
    list of one Frame
        A pixel that every frame masks is flagged.

    Raises
    ------
    TooFewFrames
        There is none.
    FrameMismatch
        Shapes or units differ, or `mask_objects` is set and a frame has no object mask.

    References
    ----------
    Spec: primitives 8.4. Departures: as for skyCorrect, which needs no stacked skies; a single
    frame is masked and flagged like any other.
    """
    if not frames:
        raise TooFewFrames(
            "stackSkyFrames got no frame", "there is no sky to combine", "check the stream"
        )
    for frame in frames[1:]:
        require_same(frames[0], frame, "shape", "unit", step="stackSkyFrames")
    skies = _masked(frames, params, engine, "stackSkyFrames")
    shares = all_in_common(frames)
    box = region(frames[0], params)
    levels = np.array(engine.map(lambda sky: sky_level(sky, box), skies))
    everyone = np.arange(len(skies), dtype=np.int32)[None, :]
    nobody = np.array([-1], np.int32)
    ny, nx = frames[0].shape
    out = Planes(
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.uint16),
        shared=engine.empty((ny, nx), np.uint8) if shares else None,
    )
    level = np.float32(levels[0])

    def work(band: tuple[int, int]) -> None:
        rows = slice(*band)
        given = read_band(skies, *band)
        if shares:
            common, given = parted(given, levels)
        sky, noise, bits = _skies(given, _Neighbours(levels, everyone, nobody), params)
        assert out.variance is not None
        assert out.mask is not None
        out.data[rows], out.mask[rows] = sky[0] * level, bits[0]
        variance = noise[0]
        if out.shared is not None:
            variance, out.shared[rows] = rejoined(variance, common)
        out.variance[rows] = variance * (level * level)

    bands = engine.bands(ny, len(skies) * 11 * nx, least=BAND_ROWS)
    engine.fill(work, bands, out.arrays())
    made = frames[0].with_planes(out).with_cards(*stack_cards(frames))
    joined = made.with_(
        objcat=None,
        skies=None,
        provenance=joint_provenance(frames),
        runs=joint_runs(frames),
        members=frame_rows(frames),
    )
    return Reported(
        [joined],
        health=f"sky {levels[0]:.1f} e-/pix from {len(frames)} frames",
    )


class SubtractSky(Subtraction):
    """Parameters of ``subtractSky``."""


@between_streams(
    "subtractSky",
    suffix="_skySubtracted",
    stamps=("SUBSKY",),
    reads=("sky",),
    guard=True,
    takes="exposures",
)
def subtract_sky(streams: Streams, params: SubtractSky, *, engine: Engine = SERIAL) -> Reported:
    """Subtract the sky of the stream ``sky``: one for all frames, or one for each.

    Parameters
    ----------
    streams : ``from`` with the frames, ``sky`` with one sky, or as many as frames in their order
    params : SubtractSky

    Returns
    -------
    stream ``to``
        As for skyCorrect.

    Raises
    ------
    TooFewFrames
        The numbers do not fit.
    FrameMismatch
        Shapes or units differ.

    References
    ----------
    Spec: primitives 8.5. Departure: the scale is bracketed if it does not settle.
    """
    frames, skies = streams["from"], streams["sky"]
    if not frames:
        return Reported({"to": []})
    if len(skies) not in (1, len(frames)):
        raise TooFewFrames(
            f"subtractSky has {len(skies)} skies for {len(frames)} frames",
            "it subtracts one sky from all, or from each its own",
            "run stackSkyFrames before, or use associateSky and skyCorrect",
        )
    for frame in (*frames, *skies):
        require_same(frames[0], frame, "shape", "unit", step="subtractSky")
    whose = range(len(frames)) if len(skies) > 1 else [0] * len(frames)
    neighbours = np.array([[n] for n in whose], dtype=np.int32)
    alone = SkyCorrect(**params.model_dump(), mask_objects=False)
    return _corrected(frames, _unmasked(skies), neighbours, alone, engine, "subtractSky")


class _Neighbours(NamedTuple):
    """Levels of the skies (n,), and for each frame its skies and their gaps in time (m, k).

    `own` (m,) is the sky that a frame is itself, -1 for none.
    """

    levels: Array
    neighbours: Array
    own: Array
    gaps: Array | None = None
    linear: bool = False


class _Amounts(NamedTuple):
    """What is subtracted: sky times factor, offset, both shape (m,), and a surface for each."""

    factors: Array
    offsets: Array
    surfaces: Sequence[Array | None]


def _corrected(
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    neighbours: Array,
    params: SkyCorrect,
    engine: Engine,
    step: str,
) -> Reported:
    same, alike, notes = in_common(frames, skies, neighbours, step)
    own = own_places(frames, skies)
    bands = Bands(frames, skies, own, same, alike)
    box = region(frames[0], params)
    levels = np.array(engine.map(lambda sky: sky_level(sky, box), skies))
    gaps = _gaps(frames, skies, neighbours, params)
    made_of = _Neighbours(levels, neighbours, own, gaps, params.drift)
    factors, offsets, hidden = _factors(bands, made_of, params, box, engine)
    if hidden:
        notes += (
            f"{step}: objects hide over {HIDDEN:.1%} of the field in every sky of "
            f"{', '.join(hidden)}; the dither is smaller than they are",
        )
    surfaces: Sequence[Array | None] = [None] * len(frames)
    if gaps is not None and params.drift_order:
        skylevels = factors + offsets
        surfaces, more = followed(
            skies, levels, neighbours, gaps, skylevels, params.drift_order, engine, step
        )
        notes += more
    amounts = _Amounts(factors, offsets, surfaces)
    outs = _subtracted(bands, made_of, amounts, params, engine)
    found, more = settle(
        outs, frames, skies, box, params.residual_order, engine, step,
        level=params.scale_sky or params.offset_sky,
    )  # fmt: skip
    notes += more
    offsets = offsets + found
    made = []
    for frame, out, factor, offset in zip(frames, outs, factors, offsets, strict=True):
        if params.reset_sky:
            np.add(out.data, np.float32(factor + offset), out=out.data)
        cards = {"SKYLEVEL": (float(factor + offset), f"Sky level of the frame [{frame.unit}]")}
        corrected = frame.with_planes(out).with_cards(sci=cards)
        if frame.has("objmask"):
            corrected = corrected.with_(objmask=frame.objmask)
        made.append(replace(corrected, skies=None))
    health = f"sky {float(np.median(levels)):.1f} e-/pix"
    return Reported({"to": made}, health=health, notes=notes)


def _masked(
    skies: Sequence[Frame], params: SkyCombination, engine: Engine, step: str
) -> Sequence[Frame]:
    """Return skies with grown object masks, or without any."""
    if not params.mask_objects:
        return _unmasked(skies)

    def masked(sky: Frame) -> Frame:
        grown = algorithms.morphology.dilate(need_objmask(sky, step), params.dilation)
        return sky.with_(objmask=grown)

    return engine.map(masked, skies)


def _unmasked(skies: Sequence[Frame]) -> list[Frame]:
    return [sky.with_(objmask=None) if sky.has("objmask") else sky for sky in skies]


def _neighbours(frames: Sequence[Frame], skies: Sequence[Frame]) -> Array:
    """Return, for each frame, the indices of its skies; (m, k) int32, padded with -1."""
    index = {sky.root: n for n, sky in enumerate(skies)}
    lists = []
    for frame in frames:
        if not frame.skies:
            raise TooFewFrames(
                f"skyCorrect: {frame.name} has no associated sky",
                "it would go into the stack with its sky",
                "run associateSky before",
            )
        lost = [name for name in frame.skies if name not in index]
        if lost:
            raise TooFewFrames(
                f"skyCorrect: the sky {lost[0]} of {frame.name} is not in the stream `sky`",
                "its sky cannot be made without it",
                "run associateSky on the same frames before",
            )
        lists.append([index[name] for name in frame.skies])
    width = max(map(len, lists))
    padded = [entry + [-1] * (width - len(entry)) for entry in lists]
    return np.array(padded, dtype=np.int32)


def _gaps(
    frames: Sequence[Frame], skies: Sequence[Frame], neighbours: Array, params: SkyCorrect
) -> Array | None:
    """Return how long after each frame its skies were taken [s], if that matters."""
    if not (params.drift or params.drift_order):
        return None
    begun = []
    for frame in (*frames, *skies):
        start = ut_datetime(frame.headers, strict=True)
        if start is None:
            raise FrameMismatch(
                f"skyCorrect: {frame.name} has no date and time",
                "drift and drift_order follow the sky in time",
                "give it DATE-OBS and UT, or leave them out",
            )
        begun.append(start)
    first = min(begun)
    seconds = np.array([(start - first).total_seconds() for start in begun])
    made: Array = seconds[len(frames) :][neighbours] - seconds[: len(frames), None]
    return made


def _skies(planes: Planes, of: _Neighbours, params: SkyCombination) -> tuple[Array, Array, Array]:
    """Return the normalised sky of each frame for some rows: value, variance and bits."""
    made = algorithms.sky.sky_band(
        planes.data,
        planes.variance,
        planes.mask,
        planes.objmask,
        of.levels,
        of.neighbours,
        operation="linear" if of.linear else params.operation,
        reject=params.reject_method,
        lsigma=params.lsigma,
        hsigma=params.hsigma,
        nlow=params.nlow,
        nhigh=params.nhigh,
        times=of.gaps if of.linear else None,
        own=of.own,
    )
    return made.data, made.variance, made.mask


def _factors(
    bands: Bands, of: _Neighbours, params: SkyCorrect, box: Box, engine: Engine
) -> tuple[Array, Array, list[str]]:
    """Return what each frame's normalised sky is multiplied by, and what is added to it.

    The names are those of frames for which objects hide too much of every sky.
    """
    frames = bands.frames
    factors = np.array([of.levels[row[0]] for row in of.neighbours])
    offsets = np.zeros(len(frames))
    if not (params.scale_sky or params.offset_sky):
        return factors, offsets, []
    chosen = sample_bands(box)
    parts = engine.map(lambda band: _clean_samples(bands, of, params, box, *band), chosen)

    def one(n: int) -> tuple[float, bool]:
        given, normal = (np.concatenate([part[n][k] for part in parts]) for k in (0, 1))
        if not params.offset_sky:
            found = algorithms.background.sky_factor(given, normal, params.threshold)
        else:
            found = algorithms.background.sky_offset(given, normal * np.float32(factors[n]))
        lost, good = (sum(part[n][k] for part in parts) for k in (2, 3))
        return found, bool(lost > HIDDEN * good)

    found = engine.map(one, range(len(frames)))
    (offsets if params.offset_sky else factors)[:] = [amount for amount, _ in found]
    names = [f.name for f, (_, lost) in zip(frames, found, strict=True) if lost]
    return factors, offsets, names if params.mask_objects else []


def _clean_samples(
    bands: Bands, of: _Neighbours, params: SkyCorrect, box: Box, start: int, stop: int
) -> list[tuple[Array, Array, int, int]]:
    """Return, for each frame, clean samples of some rows of it and of its normalised sky.

    With them go the numbers of good pixels that no sky shows, and of all good pixels.
    """
    columns = slice(*box[1])
    skies, rows = bands.read(start, stop)
    sky, _, bits = _skies(skies, of, params)
    made = []
    for n, (frame, given) in enumerate(zip(bands.frames, rows, strict=True)):
        seen = bits[n][:, columns] == 0
        good = given.mask[:, columns] == 0
        lost, every = int(np.count_nonzero(good & ~seen)), int(np.count_nonzero(good))
        clean = good & seen
        own = int(bands.own[n])
        if own >= 0 and skies.objmask is not None:  # the wings of objects are no background either
            clean &= skies.objmask[own][:, columns] == 0
        elif (objects := plane_of(frame.pixels, "objmask", start, stop)) is not None:
            clean &= objects[:, columns] == 0
        samples = given.data[:, columns][clean], sky[n][:, columns][clean]
        made.append((*samples, lost, every))
    return made


def _subtracted(
    bands: Bands, of: _Neighbours, amounts: _Amounts, params: SkyCorrect, engine: Engine
) -> list[Planes]:
    shape = (bands.frames[0].shape[0], bands.frames[0].shape[1])
    outs = [
        Planes(
            engine.empty(shape, np.float32),
            engine.empty(shape, np.float32),
            engine.empty(shape, np.uint16),
        )
        for _ in bands.frames
    ]

    surfaces = [
        algorithms.surface.legendre_basis(surface, shape, 0, shape[0])
        for surface in amounts.surfaces
    ]

    def work(band: tuple[int, int]) -> None:
        start, stop = band
        given, frames = bands.read(start, stop)
        sky = _skies(given, of, params)
        spare = [np.empty((stop - start, shape[1]), t) for t in (np.float32, np.float32, np.uint16)]
        for n, (rows, out) in enumerate(zip(frames, outs, strict=True)):
            assert out.variance is not None
            assert out.mask is not None
            places = [plane[start:stop] for plane in (out.data, out.variance, out.mask)]
            filled = [room(place, rest) for place, rest in zip(places, spare, strict=True)]
            algorithms.sky_subtract.subtract_rows(
                rows,
                Rows(sky[0][n], sky[1][n], sky[2][n]),
                amounts.factors[n],
                amounts.offsets[n],
                (surfaces[n][0][start:stop], surfaces[n][1]),
                Rows(filled[0], filled[1], filled[2]),
            )
            for place, plane in zip(places, filled, strict=True):
                put(place, plane)

    bytes_per_row = (len(bands.skies) * 16 + len(bands.frames) * 10) * shape[1]
    rows = engine.bands(shape[0], bytes_per_row, BAND_BYTES, BAND_ROWS)
    engine.fill(work, rows, [plane for out in outs for plane in out.arrays()])
    return outs
