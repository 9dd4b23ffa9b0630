"""The headers of one file: what tags, descriptors and calibration rules look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.io.fits import Header


@dataclass(frozen=True, slots=True)
class Headers:
    """Primary header and the header of the first image extension of a file.

    Headers are treated as immutable: to change a card, copy the header first.

    Parameters
    ----------
    phu : Header
        Primary header, with nearly all metadata of an F2 file.
    sci : Header
        Header of the SCI extension (unnamed in raw files); empty when there is none.
    filename : str
        Base name of the file, or the name the frame will be written under.
    """

    phu: Header
    sci: Header
    filename: str = ""


def utc_now() -> str:
    """Return the time as header cards have it: UTC, ISO, microseconds."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
