"""Optical components in the beam: filters, camera, grism, masks (spec: instrument, 3.1 to 3.3)."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from f2yaml.interpreter.f2.detector import CENTRAL_WAVELENGTH_NM, FILTERS, SAME_FILTER, band_of
from f2yaml.interpreter.f2.pointing import pixel_scale
from f2yaml.interpreter.f2.tags import is_prepared, tags_of
from f2yaml.interpreter.f2.values import integer, number, text
from f2yaml.interpreter.headers import Headers

FilterForm = Literal["plain", "stripped", "pretty", "with_id"]

_CAMERA_IDS: Final = {"f/16": "_G5830"}
_NOT_A_FILTER: Final = ("f", "GEMS", "Gems", "Hart")


def without_id(name: str) -> str:
    """Return a component's name without its id: cut at the first ``_G``."""
    return name.split("_G", 1)[0]


def lyot_stop(headers: Headers) -> str | None:
    """Return the component in the Lyot wheel; ``Undefined`` counts as none."""
    lyot = text(headers.phu, "LYOT", "LYOTPOS")
    return None if lyot == "Undefined" else lyot


def filter_name(headers: Headers, form: FilterForm = "plain") -> str | None:
    """Return the name of the filter.

    Parameters
    ----------
    headers : Headers
    form : {"plain", "stripped", "pretty", "with_id"}
        All wheels with ids; all wheels without ids; what matters, without ids (``K-red``,
        ``dark``, ``open``); the same with ids.

    Notes
    -----
    As DRAGONS, with two improvements: a Lyot stop spelled ``Gems_...`` is no filter, and YJH, the
    newer name of the Y filter, is ``Y`` in pretty form.
    """
    wheels = [text(headers.phu, "FILTER1", "FILT1POS"), text(headers.phu, "FILTER2", "FILT2POS")]
    if wheels[0] is None or wheels[1] is None:
        return None
    first_two = [wheels[0], wheels[1]]
    lyot = lyot_stop(headers)
    extra = [lyot] if lyot is not None and not lyot.startswith(_NOT_A_FILTER) else []
    if form in ("plain", "stripped"):
        names = first_two + extra
        return "&".join(names if form == "plain" else map(without_id, names))
    for marks, verdict in ((("Block", "Dark"), "blank"), (("DK",), "dark")):
        if any(mark in name for mark in marks for name in first_two):
            return verdict
    names = [n for n in first_two if "open" not in n.replace("Open", "open")] + extra
    if form == "pretty":
        names = [SAME_FILTER.get(n, n) for n in map(without_id, names)]
    return "&".join(names) or "open"


def camera(headers: Headers, *, pretty: bool = False) -> str | None:
    """Return the camera, as the Lyot stop or the focus names it."""
    name = lyot_stop(headers)
    if name is None or not name.startswith("f/"):
        focus = text(headers.phu, "FOCUS") or ""
        if not re.fullmatch(r"f/\d+", focus):
            ours = is_prepared(headers.phu)
            scale = number(headers.phu, "PIXSCALE") if ours else pixel_scale(headers)
            if scale is None:
                return None
            focus = "f/16" if scale > 0.1 else "f/32"
        name = focus + _CAMERA_IDS.get(focus, "_G9999")
    return without_id(name) if pretty else name


def component(headers: Headers, *keys: str, pretty: bool = False) -> str | None:
    """Return the component that a keyword names."""
    name = text(headers.phu, *keys)
    return without_id(name) if pretty and name is not None else name


def focal_plane_mask(headers: Headers) -> str | None:
    """Return ``Open``, or the name of the mask."""
    if text(headers.phu, "MOSPOS") == "Open":
        return "Open"
    return text(headers.phu, "MASKNAME")


def slit_width(headers: Headers) -> float | None:
    """Return the width of the slit in arcsec, None in imaging."""
    found = re.search(r"(\d+)-?pix-slit", focal_plane_mask(headers) or "")
    scale = pixel_scale(headers)
    return int(found[1]) * scale if found and scale is not None else None


def central_wavelength(headers: Headers) -> float | None:
    """Return the wavelength set for the target in metres, to single precision.

    WAVELENG, unless the filter is one whose wavelength headers get wrong. None when it is missing
    (DRAGONS raises).
    """
    nanometres = CENTRAL_WAVELENGTH_NM.get(filter_name(headers, "with_id") or "")
    if nanometres is None:
        angstrom = number(headers.phu, "WAVELENG")
        if angstrom is None or angstrom < 0:
            return None
        nanometres = angstrom / 10
    return float(f"{nanometres * 1e-9:.7g}")


def effective_wavelength(headers: Headers) -> float | None:
    """Return the effective wavelength of the filter in metres, None where it is not tabulated."""
    tags = tags_of(headers.phu)
    if "SPECT" in tags:
        return central_wavelength(headers)
    figures = FILTERS.get(filter_name(headers, "pretty") or "")
    if "IMAGE" not in tags or figures is None:
        return None
    return float(f"{figures.wavelength_um * 1e-6:.7g}")


def wavelength_band(headers: Headers) -> str | None:
    """Return the photometric band nearest to the effective wavelength."""
    wavelength = effective_wavelength(headers)
    return None if wavelength is None else band_of(wavelength * 1e6)


def gcal_lamp(headers: Headers) -> str | None:
    """Return the lamp that shines, ``Off`` when none does, None without a calibration unit."""
    phu = headers.phu
    if "GCALLAMP" not in phu or "GCALSHUT" not in phu:
        return None
    lamp = text(phu, "GCALLAMP")
    if lamp is None or (lamp in ("IRhigh", "IRlow") and text(phu, "GCALSHUT") == "CLOSED"):
        return "Off"
    return lamp


def wavefront_sensor(headers: Headers) -> str | None:
    """Return the sensors that guide, joined by ``&``."""
    guiding = [
        name
        for name in ("AOWFS", "OIWFS", "PWFS1", "PWFS2")
        if text(headers.phu, f"{name}_ST") == "guiding"
    ]
    if "GWFS1CFG" in headers.phu:
        guiding.append("GEMS")
    return "&".join(sorted(guiding)) or None


class Section(NamedTuple):
    """Pixels x1 <= x < x2, y1 <= y < y2, from 0."""

    x1: int
    x2: int
    y1: int
    y2: int

    def iraf(self) -> str:
        """Return the section as headers have it: (x, y), from 1, both ends included."""
        return f"[{self.x1 + 1}:{self.x2},{self.y1 + 1}:{self.y2}]"


def section(headers: Headers, key: str) -> Section | None:
    """Return a section of the detector.

    Parameters
    ----------
    headers : Headers
    key : str
        ARRAYSEC, DATASEC or DETSEC, read from prepared files. Raw files have none: the section is
        the whole array, of its real size (DRAGONS: 2048 x 2048 whatever the size).
    """
    written = text(headers.sci, key) if is_prepared(headers.phu) else None
    if written is not None:
        found = re.fullmatch(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]", written)
        if found is None:
            return None
        x1, x2, y1, y2 = (int(part) for part in found.groups())
        return Section(x1 - 1, x2, y1 - 1, y2)
    nx, ny = integer(headers.sci, "NAXIS1"), integer(headers.sci, "NAXIS2")
    return None if nx is None or ny is None else Section(0, nx, 0, ny)
