"""Where frames point, by their world coordinates and by their telescope offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.f2.detector import SIDE_PIX
from f2yaml.interpreter.frame import Frame

ARCSEC = 1 / 3600
#: Plate scale of F2 at f/16, arcsec/pixel, for headers without one.
NOMINAL_SCALE_ARCSEC = 0.1792
#: Position angles that differ by less are one.
SAME_ANGLE_DEG = 0.1
_NOT_ON_SKY = frozenset({"DARK", "FLAT", "ARC", "BIAS", "PINHOLE"})


@dataclass(frozen=True, slots=True)
class Pointing:
    """One frame's pointing: positions in deg, separations in arcsec.

    `separation` is between the expected and the actual position; `relative_separation` leaves out
    what is common to the frames of the list (the median error).
    """

    name: str
    expected_ra: float
    expected_dec: float
    actual_ra: float
    actual_dec: float
    separation: float
    relative_separation: float
    flagged: bool
    advice: str


def expected_position(frame: Frame) -> tuple[float, float] | None:
    """Return where the headers say that the frame points, deg, or None where they do not.

    References
    ----------
    Spec: instrument 1.5. The target plus POFFSET along PA + 90 (reversed on the up-looking port)
    and QOFFSET along PA.
    """
    values = [frame.describe(n) for n in ("target_ra", "target_dec")]
    offsets = [frame.phu.get(key) for key in ("POFFSET", "QOFFSET", "PA")]
    if any(v is None or v == -9999 or not isinstance(v, int | float) for v in (*values, *offsets)):
        return None
    ra, dec = map(float, values)
    p, q, pa = (float(v) for v in offsets)
    sign = -1.0 if frame.phu.get("INPORT") == 1 else 1.0
    sin, cos = math.sin(math.radians(pa)), math.cos(math.radians(pa))
    east, north = sign * p * cos + q * sin, -sign * p * sin + q * cos
    at = _plane_at((ra, dec)).to_sky(east, north)
    return float(at[0]), float(at[1])


def pointing_table(
    frames: Sequence[Frame],
    *,
    flag_arcsec: float = 1.0,
    search_arcsec: float = 5.0,
    far_arcsec: float = 30.0,
) -> list[Pointing]:
    """Compare the positions in the headers with the telescope offsets.

    Frames of calibrations, and those without offsets, are left out.

    Parameters
    ----------
    frames : sequence of Frame
        Raw frames of one target.
    flag_arcsec : float
        Relative separation above which a frame is flagged.
    search_arcsec : float
        Search radius of the alignment; below it an error is corrected from sources.
    far_arcsec : float
        Separation from the expected position above which a frame is flagged in any case.

    Returns
    -------
    list of Pointing
        In the order of the frames. Separations are taken relative to the median error of the
        list, so that one frame with a wrong position accuses only itself.
    """
    known = []
    for frame in frames:
        if frame.tags & _NOT_ON_SKY:
            continue
        expected = expected_position(frame)
        if expected is not None:
            known.append((frame.name, expected, frame.wcs.crval))
    if not known:
        return []
    errors = []
    for _, (ra, dec), actual in known:
        x, y = _plane_at((ra, dec)).to_pixel(*actual)
        errors.append((float(x), float(y)))
    east, north = np.median(np.array(errors), axis=0)
    table = []
    for (name, expected, actual), (dx, dy) in zip(known, errors, strict=True):
        relative = math.hypot(dx - east, dy - north)
        separation = math.hypot(dx, dy)
        flagged = relative > flag_arcsec or separation > far_arcsec
        table.append(
            Pointing(
                name,
                *expected,
                *actual,
                separation,
                relative,
                flagged,
                _advice(relative, flag_arcsec, search_arcsec) if flagged else "",
            )
        )
    return table


Way = Literal["exit", "fix", "new", "ignore"]


def contradictions(
    frames: Sequence[Frame], limit_arcsec: float, relative_limit_arcsec: float
) -> list[Pointing]:
    """Return the pointings that contradict the telescope offsets.

    Parameters
    ----------
    frames : sequence of Frame
    limit_arcsec : float
        Largest distance from the expected position.
    relative_limit_arcsec : float
        Largest error relative to the median error of the frames.
    """
    table = pointing_table(frames, flag_arcsec=relative_limit_arcsec, far_arcsec=limit_arcsec)
    return [row for row in table if row.flagged]


def repaired(
    frames: Sequence[Frame], way: Way, limit_arcsec: float, relative_limit_arcsec: float
) -> dict[str, Tan]:
    """Return new world coordinates for frames, by root; frames that keep theirs are left out.

    Parameters
    ----------
    frames : sequence of Frame
        Raw frames, in any order.
    way : {"exit", "fix", "new", "ignore"}
        ``fix`` gives a frame whose position contradicts its offsets the coordinates of the good
        frame nearest in time, moved by the difference of offsets. ``new`` makes those of every
        frame from target, offsets and position angle. The others change nothing.
    limit_arcsec, relative_limit_arcsec : float
        See `contradictions`.

    Raises
    ------
    BadInput
        ``fix`` finds no good frame of the same observation and position angle, or ``new`` a frame
        whose header does not say where it points.

    References
    ----------
    Spec: primitives 4.5. Departures: the base of a repair is the good frame nearest in time,
    whatever the order of the list, where DRAGONS takes the first of a group that it cuts at gaps
    of 60 s; a repair without base is an error.
    """
    if way == "new":
        return {f.root: _made_new(f) for f in frames if not f.tags & _NOT_ON_SKY}
    if way != "fix":
        return {}
    wrong = {r.name for r in contradictions(frames, limit_arcsec, relative_limit_arcsec)}
    good = [f for f in frames if f.name not in wrong and not f.tags & _NOT_ON_SKY]
    good = [f for f in good if expected_position(f) is not None]
    return {f.root: _moved(_base_of(f, good), f) for f in frames if f.name in wrong}


def _base_of(frame: Frame, good: Sequence[Frame]) -> Frame:
    """Return the good frame of the same observation and position angle that is nearest in time."""
    fitting = [
        other
        for other in good
        if other.describe("observation_id") == frame.describe("observation_id")
        and abs((_turn(other) - _turn(frame) + 180) % 360 - 180) <= SAME_ANGLE_DEG
    ]
    if not fitting:
        raise BadInput(
            f"the position of {frame.name} cannot be repaired",
            f"no frame of observation {frame.describe('observation_id')} with its position angle "
            "has a position that agrees with the offsets",
            "make all positions anew from the offsets with -p prepare:bad_wcs=new, or take the "
            "frames out of the list",
        )
    when = frame.describe("ut_datetime")

    def apart(other: Frame) -> float:
        then = other.describe("ut_datetime")
        known = when is not None and then is not None
        return abs((then - when).total_seconds()) if known else math.inf

    return min(fitting, key=apart)


def _moved(base: Frame, frame: Frame) -> Tan:
    """Return the coordinates of `base`, moved by the difference of the telescope offsets."""
    here, there = expected_position(frame), expected_position(base)
    assert here is not None
    assert there is not None
    x, y = _plane_at(there).to_pixel(*here)
    ra, dec = _plane_at(base.wcs.crval).to_sky(x, y)
    return Tan.rounded(base.wcs.crpix, (float(ra), float(dec)), base.wcs.cd)


def _made_new(frame: Frame) -> Tan:
    """Return coordinates made of target, offsets and position angle (spec: instrument 1.5)."""
    position = expected_position(frame)
    if position is None:
        raise BadInput(
            f"{frame.name} does not say where it points",
            "its position is to be made of RA, DEC, POFFSET, QOFFSET and PA",
            "take it out of the list, or give it these keywords",
        )
    try:
        crpix, scale = frame.wcs.crpix, frame.wcs.pixel_scale()
    except BadInput:  # which is why new coordinates are asked for
        nx, ny = (float(frame.sci.get(f"NAXIS{n}", SIDE_PIX)) for n in (1, 2))
        crpix, scale = ((nx + 1) / 2, (ny + 1) / 2), NOMINAL_SCALE_ARCSEC
    pa = math.radians(_turn(frame))
    sin, cos = scale * ARCSEC * math.sin(pa), scale * ARCSEC * math.cos(pa)
    return Tan.rounded(crpix, position, ((sin, cos), (cos, -sin)))


def _turn(frame: Frame) -> float:
    value = frame.phu.get("PA")
    return float(value) if isinstance(value, int | float) else 0.0


def _plane_at(position: tuple[float, float]) -> Tan:
    """Return the tangent plane at a position (deg), in arcsec East and North."""
    return Tan((1.0, 1.0), position, ((ARCSEC, 0.0), (0.0, ARCSEC)))


def _advice(relative: float, flag_arcsec: float, search_arcsec: float) -> str:
    if relative <= flag_arcsec:
        return "far from where the offsets put it, like its neighbours; check the target"
    if relative < search_arcsec:
        return "will be corrected from sources; watch the number of matches"
    return "take the frame out of the list"
