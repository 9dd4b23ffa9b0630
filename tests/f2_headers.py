"""Headers of raw F2 frames, from the tables of the specification (instrument, section 1.7).

`raw_headers` gives the five example frames A to E; `write_raw` writes small files laid out like
the real ones.
"""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from f2yaml.interpreter.headers import Headers

Value = str | bool | int | float | None

# fmt: off
#: Column A: science, K-red, 5 s, second position of a dither.
SCIENCE: Final[dict[str, Value]] = {
    "INSTRUME": "F2", "OBJECT": "Field-1", "OBSTYPE": "OBJECT", "OBSCLASS": "science",
    "GEMPRGID": "GS-2020A-Q-101", "OBSID": "GS-2020A-Q-101-7", "DATALAB": "GS-2020A-Q-101-7-002",
    "OBSERVER": "observer", "OBSERVAT": "Gemini-South", "TELESCOP": "Gemini-South",
    "PARALLAX": 0.0, "RADVEL": 0.0, "EPOCH": 2000.0, "EQUINOX": 2000.0, "TRKEQUIN": 2000.0,
    "SSA": "ssa", "RA": 150.0, "DEC": -30.0, "ELEVATIO": 65.2, "AZIMUTH": 101.7, "CRPA": 12.3,
    "HA": "-01:02:03.45", "LT": "03:30:30.0", "TRKFRAME": "FK5", "DECTRACK": 0.0,
    "TRKEPOCH": 58852.27, "RATRACK": 0.0, "FRAME": "FK5", "PMDEC": 0.0, "PMRA": 0.0,
    "WAVELENG": 22000.0, "RAWIQ": "70-percentile", "RAWCC": "50-percentile", "RAWWV": "Any",
    "RAWBG": "Any", "RAWPIREQ": "YES", "RAWGEMQA": "USABLE", "CGUIDMOD": "Basic",
    "UT": "06:30:30.0", "DATE": "2020-01-04", "M2BAFFLE": "VISIBLE", "M2CENBAF": "OPEN",
    "ST": "09:00:00.0", "XOFFSET": 10.0, "YOFFSET": 10.0, "POFFSET": 10.0, "QOFFSET": 10.0,
    "RAOFFSET": 10.0, "DECOFFSE": 10.0, "RATRGOFF": 0.0, "DECTRGOF": 0.0, "PA": 0.0, "IAA": 0.0,
    "SFRT2": 44.8, "SFTILT": 1.53, "SFLINEAR": -350.71, "AOFOLD": "park-pos.",
    "PWFS1_ST": "parked", "PWFS2_ST": "guiding", "OIWFS_ST": "parked", "AOWFS_ST": "parked",
    "SCIBAND": 1, "REQIQ": "70-percentile", "REQCC": "50-percentile", "REQBG": "Any",
    "REQWV": "Any", "NUMREQTW": 0, "HUMIDITY": 20.0, "TAMBIENT": 10.1, "TAMBIEN2": 50.18,
    "PRESSURE": 545.0, "PRESSUR2": 72661.0, "DEWPOINT": -5.0, "DEWPOIN2": 23.0, "WINDSPEE": 3.0,
    "WINDSPE2": 6.71, "WINDDIRE": 300.0, "PREIMAGE": False, "DATE-OBS": "2020-01-04",
    "TIME-OBS": "06:30:30.0", "READMODE": "Bright", "NREADS": 1, "AIRMASS": 1.102,
    "AMSTART": 1.103, "AMEND": 1.101, "PROP_MD": False, "RELEASE": "2021-01-04", "CHA_HTPW": 40,
    "CHA_RANG": 0, "CHB_HTPW": 0, "CHB_HTST": 0, "COADDS": 1, "DCKRSTEP": -3582, "FIL1STEP": 0,
    "FIL2STEP": -13300, "FOCUSTEP": 1150, "GRORDER": 0, "GRSMSTEP": -475, "INPORT": 5, "LNRS": 1,
    "LYOTSTEP": -5720, "MOSSTEP": 0, "WINSTEP": 516, "BIASGATE": 3.507, "BIASPWR": 4.969,
    "BIASVCC": 5.003, "BIASVRES": 0.752, "CAMVAC": 4.51e-08, "CHA_APWR": 0.0, "CHA_SETP": 50.0,
    "CHB_APWR": 71.5, "CHB_SETP": 80.0, "EXPTIME": 5.0, "GAIN": 4.44000005722046, "GRWLEN": 0.0,
    "LVDTVLTS": -1.2675, "MJD-OBS": 58852.26953125, "MOSVAC": 2.67e-07, "OBSEPOCH": 2020.0,
    "PIXSCALE": 0.181240007281303, "RDNOISE": 0.0, "TEMP_CH1": 77.6, "TEMP_CH2": 22.6,
    "TEMP_CH3": 102.3, "TEMP_CH4": 100.7, "TEMP_CH5": 60.8, "TEMP_CH6": 38.7, "TEMP_CH7": 90.8,
    "TEMP_CH8": 80.3, "TEMP_CHA": 90.75, "TEMP_CHB": 80.0, "CHA_PID": "+0500.0,+0025.0,+0",
    "CHB_PID": "+0200.0,+0025.0,+2", "DECKER": "Open", "DETGRADE": "Science", "DETID": "109",
    "DETTYPE": "Hawaii-2 2048", "DHSLABEL": "S20200104S0076", "F2CC": "1.1", "F2DC": "1.1",
    "FILT1ID": "Open", "FILT2ID": "G0815", "FILTER": "K-red_G0815", "FILTER1": "Open",
    "FILTER2": "K-red_G0815", "FOCUS": "f/16", "GRISM": "Open", "LYOT": "f/16_G5830",
    "MASKID": "30500001", "MASKNAME": "None", "MASKTYPE": "0", "MOSPOS": "Open",
    "MOSSLT01": "30500001", "TIMESYS": "UTC", "UTEND": "06:30:47.330000",
    "UTSTART": "06:30:35.000000", "WINDOW": "Open",
}

