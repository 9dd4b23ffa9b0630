"""Association rules: each criterion, its boundaries, and the type of a processed file."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from caldb_products import DARK, FLAT, PROCESSED, STAMP, primary, raw_headers
from f2yaml.interpreter.association import (
    CALTYPES,
    RULES,
    applicable,
    describe_gap,
    judge,
    keys_of,
    preference,
    processed_type,
)
from f2yaml.interpreter.commands import caldb as command
from f2yaml.interpreter.f2.tags import tags_of

FRAME: dict[str, object] = {
    "instrument": "F2",
    "exposure_time": 5.0,
    "read_mode": "1",
    "coadds": 1,
    "filter_name": "K-red",
    "lyot_stop": "f/16_G5830",
    "disperser": "Open",
    "focal_plane_mask": "Open",
    "array_shape": "2048x2048",
    "ut_datetime": "2020-01-04T06:30:30",
    "qa_state": "Pass",
    "processing": "sq",
}


def failed(caltype: str, mode: str = "sq", **changes: object) -> list[str]:
    """Return the criteria that a candidate fails that differs from the frame in `changes`."""
    verdicts = judge(FRAME, {**FRAME, **changes}, caltype, mode=mode)
    assert [v.criterion for v in verdicts] == [c.name for c in RULES[caltype]]
    return [v.criterion for v in verdicts if not v.passed]


def at(**gap: float) -> str:
    return (datetime(2020, 1, 4, 6, 30, 30) + timedelta(**gap)).isoformat()


@pytest.mark.parametrize("caltype", CALTYPES)
def test_an_equal_candidate_meets_every_criterion(caltype: str) -> None:
    assert failed(caltype) == []


@pytest.mark.parametrize(
    ("caltype", "key", "value"),
    [
        ("processed_dark", "exposure_time", 5.02),
        ("processed_dark", "read_mode", "8"),
        ("processed_dark", "coadds", 2),
        ("processed_flat", "filter_name", "Ks"),
        ("processed_flat", "lyot_stop", "GEMS_over_G5836"),
        ("processed_flat", "disperser", "JH"),
        ("processed_flat", "focal_plane_mask", "4pix-slit"),
        *((caltype, "array_shape", "8x8") for caltype in CALTYPES),
        *((caltype, "instrument", "GNIRS") for caltype in CALTYPES),
        *((caltype, "qa_state", "Fail") for caltype in CALTYPES),
    ],
)
def test_each_difference_fails_its_own_criterion(caltype: str, key: str, value: object) -> None:
    assert failed(caltype, **{key: value}) == [key]


@pytest.mark.parametrize(
    ("caltype", "key"),
    [
        ("processed_dark", "filter_name"),
        ("processed_dark", "lyot_stop"),
        ("processed_dark", "focal_plane_mask"),
        ("processed_flat", "exposure_time"),
        ("processed_flat", "read_mode"),
        ("processed_flat", "coadds"),
        ("processed_bpm", "filter_name"),
        ("processed_bpm", "read_mode"),
    ],
)
def test_what_the_rule_does_not_compare_may_differ(caltype: str, key: str) -> None:
    assert failed(caltype, **{key: "something else"}) == []


@pytest.mark.parametrize(("seconds", "fits"), [(5.01, True), (4.99, True), (5.011, False)])
def test_exposure_times_agree_within_a_hundredth_of_a_second(seconds: float, fits: bool) -> None:
    assert (failed("processed_dark", exposure_time=seconds) == []) is fits


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("caltype", ["processed_dark", "processed_flat"])
def test_exactly_ninety_days_is_out_and_a_second_less_is_in(caltype: str, sign: int) -> None:
    assert failed(caltype, ut_datetime=at(days=sign * 90)) == ["time"]
    assert failed(caltype, ut_datetime=at(days=sign * 90, seconds=-sign)) == []


def test_a_bad_pixel_mask_is_not_later_and_may_be_old() -> None:
    assert failed("processed_bpm", ut_datetime=at(days=-4000)) == []
    assert failed("processed_bpm", ut_datetime=at(days=0)) == []
    assert failed("processed_bpm", ut_datetime=at(seconds=1)) == ["time"]


@pytest.mark.parametrize(
    ("mode", "made", "fits"),
    [
        ("sq", "sq", True),
        ("sq", "ql", False),
        ("sq", "qa", False),
        ("ql", "sq", True),
        ("ql", "ql", True),
        ("ql", "qa", False),
        ("qa", "qa", True),
    ],
)
def test_a_reduction_takes_products_of_its_mode_or_better(mode: str, made: str, fits: bool) -> None:
    assert (failed("processed_dark", mode, processing=made) == []) is fits


@pytest.mark.parametrize("state", ["Pass", "Usable", "CHECK", "Undefined", None])
def test_only_failed_quality_is_refused(state: str | None) -> None:
    assert failed("processed_dark", qa_state=state) == []


@pytest.mark.parametrize("key", ["exposure_time", "read_mode", "ut_datetime", "array_shape"])
def test_an_unknown_value_never_counts_as_equal(key: str) -> None:
    unknown = {**FRAME, key: None}
    verdicts = [v for v in judge(unknown, unknown, "processed_dark") if not v.passed]
    assert [v.criterion for v in verdicts] == ["time" if key == "ut_datetime" else key]
    assert verdicts[0].frame_value == verdicts[0].candidate_value == "not in header"


def test_a_verdict_shows_both_values_the_rule_and_the_gap() -> None:
    changes = {"exposure_time": 2.0, "ut_datetime": at(days=3, hours=7, minutes=12)}
    by_name = {v.criterion: v for v in judge(FRAME, {**FRAME, **changes}, "processed_dark")}
    dark = by_name["exposure_time"]
    assert (dark.frame_value, dark.candidate_value, dark.rule) == ("5 s", "2 s", "within 0.01 s")
    time = by_name["time"]
    assert (time.frame_value, time.candidate_value, time.rule, time.note) == (
        "2020-01-04 06:30:30",
        "2020-01-07 13:42:30",
        "under 90 days",
        "3.3 days later",
    )


def test_the_gap_is_told_in_days_or_seconds() -> None:
    assert describe_gap(timedelta(days=-93)) == "93.0 days earlier"
    assert describe_gap(timedelta(seconds=40)) == "40 s later"
    assert describe_gap(None) == ""


def test_nearer_in_whole_seconds_is_preferred_then_the_better_mode() -> None:
    near = {**FRAME, "ut_datetime": at(seconds=10.2), "processing": "ql"}
    far = {**FRAME, "ut_datetime": at(seconds=-11.0)}
    same_second = {**FRAME, "ut_datetime": at(seconds=10.9)}
    unknown = {**FRAME, "ut_datetime": None}
    ranked = sorted([unknown, far, near, same_second], key=lambda keys: preference(FRAME, keys))
    assert ranked == [same_second, near, far, unknown]


@pytest.mark.parametrize("caltype", CALTYPES)
def test_products_as_dragons_writes_them_are_recognised(caltype: str) -> None:
    cards = {"GEM-TLM": STAMP, "PREPARE": STAMP, **PROCESSED[caltype]}
    assert processed_type(tags_of(primary(cards))) == caltype


def test_a_mask_made_from_flats_is_a_mask_even_though_it_is_tagged_flat() -> None:
    tags = tags_of(primary({"GEM-TLM": STAMP, "PREPARE": STAMP, **PROCESSED["processed_bpm"]}))
    assert {"FLAT", "BPM", "PROCESSED"} <= tags
    assert processed_type(tags) == "processed_bpm"


@pytest.mark.parametrize("cards", [DARK, FLAT, {}])
def test_raw_frames_have_no_calibration_type(cards: dict[str, object]) -> None:
    assert processed_type(tags_of(primary(cards))) is None


def test_which_calibrations_a_frame_needs_depends_on_its_tags() -> None:
    assert applicable(tags_of(primary({}))) == CALTYPES
    assert applicable(tags_of(primary(FLAT))) == ("processed_dark", "processed_bpm")
    assert applicable(tags_of(primary(DARK))) == ("processed_bpm",)


def test_keys_of_a_raw_frame() -> None:
    assert keys_of(raw_headers(size=2048)) == FRAME


@pytest.mark.parametrize(
    ("wheels", "name"),
    [
        (("J_G0802", "Open"), "J"),
        (("Open", "J_G0802"), "J"),
        (("YJH_G0818", "Open"), "Y"),
        (("Y_G0811", "Open"), "Y"),
    ],
)
def test_filters_compare_by_pretty_name_in_any_wheel(wheels: tuple[str, str], name: str) -> None:
    headers = raw_headers(FILTER1=wheels[0], FILTER2=wheels[1])
    assert keys_of(headers)["filter_name"] == name


def test_exposure_time_is_summed_over_coadds_in_raw_files_and_products_alike() -> None:
    raw = keys_of(raw_headers(EXPTIME=10.0, COADDS=3))
    product = keys_of(raw_headers(EXPTIME=10.0, COADDS=3, PREPARE=STAMP))
    assert raw["exposure_time"] == product["exposure_time"] == 30.0


def test_a_bad_frame_fails_although_its_constraints_are_unknown() -> None:
    assert keys_of(raw_headers(RAWGEMQA="BAD", RAWPIREQ="UNKNOWN"))["qa_state"] == "Fail"
    assert keys_of(raw_headers(RAWGEMQA="UNKNOWN"))["qa_state"] == "Undefined"


def test_early_files_of_flam_are_f2() -> None:
    assert keys_of(raw_headers(INSTRUME="Flam"))["instrument"] == "F2"
    assert keys_of(raw_headers(INSTRUME="GNIRS")) == {"instrument": "GNIRS"}


@pytest.mark.parametrize(
    ("cards", "mode"),
    [
        ({"PROCMODE": "ql"}, "ql"),
        ({"DATALAB": "GS-CAL20131120-2-115-QL-DARK"}, "ql"),
        ({"DATALAB": "GS-CAL20131120-2-115-QA-DARK"}, "qa"),
        ({}, "sq"),
    ],
)
def test_processing_mode_of_a_product(cards: dict[str, object], mode: str) -> None:
    assert keys_of(raw_headers(**cards))["processing"] == mode


def test_missing_cards_give_unknown_values() -> None:
    cards = dict.fromkeys(("EXPTIME", "LNRS", "UT", "FILTER1", "FILTER2", "LYOT"))
    keys = keys_of(raw_headers(**cards))
    assert keys["exposure_time"] is None
    assert keys["read_mode"] is None
    assert keys["lyot_stop"] is None


def test_the_command_line_offers_the_types_there_are_rules_for() -> None:
    assert command.TYPES == CALTYPES
