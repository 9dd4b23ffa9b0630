"""World coordinates between FITS headers and `Tan`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.errors import BadInput

#: Bounds of what can be a header's word on F2: reference pixel [pix], scale [arcsec/pix].
_FARTHEST, _FINEST, _COARSEST = 1e5, 0.01, 60.0
KEYS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


def tan_of(header: Mapping[str, Any], name: str = "the frame") -> Tan:
    """Return the world coordinates that a header describes.

    Raises
    ------
    BadInput
        Keywords are missing or not numbers, the matrix is singular, or the projection is not
        gnomonic.
    """
    ctype = [str(header.get(key, "")).strip() for key in ("CTYPE1", "CTYPE2")]
    if ctype != ["RA---TAN", "DEC--TAN"]:
        raise BadInput(
            f"{name} has the projection {ctype[0] or 'none'} / {ctype[1] or 'none'}",
            "F2 images are aligned through RA---TAN / DEC--TAN coordinates",
            "take the frame out of the list, or repair CTYPE1 and CTYPE2",
        )
    values = []
    for key in KEYS:
        value = header.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadInput(
                f"{name} has no usable keyword {key}",
                "frames are aligned through their world coordinates",
                "take the frame out of the list",
            )
        values.append(float(value))
    x, y, ra, dec, a, b, c, d = values
    if not all(map(math.isfinite, values)) or max(abs(x), abs(y)) > _FARTHEST:
        raise BadInput(
            f"the reference pixel of {name} lies at {x:g}, {y:g}; its CD matrix is {a:g}, {b:g}, "
            f"{c:g}, {d:g}",
            "frames are aligned through their world coordinates",
            "take the frame out of the list",
        )
    if abs(ra) > 360 or abs(dec) > 90:
        raise BadInput(
            f"CRVAL1, CRVAL2 of {name} are {ra:g}, {dec:g}",
            "no place on the sky has such coordinates, in degrees",
            "take the frame out of the list",
        )
    if a * d - b * c == 0:
        raise BadInput(
            f"the CD matrix of {name} is singular",
            "it cannot turn pixels into positions on the sky",
            "take the frame out of the list",
        )
    scales = [3600 * math.hypot(*column) for column in ((a, c), (b, d))]
    if not _FINEST <= min(scales) <= max(scales) <= _COARSEST:
        raise BadInput(
            f"pixels of {name} measure {scales[0]:.3g} x {scales[1]:.3g} arcsec by its CD matrix",
            "those of F2 measure 0.18 arcsec, or 0.09 behind adaptive optics",
            "take the frame out of the list, or repair its CD matrix",
        )
    return Tan.rounded((x, y), (ra, dec), ((a, b), (c, d)))


def cards_of(tan: Tan) -> dict[str, Any]:
    """Return the header cards of world coordinates; values read back exactly."""
    (a, b), (c, d) = tan.cd
    values = (*tan.crpix, *tan.crval, a, b, c, d)
    return {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", **dict(zip(KEYS, values, strict=True))}