#: What the day calibrations of the newer style (B, C) and of the older style (D, E) share.
NEWER: Final[dict[str, Value]] = {
    "OBSCLASS": "dayCal", "PARALLAX": -9999.0, "RADVEL": -9999.0, "EPOCH": -9999.0,
    "EQUINOX": -9999.0, "TRKEQUIN": -9999.0, "RA": -9999.0, "DEC": -9999.0, "ELEVATIO": 89.9,
    "AZIMUTH": 40.0, "CRPA": 0.001, "HA": "+00:00:09.35", "LT": "11:00:00.0",
    "TRKFRAME": "No Value", "DECTRACK": -9999.0, "TRKEPOCH": -9999.0, "RATRACK": -9999.0,
    "FRAME": "No Value", "PMDEC": -9999.0, "PMRA": -9999.0, "WAVELENG": -9999.0, "RAWIQ": "Any",
    "RAWCC": "Any", "UT": "14:00:00.0", "M2BAFFLE": "No Value", "M2CENBAF": "No Value",
    "XOFFSET": -9999.0, "YOFFSET": -9999.0, "POFFSET": -9999.0, "QOFFSET": -9999.0,
    "RAOFFSET": -9999.0, "DECOFFSE": -9999.0, "RATRGOFF": -9999.0, "DECTRGOF": -9999.0,
    "PA": -9999.0, "IAA": -9999.0, "SFRT2": -9999.0, "SFTILT": -9999.0, "SFLINEAR": -9999.0,
    "AOFOLD": "No Value", "PWFS2_ST": "parked", "SCIBAND": -9999, "REQIQ": "Any", "REQCC": "Any",
    "HUMIDITY": 34.0, "TAMBIENT": 18.4, "TAMBIEN2": 65.12, "PRESSURE": 550.7, "PRESSUR2": 73420.0,
    "DEWPOINT": 2.3, "DEWPOIN2": 36.14, "WINDSPEE": 2.7, "WINDSPE2": 6.04, "WINDDIRE": 294.0,
    "TIME-OBS": "14:00:00.0", "AIRMASS": -9999.0, "AMSTART": -9999.0, "AMEND": -9999.0,
    "UTSTART": "14:00:05.000000",
}
OLDER: Final[dict[str, Value]] = {
    "OBJECT": "GCALflat", "OBSTYPE": "FLAT", "OBSCLASS": "dayCal", "EQUINOX": 0.0, "RA": 147.0,
    "DEC": -30.24, "AZIMUTH": 40.0, "CRPA": 0.001, "HA": "+00:00:09.35", "LT": "11:00:00.0",
    "TRKFRAME": "FK5", "DECTRACK": -0.0035, "RATRACK": 1.0019, "FRAME": "AZEL_TOPO", "PMDEC": 0.0,
    "PMRA": 0.0, "WAVELENG": 10200.0, "RAWIQ": "Any", "RAWCC": "Any", "UT": "14:00:00.0",
    "M2CENBAF": "CLOSED", "XOFFSET": 0.0, "YOFFSET": 0.0, "POFFSET": 0.0, "QOFFSET": 0.0,
    "RAOFFSET": 0.0, "DECOFFSE": 0.0, "PA": 0.0, "IAA": 0.0, "PWFS2_ST": "parked",
    "SCIBAND": -9999, "REQIQ": "Any", "REQCC": "Any", "HUMIDITY": 34.0, "TAMBIENT": 18.4,
    "TAMBIEN2": 65.12, "PRESSURE": 550.7, "PRESSUR2": 73420.0, "DEWPOINT": 2.3, "DEWPOIN2": 36.14,
    "WINDSPEE": 2.7, "WINDSPE2": 6.04, "WINDDIRE": 294.0, "TIME-OBS": "14:00:00.0",
    "GCALLAMP": "IRhigh", "GCALFILT": "ND4-5", "GCALDIFF": "IR", "FIL1STEP": 13600, "FIL2STEP": 0,
    "EXPTIME": 20.0, "OBSEPOCH": 2013.9, "FILT1ID": "G0811", "FILT2ID": "Open",
    "FILTER": "Y_G0811", "FILTER1": "Y_G0811", "FILTER2": "Open", "UTEND": "14:00:05.000000",
    "UTSTART": "14:00:05.000000", "WINDOW": "Open",
}

