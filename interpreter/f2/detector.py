"""Figures of the F2 detector and filters (spec: instrument, sections 3.4 and 3.5)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from f2yaml.interpreter.errors import BadInput

#: Full well in electron, and the fraction of it up to which the response is nearly linear.
WELL_DEPTH_E: Final = 155400.0
LINEAR_FRACTION: Final = 0.72
#: Gain of a single read pair, electron/adu; N pairs summed have N times the counts.
GAIN_OF_ONE_PAIR: Final = 4.44
#: Cubic that makes electrons per coadd linear: c1 e + c2 e^2 + c3 e^3, for all read modes.
LINEARITY: Final[tuple[float, float, float]] = (0.9999107, -4.2854848e-8, 1.0096585e-12)
#: Side of the array in pixels, and nominal plate scale in arcsec per pixel.
SIDE_PIX: Final = 2048
PIXEL_SCALE_ARCSEC: Final = 0.1792

_LNRS_2_UNTIL: Final = dt.date(2015, 4, 1)


@dataclass(frozen=True, slots=True)
class ReadMode:
    """One way to read the detector: `lnrs` read pairs summed."""

    lnrs: int
    name: str
    read_noise_e: float

    @property
    def gain(self) -> float:
        """Gain in electron/adu."""
        return GAIN_OF_ONE_PAIR / self.lnrs


READ_MODES: Final[Mapping[int, ReadMode]] = MappingProxyType(
    {
        1: ReadMode(1, "Bright", 11.7),
        4: ReadMode(4, "Medium", 6.0),
        6: ReadMode(6, "six read pairs", 5.3),
        8: ReadMode(8, "Dark", 5.0),
    }
)


def read_mode(lnrs: int | None, *, date: dt.date | None = None, where: str = "") -> ReadMode:
    """Return the figures of a read mode.

    Parameters
    ----------
    lnrs : int or None
        Keyword LNRS, the number of read pairs summed; None when it is missing.
    date : date, optional
        UT date of the exposure, to name the files from before April 2015.
    where : str, optional
        File name, for the message.

    Raises
    ------
    BadInput
        The detector figures of this number of read pairs are not known.
    """
    if lnrs is not None and lnrs in READ_MODES:
        return READ_MODES[lnrs]
    known = ", ".join(map(str, READ_MODES))
    why = "gain, read noise and saturation level follow from the number of read pairs"
    if lnrs is None:
        raise BadInput(
            "keyword LNRS is missing or not a whole number",
            why,
            f"give the file the number of read pairs ({known}), or take it out of the list",
            where or None,
        )
    if lnrs == 2 and (date is None or date < _LNRS_2_UNTIL):
        raise BadInput(
            "LNRS = 2, as headers from before April 2015 have it",
            f"{why}; what 2 stood for in those headers is not known",
            f"find out the real number of read pairs ({known}) and correct LNRS, "
            "or take the file out of the list",
            where or None,
        )
    raise BadInput(
        f"LNRS = {lnrs} is no read mode of F2",
        why,
        f"known numbers of read pairs are {known}; correct LNRS or take the file out of the list",
        where or None,
    )


def gain(lnrs: int) -> float:
    """Return the gain in electron/adu of `lnrs` read pairs; raises `BadInput` if unknown."""
    return read_mode(lnrs).gain


def read_noise(lnrs: int, coadds: int = 1) -> float:
    """Return the read noise in electron of the sum of `coadds` exposures.

    Departure from DRAGONS, which leaves out the factor sqrt(coadds) (spec: instrument, section 6).
    """
    return read_mode(lnrs).read_noise_e * math.sqrt(coadds)


def saturation_level(lnrs: int, coadds: int = 1) -> int:
    """Return the level in adu from which a raw value counts as saturated.

    DRAGONS truncates to whole adu (209999 for six read pairs) and so do we. Departure from DRAGONS,
    which leaves out the factor `coadds` (spec: instrument, section 6).
    """
    return int(WELL_DEPTH_E / gain(lnrs)) * coadds


def non_linear_level(lnrs: int, coadds: int = 1) -> int:
    """Return the level in adu from which a raw value counts as non-linear."""
    return int(LINEAR_FRACTION * saturation_level(lnrs)) * coadds


def linearized(electrons: float) -> float:
    """Return the linear signal of `electrons` measured in one coadd."""
    c1, c2, c3 = LINEARITY
    return electrons * (c1 + electrons * (c2 + electrons * c3))


@dataclass(frozen=True, slots=True)
class Filter:
    """Effective wavelength in micron; zeropoint in mag for 1 electron/s at f/16, or None."""

    wavelength_um: float
    zeropoint: float | None = None


#: Figures by pretty filter name. J-lo is added to DRAGONS' table, where its key is misspelled.
FILTERS: Final[Mapping[str, Filter]] = MappingProxyType(
    {
        "Y": Filter(1.020, 25.11 + 1.62),
        "J": Filter(1.250, 26.51),
        "H": Filter(1.631, 26.75),
        "Ks": Filter(2.157, 26.12),
        "K-blue": Filter(2.060),
        "K-red": Filter(2.310),
        "K-long": Filter(2.200),
        "JH": Filter(1.390),
        "HK": Filter(1.871),
        "J-lo": Filter(1.122),
    }
)

#: Recent observing software calls the Y filter YJH; both are one filter.
SAME_FILTER: Final[Mapping[str, str]] = MappingProxyType({"YJH": "Y"})

#: Wavelength in nm that replaces WAVELENG, by filter name with its id.
CENTRAL_WAVELENGTH_NM: Final[Mapping[str, float]] = MappingProxyType(
    {"K-long_G0812": 2200.0, "JH_G0816": 1338.5, "HK_G0817": 1900.0}
)

#: Photometric bands by wavelength in micron.
BANDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "u": 0.35,
        "g": 0.475,
        "r": 0.63,
        "i": 0.78,
        "Z": 0.90,
        "Y": 1.02,
        "X": 1.10,
        "J": 1.20,
        "H": 1.65,
        "K": 2.20,
        "L": 3.4,
        "M": 4.8,
        "N": 11.7,
        "Q": 18.3,
    }
)


def band_of(wavelength_um: float) -> str:
    """Return the band whose wavelength is nearest."""
    return min(BANDS, key=lambda band: abs(BANDS[band] - wavelength_um))
