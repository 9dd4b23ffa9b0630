"""Cards of a raw F2 frame: names, order, types and the values of a science frame.

Source: instrument specification 1.7, column A and, for the calibrations, columns B to E.
`PHU_CARDS` fixes the order; the other tables hold what differs by kind of frame. Values that
depend on time, pointing or filter stand here only as an example of their type: `headers.py`
replaces them.
"""

from __future__ import annotations

from typing import Final

Value = str | int | float | bool

#: Value of a card that a science frame does not have.
ABSENT: Final = None

PHU_CARDS: Final[tuple[tuple[str, Value | None, str], ...]] = (
    ("INSTRUME", "F2", "instrument name"),
    ("OBJECT", "Field-1", "target or calibration name"),
    ("OBSTYPE", "OBJECT", "kind of exposure; drives DARK/FLAT/ARC tags"),
    ("OBSCLASS", "science", "role in the programme"),
    ("GEMPRGID", "GS-2020A-Q-101", "programme id"),
    ("OBSID", "GS-2020A-Q-101-7", "programme id + observation number"),
    ("DATALAB", "GS-2020A-Q-101-7-002", "observation id + frame number"),
    ("OBSERVER", "observer", "who observed"),
    ("OBSERVAT", "Gemini-South", "observatory site; gives SOUTH"),
    ("TELESCOP", "Gemini-South", "telescope"),
    ("PARALLAX", 0.0, "target parallax"),
    ("RADVEL", 0.0, "target radial velocity"),
    ("EPOCH", 2000.0, "epoch of target coordinates"),
    ("EQUINOX", 2000.0, "equinox of target coordinates"),
    ("TRKEQUIN", 2000.0, "tracking equinox"),
    ("SSA", "ssa", "telescope operator"),
    ("RA", 150.0, "target RA, degrees (without offset)"),
    ("DEC", -30.0, "target Dec, degrees (without offset)"),
    ("ELEVATIO", 65.2, "telescope elevation, degrees"),
    ("AZIMUTH", 101.7, "telescope azimuth, degrees"),
    ("CRPA", 12.3, "Cassegrain rotator angle, degrees"),
    ("HA", "-01:02:03.45", "hour angle"),
    ("LT", "03:30:30.0", "local clock time at start"),
    ("TRKFRAME", "FK5", "frame in which the mount tracks"),
    ("DECTRACK", 0.0, "differential Dec tracking rate"),
    ("TRKEPOCH", 58852.27, "reference epoch of the differential rates (MJD)"),
    ("RATRACK", 0.0, "differential RA tracking rate"),
    ("FRAME", "FK5", "frame of the target; AZEL_TOPO => AZEL_TARGET"),
    ("PMDEC", 0.0, "proper motion in Dec, arcsec/yr"),
    ("PMRA", 0.0, "proper motion in RA, seconds of time/yr"),
    ("WAVELENG", 22000.0, "wavelength set for the target, Angstrom"),
    ("RAWIQ", "70-percentile", "delivered image-quality band"),
    ("RAWCC", "50-percentile", "cloud-cover band"),
    ("RAWWV", "Any", "water-vapour band"),
    ("RAWBG", "Any", "sky-background band"),
    ("RAWPIREQ", "YES", "did the frame meet the PI constraints"),
    ("RAWGEMQA", "USABLE", "observatory quality flag"),
    ("CGUIDMOD", "Basic", "dome carousel mode"),
    ("UT", "06:30:30.0", "UT clock time at start"),
    ("DATE", "2020-01-04", "UT date"),
    ("M2BAFFLE", "VISIBLE", "secondary baffle"),
    ("M2CENBAF", "OPEN", "secondary central baffle"),
    ("ST", "09:00:00.0", "sidereal time"),
    ("XOFFSET", 10.0, "telescope offset along telescope x, arcsec"),
    ("YOFFSET", 10.0, "telescope offset along telescope y, arcsec"),
    ("POFFSET", 10.0, "telescope offset along instrument p, arcsec"),
    ("QOFFSET", 10.0, "telescope offset along instrument q, arcsec"),
    ("RAOFFSET", 10.0, "telescope offset in RA (on sky), arcsec"),
    ("DECOFFSE", 10.0, "telescope offset in Dec, arcsec"),
    ("RATRGOFF", 0.0, "target offset in RA, arcsec"),
    ("DECTRGOF", 0.0, "target offset in Dec, arcsec"),
    ("PA", 0.0, "requested sky position angle, degrees"),
    ("IAA", 0.0, "instrument alignment angle, degrees"),
    ("SFRT2", 44.8, "science-fold rotation"),
    ("SFTILT", 1.53, "science-fold tilt"),
    ("SFLINEAR", -350.71, "science-fold linear position"),
    ("AOFOLD", "park-pos.", "AO pick-off mirror"),
    ("PWFS1_ST", "parked", "peripheral wavefront sensor 1 state"),
    ("PWFS2_ST", "guiding", "peripheral wavefront sensor 2 state"),
    ("OIWFS_ST", "parked", "on-instrument wavefront sensor state"),
    ("AOWFS_ST", "parked", "AO wavefront sensor state"),
    ("SCIBAND", 1, "queue band"),
    ("REQIQ", "70-percentile", "requested image quality"),
    ("REQCC", "50-percentile", "requested cloud cover"),
    ("REQBG", "Any", "requested background"),
    ("REQWV", "Any", "requested water vapour"),
    ("NUMREQTW", 0, "number of timing windows"),
    ("HUMIDITY", 20.0, "outside relative humidity, percent"),
    ("TAMBIENT", 10.1, "outside temperature, C"),
    ("TAMBIEN2", 50.18, "outside temperature, F"),
    ("PRESSURE", 545.0, "air pressure, mm Hg"),
    ("PRESSUR2", 72661.0, "air pressure, Pa"),
    ("DEWPOINT", -5.0, "dew point, C"),
    ("DEWPOIN2", 23.0, "dew point, F"),
    ("WINDSPEE", 3.0, "wind speed, m/s"),
    ("WINDSPE2", 6.71, "wind speed, mph"),
    ("WINDDIRE", 300.0, "wind direction, degrees"),
    ("PREIMAGE", False, "frame taken to design a MOS mask?"),
    ("DATE-OBS", "2020-01-04", "UT date of the exposure (date only)"),
    ("TIME-OBS", "06:30:30.0", "UT time of the exposure"),
    ("READMODE", "Bright", "read-out scheme"),
    ("NREADS", 1, "number of read pairs as commanded"),
    ("AIRMASS", 1.102, "mean airmass; values below 1 mean unknown"),
    ("AMSTART", 1.103, "airmass at start"),
    ("AMEND", 1.101, "airmass at end"),
    ("PROP_MD", False, "are the metadata proprietary?"),
    ("RELEASE", "2021-01-04", "date the frame becomes public"),
    ("GCALLAMP", ABSENT, "calibration lamp selected"),
    ("GCALFILT", ABSENT, "filter in the calibration unit"),
    ("GCALDIFF", ABSENT, "diffuser in the calibration unit"),
    ("GCALSHUT", ABSENT, "shutter of the infrared lamp"),
    ("CHA_HTPW", 40, "temperature controller A heater power"),
    ("CHA_RANG", 0, "temperature controller A range"),
    ("CHB_HTPW", 0, "temperature controller B heater power"),
    ("CHB_HTST", 0, "temperature controller B heater state"),
    ("COADDS", 1, "number of co-added exposures in the frame"),
    ("DCKRSTEP", -3582, "decker wheel motor steps"),
    ("FIL1STEP", 0, "filter wheel 1 motor steps"),
    ("FIL2STEP", -13300, "filter wheel 2 motor steps"),
    ("FOCUSTEP", 1150, "detector focus motor steps"),
    ("GRORDER", 0, "grating order"),
    ("GRSMSTEP", -475, "grism wheel motor steps"),
    ("INPORT", 5, "telescope port: 1 = up-looking, else side"),
    ("LNRS", 1, "read pairs summed in the frame"),
    ("LYOTSTEP", -5720, "Lyot wheel motor steps"),
    ("MOSSTEP", 0, "mask wheel motor steps"),
    ("WINSTEP", 516, "window cover motor steps"),
    ("BIASGATE", 3.507, "detector bias gate, V"),
    ("BIASPWR", 4.969, "detector bias power, V"),
    ("BIASVCC", 5.003, "detector bias VCC, V"),
    ("BIASVRES", 0.752, "detector reset bias, V"),
    ("CAMVAC", 4.51e-08, "camera dewar pressure, torr"),
    ("CHA_APWR", 0.0, "controller A applied power"),
    ("CHA_SETP", 50.0, "controller A set point, K"),
    ("CHB_APWR", 71.5, "controller B applied power"),
    ("CHB_SETP", 80.0, "controller B set point, K"),
    ("EXPTIME", 5.0, "exposure time of one coadd, seconds"),
    ("GAIN", 4.44000005722046, "gain per read pair, e-/ADU"),
    ("GRWLEN", 0.0, "grism central wavelength, micron"),
    ("LVDTVLTS", -1.2675, "focus LVDT voltage"),
    ("MJD-OBS", 58852.26953125, "MJD at start, single precision"),
    ("MOSVAC", 2.67e-07, "mask dewar pressure, torr"),
    ("OBSEPOCH", 2020.0, "epoch of observation, years"),
    ("PIXSCALE", 0.181240007281303, "nominal plate scale, arcsec/pixel"),
    ("RDNOISE", 0.0, "always 0; ignored on raw files"),
    ("TEMP_CH1", 77.6, "mask cold head stage 1, K"),
    ("TEMP_CH2", 22.6, "mask cold head stage 2, K"),
    ("TEMP_CH3", 102.3, "mask bench, K"),
    ("TEMP_CH4", 100.7, "mask bench, K"),
    ("TEMP_CH5", 60.8, "camera cold head stage 1, K"),
    ("TEMP_CH6", 38.7, "detector cold finger, K"),
    ("TEMP_CH7", 90.8, "camera bench, K"),
    ("TEMP_CH8", 80.3, "detector frame, K"),
    ("TEMP_CHA", 90.75, "bench near detector, K"),
    ("TEMP_CHB", 80.0, "detector fan-out block, K"),
    ("CHA_PID", "+0500.0,+0025.0,+0", "controller A loop parameters"),
    ("CHB_PID", "+0200.0,+0025.0,+2", "controller B loop parameters"),
    ("DECKER", "Open", "decker: Open, Long_slit or mos/Mos"),
    ("DETGRADE", "Science", "detector grade"),
    ("DETID", "109", "detector serial number (string)"),
    ("DETTYPE", "Hawaii-2 2048", "detector type"),
    ("DHSLABEL", "S20200104S0076", "name given by the data handling system"),
    ("F2CC", "1.1", "component-controller software version"),
    ("F2DC", "1.1", "detector-controller software version"),
    ("FILT1ID", "Open", "component id in filter wheel 1"),
    ("FILT2ID", "G0815", "component id in filter wheel 2"),
    ("FILTER", "K-red_G0815", "effective filter"),
    ("FILTER1", "Open", "component in filter wheel 1"),
    ("FILTER2", "K-red_G0815", "component in filter wheel 2"),
    ("FOCUS", "f/16", "detector focus position"),
    ("GRISM", "Open", "component in the grism wheel"),
    ("LYOT", "f/16_G5830", "component in the Lyot wheel"),
    ("MASKID", "30500001", "bar code of the mask in the beam (string)"),
    ("MASKNAME", "None", "mask name"),
    ("MASKTYPE", "0", "mask type: 0 slit or none, 1 MOS, -1 grid"),
    ("MOSPOS", "Open", "component in the mask wheel"),
    ("MOSSLT01", "30500001", "bar code in fixed mask slot 1"),
    ("TIMESYS", "UTC", "time system"),
    ("UTEND", "06:30:47.330000", "UT at end of read-out"),
    ("UTSTART", "06:30:35.000000", "UT when the exposure began"),
    ("WINDOW", "Open", "dewar window cover"),
)