#: Columns B to E: what differs from column A; None takes a card out.
CHANGES: Final[dict[str, dict[str, Value]]] = {
    # 5 s dark
    "B": {
        **NEWER,
        "OBJECT": "Dark", "OBSTYPE": "DARK", "GEMPRGID": "GS-CAL20200107",
        "OBSID": "GS-CAL20200107-2", "DATALAB": "GS-CAL20200107-2-001", "DATE": "2020-01-07",
        "ST": "21:51:10.8", "DATE-OBS": "2020-01-07", "RELEASE": "2020-01-07", "FIL1STEP": 27200,
        "FIL2STEP": -26600, "EXPTIME": 5.0, "MJD-OBS": 58855.58203125,
        "DHSLABEL": "S20200107S0049", "FILT1ID": "G0802", "FILT2ID": "G0807", "FILTER": "DK_G0807",
        "FILTER1": "J_G0802", "FILTER2": "DK_G0807", "UTEND": "14:00:17.330000",
        "WINDOW": "Closed",
    },
    # 2 s K-red flat, lamp shutter closed
    "C": {
        **NEWER,
        "OBJECT": "GCALflat", "OBSTYPE": "FLAT", "GEMPRGID": "GS-CAL20200108",
        "OBSID": "GS-CAL20200108-3", "DATALAB": "GS-CAL20200108-3-001", "DATE": "2020-01-08",
        "ST": "21:55:07.4", "DATE-OBS": "2020-01-08", "RELEASE": "2020-01-08",
        "GCALLAMP": "IRhigh", "GCALFILT": "ND3.0", "GCALDIFF": "IR", "GCALSHUT": "CLOSED",
        "FIL1STEP": 0, "FIL2STEP": -13300, "EXPTIME": 2.0, "MJD-OBS": 58856.58203125,
        "DHSLABEL": "S20200108S0010", "FILT1ID": "Open", "FILT2ID": "G0815",
        "FILTER": "K-red_G0815", "FILTER1": "Open", "FILTER2": "K-red_G0815",
        "UTEND": "14:00:14.330000", "WINDOW": "Open",
    },
    # 20 s Y flat, lamp shutter open
    "D": {
        **OLDER,
        "GEMPRGID": "GS-CAL20131129", "OBSID": "GS-CAL20131129-4",
        "DATALAB": "GS-CAL20131129-4-001", "ELEVATIO": 89.9, "TRKEPOCH": 56625.58,
        "DATE": "2013-11-29", "ST": "19:16:40.0", "DATE-OBS": "2013-11-29", "AIRMASS": 1.0,
        "AMSTART": 1.0, "AMEND": 1.0, "RELEASE": "2013-11-29", "GCALSHUT": "OPEN",
        "MJD-OBS": 56625.58203125, "DHSLABEL": "S20131129S0320",
    },
    # 20 s Y flat, lamp shutter closed
    "E": {
        **OLDER,
        "GEMPRGID": "GS-CAL20131126", "OBSID": "GS-CAL20131126-5",
        "DATALAB": "GS-CAL20131126-5-001", "ELEVATIO": 87.5, "TRKEPOCH": 56622.58,
        "DATE": "2013-11-26", "ST": "19:04:50.4", "DATE-OBS": "2013-11-26", "AIRMASS": 1.001,
        "AMSTART": 1.001, "AMEND": 1.001, "RELEASE": "2013-11-26", "GCALSHUT": "CLOSED",
        "MJD-OBS": 56622.58203125, "DHSLABEL": "S20131126S1111",
    },
}

