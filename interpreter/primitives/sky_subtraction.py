"""The sky: one for each frame from those that serve it, and its subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.engine import SERIAL, Engine, read_band
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame, joint_provenance, require_same
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.primitives.sources import need_objmask
from f2yaml.interpreter.primitives.stack_headers import stack_cards
from f2yaml.interpreter.registry import Params, Reported, Streams, between_streams, group
from pydantic import Field

SAMPLE_ROWS = 128  # of 2048: a quarter of a million pixels, 2e-3 of the pixel noise on a level


class Subtraction(Params):
    """Parameters of every step that subtracts a sky."""

    scale_sky: bool = Field(True, description="scale the sky to leave no background")
    offset_sky: bool = Field(False, description="shift the sky instead of scaling it")
    reset_sky: bool = Field(False, description="add the background back as a constant")
    threshold: float = Field(
        0.001, gt=0, description="accuracy of the scaling, as share of the sky"
    )


class SkyCombination(Params):
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


@between_streams("skyCorrect", suffix="_skyCorrected", stamps=("SUBSKY",), reads=("sky",))
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
    """
    frames, skies = streams["from"], streams["sky"]
    if not frames:
        return Reported({"to": []})
    neighbours = _neighbours(frames, skies)
    for frame in (*frames, *skies):
        require_same(frames[0], frame, "shape", "unit", step="skyCorrect")
    return _corrected(frames, _masked(skies, params, "skyCorrect"), neighbours, params, engine)


class StackSkyFrames(SkyCombination):
    """Parameters of ``stackSkyFrames``."""


@group("stackSkyFrames", suffix="_skyStacked", stamps=("STACKFRM",))
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
    skies = _masked(frames, params, "stackSkyFrames")
    levels = np.array(engine.map(_level, skies))
    everyone = np.arange(len(skies), dtype=np.int32)[None, :]
    ny, nx = frames[0].shape
    out = Planes(
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.float32),
        engine.empty((ny, nx), np.uint16),
    )
    level = np.float32(levels[0])

    def work(band: tuple[int, int]) -> None:
        rows = slice(*band)
        sky, noise, bits = _skies(read_band(skies, *band), levels, everyone, params)
        assert out.variance is not None
        assert out.mask is not None
        out.data[rows], out.variance[rows] = sky[0] * level, noise[0] * (level * level)
        out.mask[rows] = bits[0]

    engine.map(work, engine.bands(ny, len(skies) * 11 * nx))
    made = frames[0].with_planes(out).with_cards(*stack_cards(frames))
    return Reported(
        [replace(made, objcat=None, skies=None, provenance=joint_provenance(frames))],
        health=f"sky {levels[0]:.1f} e-/pix from {len(frames)} frames",
    )


class SubtractSky(Subtraction):
    """Parameters of ``subtractSky``."""


