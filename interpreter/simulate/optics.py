"""Filters, wheels, plate scale and orientation as the simulated instrument has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from f2yaml.interpreter.f2.detector import FILTERS, SIDE_PIX

#: CD matrix element of raw headers, degree per pixel, and the plate scale that follows from it.
CD_DEG: Final = 4.9778e-05
SCALE_ARCSEC: Final = CD_DEG * 3600.0
#: Reference pixel of raw headers on the full array, from 1 (instrument 1.7).
CRPIX: Final = (1023.90997314453, 1023.96997070312)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a filter sits: component id, wheel (1 or 2), motor steps, and WAVELENG in Angstrom.

    Only K-red, Y, J and DK are known (instrument 1.7); the wheels and steps of the others are
    invented, so nothing may depend on them.
    """

    ident: str
    wheel: int
    steps: int
    waveleng: float


MOUNTS: Final[dict[str, Mount]] = {
    "Y": Mount("G0811", 1, 13600, 10200.0),
    "J-lo": Mount("G0801", 1, 6800, 11200.0),
    "J": Mount("G0802", 1, 27200, 12500.0),
    "H": Mount("G0803", 1, 20400, 16500.0),
    "Ks": Mount("G0804", 1, 34000, 22000.0),
    "K-long": Mount("G0812", 2, -6650, 22000.0),
    "K-blue": Mount("G0814", 2, -19950, 22000.0),
    "K-red": Mount("G0815", 2, -13300, 22000.0),
    "JH": Mount("G0809", 2, -33250, 13900.0),
    "HK": Mount("G0806", 2, -39900, 18700.0),
}

#: Zeropoints (mag for 1 electron/s) that the specification does not give. Assumed: near that of
#: Ks for the K filters, less for the narrower or redder; near those of J and H for the others.
ASSUMED_ZEROPOINT: Final[dict[str, float]] = {
    "J-lo": 26.2,
    "K-blue": 25.7,
    "K-red": 25.6,
    "K-long": 25.8,
    "JH": 27.3,
    "HK": 27.1,
}


def zeropoint(name: str) -> float:
    """Return the magnitude that gives 1 electron/s above the atmosphere through a filter."""
    known = FILTERS[name].zeropoint
    return ASSUMED_ZEROPOINT[name] if known is None else known


def wheel_cards(name: str | None, swapped: bool) -> dict[str, str | int]:
    """Return the cards of the two filter wheels.

    Parameters
    ----------
    name : str or None
        Filter by its pretty name; None for the blank of a dark (J in wheel 1, DK in wheel 2).
    swapped : bool
        Put the filter in the wheel where it does not usually sit.
    """
    if name is None:
        first, second = ("J_G0802", "G0802", 27200), ("DK_G0807", "G0807", -26600)
        effective = second[0]
    else:
        mount = MOUNTS[name]
        effective = f"{name}_{mount.ident}"
        loaded, empty = (effective, mount.ident, mount.steps), ("Open", "Open", 0)
        in_first = (mount.wheel == 1) != swapped
        first, second = (loaded, empty) if in_first else (empty, loaded)
    return {
        "FILTER": effective,
        "FILTER1": first[0],
        "FILT1ID": first[1],
        "FIL1STEP": first[2],
        "FILTER2": second[0],
        "FILT2ID": second[1],
        "FIL2STEP": second[2],
    }


def reference_pixel(nx: int, ny: int) -> tuple[float, float]:
    """Return CRPIX1, CRPIX2 (from 1) of an array of nx x ny pixels, at the same relative place."""
    # The shift of half a pixel is written so that the full array keeps its values to the bit.
    x, y = nx / SIDE_PIX, ny / SIDE_PIX
    return CRPIX[0] * x + 0.5 * (1.0 - x), CRPIX[1] * y + 0.5 * (1.0 - y)


def cd_matrix(pa_deg: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ((CD1_1, CD1_2), (CD2_1, CD2_2)) in deg/pixel (instrument 1.5)."""
    sin, cos = math.sin(math.radians(pa_deg)), math.cos(math.radians(pa_deg))
    # Adding zero turns -0.0, which would show in headers, into 0.0.
    return (
        (CD_DEG * sin + 0.0, CD_DEG * cos + 0.0),
        (CD_DEG * cos + 0.0, -CD_DEG * sin + 0.0),
    )


def pointing_offset(p: float, q: float, pa_deg: float, inport: int) -> tuple[float, float]:
    """Return the move (East, North) in arcsec that POFFSET, QOFFSET command (instrument 1.5)."""
    sin, cos = math.sin(math.radians(pa_deg)), math.cos(math.radians(pa_deg))
    k = -1.0 if inport == 1 else 1.0
    return k * p * cos + q * sin, -k * p * sin + q * cos


def shifted(ra: float, dec: float, east: float, north: float) -> tuple[float, float]:
    """Return `ra`, `dec` (deg) moved by arcsec, as the telescope does: RA by 1/cos(Dec)."""
    moved = ra + east / 3600.0 / math.cos(math.radians(dec))
    return moved % 360.0, dec + north / 3600.0
