"""Where the telescope points: world coordinates, targets and offsets (spec: instrument, 3.1, 3.7).

Conversions between apparent place, FK5 and ICRS use ERFA, the standard routines under astropy; it
is imported only where a conversion is asked for, because it doubles the start-up time of a listing.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final, Literal

from f2yaml.interpreter.errors import NotSupported
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.f2.times import decimal_year, ut_datetime
from f2yaml.interpreter.f2.values import integer, number, raw, text
from f2yaml.interpreter.headers import Headers

Axis = Literal["ra", "dec"]
Position = tuple[float, float]

_UP_LOOKING: Final = 1


def wcs_position(headers: Headers) -> Position | None:
    """Return (ra, dec) in deg of the reference pixel, None without celestial coordinates.

    For frames tracked at other than the sidereal rate the header holds the apparent place, which is
    converted to ICRS at the time of the exposure.
    """
    position = _reference_value(headers)
    if position is None or "NON_SIDEREAL" not in tags_of(headers.phu):
        return position
    moment = ut_datetime(headers)
    return position if moment is None else apparent_to_icrs(position, moment)


def sky_position(headers: Headers) -> Position | None:
    """Return (ra, dec) in deg from the world coordinates, else from RA and DEC of the PHU."""
    position = wcs_position(headers)
    if position is not None:
        return position
    ra, dec = _angle(headers, "ra"), _angle(headers, "dec")
    return None if ra is None or dec is None else (ra, dec)


def target_position(
    headers: Headers, *, offset: bool = False, pm: bool = True, icrs: bool = False
) -> Position | None:
    """Return (ra, dec) in deg of the target.

    Parameters
    ----------
    headers : Headers
    offset : bool
        Add the offsets of the telescope and of the target.
    pm : bool
        Carry the proper motion from EPOCH to the time of the exposure.
    icrs : bool
        Convert from FRAME to ICRS.

    Raises
    ------
    NotSupported
        `icrs` for a frame whose coordinates are neither FK5, ICRS nor apparent place.
    """
    ra, dec = _angle(headers, "ra"), _angle(headers, "dec")
    if ra is None or dec is None:
        return None
    phu = headers.phu
    if offset:
        dec += ((number(phu, "DECOFFSE") or 0.0) + (number(phu, "DECTRGOF") or 0.0)) / 3600
        east = (number(phu, "RAOFFSET") or 0.0) + (number(phu, "RATRGOFF") or 0.0)
        ra += east / 3600 / math.cos(math.radians(dec))
    moment = ut_datetime(headers)
    motion_ra, motion_dec = number(phu, "PMRA") or 0.0, number(phu, "PMDEC") or 0.0
    if pm and moment is not None and (motion_ra or motion_dec):
        epoch = number(phu, "EPOCH")
        years = decimal_year(moment) - (2000.0 if epoch is None else epoch)
        ra += motion_ra * years * 15 / 3600  # PMRA is in seconds of time: no cos(dec)
        dec += motion_dec * years / 3600
    return _to_icrs(headers, (ra, dec), moment) if icrs else (ra, dec)


def pixel_scale(headers: Headers) -> float | None:
    """Return the plate scale in arcsec/pixel from the CD matrix, else from PIXSCALE."""
    sci = headers.sci
    cd = [number(sci, f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
    if any(term is not None for term in cd):
        a, b, c, d = (term or 0.0 for term in cd)
        determinant = abs(a * d - b * c)
        if determinant > 0:
            return 3600 * math.sqrt(determinant)
    return number(headers.phu, "PIXSCALE")


def position_angle(headers: Headers) -> float | None:
    """Return the position angle of +y in deg, East of North; None without PA (DRAGONS raises)."""
    angle = number(headers.phu, "PA")
    return None if angle is None else (angle + 90) % 360


def detector_offset(headers: Headers, axis: Literal["x", "y"]) -> float | None:
    """Return by how many pixels the telescope's offset moves objects along an axis."""
    scale = pixel_scale(headers)
    arcsec = number(headers.phu, "QOFFSET" if axis == "x" else "POFFSET")
    if scale is None or arcsec is None:
        return None
    flipped = axis == "y" and integer(headers.phu, "INPORT") == _UP_LOOKING
    return (arcsec if flipped else -arcsec) / scale + 0.0  # + 0.0 turns -0.0 into 0.0


