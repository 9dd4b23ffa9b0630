"""Values of header cards, with the marks for "not known" taken out.

Day calibrations taken since about 2019 carry -9999 and ``No Value`` where the telescope reported
nothing (spec: instrument, section 1.4). Here they count as absent, everywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.errors import BadInput

if TYPE_CHECKING:
    from astropy.io.fits import Header

Value = str | bool | int | float

_NO_NUMBER: Final = -9999.0
_NO_TEXT: Final = "no value"


def raw(header: Header, *keys: str) -> Value | None:
    """Return the first of `keys` that the header holds, sentinels included, else None.

    Raises
    ------
    BadInput
        The card is there but breaks the FITS rules.
    """
    # here, as tags and descriptors are declared without astropy: `f2yaml validate` has no headers
    from astropy.io.fits.card import Undefined
    from astropy.io.fits.verify import VerifyError

    for key in keys:
        try:
            value = header.get(key)
        except (VerifyError, ValueError) as error:
            raise BadInput(
                f"the header card {key} cannot be read",
                str(error).splitlines()[0],
                "fetch the file again, or mend the card",
            ) from error
        if value is not None and not isinstance(value, Undefined):
            return value if isinstance(value, str | bool | int | float) else str(value)
    return None


def text(header: Header, *keys: str) -> str | None:
    """Return the first of `keys` with a usable value as text; blank and ``No Value`` are absent."""
    for key in keys:
        value = raw(header, key)
        if value is None or _is_sentinel(value):
            continue
        stripped = str(value).strip()
        if stripped and stripped.lower() != _NO_TEXT:
            return stripped
    return None


def number(header: Header, *keys: str) -> float | None:
    """Return the first of `keys` with a finite number, also one written as text; else None."""
    for key in keys:
        value = raw(header, key)
        if value is None or isinstance(value, bool):
            continue
        try:
            converted = float(value)
        except ValueError:
            continue
        if math.isfinite(converted) and converted != _NO_NUMBER:
            return converted
    return None


def integer(header: Header, *keys: str) -> int | None:
    """Return the first of `keys` with a whole number, else None."""
    value = number(header, *keys)
    return int(value) if value is not None and value == int(value) else None


def holds(header: Header, key: str) -> bool:
    """Whether the header has the keyword, whatever its value."""
    return key in header


def _is_sentinel(value: Value) -> bool:
    return not isinstance(value, str | bool) and float(value) == _NO_NUMBER


def value(header: Header, key: str) -> Value | None:
    """Return the value of a card as it is; sentinels, blanks and missing cards give None."""
    found = raw(header, key)
    if isinstance(found, str):
        return text(header, key)
    return None if found is None or _is_sentinel(found) else found
