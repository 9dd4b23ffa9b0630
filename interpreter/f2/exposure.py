"""Exposure, detector and quality descriptors of a file (spec: instrument, sections 3.1 and 3.6).

Where a raw header is not to be trusted (GAIN, RDNOISE) the figures come from the number of read
pairs; prepared files carry them in the SCI extension.
"""

from __future__ import annotations

import math
import re

from f2yaml.interpreter.f2 import detector
from f2yaml.interpreter.f2.components import camera, filter_name, focal_plane_mask, section
from f2yaml.interpreter.f2.detector import FILTERS, READ_MODES
from f2yaml.interpreter.f2.tags import is_prepared, tags_of
from f2yaml.interpreter.f2.values import integer, number, text
from f2yaml.interpreter.headers import Headers


def coadds(headers: Headers) -> int:
    """Return the number of exposures summed in the frame, 1 when COADDS is missing."""
    return integer(headers.phu, "COADDS") or 1


def exposure_time(headers: Headers) -> float | None:
    """Return the exposure time in s, of all coadds together.

    EXPTIME of raw files is that of one coadd; beside COADDEXP, which `prepare` adds, it is the
    sum. DRAGONS takes it for the sum on any prepared file, though it leaves it as it was.
    """
    seconds = number(headers.phu, "EXPTIME")
    if seconds is None or seconds < 0:
        return None
    summed = number(headers.phu, "COADDEXP") is not None
    return seconds if summed else seconds * coadds(headers)


def airmass(headers: Headers) -> float | None:
    """Return the mean airmass; values below 1 mean unknown."""
    value = number(headers.phu, "AIRMASS")
    return None if value is None or value < 1 else value


def cass_rotator_pa(headers: Headers) -> float | None:
    """Return the angle of the Cassegrain rotator in deg; more than a turn means unknown."""
    value = number(headers.phu, "CRPA")
    return None if value is None or abs(value) > 360 else value


def gain(headers: Headers) -> float | None:
    """Return the gain in electron per unit of the data; 1.0 once these are electrons."""
    if is_prepared(headers.phu):
        return number(headers.sci, "GAIN")
    lnrs = _read_pairs(headers)
    return detector.gain(lnrs) if lnrs else None


def read_noise(headers: Headers) -> float | None:
    """Return the read noise in electron; on raw files of all coadds together."""
    if is_prepared(headers.phu):
        return number(headers.sci, "RDNOISE")
    lnrs = _read_pairs(headers)
    exposures = coadds(headers)  # below 1 it means nothing
    return detector.read_noise(lnrs, exposures) if lnrs and exposures > 0 else None


def saturation_level(headers: Headers) -> float | None:
    """Return the level from which a pixel is saturated, in units of the data."""
    if is_prepared(headers.phu):
        return _level(number(headers.sci, "SATLEVEL"))
    lnrs = _read_pairs(headers)
    exposures = coadds(headers)  # below 1 it means nothing
    return detector.saturation_level(lnrs, exposures) if lnrs and exposures > 0 else None


def non_linear_level(headers: Headers) -> float | None:
    """Return the level from which a pixel is non-linear, in units of the data."""
    if is_prepared(headers.phu):
        return _level(number(headers.sci, "NONLINEA"))
    lnrs = _read_pairs(headers)
    exposures = coadds(headers)  # below 1 it means nothing
    return detector.non_linear_level(lnrs, exposures) if lnrs and exposures > 0 else None


def read_mode(headers: Headers) -> str | None:
    """Return the number of read pairs as text."""
    return text(headers.phu, "LNRS")


def is_in_adu(headers: Headers) -> bool:
    """Whether the pixels are in adu."""
    return (text(headers.sci, "BUNIT") or "adu").lower() == "adu"


def nominal_photometric_zeropoint(headers: Headers) -> float | None:
    """Return the magnitude of a source that gives one unit of the data per second."""
    figures = FILTERS.get(filter_name(headers, "pretty") or "")
    if figures is None or figures.zeropoint is None or camera(headers, pretty=True) != "f/16":
        return None
    if not is_in_adu(headers):
        return figures.zeropoint
    electrons = gain(headers)
    if electrons is None or electrons <= 0:
        return None
    return figures.zeropoint - 2.5 * math.log10(electrons)


def qa_state(headers: Headers) -> str:
    """Return the observatory's verdict: Pass, Usable, Fail, CHECK or Undefined."""
    pi, gemini = text(headers.phu, "RAWPIREQ"), text(headers.phu, "RAWGEMQA")
    if pi is None or gemini is None or "UNKNOWN" in (pi, gemini):
        return "Undefined"
    if gemini == "USABLE" and pi in ("YES", "NO"):
        return "Pass" if pi == "YES" else "Usable"
    if gemini == "BAD":
        return "Fail"
    return "CHECK" if "CHECK" in (pi, gemini) else f"{pi}:{gemini}"


def percentile(headers: Headers, key: str) -> int | None:
    """Return a band of conditions as percentile; ``Any`` is 100."""
    written = text(headers.phu, key) or ""
    if written == "Any":
        return 100
    found = re.fullmatch(r"(\d{1,2})-percentile", written)
    return int(found[1]) if found else None


def group_id(headers: Headers) -> str:
    """Return what frames that belong together have in common, as one text.

    References
    ----------
    Spec: instrument, section 3.6; the text is DRAGONS'.
    """
    tags = tags_of(headers.phu)
    where = section(headers, "DETSEC")
    sections = [where.iraf() if where is not None else None]
    seconds, mode = exposure_time(headers), read_mode(headers)
    optics: list[object] = [filter_name(headers, "pretty"), camera(headers)]
    observation = text(headers.phu, "OBSID")
    fields: list[object]
    if "DARK" in tags:
        fields = [seconds, coadds(headers), mode, sections]
    elif tags >= {"IMAGE", "FLAT"}:
        fields = [*optics, seconds, observation, mode, sections, "F2_IMAGE_FLAT"]
    elif tags >= {"IMAGE", "TWILIGHT"}:
        fields = [*optics, mode, sections, "F2_IMAGE_TWILIGHT"]
    else:
        fields = [observation, *optics, seconds, mode, sections]
    if "SPECT" in tags:
        grism = text(headers.phu, "GRISM", "GRISMPOS")
        fields += [grism.split("_G", 1)[0] if grism else None, focal_plane_mask(headers)]
    return "_".join(map(str, fields))


def _read_pairs(headers: Headers) -> int | None:
    """Return LNRS if its figures are known."""
    lnrs = integer(headers.phu, "LNRS")
    return lnrs if lnrs in READ_MODES else None


def _level(value: float | None) -> float | None:
    return int(value) if value is not None and value == int(value) else value
