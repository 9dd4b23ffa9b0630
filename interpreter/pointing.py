"""Where frames point, by their world coordinates and by their telescope offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.frame import Frame

ARCSEC = 1 / 3600


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
    plane = Tan((1.0, 1.0), (ra, dec), ((ARCSEC, 0.0), (0.0, ARCSEC)))
    at = plane.to_sky(east, north)
    return float(at[0]), float(at[1])


def pointing_table(
    frames: Sequence[Frame], *, flag_arcsec: float = 1.0, search_arcsec: float = 5.0
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

    Returns
    -------
    list of Pointing
        In the order of the frames. Separations are taken relative to the median error of the
        list, so that one frame with a wrong position accuses only itself.
    """
    known = []
    for frame in frames:
        if frame.tags & {"DARK", "FLAT", "ARC", "BIAS", "PINHOLE"}:
            continue
        expected = expected_position(frame)
        if expected is not None:
            known.append((frame.name, expected, frame.wcs.crval))
    if not known:
        return []
    errors = []
    for _, (ra, dec), actual in known:
        plane = Tan((1.0, 1.0), (ra, dec), ((ARCSEC, 0.0), (0.0, ARCSEC)))
        x, y = plane.to_pixel(*actual)
        errors.append((float(x), float(y)))
    east, north = np.median(np.array(errors), axis=0)
    table = []
    for (name, expected, actual), (dx, dy) in zip(known, errors, strict=True):
        relative = math.hypot(dx - east, dy - north)
        flagged = relative > flag_arcsec
        table.append(
            Pointing(
                name,
                *expected,
                *actual,
                math.hypot(dx, dy),
                relative,
                flagged,
                _advice(relative, search_arcsec) if flagged else "",
            )
        )
    return table


def _advice(relative: float, search_arcsec: float) -> str:
    if relative < search_arcsec:
        return "will be corrected from sources; watch the number of matches"
    return "take the frame out of the list"
