"""The quality bits of the DQ plane, once (spec: instrument, section 4.1)."""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class DQ(IntFlag):
    """One bit per cause; the values are those of DRAGONS."""

    GOOD = 0
    BAD_PIXEL = 1
    NON_LINEAR = 2
    SATURATED = 4
    COSMIC_RAY = 8
    NO_DATA = 16
    OVERLAP = 32
    UNILLUMINATED = 64


MEANING: Final[dict[int, str]] = {
    1: "bad pixel (static or user mask; an object, where an object mask was merged)",
    2: "non-linear regime",
    4: "saturated",
    8: "cosmic ray or persistence",
    16: "no data (outside the input after resampling)",
    32: "overlap of chips (never for F2)",
    64: "not illuminated",
}

#: Bits that make a pixel unusable as a measurement.
FAIL: Final = 29
#: Every bit except non-linear and saturated: the value is no measurement of light.
NOT_SIGNAL: Final = 65535 & ~6
#: Bits that are replaced before source detection by default.
REPLACE: Final = 249
#: Tolerated bits of each class of badness, best class first, cumulative (primitives, 14.1).
BADNESS: Final[tuple[int, ...]] = (6, 14, 46, 47, 111, 127)


def words(value: int) -> str:
    """Return the bits of `value` in words, ``good`` for zero."""
    if value == 0:
        return "good"
    known = [text for bit, text in MEANING.items() if value & bit]
    return "; ".join(known) or f"undefined bits {value}"