@between_streams(
    "subtractSky", suffix="_skySubtracted", stamps=("SUBSKY",), reads=("sky",), guard=True
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
    return _corrected(frames, _unmasked(skies), neighbours, alone, engine)


def _corrected(
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    neighbours: Array,
    params: SkyCorrect,
    engine: Engine,
) -> Reported:
    levels = np.array(engine.map(_level, skies))
    factors, offsets = _factors(frames, skies, levels, neighbours, params)
    made = _subtracted(frames, skies, levels, neighbours, factors, offsets, params, engine)
    return Reported({"to": made}, health=f"sky {float(np.median(levels)):.1f} e-/pix")


def _masked(skies: Sequence[Frame], params: SkyCombination, step: str) -> Sequence[Frame]:
    """Return skies with grown object masks, or without any."""
    if not params.mask_objects:
        return _unmasked(skies)
    masks = [algorithms.morphology.dilate(need_objmask(s, step), params.dilation) for s in skies]
    return [sky.with_(objmask=mask) for sky, mask in zip(skies, masks, strict=True)]


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


def _level(frame: Frame) -> float:
    """Return the background level of a frame, from a regular sample of its clean pixels."""
    planes = _sampled([frame])
    objmask = None if planes.objmask is None else planes.objmask[0]
    mask = None if planes.mask is None else planes.mask[0]
    values = algorithms.background.sample(planes.data[0], mask, objmask)
    if values.size < 100:
        raise FrameMismatch(
            f"skyCorrect: {frame.name} has {values.size} usable sky pixels",
            "its sky level cannot be measured: nearly all pixels are flagged or masked",
            "take it out of the list, or lower the dilation",
        )
    level = float(algorithms.background.background(values).value)
    if not level > 0:
        raise FrameMismatch(
            f"skyCorrect: the sky level of {frame.name} is {level:g}",
            "skies are scaled by their level, which has to be positive",
            "check that the frame is not sky-subtracted already",
        )
    return level


def _sampled(frames: Sequence[Frame]) -> Planes:
    """Read a regular choice of rows of all frames: (n, rows, nx)."""
    ny = frames[0].shape[0]
    step = max(1, ny // SAMPLE_ROWS)
    rows = [read_band(frames, y, y + 1) for y in range(step // 2, ny, step)]
    planes: list[Any] = []
    for plane in zip(*rows, strict=True):
        planes.append(None if plane[0] is None else np.concatenate(plane, axis=1))
    return Planes(*planes)


def _skies(
    planes: Planes, levels: Array, neighbours: Array, params: SkyCombination
) -> tuple[Array, Array, Array]:
    """Return the normalised sky of each frame for some rows: value, variance and bits."""
    made = algorithms.sky.sky_band(
        *planes,
        levels,
        neighbours,
        operation=params.operation,
        reject=params.reject_method,
        lsigma=params.lsigma,
        hsigma=params.hsigma,
        nlow=params.nlow,
        nhigh=params.nhigh,
    )
    return made.data, made.variance, made.mask


def _factors(
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    levels: Array,
    neighbours: Array,
    params: SkyCorrect,
) -> tuple[Array, Array]:
    """Return what each frame's normalised sky is multiplied by, and what is added to it."""
    factors = np.array([levels[row[0]] for row in neighbours])
    offsets = np.zeros(len(frames))
    if not (params.scale_sky or params.offset_sky):
        return factors, offsets
    at = _sampled(skies)
    sky, _, bits = _skies(at, levels, neighbours, params)
    grown = (
        {} if at.objmask is None else dict(zip((s.root for s in skies), at.objmask, strict=True))
    )
    for n, frame in enumerate(frames):
        science = _sampled([frame])
        clean = bits[n] == 0
        if science.mask is not None:
            clean &= science.mask[0] == 0
        if frame.root in grown:  # the wings of objects are no background either
            clean &= grown[frame.root] == 0
        elif science.objmask is not None:
            clean &= science.objmask[0] == 0
        given, normal = science.data[0][clean], sky[n][clean]
        if not params.offset_sky:
            factors[n] = algorithms.background.sky_factor(given, normal, params.threshold)
        else:
            offsets[n] = algorithms.background.sky_offset(given, normal * np.float32(factors[n]))
    return factors, offsets


def _subtracted(
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    levels: Array,
    neighbours: Array,
    factors: Array,
    offsets: Array,
    params: SkyCorrect,
    engine: Engine,
) -> list[Frame]:
    ny, nx = frames[0].shape
    outs = [
        Planes(
            engine.empty((ny, nx), np.float32),
            engine.empty((ny, nx), np.float32),
            engine.empty((ny, nx), np.uint16),
        )
        for _ in frames
    ]

    def work(band: tuple[int, int]) -> None:
        start, stop = band
        given = read_band(skies, start, stop)
        sky, noise, bits = _skies(given, levels, neighbours, params)
        for n, (frame, out) in enumerate(zip(frames, outs, strict=True)):
            rows = frame.pixels.rows(start, stop)
            factor = np.float32(factors[n])
            # The background of the frame is factor + offset: leaving the offset in resets it.
            constant = factor if params.reset_sky else -np.float32(offsets[n])
            assert out.variance is not None
            assert out.mask is not None
            np.subtract(rows.data, sky[n] * factor, out=out.data[start:stop])
            if constant:
                out.data[start:stop] += constant
            added = noise[n] * (factor * factor)
            out.variance[start:stop] = added if rows.variance is None else rows.variance + added
            out.mask[start:stop] = bits[n] if rows.mask is None else rows.mask | bits[n]

    bytes_per_row = (len(skies) * 11 + len(frames) * 10) * nx
    engine.map(work, engine.bands(ny, bytes_per_row))
    made = []
    for n, (frame, out) in enumerate(zip(frames, outs, strict=True)):
        level = float(factors[n] + offsets[n])
        cards = {"SKYLEVEL": (level, f"Sky level of the frame [{frame.unit}]")}
        planes = out._replace(objmask=frame.objmask if frame.has("objmask") else None)
        made.append(replace(frame.with_planes(planes).with_cards(sci=cards), skies=None))
    return made