#: Extension 1 of column A, without the structural cards.
EXTENSION: Final[dict[str, Value]] = {
    "AXISLAB1": "Xaxis", "AXISLAB2": "Yaxis", "AXISLAB3": "Extensions", "AMPDAC01": 180.0,
    "CD1_1": 0.0, "CD1_2": 4.9778e-05, "CD2_1": 4.9778e-05, "CD2_2": 0.0, "CD3_3": 1.0,
    "CRPIX1": 1023.90997314453, "CRPIX2": 1023.96997070312, "CRVAL1": 150.003207501496,
    "CRVAL2": -29.9972222222222, "MJD-OBS": 58852.26953125, "INHERIT": False,
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADECSYS": "FK5", "FRMNAME": " 1 of 1 ",
    "FRAMEID": "0", "DATATYP": "Intensity", "EXTVER": 1,
}
# fmt: on


def raw_headers(kind: str = "A", *, sci: dict[str, Value] | None = None, **phu: Value) -> Headers:
    """Return the headers of one of the five example frames.

    Parameters
    ----------
    kind : str
        ``A`` science, ``B`` dark, ``C`` K-red flat (shutter closed), ``D`` Y flat on, ``E`` Y flat
        off.
    sci : dict, optional
        Cards of the extension to change; None takes a card out.
    **phu
        Cards of the primary header to change; an underscore stands for the dash (DATE_OBS).
    """
    changed = {key.replace("_", "-"): value for key, value in phu.items()}
    primary = _header(
        {"SIMPLE": True, "BITPIX": 16, "NAXIS": 0, "EXTEND": True},
        {**SCIENCE, **CHANGES.get(kind, {}), **changed},
    )
    pointing = {} if kind == "A" else {"CRVAL1": 150.0, "CRVAL2": -30.0}
    amplifiers = {f"AMPDAC{n:02d}": 180.0 for n in range(2, 33)}
    structure = {"XTENSION": "IMAGE", "BITPIX": 32, "NAXIS": 3, "NAXIS1": 2048, "NAXIS2": 2048}
    extension = _header(
        {**structure, "NAXIS3": 1, "PCOUNT": 0, "GCOUNT": 1},
        {**EXTENSION, **amplifiers, **pointing, "MJD-OBS": primary.get("MJD-OBS"), **(sci or {})},
    )
    return Headers(primary, extension, f"{primary['DHSLABEL']}.fits")


def write_raw(folder: Path, headers: Headers, pixels: Any = None, *, name: str = "") -> Path:
    """Write a raw file of the real layout: an unnamed extension of 32-bit integers, NAXIS3 = 1.

    Parameters
    ----------
    folder : Path
    headers : Headers
    pixels : int32 array of shape (ny, nx), optional
        Default: zeros of 4 x 4.
    name : str, optional
        File name; ``.gz`` and ``.bz2`` at its end compress. Default: the name in `headers`.
    """
    plane = np.zeros((4, 4), np.int32) if pixels is None else np.asarray(pixels, np.int32)
    extension = headers.sci.copy()
    extension["NAXIS2"], extension["NAXIS1"] = plane.shape
    data = plane.astype(">i4").tobytes()
    content = b"".join(
        [
            headers.phu.tostring().encode("ascii"),
            extension.tostring().encode("ascii"),
            data + bytes(-len(data) % 2880),
        ]
    )
    path = folder / (name or headers.filename)
    compress = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(compress(content))
    return path


def _header(first: dict[str, Any], others: dict[str, Value]) -> fits.Header:
    cards = {**first, **others}
    return fits.Header([(key, value) for key, value in cards.items() if value is not None])
