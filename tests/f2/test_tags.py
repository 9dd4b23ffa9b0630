"""Tags of raw frames and products against the tables of the specification (instrument, 1.7, 2)."""

from __future__ import annotations

import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.errors import NotSupported
from f2yaml.interpreter.f2.tags import ALL_TAGS, check_known, refuse_or_warn, tags_of
from f2yaml.schema.problems import RequestError

COMMON = "F2 GEMINI SOUTH"
RAW = f"{COMMON} RAW UNPREPARED"
OLDER = {"FRAME": "AZEL_TOPO", "TRKFRAME": "FK5", "RATRACK": 1.0019, "DECTRACK": -0.0035}
PREPARED = {"PREPARE": "2026-11-22T06:41:56", "GEM-TLM": "2026-11-22T06:41:56"}
LONG_SLIT = {"DECKER": "Long_slit", "MOSPOS": "4pix-slit", "MASKNAME": "4pix-slit"}
FLAT_D = "AT_ZENITH AZEL_TARGET CAL F2 FLAT GCALFLAT IMAGE NON_SIDEREAL"


def tags(kind: str, **phu: object) -> set[str]:
    return set(tags_of(raw_headers(kind, **phu).phu))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("A", "F2 GEMINI IMAGE RAW SIDEREAL SOUTH UNPREPARED"),
        ("B", "CAL DARK F2 GEMINI RAW SOUTH UNPREPARED"),
        (
            "C",
            "CAL F2 FLAT GCALFLAT GCAL_IR_OFF GEMINI IMAGE LAMPOFF RAW SOUTH UNPREPARED",
        ),
        (
            "D",
            "AT_ZENITH AZEL_TARGET CAL F2 FLAT GCALFLAT GCAL_IR_ON GEMINI IMAGE LAMPON "
            "NON_SIDEREAL RAW SOUTH UNPREPARED",
        ),
        (
            "E",
            "AZEL_TARGET CAL F2 FLAT GCALFLAT GCAL_IR_OFF GEMINI IMAGE LAMPOFF "
            "NON_SIDEREAL RAW SOUTH UNPREPARED",
        ),
    ],
)
def test_tags_of_the_five_example_frames(kind: str, expected: str) -> None:
    assert tags(kind) == set(expected.split())


@pytest.mark.parametrize(
    ("kind", "phu", "expected"),
    [
        pytest.param(
            "B",
            {**OLDER, "AIRMASS": 1.0},
            f"{RAW} AT_ZENITH AZEL_TARGET CAL DARK NON_SIDEREAL",
            id="S20150516S0373 dark",
        ),
        pytest.param(
            "B",
            {**OLDER, "AIRMASS": 1.0, **PREPARED, "PROCDARK": "2026"},
            f"{COMMON} AT_ZENITH AZEL_TARGET CAL DARK NON_SIDEREAL PREPARED PROCESSED",
            id="S20141031S0274_dark",
        ),
        pytest.param("A", {}, f"{RAW} IMAGE SIDEREAL", id="S20150511S0168 image"),
        pytest.param("D", {}, f"{RAW} {FLAT_D} GCAL_IR_ON LAMPON", id="S20150511S0274 on"),
        pytest.param(
            "D",
            {"GCALSHUT": "CLOSED"},
            f"{RAW} {FLAT_D} GCAL_IR_OFF LAMPOFF",
            id="S20150511S0275 off",
        ),
        pytest.param(
            "A", {"OBSCLASS": "acq"}, f"{RAW} ACQUISITION IMAGE SIDEREAL", id="S20160317S0053"
        ),
        pytest.param(
            "A",
            {**LONG_SLIT, "OBSCLASS": "acq"},
            f"{RAW} ACQUISITION IMAGE LS SIDEREAL THRUSLIT",
            id="S20160317S0055 through the slit",
        ),
        pytest.param(
            "A",
            {"DECKER": "Mos", "MOSPOS": "mos3", "OBSCLASS": "acqCal"},
            f"{RAW} ACQUISITION IMAGE MOS SIDEREAL THRUSLIT",
            id="S20150622S0004 through a mask",
        ),
        pytest.param(
            "A", {**LONG_SLIT, "GRISM": "JH_G5801"}, f"{RAW} LS SIDEREAL SPECT", id="S20160724S0128"
        ),
        pytest.param(
            "A",
            {**LONG_SLIT, "GRISM": "JH_G5801", "OBSTYPE": "ARC", "GCALLAMP": "Ar"},
            f"{RAW} ARC CAL LS SIDEREAL SPECT",
            id="S20160724S0129 arc",
        ),
        pytest.param(
            "A",
            {
                **LONG_SLIT,
                "GRISM": "HK_G5802",
                "OBSTYPE": "FLAT",
                "GCALLAMP": "QH",
                "GCALSHUT": "OPEN",
            },
            f"{RAW} CAL FLAT GCAL_IR_ON LAMPON LS SIDEREAL SPECT GCALFLAT",
            id="S20160724S0130 spectroscopic flat",
        ),
        pytest.param(
            "A",
            {"DECKER": "mos", "MOSPOS": "mos1", "GRISM": "R3K_G5803"},
            f"{RAW} MOS SIDEREAL SPECT",
            id="S20120104S0072",
        ),
    ],
)
def test_reference_tag_sets(kind: str, phu: dict[str, object], expected: str) -> None:
    assert tags(kind, **phu) == set(expected.split())


