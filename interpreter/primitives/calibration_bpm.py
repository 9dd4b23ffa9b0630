"""Bad-pixel masks, from flats and short darks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine, read_band
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame, joint_provenance, require_same
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.records import joint_runs
from f2yaml.interpreter.registry import Params, Reported, Streams, between_streams
from pydantic import Field


class MakeBPM(Params):
    """Parameters of ``makeBPM``."""

    limits: Literal["local", "absolute"] = Field(
        "local",
        description="local: pixels are compared with those around them, the dark by its rate, and "
        "must differ significantly; absolute: values themselves are compared, as in DRAGONS",
    )
    dark_lo_thresh: float | None = Field(
        -150.0, description="absolute: lowest good level of the dark [electron]; null: no limit"
    )
    dark_hi_thresh: float | None = Field(
        3050.0, description="absolute: highest good level of the dark [electron]; null: no limit"
    )
    dark_rate: float | None = Field(
        50.0,
        gt=0,
        description="local: largest difference from the dark around [electron/s]; null: no limit",
    )
    flat_lo_thresh: float | None = Field(
        0.68, lt=1, description="lowest good response of the normalised flat; null: no limit"
    )
    flat_hi_thresh: float | None = Field(
        1.28, ge=1, description="highest good response of the normalised flat; null: no limit"
    )
    significance: float = Field(
        5.0, ge=0, description="local: differences of less than this many times the noise are good"
    )
    keep_unilluminated: bool = Field(
        True, description="pixels without light get 64, and are not called bad for being dark"
    )
    dark_scatter: float | None = Field(
        None,
        gt=0,
        description="pixels whose darks scatter by more than this many times the noise expected "
        "are bad; null: not looked at; 3 or more darks, 5 is a good start for ten",
    )
    max_share: float = Field(
        0.1, gt=0, le=1, description="largest believable share of bad pixels among illuminated ones"
    )


@between_streams("makeBPM", suffix="_bpm", stamps=("BPMASK",), reads=("dark", "darks"))
def make_bpm(streams: Streams, params: MakeBPM, *, engine: Engine = SERIAL) -> Reported:
    """Make a bad-pixel mask from a normalised flat and short darks.

    A pixel is bad (1) where the dark or the flat is outside its limits (the limits themselves are
    good), not a number, or where its darks scatter too much; it is unilluminated (64) where the
    flat is flagged so. The dark is measured in electrons, in excess of what is around it per second
    of exposure (which a limit for one exposure time is not), the flat as a share of what is around
    it, so that vignetting makes no pixel bad and hides none.

    Quality bits of the inputs, with local limits: what is bad (1) or without data (16) in flat or
    dark is bad. Saturated (4) is bad in a short dark, where only a hot pixel can be. In a flat it
    may be the lamp, and the value decides: a hot pixel that is full with the lamp on and off has no
    response, one in an overexposed flat has that of its neighbours.

    Parameters
    ----------
    streams : ``from`` with the normalised flat, ``dark`` with the stack of the darks (electron or
        adu), ``darks`` with the darks themselves
    params : MakeBPM

    Returns
    -------
    stream ``to``
        One frame, int16, shape (ny, nx), whose data are the bits; no other planes.

    Raises
    ------
    TooFewFrames
        There is not one flat and one dark stack, or too few darks for their scatter.
    FrameMismatch
        Shapes differ, or more than `max_share` of the illuminated pixels would be bad.

    References
    ----------
    Spec: primitives 7.5, instrument 4.10 and 5.4. Departures: local limits, unless ``limits:
    absolute`` asks for those of the reference, which looks at no quality bit; unilluminated pixels
    get 64 instead of 1 unless told otherwise, and a hot one has both bits; OBSTYPE is BPM, so that
    the mask is never taken for a flat; a mask that calls a tenth of the field bad is refused, as
    limits that do not suit the exposure time would do that.
    """
    flat, dark = _only(streams["from"], "normalised flat"), _only(streams["dark"], "stack of darks")
    require_same(flat, dark, "shape", step="makeBPM")
    flagged = flat.mask
    shape = (flat.shape[0], flat.shape[1])
    unlit = np.zeros(shape, bool) if flagged is None else (flagged & DQ.UNILLUMINATED) != 0
    local = params.limits == "local"
    tell = _local if local else _absolute
    hot, uneven = tell(flat, dark, unlit, params)
    if params.keep_unilluminated:
        uneven &= ~unlit
    bad = hot | uneven
    if params.dark_scatter is not None:
        bad |= _noisy(streams["darks"], params.dark_scatter, engine)
    bits = np.where(bad, DQ.BAD_PIXEL, 0).astype(np.int16)
    if params.keep_unilluminated:
        bits |= np.where(unlit, DQ.UNILLUMINATED, 0).astype(np.int16)
    share = float(bad[~unlit].mean()) if (~unlit).any() else 1.0
    if share > params.max_share:
        raise FrameMismatch(
            f"makeBPM: {100 * share:.0f} % of the illuminated pixels would be bad",
            f"{100 * float(hot[~unlit].mean()):.0f} % by the dark, "
            f"{100 * float(uneven[~unlit].mean()):.0f} % by the flat: the limits do not suit them",
            f"use short darks, or set -p makeBPM:{'dark_rate' if local else 'dark_hi_thresh'}=... "
            "(or flat_lo_thresh, ...), or raise max_share",
        )
    phu = {"OBJECT": "BPM", "OBSTYPE": "BPM", "DARKIM": (dark.name, "Dark looked at")}
    made = flat.with_planes(Planes(bits)).with_(
        objcat=None,
        provenance=joint_provenance([flat, dark]),
        runs=joint_runs([flat, dark]),
        members=(*flat.members, *dark.members),
    )
    health = f"{100 * share:.2f} % bad"
    return Reported({"to": [made.with_cards(phu, {"BUNIT": None})]}, health=health)


def _only(frames: Sequence[Frame], kind: str) -> Frame:
    if len(frames) != 1:
        raise TooFewFrames(
            f"makeBPM got {len(frames)} frames where it needs one {kind}",
            "bad pixels are those that stand out in the flat or in the dark",
            "list flats and short darks, and see that the recipe stacks each",
        )
    return frames[0]


def _absolute(flat: Frame, dark: Frame, unlit: Array, params: MakeBPM) -> tuple[Array, Array]:
    """Return where the dark and where the flat is outside fixed limits."""
    gain = np.float32(_gain(dark))
    hot = _outside(dark.data * gain, params.dark_lo_thresh, params.dark_hi_thresh)
    return hot, _outside(flat.data, params.flat_lo_thresh, params.flat_hi_thresh)


def _local(flat: Frame, dark: Frame, unlit: Array, params: MakeBPM) -> tuple[Array, Array]:
    """Return where dark and flat differ from what is around, or are flagged as defects."""
    gain = np.float32(_gain(dark))
    defects = (_bits(flat) | _bits(dark)) & (DQ.BAD_PIXEL | DQ.NO_DATA) != 0
    usable = ~defects & (_bits(dark) & DQ.SATURATED == 0)
    noise = None if dark.variance is None else dark.variance * gain * gain
    away = algorithms.defects.deviation(dark.data * gain, noise, usable, relative=False)
    hot = ~np.isfinite(dark.data) | ~usable
    if params.dark_rate is not None:
        hot |= (np.abs(away.excess) > params.dark_rate * dark.exposure_time) & (
            np.abs(away.sigma) > params.significance
        )
    lit = ~unlit & ~defects
    light = algorithms.defects.deviation(flat.data, flat.variance, lit, relative=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = flat.data / light.level
    uneven = _outside(ratio, params.flat_lo_thresh, params.flat_hi_thresh)
    uneven &= (np.abs(light.sigma) > params.significance) | ~np.isfinite(flat.data)
    return hot, uneven


def _gain(dark: Frame) -> float:
    return 1.0 if dark.unit == "electron" else float(dark.sci["GAIN"])


def _bits(frame: Frame) -> Array:
    return np.zeros(frame.shape, np.uint16) if frame.mask is None else frame.mask


def _outside(data: Array, low: float | None, high: float | None) -> Array:
    """Return where data are outside the limits, or not numbers."""
    outside: Array = ~np.isfinite(data)
    if low is not None:
        outside |= data < np.float32(low)
    if high is not None:
        outside |= data > np.float32(high)
    return outside


def _noisy(darks: Sequence[Frame], limit: float, engine: Engine) -> Array:
    """Return where the darks scatter by more than `limit` times the noise expected of them."""
    if len(darks) < 3:
        raise TooFewFrames(
            f"makeBPM: the scatter of {len(darks)} darks tells nothing",
            "dark_scatter compares it with the noise expected",
            "list at least three darks, better ten, or set dark_scatter to null",
        )
    if not all(dark.has("variance") for dark in darks):
        raise FrameMismatch(
            "makeBPM: the darks have no variance",
            "dark_scatter compares their scatter with the noise expected",
            "run addVAR before, or set dark_scatter to null",
        )
    ny, nx = darks[0].shape

    def work(band: tuple[int, int]) -> Array:
        planes = read_band(darks, *band)
        assert planes.variance is not None
        scatter = planes.data.var(axis=0, ddof=1, dtype=np.float64)
        expected = planes.variance.mean(axis=0, dtype=np.float64)
        noisy: Array = ~(scatter <= limit * limit * expected)
        return noisy

    return np.concatenate(engine.map(work, engine.bands(ny, len(darks) * nx * 24)))
