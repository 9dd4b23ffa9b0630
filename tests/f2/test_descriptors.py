"""Descriptors against the table "What these five files give" (instrument, section 1.7)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.errors import BadInput, NotSupported
from f2yaml.interpreter.f2.components import Section, filter_name, gcal_lamp
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS, describe, scalar
from f2yaml.interpreter.f2.pointing import apparent_to_icrs, target_position
from f2yaml.interpreter.f2.times import decimal_year, ut_datetime
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.problems import RequestError

MICRON = 1e-6
SECTION = "['[1:2048,1:2048]']"
PREPARED = {"PREPARE": "2026-11-22T06:41:56"}

#: One row a descriptor: its values for frames A, B, C, D, E.
TABLE: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "filter_name": (
        "Open&K-red_G0815",
        "J_G0802&DK_G0807",
        "Open&K-red_G0815",
        "Y_G0811&Open",
        "Y_G0811&Open",
    ),
    "camera": ("f/16_G5830",) * 5,
    "exposure_time": (5.0, 5.0, 2.0, 20.0, 20.0),
    "gain": ([4.44],) * 5,
    "read_noise": ([11.7],) * 5,
    "saturation_level": ([35000],) * 5,
    "non_linear_level": ([25200],) * 5,
    "central_wavelength": (2.2e-06, None, None, 1.02e-06, 1.02e-06),
    "effective_wavelength": (2.31e-06, None, 2.31e-06, 1.02e-06, 1.02e-06),
    "wavelength_band": ("K", None, "K", "Y", "Y"),
    "gcal_lamp": (None, None, "Off", "IRhigh", "Off"),
    "target_ra": (150.0, None, None, 147.0, 147.0),
    "target_dec": (-30.0, None, None, -30.24, -30.24),
    "telescope_x_offset": (-10.0, None, None, 0.0, 0.0),
    "telescope_y_offset": (-10.0, None, None, 0.0, 0.0),
    "position_angle": (90.0, None, None, 90.0, 90.0),
    "airmass": (1.102, None, None, 1.0, 1.001),
    "ut_datetime": (
        dt.datetime(2020, 1, 4, 6, 30, 30),
        dt.datetime(2020, 1, 7, 14),
        dt.datetime(2020, 1, 8, 14),
        dt.datetime(2013, 11, 29, 14),
        dt.datetime(2013, 11, 26, 14),
    ),
    "qa_state": ("Pass",) * 5,
    "raw_iq": (70, 100, 100, 100, 100),
    "raw_cc": (50, 100, 100, 100, 100),
    "raw_wv": (100,) * 5,
    "raw_bg": (100,) * 5,
    "wavefront_sensor": ("PWFS2", None, None, None, None),
    "group_id": (
        f"GS-2020A-Q-101-7_K-red_f/16_G5830_5.0_1_{SECTION}",
        f"5.0_1_1_{SECTION}",
        f"K-red_f/16_G5830_2.0_GS-CAL20200108-3_1_{SECTION}_F2_IMAGE_FLAT",
        f"Y_f/16_G5830_20.0_GS-CAL20131129-4_1_{SECTION}_F2_IMAGE_FLAT",
        f"Y_f/16_G5830_20.0_GS-CAL20131126-5_1_{SECTION}_F2_IMAGE_FLAT",
    ),
}

#: The same, given to as many digits as the specification has.
ROUNDED: dict[str, tuple[float, tuple[float | None, ...]]] = {
    "ra": (1e-7, (150.0032075, 150.0, 150.0, 149.8399338, 149.8403208)),
    "dec": (1e-7, (-29.9972222, -30.0, -30.0, -29.9345933, -29.9347311)),
    "detector_x_offset": (5e-4, (-55.803, None, None, 0.0, 0.0)),
    "detector_y_offset": (5e-4, (-55.803, None, None, 0.0, 0.0)),
    "pixel_scale": (1e-10, (0.1792008,) * 5),
    "nominal_photometric_zeropoint": (5e-5, (None, None, None, 25.1115, 25.1115)),
}


@pytest.mark.parametrize("name", TABLE)
def test_values_of_the_five_example_frames(name: str) -> None:
    assert tuple(describe(name, raw_headers(kind)) for kind in "ABCDE") == TABLE[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_values_of_the_five_example_frames(name: str) -> None:
    tolerance, expected = ROUNDED[name]
    for kind, value in zip("ABCDE", expected, strict=True):
        wanted = None if value is None else pytest.approx(value, rel=0, abs=tolerance)
        assert scalar(name, raw_headers(kind)) == wanted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("filter_name", ("K-red", "dark", "K-red", "Y", "Y")),
        ("camera", ("f/16",) * 5),
        ("detector_section", (["[1:2048,1:2048]"],) * 5),
    ],
)
def test_pretty_forms(name: str, expected: tuple[object, ...]) -> None:
    assert tuple(describe(name, raw_headers(kind), pretty=True) for kind in "ABCDE") == expected


def test_no_sentinel_comes_through_any_descriptor() -> None:
    for name in DESCRIPTORS:
        for kind in "BC":
            shown = str(describe(name, raw_headers(kind)))
            assert "9999" not in shown.replace("_G9999", ""), name
            assert "No Value" not in shown, name


def test_every_descriptor_stands_an_empty_header() -> None:
    empty = Headers(raw_headers("A").phu[:0], raw_headers("A").sci[:0], "x.fits")
    always = {
        "binning", "coadds", "detector_roi_setting", "detector_x_bin", "detector_y_bin", "group_id",
        "is_ao", "is_coadds_summed", "is_in_adu", "qa_state",
    }  # fmt: skip
    for name in set(DESCRIPTORS) - always - {"dispersion_axis"}:
        assert scalar(name, empty) is None, name


def test_the_list_of_descriptors_is_that_of_the_specification() -> None:
    words = """airmass amp_read_area ao_seeing array_name array_section azimuth binning
    calibration_key camera cass_rotator_pa central_wavelength coadds data_label data_section dec ra
    decker detector_name detector_roi_setting detector_rois_requested detector_section
    detector_x_bin detector_y_bin detector_x_offset detector_y_offset disperser dispersion
    dispersion_axis effective_wavelength elevation exposure_time filter_name focal_plane_mask gain
    gain_setting gcal_lamp group_id instrument is_ao is_coadds_summed is_in_adu local_time lyot_stop
    mdf_row_id nominal_atmospheric_extinction nominal_photometric_zeropoint non_linear_level object
    observation_class observation_id observation_type observation_epoch overscan_section pixel_scale
    position_angle program_id pupil_mask qa_state raw_bg raw_cc raw_iq raw_wv requested_bg
    requested_cc requested_iq requested_wv read_mode read_noise read_speed_setting saturation_level
    slit slit_width target_ra target_dec telescope telescope_x_offset telescope_y_offset ut_date
    ut_time ut_datetime wavefront_sensor wavelength_band wcs_ra wcs_dec well_depth_setting"""
    assert set(DESCRIPTORS) == {*words.split(), "night"}  # the last is ours


def test_unknown_descriptor_gets_a_suggestion() -> None:
    with pytest.raises(RequestError, match="did you mean `exposure_time`"):
        describe("exposuretime", raw_headers("A"))


# filters and cameras ------------------------------------------------------------------------
def filters(one: str | None, two: str | None, lyot: str = "f/16_G5830") -> Headers:
    return raw_headers("A", FILTER1=one, FILTER2=two, LYOT=lyot)


@pytest.mark.parametrize(
    ("headers", "plain", "stripped", "pretty", "with_id"),
    [
        (filters("Open", "J_G0802"), "Open&J_G0802", "Open&J", "J", "J_G0802"),
        (
            filters("Open", "Open", "K-blue_G0814"),
            "Open&Open&K-blue_G0814",
            "Open&Open&K-blue",
            "K-blue",
            "K-blue_G0814",
        ),
        (filters("Open", "Open"), "Open&Open", "Open&Open", "open", "open"),
        (filters("J_G0802", "DK_G0807"), "J_G0802&DK_G0807", "J&DK", "dark", "dark"),
        (filters("J_G0802", "H_G0803"), "J_G0802&H_G0803", "J&H", "J&H", "J_G0802&H_G0803"),
        (
            filters("Open", "JH_G0816", "Y_G0811"),
            "Open&JH_G0816&Y_G0811",
            "Open&JH&Y",
            "JH&Y",
            "JH_G0816&Y_G0811",
        ),
        (filters("Block_G1", "Open"), "Block_G1&Open", "Block&Open", "blank", "blank"),
        (filters("YJH_G0818", "Open"), "YJH_G0818&Open", "YJH&Open", "Y", "YJH_G0818"),
        (filters("Open", "H_G0803", "GEMS_over_G5836"), "Open&H_G0803", "Open&H", "H", "H_G0803"),
        (filters("Open", "H_G0803", "Gems_over_G5836"), "Open&H_G0803", "Open&H", "H", "H_G0803"),
        (filters("Open", "H_G0803", "Undefined"), "Open&H_G0803", "Open&H", "H", "H_G0803"),
        (filters(None, "H_G0803"), None, None, None, None),
    ],
)
def test_filter_name_forms(
    headers: Headers, plain: str, stripped: str, pretty: str, with_id: str
) -> None:
    assert filter_name(headers) == plain
    assert filter_name(headers, "stripped") == stripped
    assert filter_name(headers, "pretty") == pretty
    assert filter_name(headers, "with_id") == with_id


def test_early_filter_keywords() -> None:
    early = {"FILTER1": None, "FILTER2": None, "FILT1POS": "Open", "FILT2POS": "H_G0803"}
    assert filter_name(raw_headers("A", **early), "pretty") == "H"


@pytest.mark.parametrize(
    ("name", "micron", "band"),
    [
        ("Y_G0811", 1.020, "Y"),
        ("YJH_G0818", 1.020, "Y"),
        ("J-lo_G0801", 1.122, "X"),
        ("J_G0802", 1.250, "J"),
        ("H_G0803", 1.631, "H"),
        ("Ks_G0804", 2.157, "K"),
        ("K-blue_G0814", 2.060, "K"),
        ("K-red_G0815", 2.310, "K"),
        ("K-long_G0812", 2.200, "K"),
        ("JH_G0809", 1.390, "J"),
        ("HK_G0806", 1.871, "H"),
        ("F1056", None, None),
        ("Open", None, None),
    ],
)
def test_wavelength_and_band_of_each_filter(
    name: str, micron: float | None, band: str | None
) -> None:
    headers = filters("Open", name)
    wanted = None if micron is None else pytest.approx(micron * MICRON, rel=1e-7)
    assert describe("effective_wavelength", headers) == wanted
    assert describe("wavelength_band", headers) == band


@pytest.mark.parametrize(
    ("name", "expected"),
    [("K-long_G0812", 2.2e-6), ("JH_G0816", 1.3385e-6), ("HK_G0817", 1.9e-6), ("H_G0803", 1e-6)],
)
def test_central_wavelength_overrides(name: str, expected: float) -> None:
    headers = raw_headers("A", FILTER1="Open", FILTER2=name, WAVELENG=10000.0)
    assert describe("central_wavelength", headers) == expected


def test_zeropoint_in_electrons_is_that_of_the_table() -> None:
    flat = raw_headers("D", sci={"BUNIT": "electron", "GAIN": 1.0}, **PREPARED)
    assert describe("nominal_photometric_zeropoint", flat) == [pytest.approx(26.73, abs=1e-9)]


def test_camera_without_a_usable_lyot_stop() -> None:
    blue = {"LYOT": "K-blue_G0814"}
    assert describe("camera", raw_headers("A", **blue)) == "f/16_G5830"
    fine = {"CD1_2": 2.5e-5, "CD2_1": 2.5e-5}
    assert describe("camera", raw_headers("A", sci=fine, FOCUS="x", **blue)) == "f/32_G9999"
    assert describe("camera", raw_headers("A", FOCUS="x", **blue), pretty=True) == "f/16"


def test_lamp_names() -> None:
    assert gcal_lamp(raw_headers("C", GCALLAMP="QH")) == "QH"
    assert gcal_lamp(raw_headers("C", GCALLAMP="No Value")) == "Off"
    assert gcal_lamp(raw_headers("C", GCALSHUT=None)) is None


# detector -----------------------------------------------------------------------------------
def test_levels_of_coadded_frames() -> None:
    pair = raw_headers("A", COADDS=4)
    assert describe("exposure_time", pair) == 20.0
    assert describe("saturation_level", pair) == [140000]
    assert describe("non_linear_level", pair) == [100800]
    assert describe("read_noise", pair) == [pytest.approx(23.4)]


@pytest.mark.parametrize("coadds", [-1, -9999999])
def test_a_number_of_exposures_that_is_none_gives_no_levels(coadds: int) -> None:
    headers = raw_headers("B", COADDS=coadds)
    for name in ("read_noise", "saturation_level", "non_linear_level"):
        assert describe(name, headers) == [None]


def test_unknown_read_mode_has_no_figures() -> None:
    for name in ("gain", "read_noise", "saturation_level", "non_linear_level"):
        assert describe(name, raw_headers("A", LNRS=2)) == [None]
    assert describe("read_mode", raw_headers("A", LNRS=8)) == "8"
    assert describe("gain", raw_headers("A", LNRS=8)) == [0.555]


def test_prepared_files_speak_for_themselves() -> None:
    sci = {
        "GAIN": 1.0,
        "RDNOISE": 11.7,
        "SATLEVEL": 158140.24,
        "NONLINEA": 112755.758,
        "DETSEC": "[1:2048,1:1024]",
        "BUNIT": "electron",
    }
    headers = raw_headers("A", sci=sci, COADDS=2, **PREPARED)
    assert describe("gain", headers) == [1.0]
    assert describe("saturation_level", headers) == [158140.24]
    assert describe("non_linear_level", headers) == [112755.758]
    assert describe("detector_section", headers) == [Section(0, 2048, 0, 1024)]
    assert describe("exposure_time", headers) == 10.0  # as DRAGONS leaves it: of one coadd
    summed = raw_headers("A", sci=sci, COADDS=2, EXPTIME=10.0, COADDEXP=5.0, **PREPARED)
    assert describe("exposure_time", summed) == 10.0
    assert describe("is_in_adu", headers) is False


def test_raw_sections_have_the_real_size() -> None:
    headers = raw_headers("A", sci={"NAXIS1": 256, "NAXIS2": 128})
    assert describe("array_section", headers) == [Section(0, 256, 0, 128)]
    assert repr(Section(0, 2048, 0, 2048)) == "Section(x1=0, x2=2048, y1=0, y2=2048)"


# positions and times ------------------------------------------------------------------------
def test_detector_offset_changes_sign_with_the_port() -> None:
    up = raw_headers("A", INPORT=1)
    assert describe("detector_y_offset", up) == pytest.approx(55.803, abs=5e-4)
    assert describe("detector_x_offset", up) == pytest.approx(-55.803, abs=5e-4)


def test_target_with_offset_and_proper_motion() -> None:
    headers = raw_headers("A", PMRA=0.1, PMDEC=-2.0, EPOCH=2000.0)
    years = 2020 + (3 + 6.5083333 / 24) / 366 - 2000
    ra, dec = target_position(headers) or (0, 0)
    assert ra == pytest.approx(150 + 0.1 * years * 15 / 3600, abs=1e-9)
    assert dec == pytest.approx(-30 - 2.0 * years / 3600, abs=1e-9)
    assert target_position(headers, pm=False) == (150.0, -30.0)
    ra, dec = target_position(headers, pm=False, offset=True) or (0, 0)
    # The pointing expected at the reference pixel is what the header's WCS has.
    assert ra == pytest.approx(150.003207501496, abs=1e-7)
    assert dec == pytest.approx(-29.9972222222222, abs=1e-12)


@pytest.mark.parametrize(
    ("ra", "expected"),
    [
        ("150.0", 150.0),
        ("10:00:00", 150.0),
        ("10:00:00 hours", 150.0),
        ("10 hours", 150.0),
        ("150:00:00 degrees", 150.0),
        ("nonsense", None),
        (-9999.0, None),
    ],
)
def test_target_coordinates_as_text(ra: Any, expected: float | None) -> None:
    assert describe("target_ra", raw_headers("A", RA=ra)) == expected


def test_icrs() -> None:
    ra, dec = target_position(raw_headers("A"), icrs=True) or (0, 0)
    # astropy 8.0: SkyCoord(150, -30, frame="fk5", unit="deg").icrs, minus (150, -30)
    assert ra - 150 == pytest.approx(-8.395293e-06, abs=1e-11)
    assert dec + 30 == pytest.approx(4.953009e-06, abs=1e-11)
    apparent = target_position(raw_headers("A", FRAME="APPT"), icrs=True)
    assert apparent == apparent_to_icrs((150.0, -30.0), dt.datetime(2020, 1, 4, 6, 30, 30))
    with pytest.raises(NotSupported, match="AZEL_TOPO"):
        target_position(raw_headers("D"), icrs=True)


def test_position_without_world_coordinates() -> None:
    headers = raw_headers("A", sci={"CTYPE1": None, "CD1_2": None, "CD2_1": None})
    assert describe("ra", headers) == 150.0
    assert describe("wcs_ra", headers) is None


@pytest.mark.parametrize(
    ("phu", "expected"),
    [
        ({"UT": None}, dt.datetime(2020, 1, 4, 6, 30, 30)),
        ({"DATE_OBS": "2020-01-05T01:02:03.5"}, dt.datetime(2020, 1, 5, 1, 2, 3, 500000)),
        ({"DATE_OBS": "05/01/20"}, dt.datetime(2020, 1, 4, 6, 30, 30)),
        ({"UT": "6:30", "TIME_OBS": None}, dt.datetime(2020, 1, 4, 6, 30, 35)),
        (
            {"UT": None, "TIME_OBS": None, "UTSTART": None, "MJD_OBS": 58852.25},
            dt.datetime(2020, 1, 4, 6, 0),
        ),
    ],
)
def test_date_and_time_fall_back(phu: dict[str, Any], expected: dt.datetime) -> None:
    assert describe("ut_datetime", raw_headers("A", **phu)) == expected


def test_last_resorts_of_the_time_are_not_for_strict_use() -> None:
    bare: dict[str, Any] = dict.fromkeys(
        ("UT", "TIME_OBS", "UTSTART", "MJD_OBS", "DATE_OBS", "DATE")
    )
    headers = raw_headers("A", **bare)
    assert ut_datetime(headers) == dt.datetime(2020, 1, 4)
    assert ut_datetime(headers, strict=True) is None
    assert describe("ut_date", headers) is None


def test_decimal_year_of_a_leap_year() -> None:
    assert decimal_year(dt.datetime(2020, 7, 2)) == 2020.5
    assert decimal_year(dt.datetime(2019, 7, 2, 12)) == 2019.5


@pytest.mark.parametrize(
    ("pi", "gemini", "expected"),
    [
        ("YES", "USABLE", "Pass"),
        ("NO", "USABLE", "Usable"),
        ("YES", "BAD", "Fail"),
        ("CHECK", "USABLE", "CHECK"),
        ("UNKNOWN", "BAD", "Undefined"),
        ("YES", None, "Undefined"),
        ("MAYBE", "USABLE", "MAYBE:USABLE"),
    ],
)
def test_quality_state(pi: str, gemini: str | None, expected: str) -> None:
    assert describe("qa_state", raw_headers("A", RAWPIREQ=pi, RAWGEMQA=gemini)) == expected


def test_group_of_twilights_and_of_spectra() -> None:
    twilight = raw_headers("A", OBJECT="Twilight")
    assert describe("group_id", twilight) == f"K-red_f/16_G5830_1_{SECTION}_F2_IMAGE_TWILIGHT"
    both = raw_headers("A", OBJECT="Twilight", OBSTYPE="FLAT")
    assert str(describe("group_id", both)).endswith("F2_IMAGE_FLAT")
    slit = {"MOSPOS": "4pix-slit", "MASKNAME": "4pix-slit", "GRISM": "JH_G5801"}
    spectrum = raw_headers("A", **slit)
    assert str(describe("group_id", spectrum)).endswith(f"{SECTION}_JH_4pix-slit")
    assert describe("slit_width", spectrum) == pytest.approx(4 * 0.1792008)


def test_an_unreadable_card_names_the_file() -> None:
    from astropy.io.fits import Card

    headers = raw_headers("A", AIRMASS=None)
    headers.phu.append(Card.fromstring("AIRMASS = 'no end of text"))
    with pytest.raises(BadInput, match="AIRMASS cannot be read") as caught:
        describe("airmass", headers)
    assert caught.value.problems[0].where == "S20200104S0076.fits"


def test_descriptors_do_not_change_the_headers() -> None:
    headers = raw_headers("D")
    before = (headers.phu.tostring(), headers.sci.tostring())
    for name in DESCRIPTORS:
        describe(name, headers, pretty=True)
    assert (headers.phu.tostring(), headers.sci.tostring()) == before
    assert not any(isinstance(describe(n, headers), np.generic) for n in DESCRIPTORS)