#: A string or number that the telescope did not set (newer day calibrations).
NO_VALUE: Final = "No Value"
UNSET: Final = -9999.0

#: What both styles of day calibration share (columns B to E).
DAY: Final[dict[str, Value]] = {
    "ELEVATIO": 89.9,
    "AZIMUTH": 40.0,
    "CRPA": 0.001,
    "HA": "+00:00:09.35",
    "RAWIQ": "Any",
    "RAWCC": "Any",
    "PWFS2_ST": "parked",
    "SCIBAND": -9999,
    "REQIQ": "Any",
    "REQCC": "Any",
    "HUMIDITY": 34.0,
    "TAMBIENT": 18.4,
    "TAMBIEN2": 65.12,
    "PRESSURE": 550.7,
    "PRESSUR2": 73420.0,
    "DEWPOINT": 2.3,
    "DEWPOIN2": 36.14,
    "WINDSPEE": 2.7,
    "WINDSPE2": 6.04,
    "WINDDIRE": 294.0,
}

_POINTING: Final = (
    "PARALLAX RADVEL EPOCH EQUINOX TRKEQUIN RA DEC DECTRACK TRKEPOCH RATRACK PMDEC PMRA "
    "WAVELENG XOFFSET YOFFSET POFFSET QOFFSET RAOFFSET DECOFFSE RATRGOFF DECTRGOF PA IAA "
    "SFRT2 SFTILT SFLINEAR AIRMASS AMSTART AMEND"
)
_STATES: Final = "TRKFRAME FRAME M2BAFFLE M2CENBAF AOFOLD"
_PARKED: Final = "EQUINOX PMDEC PMRA XOFFSET YOFFSET POFFSET QOFFSET RAOFFSET DECOFFSE PA IAA"