def telescope_offset(headers: Headers, axis: Literal["x", "y"]) -> float | None:
    """Return the telescope's offset in arcsec; x is -YOFFSET and y is -XOFFSET, as in DRAGONS."""
    arcsec = number(headers.phu, "YOFFSET" if axis == "x" else "XOFFSET")
    return None if arcsec is None else -arcsec + 0.0


def apparent_to_icrs(position: Position, moment: dt.datetime) -> Position:
    """Return the ICRS place (ra, dec in deg) of a geocentric apparent place at a UTC moment.

    The apparent place refers to the true equator and equinox of date; the equation of the origins
    turns it into CIRS. UTC stands in for UT1, which matters only at the level of 1e-9 deg.
    """
    import erfa  # type: ignore[import-untyped]

    date1, date2 = erfa.dtf2d(
        "UTC",
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second + moment.microsecond * 1e-6,
    )
    tt1, tt2 = erfa.taitt(*erfa.utctai(date1, date2))
    origins = float(erfa.eo06a(tt1, tt2))
    ra, dec, _ = erfa.atic13(
        math.radians(position[0]) + origins, math.radians(position[1]), tt1, tt2
    )
    return math.degrees(float(ra)) % 360, math.degrees(float(dec))


def _to_icrs(headers: Headers, position: Position, moment: dt.datetime | None) -> Position:
    frame = (text(headers.phu, "FRAME") or "FK5").upper()
    if frame == "ICRS":
        return position
    if frame == "APPT" and moment is not None:
        return apparent_to_icrs(position, moment)
    if frame == "FK5":
        return _fk5_to_icrs(position)
    raise NotSupported(
        f"coordinates of FRAME {frame} cannot be converted to ICRS",
        "FK5, ICRS and APPT (with a known time) can",
        "ask for target_ra and target_dec without icrs",
        headers.filename or None,
    )


def _fk5_to_icrs(position: Position) -> Position:
    """Rotate from FK5 (equinox 2000) to ICRS: 0.02 arcsec, from the Hipparcos catalogue."""
    import erfa

    ra, dec = (math.radians(angle) for angle in position)
    rotation, _ = erfa.fk5hip()
    ra, dec = erfa.c2s(rotation @ erfa.s2c(ra, dec))
    return math.degrees(float(ra)) % 360, math.degrees(float(dec))


def _reference_value(headers: Headers) -> Position | None:
    sci = headers.sci
    if not (text(sci, "CTYPE1") or "").startswith("RA--"):
        return None
    ra, dec = number(sci, "CRVAL1"), number(sci, "CRVAL2")
    return None if ra is None or dec is None else (ra, dec)


def _angle(headers: Headers, axis: Axis) -> float | None:
    """Return RA or DEC of the PHU in deg; text may be a number or sexagesimal, RA then in hours."""
    key = axis.upper()
    plain = number(headers.phu, key)
    if plain is not None:
        return plain
    value = raw(headers.phu, key)
    if not isinstance(value, str):
        return None
    words = value.strip().lower()
    hours = axis == "ra" and not words.endswith("degrees")
    if words.endswith("hours"):
        hours = True
    words = re.sub(r"\s*(hours|degrees)$", "", words)
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", words):
        return float(words) * (15 if value.strip().lower().endswith("hours") else 1)
    found = re.fullmatch(r"([+-]?)(\d+)[: ](\d+)(?:[: ](\d+(?:\.\d*)?))?", words)
    if found is None:
        return None
    size = int(found[2]) + int(found[3]) / 60 + float(found[4] or 0) / 3600
    return (-size if found[1] == "-" else size) * (15 if hours else 1)
