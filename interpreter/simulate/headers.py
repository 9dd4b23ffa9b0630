"""Headers of raw F2 frames, as the specification lists them (instrument 1.7)."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

import numpy as np
from astropy.io.fits import Header
from f2yaml.interpreter.errors import RequestError
from f2yaml.interpreter.simulate import cards
from f2yaml.interpreter.simulate.cards import Value
from f2yaml.interpreter.simulate.optics import (
    MOUNTS,
    cd_matrix,
    pointing_offset,
    reference_pixel,
    wheel_cards,
)
from f2yaml.interpreter.simulate.plan import FramePlan
from f2yaml.schema.scenario import Scenario

#: Cerro Pachon: longitude East and latitude in deg; local time is UT - 3 h in southern summer.
LONGITUDE_DEG: Final = -70.73669
LATITUDE_DEG: Final = -30.24075
LOCAL_TIME: Final = dt.timedelta(hours=-3)
#: Below this the telescope does not point [deg].
LOWEST_DEG: Final = 17.0
#: From this date UTEND is the end of the frame itself (instrument 1.5).
_UTEND_RIGHT: Final = dt.datetime(2015, 12, 1)
_MJD_ZERO: Final = dt.datetime(1858, 11, 17)


def primary_header(frame: FramePlan, scenario: Scenario) -> Header:
    """Return the primary header of a raw frame, cards in the order of the specification."""
    values: dict[str, Value | None] = {key: value for key, value, _ in cards.PHU_CARDS}
    if frame.kind != "science":
        values |= cards.DAY_OLD if frame.style == "day_old" else cards.DAY_NEW
        values |= cards.FLAT if frame.kind == "flat" else cards.DARK
    values |= _identity(frame, scenario) | _times(frame) | _setup(frame, scenario)
    if frame.kind == "science":
        values |= _pointing(frame, scenario)
    elif frame.style == "day_old":
        values |= _parked(frame)
    header = Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 0), ("EXTEND", True)])
    for key, _, comment in cards.PHU_CARDS:
        if values[key] is not cards.ABSENT:
            header.append((key, values[key], comment), end=True)
    return header


def extension_header(frame: FramePlan, scenario: Scenario) -> Header:
    """Return the header of the pixel extension of a raw frame; it has no EXTNAME."""
    nx, ny = scenario.detector.nx, scenario.detector.ny
    pa = scenario.target.pa_deg if frame.kind == "science" else 0.0
    (cd11, cd12), (cd21, cd22) = cd_matrix(pa)
    crpix = reference_pixel(nx, ny)
    rows: list[tuple[str, Value]] = [
        ("XTENSION", "IMAGE"),
        ("BITPIX", 32),
        ("NAXIS", 3),
        ("NAXIS1", nx),
        ("NAXIS2", ny),
        ("NAXIS3", 1),
        ("PCOUNT", 0),
        ("GCOUNT", 1),
        ("AXISLAB1", "Xaxis"),
        ("AXISLAB2", "Yaxis"),
        ("AXISLAB3", "Extensions"),
        *((f"AMPDAC{output:02d}", 180.0) for output in range(1, 33)),
        ("CD1_1", cd11),
        ("CD1_2", cd12),
        ("CD2_1", cd21),
        ("CD2_2", cd22),
        ("CD3_3", 1.0),
        ("CRPIX1", crpix[0]),
        ("CRPIX2", crpix[1]),
        ("CRVAL1", frame.crval[0]),
        ("CRVAL2", frame.crval[1]),
        ("MJD-OBS", _mjd_single(frame.header_start)),
        ("INHERIT", False),
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("RADECSYS", "FK5"),
        ("FRMNAME", " 1 of 1 "),
        ("FRAMEID", "0"),
        ("DATATYP", "Intensity"),
        ("EXTVER", 1),
    ]
    return Header(rows)


def _identity(frame: FramePlan, scenario: Scenario) -> dict[str, Value]:
    observation = f"{frame.program}-{frame.observation}"
    values: dict[str, Value] = {
        "GEMPRGID": frame.program,
        "OBSID": observation,
        "DATALAB": f"{observation}-{frame.number:03d}",
        "DHSLABEL": frame.name,
    }
    if frame.kind == "science":
        values["OBJECT"] = scenario.target.object
    return values


def _times(frame: FramePlan) -> dict[str, Value]:
    begun = frame.header_start
    if frame.start >= _UTEND_RIGHT:
        end = frame.end
    else:
        end = frame.previous_end or frame.start
    clock, date = _tenths(begun), f"{begun:%Y-%m-%d}"
    return {
        "UT": clock,
        "TIME-OBS": clock,
        "LT": _tenths(begun + LOCAL_TIME),
        "ST": _hours(sidereal_deg(begun) / 15.0, 1),
        "DATE": date,
        "DATE-OBS": date,
        # Science stays private for a year; calibrations are public at once.
        "RELEASE": f"{begun.year + (frame.kind == 'science')}{date[4:]}",
        "UTSTART": f"{frame.start:%H:%M:%S.%f}",
        "UTEND": f"{end:%H:%M:%S.%f}",
        "MJD-OBS": _mjd_single(begun),
        "OBSEPOCH": round(2000.0 + (_mjd(begun) - 51544.5) / 365.25, 1),
    }


def _setup(frame: FramePlan, scenario: Scenario) -> dict[str, Value]:
    lnrs = scenario.detector.lnrs
    values: dict[str, Value] = {
        "EXPTIME": float(frame.exposure_s),
        "LNRS": lnrs,
        "NREADS": lnrs,
        "READMODE": cards.READ_MODE[lnrs],
        "INPORT": scenario.target.inport,
        **wheel_cards(frame.filter, frame.swapped),
    }
    if frame.filter is not None and frame.style != "day_new":
        values["WAVELENG"] = MOUNTS[frame.filter].waveleng
    if frame.kind == "flat" and frame.filter is not None:
        values["GCALSHUT"] = "OPEN" if frame.lamp_on else "CLOSED"
        thermal = MOUNTS[frame.filter].waveleng > 20000.0
        values["GCALFILT"] = "ND3.0" if thermal else "ND4-5"
    return values


def check_visible(frame: FramePlan, scenario: Scenario) -> None:
    """Check that the target of a science frame is up.

    Raises
    ------
    RequestError
        It is below the telescope's limit.
    """
    target = scenario.target
    for moment in (frame.start, frame.end):
        elevation = horizontal(target.ra_deg, target.dec_deg, moment)[0]
        if elevation < LOWEST_DEG:
            raise RequestError(
                f"the target is at elevation {elevation:.1f} deg when {frame.name} is taken",
                f"the telescope does not point below {LOWEST_DEG:g} deg",
                "change start_ut, the date in the file names, or ra_deg and dec_deg",
            )


def _pointing(frame: FramePlan, scenario: Scenario) -> dict[str, Value]:
    target = scenario.target
    middle = frame.start + dt.timedelta(seconds=frame.exposure_s / 2)
    elevation, azimuth, hour_angle = horizontal(target.ra_deg, target.dec_deg, middle)
    # XOFFSET goes with P and YOFFSET with Q, so that the descriptors telescope_x_offset (-YOFFSET)
    # and detector_x_offset (-QOFFSET) agree; the relation in real files is not known.
    p, q = round(frame.p, 4), round(frame.q, 4)
    east, north = _commanded(frame, scenario)
    return {
        "RA": target.ra_deg,
        "DEC": target.dec_deg,
        "PA": target.pa_deg,
        "POFFSET": p,
        "QOFFSET": q,
        "XOFFSET": p,
        "YOFFSET": q,
        "RAOFFSET": east,
        "DECOFFSE": north,
        "TRKEPOCH": round(_mjd(frame.header_start), 2),
        "ELEVATIO": round(elevation, 3),
        "AZIMUTH": round(azimuth, 3),
        "HA": _signed_hours(hour_angle / 15.0),
        "AIRMASS": _airmass(elevation),
        "AMSTART": _airmass(horizontal(target.ra_deg, target.dec_deg, frame.start)[0]),
        "AMEND": _airmass(horizontal(target.ra_deg, target.dec_deg, frame.end)[0]),
    }


def _airmass(elevation: float) -> float:
    return round(1.0 / math.sin(math.radians(elevation)), 3)


def _commanded(frame: FramePlan, scenario: Scenario) -> tuple[float, float]:
    """Return the commanded offset (East, North) in arcsec, to the digits of a header."""
    east, north = pointing_offset(frame.p, frame.q, scenario.target.pa_deg, scenario.target.inport)
    return round(east, 4) + 0.0, round(north, 4) + 0.0


def _parked(frame: FramePlan) -> dict[str, Value]:
    """Telescope near zenith: it looks at the RA that is the sidereal time, at airmass 1."""
    return {
        "RA": round(sidereal_deg(frame.header_start), 3),
        "TRKEPOCH": round(_mjd(frame.header_start), 2),
        "AIRMASS": 1.0,
        "AMSTART": 1.0,
        "AMEND": 1.0,
    }


def sidereal_deg(moment: dt.datetime) -> float:
    """Return the mean sidereal time at Gemini South in deg (Meeus, chapter 12, to 1 s)."""
    days = _mjd(moment) - 51544.5
    return (280.46061837 + 360.98564736629 * days + LONGITUDE_DEG) % 360.0


def horizontal(ra: float, dec: float, moment: dt.datetime) -> tuple[float, float, float]:
    """Return elevation, azimuth (from North through East) and hour angle (-180..180), all deg."""
    hour_angle = (sidereal_deg(moment) - ra + 180.0) % 360.0 - 180.0
    h, d, lat = math.radians(hour_angle), math.radians(dec), math.radians(LATITUDE_DEG)
    sine = math.sin(lat) * math.sin(d) + math.cos(lat) * math.cos(d) * math.cos(h)
    azimuth = math.atan2(
        -math.cos(d) * math.sin(h),
        math.sin(d) * math.cos(lat) - math.cos(d) * math.cos(h) * math.sin(lat),
    )
    return math.degrees(math.asin(min(1.0, sine))), math.degrees(azimuth) % 360.0, hour_angle


def _mjd(moment: dt.datetime) -> float:
    return (moment - _MJD_ZERO) / dt.timedelta(days=1)


def _mjd_single(moment: dt.datetime) -> float:
    """MJD as real headers have it: in single precision, in steps of 337 s."""
    return float(np.float32(_mjd(moment)))


def _tenths(moment: dt.datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100000}"


def _hours(hours: float, digits: int) -> str:
    unit = 10**digits
    total = round(abs(hours) * 3600 * unit)
    whole, fraction = divmod(total, unit)
    minutes, seconds = divmod(whole, 60)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}:{seconds:02d}.{fraction:0{digits}d}"


def _signed_hours(hours: float) -> str:
    return ("-" if hours < 0 else "+") + _hours(hours, 2)