#: Newer day calibrations (columns B and C): telescope keywords hold sentinels.
DAY_NEW: Final[dict[str, Value]] = {
    **DAY,
    **dict.fromkeys(_POINTING.split(), UNSET),
    **dict.fromkeys(_STATES.split(), NO_VALUE),
}

#: Older day calibrations (columns D and E): telescope parked near zenith.
DAY_OLD: Final[dict[str, Value]] = {
    **DAY,
    **dict.fromkeys(_PARKED.split(), 0.0),
    "DEC": -30.24,
    "TRKFRAME": "FK5",
    "FRAME": "AZEL_TOPO",
    "DECTRACK": -0.0035,
    "RATRACK": 1.0019,
    "M2CENBAF": "CLOSED",
}

DARK: Final[dict[str, Value]] = {
    "OBJECT": "Dark",
    "OBSTYPE": "DARK",
    "OBSCLASS": "dayCal",
    "WINDOW": "Closed",
}

FLAT: Final[dict[str, Value]] = {
    "OBJECT": "GCALflat",
    "OBSTYPE": "FLAT",
    "OBSCLASS": "dayCal",
    "GCALLAMP": "IRhigh",
    "GCALDIFF": "IR",
}

#: READMODE by number of read pairs (LNRS). Six pairs have no name of their own in the
#: specification; `Medium` is the nearest.
READ_MODE: Final[dict[int, str]] = {1: "Bright", 4: "Medium", 6: "Medium", 8: "Dark"}