@pytest.mark.parametrize(
    ("kind", "phu", "expected"),
    [
        ("B", {"PROCDARK": "x"}, "CAL DARK F2 GEMINI PREPARED PROCESSED SOUTH"),
        (
            "D",
            {"PROCFLAT": "x"},
            "AT_ZENITH AZEL_TARGET CAL F2 FLAT GCALFLAT GEMINI IMAGE NON_SIDEREAL PREPARED "
            "PROCESSED SOUTH",
        ),
        ("D", {"BPMASK": "x"}, "BPM CAL F2 FLAT GEMINI PREPARED PROCESSED SOUTH"),
        ("D", {"PROCBPM": "x", "OBSTYPE": "BPM"}, "BPM CAL F2 GEMINI PREPARED PROCESSED SOUTH"),
        ("A", {}, "F2 GEMINI IMAGE PREPARED SIDEREAL SOUTH"),
        (
            "A",
            {"PROCSCI": "x"},
            "F2 GEMINI IMAGE PREPARED PROCESSED PROCESSED_SCIENCE SIDEREAL SOUTH",
        ),
    ],
)
def test_tags_of_products(kind: str, phu: dict[str, object], expected: str) -> None:
    assert tags(kind, **PREPARED, **phu) == set(expected.split())


def test_older_dark_is_at_zenith_only_when_the_airmass_is_exactly_one() -> None:
    assert "AT_ZENITH" not in tags("B", **OLDER, AIRMASS=-9999.0)
    assert {"AZEL_TARGET", "NON_SIDEREAL"} <= tags("B", **OLDER, AIRMASS=-9999.0)


def test_a_missing_keyword_only_silences_its_rule() -> None:
    assert tags("A", OBSCLASS=None, GRISM=None) == tags("A") - {"IMAGE"}
    assert "NON_SIDEREAL" in tags("A", RATRACK=None)


def test_lamp_rules() -> None:
    assert not tags("C", GCALLAMP="Ar") & {"LAMPON", "LAMPOFF"}
    low = tags("A", GCALLAMP="IRlow", GCALSHUT="OPEN")
    assert "LAMPON" in low
    assert "FLAT" not in low
    assert "LAMPOFF" in tags("A", GCALLAMP="No Value", GCALSHUT="CLOSED")
    assert not tags("A", GCALLAMP="No Value", GCALSHUT="OPEN") & {"LAMPON", "LAMPOFF"}


def test_twilight_blocks_flat_unless_the_grism_is_open() -> None:
    assert {"TWILIGHT", "CAL", "FLAT"} <= tags("A", OBJECT="Twilight", OBSTYPE="FLAT")
    spectral = tags("A", OBJECT="twilight", OBSTYPE="FLAT", GRISM="JH_G5801")
    assert "TWILIGHT" in spectral
    assert "FLAT" not in spectral


def test_blank_grism_is_neither_image_nor_spectrum() -> None:
    assert not tags("A", GRISM="DK_G5804") & {"IMAGE", "SPECT"}


def test_early_keyword_names_are_understood() -> None:
    early = {"GRISM": None, "GRISMPOS": "Open", "INSTRUME": "Flam"}
    assert tags("A", **early) == tags("A")
    dark = {"FILTER1": None, "FILTER2": None, "FILT1POS": "Open", "FILT2POS": "DK_G0807"}
    assert "DARK" in tags("A", **dark)


def test_a_file_of_another_observatory_has_no_tags() -> None:
    other = {"INSTRUME": "HAWKI", "TELESCOP": "VLT", "OBSERVAT": "Paranal"}
    assert tags("A", **other) == set()
    assert "F2" not in tags("A", INSTRUME="GMOS-S")
    assert "GEMINI" in tags("A", INSTRUME="GMOS-S")


@pytest.mark.parametrize(
    ("phu", "reason"),
    [
        ({**LONG_SLIT, "GRISM": "JH_G5801"}, "a spectrum"),
        ({"OBSTYPE": "MASK"}, "a mask design"),
        ({"DISPERSR": "DISP_WOLLASTON"}, "polarimetry"),
        ({"INSTRUME": "GMOS-S"}, "INSTRUME is GMOS-S, not F2"),
        ({"INSTRUME": None}, "INSTRUME is missing"),
    ],
)
def test_what_is_not_reduced_is_refused(phu: dict[str, object], reason: str) -> None:
    with pytest.raises(NotSupported, match=reason) as caught:
        refuse_or_warn(raw_headers("A", **phu))
    assert caught.value.problems[0].where == "S20200104S0076.fits"


def test_acquisitions_give_warnings() -> None:
    assert refuse_or_warn(raw_headers("A")) == []
    (warning,) = refuse_or_warn(raw_headers("A", OBSCLASS="acq"))
    assert "acquisition image" in warning
    assert len(refuse_or_warn(raw_headers("A", **LONG_SLIT, OBSCLASS="acq"))) == 2


def test_unknown_tags_are_refused_with_the_nearest() -> None:
    check_known(["DARK", "FLAT"])
    assert "LAMPOFF" in ALL_TAGS
    with pytest.raises(RequestError, match="did you mean `DARK`"):
        check_known(["DRAK"])
    with pytest.raises(RequestError, match="did you mean `FLAT`"):
        check_known(["flat"])
