"""Small F2 files for the tests of the calibration database: raw frames and their products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from f2yaml.interpreter.headers import Headers

COMMON: dict[str, object] = {
    "INSTRUME": "F2",
    "OBJECT": "Field-1",
    "OBSTYPE": "OBJECT",
    "OBSCLASS": "science",
    "OBSERVAT": "Gemini-South",
    "TELESCOP": "Gemini-South",
    "GEMPRGID": "GS-2020A-Q-101",
    "OBSID": "GS-2020A-Q-101-7",
    "DATALAB": "GS-2020A-Q-101-7-002",
    "RAWPIREQ": "YES",
    "RAWGEMQA": "USABLE",
    "DATE-OBS": "2020-01-04",
    "UT": "06:30:30.0",
    "EXPTIME": 5.0,
    "COADDS": 1,
    "LNRS": 1,
    "FILTER1": "Open",
    "FILTER2": "K-red_G0815",
    "LYOT": "f/16_G5830",
    "GRISM": "Open",
    "DECKER": "Open",
    "MOSPOS": "Open",
    "MASKNAME": "None",
}
DARK: dict[str, object] = {"OBSTYPE": "DARK", "FILTER1": "J_G0802", "FILTER2": "DK_G0807"}
FLAT: dict[str, object] = {"OBSTYPE": "FLAT", "OBJECT": "GCALflat", "EXPTIME": 2.0}
STAMP = "2026-11-22T06:41:02.221446"
PROCESSED: dict[str, dict[str, object]] = {
    "processed_dark": {**DARK, "PROCDARK": STAMP},
    "processed_flat": {**FLAT, "PROCFLAT": STAMP},
    # As DRAGONS makes it: from flats, OBSTYPE still FLAT (spec: instrument, section 4.7).
    "processed_bpm": {**FLAT, "OBJECT": "BPM", "BPMASK": STAMP},
}


def primary(cards: dict[str, object]) -> fits.Header:
    """Return a primary header; a card whose value is None is left out."""
    header = fits.Header()
    for key, value in {**COMMON, **cards}.items():
        if value is not None:
            header[key] = value
    return header


def raw_headers(name: str = "S20200104S0075.fits", size: int = 8, **cards: object) -> Headers:
    """Return the headers of a raw frame; underscores in keywords stand for hyphens."""
    sci = fits.Header({"NAXIS": 3, "NAXIS1": size, "NAXIS2": size, "NAXIS3": 1})
    return Headers(primary(_keywords(cards)), sci, name)


def write_raw(path: Path, **cards: object) -> Path:
    """Write a raw frame of 1 x 8 x 8 pixels."""
    pixels = fits.ImageHDU(np.zeros((1, 8, 8), np.int32))
    phu = fits.PrimaryHDU(header=primary(_keywords(cards)))
    fits.HDUList([phu, pixels]).writeto(path, overwrite=True)
    return path


def write_product(path: Path, caltype: str, *, value: float = 0.0, **cards: object) -> Path:
    """Write a processed calibration of 8 x 8 pixels, in the form DRAGONS gives it."""
    stamps = {"GEM-TLM": STAMP, "PREPARE": STAMP, "PROCMODE": "sq", "PROCSOFT": "DRAGONS"}
    phu = primary({**PROCESSED[caltype], **stamps, **_keywords(cards)})
    pixels = fits.ImageHDU(np.full((8, 8), value, np.float32), name="SCI")
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(header=phu), pixels]).writeto(path, overwrite=True)
    return path


def _keywords(cards: dict[str, object]) -> dict[str, object]:
    return {key.replace("_", "-"): value for key, value in cards.items()}
